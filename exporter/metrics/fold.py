"""The fold: applies the ledger's facts one by one, and keeps the state and the series that they add up to.

The rule: the state depends only on the facts, in their order, and on `now`. It does not depend on how many facts are
applied at a time, nor on when the series are rendered. Counters, histograms and summaries change when a fact is
applied. Gauges are computed when time advances, for the flows that changed since. `flows` decides which flows are
shown.

`now` is the largest of the times given to `advance` and of the facts' times of recording, so small steps of the clock
move nothing back. A fact that corrects the clock moves `now` and every remembered time of recording
(docs/architecture.md, "Clock"). What is forgotten for good because of its age must be old by Adobe's times too, because
the clock that says so can be wrong. The whole state can be saved and restored (`state`, `restore`) after any fact, and
the series are the same as without that.

Nothing here reads the ledger or Adobe's payloads.
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
from exporter.metrics.flow_state import FlowState, RunStart
from exporter.metrics.flows import Flows, FlowsState, Limits, has_slot, is_shared
from exporter.metrics.gauges import gauges
from exporter.metrics.increments import increments
from exporter.metrics.run_history import Outcome
from exporter.metrics.series import SeriesStore
from exporter.metrics.set_aside import SetAside, SilentFlow
from exporter.metrics.skipped import Skipped, SkippedEntry
from exporter.model import (
    CLOCK_TOLERANCE,
    DAY,
    OTHER,
    ClockCorrection,
    Flow,
    FlowAlert,
    FlowKey,
    FlowRun,
    Forgotten,
    RecordedFact,
    SkipReason,
    Source,
    Status,
    Unreadable,
)

BACKDATED_AFTER: Final = DAY
"""A run that ended longer before it was recorded is backdated. A series that it creates is not held."""
TOO_OLD_AFTER: Final = 8 * DAY
"""A replayed run that ended longer before changes no series. The ids of ended runs are kept for as long."""
IN_PROGRESS_FOR: Final = 7 * DAY
"""A run whose end never comes counts as in progress for so long."""

VERSION: Final = 1
"""The version of the rules. It rises with a release that folds entries which an earlier one could not fold."""

MAX_STARTS: Final = 20_000
"""Runs in progress that are remembered. Beyond it the one that was recorded first is dropped."""
MAX_ENDED: Final = 300_000
"""Ended runs that are remembered. Beyond it the one that was recorded first is dropped. It is more than a day of 2,000
flows that run every 15 minutes. No start arrives later, because Adobe gives up after a day."""
MAX_UNCONFIRMED: Final = 5_000
"""So many runs of a kind are remembered for longer while Adobe's times do not confirm that the time has passed."""

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
"""The event codes that Adobe documents (docs/adobe.md, "Event codes")."""
NO_CODE: Final = "none"

ALERTS: Final = "alert"
STARTS: Final = "start"
ENDED_RUNS: Final = "ended_run"
DROPPED_KINDS: Final = (ALERTS, STARTS, ENDED_RUNS)
"""What is dropped at a bound."""
_MIN_GAUGE_CHANGES: Final = 1000

_PRECREATED: Final = (Status.SUCCESS, Status.PARTIAL_SUCCESS, Status.FAILED)

_Item = TypeVar("_Item")


@dataclass(slots=True, kw_only=True)
class FoldState:
    """The whole state of a fold, as a checkpoint stores it."""

    limits: Limits | None = None
    """The limits it was made with. A restored fold applies its own limits from then on."""
    now: int = 0
    flows: FlowsState = field(default_factory=FlowsState)
    starts: list[tuple[str, RunStart]] = field(default_factory=list)
    ended: list[tuple[str, tuple[int, int]]] = field(default_factory=list)
    """Ended runs by id, each with when its end was recorded and when it ended. The oldest record comes first."""
    alerts: AlertsState = field(default_factory=AlertsState)
    last_notifications: list[tuple[str, int]] = field(default_factory=list)
    series: list[FamilyState] = field(default_factory=list)
    version: int = 0
    """The VERSION of the fold that saved it."""
    skipped: Skipped = field(default_factory=Skipped)
    dropped: dict[str, int] = field(default_factory=dict)
    """How much was dropped at a bound, by kind."""
    newest_event: int = 0
    """The newest time at which anything happened by Adobe's clock. 0 without one."""
    recorded_until: int = 0
    """The largest time of recording since the last correction of the clock."""
    correction: tuple[int, int] | None = None
    """The last correction of the clock: from and to."""
    set_aside: list[SilentFlow] = field(default_factory=list)


