"""What `/` shows: what is wrong now, first what makes it doubtful that failures are recorded at all.

In each list the flow that got into it last comes first, because that is what somebody was called for. The conditions of
flows are those of the alerts (`exporter.metrics.flow_summaries`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from exporter.ledger.queries import Row, RunFilter
from exporter.metrics.code_labels import NO_CODE
from exporter.metrics.flow_summaries import CurrentFlows, FlowSummary
from exporter.model import OTHER, FlowKey
from exporter.pages.error_list import anchor_of
from exporter.pages.explanations import explain, explain_alert
from exporter.pages.failing_codes import failing_codes
from exporter.pages.home_choices import Chosen, chosen_by, kind_choices, sandbox_choices
from exporter.pages.links import FlowLinks, OwnLinks
from exporter.pages.notices import last_heard, notices
from exporter.pages.page_request import PageRequest
from exporter.pages.views import RunView, view_of_run

SHOWN: Final = 25
"""Flows of a list."""
CAUSES: Final = 15
"""Error codes."""
CODES_OF_A_FLOW: Final = 3
RECENT: Final = 10
"""Runs."""
_READ_FOR_KIND: Final = 50
"""Runs that are read where only those of one kind are shown. The ledger does not list runs by kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeLine:
    """An error code of a flow."""

    code: str
    """Empty where there is no code."""
    address: str
    """What the code means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """An error code, and the flows that fail with it."""

    code: CodeLine
    flows: int
    since: int
    """Since when the first of these fails, in milliseconds since 1970."""
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowLine:
    """A flow in a list."""

    flow: FlowSummary
    links: FlowLinks
    codes: tuple[CodeLine, ...] = ()
    run: str | None = None
    """The page of the run that the list is about."""

    @property
    def name(self) -> str:
        """The name, or the id of a flow without one."""
        return self.flow.name or self.flow.key.flow_id


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowList:
    """A list of flows in one condition."""

    lines: tuple[FlowLine, ...]
    total: int
    """How many flows there are, with those that are not in `lines`."""

    @property
    def left_out(self) -> int:
        """How many are not in `lines`."""
        return self.total - len(self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdobeAlert:
    """One of Adobe's own alerts that is firing."""

    name: str
    meaning: str
    flow: FlowKey
    """Its id is empty if the alert names no flow."""
    flow_name: str
    page: str | None


def page(request: PageRequest) -> Mapping[str, object]:
    """The values of `/`."""
    chosen = chosen_by(request.parameters)
    current = request.sources.flows()
    deliveries = request.queries.last_deliveries()
    flows = [flow for flow in current.flows.values() if flow in chosen]
    return {
        "now": current.now,
        "notices": notices(request.sources.process(), current, deliveries),
        "heard": last_heard(deliveries),
        "delivered": max(deliveries.values(), default=None),
        "chosen": chosen,
        "flows": len(flows),
        "sandboxes": len({flow.key.sandbox for flow in flows}),
        "sandbox_choices": sandbox_choices(current, chosen, request.own),
        "kind_choices": kind_choices(current, chosen, request.own),
        "overflowed": current.overflowed,
        "recent": _recent(request, chosen),
        "alerts": (alerts := _alerts(request, current, chosen))[:SHOWN],
        "alerts_left_out": max(len(alerts) - SHOWN, 0),
        "failing_address": chosen.address(request.own.page("/flows"), failing="true"),
        "flows_address": chosen.address(request.own.page("/flows")),
        "addresses": request.sources.addresses,
        "is_full": request.is_full,
        **_lists(request, flows, current.now),
    }


def _lists(request: PageRequest, flows: Sequence[FlowSummary], now: int) -> Mapping[str, object]:
    """The list of each condition, and the causes of the flows that fail."""
    failing = [flow for flow in flows if flow.needs_repair]
    causes = _causes(failing, request.own)

    def listed(found: Iterable[FlowSummary], at: Callable[[FlowSummary], int | None]) -> FlowList:
        """The list of these flows, the one with the latest time first."""
        ordered = sorted(found, key=lambda flow: (-(at(flow) or 0), flow.key))
        return FlowList(lines=_lines(request, ordered[:SHOWN]), total=len(ordered))

    found = {
        "failing": listed(failing, _since),
        "disabled": listed((flow for flow in flows if flow.is_disabled_while_failing(now)), _since),
        "disabled_soon": listed((flow for flow in flows if flow.is_disabled_soon(now)), _longest),
        "overdue": listed((flow for flow in flows if flow.is_overdue(now)), lambda flow: flow.overdue_at),
        "stuck": listed((flow for flow in flows if flow.is_stuck(now)), lambda flow: flow.in_progress[0]),
        "empty": listed((flow for flow in flows if flow.is_empty(now)), _last_good_end),
        "recovered": listed((flow for flow in flows if flow.has_recovered(now)), _recovered_at),
    }
    return {
        **found,
        "messages": _messages(request, found["failing"].lines),
        "causes": causes[:CAUSES],
        "causes_left_out": max(len(causes) - CAUSES, 0),
    }


