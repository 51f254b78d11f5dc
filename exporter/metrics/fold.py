"""The fold: everything that the ledger's facts add up to.

The rule: state depends only on the facts, in order, and on `now`; never on how many at a time were folded, nor on when
somebody looked. Counters, histograms and summaries move when a fact is folded; gauges are worked out from what the
facts left behind when time advances, for the flows that changed since.

`now` is the largest of the times it was told and of the last fact's time of recording, so it never falls.

Knows neither ledger nor Adobe.
"""

import heapq
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from exporter.flowrun import (
    OTHER,
    Flow,
    FlowAlert,
    FlowRun,
    RecordedFact,
    Source,
    Status,
)
from exporter.metrics import catalogue
from exporter.metrics.alerts import FIRING_FOR, Alerts, Place
from exporter.metrics.catalogue import FLOW_METRICS
from exporter.metrics.gauges import FlowState, gauges
from exporter.metrics.history import Outcome
from exporter.metrics.projection import increments
from exporter.metrics.series import Series

_DAY: Final = 24 * 60 * 60 * 1000
HISTORY_AFTER: Final = _DAY
"""A series born of a run that ended this long before it was recorded is not held: history does not look like now."""
PAST_AFTER: Final = 8 * _DAY
"""A replayed run that ended this long before changes no series; ended run ids are remembered as long."""
IN_PROGRESS_FOR: Final = 7 * _DAY

MAX_CODES_PER_FLOW: Final = 20
MAX_CODES: Final = 500

EVENT_CODES: Final = frozenset(
    {
        "sources_flow_run_success",
        "sources_flow_run_failure",
        "sources_flow_run_failed",
        "source_flow_run_info",
        "source_flow_run_error",
        "identity_ingestion_info",
        "audit_events_info",
        "platform_event",
        *(f"{family}_load_{outcome}" for family in ("ing", "ps", "ig") for outcome in ("success", "failure")),
    }
)
"""The event codes that Adobe documents (adobe.md B1)."""
NO_CODE: Final = "none"

_ALERT_NAME = re.compile(r"[a-z0-9_]{1,64}")
_PRECREATED: Final = (Status.SUCCESS, Status.PARTIAL_SUCCESS, Status.FAILED)
_FLOW_GROUP: Final = catalogue.RUNS.group
_OF_A_FLOW: Final = tuple(metric for metric in FLOW_METRICS if metric.group == _FLOW_GROUP)

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class _Start:
    """A run in progress."""

    place: Place
    started_at: int
    recorded_at: int


