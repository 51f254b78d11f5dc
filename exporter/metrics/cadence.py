"""Learns from a flow's completions how long the flow is usually silent.

For each day the longest gap that ended on it is kept. The interval is the second longest of these daily gaps, or the
only one. The days are those of the last 35, or the last eight with a gap where the 35 hold fewer.
Completions are kept one by one for as long as a late notification can split a gap. Of older days only the longest gap
is kept. Days are UTC. Times and gaps are milliseconds.
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