def _since(flow: FlowSummary) -> int | None:
    return flow.streak.since


def _longest(flow: FlowSummary) -> int:
    """The order of `_since`, the other way round."""
    return -(flow.streak.since or 0)


def _last_good_end(flow: FlowSummary) -> int:
    return 0 if flow.last_good is None else flow.last_good.ended_at


def _recovered_at(flow: FlowSummary) -> int:
    return 0 if flow.recovery is None else flow.recovery.good.ended_at


def _causes(failing: Iterable[FlowSummary], own: OwnLinks) -> list[Cause]:
    """The codes of the flows that fail. A flow can have several."""
    found = failing_codes(failing).items()
    return [
        Cause(
            code=_code(code, own),
            flows=len(each.flows),
            since=each.since,
            meaning=explain(code).meaning,
        )
        for code, each in sorted(found, key=lambda item: (-len(item[1].flows), -item[1].since, item[0]))
    ]


def _code(code: str, own: OwnLinks) -> CodeLine:
    if code in {NO_CODE, OTHER}:
        return CodeLine(code="" if code == NO_CODE else OTHER, address="")
    return CodeLine(code=code, address=f"{own.page('/errors')}#{anchor_of(code)}")


def _lines(request: PageRequest, flows: Iterable[FlowSummary]) -> tuple[FlowLine, ...]:
    return tuple(
        FlowLine(
            flow=flow,
            links=request.links.of_flow(flow.kind, org=flow.org, sandbox=flow.key.sandbox, flow_id=flow.key.flow_id),
            codes=tuple(_code(code, request.own) for code in _codes_of(flow)),
            run=None if flow.last_failed is None else request.own.run(flow.last_failed.run_id),
        )
        for flow in flows
    )


def _codes_of(flow: FlowSummary) -> list[str]:
    """The codes of a flow that fails: the cause, then those that most runs had. Of others those of the last failure."""
    if not flow.is_failing:
        codes = None if flow.last_failed is None else flow.last_failed.codes
        return [] if codes is None else (codes or NO_CODE).split()[:CODES_OF_A_FLOW]
    runs = flow.streak.runs_by_code
    return sorted(runs, key=lambda code: (code != flow.streak.cause, -runs[code], code))[:CODES_OF_A_FLOW]


def _messages(request: PageRequest, lines: Iterable[FlowLine]) -> Mapping[FlowKey, str]:
    """The first line of the first message of each flow's latest failed run, where messages are shown."""
    failed = {line.flow.last_failed.position: line.flow.key for line in lines if line.flow.last_failed is not None}
    if not request.is_full or not failed:
        return {}
    rows = request.queries.entries(list(failed))
    messages = {failed[row.position]: _message(request, row) for row in rows}
    return {key: message for key, message in messages.items() if message}


def _message(request: PageRequest, row: Row) -> str:
    # The page of the run reads bodies of any size. Here there can be many.
    if not request.sources.reading.is_quick(row.body):
        return ""
    errors = view_of_run(row, request.read, request.links).errors
    messages = (error.message.strip() for error in errors if error.message)
    return next((message.splitlines()[0] for message in messages if message), "")


def _recent(request: PageRequest, chosen: Chosen) -> tuple[RunView, ...]:
    limit = RECENT if chosen.kind is None else _READ_FOR_KIND
    rows = request.queries.runs(RunFilter(sandbox=chosen.sandbox), limit).items
    runs = (view_of_run(row, request.read, request.links) for row in rows)
    return tuple(run for run in runs if chosen.kind is None or run.kind == chosen.kind.value)[:RECENT]


def _alerts(request: PageRequest, current: CurrentFlows, chosen: Chosen) -> tuple[AdobeAlert, ...]:
    """Adobe's alerts that are firing, by sandbox. An alert that names no flow is of no kind."""
    firing = [(flow.key, flow.name, flow.firing_alerts) for flow in current.flows.values() if flow in chosen]
    if chosen.kind is None:
        others = current.other_alerts.items()
        firing += [(key, "", names) for key, names in others if chosen.sandbox in {None, key.sandbox}]
    return tuple(
        AdobeAlert(
            name=name,
            meaning=explain_alert(name).meaning,
            flow=key,
            flow_name=flow_name,
            page=request.own.flow(key.flow_id, key.sandbox) if key.flow_id else None,
        )
        for key, flow_name, names in sorted(firing, key=lambda each: (each[0].sandbox, each[0].flow_id))
        for name in names
    )
