"""The fold: everything that the ledger's facts add up to.

The rule: state depends only on the facts, in order, and on `now`; never on how many at a time were folded, nor on when
somebody looked. Counters, histograms and summaries move when a fact is folded; gauges are worked out from what the
facts left behind when time advances, for the flows that changed since. Which flows there are is decided in `flows`.

`now` is the largest of the times it was told and of the last fact's time of recording, so it never falls. The whole
state can be taken out and put back (`state`, `restore`), at any place in any history, and nobody can tell.

Knows neither ledger nor Adobe.
"""

import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from exporter.metrics import catalogue
from exporter.metrics.alerts import FIRING_FOR, Alerts, AlertsState
from exporter.metrics.catalogue import FLOW, FLOW_METRICS, SANDBOX, MetricType
from exporter.metrics.families import FamilyState
from exporter.metrics.flow_state import FlowState
from exporter.metrics.flows import Flows, FlowsState, Limits, has_slot, is_shared
from exporter.metrics.gauges import gauges
from exporter.metrics.history import Outcome
from exporter.metrics.increments import increments
from exporter.metrics.series import SeriesStore
from exporter.model import (
    DAY,
    OTHER,
    Flow,
    FlowAlert,
    FlowKey,
    FlowRun,
    Forgotten,
    RecordedFact,
    Source,
    Status,
    Unreadable,
)

BACKDATED_AFTER: Final = DAY
"""A series born of a run that ended this long before it was recorded is not held: history does not look like now."""
PAST_AFTER: Final = 8 * DAY
"""A replayed run that ended this long before changes no series; ended run ids are remembered as long."""
IN_PROGRESS_FOR: Final = 7 * DAY

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

_PRECREATED: Final = (Status.SUCCESS, Status.PARTIAL_SUCCESS, Status.FAILED)

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Start:
    """A run in progress; the fields are what a checkpoint keeps."""

    key: FlowKey
    started_at: int
    recorded_at: int


@dataclass(slots=True, kw_only=True)
class FoldState:
    """Everything that facts add up to, as a checkpoint keeps it."""

    limits: Limits | None = None
    """Those it was made with; others apply from then on."""
    now: int = 0
    flows: FlowsState = field(default_factory=FlowsState)
    starts: list[tuple[str, Start]] = field(default_factory=list)
    ended: list[tuple[str, tuple[int, int]]] = field(default_factory=list)
    alerts: AlertsState = field(default_factory=AlertsState)
    last_notifications: list[tuple[str, int]] = field(default_factory=list)
    series: list[FamilyState] = field(default_factory=list)


