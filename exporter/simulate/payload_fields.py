"""What Adobe's payloads have in common: words for states, event codes, the fields of the catalogue, counts, errors.

Facts: adobe.md B1 to B3, each from a sample or a document of Adobe's; what is a guess says so.

Sans-I/O.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from exporter.model import Counts, FlowKind, Status
from exporter.simulate.codes import Trouble
from exporter.simulate.organisation import ORGANISATION, Flow, Style
from exporter.simulate.runs import Run
from exporter.simulate.timeline import AlertTold, Notice, OtherTold, RunTold

Node = dict[str, Any]
"""A JSON object to be."""

OBSERVABILITY: Final = "aep_observability_catalog_events"
NOTIFICATIONS: Final = "platform_notifications"
"""What events name as their provider."""

WORDS: Final[Mapping[Status, str]] = {
    Status.SUCCESS: "success",
    Status.PARTIAL_SUCCESS: "partialSuccess",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
    # None of Adobe's documents has this one.
    Status.UNKNOWN: "superseded",
    Status.IN_PROGRESS: "inProgress",
    Status.QUEUED: "scheduled",
}
# The destinations' API says the same in other words (adobe.md B3).
_WORDS_OF_STREAMING: Final[Mapping[Status, str]] = {**WORDS, Status.SUCCESS: "Success", Status.FAILED: "Failed"}

_CLIENTS: Final = {
    FlowKind.DESTINATION: "aep_activation_batch",
    FlowKind.QUERY: "acp_foundation_queryService",
    FlowKind.UNKNOWN: "acp_streaming",
}
_CLIENT_ELSE: Final = "acp_foundation_connectors"

# Those of sources and of identity are documented; the others follow their pattern (adobe.md E1).
_CODES: Final = {
    FlowKind.SOURCE: "source_flow_run_info",
    FlowKind.IDENTITY: "identity_ingestion_info",
    FlowKind.PROFILE: "profile_ingestion_info",
    FlowKind.DESTINATION: "destination_flow_run_info",
    FlowKind.SEGMENT: "segment_job_info",
    FlowKind.QUERY: "query_run_info",
    FlowKind.UNKNOWN: "streaming_flow_run_info",
}
_CODE_OF_SOURCES_IN_TROUBLE: Final = "source_flow_run_error"


def event_code(notice: Notice) -> str:
    """Adobe's code of the event."""
    if isinstance(notice, OtherTold):
        return "audit_events_info" if notice.is_audit else "platform_event"
    part = notice.flow.part
    is_bad = isinstance(notice, AlertTold) or notice.status is Status.FAILED
    if isinstance(notice, RunTold) and part.style is not Style.EVENT:
        if not is_bad:
            return "sources_flow_run_success"
        return "sources_flow_run_failure" if part.style is Style.XDM else "sources_flow_run_failed"
    return _CODE_OF_SOURCES_IN_TROUBLE if is_bad and part.kind is FlowKind.SOURCE else _CODES[part.kind]


def status_summary(run: Run, status: Status) -> Node:
    """Its state, in the words that such flows have for it."""
    return {"status": (_WORDS_OF_STREAMING if run.flow.part.is_streaming else WORDS)[status]}


def catalogue_fields(flow: Flow, created_at: int, updated_at: int) -> Node:
    """What the catalogue says of each of its objects; times in milliseconds since 1970."""
    client = _CLIENTS.get(flow.part.kind, _CLIENT_ELSE)
    return {
        "createdAt": created_at,
        "updatedAt": updated_at,
        "createdBy": "simulated@AdobeID",
        "updatedBy": "simulated@AdobeID",
        "createdClient": client,
        "updatedClient": client,
        "sandboxId": flow.sandbox_id,
        "sandboxName": flow.sandbox,
        "imsOrgId": ORGANISATION,
        "flowId": flow.flow_id,
    }


def header(code: str, provider: str) -> Node:
    """What some events say of themselves."""
    return {"_adobeio": {"imsOrgId": ORGANISATION, "providerMetadata": provider, "eventCode": code}}


def summaries(run: Run) -> Node:
    """What a run says of its bytes, records and files; what it does not report is not there."""
    found = {"sizeSummary": sizes(run), "recordSummary": records(run), "fileSummary": files(run)}
    return {name: counts for name, counts in found.items() if counts}


def sizes(run: Run) -> Node:
    """Its bytes."""
    return _fields(run.size, "Bytes")


def records(run: Run) -> Node:
    """Its records."""
    return _fields(run.records, "RecordCount")


def files(run: Run) -> Node:
    """Its files."""
    return _fields(run.files, "FileCount")


def _fields(counts: Counts, ending: str) -> Node:
    return {result + ending: count for result, count in counts}


def errors(trouble: Trouble | None, text: str = "message") -> tuple[list[Node], list[Node]]:
    """The errors of a run, and those beneath, whose text some name otherwise."""
    if trouble is None:
        return [], []
    beneath = [{"code": trouble.detail_code, text: trouble.detail}] if trouble.detail_code else []
    return [{"code": trouble.code, "message": trouble.message}], beneath


def iso(moment: int) -> str:
    """A moment (milliseconds since 1970) as the text that alerts and CloudEvents have."""
    text = datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
