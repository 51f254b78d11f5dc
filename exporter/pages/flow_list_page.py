"""What `/flows` shows: flows by name, each with its state in a word."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from exporter.metrics.flow_summaries import CurrentFlows
from exporter.model import FlowKey, FlowKind
from exporter.pages.choices import Choice, list_address
from exporter.pages.flow_list import FlowFilter, FlowSources, flow_list
from exporter.pages.flow_page import NOT_SHOWN
from exporter.pages.page_request import PageRequest
from exporter.pages.parameters import lenient, page_limit, text, value
from exporter.pages.views import FlowView

FLOW_PARAMETERS: Final = ("sandbox", "kind", "failing", "limit", "cursor")
"""The parameters of lists of flows."""
_BOOLEANS: Final = {"true": True, "false": False}
_TAKES: Final = {
    "kind": f"takes one of {', '.join(FlowKind)}",
    "failing": "takes true or false",
}
_MAX_SANDBOXES: Final = 30
"""Sandboxes that have a link of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowLine:
    """A flow in the list."""

    flow: FlowView
    state: str
    """In a word or two: failing, overdue, disabled, stuck, read nothing, ok, or why it is not on /metrics."""
    is_wrong: bool
    since: int | None


def flow_filter(parameters: Mapping[str, str]) -> FlowFilter:
    """Which flows the parameters ask for. Raises BadParameterError."""
    return FlowFilter(
        sandbox="" if parameters.get("sandbox") == "" else text(parameters, "sandbox"),
        kind=value(parameters, "kind", FlowKind, _TAKES["kind"]),
        is_failing=value(parameters, "failing", _boolean, _TAKES["failing"]),
    )


def page(request: PageRequest) -> Mapping[str, object]:
    """The values of `/flows`."""
    parameters = lenient(request.parameters, FLOW_PARAMETERS)
    wanted = flow_filter(parameters)
    current = request.sources.flows()
    sources = FlowSources(queries=request.queries, current=current, read=request.read, links=request.links)
    found = flow_list(sources, wanted, page_limit(parameters, 100), parameters.get("cursor"))
    base = request.own.page("/flows")
    return {
        "now": current.now,
        "lines": [_line(flow, current) for flow in found.items],
        "next": None if found.next is None else _address(base, parameters, cursor=found.next),
        "first": None if "cursor" not in parameters else _address(base, parameters, cursor=None),
        "sandboxes": _choices(base, parameters, "sandbox", sorted({key.sandbox for key in current.flows} - {""})),
        "kinds": _choices(base, parameters, "kind", sorted({flow.kind.value for flow in current.flows.values()})),
        "failing": Choice(
            text="failing only",
            address=_address(base, parameters, failing=None if wanted.is_failing else "true", cursor=None),
            is_chosen=bool(wanted.is_failing),
        ),
        "shown": len(current.flows),
        "overflowed": current.overflowed,
        "why": NOT_SHOWN,
    }


def _line(flow: FlowView, current: CurrentFlows) -> FlowLine:
    state, is_wrong, since = _state(flow, current)
    return FlowLine(flow=flow, state=state, is_wrong=is_wrong, since=since)


def _state(flow: FlowView, current: CurrentFlows) -> tuple[str, bool, int | None]:
    if flow.not_shown is not None:
        return f"not on /metrics: {flow.not_shown}", False, None
    if flow.consecutive_failures:
        times = "" if flow.consecutive_failures == 1 else f", {flow.consecutive_failures:,} runs in a row"
        disabled = ", and disabled" if flow.enabled is False else ""
        return f"failing{times}{disabled}", True, flow.failing_since
    if flow.enabled is False:
        return "disabled", False, None
    if flow.overdue_at is not None and flow.overdue_at < current.now:
        return "overdue", True, flow.overdue_at
    summary = current.flows.get(FlowKey(flow.flow_id, flow.sandbox or ""))
    if summary is not None and summary.is_stuck(current.now):
        return "a run is stuck", True, summary.in_progress[0]
    if summary is not None and summary.last_good is not None and summary.is_empty(current.now):
        return "read nothing", True, summary.last_good.ended_at
    return ("no run yet" if flow.last_run is None else "ok"), False, None


def _choices(base: str, parameters: Mapping[str, str], name: str, values: Sequence[str]) -> list[Choice]:
    """A link for each value, and one for all. None if there is nothing to choose."""
    chosen = parameters.get(name)
    if len(values) < 2 and chosen is None:
        return []
    shown = list(dict.fromkeys([*([chosen] if chosen else []), *values[:_MAX_SANDBOXES]]))
    every = Choice(text="all", address=_address(base, parameters, **{name: None}), is_chosen=chosen is None)
    return [
        every,
        *(
            Choice(text=each, address=_address(base, parameters, **{name: each}), is_chosen=each == chosen)
            for each in shown
        ),
    ]


def _address(base: str, parameters: Mapping[str, str], **changes: str | None) -> str:
    """The address of the list with other parameters. Another filter begins with the first page."""
    return list_address(base, {**parameters, "cursor": None, **changes})


def _boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise ValueError("not a boolean") from None