class Fold:
    """The state that the applied facts add up to, and its series."""

    def __init__(self, limits: Limits) -> None:
        """Begin without facts."""
        self.series = SeriesStore(FLOW_METRICS, limits.hold)
        self.now = 0
        self.limits = limits
        self._flows = Flows(limits)
        # Ordered dicts, because a plain dict is slow to find its first item after many deletions at its front.
        self._starts: OrderedDict[str, RunStart] = OrderedDict()
        self._ended: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._alerts = Alerts()
        self._set_aside = SetAside(limits.max_flows, self._flows.expiry)
        self._newest_event = 0
        self._recorded_until = 0
        self._correction: tuple[int, int] | None = None
        self._error_codes: Counter[str] = Counter()
        self._last_notifications: dict[str, int] = {}
        self._changed: dict[FlowKey, None] = {}
        """The flows whose gauges have to be computed again."""
        self._hidden: dict[FlowKey, None] = {}
        """The flows that expired since the last fact."""
        self._gauge_changes: list[tuple[int, FlowKey]] = []
        """A heap of when a flow's gauges change by time alone."""
        self._gauge_changes_limit = _MIN_GAUGE_CHANGES
        """The length of the heap at which it is made again."""
        self.skipped = Skipped()
        """The entries that are not part of this state."""
        self.dropped = dict.fromkeys(DROPPED_KINDS, 0)
        """How much was dropped at a bound, by kind."""

    @property
    def flows(self) -> int:
        """The number of pairs of flow and sandbox that are shown one by one."""
        return self._flows.slots - sum(map(has_slot, self._hidden))

    @property
    def overflowed(self) -> int:
        """The number of flows that found no slot and are counted as `other`."""
        return self._flows.overflowed

    def sandboxes_of(self, flow_id: str) -> list[str]:
        """The sandboxes in which a flow of this id is shown."""
        return [key.sandbox for key in self._flows if key.flow_id == flow_id and key not in self._hidden]

    def apply(self, recorded: RecordedFact) -> None:
        """Apply the next fact, in the order of the ledger."""
        fact = recorded.fact
        if isinstance(fact, ClockCorrection):
            self._correct_clock(fact)
            return
        self.now = max(self.now, recorded.received_at)
        self._recorded_until = max(self._recorded_until, recorded.received_at)
        self._newest_event = max(self._newest_event, _happened_at(recorded) or 0)
        self._delete_old(recorded.received_at)
        if _is_too_old(recorded):
            return
        if isinstance(fact, Forgotten):
            for key in [key for key in self._flows if key.flow_id == fact.flow_id]:
                self._drop(key)
            self._set_aside.delete_flow(fact.flow_id)
            return
        name = "" if isinstance(fact, Unreadable) else fact.sandbox
        sandbox = self._record_sandbox(name, recorded.received_at)
        match fact:
            case FlowRun():
                self._apply_run(recorded, fact, sandbox)
            case FlowAlert():
                self._apply_alert(recorded, fact, sandbox)
            case Flow():
                self._apply_flow(recorded, fact, sandbox)
                # No notification of Adobe's, so it is not counted as one.
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

    def skip(self, position: int, received_at: int, reason: SkipReason) -> None:
        """Note an entry that is not applied."""
        self.skipped.add(SkippedEntry(position, received_at, reason))

    def advance(self, now: int) -> None:
        """Bring every series to this time (milliseconds since 1970). A time before the last one has no effect."""
        self.now = max(self.now, now)
        for key in self._flows.take_expired(self.now):
            self._hidden[key] = None
            self.series.set_hidden(FLOW, key, hidden=True)
        while self._gauge_changes and self._gauge_changes[0][0] <= self.now:
            self._changed[heapq.heappop(self._gauge_changes)[1]] = None
        in_progress = self._in_progress()
        for key in self._changed:
            self._set_gauges(key, in_progress.get(key, ()))
        self._changed.clear()
        for source, at in self._last_notifications.items():
            self.series.set_gauges(catalogue.LAST_NOTIFICATION, (source,), {(): at})
        self.series.advance(self.now)

    def state(self) -> FoldState:
        """The state that `restore` takes. It shares objects with the fold, so encode it before the next fact."""
        return FoldState(
            limits=self.limits,
            now=self.now,
            flows=self._flows.state(),
            starts=list(self._starts.items()),
            ended=list(self._ended.items()),
            alerts=self._alerts.state(),
            last_notifications=list(self._last_notifications.items()),
            series=self.series.state(),
            version=VERSION,
            skipped=self.skipped,
            dropped=self.dropped,
            newest_event=self._newest_event,
            recorded_until=self._recorded_until,
            correction=self._correction,
            set_aside=self._set_aside.state(),
        )

    def restore(self, state: FoldState) -> None:
        """Restore a saved state. Call it before any fact is applied."""
        self.now = state.now
        self._flows.restore(state.flows)
        self._starts = OrderedDict(state.starts)
        self._ended = OrderedDict(state.ended)
        self._alerts.restore(state.alerts)
        self._last_notifications = dict(state.last_notifications)
        self.skipped = state.skipped
        self.dropped = dict.fromkeys(DROPPED_KINDS, 0) | state.dropped
        self._drop_excess()
        self._newest_event = state.newest_event
        self._recorded_until = state.recorded_until
        self._correction = state.correction
        self._set_aside.restore(state.set_aside)
        self.series.advance(state.now)
        for key in self._flows:
            self.series.create_groups(FLOW, key)
            self._changed[key] = None
        for _, flow in state.flows.flows:
            self._error_codes.update(flow.error_codes)
        self.series.restore(state.series)
        self._make_gauge_changes()

    def _make_gauge_changes(self) -> None:
        """Make the heap of gauge changes from what is remembered now."""
        self._gauge_changes = [
            *((start.recorded_at + IN_PROGRESS_FOR, start.key) for start in self._starts.values()),
            *self._alerts.ends(),
        ]
        heapq.heapify(self._gauge_changes)
        self._gauge_changes_limit = 2 * len(self._gauge_changes) + _MIN_GAUGE_CHANGES

    def _add_gauge_change(self, at: int, key: FlowKey) -> None:
        """Have the gauges of a flow computed again at this time."""
        heapq.heappush(self._gauge_changes, (at, key))
        # Starts that ended and alerts that fired again leave items behind, which would add up for days.
        if len(self._gauge_changes) > self._gauge_changes_limit:
            self._changed[key] = None
            self._make_gauge_changes()

    def _drop_excess(self) -> None:
        """Drop what was recorded first where more is remembered than the bounds allow."""
        while len(self._starts) > MAX_STARTS:
            self._changed[self._starts.popitem(last=False)[1].key] = None
            self.dropped[STARTS] += 1
        while len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)
            self.dropped[ENDED_RUNS] += 1
        for key in self._alerts.drop_excess():
            self._changed[key] = None
            self.dropped[ALERTS] += 1

    def _correct_clock(self, correction: ClockCorrection) -> None:
        """Move every remembered time of recording, and show again what only the old clock had hidden.

        A step back sets later times to the time of the new clock. A step forward moves all times by as much, so that
        nothing is older than it was.
        """
        from_, to = correction.from_, correction.to
        if (from_, to) == self._correction:
            return
        self._correction = from_, to
        if to > from_:
            if to - from_ <= CLOCK_TOLERANCE or self._recorded_until > from_ + CLOCK_TOLERANCE:
                # Something was recorded by the new clock already, so that times of both are mixed.
                self.now = max(self.now, to)
                self._recorded_until = max(self._recorded_until, to)
                return
            self.now = max(self.now, to)
            self._move_times(correction, lambda at: min(at + to - from_, to))
        else:
            self.now = min(self.now, to)
            self._newest_event = min(self._newest_event, to)
            self._last_notifications = {source: min(at, to) for source, at in self._last_notifications.items()}
            self._move_times(correction, lambda at: min(at, to))
        self._recorded_until = to
        self._put_back(to)
        self._drop_excess()
        for key in self._hidden:
            self.series.set_hidden(FLOW, key, hidden=False)
        self._hidden.clear()
        self._flows.schedule_all_checks()
        self._changed = dict.fromkeys(self._flows)
        self._make_gauge_changes()

    def _move_times(self, correction: ClockCorrection, move: Callable[[int], int]) -> None:
        """Move every remembered time. `move` returns the new time of an old time of recording."""
        self.series.correct(correction)
        self._set_aside.correct(correction, self.limits.hold, move)
        self._flows.move_times(move)
        self._alerts.move_times(move)
        self._starts = OrderedDict((run_id, start.moved(move)) for run_id, start in self._starts.items())
        self._ended = OrderedDict((run_id, (move(at), ended_at)) for run_id, (at, ended_at) in self._ended.items())

    def _put_back(self, now: int) -> None:
        """Put back the flows that had not expired at this time, with what was counted since they were set aside."""
        for silent in self._set_aside.take_unexpired(now):
            key = silent.key
            known = self._flows.get(key)
            codes = Counter(known.error_codes) if known is not None else Counter()
            if self._flows.add_older(key, silent.flow):
                self.series.create_groups(FLOW, key)
            self._error_codes = self._error_codes - codes + Counter(silent.flow.error_codes)
            self._alerts.add_older(silent.alerts)
            for run_id, start in silent.starts:
                if run_id not in self._ended:
                    self._starts.setdefault(run_id, start)
            self.series.add_older(silent.series)
        self._starts = OrderedDict(sorted(self._starts.items(), key=lambda item: item[1].recorded_at))

    def _record_sandbox(self, name: str, at: int) -> str:
        """Note an entry for a sandbox, and return the sandbox's label."""
        label, dropped = self._flows.record_sandbox(name, at, self._horizon(at) if self._newest_event else at)
        for sandbox in dropped:
            self.series.drop_groups(SANDBOX, (sandbox,))
        return label

    def _record_flow(self, flow_id: str, sandbox: str, at: int) -> tuple[FlowKey, FlowState]:
        """Note an entry for a flow, and return the key and the state under which it is counted."""
        key, state, is_new = self._flows.record_flow(flow_id, sandbox, at)
        if is_new:
            # All groups at once and in the order of the facts, so that the order of lines does not depend on when
            # gauges were computed first.
            self.series.create_groups(FLOW, key)
        return key, state

    def _apply_run(self, recorded: RecordedFact, run: FlowRun, sandbox: str) -> None:
        at = recorded.received_at
        key, state = self._record_flow(run.flow_id, sandbox, at)
        held = not _is_backdated(recorded)
        if not state.has_run:
            state.has_run = True
            for status in _PRECREATED:
                self.series.ensure(catalogue.RUNS, key, (status.value,), at, held=held)
        ended_at = recorded.ended_at if recorded.ended_at is not None else at
        if run.status.is_outcome:
            self._end_run(recorded, run, ended_at)
            if recorded.counts:
                self._count(recorded, run, key, state, held=held)
        if is_shared(key):
            return
        self._changed[key] = None
        if run.status is Status.IN_PROGRESS:
            self._start_run(recorded, run, key)
        elif run.status.is_outcome:
            state.run_history.add(_outcome(recorded, run, ended_at))
        as_of = (ended_at if run.status.is_outcome else _started_at(run, at), recorded.position)
        state.describe(run.flow_name, run.kind, run.org, as_of)

    def _count(self, recorded: RecordedFact, run: FlowRun, key: FlowKey, state: FlowState, *, held: bool) -> None:
        """Count the first outcome of a run. Flows that are counted together have counters only."""
        for metric, labels, amount in increments(run, self._codes(state, run)):
            if metric.type is MetricType.COUNTER or not is_shared(key):
                self.series.add(metric, key, labels, amount, recorded.received_at, held=held, run_id=run.run_id)
        self._observe_delay(recorded, run, key.sandbox, held=held)

    def _start_run(self, recorded: RecordedFact, run: FlowRun, key: FlowKey) -> None:
        at = recorded.received_at
        if recorded.source is Source.REPLAY or self._ended_by(run.run_id, at) is not None:
            return
        known = self._starts.get(run.run_id)
        if known is not None:
            if known.recorded_at + IN_PROGRESS_FOR > at:
                return
            del self._starts[run.run_id]
        self._starts[run.run_id] = RunStart(key, _started_at(run, at), at)
        self._drop_excess()
        self._add_gauge_change(at + IN_PROGRESS_FOR, key)

    def _ended_by(self, run_id: str, at: int) -> int | None:
        """When a run ended, if its end was recorded in the days before this time."""
        ended = self._ended.get(run_id)
        return None if ended is None or ended[0] + TOO_OLD_AFTER <= at else ended[1]

    def _end_run(self, recorded: RecordedFact, run: FlowRun, ended_at: int) -> None:
        """End what ends with a run: its being in progress, under whatever flow it started, and its alerts."""
        start = self._starts.pop(run.run_id, None)
        if start is not None:
            self._changed[start.key] = None
        self._ended.pop(run.run_id, None)
        self._ended[run.run_id] = (recorded.received_at, ended_at)
        self._drop_excess()
        for key in self._alerts.end_run(run.run_id, ended_at):
            self._changed[key] = None

    def _observe_delay(self, recorded: RecordedFact, run: FlowRun, sandbox: str, *, held: bool) -> None:
        if recorded.source is Source.REPLAY or run.completed_at is None or run.status is Status.UNKNOWN:
            return
        delay = max(0, recorded.received_at - run.completed_at)
        self.series.add(catalogue.NOTIFICATION_DELAY, (sandbox,), (), delay, recorded.received_at, held=held)

    def _codes(self, state: FlowState, run: FlowRun) -> tuple[str, ...]:
        """The run's error codes as label values, each once. Beyond the limits per flow and in all a code is `other`."""
        found: dict[str, None] = {}
        for code in run.error_codes:
            if code != OTHER and code not in state.error_codes and self._may_add_code(state, code):
                state.error_codes.add(code)
                self._error_codes[code] += 1
            found[code if code in state.error_codes else OTHER] = None
        return tuple(found)

    def _may_add_code(self, state: FlowState, code: str) -> bool:
        return len(state.error_codes) < MAX_CODES_PER_FLOW and (
            code in self._error_codes or len(self._error_codes) < MAX_CODES
        )

    def _apply_alert(self, recorded: RecordedFact, alert: FlowAlert, sandbox: str) -> None:
        at = recorded.received_at
        named, _ = self._record_flow(alert.flow_id, sandbox, at)
        if is_shared(named):
            return
        name = self._alerts.label(alert.name, named)
        # A file can hold an old FIRING, which must not last for a day from now.
        fired_at = min(at, alert.changed_at or at) if recorded.source is Source.REPLAY else at
        key = self._alerts.apply(
            alert,
            named,
            name,
            received_at=at,
            fired_at=fired_at,
            run_ended_at=self._ended_by(alert.run_id, at),
            horizon=self._horizon(at),
        )
        self._changed[key] = None
        self._drop_excess()
        self._add_gauge_change(fired_at + FIRING_FOR, key)

    def _apply_flow(self, recorded: RecordedFact, flow: Flow, sandbox: str) -> None:
        key, state = self._record_flow(flow.flow_id, sandbox, recorded.received_at)
        as_of = (flow.updated_at if flow.updated_at is not None else recorded.received_at, recorded.position)
        state.describe(flow.flow_name, flow.kind, flow.org, as_of)
        state.enabled.update(flow.enabled, as_of)
        self._changed[key] = None

    def _drop(self, key: FlowKey) -> SilentFlow:
        """Delete a flow with its alerts, its runs in progress and its series. Return what was deleted."""
        state = self._flows.drop(key)
        self._error_codes -= Counter(state.error_codes)
        starts = [(run_id, start) for run_id, start in self._starts.items() if start.key == key]
        for run_id, _ in starts:
            del self._starts[run_id]
        return SilentFlow(
            key=key,
            flow=state,
            starts=starts,
            alerts=self._alerts.drop(key),
            series=self.series.take_groups(FLOW, key),
        )

    def _horizon(self, received_at: int) -> int:
        """The time before which everything is old by the ledger's clock and by Adobe's. 0 without a time of Adobe's."""
        return min(received_at, self._newest_event)

    def _delete_old(self, received_at: int) -> None:
        """Delete what no later fact can need: old run ids, and the flows that expired before this time.

        What is old by the ledger's clock alone is set aside or kept for longer, up to a number.
        """
        horizon = self._horizon(received_at)
        self._set_aside.delete_expired(horizon)
        _delete_old(self._ended, lambda entry: entry[0] + TOO_OLD_AFTER, horizon, received_at)
        _delete_old(self._starts, lambda start: start.recorded_at + IN_PROGRESS_FOR, horizon, received_at)
        for key in [*self._hidden, *self._flows.take_expired(received_at)]:
            expires_at = self._flows.expires_at(key)
            if expires_at < received_at:
                silent = self._drop(key)
                if expires_at >= horizon:
                    self._set_aside.put(silent)
            else:
                # A clock that has gone back since had hidden it.
                self.series.set_hidden(FLOW, key, hidden=False)
                self._flows.schedule_check(key, expires_at)
        self._hidden.clear()

    def _in_progress(self) -> dict[FlowKey, list[int]]:
        """The start times of the runs in progress, for the flows whose gauges have to be computed."""
        found: dict[FlowKey, list[int]] = {}
        if self._changed:
            for start in self._starts.values():
                if start.key in self._changed and self.now < start.recorded_at + IN_PROGRESS_FOR:
                    found.setdefault(start.key, []).append(start.started_at)
        return found

    def _set_gauges(self, key: FlowKey, in_progress: Sequence[int]) -> None:
        state = self._flows.get(key)
        if state is None or is_shared(key):
            return
        for metric, values in gauges(key.flow_id, state, in_progress):
            self.series.set_gauges(metric, key, values)
        alerts = self._alerts.states(key, self.now)
        self.series.set_gauges(catalogue.ALERT_FIRING, key, {(name,): int(firing) for name, firing in alerts.items()})


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


