"""What the gauges of one flow look back on: bounded, and indifferent to the order in which runs were told.

Gauges look at completion time, then at the position in the ledger; of several outcomes of one run id the one with the
newest `updatedAt` stands (contract 4.7). Kept of a flow: the 20 latest outcomes, the 20 latest that did not fail, the
latest with each status, and the failures since the last success. Older failures than MAX_FAILURES are kept as a number.

Weak point: where the run that held such a place is corrected, the key goes to the next that is still kept.

Knows nothing of series.
"""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Final

from exporter.model import DAY, Counts, Status

LATEST: Final = 20
MAX_FAILURES: Final = 1000
_LEAST_FOR_TYPICAL: Final = 3

_LEAST_GAPS: Final = 3
DAYS_OF_WINDOW: Final = 35
_LEASTDAYS: Final = 8
_EXACT: Final = 8 * DAY
"""How far back each completion is kept; Adobe's journal reaches back seven days."""
_MAX_EXACT: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one run ended, as far as gauges ask; times and durations in milliseconds."""

    ended_at: int
    position: int
    run_id: str
    status: Status
    updated_at: int
    duration: int | None = None
    records: Counts = ()

    @property
    def input_records(self) -> int | None:
        """Records the run read, where it said so."""
        return dict(self.records).get("input")


def _by_completion(outcome: Outcome) -> tuple[int, int]:
    return outcome.ended_at, outcome.position


if TYPE_CHECKING:
    _Array = array[int]
else:
    _Array = array


class Timestamps(_Array):
    """Many times, at eight bytes each: milliseconds since 1970, rising."""


@dataclass(slots=True)
class Cadence:
    """How long a flow is usually silent.

    Of each day's longest gap between completions, over the last 35 days and at least the last eight days that ended a
    gap, the second longest (the only one, while there is one day). Completions are kept one by one for as long as late
    notifications can split a gap; older days keep only their longest. The fields are what a checkpoint keeps.
    """

    completions: Timestamps = field(default_factory=lambda: Timestamps("q"))
    days: dict[int, int] = field(default_factory=dict)
    """The longest gap that ended on each day, by the day's number since 1970."""
    gaps: int = 0
    is_cut: bool = False

    def add(self, completed_at: int) -> None:
        """A run completed at this time (milliseconds since 1970)."""
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
            self._remember(completed_at, index)
        self._cut()

    def remove(self, completed_at: int) -> None:
        """A completion that was corrected away."""
        index = bisect_left(self.completions, completed_at)
        if index < len(self.completions) and self.completions[index] == completed_at:
            self.completions.pop(index)
            self.gaps = max(0, self.gaps - 1)
            self._remember(completed_at, index)

    def interval(self) -> int | None:
        """The second longest of the days' longest gaps, in milliseconds; None before three gaps."""
        if self.gaps < _LEAST_GAPS or not self.days:
            return None
        longest = sorted(self.days[day] for day in self._window())
        return longest[-2] if len(longest) > 1 else longest[-1]

    def _window(self) -> list[int]:
        days = sorted(self.days)
        first = days[-1] - DAYS_OF_WINDOW
        return [day for rank, day in enumerate(days) if day > first or rank >= len(days) - _LEASTDAYS]

    def _remember(self, moment: int, index: int) -> None:
        """Work out again the days whose gaps changed around a completion that came or went."""
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
        # Before the first completion that is kept the day may have had others.
        if self.is_cut and (not completions or day <= completions[0] // DAY):
            longest = max(longest or 0, self.days.get(day, 0))
        if longest is None:
            self.days.pop(day, None)
        else:
            self.days[day] = longest

    def _cut(self) -> None:
        """Let go of completions too old to be followed by a late one, and of days too old to matter."""
        completions = self.completions
        old = max(bisect_left(completions, completions[-1] - _EXACT), len(completions) - _MAX_EXACT)
        # The last of the old ones stays: the next gap begins there.
        if old > 1:
            del completions[: old - 1]
            self.is_cut = True
            window = set(self._window())
            self.days = {day: gap for day, gap in self.days.items() if day in window}


@dataclass(slots=True)
class RunHistory:
    """The outcomes of one flow that its gauges can still depend on; the fields are what a checkpoint keeps."""

    outcomes: list[Outcome] = field(default_factory=list)
    cadence: Cadence = field(default_factory=Cadence)
    forget_at: int = 2 * LATEST
    older_failures: int = 0
    older_failing_since: int = 0
    older_failing_until: int = 0

    def add(self, outcome: Outcome) -> None:
        """Take one outcome in; another of the same run id stands or falls by its `updated_at`."""
        known = next((kept for kept in self.outcomes if kept.run_id == outcome.run_id), None)
        if known is not None:
            if (outcome.updated_at, outcome.position) < (known.updated_at, known.position):
                return
            self.outcomes.remove(known)
            self.cadence.remove(known.ended_at)
        insort(self.outcomes, outcome, key=_by_completion)
        self.cadence.add(outcome.ended_at)
        if len(self.outcomes) >= self.forget_at:
            self._forget()
            # Half as much again, so that forgetting costs each outcome the same however many are kept.
            self.forget_at = len(self.outcomes) * 3 // 2 + LATEST

    def last_run_by_status(self) -> Mapping[Status, int]:
        """Completion of the latest run with each outcome."""
        return {outcome.status: outcome.ended_at for outcome in self.outcomes}

    def last_duration(self) -> int | None:
        """Duration of the latest run, where it is known."""
        return self.outcomes[-1].duration if self.outcomes else None

    def last_records(self) -> Mapping[str, int]:
        """Records of the latest run that did not fail."""
        latest = self._successes(1)
        return dict(latest[0].records) if latest else {}

    def typical_duration(self) -> float | None:
        """Median duration of the latest runs that did not fail."""
        return _typical([outcome.duration for outcome in self._successes(LATEST)])

    def typical_input_records(self) -> float | None:
        """Median of the records these read."""
        return _typical([outcome.input_records for outcome in self._successes(LATEST)])

    def interval(self) -> int | None:
        """The longest silence that is usual, in milliseconds."""
        return self.cadence.interval()

    def failures(self) -> tuple[int, int | None]:
        """How many runs failed since the last success, and when the first of these completed."""
        failed = self._failures_since_success()
        if self.older_failures and not self._succeeded_since(self.older_failing_until):
            return len(failed) + self.older_failures, self.older_failing_since
        return len(failed), failed[0].ended_at if failed else None

    def _successes(self, most: int) -> list[Outcome]:
        """The latest runs that succeeded, wholly or partly; latest first."""
        found: list[Outcome] = []
        for outcome in reversed(self.outcomes):
            if outcome.status.is_success:
                found.append(outcome)
                if len(found) == most:
                    break
        return found

    def _failures_since_success(self) -> list[Outcome]:
        failed: list[Outcome] = []
        for outcome in reversed(self.outcomes):
            if outcome.status.is_success:
                break
            if outcome.status is Status.FAILED:
                failed.append(outcome)
        failed.reverse()
        return failed

    def _succeeded_since(self, moment: int) -> bool:
        latest = self._successes(1)
        return bool(latest) and latest[0].ended_at >= moment

    def _forget(self) -> None:
        """Drop the outcomes that no gauge can look at any more."""
        if self._succeeded_since(self.older_failing_until):
            self.older_failures = self.older_failing_since = self.older_failing_until = 0
        failed = self._failures_since_success()
        if len(failed) > MAX_FAILURES:
            dropped = failed[: len(failed) - MAX_FAILURES]
            failed = failed[len(dropped) :]
            self.older_failing_since = self.older_failing_since or dropped[0].ended_at
            self.older_failing_until = dropped[-1].ended_at
            self.older_failures += len(dropped)
        by_status = {outcome.status: outcome for outcome in self.outcomes}
        kept = {
            *map(_by_completion, (*self.outcomes[-LATEST:], *self._successes(LATEST), *failed, *by_status.values()))
        }
        self.outcomes = [outcome for outcome in self.outcomes if _by_completion(outcome) in kept]


def _typical(values: list[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if len(known) >= _LEAST_FOR_TYPICAL else None
