"""Fields that several of Adobe's payloads share: statuses, event codes, catalogue fields, counts, errors.

Each is from a sample or a document of Adobe's (docs/adobe.md, "Event codes", "Payloads", "Statuses"). A comment marks
what is a guess.

No I/O.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from exporter.model import Counts, FlowKind, Status
from exporter.simulate.codes import ErrorCause
from exporter.simulate.organisation import ORGANISATION, SimulatedFlow, Style
from exporter.simulate.runs import Run
from exporter.simulate.timeline import AlertNotification, Notification, OtherNotification, RunNotification

Node = dict[str, Any]
"""A JSON object."""

OBSERVABILITY: Final = "aep_observability_catalog_events"
NOTIFICATIONS: Final = "platform_notifications"
"""The providers that events name."""

STATUS_TEXTS: Final[Mapping[Status, str]] = {
    Status.SUCCESS: "success",
    Status.PARTIAL_SUCCESS: "partialSuccess",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
    # A text that is in none of Adobe's documents.
    Status.UNKNOWN: "superseded",
    Status.IN_PROGRESS: "inProgress",
    Status.QUEUED: "scheduled",
}
# The destinations API has other texts for these (docs/adobe.md, "Statuses").
_STREAMING_STATUS_TEXTS: Final[Mapping[Status, str]] = {
    **STATUS_TEXTS,
    Status.SUCCESS: "Success",
    Status.FAILED: "Failed",
}

_CLIENTS: Final = {
    FlowKind.DESTINATION: "aep_activation_batch",
    FlowKind.QUERY: "acp_foundation_queryService",
    FlowKind.UNKNOWN: "acp_streaming",
}
_OTHER_CLIENT: Final = "acp_foundation_connectors"

# The codes of sources and of identity are documented. The others follow their pattern (docs/adobe.md, "Variants").
_CODES: Final = {
    FlowKind.SOURCE: "source_flow_run_info",
    FlowKind.IDENTITY: "identity_ingestion_info",
    FlowKind.PROFILE: "profile_ingestion_info",
    FlowKind.DESTINATION: "destination_flow_run_info",
    FlowKind.SEGMENT: "segment_job_info",
    FlowKind.QUERY: "query_run_info",
    FlowKind.UNKNOWN: "streaming_flow_run_info",
}
_SOURCE_ERROR_CODE: Final = "source_flow_run_error"


def event_code(notification: Notification) -> str:
    """Adobe's event code of a notification."""
    if isinstance(notification, OtherNotification):
        return "audit_events_info" if notification.is_audit else "platform_event"
    template = notification.flow.template
    is_bad = isinstance(notification, AlertNotification) or notification.status is Status.FAILED
    if isinstance(notification, RunNotification) and template.style is not Style.EVENT:
        if not is_bad:
            return "sources_flow_run_success"
        return "sources_flow_run_failure" if template.style is Style.XDM else "sources_flow_run_failed"
    return _SOURCE_ERROR_CODE if is_bad and template.kind is FlowKind.SOURCE else _CODES[template.kind]


def status_summary(run: Run, status: Status) -> Node:
    """The status, with the text that such flows use."""
    return {"status": (_STREAMING_STATUS_TEXTS if run.flow.template.is_streaming else STATUS_TEXTS)[status]}


def catalogue_fields(flow: SimulatedFlow, created_at: int, updated_at: int) -> Node:
    """The fields of every object in the catalogue. Times are milliseconds since 1970."""
    client = _CLIENTS.get(flow.template.kind, _OTHER_CLIENT)
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
    """The header that some events contain."""
    return {"_adobeio": {"imsOrgId": ORGANISATION, "providerMetadata": provider, "eventCode": code}}


def summaries(run: Run) -> Node:
    """A run's bytes, records and files. What it does not report is absent."""
    found = {"sizeSummary": sizes(run), "recordSummary": records(run), "fileSummary": files(run)}
    return {name: counts for name, counts in found.items() if counts}


def sizes(run: Run) -> Node:
    """A run's bytes."""
    return _fields(run.size, "Bytes")


def records(run: Run) -> Node:
    """A run's records."""
    return _fields(run.records, "RecordCount")


def files(run: Run) -> Node:
    """A run's files."""
    return _fields(run.files, "FileCount")


def _fields(counts: Counts, ending: str) -> Node:
    return {result + ending: count for result, count in counts}


def errors(cause: ErrorCause | None, text: str = "message") -> tuple[list[Node], list[Node]]:
    """The errors of a run and the nested ones. `text` is the field with the text of a nested error."""
    if cause is None:
        return [], []
    nested = [{"code": cause.detail_code, text: cause.detail}] if cause.detail_code else []
    return [{"code": cause.code, "message": cause.message}], nested


def iso(moment: int) -> str:
    """A moment (milliseconds since 1970) in the text format of alerts and CloudEvents."""
    text = datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
