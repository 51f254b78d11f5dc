"""What pages, the API and the terminal show of runs and flows, as frozen values, and their JSON.

The values are made from rows of the ledger, whose bodies are read again, and from the state of the metrics. The names
of the fields are those of the JSON. Times in them are milliseconds since 1970, or None if they are not known. In the
JSON they are RFC 3339 in UTC, and what is not known is null.

This module does no I/O and reads no clock: the function that reads bodies is passed in.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from exporter.ledger.queries import Row
from exporter.metrics.flow_summaries import FlowSummary
from exporter.metrics.run_history import Outcome
from exporter.model import Activity, Flow, FlowKey, FlowKind, FlowRun, Reader
from exporter.pages.explanations import explain
from exporter.pages.links import FlowLinks, LinkMaker, RunLinks

IN_A_TERMINAL: Final = LinkMaker(None, None)
"""It is not known there where the pages are, so there are links into Experience Platform alone."""

Json = str | int | float | bool | list["Json"] | dict[str, "Json"] | None


class Moment(int):
    """A time in milliseconds since 1970. The JSON of other integers is a number, that of a Moment is a text."""


_FIELDS: Final[dict[type, tuple[str, ...]]] = {}
"""The names of the fields of views, by class: to find them again for each value takes long."""
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorView:
    """One error of a run."""

    code: str
    message: str | None
    """As Adobe wrote it, on one line. None without one."""
    explanation: str
    """What the code means, and in a second line what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityView:
    """One step of a run."""

    name: str
    started_at: Moment | None
    completed_at: Moment | None
    duration_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """One run: the outcome that stands."""

    run_id: str | None
    flow_id: str | None
    flow_name: str | None
    """As its notification names it, else as on `/metrics`. Of a query the flow id, because the name of a query can be
    its SQL."""
    sandbox: str | None
    org: str | None
    kind: str
    """What the flow does: `source`, `destination`, `identity`, `profile`, `segment`, `query` or `unknown`."""
    status: str | None
    """`in_progress`, `queued`, `success`, `partial_success`, `failed`, `cancelled`, `unknown`, or another word that a
    newer version of this program wrote."""
    started_at: Moment | None
    completed_at: Moment | None
    """When it ended, as the ledger has it. Lists are in this order, and `since` and `until` are compared with it.

    If the notification names no completion, the run's last update takes its place, else the time of recording. Null if
    it has not ended.
    """
    duration_seconds: float | None
    """From the start to the completion that the notification names."""
    counted: bool
    """Whether this outcome is the one that counts in the metrics. A correction does not."""
    errors: tuple[ErrorView, ...]
    """Each pair of a code and a message once, in the order of the report."""
    activities: tuple[ActivityView, ...]
    records: Mapping[str, int]
    """Numbers by result. A result that was not reported is not there."""
    bytes: Mapping[str, int]
    files: Mapping[str, int]
    recorded_at: Moment
    source: str
    links: RunLinks

    @property
    def ended_at(self) -> Moment:
        """When it ended. Of a run that has not ended, when it was recorded. Lists are in this order."""
        return self.recorded_at if self.completed_at is None else self.completed_at


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRunView:
    """The latest run of a flow, as the metrics have it."""

    run_id: str
    status: str
    completed_at: Moment
    """When it ended, or when it was recorded if that is not known."""
    duration_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowView:
    """One flow in one sandbox, as `/metrics` shows it."""

    flow_id: str
    sandbox: str | None
    flow_name: str | None
    """The last name that was not empty. Of a query the flow id, because the name of a query can be its SQL."""
    kind: str
    """What the flow does: `source`, `destination`, `identity`, `profile`, `segment`, `query` or `unknown`."""
    connector: str | None = None
    dataset: str | None = None
    enabled: bool | None
    """As the Flow Service says. None if it is not known."""
    last_run: LastRunView | None
    consecutive_failures: int | None
    """Failed runs since the last success, whole or partial. None if the flow is not on `/metrics`."""
    failing_since: Moment | None
    """The end of the first of these. None without one."""
    failing_errors: Mapping[str, int] | None
    """The number of these runs by error code, as in `aep_flow_failing_runs`. None if the flow is not on `/metrics`."""
    interval_seconds: float | None
    """The longest silence that is usual. None before three gaps."""
    expected_at: Moment | None
    """By when the next run ends if the flow is silent for no longer than is usual: the last end plus the interval."""
    overdue_at: Moment | None
    """From when on the flow is overdue, which is later. None before three gaps."""
    disabled_by_adobe_at: Moment | None
    """When Adobe disables a source flow if it goes on failing. None for flows of other kinds, unless the kind is not
    known, and for one that is disabled already."""
    not_shown: str | None = None
    """Why the flow is not on `/metrics`, and so has no state: `forgotten`, `silent` (nothing was recorded for
    --series.ttl), `limit` (--series.max-flows was reached) or `history` (all of it was old when it was recorded). None
    if it is there."""
    links: FlowLinks


View = RunView | FlowView
"""What a list shows."""


