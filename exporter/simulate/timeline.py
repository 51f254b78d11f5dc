"""What Adobe tells of an organisation, in the order in which it happens.

The rule: a notice is of one moment (a run is announced, begins, ends; an alert fires, ends; something that is no run is
told of too), and notices come by that moment. How late each is delivered is not decided here. However long it goes on,
only the runs that have not ended are kept.

Sans-I/O. Times are milliseconds since the simulation's beginning.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from exporter.model import AlertState, FlowKind, Status
from exporter.simulate.organisation import DAY, HOUR, MINUTE, SECOND, Flow, Style, identifier
from exporter.simulate.runs import Run, runs


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTold:
    """A run, in one state."""

    at: int
    run: Run
    status: Status

    @property
    def flow(self) -> Flow:
        """Whose run it is."""
        return self.run.flow

    @property
    def fact_id(self) -> str:
        """What an exporter must not count twice."""
        return f"{self.run.run_id}/{self.status}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertTold:
    """An alert of Adobe's own, in one state; `flow` says whose notifications it comes among."""

    at: int
    flow: Flow
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
        """What an exporter must not count twice."""
        return f"{self.alert_id}/{self.state}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherTold:
    """Something of another topic: an audit event, or one of the notifications that Adobe has deprecated."""

    at: int
    flow: Flow
    number: int
    is_audit: bool

    @property
    def fact_id(self) -> str:
        """What tells it from others."""
        return f"{self.flow.flow_id}/other/{self.number}"


Notice = RunTold | AlertTold | OtherTold

_DELAYED_AFTER: Final = {FlowKind.DESTINATION: 300 * MINUTE}
"""Adobe's defaults (adobe.md B1): 150 minutes, for destinations 300."""
_DELAYED_AFTER_ELSE: Final = 150 * MINUTE
_DELAY_GIVEN_UP_AFTER: Final = 10 * HOUR
"""Adobe stops looking at a delay then, though it goes on (adobe.md B1)."""
_ERROR_RATE: Final = 0.01
_ANNOUNCED_BEFORE: Final = 5 * MINUTE

_ALERT_NAMES: Final = {FlowKind.SOURCE: "sources_flow_run_delay", FlowKind.DESTINATION: "destinations_flow_run_delay"}
"""As Adobe's samples have them; of other kinds there is no sample, so they have no such alert here."""
ERROR_RATE_ALERT: Final = "sources_ingestion_error_rate_exceeded"
# Adobe documents the rule, and shows no sample of it: the name follows the pattern of the others.
DISABLED_ALERT: Final = "segment_definition_disabled"


def timeline(flows: tuple[Flow, ...], seed: int) -> Iterator[Notice]:
    """Everything that is told, by its moment; it goes on for as long as a flow does."""
    waiting: list[tuple[int, int, Notice]] = []
    number = 0
    for begun in heapq.merge(*(runs(flow, seed) for flow in flows), key=lambda run: run.started):
        while waiting and waiting[0][0] < begun.started - _ANNOUNCED_BEFORE:
            yield heapq.heappop(waiting)[2]
        for notice in _notices(begun):
            number += 1
            heapq.heappush(waiting, (notice.at, number, notice))
    while waiting:
        yield heapq.heappop(waiting)[2]


def _notices(run: Run) -> Iterator[Notice]:
    part = run.flow.part
    if part.is_scheduled:
        yield RunTold(at=max(0, run.started - _ANNOUNCED_BEFORE), run=run, status=Status.QUEUED)
    if part.style is Style.EVENT and not part.is_streaming:
        yield RunTold(at=run.started, run=run, status=Status.IN_PROGRESS)
    if run.ended is not None:
        yield RunTold(at=run.ended, run=run, status=run.outcome)
    yield from _alerts(run)
    if run.number % 29 == 3:
        yield OtherTold(at=run.started, flow=run.flow, number=run.number, is_audit=run.flow.number % 2 == 0)


def _alerts(run: Run) -> Iterator[AlertTold]:
    kind = run.flow.part.kind
    limit = _DELAYED_AFTER.get(kind, _DELAYED_AFTER_ELSE)
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
        # A second one while the first fires is another alert of the same name.
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
) -> Iterator[AlertTold]:
    for state, at in zip((AlertState.FIRING, AlertState.INACTIVE), between, strict=True):
        yield AlertTold(
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
