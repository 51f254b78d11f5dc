"""What the page of a run shows: how it ended and why, what it did, and all that was received about it.

The run's body is read twice: as the metrics read it, and for what people alone need (`RunDetails`). If it can't be
read, the columns of the ledger are shown.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from exporter.errors import NotInLedgerError
from exporter.ledger.queries import Row, RunFacts
from exporter.metrics.flow_summaries import FlowSummary
from exporter.model import (
    DAY,
    RECORD_RESULTS,
    SIZE_RESULTS,
    EntryKind,
    FlowAlert,
    FlowKey,
    FlowKind,
    Reader,
    Remark,
    RunDetails,
    RunReference,
    Status,
)
from exporter.pages import texts, tickets
from exporter.pages.choices import list_address
from exporter.pages.explanations import Explanation, explain, explain_alert, explain_batch_states, explain_status
from exporter.pages.failing_codes import other_flows_failing
from exporter.pages.page_request import PageRequest
from exporter.pages.run_list import PATH, current_flows
from exporter.pages.timeline import Bar, Stretch, Timeline, timeline
from exporter.pages.views import ActivityView, RunView, view_of_run
from exporter.plain_text import with_escapes

MAX_BODY: Final = 64 * 1024
"""Bytes of a body that are shown."""
MAX_ERRORS: Final = 50
"""Error codes, and as many entries about skipped records and warnings."""
MAX_MESSAGES: Final = 20
"""Messages of one code."""
MAX_TEXT: Final = 512 * 1024
"""Characters of all messages together."""
MAX_ACTIVITIES: Final = 100
MAX_REFERENCES: Final = 5
"""Runs before and after it. Each is looked for in the ledger."""
IN_PROGRESS_FOR: Final = 7 * DAY
"""For how long the metrics take a run for one that is in progress."""

_RESULTS: Final = {
    "input": "Read",
    "output": "Written",
    "created": "Created",
    "updated": "Updated",
    "deleted": "Deleted",
    "skipped": "Skipped",
    "failed": "Rejected",
    "warning": "With a warning",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBlock:
    """One error code of a run."""

    code: str
    explanation: Explanation
    messages: tuple[str, ...] = ()
    """Each different one, with escapes. Empty if messages are not shown."""
    more_messages: int = 0
    count: int | None = None
    """How many records it concerns. None if that is not reported."""
    elsewhere: int | None = None
    """How many other flows fail with this code now. None if that is not known."""
    others: str | None = None
    """The address of the list of runs with this code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityLine:
    """One activity."""

    view: ActivityView
    name: str
    """As Adobe wrote it, or the name in the metrics."""
    state: str
    """The word for its state. Empty without one."""
    bar: Bar | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberLine:
    """What a run reports of one result. None is not reported."""

    title: str
    records: int | None
    size: int | None
    files: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FactLine:
    """One thing that was received about a run. Times are milliseconds since 1970."""

    row: Row
    event_code: str
    stands: bool
    is_correction: bool
    alert: Explanation | None
    """Of an alert, what it means. Its `code` is the alert's name."""
    body: str | None
    """The first MAX_BODY bytes, with escapes. None if it is not shown."""

    @property
    def is_cut(self) -> bool:
        """Whether the body goes on after what is shown."""
        return len(self.row.body) > MAX_BODY


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherRun:
    """Another run that this one leads to."""

    run_id: str
    page: str | None
    """Its address here. None if the ledger does not have it."""
    status: str | None = None
    ended_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """What is known of the run's flow from the metrics. Without values if it is not there."""

    summary: FlowSummary | None = None
    typical_seconds: float | None = None
    typical_records: int | None = None
    failing_by_code: Mapping[str, int] | None = None
    """How many other flows fail with each code now. None if that is not known."""


