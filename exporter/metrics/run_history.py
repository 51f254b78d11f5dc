"""The past outcomes of one flow, from which its gauges are computed. Bounded, whatever order notifications come in.

Outcomes are ordered by completion time, then by position in the ledger. Of several outcomes of one run id the one with
the newest `updatedAt` applies (docs/architecture.md, "Order and corrections"). These outcomes of a flow are kept: the
20 latest, the 20 latest that succeeded (wholly or partly), the latest with each status, and the failures since the last
success. So is the first success after the latest failure. Of failures beyond MAX_FAILURES only the number is kept, by
error codes.

Weak point: a correction can take an outcome out of one of these sets. If the next one in order was deleted before, the
one after it that is still kept is used instead.

Series do not occur here.
"""

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from operator import itemgetter
from statistics import median
from sys import intern
from typing import Final

from exporter.metrics.cadence import Cadence
from exporter.metrics.failure_streak import Streak, add_runs, count_by_code, first_code, join_codes
from exporter.model import OTHER, Counts, FlowRun, Status

LATEST: Final = 20
MAX_FAILURES: Final = 1000
_NO_FAILURES: Final = Streak()
_MIN_FOR_TYPICAL: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one run ended. Times and durations are milliseconds."""

    ended_at: int
    position: int
    run_id: str
    status: Status
    updated_at: int
    duration: int | None = None
    records: Counts = ()
    codes: str | None = None
    """Of a run that failed, its error codes (`failure_streak`). None for others, and where an earlier version saved
    it without them."""

    def __post_init__(self) -> None:
        if self.codes:
            # Those of a checkpoint are new texts, and thousands of failures have the same codes.
            object.__setattr__(self, "codes", intern(self.codes))

    @classmethod
    def of(cls, run: FlowRun, position: int, ended_at: int, codes: Iterable[str]) -> "Outcome":
        """The outcome of a run. `position` is that of its entry in the ledger, and `codes` are label values."""
        return cls(
            ended_at=ended_at,
            position=position,
            run_id=run.run_id,
            status=run.status,
            updated_at=run.updated_at if run.updated_at is not None else ended_at,
            duration=run.duration,
            records=run.records,
            codes=join_codes(codes) if run.status is Status.FAILED else None,
        )

    def over(self, known: "Outcome | None") -> "Outcome":
        """Of this outcome and one of the same run that was recorded before it, if any, the one that applies."""
        if known is None:
            return self
        if (self.updated_at, self.position) < (known.updated_at, known.position):
            return known
        if self.status is known.status is Status.FAILED:
            # The codes of a run are those that were recorded first, as in its counters.
            return replace(self, codes=known.codes)
        return self

    @property
    def input_records(self) -> int | None:
        """The number of records the run read, if it was reported."""
        return dict(self.records).get("input")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """A success after failures."""

    good: Outcome
    """The first run that succeeded, wholly or partly, after the last failure."""
    failed: Outcome
    """That failure."""


def _by_completion(outcome: Outcome) -> tuple[int, int]:
    return outcome.ended_at, outcome.position


def _by_start(outcome: Outcome) -> tuple[int, str]:
    """The order in which a streak's first failure is chosen. It does not depend on the order of recording."""
    return outcome.ended_at, outcome.run_id


def _first(failed: list[Outcome]) -> list[Outcome]:
    """The failure with which a streak begins. Empty without failures."""
    return [min(failed, key=_by_start)] if failed else []


