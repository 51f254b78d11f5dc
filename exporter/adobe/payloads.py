"""One event's bytes to the fact it tells: FlowRun, FlowAlert, Flow, Unsupported or Unreadable.

The rule: a run costs only what it lacks. A run without flow id, run id or status is unsupported; anything else that is
missing or makes no sense is left out, and named in `anomalies`. Status is read from `metrics.statusSummary.status`,
never from the event code (adobe.md B1: one code serves start and success). Facts: adobe.md B2 and B3, contract 4.3 to
4.5.

Sans-I/O: no clock (the time of recording is passed in), no client, no async.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from exporter.adobe import fields, lenient_json
from exporter.adobe.classify import activity_name, kind_of_flow, kind_of_run
from exporter.adobe.envelope import XDM, Node, Wrapping, looks_like_alert, looks_like_run, unwrap
from exporter.model import (
    OTHER,
    RECORD_RESULTS,
    SIZE_RESULTS,
    Activity,
    AlertState,
    Counts,
    Fact,
    Flow,
    FlowAlert,
    FlowRun,
    RunError,
    Status,
    Unreadable,
    Unsupported,
    is_error_code,
)

ANOMALY_FIELDS: Final = (
    "status",
    "started_at",
    "completed_at",
    "created_at",
    "updated_at",
    "envelope_time",
    "duration",
    "records",
    "bytes",
    "files",
    "error_code",
    "flow_name",
)
"""Every field that `FlowRun.anomalies` can name."""

_MAX_DEPTH: Final = 16
"""Objects within objects in which anything is looked for; the deepest that is has six."""
_MAX_ACTIVITIES: Final = 1000
_MAX_ENTRIES: Final = 50_000
"""Error entries looked at in one run."""
_MAX_ANOMALIES: Final = 100
_MAX_ERRORS: Final = 1000
"""Errors kept of one run, of all places together."""
_MAX_MESSAGES: Final = 20
"""Messages kept of one code: a run can repeat it for every row."""

_STATUSES: Final = {
    "success": Status.SUCCESS,
    "completed": Status.SUCCESS,
    "partialsuccess": Status.PARTIAL_SUCCESS,
    "partialfailure": Status.PARTIAL_SUCCESS,
    "failed": Status.FAILED,
    "failure": Status.FAILED,
    "error": Status.FAILED,
    "cancelled": Status.CANCELLED,
    "canceled": Status.CANCELLED,
    "aborted": Status.CANCELLED,
    "inprogress": Status.IN_PROGRESS,
    "processing": Status.IN_PROGRESS,
    "started": Status.IN_PROGRESS,
    "queued": Status.QUEUED,
    "waiting": Status.QUEUED,
    "scheduled": Status.QUEUED,
}

_RECORD_KEYS: Final = {result: f"{result}RecordCount" for result in RECORD_RESULTS}
_SIZE_KEYS: Final = {result: f"{result}Bytes" for result in SIZE_RESULTS}
_FILE_KEYS: Final = {result: f"{result}FileCount" for result in SIZE_RESULTS}

_NOTHING: Final[Node] = {}
_XDM: Final = XDM.encode()


def read(body: bytes, recorded_at: int, event_code: str = "") -> Fact:
    """Read one event as it was kept.

    `recorded_at` bounds the times that make sense (milliseconds since 1970); `event_code` is what was known of the
    event when it came, in case its own bytes don't say.
    """
    decoded = lenient_json.decode(body)
    if decoded is None or not isinstance(decoded.value, dict):
        return Unreadable()
    unwrapped = unwrap(decoded.value, Wrapping(event_code=event_code))
    if isinstance(unwrapped.inner, list):
        return Unsupported()
    return interpret(unwrapped.inner, unwrapped.wrapping, recorded_at, body)


def interpret(node: Node, wrapping: Wrapping, recorded_at: int, body: bytes) -> Fact:
    """Read one unwrapped object, that was decoded from these bytes."""
    if _XDM in body:
        plain = _plain(node)
        node = plain if isinstance(plain, dict) else _NOTHING
    if looks_like_run(node):
        return _run(node, wrapping, recorded_at)
    if looks_like_alert(node):
        return _alert(node, wrapping, recorded_at)
    if isinstance(node.get("flowSpec"), dict) and node.get("name") and "flowId" not in node:
        return _flow(node, wrapping, recorded_at)
    return Unsupported(sandbox=fields.identifier(node.get("sandboxName")))


def _plain(value: object, depth: int = 0) -> object:
    """A value without the prefix of Experience Data Model fields; of twins the one without it is believed."""
    if depth > _MAX_DEPTH:
        return value
    if isinstance(value, list):
        return [_plain(element, depth + 1) for element in value]
    if not isinstance(value, dict):
        return value
    plain = {key.removeprefix(XDM): element for key, element in value.items() if key.startswith(XDM)}
    plain.update((key, element) for key, element in value.items() if not key.startswith(XDM) and element is not None)
    return {key: _plain(element, depth + 1) for key, element in plain.items()}


def _section(node: Node, key: str) -> Node:
    """A nested object; an empty one where there is none, so that what lacks it lacks only its leaves."""
    found = node.get(key)
    return found if isinstance(found, dict) else _NOTHING


def _objects(value: object) -> Iterator[Node]:
    """The objects of a list; one object that should have been a list of one counts as that."""
    for element in value if isinstance(value, list) else [value]:
        if isinstance(element, dict):
            yield element


class _Reading:
    """The leaves of one run, with the fields whose value made no sense."""

    def __init__(self, recorded_at: int) -> None:
        self._recorded_at = recorded_at
        self.anomalies: list[str] = []

    def moment(self, value: object, field: str) -> int | None:
        try:
            return fields.moment(value, self._recorded_at)
        except fields.InvalidFieldError:
            self.anomalies.append(field)
            return None

    def counts(self, summary: Node, keys: dict[str, str], field: str) -> Counts:
        found: list[tuple[str, int]] = []
        for result, key in keys.items():
            if key in summary:
                try:
                    number = fields.count(summary[key])
                except fields.InvalidFieldError:
                    self.anomalies.append(field)
                    continue
                if number is not None:
                    found.append((result, number))
        return tuple(found)

    def name(self, value: object) -> str:
        try:
            return fields.name(value)
        except fields.InvalidFieldError:
            self.anomalies.append("flow_name")
            return ""

    def status(self, value: object) -> Status | None:
        """None where Adobe gives no status at all; a word nobody knows ends the run as unknown."""
        if value is None or value == "":
            return None
        word = "".join(filter(str.isalnum, value)).lower() if isinstance(value, str) else ""
        status = _STATUSES.get(word)
        if status is None:
            self.anomalies.append("status")
            return Status.UNKNOWN
        return status

    def ends(self, summary: Node) -> tuple[int | None, int | None]:
        started_at = self.moment(summary.get("startedAtUTC"), "started_at")
        completed_at = self.moment(summary.get("completedAtUTC"), "completed_at")
        if started_at is not None and completed_at is not None and completed_at < started_at:
            self.anomalies.append("duration")
        return started_at, completed_at

    def errors(self, parts: Iterable[Node]) -> tuple[RunError, ...]:
        """The errors of a run and its activities, each that says the same once; of one code not all of its messages."""
        found: dict[RunError, None] = {}
        by_code: Counter[str] = Counter()
        entries = islice((entry for part in parts for entry in _error_entries(part)), _MAX_ENTRIES)
        for error in map(self._error, entries):
            if error not in found and by_code[error.code] < _MAX_MESSAGES and len(found) < _MAX_ERRORS:
                by_code[error.code] += 1
                found[error] = None
        return tuple(found)

    def _error(self, told_error: object) -> RunError:
        if not isinstance(told_error, dict):
            return RunError(code=OTHER, message=fields.message(told_error))
        entry: Node = told_error
        told = entry.get("code")
        code = fields.identifier(told)
        if not is_error_code(code):
            if told is not None:
                self.anomalies.append("error_code")
            code = OTHER
        try:
            amount = fields.count(entry["recordCount"] if entry.get("recordCount") is not None else entry.get("count"))
        except fields.InvalidFieldError:
            amount = None
        return RunError(
            code=code,
            message=fields.message(entry.get("message")) or fields.message(entry.get("description")),
            count=amount,
        )


def _error_entries(part: Node) -> Iterator[object]:
    """What a run (its metrics) or an activity says went wrong; `skippedInfo` and `warningInfo` are no errors."""
    status_summary = part.get("statusSummary")
    record_summary = part.get("recordSummary")
    extensions = status_summary.get("extensions") if isinstance(status_summary, dict) else None
    for section, key in ((status_summary, "errors"), (extensions, "errors"), (record_summary, "failedInfo")):
        value = section.get(key) if isinstance(section, dict) else None
        if value:
            yield from (entry for entry in (value if isinstance(value, list) else [value]) if entry)


def _run(node: Node, wrapping: Wrapping, recorded_at: int) -> FlowRun | Unsupported:
    metrics = _section(node, "metrics")
    reading = _Reading(recorded_at)
    run_id = fields.identifier(node.get("id")) or fields.identifier(node.get("flowRunId"))
    flow_id = fields.identifier(node.get("flowId"))
    sandbox = fields.identifier(node.get("sandboxName"))
    status = reading.status(_section(metrics, "statusSummary").get("status"))
    if not run_id or not flow_id or status is None:
        return Unsupported(sandbox=sandbox)
    started_at, completed_at = reading.ends(_section(metrics, "durationSummary"))
    nodes = tuple(islice(_objects(node.get("activities")), _MAX_ACTIVITIES))
    activities = tuple(_activity(each, reading) for each in nodes)
    return FlowRun(
        run_id=run_id,
        flow_id=flow_id,
        sandbox=sandbox,
        org=wrapping.org,
        status=status,
        flow_name=reading.name(node.get("flowName")),
        kind=kind_of_run(node, [activity.name for activity in activities], wrapping.event_code),
        started_at=started_at,
        completed_at=completed_at,
        created_at=reading.moment(node.get("createdAt"), "created_at"),
        updated_at=reading.moment(node.get("updatedAt"), "updated_at"),
        envelope_time=reading.moment(wrapping.envelope_time, "envelope_time"),
        records=reading.counts(_section(metrics, "recordSummary"), _RECORD_KEYS, "records"),
        size=reading.counts(_section(metrics, "sizeSummary"), _SIZE_KEYS, "bytes"),
        files=reading.counts(_section(metrics, "fileSummary"), _FILE_KEYS, "files"),
        errors=reading.errors((metrics, *nodes)),
        activities=activities,
        anomalies=tuple(reading.anomalies[:_MAX_ANOMALIES]),
    )


def _activity(node: Node, reading: _Reading) -> Activity:
    started_at, completed_at = reading.ends(_section(node, "durationSummary"))
    return Activity(name=activity_name(node), started_at=started_at, completed_at=completed_at)


def _alert(node: Node, wrapping: Wrapping, recorded_at: int) -> FlowAlert:
    reading = _Reading(recorded_at)
    state = AlertState(str(node["status"]).strip().lower())
    resolved_at = reading.moment(node.get("resolvedAt"), "completed_at") if state is AlertState.INACTIVE else None
    name = fields.identifier(node.get("name"))
    flow_id = fields.identifier(node.get("flowId"))
    run_id = fields.identifier(node.get("flowRunId"))
    return FlowAlert(
        # An alert that names no id of its own is told from others by what it is about, and when it began.
        alert_id=fields.identifier(node.get("id"))
        or fields.identifier(f"{name}:{flow_id}:{run_id}:{fields.identifier(node.get('createdAt'))}"),
        name=name,
        state=state,
        sandbox=fields.identifier(node.get("sandboxName")),
        org=wrapping.org,
        flow_id=flow_id,
        run_id=run_id,
        changed_at=resolved_at if resolved_at is not None else reading.moment(node.get("createdAt"), "created_at"),
        anomalies=tuple(reading.anomalies[:_MAX_ANOMALIES]),
    )


def _flow(node: Node, wrapping: Wrapping, recorded_at: int) -> Flow | Unsupported:
    flow_id = fields.identifier(node.get("id"))
    if not flow_id:
        return Unsupported()
    reading = _Reading(recorded_at)
    state = node.get("state")
    return Flow(
        flow_id=flow_id,
        sandbox=fields.identifier(node.get("sandboxName")),
        org=wrapping.org,
        flow_name=reading.name(node.get("name")),
        kind=kind_of_flow(node),
        # Adobe's other states (initializing, pending, ...) are on the way to one of these two, and say neither.
        enabled={"enabled": True, "disabled": False}.get(state.lower()) if isinstance(state, str) else None,
        updated_at=reading.moment(node.get("updatedAt"), "updated_at"),
    )
