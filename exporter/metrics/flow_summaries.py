"""What pages and commands get to know of the flows that are on /metrics, as frozen values.

A summary is made from the same state as the gauges of its flow. Summaries are made only when somebody asks for them,
and only of the flows whose gauges were computed again since. So they cost a scrape nothing, and an answer that others
asked for before is quick.

The conditions of a flow are those of the alerts in prometheus/alerts.yml, without the time for which an alert waits.
They need a summary and the time alone. Times and durations are milliseconds.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Final

from exporter.metrics import catalogue
from exporter.metrics.alerts import Alerts
from exporter.metrics.failure_streak import Streak
from exporter.metrics.flow_state import FlowState
from exporter.metrics.flows import Flows, has_slot
from exporter.metrics.run_history import Outcome, Recovery
from exporter.metrics.runs_in_progress import RunsInProgress
from exporter.metrics.series import SeriesStore
from exporter.model import DAY, FlowKey, FlowKind

_HOUR: Final = DAY // 24

DISABLED_AFTER: Final = 30 * DAY
"""Adobe disables a source flow that has failed for so long without a success."""
DISABLED_SOON: Final = 9 * DAY
"""How long before that somebody should act."""
RECOVERED_FOR: Final = 6 * _HOUR
"""How long a flow counts as recovered after the success that ended its failures."""

_SILENT_FOR: Final = 2 * DAY
_SILENT_INTERVALS: Final = 3
_DISABLED_FOR: Final = 7 * DAY
_DISABLED_INTERVALS: Final = 2
_FAILING_RUN_FOR: Final = 10 * DAY
_STUCK_DURATIONS: Final = 3
_STUCK_LEAST: Final = _HOUR
_STUCK_WITHOUT_TYPICAL: Final = 6 * _HOUR
_UNUSUALLY_EMPTY: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSummary:
    """One flow in one sandbox, at the time of `CurrentFlows.now`. Its gauges say the same."""

    key: FlowKey
    name: str
    """The last name that was not empty. Of a query its id, because the name of a query can be its SQL."""
    kind: FlowKind
    org: str
    enabled: bool | None
    """As the Flow Service says. None if it is not known."""
    recorded_at: int
    """When the newest entry of this flow was recorded."""
    last: Outcome | None
    """The latest run that ended."""
    last_good: Outcome | None
    """The latest run that succeeded, wholly or partly."""
    streak: Streak
    interval: int | None
    """The longest silence that is usual. None before three gaps."""
    overdue_at: int | None
    """When the flow is overdue if no further run ends. None before three gaps."""
    typical_duration: float | None
    """The median of the latest runs that succeeded. None before the third."""
    typical_input_records: float | None
    """The same of the records that they read."""
    in_progress: tuple[int, ...]
    """The start times of the runs in progress, the oldest first."""
    firing_alerts: tuple[str, ...]
    """The names of Adobe's own alerts that are firing."""
    last_failed: Outcome | None = None
    """The latest run that failed."""
    recovery: Recovery | None = None
    """The success that ended the last failures. None if none did."""
    runs_with_input: int = 0
    """Of the runs that are counted, those that succeeded and reported how many records they read."""
    empty_runs: int = 0
    """The number of these that read none."""

    @property
    def is_failing(self) -> bool:
        """Whether a run has failed since the last success, also long ago or before the flow was disabled."""
        return self.streak.failures > 0

    @property
    def is_disabled(self) -> bool:
        """Whether the Flow Service says so."""
        return self.enabled is False

    @property
    def silence_limit(self) -> int | None:
        """How long the flow may be silent until it is overdue. None before three gaps."""
        return None if self.overdue_at is None or self.last is None else self.overdue_at - self.last.ended_at

    @property
    def stuck_after(self) -> float:
        """How long a run may be in progress until it is stuck."""
        typical = self.typical_duration
        return max(_STUCK_WITHOUT_TYPICAL if typical is None else _STUCK_DURATIONS * typical, _STUCK_LEAST)

    @property
    def may_be_disabled_at(self) -> int | None:
        """When Adobe disables the flow if it goes on failing. None if it does not fail, or is no source.

        A flow of an unknown kind can be a source.
        """
        is_source = self.kind in {FlowKind.SOURCE, FlowKind.UNKNOWN}
        if self.streak.since is None or not is_source or self.is_disabled:
            return None
        return self.streak.since + DISABLED_AFTER

    @property
    def needs_repair(self) -> bool:
        """Whether it fails and is not disabled: AEPFlowRunFailed or AEPFlowFailingRepeatedly.

        These alerts end for a flow that is abandoned. Pages show it still, and say that it is.
        """
        return self.is_failing and not self.is_disabled

    def is_overdue(self, now: int) -> bool:
        """Whether no run has ended for longer than is usual. A disabled flow is not expected to run: AEPFlowOverdue."""
        return not self.is_disabled and self.overdue_at is not None and self.overdue_at < now

    def is_stuck(self, now: int) -> bool:
        """Whether a run has been in progress for much longer than is typical: AEPFlowRunStuck."""
        return bool(self.in_progress) and not self.is_disabled and now - self.in_progress[0] > self.stuck_after

    def is_empty(self, now: int) -> bool:
        """Whether the latest run that succeeded read no records, which is unusual for the flow: AEPFlowZeroRecords."""
        return (
            self.last_good is not None
            and self.last_good.input_records == 0
            and (self.typical_input_records or 0) > 0
            and not self.is_failing
            and self.empty_runs <= 1 + _UNUSUALLY_EMPTY * self.runs_with_input
            and not self.is_disabled
            and not self.is_abandoned(now)
        )

    def is_disabled_while_failing(self, now: int) -> bool:
        """Whether it is disabled and its latest run failed not long ago: AEPFlowDisabledWhileFailing."""
        if not self.is_failing or not self.is_disabled:
            return False
        return self._ran_within(now, max(_DISABLED_FOR, _DISABLED_INTERVALS * (self.interval or 0)))

    def is_disabled_soon(self, now: int) -> bool:
        """Whether Adobe disables it within DISABLED_SOON, because it fails: AEPFlowDisableImminent."""
        at = self.may_be_disabled_at
        return at is not None and at - now < DISABLED_SOON and self._ran_within(now, _FAILING_RUN_FOR)

    def has_recovered(self, now: int) -> bool:
        """Whether a success ended its failures within RECOVERED_FOR, and no run has failed since."""
        return self.recovery is not None and not self.is_failing and now - self.recovery.good.ended_at < RECOVERED_FOR

    def is_abandoned(self, now: int) -> bool:
        """Whether the flow has been silent for so long that its latest run no longer matters.

        That is two days, or three usual silences if that is longer. The alerts about flows have the same rule.
        """
        if self.last is None:
            return False
        return not self._ran_within(now, max(_SILENT_FOR, _SILENT_INTERVALS * (self.interval or 0)))

    def _ran_within(self, now: int, limit: int) -> bool:
        """Whether the latest run ended at most so long ago, or none has ended yet."""
        return self.last is None or now - self.last.ended_at <= limit


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentFlows:
    """The flows that are on /metrics one by one, at one moment."""

    now: int
    """By the ledger's clock."""
    flows: Mapping[FlowKey, FlowSummary]
    """A flow that only Adobe's alerts named is not there: nothing is known of it."""
    without_slot: Set[FlowKey]
    """Flows that are counted as `other`, because --series.max-flows was reached."""
    overflowed: int
    """The number of flows that found no slot. It can be more than are in `without_slot`."""
    other_alerts: Mapping[FlowKey, tuple[str, ...]] = field(default_factory=dict)
    """The names of Adobe's alerts that are firing for what is not in `flows`. Most name no flow: their id is empty."""


