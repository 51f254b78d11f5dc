"""Error codes that Experience Platform reports, by the kind of flow that reports them.

The codes come from Adobe's public documents, which a comment names. The messages are our own. The codes of answers of
the Flow Service and the Sources API (`1101-404` and the like) are not here, because requests get them and runs do not.

No I/O.
"""

from dataclasses import dataclass
from typing import Final

from exporter.model import FlowKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCause:
    """The error that a run reports, with the nested error that explains it."""

    code: str
    message: str
    detail_code: str | None = None
    """The code of the nested error, if the outer one only names the step that failed."""
    detail: str = ""


# Adobe's documents, in its repositories AdobeDocs/experience-platform.en (EN) and AdobeDocs/experience-platform-apis:
# CONNECTOR-*, 133: EN help/sources/notifications.md; CTOR-2001-500, INGEST-1205-400: the same, revision of mid-2020.
# CONNECTOR-3001-500: its older translations (help/sources/tutorials/ui/monitor.md). 2200, UPINGT-*, ACTBTC-1105-400,
# 42602, "Unknown error code": samples in EN help/observability/alerts/rules.md. INGEST-1212-400, INGEST-1401-400,
# INGEST-1555-400, MAPPER-3700-400: EN help/dataflows and help/sources. 106: EN help/ingestion/batch-ingestion.
# ACTIVATION_BATCH-0000-*, ACTSVC-9001-500: static/swagger-specs/destinations.yaml. 42P01: EN help/query-service
# (troubleshooting-guide.md).
_COPY: Final = "Data could not be copied from the source."
_PROCESSING: Final = "The copied data could not be parsed, validated or transformed."

FAILURES: Final[dict[FlowKind, tuple[ErrorCause, ...]]] = {
    FlowKind.SOURCE: (
        ErrorCause(
            code="CONNECTOR-1001-500",
            message=_COPY,
            detail_code="2200",
            detail="The connection to sftp.partner.example timed out: 203.0.113.14 did not answer.",
        ),
        ErrorCause(
            code="CONNECTOR-2001-500",
            message=_PROCESSING,
            detail_code="133",
            detail="No files were found for this batch.",
        ),
        ErrorCause(
            code="CONNECTOR-2001-500",
            message=_PROCESSING,
            detail_code="INGEST-1401-400",
            detail="Row 48213 is damaged and can't be read.",
        ),
        ErrorCause(code="CONNECTOR-3001-500", message="The batch could not be created through bulk ingestion."),
        ErrorCause(
            code="CTOR-2001-500",
            message="The promotion step failed.",
            detail_code="INGEST-1205-400",
            detail="The target schema has no field loyalty_tier.",
        ),
        ErrorCause(
            code="CONNECTOR-2001-500",
            message=_PROCESSING,
            detail_code="106",
            detail="The file orders_eu.csv is empty.",
        ),
    ),
    FlowKind.IDENTITY: (
        ErrorCause(code="UPINGT-007012-400", message="An ECID is not valid: it has letters in it."),
        ErrorCause(code="UPINGT-007002-500", message="Identity ingestion of the batch failed."),
    ),
    FlowKind.PROFILE: (
        ErrorCause(
            code="UPINGT-007002-500",
            message="Profile ingestion of the batch failed.",
            detail_code="UPINGT-007012-400",
            detail="An ECID is not valid.",
        ),
    ),
    FlowKind.SEGMENT: (ErrorCause(code="Unknown error code", message="The evaluation of audiences failed."),),
    FlowKind.DESTINATION: (
        ErrorCause(code="ACTBTC-1105-400", message="The incremental dataset of the export was not found."),
        ErrorCause(code="ACTIVATION_BATCH-0000-FAILED", message="The export job was aborted."),
        ErrorCause(code="ACTSVC-9001-500", message="Processing failed: the destination's metadata don't fit the data."),
    ),
    FlowKind.QUERY: (
        ErrorCause(code="42602", message="The reference 'id' is ambiguous: orders.id or customers.id?"),
        ErrorCause(code="42P01", message="The table orders_2024 does not exist."),
    ),
    FlowKind.UNKNOWN: (ErrorCause(code="CONNECTOR-2001-500", message=_PROCESSING),),
}
"""The errors of failed runs."""

_REJECTED_ROWS: Final = (
    ErrorCause(
        code="CONNECTOR-2001-500",
        message=_PROCESSING,
        detail_code="INGEST-1212-400",
        detail="Some rows had errors; the others were ingested.",
    ),
    ErrorCause(
        code="CONNECTOR-2001-500",
        message=_PROCESSING,
        detail_code="MAPPER-3700-400",
        detail="The mapping of birthDate failed: 31.02.1990 is no date.",
    ),
    ErrorCause(
        code="CONNECTOR-2001-500",
        message=_PROCESSING,
        detail_code="INGEST-1555-400",
        detail="The required field _id is missing or null.",
    ),
)

REJECTIONS: Final[dict[FlowKind, tuple[ErrorCause, ...]]] = {
    **FAILURES,
    FlowKind.SOURCE: _REJECTED_ROWS,
    FlowKind.UNKNOWN: _REJECTED_ROWS,
    FlowKind.IDENTITY: (FAILURES[FlowKind.IDENTITY][0],),
    FlowKind.PROFILE: (ErrorCause(code="UPINGT-007012-400", message="Some ECIDs are not valid."),),
}
"""The errors of runs that left some records out and succeeded with the others."""

SKIPPED_CODE: Final = "ACTIVATION_BATCH-0000-SKIP"
"""The code of records that were left out on purpose. It is no error."""
SKIPPED_MESSAGE: Final = "These records did not match the attribute filter."