class Fold:
    """The state that facts add up to, and its series."""

    def __init__(self, hold: int) -> None:
        """`hold`: milliseconds a new series is shown at 0."""
        self.series = Series(FLOW_METRICS, hold)
        self.now = 0
        self._flows: dict[Place, FlowState] = {}
        self._starts: dict[str, _Start] = {}
        self._ended: dict[str, tuple[int, int]] = {}
        self._alerts = Alerts()
        self._error_codes: set[str] = set()
        self._changed: dict[Place, None] = {}
        self._due: list[tuple[int, Place]] = []

    @property
    def flows(self) -> int:
        """Pairs of flow and sandbox."""
        return len(self._flows)

    def apply(self, recorded: RecordedFact) -> None:
        """Fold the next fact; facts come in the ledger's order."""
        self.now = max(self.now, recorded.received_at)
        self._let_go(recorded.received_at)
        fact = recorded.fact
        if _is_past(recorded):
            return
        match fact:
            case FlowRun():
                self._run(recorded, fact)
            case FlowAlert():
                self._alert(recorded, fact)
            case Flow():
                self._flow(recorded, fact)
                return
        code = recorded.event_code
        self.series.add(
            catalogue.NOTIFICATIONS,
            (getattr(fact, "sandbox", ""),),
            (code if code in EVENT_CODES else OTHER if code else NO_CODE,),
            1,
            recorded.received_at,
            held=not _is_history(recorded),
        )
        self.series.put(catalogue.LAST_NOTIFICATION, (recorded.source.value,), {(): recorded.received_at})

    def advance(self, now: int) -> None:
        """Bring every series to this time (milliseconds since 1970); a time before the last is taken as the last."""
        self.now = max(self.now, now)
        while self._due and self._due[0][0] <= self.now:
            self._changed[heapq.heappop(self._due)[1]] = None
        in_progress = self._in_progress()
        for place in self._changed:
            self._put_gauges(place, in_progress.get(place, ()))
        self._changed.clear()
        self.series.advance(self.now)

    def _run(self, recorded: RecordedFact, run: FlowRun) -> None:
        place = (run.flow_id, run.sandbox)
        at = recorded.received_at
        held = not _is_history(recorded)
        state = self._state(place)
        if not state.has_run:
            state.has_run = True
            for status in _PRECREATED:
                self.series.touch(catalogue.RUNS, place, (status.value,), at, held=held)
        ended_at = recorded.ended_at if recorded.ended_at is not None else at
        said = (ended_at if run.status.is_outcome else _start_of(run, at), recorded.position)
        state.hear(run.flow_name, run.kind, run.org, said)
        self._changed[place] = None
        if run.status is Status.IN_PROGRESS:
            self._start(recorded, run, place)
        elif run.status.is_outcome:
            self._end(recorded, run, state, ended_at)
            if recorded.counts:
                for increment in increments(run, self._codes(state, run)):
                    self.series.add(increment.metric, place, increment.labels, increment.amount, at, held=held)
                self._delay(recorded, run, held=held)

    def _start(self, recorded: RecordedFact, run: FlowRun, place: Place) -> None:
        if recorded.source is Source.REPLAY or run.run_id in self._ended or run.run_id in self._starts:
            return
        at = recorded.received_at
        self._starts[run.run_id] = _Start(place, _start_of(run, at), at)
        heapq.heappush(self._due, (at + IN_PROGRESS_FOR, place))

    def _end(self, recorded: RecordedFact, run: FlowRun, state: FlowState, ended_at: int) -> None:
        start = self._starts.pop(run.run_id, None)
        if start is not None:
            self._changed[start.place] = None
        self._ended.pop(run.run_id, None)
        self._ended[run.run_id] = (recorded.received_at, ended_at)
        for place in self._alerts.end_run(run.run_id, ended_at):
            self._changed[place] = None
        state.history.add(
            Outcome(
                ended_at=ended_at,
                position=recorded.position,
                run_id=run.run_id,
                status=run.status,
                updated_at=run.updated_at if run.updated_at is not None else ended_at,
                duration=run.duration,
                records=run.records,
            )
        )

    def _delay(self, recorded: RecordedFact, run: FlowRun, *, held: bool) -> None:
        if recorded.source is Source.REPLAY or run.completed_at is None:
            return
        delay = max(0, recorded.received_at - run.completed_at)
        self.series.add(catalogue.NOTIFICATION_DELAY, (run.sandbox,), (), delay, recorded.received_at, held=held)

    def _codes(self, state: FlowState, run: FlowRun) -> tuple[str, ...]:
        """The run's error codes as labels: bounded per flow and in all, each once."""
        found: dict[str, None] = {}
        for code in run.error_codes:
            is_known = code in state.error_codes
            has_room = len(state.error_codes) < MAX_CODES_PER_FLOW and (
                code in self._error_codes or len(self._error_codes) < MAX_CODES
            )
            if code != OTHER and (is_known or has_room):
                state.error_codes.add(code)
                self._error_codes.add(code)
                found[code] = None
            else:
                found[OTHER] = None
        return tuple(found)

    def _alert(self, recorded: RecordedFact, alert: FlowAlert) -> None:
        name = alert.name if _ALERT_NAME.fullmatch(alert.name) else OTHER
        ended = self._ended.get(alert.run_id)
        place = self._alerts.apply(
            alert, (alert.flow_id, alert.sandbox), name, recorded.received_at, ended[1] if ended else None
        )
        self.series.open((catalogue.ALERT_FIRING,), place)
        heapq.heappush(self._due, (recorded.received_at + FIRING_FOR, place))
        self._changed[place] = None

    def _flow(self, recorded: RecordedFact, flow: Flow) -> None:
        place = (flow.flow_id, flow.sandbox)
        state = self._state(place)
        said = (flow.updated_at if flow.updated_at is not None else recorded.received_at, recorded.position)
        state.hear(flow.flow_name, flow.kind, flow.org, said)
        state.enabled.hear("" if flow.enabled is None else str(flow.enabled), said)
        self._changed[place] = None

    def _state(self, place: Place) -> FlowState:
        state = self._flows.get(place)
        if state is None:
            state = self._flows[place] = FlowState()
            # All at once and in the order of the facts, so that no gauge's place depends on when it was looked at.
            self.series.open(_OF_A_FLOW, place)
        return state

    def _let_go(self, received_at: int) -> None:
        """Forget what no fact from now on can ask for; the oldest stand first."""
        _drop_while(self._ended, lambda entry: entry[0] + PAST_AFTER <= received_at)
        _drop_while(self._starts, lambda start: start.recorded_at + IN_PROGRESS_FOR <= received_at)

    def _in_progress(self) -> dict[Place, list[int]]:
        """When the runs in progress of the changed flows started."""
        found: dict[Place, list[int]] = {}
        if self._changed:
            for start in self._starts.values():
                if start.place in self._changed and self.now < start.recorded_at + IN_PROGRESS_FOR:
                    found.setdefault(start.place, []).append(start.started_at)
        return found

    def _put_gauges(self, place: Place, in_progress: Sequence[int]) -> None:
        state = self._flows.get(place)
        if state is not None:
            for metric, values in gauges(place[0], state, in_progress):
                self.series.put(metric, place, values)
        alerts = self._alerts.states(place, self.now)
        if alerts:
            self.series.put(catalogue.ALERT_FIRING, place, {(name,): int(firing) for name, firing in alerts.items()})


def _start_of(run: FlowRun, received_at: int) -> int:
    for moment in (run.started_at, run.created_at):
        if moment is not None:
            return moment
    return received_at


def _is_history(recorded: RecordedFact) -> bool:
    return recorded.ended_at is not None and recorded.received_at - recorded.ended_at > HISTORY_AFTER


def _is_past(recorded: RecordedFact) -> bool:
    """Whether it is a run of long ago from a file, kept for pages and backfill alone."""
    fact = recorded.fact
    if recorded.source is not Source.REPLAY or not isinstance(fact, FlowRun):
        return False
    happened_at = recorded.ended_at if fact.status.is_outcome else _start_of(fact, recorded.received_at)
    return happened_at is not None and recorded.received_at - happened_at > PAST_AFTER


def _drop_while(items: dict[str, _Item], is_gone: Callable[[_Item], bool]) -> None:
    while items:
        key, item = next(iter(items.items()))
        if not is_gone(item):
            return
        del items[key]