def page(request: PageRequest) -> Mapping[str, object]:
    """The values of the page of a run. Raises NotInLedgerError if the ledger has nothing of it."""
    found = facts_of(request)
    now = request.sources.now()
    row = subject(found)
    is_run = row.kind == EntryKind.RUN
    view = view_of(row, request)
    has_ended = found.standing is not None
    details = request.details(row) if is_run else RunDetails()
    current = _current(request, FlowKey(row.flow_id or "", row.sandbox or ""))
    errors = _errors(request, row, details, current)
    activities = tuple(_activities(view, details, is_full=request.is_full))
    line = _line(view)
    kind = current.summary.kind if view.kind == FlowKind.UNKNOWN and current.summary else FlowKind(view.kind)
    name = view.flow_name or (current.summary.name if current.summary else None) or view.flow_id
    # A start does not always show what kind of flow it is of.
    ids = {"org": view.org or "", "sandbox": view.sandbox or "", "flow_id": view.flow_id or ""}
    of_flow = request.links.of_flow(kind, **ids)
    view = dataclasses.replace(view, links=request.links.of_run(kind, **ids, run_id=view.run_id or ""))
    return {
        "now": now,
        "run": view,
        "is_run": is_run,
        "has_ended": has_ended,
        "ended_at": row.ended_at if has_ended else None,
        "is_end_known": row.completed_at is not None,
        "began_at": None if has_ended or not is_run else view.started_at or row.ended_at,
        "is_lost": is_run and not has_ended and now - row.received_at > IN_PROGRESS_FOR,
        "name": name or "unknown flow",
        "kind": kind.value,
        "flow_in_platform": of_flow.experience_platform,
        "meaning": _meaning(view.status),
        "states": explain_batch_states(details.states),
        "current": current,
        "errors": errors[:MAX_ERRORS],
        "more_errors": max(len(errors) - MAX_ERRORS, 0),
        "explanations": _shown_texts(details.explanations) if request.is_full else (),
        "remarks": [
            (title, remarks[:MAX_ERRORS], max(len(remarks) - MAX_ERRORS, 0))
            for title, remarks in (
                ("Skipped records", _remarks(details.skipped, is_full=request.is_full)),
                ("Warnings", _remarks(details.warnings, is_full=request.is_full)),
            )
            if remarks
        ],
        "line": line,
        "activities": activities[:MAX_ACTIVITIES],
        "more_activities": max(len(activities) - MAX_ACTIVITIES, 0),
        "numbers": tuple(_numbers(view)),
        "previous": _neighbour(request, found.previous),
        "next": _neighbour(request, found.next),
        "references": [
            (title, runs, more)
            for title, named in (("Came from", details.predecessors), ("Led to", details.successors))
            for runs, more in (_references(request, named, view.run_id),)
            if runs
        ],
        "ticket": _ticket(view, errors, name),
        "silence": _silence(view) if has_ended else None,
        "facts": tuple(_facts(request, found)),
        "is_full": request.is_full,
    }


def facts_of(request: PageRequest) -> RunFacts:
    """All that the ledger has of the run that the address names. Raises NotInLedgerError if it is nothing."""
    run_id = request.item_id
    stored_id = request.sources.stored_id(run_id)
    found = request.queries.run(run_id) or (request.queries.run(stored_id) if stored_id != run_id else None)
    if found is None:
        raise NotInLedgerError(
            "the ledger has nothing of a run with this id: it may be older than the ledger, or its notification was "
            "not received"
        )
    return found


def subject(found: RunFacts) -> Row:
    """The fact that the page is about: the outcome that stands, else the last state of the run, else an alert."""
    of_run = [row for row in found.facts if row.kind == EntryKind.RUN]
    return found.standing or (of_run or found.facts)[-1]


def view_of(row: Row, request: PageRequest) -> RunView:
    """What is shown of a run, from a fact that `subject` returned."""
    view = view_of_run(row, request.read, request.links)
    if row.kind == EntryKind.RUN:
        return view
    # The status of an alert is not that of its run, and its time is not the end of one.
    return dataclasses.replace(view, status=None, completed_at=None)


def _current(request: PageRequest, key: FlowKey) -> Current:
    flows = current_flows(request.sources)
    if flows is None:
        return Current()
    summary = flows.flows.get(key)
    return Current(
        summary=summary,
        typical_seconds=summary.typical_duration / 1000 if summary and summary.typical_duration is not None else None,
        typical_records=(
            round(summary.typical_input_records) if summary and summary.typical_input_records is not None else None
        ),
        failing_by_code=other_flows_failing(flows.flows, key),
    )


def _errors(request: PageRequest, row: Row, details: RunDetails, current: Current) -> list[ErrorBlock]:
    """Each code once, in the order of the report. Without a body that can be read the codes of the row."""
    by_code: dict[str, list[Remark]] = {code: [] for code in row.error_codes}
    for remark in details.errors:
        by_code.setdefault(remark.code, []).append(remark)
    left = MAX_TEXT if request.is_full else 0
    blocks: list[ErrorBlock] = []
    for code, remarks in by_code.items():
        all_messages = tuple(dict.fromkeys(text for each in remarks if (text := each.text)))
        messages: list[str] = []
        for message in all_messages[:MAX_MESSAGES]:
            if len(message) > left:
                break
            left -= len(message)
            messages.append(with_escapes(message))
        counts = [each.count for each in remarks if each.count is not None]
        blocks.append(
            ErrorBlock(
                code=code,
                explanation=explain(code),
                messages=tuple(messages),
                more_messages=len(all_messages) - len(messages) if request.is_full else 0,
                count=sum(counts) if counts else None,
                elsewhere=None if current.failing_by_code is None else current.failing_by_code.get(code, 0),
                others=list_address(request.own.page(PATH), {"error_code": code, "since": "7d"}),
            )
        )
    return blocks


