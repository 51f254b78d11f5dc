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

from typing import Final

from exporter.metrics import catalogue
from exporter.metrics.alerts import FIRING_FOR, Alerts
from exporter.metrics.catalogue import FLOW, FLOW_METRICS, SANDBOX, MetricType
from exporter.metrics.code_labels import ErrorCodes, event_code_label
from exporter.metrics.fact_times import happened_at, is_backdated, is_too_old, started_at
from exporter.metrics.flow_state import FlowState
from exporter.metrics.flow_summaries import CurrentFlows, FlowSummaries
from exporter.metrics.flows import Flows, Limits, has_slot, is_shared
from exporter.metrics.fold_clock import FoldClock
from exporter.metrics.fold_state import ALERTS, DROPPED_KINDS, ENDED_RUNS, STARTS, FoldState
from exporter.metrics.gauge_changes import GaugeChanges
from exporter.metrics.increments import increments
from exporter.metrics.run_history import Outcome
from exporter.metrics.runs_in_progress import RunsInProgress, RunStart
from exporter.metrics.series import SeriesStore
from exporter.metrics.set_aside import SetAside, SilentFlow
from exporter.metrics.skipped import Skipped, SkippedEntry
from exporter.model import (
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
from exporter.plain_text import clean

VERSION: Final = 1
"""The version of the rules. It rises with a release that folds entries which an earlier one could not fold."""

_PRECREATED: Final = (Status.SUCCESS, Status.PARTIAL_SUCCESS, Status.FAILED)


class Fold:
    """The state that the applied facts add up to, and its series."""

    def __init__(self, limits: Limits) -> None:
        """Begin without facts."""
        self.series = SeriesStore(FLOW_METRICS, limits.hold)
        self.limits = limits
        self._flows = Flows(limits)
        self._runs = RunsInProgress()
        self._alerts = Alerts()
        self._set_aside = SetAside(limits.max_flows, self._flows.expiry)
        self._clock = FoldClock()
        self._error_codes = ErrorCodes()
        self._last_notifications: dict[str, int] = {}
        self._summaries = FlowSummaries(self._flows, self._runs, self._alerts)
        self._gauge_changes = GaugeChanges(self._flows, self._runs, self._alerts, self.series, self._summaries)
        self._hidden: dict[FlowKey, None] = {}
        """The flows that expired since the last fact."""
        self.skipped = Skipped()
        """The entries that are not part of this state."""
        self.dropped = dict.fromkeys(DROPPED_KINDS, 0)
        """How much was dropped at a bound, by kind."""

    @property
    def now(self) -> int:
        """The time up to which everything is computed, in milliseconds since 1970."""
        return self._clock.now

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

    def current_flows(self) -> CurrentFlows:
        """The flows that are shown one by one, as they are after the last `advance`."""
        return self._summaries.current(self.now, self._hidden)

    def apply(self, recorded: RecordedFact) -> None:
        """Apply the next fact, in the order of the ledger."""
        fact = recorded.fact
        if isinstance(fact, ClockCorrection):
            self._correct_clock(fact)
            return
        self._clock.record(recorded.received_at, happened_at(recorded))
        self._delete_old(recorded.received_at)
        if is_too_old(recorded):
            return
        # Earlier versions stored ids and sandboxes with characters that are not for labels. Where a fact is read from a
        # body, they are clean already.
        if isinstance(fact, Forgotten):
            flow_id = clean(fact.flow_id)
            for key in [key for key in self._flows if key.flow_id == flow_id]:
                self._drop(key)
            self._set_aside.delete_flow(flow_id)
            return
        name = "" if isinstance(fact, Unreadable) else clean(fact.sandbox)
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
        self.series.add(
            catalogue.NOTIFICATIONS,
            (sandbox,),
            (event_code_label(recorded.event_code),),
            1,
            recorded.received_at,
            held=not is_backdated(recorded),
        )
        self._last_notifications[recorded.source.value] = recorded.received_at

    def skip(self, position: int, received_at: int, reason: SkipReason) -> None:
        """Note an entry that is not applied."""
        self.skipped.add(SkippedEntry(position, received_at, reason))

    def advance(self, now: int) -> None:
        """Bring every series to this time (milliseconds since 1970). A time before the last one has no effect."""
        self._clock.advance(now)
        for key in self._flows.take_expired(self.now):
            self._hidden[key] = None
            self.series.set_hidden(FLOW, key, hidden=True)
        self._gauge_changes.compute(self.now)
        for source, at in self._last_notifications.items():
            self.series.set_gauges(catalogue.LAST_NOTIFICATION, (source,), {(): at})
        self.series.advance(self.now)

    def state(self) -> FoldState:
        """The state that `restore` takes. It shares objects with the fold, so encode it before the next fact."""
        return FoldState(
            limits=self.limits,
            now=self.now,
            flows=self._flows.state(),
            starts=self._runs.starts(),
            ended=self._runs.ended(),
            alerts=self._alerts.state(),
            last_notifications=list(self._last_notifications.items()),
            series=self.series.state(),
            version=VERSION,
            skipped=self.skipped,
            dropped=self.dropped,
            newest_event=self._clock.newest_event,
            recorded_until=self._clock.recorded_until,
            correction=self._clock.correction,
            set_aside=self._set_aside.state(),
        )

    def restore(self, state: FoldState) -> None:
        """Restore a saved state. Call it before any fact is applied."""
        self._clock = FoldClock(
            now=state.now,
            newest_event=state.newest_event,
            recorded_until=state.recorded_until,
            correction=state.correction,
        )
        self._flows.restore(state.flows)
        self._runs.restore(state.starts, state.ended)
        self._alerts.restore(state.alerts)
        self._last_notifications = dict(state.last_notifications)
        self.skipped = state.skipped
        self.dropped = dict.fromkeys(DROPPED_KINDS, 0) | state.dropped
        self._drop_excess()
        self._set_aside.restore(state.set_aside)
        self.series.advance(state.now)
        for key in self._flows:
            self.series.create_groups(FLOW, key)
        for _, flow in state.flows.flows:
            self._error_codes.add(flow.error_codes)
        self.series.restore(state.series)
        self._gauge_changes.add_all()

    def _drop_excess(self) -> None:
        """Drop what was recorded first where more is remembered than the bounds allow."""
        for key in self._runs.drop_excess():
            self._gauge_changes.add(key)
            self.dropped[STARTS] += 1
        self.dropped[ENDED_RUNS] += self._runs.drop_excess_ended()
        for key in self._alerts.drop_excess():
            self._gauge_changes.add(key)
            self.dropped[ALERTS] += 1

    def _correct_clock(self, correction: ClockCorrection) -> None:
        """Move every remembered time of recording, and show again what only the old clock had hidden."""
        move = self._clock.correct(correction)
        if move is None:
            return
        if correction.to <= correction.from_:
            # After a step forward these stay as they were shown, because nothing is hidden for their age.
            self._last_notifications = {source: move(at) for source, at in self._last_notifications.items()}
        self.series.correct(correction)
        self._set_aside.correct(correction, self.limits.hold, move)
        self._flows.move_times(move)
        self._alerts.move_times(move)
        self._runs.move_times(move)
        self._put_back(correction.to)
        self._drop_excess()
        for key in self._hidden:
            self.series.set_hidden(FLOW, key, hidden=False)
        self._hidden.clear()
        self._flows.schedule_all_checks()
        self._gauge_changes.add_all()

    def _put_back(self, now: int) -> None:
        """Put back the flows that had not expired at this time, with what was counted since they were set aside."""
        unexpired = self._set_aside.take_unexpired(now)
        for silent in unexpired:
            known = self._flows.get(silent.key)
            if known is not None:
                self._error_codes.remove(known.error_codes)
            if self._flows.add_older(silent.key, silent.flow):
                self.series.create_groups(FLOW, silent.key)
            self._error_codes.add(silent.flow.error_codes)
            self._alerts.add_older(silent.alerts)
            self.series.add_older(silent.series)
        self._runs.add_older(start for silent in unexpired for start in silent.starts)

    def _record_sandbox(self, name: str, at: int) -> str:
        """Note an entry for a sandbox, and return the sandbox's label."""
        horizon = self._clock.horizon(at) if self._clock.newest_event else at
        label, dropped = self._flows.record_sandbox(name, at, horizon)
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
        held = not is_backdated(recorded)
        if not state.has_run:
            state.has_run = True
            for status in _PRECREATED:
                self.series.ensure(catalogue.RUNS, key, (status.value,), at, held=held)
        ended_at = recorded.ended_at if recorded.ended_at is not None else at
        codes = self._error_code_labels(recorded, run, key, state)
        if run.status.is_outcome:
            self._end_run(recorded, run, ended_at)
            if recorded.counts:
                self._count(recorded, run, key, codes, held=held)
        if is_shared(key):
            return
        self._gauge_changes.add(key)
        if run.status is Status.IN_PROGRESS:
            self._start_run(recorded, run, key)
        elif run.status.is_outcome:
            state.run_history.add(Outcome.of(run, recorded.position, ended_at, codes))
        as_of = (ended_at if run.status.is_outcome else started_at(run, at), recorded.position)
        state.describe(run.flow_name, run.kind, run.org, as_of)

    def _error_code_labels(
        self, recorded: RecordedFact, run: FlowRun, key: FlowKey, state: FlowState
    ) -> tuple[str, ...]:
        """The error codes of a run as label values, where a series shows them: one that counts, or a correction."""
        if recorded.counts or (run.status is Status.FAILED and not is_shared(key)):
            return self._error_codes.labels(run.error_codes, state.error_codes)
        return ()

    def _count(self, recorded: RecordedFact, run: FlowRun, key: FlowKey, codes: tuple[str, ...], *, held: bool) -> None:
        """Count the first outcome of a run. Flows that are counted together have counters only."""
        for metric, labels, amount in increments(run, codes):
            if metric.type is MetricType.COUNTER or not is_shared(key):
                self.series.add(metric, key, labels, amount, recorded.received_at, held=held, run_id=run.run_id)
        self._observe_delay(recorded, run, key.sandbox, held=held)

    def _start_run(self, recorded: RecordedFact, run: FlowRun, key: FlowKey) -> None:
        if recorded.source is Source.REPLAY:
            return
        at = recorded.received_at
        start = RunStart(key, started_at(run, at), at)
        if self._runs.start(run.run_id, start):
            self._drop_excess()
            self._gauge_changes.add_at(start.counts_until, key)

    def _end_run(self, recorded: RecordedFact, run: FlowRun, ended_at: int) -> None:
        """End what ends with a run: its being in progress, under whatever flow it started, and its alerts."""
        key = self._runs.end(run.run_id, recorded.received_at, ended_at)
        if key is not None:
            self._gauge_changes.add(key)
        self._drop_excess()
        for key in self._alerts.end_run(run.run_id, ended_at):
            self._gauge_changes.add(key)

    def _observe_delay(self, recorded: RecordedFact, run: FlowRun, sandbox: str, *, held: bool) -> None:
        if recorded.source is Source.REPLAY or run.completed_at is None or run.status is Status.UNKNOWN:
            return
        delay = max(0, recorded.received_at - run.completed_at)
        self.series.add(catalogue.NOTIFICATION_DELAY, (sandbox,), (), delay, recorded.received_at, held=held)

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
            run_ended_at=self._runs.ended_at(alert.run_id, at),
            horizon=self._clock.horizon(at),
        )
        self._gauge_changes.add(key)
        self._drop_excess()
        self._gauge_changes.add_at(fired_at + FIRING_FOR, key)

    def _apply_flow(self, recorded: RecordedFact, flow: Flow, sandbox: str) -> None:
        key, state = self._record_flow(flow.flow_id, sandbox, recorded.received_at)
        as_of = (flow.updated_at if flow.updated_at is not None else recorded.received_at, recorded.position)
        state.describe(flow.flow_name, flow.kind, flow.org, as_of)
        state.enabled.update(flow.enabled, as_of)
        self._gauge_changes.add(key)

    def _drop(self, key: FlowKey) -> SilentFlow:
        """Delete a flow with its alerts, its runs in progress and its series. Return what was deleted."""
        state = self._flows.drop(key)
        self._error_codes.remove(state.error_codes)
        return SilentFlow(
            key=key,
            flow=state,
            starts=self._runs.drop(key),
            alerts=self._alerts.drop(key),
            series=self.series.take_groups(FLOW, key),
        )

    def _delete_old(self, received_at: int) -> None:
        """Delete what no later fact can need: old run ids, and the flows that expired before this time.

        What is old by the ledger's clock alone is set aside or kept for longer, up to a number.
        """
        horizon = self._clock.horizon(received_at)
        self._set_aside.delete_expired(horizon)
        self._runs.delete_old(horizon, received_at)
        # In the order of expiry, which is the same after a restart. When each of them was noticed is not, and what is
        # set aside beyond its bound depends on the order.
        noticed = {*self._hidden, *self._flows.take_expired(received_at)}
        for expires_at, key in sorted((self._flows.expires_at(key), key) for key in noticed):
            if expires_at < received_at:
                silent = self._drop(key)
                if expires_at >= horizon:
                    self._set_aside.put(silent)
            else:
                # A clock that has gone back since had hidden it.
                self.series.set_hidden(FLOW, key, hidden=False)
                self._flows.schedule_check(key, expires_at)
        self._hidden.clear()
