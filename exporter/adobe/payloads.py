"""Reads the bytes of one event. The result is a FlowRun, FlowAlert, Flow, Unsupported or Unreadable.

Missing or invalid fields are dropped one by one. Only flow id, run id and status are required: a run without one of
them is unsupported, and `exporter.adobe.topics` finds the reason. Fields whose value was not valid are named in
`anomalies`. The status is read from `metrics.statusSummary.status` and never from the event code, because one code
serves the start and the success of a run (docs/adobe.md, "Event codes"). What Adobe sends: docs/adobe.md, "Payloads",
"Statuses" and "Error codes". What becomes of it: docs/metrics.md, "Status", "Numbers and times" and "Error codes".

No I/O and no clock: the time of recording is passed in.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from exporter.adobe import fields, lenient_json
from exporter.adobe.classify import activity_name, kind_of_flow, kind_of_run
from exporter.adobe.envelope import XDM, Metadata, Node, looks_like_alert, looks_like_run, unwrap
from exporter.adobe.topics import Topic
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
"""All names that can be in `FlowRun.anomalies` and `FlowAlert.anomalies`."""

_MAX_DEPTH: Final = 16
"""Nested objects and lists in which the XDM prefix is removed. The deepest field that is read lies six deep."""
MAX_ACTIVITIES: Final = 1000
"""Activities that are read of one run."""
_MAX_ENTRIES: Final = 50_000
"""Error entries that are read of one run."""
_MAX_ANOMALIES: Final = 100
_MAX_ERRORS: Final = 1000
"""Errors that are kept of one run and its activities together."""
_MAX_MESSAGES: Final = 20
"""Messages that are kept of one error code, because a run can repeat a code for every row."""

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

_EMPTY: Final[Node] = {}
_XDM: Final = XDM.encode()


def read(body: bytes, recorded_at: int, event_code: str = "") -> Fact:
    """Read the stored body of one event.

    `recorded_at` is the time of recording (milliseconds since 1970). A time in the event that is more than ten minutes
    later is not valid. `event_code` is the code that the ledger stores with the event. It is used if the body has none.
    """
    decoded = lenient_json.decode(body)
    if decoded is None or not isinstance(decoded.value, dict):
        return Unreadable()
    unwrapped = unwrap(decoded.value, Metadata(event_code=event_code))
    if isinstance(unwrapped.content, list):
        return unrecognised_list(unwrapped.content, unwrapped.metadata, unwrapped.text or body)
    fact = interpret(unwrapped.content, unwrapped.metadata, recorded_at, unwrapped.text or body)
    return Unreadable() if decoded.is_pruned and isinstance(fact, Unsupported) else fact


def interpret(node: Node, metadata: Metadata, recorded_at: int, body: bytes) -> Fact:
    """Read one unwrapped object. `body` is the JSON text that contains it."""
    if _XDM in body:
        unprefixed = without_prefix(node)
        node = unprefixed if isinstance(unprefixed, dict) else _EMPTY
    if looks_like_run(node):
        return _run(node, metadata, recorded_at, body)
    if looks_like_alert(node):
        return _alert(node, metadata, recorded_at)
    if isinstance(node.get("flowSpec"), dict) and node.get("name") and "flowId" not in node:
        return _flow(node, metadata, recorded_at, body)
    return _unsupported(node, metadata, body)


def unrecognised_list(content: Iterable[object], metadata: Metadata, body: bytes) -> Unsupported:
    """The fact of an envelope in whose list nothing is recognised. `body` is the JSON text that contains it."""
    return Unsupported(reason=Topic(body).reason_of_list(content, metadata))


def _unsupported(node: Node, metadata: Metadata, body: bytes) -> Unsupported:
    sandbox = fields.identifier(node.get("sandboxName"))
    return Unsupported(sandbox=sandbox, reason=Topic(body).reason(node, metadata.event_code))


def without_prefix(value: object, depth: int = 0) -> object:
    """A value without the XDM prefix of its members. A member that comes with and without it is read without it."""
    if depth > _MAX_DEPTH:
        return value
    if isinstance(value, list):
        return [without_prefix(element, depth + 1) for element in value]
    if not isinstance(value, dict):
        return value
    members = {key.removeprefix(XDM): element for key, element in value.items() if key.startswith(XDM)}
    members.update((key, element) for key, element in value.items() if not key.startswith(XDM) and element is not None)
    return {key: without_prefix(element, depth + 1) for key, element in members.items()}


def section(node: Node, key: str) -> Node:
    """A nested object, or an empty object if there is none."""
    found = node.get(key)
    return found if isinstance(found, dict) else _EMPTY


def objects(value: object) -> Iterator[Node]:
    """The objects of a list. An object in the place of a list is read as a list of one."""
    for element in value if isinstance(value, list) else [value]:
        if isinstance(element, dict):
            yield element


class _FieldReader:
    """Reads the fields of one run, alert or flow, and collects the names of fields whose value is not valid."""

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
        """The status that a text names, or None if there is no status. An unknown text is the outcome UNKNOWN."""
        if value is None or value == "":
            return None
        word = "".join(filter(str.isalnum, value)).lower() if isinstance(value, str) else ""
        status = _STATUSES.get(word)
        if status is None:
            self.anomalies.append("status")
            return Status.UNKNOWN
        return status

    def start_and_end(self, summary: Node) -> tuple[int | None, int | None]:
        """The two times of a `durationSummary`."""
        started_at = self.moment(summary.get("startedAtUTC"), "started_at")
        completed_at = self.moment(summary.get("completedAtUTC"), "completed_at")
        if started_at is not None and completed_at is not None and completed_at < started_at:
            self.anomalies.append("duration")
        return started_at, completed_at

    def errors(self, parts: Iterable[Node]) -> tuple[RunError, ...]:
        """The errors of a run's metrics and its activities. Equal errors are kept once, and some messages of a code."""
        found: dict[RunError, None] = {}
        by_code: Counter[str] = Counter()
        reported = islice((entry for part in parts for entry in error_entries(part)), _MAX_ENTRIES)
        for error in map(self._error, reported):
            if error not in found and by_code[error.code] < _MAX_MESSAGES and len(found) < _MAX_ERRORS:
                by_code[error.code] += 1
                found[error] = None
        return tuple(found)

    def _error(self, value: object) -> RunError:
        if not isinstance(value, dict):
            return RunError(code=OTHER, message=fields.message(value))
        entry: Node = value
        raw_code = entry.get("code")
        code = fields.error_code(raw_code)
        if not is_error_code(code):
            if raw_code is not None:
                self.anomalies.append("error_code")
            code = OTHER
        try:
            count = fields.count(entry["recordCount"] if entry.get("recordCount") is not None else entry.get("count"))
        except fields.InvalidFieldError:
            count = None
        return RunError(
            code=code,
            message=fields.message(entry.get("message")) or fields.message(entry.get("description")),
            count=count,
        )