class Fold:
    """The state that facts add up to, and its series."""

    def __init__(self, limits: Limits) -> None:
        """Nothing has been folded yet."""
        self.series = SeriesStore(FLOW_METRICS, limits.hold)
        self.now = 0
        self.limits = limits
        self._flows = Flows(limits)
        # Ordered dicts: a plain one is slow to find its first item when many were taken away before it.
        self._starts: OrderedDict[str, Start] = OrderedDict()
        self._ended: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._alerts = Alerts()
        self._error_codes: Counter[str] = Counter()
        self._last_notifications: dict[str, int] = {}
        self._changed: dict[FlowKey, None] = {}
        self._hidden: dict[FlowKey, None] = {}
        self._due: list[tuple[int, FlowKey]] = []

    @property
    def flows(self) -> int:
        """Pairs of flow and sandbox that are shown one by one."""
        return self._flows.slots - sum(map(has_slot, self._hidden))

    @property
    def overflowed(self) -> int:
        """Flows that found no slot and were counted as `other`."""
        return self._flows.overflowed

    def sandboxes_of(self, flow_id: str) -> list[str]:
        """The sandboxes in which a flow of this id is shown."""
        return [key[1] for key in self._flows if key[0] == flow_id and key not in self._hidden]

    def apply(self, recorded: RecordedFact) -> None:
        """Fold the next fact; facts come in the ledger's order."""
        self.now = max(self.now, recorded.received_at)
        self._let_go(recorded.received_at)
        fact = recorded.fact
        if _is_past(recorded):
            return
        if isinstance(fact, Forgotten):
            for key in [key for key in self._flows if key[0] == fact.flow_id]:
                self._drop(key)
            return
        told = "" if isinstance(fact, Unreadable) else fact.sandbox
        sandbox = self._sandbox(told, recorded.received_at)
        match fact:
            case FlowRun():
                self._run(recorded, fact, sandbox)
            case FlowAlert():
                self._alert(recorded, fact, sandbox)
            case Flow():
                self._flow(recorded, fact, sandbox)
                return
        code = recorded.event_code
        self.series.add(
            catalogue.NOTIFICATIONS,
            (sandbox,),
            (code if code in EVENT_CODES else OTHER if code else NO_CODE,),
            1,
            recorded.received_at,
            held=not _is_backdated(recorded),
        )
        self._last_notifications[recorded.source.value] = recorded.received_at

    def advance(self, now: int) -> None:
        """Bring every series to this time (milliseconds since 1970); a time before the last is taken as the last."""
        self.now = max(self.now, now)
        for key in self._flows.silent(self.now):
            self._hidden[key] = None
            self.series.hide(FLOW, key, hidden=True)
        while self._due and self._due[0][0] <= self.now:
            self._changed[heapq.heappop(self._due)[1]] = None
        in_progress = self._in_progress()
        for key in self._changed:
            self._put_gauges(key, in_progress.get(key, ()))
        self._changed.clear()
        for source, at in self._last_notifications.items():
            self.series.put(catalogue.LAST_NOTIFICATION, (source,), {(): at})
        self.series.advance(self.now)

    def state(self) -> FoldState:
        """What `restore` takes back; parts of it are the fold's own, so it is to be used before the fold moves."""
        return FoldState(
            limits=self.limits,
            now=self.now,
            flows=self._flows.state(),
            starts=list(self._starts.items()),
            ended=list(self._ended.items()),
            alerts=self._alerts.state(),
            last_notifications=list(self._last_notifications.items()),
            series=self.series.state(),
        )

    def restore(self, state: FoldState) -> None:
        """Begin with what another left off with; only before anything was folded."""
        self.now = state.now
        self._flows.restore(state.flows)
        self._starts = OrderedDict(state.starts)
        self._ended = OrderedDict(state.ended)
        self._alerts.restore(state.alerts)
        self._last_notifications = dict(state.last_notifications)
        self.series.advance(state.now)
        for key in self._flows:
            self.series.open(FLOW, key)
            self._changed[key] = None
        for _, flow in state.flows.flows:
            self._error_codes.update(flow.error_codes)
        self.series.restore(state.series)
        self._due = [
            *((start.recorded_at + IN_PROGRESS_FOR, start.key) for start in self._starts.values()),
            *self._alerts.ends(),
        ]
        heapq.heapify(self._due)

    def _sandbox(self, name: str, at: int) -> str:
        """The sandbox's label."""
        label, gone = self._flows.sandbox(name, at)
        for sandbox in gone:
            self.series.drop(SANDBOX, (sandbox,))
        return label

    def _record(self, flow_id: str, sandbox: str, at: int) -> tuple[FlowKey, FlowState]:
        """Where something is recorded for a flow."""
        key, state, is_new = self._flows.record(flow_id, sandbox, at)
        if is_new:
            # All at once and in the order of the facts, so that no gauge's place depends on when it was looked at.
            self.series.open(FLOW, key)
        return key, state

    def _run(self, recorded: RecordedFact, run: FlowRun, sandbox: str) -> None:
        at = recorded.received_at
        key, state = self._record(run.flow_id, sandbox, at)
        held = not _is_backdated(recorded)
        if not state.has_run:
            state.has_run = True
            for status in _PRECREATED:
                self.series.ensure(catalogue.RUNS, key, (status.value,), at, held=held)
        ended_at = recorded.ended_at if recorded.ended_at is not None else at
        if run.status.is_outcome:
            self._end(recorded, run, ended_at)
            if recorded.counts:
                self._count(recorded, run, key, state, held=held)
        if is_shared(key):
            return
        self._changed[key] = None
        if run.status is Status.IN_PROGRESS:
            self._start(recorded, run, key)
        elif run.status.is_outcome:
            state.run_history.add(_outcome(recorded, run, ended_at))
        as_of = (ended_at if run.status.is_outcome else _start_of(run, at), recorded.position)
        state.describe(run.flow_name, run.kind, run.org, as_of)

    def _count(self, recorded: RecordedFact, run: FlowRun, key: FlowKey, state: FlowState, *, held: bool) -> None:
        """Count the first outcome of a run; of several flows together only what can be added up."""
        for metric, labels, amount in increments(run, self._codes(state, run)):
            if metric.type is MetricType.COUNTER or not is_shared(key):
                self.series.add(metric, key, labels, amount, recorded.received_at, held=held, run_id=run.run_id)
        self._delay(recorded, run, key[1], held=held)

    def _start(self, recorded: RecordedFact, run: FlowRun, key: FlowKey) -> None:
        if recorded.source is Source.REPLAY or run.run_id in self._ended or run.run_id in self._starts:
            return
        at = recorded.received_at
        self._starts[run.run_id] = Start(key, _start_of(run, at), at)
        heapq.heappush(self._due, (at + IN_PROGRESS_FOR, key))

    def _end(self, recorded: RecordedFact, run: FlowRun, ended_at: int) -> None:
        """What ends with a run, wherever it was announced."""
        start = self._starts.pop(run.run_id, None)
        if start is not None:
            self._changed[start.key] = None
        self._ended.pop(run.run_id, None)
        self._ended[run.run_id] = (recorded.received_at, ended_at)
        for key in self._alerts.end_run(run.run_id, ended_at):
            self._changed[key] = None

    def _delay(self, recorded: RecordedFact, run: FlowRun, sandbox: str, *, held: bool) -> None:
        if recorded.source is Source.REPLAY or run.completed_at is None:
            return
        delay = max(0, recorded.received_at - run.completed_at)
        self.series.add(catalogue.NOTIFICATION_DELAY, (sandbox,), (), delay, recorded.received_at, held=held)

    def _codes(self, state: FlowState, run: FlowRun) -> tuple[str, ...]:
        """The run's error codes as labels: bounded per flow and in all, each once."""
        found: dict[str, None] = {}
        for code in run.error_codes:
            if code != OTHER and code not in state.error_codes and self._has_room(state, code):
                state.error_codes.add(code)
                self._error_codes[code] += 1
            found[code if code in state.error_codes else OTHER] = None
        return tuple(found)

    def _has_room(self, state: FlowState, code: str) -> bool:
        return len(state.error_codes) < MAX_CODES_PER_FLOW and (
            code in self._error_codes or len(self._error_codes) < MAX_CODES
        )

    def _alert(self, recorded: RecordedFact, alert: FlowAlert, sandbox: str) -> None:
        at = recorded.received_at
        told, _ = self._record(alert.flow_id, sandbox, at)
        if is_shared(told):
            return
        ended = self._ended.get(alert.run_id)
        name = self._alerts.label(alert.name, told)
        # From a file, history must not look like now.
        fired_at = min(at, alert.changed_at or at) if recorded.source is Source.REPLAY else at
        run_ended_at = ended[1] if ended else None
        key = self._alerts.apply(alert, told, name, received_at=at, fired_at=fired_at, run_ended_at=run_ended_at)
        heapq.heappush(self._due, (fired_at + FIRING_FOR, key))
        self._changed[key] = None

    def _flow(self, recorded: RecordedFact, flow: Flow, sandbox: str) -> None:
        key, state = self._record(flow.flow_id, sandbox, recorded.received_at)
        as_of = (flow.updated_at if flow.updated_at is not None else recorded.received_at, recorded.position)
        state.describe(flow.flow_name, flow.kind, flow.org, as_of)
        state.enabled.update(flow.enabled, as_of)
        self._changed[key] = None

    def _drop(self, key: FlowKey) -> None:
        """Let go of a flow, with all that is told of it."""
        state = self._flows.drop(key)
        self._error_codes -= Counter(state.error_codes)
        self._alerts.drop(key)
        for run_id in [run_id for run_id, start in self._starts.items() if start.key == key]:
            del self._starts[run_id]
        self.series.drop(FLOW, key)

    def _let_go(self, received_at: int) -> None:
        """Forget what no fact from now on can ask for; the oldest stand first."""
        _drop_while(self._ended, lambda entry: entry[0] + PAST_AFTER <= received_at)
        _drop_while(self._starts, lambda start: start.recorded_at + IN_PROGRESS_FOR <= received_at)
        for key in [*self._hidden, *self._flows.silent(received_at)]:
            leaves_at = self._flows.leaves_at(key)
            if leaves_at < received_at:
                self._drop(key)
            else:
                # It was hidden by a clock that has gone back since.
                self.series.hide(FLOW, key, hidden=False)
                self._flows.check_at(key, leaves_at)
        self._hidden.clear()

    def _in_progress(self) -> dict[FlowKey, list[int]]:
        """When the runs in progress of the changed flows started."""
        found: dict[FlowKey, list[int]] = {}
        if self._changed:
            for start in self._starts.values():
                if start.key in self._changed and self.now < start.recorded_at + IN_PROGRESS_FOR:
                    found.setdefault(start.key, []).append(start.started_at)
        return found

    def _put_gauges(self, key: FlowKey, in_progress: Sequence[int]) -> None:
        state = self._flows.get(key)
        if state is None or is_shared(key):
            return
        for metric, values in gauges(key[0], state, in_progress):
            self.series.put(metric, key, values)
        alerts = self._alerts.states(key, self.now)
        self.series.put(catalogue.ALERT_FIRING, key, {(name,): int(firing) for name, firing in alerts.items()})


