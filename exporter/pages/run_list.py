"""What `/runs` shows: the runs that ended, the latest first, and the filters that choose among them."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from exporter.errors import DefectError, NotCaughtUpError, QueryTimeoutError
from exporter.ledger.queries import Row
from exporter.metrics.flow_summaries import CurrentFlows
from exporter.model import FlowKey, Reader
from exporter.pages.choices import list_address
from exporter.pages.links import LinkMaker
from exporter.pages.page_request import PageRequest, Sources
from exporter.pages.parameters import OUTCOMES, RUN_PARAMETERS, lenient, run_parameters
from exporter.pages.texts import status_words
from exporter.pages.views import RunView, view_of_run

LIMIT: Final = 50
"""Runs of a page, where no parameter gives another number."""
CODES_SHOWN: Final = 3
"""Error codes of a run in the list."""
PATH: Final = "/runs"

_FILTERS: Final = {
    "sandbox": "Sandbox",
    "status": "Outcome",
    "error_code": "Code",
    "flow_id": "Flow",
    "since": "Ended since",
    "until": "Ended before",
}
"""The parameters that choose runs, with their titles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A filter that is in force."""

    title: str
    value: str
    """As it was given. It can be any text."""
    without: str
    """The address of the list without this filter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLine:
    """A run in the list."""

    view: RunView
    codes: tuple[str, ...]
    """The first CODES_SHOWN codes, each once."""
    more_codes: int


def page(request: PageRequest) -> Mapping[str, object]:
    """The values of `/runs`."""
    now = request.sources.now()
    given = lenient(request.parameters, RUN_PARAMETERS)
    asked = run_parameters(given, now, limit=LIMIT)
    found = request.queries.runs(asked.wanted, asked.limit, asked.cursor)
    current = current_flows(request.sources)
    newest = {name: value for name, value in given.items() if name != "cursor"}
    address = request.own.page(PATH)
    return {
        "now": now,
        "lines": [run_line(row, request.read, request.links, current) for row in found.items],
        "given": given,
        "outcomes": [(status.value, status_words(status)) for status in OUTCOMES],
        "chips": _chips(address, newest),
        "all": address,
        "newest": list_address(address, newest) if asked.cursor is not None else None,
        "older": list_address(address, {**newest, "cursor": found.next}) if found.next is not None else None,
        "oldest_entry_at": request.queries.oldest_entry_at(),
    }


def current_flows(sources: Sources) -> CurrentFlows | None:
    """The flows on /metrics. None if they can't be had now: pages of runs can do without them."""
    try:
        return sources.flows()
    except (DefectError, NotCaughtUpError, QueryTimeoutError):
        return None


def run_line(row: Row, read: Reader, links: LinkMaker, current: CurrentFlows | None = None) -> RunLine:
    """What a list shows of a run. Where its notification has no name of the flow, that of the metrics is shown."""
    view = named(view_of_run(row, read, links), current)
    codes = tuple(dict.fromkeys(error.code for error in view.errors))
    return RunLine(view=view, codes=codes[:CODES_SHOWN], more_codes=max(len(codes) - CODES_SHOWN, 0))


def named(view: RunView, current: CurrentFlows | None) -> RunView:
    """The run with the name of its flow from the metrics, where its notification has none."""
    if view.flow_name is not None or current is None:
        return view
    summary = current.flows.get(FlowKey(view.flow_id or "", view.sandbox or ""))
    return view if summary is None else dataclasses.replace(view, flow_name=summary.name or None)


def _chips(address: str, given: Mapping[str, str]) -> Sequence[Chip]:
    return [
        Chip(
            title=title,
            value=status_words(given[name]) if name == "status" else given[name],
            without=list_address(address, {**given, name: None}),
        )
        for name, title in _FILTERS.items()
        if name in given
    ]
