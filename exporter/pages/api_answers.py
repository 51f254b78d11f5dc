"""What each address of the API answers, as frozen values. Their fields are those of the JSON, and of its schemas.

Functions that answer are called on a thread of the pages, so they may block. They raise what the queries raise,
BadParameterError, and NotInLedgerError where there is nothing to answer.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from exporter import cursor_text
from exporter.errors import BadParameterError, NotInLedgerError
from exporter.ledger.queries import Row, SeenCode
from exporter.metrics.code_labels import NO_CODE
from exporter.model import DAY, EntryKind, FlowKey
from exporter.pages.explanations import explain
from exporter.pages.failing_codes import FailingCode, failing_codes
from exporter.pages.flow_list import FlowSources, find_flow, flow_list
from exporter.pages.flow_list_page import flow_filter
from exporter.pages.flow_page import sandboxes_of, with_stored_id
from exporter.pages.json_text import body_value
from exporter.pages.page_request import PageRequest
from exporter.pages.parameters import page_limit, run_parameters, text
from exporter.pages.run_list import current_flows, named
from exporter.pages.run_page import facts_of, subject, view_of
from exporter.pages.views import ErrorView, FlowView, Moment, RunView, view_of_run

LIMIT: Final = 100
"""Items of a list, where no parameter gives another number."""

_CODES: Final = "codes"
"""The name of the list of codes in its cursors, which hold the last code of a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunList:
    """Runs that have ended: latest end first, then the one that was recorded last."""

    items: tuple[RunView, ...]
    next: str | None
    """The cursor of the next page. Null if the list ends here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactView:
    """One thing that was recorded of a run: a state, an outcome, a correction, or an alert that names it."""

    position: int
    """Its place in the ledger."""
    recorded_at: Moment
    source: str
    """How it came: `webhook`, `replay`, or another word of a newer version."""
    kind: str
    """`run` or `alert`, or another word of a newer version."""
    status: str | None
    """The status of the run, or the state of the alert."""
    counted: bool
    """Whether it counts in the metrics. An outcome that does not is a correction."""
    event_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetailView(RunView):
    """One run, with all that was recorded of it.

    The fields are those of the outcome that stands, of the last known state while the run has not ended, or of an
    alert that names the run if nothing else does.
    """

    facts: tuple[FactView, ...]
    """In the order of recording. At most 100 of them are alerts."""
    body: object
    """What was received, as it is in the ledger. JSON that some readers could not read is a text, and so is what is
    no JSON. Null if it is larger than 1 MiB, or if bodies are not shown."""
    body_size: int
    """Its size in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowList:
    """Flows: those on `/metrics` by name, then, unless `kind` or `failing` is given, those that only the ledger has."""

    items: tuple[FlowView, ...]
    next: str | None
    """The cursor of the next page. Null if the list ends here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCodeView:
    """One error code."""

    code: str
    explanation: str
    """What the code means, and in a second line what to do."""
    flows_failing: int
    """Flows on `/metrics` that are failing now, and whose runs reported this code since the last success."""
    runs_24h: int | None
    """Runs that ended in the last 24 hours and reported this code. 10000 stands for any number from there on. Null for
    `none`: runs without a code are not counted."""
    first_seen_at: Moment | None
    """The end of the first run in the ledger that reported it. Null if the ledger no longer has one."""
    last_seen_at: Moment | None
    """The same of the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCodeList:
    """Error codes, in the order of their texts."""

    items: tuple[ErrorCodeView, ...]
    next: str | None
    """The cursor of the next page. Null if the list ends here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationView:
    """One notification that was not understood, or refused."""

    recorded_at: Moment
    """When it was recorded, or refused."""
    source: str
    """How it came: `webhook`, `replay`, or another word of a newer version."""
    result: str
    """`unsupported`, `unreadable` or `refused`, or another word of a newer version."""
    reason: str | None
    """Why, in the word that metrics and logs have. Null if it is not known, or if this version understands it."""
    event_code: str | None
    sandbox: str | None
    position: int | None
    """Its place in the ledger. Null for what was refused, because that is not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationList:
    """Notifications, newest first.

    The first page has, besides its items from the ledger, those that the process that answers has refused. These are
    the last 100, at most 20 of a reason.
    """

    items: tuple[NotificationView, ...]
    next: str | None
    """The cursor of the next page. Null if the list ends here."""


def runs(request: PageRequest) -> RunList:
    """`/runs`."""
    asked = run_parameters(request.parameters, request.sources.now(), limit=LIMIT)
    page = request.queries.runs(asked.wanted, asked.limit, asked.cursor)
    current = current_flows(request.sources)
    views = (_shown(named(view_of_run(row, request.read, request.links), current), request) for row in page.items)
    return RunList(items=tuple(views), next=page.next)


