"""What pages and commands get to know of the flows that are on /metrics, as frozen values.

A summary is made from the same state as the gauges of its flow. Summaries are made only when somebody asks for them,
and only of the flows whose gauges were computed again since. So they cost a scrape nothing, and an answer that others
asked for before is quick.

Series do not occur here. Times and durations are milliseconds.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Final

from exporter.metrics.alerts import Alerts
from exporter.metrics.failure_streak import Streak
from exporter.metrics.flow_state import FlowState
from exporter.metrics.flows import Flows, has_slot
from exporter.metrics.run_history import Outcome
from exporter.metrics.runs_in_progress import RunsInProgress
from exporter.model import DAY, FlowKey, FlowKind

_SILENT_FOR: Final = 2 * DAY
_SILENT_INTERVALS: Final = 3


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

    @property
    def is_failing(self) -> bool:
        """Whether a run has failed since the last success."""
        return self.streak.failures > 0

    def is_overdue(self, now: int) -> bool:
        """Whether no run has ended for longer than is usual. A disabled flow is not expected to run."""
        return self.enabled is not False and self.overdue_at is not None and self.overdue_at < now

    def is_abandoned(self, now: int) -> bool:
        """Whether the flow has been silent for so long that its latest run no longer matters.

        That is two days, or three usual silences if that is longer. The alerts about flows have the same rule.
        """
        if self.last is None:
            return False
        return now - self.last.ended_at > max(_SILENT_FOR, _SILENT_INTERVALS * (self.interval or 0))


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


class FlowSummaries:
    """Keeps the summaries of flows."""

    def __init__(self, flows: Flows, runs: RunsInProgress, alerts: Alerts) -> None:
        """Summaries are made from these."""
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
        for key in self._flows:
            state = self._flows.get(key)
            if state is None or not state.is_known or not has_slot(key):
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
        )

    def _summary(self, key: FlowKey, state: FlowState, starts: Iterable[int], now: int) -> FlowSummary:
        firing = (name for name, is_firing in self._alerts.states(key, now).items() if is_firing)
        return summary_of(key, state, in_progress=sorted(starts), firing_alerts=sorted(firing))


AskFlows = Callable[[], CurrentFlows]
"""The flows as they are now. It blocks until all entries of the ledger are applied."""


def summary_of(
    key: FlowKey, state: FlowState, *, in_progress: Iterable[int] = (), firing_alerts: Iterable[str] = ()
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
    )