class FlowSummaries:
    """Keeps the summaries of flows."""

    def __init__(self, flows: Flows, runs: RunsInProgress, alerts: Alerts, series: SeriesStore) -> None:
        """Summaries are made from these."""
        self._series = series
        self._flows = flows
        self._runs = runs
        self._alerts = alerts
        self._changed: dict[FlowKey, None] = {}
        self._made: dict[FlowKey, FlowSummary] = {}

    def note(self, keys: Iterable[FlowKey]) -> None:
        """Have the summaries of these flows made again, because their gauges were computed again."""
        self._changed.update(dict.fromkeys(keys))

    def current(self, now: int, hidden: Container[FlowKey]) -> CurrentFlows:
        """The flows that are shown at this time. `hidden` are those that have expired."""
        in_progress = self._runs.start_times(self._changed, now) if self._changed else {}
        made: dict[FlowKey, FlowSummary] = {}
        unknown: list[FlowKey] = []
        for key in self._flows:
            state = self._flows.get(key)
            if state is None or not state.is_known or not has_slot(key):
                unknown.append(key)
                continue
            summary = None if key in self._changed else self._made.get(key)
            made[key] = summary or self._summary(key, state, in_progress.get(key, []), now)
        self._made = made
        self._changed.clear()
        return CurrentFlows(
            now=now,
            flows={key: summary for key, summary in made.items() if key not in hidden},
            without_slot=frozenset(self._flows.without_slot),
            overflowed=self._flows.overflowed,
            other_alerts={key: names for key in unknown if key not in hidden and (names := self._firing(key, now))},
        )

    def _firing(self, key: FlowKey, now: int) -> tuple[str, ...]:
        return tuple(sorted(name for name, is_firing in self._alerts.states(key, now).items() if is_firing))

    def _summary(self, key: FlowKey, state: FlowState, starts: Iterable[int], now: int) -> FlowSummary:
        # The number of runs in each bucket, of which the first is for those that read nothing, and then a sum.
        buckets = self._series.values(catalogue.INPUT_RECORDS, key, ())[:-1]
        return summary_of(
            key,
            state,
            in_progress=sorted(starts),
            firing_alerts=self._firing(key, now),
            runs_with_input=sum(buckets),
            empty_runs=buckets[0] if buckets else 0,
        )


AskFlows = Callable[[], CurrentFlows]
"""The flows as they are now. It blocks until all entries of the ledger are applied."""


def summary_of(
    key: FlowKey,
    state: FlowState,
    *,
    in_progress: Iterable[int] = (),
    firing_alerts: Iterable[str] = (),
    runs_with_input: int = 0,
    empty_runs: int = 0,
) -> FlowSummary:
    """The summary of a flow of this state."""
    history = state.run_history
    return FlowSummary(
        key=key,
        name=state.shown_name(key.flow_id),
        kind=state.shown_kind,
        org=state.org.value or "",
        enabled=state.enabled.value,
        recorded_at=state.recorded_at,
        last=history.last(),
        last_good=history.last_good(),
        streak=history.streak(),
        interval=history.interval(),
        overdue_at=history.overdue_at(),
        typical_duration=history.typical_duration(),
        typical_input_records=history.typical_input_records(),
        in_progress=tuple(in_progress),
        firing_alerts=tuple(firing_alerts),
        last_failed=history.last_failed(),
        recovery=history.recovery(),
        runs_with_input=runs_with_input,
        empty_runs=empty_runs,
    )
