"""The past outcomes of one flow, from which its gauges are computed. Bounded, whatever order notifications come in.

Outcomes are ordered by completion time, then by position in the ledger. Of several outcomes of one run id the one with
the newest `updatedAt` applies (docs/architecture.md, "Order and corrections"). These outcomes of a flow are kept: the
20 latest, the 20 latest that succeeded (wholly or partly), the latest with each status, and the failures since the last
success. Of failures beyond MAX_FAILURES only the number is kept.

Weak point: a correction can take an outcome out of one of these sets. If the next one in order was deleted before, the
one after it that is still kept is used instead.

Series do not occur here.
"""

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from exporter.metrics.cadence import Cadence
from exporter.model import Counts, FlowRun, Status

LATEST: Final = 20
MAX_FAILURES: Final = 1000
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

    @classmethod
    def of(cls, run: FlowRun, position: int, ended_at: int) -> "Outcome":
        """The outcome of a run. `position` is that of its entry in the ledger."""
        return cls(
            ended_at=ended_at,
            position=position,
            run_id=run.run_id,
            status=run.status,
            updated_at=run.updated_at if run.updated_at is not None else ended_at,
            duration=run.duration,
            records=run.records,
        )

    @property
    def input_records(self) -> int | None:
        """The number of records the run read, if it was reported."""
        return dict(self.records).get("input")


def _by_completion(outcome: Outcome) -> tuple[int, int]:
    return outcome.ended_at, outcome.position


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

    def add(self, outcome: Outcome) -> None:
        """Add an outcome. Of two with the same run id, the one with the newer `updated_at` is kept."""
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
            # Half as much again, so that the cost per outcome stays the same however many are kept.
            self.forget_at = len(self.outcomes) * 3 // 2 + LATEST

    def add_all(self, newer: "RunHistory") -> None:
        """Add the outcomes of another history of the same flow, which came after these."""
        for outcome in newer.outcomes:
            self.add(outcome)
        for completed_at in _without(newer.cadence.completions, [outcome.ended_at for outcome in newer.outcomes]):
            self.cadence.add(completed_at)
        if newer.older_failures:
            self.older_failures += newer.older_failures
            self.older_failing_since = self.older_failing_since or newer.older_failing_since
            self.older_failing_until = max(self.older_failing_until, newer.older_failing_until)

    def last_run_by_status(self) -> Mapping[Status, int]:
        """The completion of the latest run with each status."""
        return {outcome.status: outcome.ended_at for outcome in self.outcomes}

    def last_duration(self) -> int | None:
        """The duration of the latest run, if it is known."""
        return self.outcomes[-1].duration if self.outcomes else None

    def last_records(self) -> Mapping[str, int]:
        """The records of the latest run that succeeded, wholly or partly, by result."""
        latest = self._successes(1)
        return dict(latest[0].records) if latest else {}

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

    def failures(self) -> tuple[int, int | None]:
        """The number of failures since the last success, and the completion of the first of them."""
        failed = self._failures_since_success()
        if self.older_failures and not self._has_success_since(self.older_failing_until):
            return len(failed) + self.older_failures, self.older_failing_since
        return len(failed), failed[0].ended_at if failed else None

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
        latest = self._successes(1)
        return bool(latest) and latest[0].ended_at >= moment

    def _forget(self) -> None:
        """Delete the outcomes that no gauge needs any more."""
        if self._has_success_since(self.older_failing_until):
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
    return median(known) if len(known) >= _MIN_FOR_TYPICAL else None


def _without(moments: Iterable[int], others: Iterable[int]) -> Iterable[int]:
    """The times that are not among the others, each as often as it is there more often."""
    return (Counter(moments) - Counter(others)).elements()