def _outcome(recorded: RecordedFact, run: FlowRun, ended_at: int) -> Outcome:
    return Outcome(
        ended_at=ended_at,
        position=recorded.position,
        run_id=run.run_id,
        status=run.status,
        updated_at=run.updated_at if run.updated_at is not None else ended_at,
        duration=run.duration,
        records=run.records,
    )


def _start_of(run: FlowRun, received_at: int) -> int:
    for moment in (run.started_at, run.created_at):
        if moment is not None:
            return moment
    return received_at


def _is_backdated(recorded: RecordedFact) -> bool:
    return recorded.ended_at is not None and recorded.received_at - recorded.ended_at > BACKDATED_AFTER


def _is_past(recorded: RecordedFact) -> bool:
    """Whether it is a run or an alert of long ago from a file, kept for pages and backfill alone."""
    fact = recorded.fact
    if recorded.source is not Source.REPLAY:
        return False
    happened_at: int | None = None
    if isinstance(fact, FlowAlert):
        happened_at = fact.changed_at
    elif isinstance(fact, FlowRun):
        happened_at = recorded.ended_at if fact.status.is_outcome else _start_of(fact, recorded.received_at)
    return happened_at is not None and recorded.received_at - happened_at > PAST_AFTER


def _drop_while(items: OrderedDict[str, _Item], is_gone: Callable[[_Item], bool]) -> None:
    while items:
        key, item = next(iter(items.items()))
        if not is_gone(item):
            return
        del items[key]