def _started_at(run: FlowRun, received_at: int) -> int:
    """When a run started, or the best substitute."""
    for moment in (run.started_at, run.created_at):
        if moment is not None:
            return moment
    return received_at


def _is_backdated(recorded: RecordedFact) -> bool:
    return recorded.ended_at is not None and recorded.received_at - recorded.ended_at > BACKDATED_AFTER


def _is_too_old(recorded: RecordedFact) -> bool:
    """Whether it is a run or an alert from a file that is too old for any series. The ledger keeps it all the same."""
    fact = recorded.fact
    if recorded.source is not Source.REPLAY:
        return False
    happened_at: int | None = None
    if isinstance(fact, FlowAlert):
        happened_at = fact.changed_at
    elif isinstance(fact, FlowRun):
        happened_at = recorded.ended_at if fact.status.is_outcome else _started_at(fact, recorded.received_at)
    return happened_at is not None and recorded.received_at - happened_at > TOO_OLD_AFTER


def _happened_at(recorded: RecordedFact) -> int | None:
    """When it happened by Adobe's clock, if Adobe gave a time."""
    return recorded.fact.changed_at if isinstance(recorded.fact, FlowAlert) else recorded.ended_at


def _delete_old(items: OrderedDict[str, _Item], old_at: Callable[[_Item], int], horizon: int, received_at: int) -> None:
    """Delete from the front what was old before the horizon, and what is old now beyond MAX_UNCONFIRMED."""
    while items:
        key, item = next(iter(items.items()))
        if old_at(item) > (received_at if len(items) > MAX_UNCONFIRMED else horizon):
            return
        del items[key]