def view_of_run(row: Row, read: Reader, links: LinkMaker) -> RunView:
    """What is shown of a run. `row` is the outcome that stands, `read` reads the stored body of an event.

    If the body can't be read, or holds no run, the columns of the row are shown alone.
    """
    run = _run_of(row, read)
    errors = (
        [(code, None) for code in row.error_codes]
        if run is None
        else [(error.code, error.message) for error in run.errors]
    )
    kind = FlowKind.UNKNOWN if run is None else run.kind
    flow_name = None if run is None else row.flow_id if kind is FlowKind.QUERY else run.flow_name
    return RunView(
        run_id=row.run_id,
        flow_id=row.flow_id,
        flow_name=flow_name or None,
        sandbox=row.sandbox or None,
        org=(run and run.org) or None,
        kind=kind.value,
        status=row.status,
        started_at=_moment(None if run is None else run.started_at),
        completed_at=_moment(row.ended_at if row.is_outcome else row.completed_at),
        duration_seconds=None if run is None else _seconds(run.duration),
        counted=row.counts,
        errors=_errors(errors),
        activities=() if run is None else tuple(map(_activity, run.activities)),
        records={} if run is None else dict(run.records),
        bytes={} if run is None else dict(run.size),
        files={} if run is None else dict(run.files),
        recorded_at=Moment(row.received_at),
        source=row.source,
        links=links.of_run(
            kind,
            org="" if run is None else run.org,
            sandbox=row.sandbox or "",
            flow_id=row.flow_id or "",
            run_id=row.run_id or "",
        ),
    )


def view_of_flow(flow: FlowSummary, links: LinkMaker) -> FlowView:
    """What is shown of a flow that is on `/metrics`."""
    key, last, streak, interval = flow.key, flow.last, flow.streak, flow.interval
    return FlowView(
        flow_id=key.flow_id,
        sandbox=key.sandbox or None,
        flow_name=flow.name or None,
        kind=flow.kind.value,
        enabled=flow.enabled,
        last_run=None if last is None else _last_run(last),
        consecutive_failures=streak.failures,
        failing_since=_moment(streak.since),
        failing_errors=dict(streak.runs_by_code),
        interval_seconds=_seconds(interval),
        expected_at=None if last is None or interval is None else Moment(last.ended_at + interval),
        overdue_at=_moment(flow.overdue_at),
        disabled_by_adobe_at=_moment(flow.may_be_disabled_at),
        links=links.of_flow(flow.kind, org=flow.org, sandbox=key.sandbox, flow_id=key.flow_id),
    )


def view_of_hidden_flow(key: FlowKey, described: FlowRun | Flow | None, not_shown: str, links: LinkMaker) -> FlowView:
    """What is shown of a flow that is not on `/metrics`. `described` is its newest run or description."""
    kind = FlowKind.UNKNOWN if described is None else described.kind
    name = "" if described is None else described.flow_name
    return FlowView(
        flow_id=key.flow_id,
        sandbox=key.sandbox or None,
        flow_name=(key.flow_id if kind is FlowKind.QUERY else name) or None,
        kind=kind.value,
        enabled=None,
        last_run=None,
        consecutive_failures=None,
        failing_since=None,
        failing_errors=None,
        interval_seconds=None,
        expected_at=None,
        overdue_at=None,
        disabled_by_adobe_at=None,
        not_shown=not_shown,
        links=links.of_flow(
            kind, org="" if described is None else described.org, sandbox=key.sandbox, flow_id=key.flow_id
        ),
    )


def as_json(view: object) -> Json:
    """A view as JSON, with all its fields. A view is a dataclass, or a mapping or a tuple of views."""
    return _json_of(view)


def rfc3339(moment: Moment) -> str | None:
    """A time in UTC, to the millisecond. None for one beyond the year 9999, which only a wrong clock gives."""
    try:
        found = _EPOCH + timedelta(milliseconds=moment)
    except OverflowError:
        return None
    return found.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json_of(value: object) -> Json:
    kind = type(value)
    # The usual types come first: a list can have half a million values.
    if kind in _PLAIN:
        return value  # type: ignore[return-value] # one of the types of Json
    if kind is Moment:
        return rfc3339(value)  # type: ignore[arg-type] # a Moment
    if isinstance(value, tuple | list):
        return [_json_of(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): _json_of(each) for key, each in value.items()}
    if dataclasses.is_dataclass(value):
        return {name: _json_of(getattr(value, name)) for name in _names(kind)}
    if isinstance(value, str | int | float):
        return value
    raise TypeError(f"a view has no values of the type {kind.__name__}")


def _names(kind: type) -> tuple[str, ...]:
    """The names of the fields of a view. `kind` is its class."""
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple(field.name for field in dataclasses.fields(kind))
    return _FIELDS[kind]


def _run_of(row: Row, read: Reader) -> FlowRun | None:
    """The run that the body of a row holds. None if it can't be read."""
    try:
        fact = row.fact(read)
    except Exception:  # noqa: BLE001 - a defect of the reader must not hide the other runs of a list
        return None
    return fact if isinstance(fact, FlowRun) else None


def _errors(errors: Iterable[tuple[str, str | None]]) -> tuple[ErrorView, ...]:
    return tuple(
        ErrorView(code=code, message=message, explanation=explain(code).text) for code, message in dict.fromkeys(errors)
    )


def _activity(activity: Activity) -> ActivityView:
    return ActivityView(
        name=activity.name,
        started_at=_moment(activity.started_at),
        completed_at=_moment(activity.completed_at),
        duration_seconds=_seconds(activity.duration),
    )


def _last_run(outcome: Outcome) -> LastRunView:
    return LastRunView(
        run_id=outcome.run_id,
        status=outcome.status.value,
        completed_at=Moment(outcome.ended_at),
        duration_seconds=_seconds(outcome.duration),
    )


def _moment(milliseconds: int | None) -> Moment | None:
    return None if milliseconds is None else Moment(milliseconds)


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