def run(request: PageRequest) -> RunDetailView:
    """`/runs/{run_id}`."""
    found = facts_of(request)
    row = subject(found)
    view = _shown(named(view_of(row, request), current_flows(request.sources)), request)
    return RunDetailView(
        **{field.name: getattr(view, field.name) for field in dataclasses.fields(view)},
        facts=tuple(map(_fact, found.facts)),
        body=body_value(row.body) if request.is_full else None,
        body_size=len(row.body),
    )


def flows(request: PageRequest) -> FlowList:
    """`/flows`."""
    wanted, limit = flow_filter(request.parameters), page_limit(request.parameters, LIMIT)
    page = flow_list(_flow_sources(request), wanted, limit, text(request.parameters, "cursor"))
    return FlowList(items=page.items, next=page.next)


def flow(request: PageRequest) -> FlowView:
    """`/flows/{flow_id}`. Raises BadParameterError if it is in several sandboxes and no parameter names one."""
    request = with_stored_id(request)
    sources = _flow_sources(request)
    sandbox = request.parameters.get("sandbox")
    if sandbox is None:
        sandboxes = sandboxes_of(request, sources.current)
        if len(sandboxes) > 1:
            raise BadParameterError("the flow is in several sandboxes: name one with the parameter sandbox")
        sandbox = sandboxes[0] if sandboxes else ""
    found = find_flow(sources, FlowKey(request.item_id, sandbox))
    if found is None:
        raise NotInLedgerError("neither the metrics nor the ledger have a flow of this id in this sandbox")
    return found


def errors(request: PageRequest) -> ErrorCodeList:
    """`/errors`."""
    limit = page_limit(request.parameters, LIMIT)
    after = _code_before(text(request.parameters, "cursor"))
    seen = {each.code: each for each in request.queries.codes(request.sources.now() - DAY)}
    failing = failing_codes(request.sources.flows().flows.values())
    codes = sorted(code for code in {*seen, *failing} if after is None or code > after)
    shown = codes[:limit]
    return ErrorCodeList(
        items=tuple(_error_code(code, seen.get(code), failing) for code in shown),
        next=cursor_text.encode(_CODES, shown[-1].encode()) if len(codes) > limit else None,
    )


def notifications(request: PageRequest) -> NotificationList:
    """`/notifications`."""
    cursor = text(request.parameters, "cursor")
    page = request.queries.not_understood(page_limit(request.parameters, LIMIT), cursor)
    items: Iterable[NotificationView] = [_notification(row, request) for row in page.items]
    if cursor is None:
        items = sorted([*items, *_refused(request)], key=lambda each: -each.recorded_at)
    return NotificationList(items=tuple(items), next=page.next)


def _flow_sources(request: PageRequest) -> FlowSources:
    return FlowSources(
        queries=request.queries,
        current=request.sources.flows(),
        read=request.read,
        links=request.links,
    )


def _shown(view: RunView, request: PageRequest) -> RunView:
    """The same without what pages of this mode do not show."""
    if request.is_full:
        return view
    return dataclasses.replace(
        view,
        errors=tuple(
            ErrorView(code=each.code, message=None, explanation=each.explanation)
            for each in {each.code: each for each in view.errors}.values()
        ),
    )


def _fact(row: Row) -> FactView:
    return FactView(
        position=row.position,
        recorded_at=Moment(row.received_at),
        source=row.source,
        kind=row.kind,
        status=row.status,
        counted=row.counts,
        event_id=row.event_id,
    )


def _error_code(code: str, seen: SeenCode | None, failing: Mapping[str, FailingCode]) -> ErrorCodeView:
    return ErrorCodeView(
        code=code,
        explanation=explain(code).text,
        flows_failing=len(failing[code].flows) if code in failing else 0,
        runs_24h=(None if code == NO_CODE else 0) if seen is None else seen.recent_runs,
        first_seen_at=None if seen is None else Moment(seen.first_seen_at),
        last_seen_at=None if seen is None else Moment(seen.last_seen_at),
    )


def _code_before(cursor: str | None) -> str | None:
    """The code at which the page before ended. None for the first page. Raises BadCursorError."""
    return None if cursor is None else cursor_text.decode(_CODES, cursor).decode(errors="replace")


def _notification(row: Row, request: PageRequest) -> NotificationView:
    reading = request.sources.reading
    # A body that would take long to read is not read again.
    is_read = row.kind == EntryKind.UNREADABLE or reading.is_quick(row.body)
    reason = reading.find_reason(row) if is_read else None
    code = row.event_code if request.is_full else reading.event_code_label(row.event_code)
    return NotificationView(
        recorded_at=Moment(row.received_at),
        source=row.source,
        result=row.kind,
        reason=None if reason is None else reason.value,
        event_code=code or None,
        sandbox=row.sandbox or None,
        position=row.position,
    )


def _refused(request: PageRequest) -> Sequence[NotificationView]:
    return [
        NotificationView(
            recorded_at=Moment(each.refused_at),
            source="webhook",
            result="refused",
            reason=each.reason,
            event_code=None,
            sandbox=None,
            position=None,
        )
        for each in request.sources.refused()
    ]
