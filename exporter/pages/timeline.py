"""Places the activities of a run on a line of time, for a chart: which part of the run each takes.

This module does no I/O. Times are milliseconds since 1970, and can be any: those of one activity may be missing, in the
wrong order, or outside the run.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 1000
"""Units of the whole line."""
MIN_WIDTH: Final = 6
"""Units of the shortest bar, so that it can be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """From when to when something lasted. None where it is not known."""

    started_at: int | None = None
    completed_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """The bar of an activity. `x` and `x + width` are from 0 to WIDTH."""

    x: int
    width: int
    is_open: bool
    """Whether one of its two times is not known. Then the bar has the shortest length, at the one that is known."""
    offset: int
    """Milliseconds from the start of the line to the start of the bar. Not negative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The line of time of a run."""

    started_at: int
    completed_at: int
    """Not before the start."""
    bars: tuple[Bar | None, ...]
    """One for each activity, in their order. None for one without any time."""

    @property
    def seconds(self) -> float:
        """How long the line lasts."""
        return (self.completed_at - self.started_at) / 1000


def timeline(run: Stretch, activities: Sequence[Stretch]) -> Timeline | None:
    """The line of time from the first start to the last end. None if no activity has a time."""
    if not any(_times([each]) for each in activities):
        return None
    times = _times([run, *activities])
    first, last = min(times), max(times)
    return Timeline(started_at=first, completed_at=last, bars=tuple(_bar(each, first, last) for each in activities))


def _times(stretches: Iterable[Stretch]) -> list[int]:
    return [time for each in stretches for time in (each.started_at, each.completed_at) if time is not None]


def _bar(activity: Stretch, first: int, last: int) -> Bar | None:
    known = _times([activity])
    if not known:
        return None
    begin, end = min(known), max(known)
    whole = max(last - first, 1)
    x, right = WIDTH * (begin - first) // whole, WIDTH * (end - first) // whole
    width = min(max(right - x, MIN_WIDTH), WIDTH)
    return Bar(x=min(x, WIDTH - width), width=width, is_open=len(known) == 1, offset=begin - first)
