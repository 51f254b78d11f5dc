"""Learns from a flow's completions how long the flow is usually silent, and when it is overdue.

For each day the longest gap that ended on it is kept. The interval is the second longest of these daily gaps, or the
only one. The days are those of the last 35, or the last eight with a gap where the 35 hold fewer.
Completions are kept one by one for as long as a late notification can split a gap. Of older days only the longest gap
is kept. Days are UTC. Times and gaps are milliseconds.

A flow is overdue after one and a half intervals and 15 minutes. The interval of a new flow is not yet reliable, so a
new flow may be silent for a night, or for a weekend if its interval is 50 minutes or more. A flow is new if it has had
fewer than 100 runs, and its first gap ended less than 15.5 days ago. benchmarks/overdue.py measures how many false
alarms this avoids, and how much later true ones come.
"""

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from exporter.model import DAY

_MIN_GAPS: Final = 3
_WINDOW_DAYS: Final = 35
_MIN_DAYS: Final = 8
_KEPT_FOR: Final = 8 * DAY
"""How long single completions are kept. Adobe's journal reaches back seven days."""
_MAX_COMPLETIONS: Final = 2000

_HOUR: Final = DAY // 24
_MINUTE: Final = _HOUR // 60
_TOLERANCE: Final = 15 * _MINUTE
"""A flow may be later than one and a half intervals by so much."""
_NEW_RUNS: Final = 100
"""A flow with as many runs is not new. Office hours have 90 runs before their second weekend. A flow that runs every
quarter of an hour has as many in a day."""
_NEW_FOR: Final = 15 * DAY + 12 * _HOUR
"""After the day of its first gap a flow is new for so long: about a day until its interval is known, and then two
weekends and some hours."""
_NIGHT: Final = 28 * _HOUR
"""From one day's run to the next day's, which may be some hours later."""
_WEEKEND: Final = 80 * _HOUR
"""From Friday's run to Monday's, likewise."""
_WEEKEND_FROM: Final = 50 * _MINUTE
"""New flows with this interval, or a longer one, may be silent for a weekend."""

if TYPE_CHECKING:
    _Array = array[int]
else:
    _Array = array


class Timestamps(_Array):
    """Times in milliseconds since 1970, rising, at eight bytes each."""


@dataclass(slots=True)
class Cadence:
    """The completions and gaps of one flow. The field names are those of the checkpoint."""

    completions: Timestamps = field(default_factory=lambda: Timestamps("q"))
    days: dict[int, int] = field(default_factory=dict)
    """The longest gap that ended on each day, by the number of the day since 1970."""
    gaps: int = 0
    is_cut: bool = False
    """Whether old completions have been deleted."""

    def add(self, completed_at: int) -> None:
        """Add a completion. One that is older than all kept ones is ignored if older ones have been deleted."""
        completions = self.completions
        index = bisect_right(completions, completed_at)
        if index == 0 and self.is_cut and completions:
            return
        completions.insert(index, completed_at)
        if len(completions) == 1:
            return
        self.gaps += 1
        if index == len(completions) - 1:
            day = completed_at // DAY
            self.days[day] = max(self.days.get(day, 0), completed_at - completions[-2])
        else:
            self._update_days(completed_at, index)
        self._trim()

    def remove(self, completed_at: int) -> None:
        """Remove a completion that a correction moved elsewhere."""
        index = bisect_left(self.completions, completed_at)
        if index < len(self.completions) and self.completions[index] == completed_at:
            self.completions.pop(index)
            self.gaps = max(0, self.gaps - 1)
            self._update_days(completed_at, index)

    def interval(self) -> int | None:
        """The usual longest silence in milliseconds. None before three gaps."""
        if self.gaps < _MIN_GAPS or not self.days:
            return None
        longest = sorted(self.days[day] for day in self._window())
        return longest[-2] if len(longest) > 1 else longest[-1]

    def overdue_at(self) -> int | None:
        """When the flow is overdue if no further run ends. None before three gaps."""
        interval = self.interval()
        if interval is None or not self.completions:
            return None
        last = self.completions[-1]
        overdue_at = last + interval * 3 // 2 + _TOLERANCE
        if self.gaps + 1 >= _NEW_RUNS:
            return overdue_at
        spared_until = last + (_WEEKEND if interval >= _WEEKEND_FROM else _NIGHT)
        # The end of the day, because of older days only the number is kept.
        new_until = (min(self._window()) + 1) * DAY + _NEW_FOR
        return max(overdue_at, min(spared_until, new_until))

    def _window(self) -> list[int]:
        """The days whose gaps count."""
        days = sorted(self.days)
        first = days[-1] - _WINDOW_DAYS
        return [day for rank, day in enumerate(days) if day > first or rank >= len(days) - _MIN_DAYS]

    def _update_days(self, moment: int, index: int) -> None:
        """Measure again the days whose gaps changed around a completion that was added or removed."""
        days = {moment // DAY}
        if index + 1 < len(self.completions):
            days.add(self.completions[index + 1] // DAY)
        if index < len(self.completions):
            days.add(self.completions[index] // DAY)
        for day in days:
            self._measure(day)

    def _measure(self, day: int) -> None:
        completions = self.completions
        first = max(1, bisect_left(completions, day * DAY))
        last = bisect_left(completions, (day + 1) * DAY)
        longest = max((completions[at] - completions[at - 1] for at in range(first, last)), default=None)
        # Completions of this day may have been deleted, so the value measured before still counts.
        if self.is_cut and (not completions or day <= completions[0] // DAY):
            longest = max(longest or 0, self.days.get(day, 0))
        if longest is None:
            self.days.pop(day, None)
        else:
            self.days[day] = longest

    def _trim(self) -> None:
        """Delete completions that no late notification can follow any more, and days outside the window."""
        completions = self.completions
        old = max(bisect_left(completions, completions[-1] - _KEPT_FOR), len(completions) - _MAX_COMPLETIONS)
        # The last of the old ones stays because the next gap begins there.
        if old > 1:
            del completions[: old - 1]
            self.is_cut = True
            window = set(self._window())
            self.days = {day: gap for day, gap in self.days.items() if day in window}
