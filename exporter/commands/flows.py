"""`flows`: lists the flows that the metrics show, the failing ones first. The ledger is read and never changed."""

import time
from typing import Final, Literal

from exporter.commands.base import Boolean, Command
from exporter.commands.lists import ListSettings, minute, print_list
from exporter.commands.output import print_error
from exporter.commands.settings import setting
from exporter.commands.tables import Column, Row
from exporter.ledger.urls import follow
from exporter.model import FlowKind
from exporter.pages.views import FlowView, Moment
from exporter.service import find_flows

_SECONDS: Final = 600.0
"""How long it may take to read the ledger from its last checkpoint on. Without one, that can be millions of entries."""

_COLUMNS: Final = (
    Column("FLOW"),
    Column("NAME", is_cut=True),
    Column("SANDBOX", is_cut=True),
    Column("STATE"),
    Column("SINCE"),
)
_FAR: Final = 1 << 62


class FlowsSettings(ListSettings):
    """Which flows to list."""

    kind: Literal["source", "destination", "identity", "profile", "segment", "query", "unknown"] | None = setting(
        "kind",
        None,
        "Only flows of this kind: source, destination, identity, profile, segment, query or unknown.",
        example="source",
    )
    failing: Boolean = setting("failing", "false", "Only flows that have failed since their last success.")


def run(settings: FlowsSettings, _arguments: list[str]) -> int:
    """Print the flows. An empty list is no error. Raises what following a ledger raises."""
    flows, others = follow(settings.ledger_url, _SECONDS, find_flows)
    now = time.time_ns() // 1_000_000
    wanted = sorted((flow for flow in flows if _is_wanted(flow, settings)), key=lambda flow: _order(flow, now))
    shown = wanted[: settings.limit]
    print_list(settings.output, shown, None, _COLUMNS, [_row(flow, now) for flow in shown])
    if not shown:
        print_error("no such flow is on /metrics: leave out a flag, or look for its runs with the command runs")
    elif len(shown) < len(wanted):
        print_error(f"{len(wanted) - len(shown)} more flows are not listed: raise --limit, or name a sandbox or a kind")
    if others:
        print_error(f"{others} flows are counted together as other, and are not listed: raise --series.max-flows")
    return 0


def _is_wanted(flow: FlowView, settings: FlowsSettings) -> bool:
    return (
        (settings.sandbox is None or (flow.sandbox or "") == settings.sandbox)
        and (settings.kind is None or flow.kind == settings.kind)
        and (not settings.failing or flow.failing_since is not None)
    )


def _order(flow: FlowView, now: int) -> tuple[int, int, str, str]:
    """Failing flows first, then overdue ones, each with the latest first."""
    state, since = _state(flow, now)
    ranks = {"failing": 0, "overdue": 1}
    rank = ranks.get(state, len(ranks))
    return rank, -(since or 0) if rank < len(ranks) else 0, flow.flow_id, flow.sandbox or ""


def _state(flow: FlowView, now: int) -> tuple[str, Moment | None]:
    """The state of a flow in a word, and since when it has been in it, if that is known."""
    if flow.failing_since is not None:
        return "failing", flow.failing_since
    if flow.enabled is False:
        return "disabled", None
    if flow.overdue_at is not None and flow.overdue_at <= now:
        return "overdue", flow.overdue_at
    return ("no run" if flow.last_run is None else "ok"), None


def _row(flow: FlowView, now: int) -> Row:
    state, since = _state(flow, now)
    failures = f" {flow.consecutive_failures}x" if flow.consecutive_failures else ""
    return Row(
        cells=(flow.flow_id, flow.flow_name or "-", flow.sandbox or "-", state + failures, minute(since)),
        details=[
            *((code, "1 run" if runs == 1 else f"{runs} runs") for code, runs in _most_first(flow)),
            *([(f"Adobe disables it at {minute(flow.disabled_by_adobe_at)}",)] if _will_be_disabled(flow, now) else []),
        ],
    )


def _will_be_disabled(flow: FlowView, now: int) -> bool:
    """Whether Adobe disables it if it goes on failing. Where the kind is not known, that is not certain."""
    return (flow.disabled_by_adobe_at or 0) > now and flow.kind == FlowKind.SOURCE


def _most_first(flow: FlowView) -> list[tuple[str, int]]:
    return sorted((flow.failing_errors or {}).items(), key=lambda each: (-each[1], each[0]))


COMMAND: Final = Command(
    summary="list flows, the failing ones first",
    details=(
        "Reads the ledger of --ledger.url, also while the exporter uses it, and never changes it. The table shows how\n"
        "many runs of a failing flow failed, since when, and below it their error codes with the number of runs that\n"
        "reported each. --output=json has all of a flow. Times are UTC."
    ),
    settings=FlowsSettings,
    run=run,
)
