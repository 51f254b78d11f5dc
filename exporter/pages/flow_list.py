"""What `/flows` and the API list: the flows on /metrics by name, then those that only the ledger holds, by id."""

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from exporter import cursor_text
from exporter.ledger.queries import FlowFacts, Queries, SeenFlow
from exporter.metrics.fact_times import TOO_OLD_AFTER
from exporter.metrics.flow_summaries import CurrentFlows, FlowSummary
from exporter.model import EntryKind, Flow, FlowKey, FlowKind, FlowRun, Reader, Source
from exporter.pages.links import LinkMaker
from exporter.pages.views import FlowView, view_of_flow, view_of_hidden_flow

_PAGE: Final = 500
"""Flows that the ledger is asked for at a time, and at most so many times for a page of a list."""
_MAX_PAGES: Final = 20
_LIST: Final = "flows"
"""The name of the list in its cursors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowFilter:
    """Which flows a list has. None, and the default, is any."""

    sandbox: str | None = None
    kind: FlowKind | None = None
    is_failing: bool | None = None
    """Only flows that have failed since their last success, or with False only the others that are on /metrics."""

    def covers(self, flow: FlowSummary) -> bool:
        """Whether a flow on /metrics is in the list."""
        return (
            self.sandbox in {None, flow.key.sandbox}
            and self.kind in {None, flow.kind}
            and self.is_failing in {None, flow.is_failing}
        )

    @property
    def is_of_metrics(self) -> bool:
        """Whether only flows on /metrics can be in the list, because the others have no kind and no state."""
        return self.is_failing is not None or self.kind is not None


class FlowPage(NamedTuple):
    """A part of a list."""

    items: tuple[FlowView, ...]
    next: str | None
    """The cursor of the next page, or None if the list ends here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSources:
    """What views of flows are made from."""

    queries: Queries
    current: CurrentFlows
    read: Reader
    links: LinkMaker


class _Place(NamedTuple):
    """Where a page ended: in the first part of the list, or in the second one, whose names are empty."""

    is_shown: bool
    name: str
    flow_id: str
    sandbox: str


def flow_list(sources: FlowSources, wanted: FlowFilter, limit: int, cursor: str | None) -> FlowPage:
    """A page of the list. Blocking. Raises BadCursorError, and what the queries raise.

    A page can have fewer flows than `limit`, or none, and still go on, because the ledger is asked for a bounded number
    at a time. What is recorded meanwhile changes what is shown of a flow. A flow that is renamed meanwhile can be
    missing, or can be there twice.
    """
    after = None if cursor is None else _decode(cursor)
    found: list[tuple[_Place, FlowView]] = []
    left_at: SeenFlow | None = None
    if after is None or after.is_shown:
        found += _shown(sources, wanted, limit + 1, after)
    if len(found) <= limit and not wanted.is_of_metrics:
        hidden_after = SeenFlow(after.flow_id, after.sandbox) if after is not None and not after.is_shown else None
        hidden, left_at = _hidden(sources, wanted, limit + 1 - len(found), hidden_after)
        found += hidden
    items = tuple(view for _, view in found[:limit])
    if len(found) > limit:
        return FlowPage(items, _encode(found[limit - 1][0]))
    return FlowPage(items, None if left_at is None else _encode(_Place(False, "", *left_at)))


def find_flow(sources: FlowSources, key: FlowKey) -> FlowView | None:
    """One flow in one sandbox. None if neither the metrics nor the ledger have it. Blocking."""
    summary = sources.current.flows.get(key)
    if summary is not None:
        return view_of_flow(summary, sources.links)
    facts = sources.queries.flow(key.flow_id, key.sandbox)
    return None if facts is None else _view_of_hidden(sources, key, facts)


def _shown(
    sources: FlowSources, wanted: FlowFilter, limit: int, after: _Place | None
) -> Iterator[tuple[_Place, FlowView]]:
    places = sorted(
        (_Place(True, (flow.name or key.flow_id).casefold(), *key), key)
        for key, flow in sources.current.flows.items()
        if wanted.covers(flow)
    )
    first = 0 if after is None else bisect_right(places, after, key=lambda each: each[0])
    for place, key in places[first : first + limit]:
        yield place, view_of_flow(sources.current.flows[key], sources.links)


def _hidden(
    sources: FlowSources, wanted: FlowFilter, limit: int, after: SeenFlow | None
) -> tuple[list[tuple[_Place, FlowView]], SeenFlow | None]:
    """At most `limit` flows that only the ledger holds. The second value is where the search ended early, if it did."""
    found: list[tuple[_Place, FlowView]] = []
    for _ in range(_MAX_PAGES):
        page = sources.queries.flows(after, _PAGE)
        for seen in page:
            key = FlowKey(seen.flow_id, seen.sandbox)
            if key in sources.current.flows or not seen.flow_id or wanted.sandbox not in {None, seen.sandbox}:
                continue
            facts = sources.queries.flow(*key)
            if facts is None:
                # It was pruned a moment ago.
                continue
            found.append((_Place(False, "", *key), _view_of_hidden(sources, key, facts)))
            if len(found) == limit:
                return found, None
        if len(page) < _PAGE:
            return found, None
        after = page[-1]
    return found, after


def _view_of_hidden(sources: FlowSources, key: FlowKey, facts: FlowFacts) -> FlowView:
    row = facts.newest_description
    described = None
    if row is not None:
        try:
            described = row.fact(sources.read)
        except Exception:  # noqa: BLE001 - a defect of the reader must not hide the flow
            described = None
    return view_of_hidden_flow(
        key,
        described if isinstance(described, FlowRun | Flow) else None,
        _why_not_shown(sources.current, key, facts),
        sources.links,
    )


def _why_not_shown(current: CurrentFlows, key: FlowKey, facts: FlowFacts) -> str:
    """Why a flow that the ledger holds is not on /metrics."""
    row = facts.newest_description
    if key in current.without_slot:
        return "limit"
    if facts.forgotten is not None and (row is None or row.position < facts.forgotten):
        return "forgotten"
    is_history = row is None or (
        row.source == Source.REPLAY and row.kind == EntryKind.RUN and row.received_at - row.ended_at > TOO_OLD_AFTER
    )
    return "history" if is_history else "silent"


def _encode(place: _Place) -> str:
    return cursor_text.encode(_LIST, json.dumps(place).encode())


def _decode(text: str) -> _Place:
    try:
        place = _Place(*json.loads(cursor_text.decode(_LIST, text)))
        # Half of a surrogate pair is no text that the ledger can be asked for.
        json.dumps(place[1:], ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError):
        raise cursor_text.bad_cursor() from None
    if not (isinstance(place[0], bool) and all(isinstance(each, str) for each in place[1:])):
        raise cursor_text.bad_cursor()
    return place
