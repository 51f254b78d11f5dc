"""Makes the notifications about an organisation, in the order in which their events happen.

The rule: a notification is about one moment: a run is queued, starts or ends, an alert fires or ends, or there is an
event of another topic. Notifications come in the order of these moments. `deliveries` decides how late each is
delivered. However long the simulation goes on, only notifications about runs that have started are in memory.

No I/O. Times are milliseconds since the beginning of the simulation.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from exporter.model import AlertState, FlowKind, Status
from exporter.simulate.organisation import DAY, HOUR, MINUTE, SECOND, SimulatedFlow, Style, identifier
from exporter.simulate.runs import Run, runs


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNotification:
    """A run in one state."""

    at: int
    run: Run
    status: Status

    @property
    def flow(self) -> SimulatedFlow:
        """The flow of the run."""
        return self.run.flow

    @property
    def fact_id(self) -> str:
        """The id of the fact, which an exporter must count once."""
        return f"{self.run.run_id}/{self.status}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertNotification:
    """One of Adobe's alerts in one state. `flow` is the flow among whose notifications it comes."""

    at: int
    flow: SimulatedFlow
    alert_id: str
    name: str
    message: str
    state: AlertState
    fired_at: int
    value: str
    run_id: str = ""
    names_flow: bool = True

    @property
    def fact_id(self) -> str:
        """The id of the fact, which an exporter must count once."""
        return f"{self.alert_id}/{self.state}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherNotification:
    """An event of another topic: an audit event, or one of Adobe's deprecated notifications."""

    at: int
    flow: SimulatedFlow
    number: int
    is_audit: bool

    @property
    def fact_id(self) -> str:
        """The id of the event."""
        return f"{self.flow.flow_id}/other/{self.number}"


Notification = RunNotification | AlertNotification | OtherNotification

_DELAYED_AFTER: Final = {FlowKind.DESTINATION: 300 * MINUTE}
"""Adobe's defaults (docs/adobe.md, "Event codes"): 150 minutes, and 300 for destinations."""
_OTHERS_DELAYED_AFTER: Final = 150 * MINUTE
_DELAY_GIVEN_UP_AFTER: Final = 10 * HOUR
"""Adobe ends the alert of a delay then, although the run goes on (docs/adobe.md, "Event codes")."""
_ERROR_RATE: Final = 0.01
_QUEUED_BEFORE: Final = 5 * MINUTE

_ALERT_NAMES: Final = {FlowKind.SOURCE: "sources_flow_run_delay", FlowKind.DESTINATION: "destinations_flow_run_delay"}
"""The names in Adobe's samples. Other kinds have no sample, so they have no such alert here."""
ERROR_RATE_ALERT: Final = "sources_ingestion_error_rate_exceeded"
# Adobe documents this rule without a sample. The name follows the pattern of the others.
DISABLED_ALERT: Final = "segment_definition_disabled"


def timeline(flows: tuple[SimulatedFlow, ...], seed: int) -> Iterator[Notification]:
    """All notifications in order. They go on for as long as any flow does."""
    waiting: list[tuple[int, int, Notification]] = []
    number = 0
    for begun in heapq.merge(*(runs(flow, seed) for flow in flows), key=lambda run: run.started):
        while waiting and waiting[0][0] < begun.started - _QUEUED_BEFORE:
            yield heapq.heappop(waiting)[2]
        for notification in _notifications(begun):
            number += 1
            heapq.heappush(waiting, (notification.at, number, notification))
    while waiting:
        yield heapq.heappop(waiting)[2]


def _notifications(run: Run) -> Iterator[Notification]:
    template = run.flow.template
    if template.is_scheduled:
        yield RunNotification(at=max(0, run.started - _QUEUED_BEFORE), run=run, status=Status.QUEUED)
    if template.style is Style.EVENT and not template.is_streaming:
        yield RunNotification(at=run.started, run=run, status=Status.IN_PROGRESS)
    if run.ended is not None:
        yield RunNotification(at=run.ended, run=run, status=run.outcome)
    yield from _alerts(run)
    if run.number % 29 == 3:
        yield OtherNotification(at=run.started, flow=run.flow, number=run.number, is_audit=run.flow.number % 2 == 0)


def _alerts(run: Run) -> Iterator[AlertNotification]:
    kind = run.flow.template.kind
    limit = _DELAYED_AFTER.get(kind, _OTHERS_DELAYED_AFTER)
    if kind in _ALERT_NAMES and (run.ended is None or run.ended - run.started > limit):
        given_up = run.started + _DELAY_GIVEN_UP_AFTER
        ends = min(run.ended, given_up) if run.ended is not None else given_up
        yield from _alert(
            run,
            _ALERT_NAMES[kind],
            (run.started + limit, ends),
            f"{run.flow.name.splitlines()[0]} has been running for more than {limit // MINUTE} minutes.",
            value=str(limit // MINUTE + 1),
            run_id=run.run_id,
        )
    records = dict(run.records)
    rate = records.get("failed", 0) / max(1, records.get("input", 0))
    if kind is FlowKind.SOURCE and run.ended is not None and rate > _ERROR_RATE:
        # While one fires, the next is another alert of the same name.
        yield from _alert(
            run,
            ERROR_RATE_ALERT,
            (run.ended + 30 * SECOND, run.ended + 4 * HOUR),
            "More than 1% of the records were not ingested.",
            value=f"{100 * rate:.0f}",
        )
    if kind is FlowKind.SEGMENT and run.number % 12 == 7:
        yield from _alert(
            run,
            DISABLED_ALERT,
            (run.started + MINUTE, run.started + DAY // 4),
            "An audience can't be evaluated any more.",
            value="1",
            names_flow=False,
        )


def _alert(
    run: Run,
    name: str,
    between: tuple[int, int],
    message: str,
    *,
    value: str,
    run_id: str = "",
    names_flow: bool = True,
) -> Iterator[AlertNotification]:
    for state, at in zip((AlertState.FIRING, AlertState.INACTIVE), between, strict=True):
        yield AlertNotification(
            at=at,
            flow=run.flow,
            alert_id=identifier(run.run_id, name),
            name=name,
            message=message,
            state=state,
            fired_at=between[0],
            value=value,
            run_id=run_id,
            names_flow=names_flow,
        )