@dataclass(slots=True)
class RunHistory:
    """The outcomes of one flow that its gauges can still depend on. The field names are those of the checkpoint."""

    outcomes: list[Outcome] = field(default_factory=list)
    cadence: Cadence = field(default_factory=Cadence)
    forget_at: int = 2 * LATEST
    """The number of outcomes at which those that are no longer needed are deleted."""
    older_failures: int = 0
    """The number of consecutive failures that were deleted, with the completion of the first and of the last."""
    older_failing_since: int = 0
    older_failing_until: int = 0
    older_codes: dict[str, int] = field(default_factory=dict)
    """The number of these failures by their codes. The sum is smaller if an earlier version counted some of them."""
    older_cause: str = ""
    """The first code of the first of them, or `none`. Empty if an earlier version deleted it."""

    def add(self, outcome: Outcome) -> None:
        """Add an outcome. Of two with the same run id, the one with the newer `updated_at` is kept."""
        known = next((kept for kept in self.outcomes if kept.run_id == outcome.run_id), None)
        if known is not None:
            outcome = outcome.over(known)
            if outcome is known:
                return
            self.outcomes.remove(known)
            self.cadence.remove(known.ended_at)
        insort(self.outcomes, outcome, key=_by_completion)
        self.cadence.add(outcome.ended_at)
        if len(self.outcomes) >= self.forget_at:
            self._forget()
            # Half as much again, so that the cost per outcome stays the same however many are kept.
            self.forget_at = len(self.outcomes) * 3 // 2 + LATEST

    def add_all(self, newer: "RunHistory") -> None:
        """Add the outcomes of another history of the same flow, which came after these."""
        for outcome in newer.outcomes:
            self.add(outcome)
        for completed_at in _without(newer.cadence.completions, [outcome.ended_at for outcome in newer.outcomes]):
            self.cadence.add(completed_at)
        self._end_older_streak()
        if newer.older_failures:
            self._add_older(
                newer.older_failures, newer.older_failing_since, newer.older_failing_until, newer.older_cause
            )
            for codes, runs in newer.older_codes.items():
                add_runs(self.older_codes, codes, runs)

    def set_codes(self, codes: Mapping[int, str]) -> None:
        """Set the error codes of outcomes, by position."""
        self.outcomes = [
            replace(each, codes=codes[each.position]) if each.position in codes else each for each in self.outcomes
        ]

    @property
    def lacks_older_codes(self) -> bool:
        """Whether an earlier version counted failures without their codes."""
        return sum(self.older_codes.values()) != self.older_failures

    def set_older_codes(self, outcomes: Iterable[Outcome]) -> None:
        """Count the failures that are kept as a number by their codes. What is not among these outcomes is `other`."""
        kept = {outcome.run_id for outcome in self.outcomes}
        failed = [
            each
            for each in outcomes
            if each.status is Status.FAILED
            and each.run_id not in kept
            and self.older_failing_since <= each.ended_at <= self.older_failing_until
        ]
        # A success that was corrected to a failure since can be one too many.
        failed = sorted(failed, key=_by_start)[: self.older_failures]
        self.older_codes = {}
        for each in failed:
            add_runs(self.older_codes, each.codes)
        if self.lacks_older_codes:
            add_runs(self.older_codes, OTHER, self.older_failures - sum(self.older_codes.values()))
        if not self.older_cause:
            has_first = failed and failed[0].ended_at == self.older_failing_since
            self.older_cause = first_code(failed[0].codes) if has_first else OTHER

    def last_run_by_status(self) -> Mapping[Status, int]:
        """The completion of the latest run with each status."""
        return {outcome.status: outcome.ended_at for outcome in self.outcomes}

    def last(self) -> Outcome | None:
        """The latest run. None before the first."""
        return self.outcomes[-1] if self.outcomes else None

    def last_good(self) -> Outcome | None:
        """The latest run that succeeded, wholly or partly. None before the first."""
        return next(iter(self._successes(1)), None)

    def last_failed(self) -> Outcome | None:
        """The latest run that failed. None before the first."""
        return next((each for each in reversed(self.outcomes) if each.status is Status.FAILED), None)

    def recovery(self) -> Recovery | None:
        """The success that ended the last failures. None if none did."""
        good: Outcome | None = None
        for outcome in reversed(self.outcomes):
            if outcome.status.is_success:
                good = outcome
            elif outcome.status is Status.FAILED:
                return None if good is None else Recovery(good=good, failed=outcome)
        return None

    def last_duration(self) -> int | None:
        """The duration of the latest run, if it is known."""
        return self.outcomes[-1].duration if self.outcomes else None

    def last_records(self) -> Mapping[str, int]:
        """The records of the latest run that succeeded, wholly or partly, by result."""
        latest = self.last_good()
        return {} if latest is None else dict(latest.records)

    def typical_duration(self) -> float | None:
        """The median duration of the latest runs that succeeded, wholly or partly. None before the third."""
        return _typical([outcome.duration for outcome in self._successes(LATEST)])

    def typical_input_records(self) -> float | None:
        """The median of the records that these runs read. None before the third."""
        return _typical([outcome.input_records for outcome in self._successes(LATEST)])

    def interval(self) -> int | None:
        """The usual longest silence in milliseconds. None before three gaps."""
        return self.cadence.interval()

    def overdue_at(self) -> int | None:
        """When the flow is overdue if no further run ends. None before three gaps."""
        return self.cadence.overdue_at()

    def streak(self) -> Streak:
        """The failures since the last success."""
        failed = self._failures_since_success()
        has_older = self.older_failures > 0 and not self._has_success_since(self.older_failing_until)
        if not failed and not has_older:
            return _NO_FAILURES
        runs = Counter(OTHER if each.codes is None else each.codes for each in failed)
        starts = [(first.ended_at, first_code(first.codes)) for first in _first(failed)]
        if has_older:
            starts.insert(0, (self.older_failing_since, self.older_cause or OTHER))
            runs.update(self.older_codes)
            runs[OTHER] += self.older_failures - sum(self.older_codes.values())
        since, cause = min(starts, key=itemgetter(0))
        return Streak(
            failures=len(failed) + (self.older_failures if has_older else 0),
            since=since,
            cause=cause,
            runs_by_code=count_by_code(runs),
        )

    def _successes(self, most: int) -> list[Outcome]:
        """The latest runs that succeeded, wholly or partly, latest first."""
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

    def _has_success_since(self, moment: int) -> bool:
        latest = self.last_good()
        return latest is not None and latest.ended_at >= moment

    def _end_older_streak(self) -> None:
        """Forget the failures that are kept as a number, if a success ended them."""
        if self.older_failures and self._has_success_since(self.older_failing_until):
            self.older_failures = self.older_failing_since = self.older_failing_until = 0
            self.older_codes = {}
            self.older_cause = ""

    def _add_older(self, failures: int, since: int, until: int, cause: str) -> None:
        """Add failures that are not kept one by one: their number, the first and last completion, and the cause."""
        if not self.older_failures or since < self.older_failing_since:
            self.older_failing_since, self.older_cause = since, cause
        self.older_failing_until = max(self.older_failing_until, until)
        self.older_failures += failures

    def _forget(self) -> None:
        """Delete the outcomes that no gauge needs any more."""
        self._end_older_streak()
        failed = self._failures_since_success()
        if len(failed) > MAX_FAILURES:
            dropped = failed[: len(failed) - MAX_FAILURES]
            failed = failed[len(dropped) :]
            for first in _first(dropped):
                self._add_older(len(dropped), first.ended_at, dropped[-1].ended_at, first_code(first.codes))
            for each in dropped:
                add_runs(self.older_codes, each.codes)
        by_status = {outcome.status: outcome for outcome in self.outcomes}
        recovery = self.recovery()
        ended = [] if recovery is None else [recovery.good]
        needed = (*self.outcomes[-LATEST:], *self._successes(LATEST), *failed, *by_status.values(), *ended)
        kept = set(map(_by_completion, needed))
        self.outcomes = [outcome for outcome in self.outcomes if _by_completion(outcome) in kept]


def _typical(values: list[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if len(known) >= _MIN_FOR_TYPICAL else None


def _without(moments: Iterable[int], others: Iterable[int]) -> Iterable[int]:
    """The times that are not among the others, each as often as it is there more often."""
    return (Counter(moments) - Counter(others)).elements()