def _remarks(remarks: Sequence[Remark], *, is_full: bool) -> list[ErrorBlock]:
    """Skipped records or warnings. Their codes are explained only where a document names them."""
    return [
        ErrorBlock(
            code=each.code,
            explanation=explain(each.code),
            messages=(texts.shown(each.text, 2_000),) if is_full and each.text else (),
            count=each.count,
        )
        for each in remarks
    ]


def _shown_texts(long: Iterable[str]) -> tuple[str, ...]:
    return tuple(with_escapes(text) for text in islice(long, MAX_MESSAGES))


def _meaning(status: str | None) -> str:
    return explain_status(Status(status)) if status in set(Status) else ""


def _line(view: RunView) -> Timeline | None:
    return timeline(_stretch(view), [_stretch(each) for each in view.activities])


def _stretch(view: RunView | ActivityView) -> Stretch:
    return Stretch(started_at=view.started_at, completed_at=view.completed_at)


def _activities(view: RunView, details: RunDetails, *, is_full: bool) -> Iterable[ActivityLine]:
    line = _line(view)
    bars = line.bars if line else (None,) * len(view.activities)
    known = details.activities if len(details.activities) == len(view.activities) else ()
    for at, each in enumerate(view.activities):
        written = known[at] if known and is_full else None
        yield ActivityLine(
            view=each,
            name=(written and written.written_name) or each.name.replace("_", " "),
            state=written.state if written else "",
            bar=bars[at],
        )


def _numbers(view: RunView) -> Iterable[NumberLine]:
    for result in dict.fromkeys((*RECORD_RESULTS, *SIZE_RESULTS)):
        line = NumberLine(
            title=_RESULTS[result],
            records=view.records.get(result),
            size=view.bytes.get(result),
            files=view.files.get(result),
        )
        if (line.records, line.size, line.files) != (None, None, None):
            yield line


def _neighbour(request: PageRequest, row: Row | None) -> OtherRun | None:
    if row is None or not row.run_id:
        return None
    return OtherRun(run_id=row.run_id, page=request.own.run(row.run_id), status=row.status, ended_at=row.ended_at)


def _references(
    request: PageRequest, named: Sequence[RunReference], own_id: str | None
) -> tuple[tuple[OtherRun, ...], int]:
    """The runs that this one names, with links to those that the ledger has, and how many are left out."""
    found = tuple(dict.fromkeys(each.run_id for each in named if each.run_id != own_id))
    return tuple(_reference(request, run_id) for run_id in found[:MAX_REFERENCES]), len(found[MAX_REFERENCES:])


def _reference(request: PageRequest, run_id: str) -> OtherRun:
    found = request.queries.run(run_id)
    if found is None:
        return OtherRun(run_id=run_id, page=None)
    standing = found.standing
    return OtherRun(
        run_id=run_id,
        page=request.own.run(run_id),
        status=standing.status if standing else Status.IN_PROGRESS.value,
        ended_at=standing.ended_at if standing else None,
    )


def _ticket(view: RunView, errors: Sequence[ErrorBlock], name: str | None) -> str:
    named = dataclasses.replace(view, flow_name=name)
    # A relative address says nothing in a ticket.
    page_here = view.links.page if "://" in (view.links.page or "") else None
    pairs = [(each.code, each.messages[0] if each.messages else "") for each in errors]
    return tickets.ticket(named, pairs, (page_here, view.links.experience_platform))


def _silence(view: RunView) -> str | None:
    if view.status != Status.FAILED or not view.flow_id:
        return None
    return tickets.silence(view.flow_id, view.sandbox or "", view.run_id or "")


def _alert_name(row: Row, read: Reader) -> str:
    """The name of an alert. Empty if its body can't be read."""
    try:
        fact = row.fact(read)
    except Exception:  # noqa: BLE001 - as in `PageRequest.details`
        return ""
    return fact.name if isinstance(fact, FlowAlert) else ""


def _facts(request: PageRequest, found: RunFacts) -> Iterable[FactLine]:
    read = request.read
    for row in found.facts:
        is_alert = row.kind == EntryKind.ALERT
        yield FactLine(
            row=row,
            event_code=(row.event_code or "")
            if request.is_full
            else request.sources.reading.event_code_label(row.event_code),
            stands=found.standing is not None and row.position == found.standing.position,
            is_correction=row.is_outcome and not row.counts,
            alert=explain_alert(_alert_name(row, read)) if is_alert else None,
            body=texts.body(row.body, MAX_BODY) if request.is_full and not is_alert else None,
        )
