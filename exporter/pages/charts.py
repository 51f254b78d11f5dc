"""The geometry of the charts on a flow's page: where the bars of a strip and the points of a line are. No HTML, no I/O.

Charts are drawn in a box of WIDTH by HEIGHT units, which templates stretch to the room that there is. Runs are at equal
distances, the oldest one on the left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

WIDTH: Final = 1000.0
HEIGHT: Final = 100.0
_MIN_HEIGHT: Final = 12.0
"""Of a bar, so that each can be seen."""
_GAP: Final = 0.2
"""The share of a bar's room that is left empty."""
_HEADROOM: Final = 1.05
_NOTCH: Final = 0.25
"""How deep the notch of a run that failed is, as a share of its height."""


class Value(NamedTuple):
    """What a chart shows of a run."""

    value: float | None
    """A duration or a number, at least 0. None if it is not known."""
    status: str
    label: str
    """What the run was, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar of a strip, from its left upper corner."""

    x: float
    y: float
    width: float
    height: float
    status: str
    label: str

    @property
    def outline(self) -> str:
        """The corners of a run that failed, which has a notch at its top. Empty for others, which are rectangles."""
        if self.status != _FAILED:
            return ""
        right, bottom, middle = self.x + self.width, self.y + self.height, self.x + self.width / 2
        corners = (
            (self.x, self.y),
            (middle, self.y + self.height * _NOTCH),
            (right, self.y),
            (right, bottom),
            (self.x, bottom),
        )
        return " ".join(f"{_round(x):g},{_round(y):g}" for x, y in corners)


class Point(NamedTuple):
    """A mark of a chart."""

    x: float
    y: float
    status: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChart:
    """Runs as a line. Runs that did not succeed are marks of their own."""

    line: str
    """The path of the runs that succeeded, wholly or partly. Empty for fewer than two."""
    marks: tuple[Point, ...]
    """The other runs, and the only one that succeeded if there is one."""
    typical: float | None
    """The height of what is typical. None if that is not known."""
    largest: float
    """The largest value."""


_GOOD: Final = frozenset({"success", "partial_success"})
_FAILED: Final = "failed"


def strip(runs: Sequence[Value], slots: int) -> tuple[Bar, ...]:
    """A bar for each run, as high as its value. The newest run is on the right of `slots` places.

    A run that failed has the full height, so that it can't be overlooked: it often ends early.
    """
    largest = max((run.value for run in runs if run.value is not None and run.status != _FAILED), default=0.0)
    room = WIDTH / max(slots, len(runs), 1)
    first = WIDTH - room * len(runs)
    return tuple(
        Bar(
            x=_round(first + number * room + room * _GAP / 2),
            y=_round(HEIGHT - height),
            width=_round(room * (1 - _GAP)),
            height=_round(height),
            status=run.status,
            label=run.label,
        )
        for number, run in enumerate(runs)
        for height in [HEIGHT if run.status == _FAILED else _height(run.value, largest)]
    )


def line_chart(runs: Sequence[Value], typical: float | None) -> LineChart | None:
    """The chart of runs whose value is known. None if no run has one."""
    known = [(number, run, run.value) for number, run in enumerate(runs) if run.value is not None]
    if not known:
        return None
    largest = max(value for _, _, value in known)
    scale = max(largest, typical or 0.0) * _HEADROOM or 1.0
    step = WIDTH / max(len(runs) - 1, 1)
    points = [
        Point(_round(number * step), _round(HEIGHT * (1 - value / scale)), run.status, run.label)
        for number, run, value in known
    ]
    good = [point for point in points if point.status in _GOOD]
    has_line = len(good) > 1
    return LineChart(
        line="M" + "L".join(f"{point.x:g} {point.y:g}" for point in good) if has_line else "",
        marks=tuple(point for point in points if point.status not in _GOOD or not has_line),
        typical=None if typical is None else _round(HEIGHT * (1 - typical / scale)),
        largest=largest,
    )


def _height(value: float | None, largest: float) -> float:
    return _MIN_HEIGHT if value is None or largest <= 0 else max(HEIGHT * value / largest, _MIN_HEIGHT)


def _round(value: float) -> float:
    return round(value, 2)