def error_entries(part: Node) -> Iterator[object]:
    """The errors in a run's metrics or in an activity. Entries in `skippedInfo` and `warningInfo` are not errors."""
    status_summary = part.get("statusSummary")
    record_summary = part.get("recordSummary")
    extensions = status_summary.get("extensions") if isinstance(status_summary, dict) else None
    for holder, key in ((status_summary, "errors"), (extensions, "errors"), (record_summary, "failedInfo")):
        value = holder.get(key) if isinstance(holder, dict) else None
        if value:
            yield from (entry for entry in (value if isinstance(value, list) else [value]) if entry)


def _run(node: Node, metadata: Metadata, recorded_at: int, body: bytes) -> FlowRun | Unsupported:
    metrics = section(node, "metrics")
    reader = _FieldReader(recorded_at)
    run_id = fields.identifier(node.get("id")) or fields.identifier(node.get("flowRunId"))
    flow_id = fields.identifier(node.get("flowId"))
    status = reader.status(section(metrics, "statusSummary").get("status"))
    if not run_id or not flow_id or status is None:
        return _unsupported(node, metadata, body)
    started_at, completed_at = reader.start_and_end(section(metrics, "durationSummary"))
    nodes = tuple(activity_nodes(node))
    activities = tuple(_activity(each, reader) for each in nodes)
    return FlowRun(
        run_id=run_id,
        flow_id=flow_id,
        sandbox=fields.identifier(node.get("sandboxName")),
        org=metadata.org,
        status=status,
        flow_name=reader.name(node.get("flowName")),
        kind=kind_of_run(node, [activity.name for activity in activities], metadata.event_code),
        started_at=started_at,
        completed_at=completed_at,
        created_at=reader.moment(node.get("createdAt"), "created_at"),
        updated_at=reader.moment(node.get("updatedAt"), "updated_at"),
        envelope_time=reader.moment(metadata.envelope_time, "envelope_time"),
        records=reader.counts(section(metrics, "recordSummary"), _RECORD_KEYS, "records"),
        size=reader.counts(section(metrics, "sizeSummary"), _SIZE_KEYS, "bytes"),
        files=reader.counts(section(metrics, "fileSummary"), _FILE_KEYS, "files"),
        errors=reader.errors((metrics, *nodes)),
        activities=activities,
        anomalies=tuple(reader.anomalies[:_MAX_ANOMALIES]),
    )


def activity_nodes(node: Node) -> Iterator[Node]:
    """The activities of a run, at most MAX_ACTIVITIES."""
    # One of Adobe's schemas misspells the name.
    return islice(objects(node.get("activities") or node.get("activites")), MAX_ACTIVITIES)


def _activity(node: Node, reader: _FieldReader) -> Activity:
    started_at, completed_at = reader.start_and_end(section(node, "durationSummary"))
    return Activity(name=activity_name(node), started_at=started_at, completed_at=completed_at)


def _alert(node: Node, metadata: Metadata, recorded_at: int) -> FlowAlert:
    reader = _FieldReader(recorded_at)
    state = AlertState(str(node["status"]).strip().lower())
    resolved_at = reader.moment(node.get("resolvedAt"), "completed_at") if state is AlertState.INACTIVE else None
    name = fields.identifier(node.get("name"))
    flow_id = fields.identifier(node.get("flowId"))
    run_id = fields.identifier(node.get("flowRunId"))
    return FlowAlert(
        # An alert without id gets one that is made of its name, its flow, its run and the time at which it began.
        alert_id=fields.identifier(node.get("id"))
        or fields.identifier(f"{name}:{flow_id}:{run_id}:{fields.identifier(node.get('createdAt'))}"),
        name=name,
        state=state,
        sandbox=fields.identifier(node.get("sandboxName")),
        org=metadata.org,
        flow_id=flow_id,
        run_id=run_id,
        changed_at=resolved_at if resolved_at is not None else reader.moment(node.get("createdAt"), "created_at"),
        anomalies=tuple(reader.anomalies[:_MAX_ANOMALIES]),
    )


def _flow(node: Node, metadata: Metadata, recorded_at: int, body: bytes) -> Flow | Unsupported:
    flow_id = fields.identifier(node.get("id"))
    if not flow_id:
        return _unsupported(node, metadata, body)
    reader = _FieldReader(recorded_at)
    state = node.get("state")
    return Flow(
        flow_id=flow_id,
        sandbox=fields.identifier(node.get("sandboxName")),
        org=metadata.org,
        flow_name=reader.name(node.get("name")),
        kind=kind_of_flow(node),
        # Adobe's other states (initializing, pending, ...) are on the way to one of these two, and are read as None.
        enabled={"enabled": True, "disabled": False}.get(state.lower()) if isinstance(state, str) else None,
        updated_at=reader.moment(node.get("updatedAt"), "updated_at"),
    )
