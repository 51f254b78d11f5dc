"""Error codes that Platform really reports, by the kind of flow that reports them.

The codes are facts of Adobe's public documents, each named beside it; what the messages say is told in our own words.
The codes of the Flow Service's and the Sources API's own answers (`1101-404` and the like) are not here: requests get
them, runs do not.

Sans-I/O.
"""

from dataclasses import dataclass
from typing import Final

from exporter.model import FlowKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a run failed, as it is told: an error, and what lies beneath it."""

    code: str
    message: str
    detail_code: str | None = None
    """The nested error's code, where the outer one only says in which step it happened."""
    detail: str = ""


# Adobe's documents, in its repositories AdobeDocs/experience-platform.en (EN) and AdobeDocs/experience-platform-apis:
# CONNECTOR-*, 133: EN help/sources/notifications.md; CTOR-2001-500, INGEST-1205-400: the same, revision of mid-2020.
# CONNECTOR-3001-500: its older translations (help/sources/tutorials/ui/monitor.md). 2200, UPINGT-*, ACTBTC-1105-400,
# 42602, "Unknown error code": samples in EN help/observability/alerts/rules.md. INGEST-1212-400, INGEST-1401-400,
# INGEST-1555-400, MAPPER-3700-400: EN help/dataflows and help/sources. 106: EN help/ingestion/batch-ingestion.
# ACTIVATION_BATCH-0000-*, ACTSVC-9001-500: static/swagger-specs/destinations.yaml.
_COPY: Final = "Data could not be copied from the source."
_PROCESSING: Final = "The copied data could not be parsed, validated or transformed."

FAILURES: Final[dict[FlowKind, tuple[Trouble, ...]]] = {
    FlowKind.SOURCE: (
        Trouble(
            code="CONNECTOR-1001-500",
            message=_COPY,
            detail_code="2200",
            detail="The connection to sftp.partner.example timed out: 203.0.113.14 did not answer.",
        ),
        Trouble(
            code="CONNECTOR-2001-500",
            message=_PROCESSING,
            detail_code="133",
            detail="No files were found for this batch.",
        ),
        Trouble(
            code="CONNECTOR-2001-500",
            message=_PROCESSING,
            detail_code="INGEST-1401-400",
            detail="Row 48213 is damaged and can't be read.",
        ),
        Trouble(code="CONNECTOR-3001-500", message="The batch could not be created through bulk ingestion."),
        Trouble(
            code="CTOR-2001-500",
            message="The promotion step failed.",
            detail_code="INGEST-1205-400",
            detail="The target schema has no field loyalty_tier.",
        ),
        Trouble(
            code="CONNECTOR-2001-500",
            message=_PROCESSING,
            detail_code="106",
            detail="The file orders_eu.csv is empty.",
        ),
    ),
    FlowKind.IDENTITY: (
        Trouble(code="UPINGT-007012-400", message="An ECID is not valid: it has letters in it."),
        Trouble(code="UPINGT-007002-500", message="Identity ingestion of the batch failed."),
    ),
    FlowKind.PROFILE: (
        Trouble(
            code="UPINGT-007002-500",
            message="Profile ingestion of the batch failed.",
            detail_code="UPINGT-007012-400",
            detail="An ECID is not valid.",
        ),
    ),
    FlowKind.SEGMENT: (Trouble(code="Unknown error code", message="The evaluation of audiences failed."),),
    FlowKind.DESTINATION: (
        Trouble(code="ACTBTC-1105-400", message="The incremental dataset of the export was not found."),
        Trouble(code="ACTIVATION_BATCH-0000-FAILED", message="The export job was aborted."),
        Trouble(code="ACTSVC-9001-500", message="Processing failed: the destination's metadata don't fit the data."),
    ),
    FlowKind.QUERY: (Trouble(code="42602", message="The reference 'id' is ambiguous: orders.id or customers.id?"),),
    FlowKind.UNKNOWN: (Trouble(code="CONNECTOR-2001-500", message=_PROCESSING),),
}
"""What makes a run fail."""

_REJECTED_ROWS: Final = (
    Trouble(
        code="CONNECTOR-2001-500",
        message=_PROCESSING,
        detail_code="INGEST-1212-400",
        detail="Some rows had errors; the others were ingested.",
    ),
    Trouble(
        code="CONNECTOR-2001-500",
        message=_PROCESSING,
        detail_code="MAPPER-3700-400",
        detail="The mapping of birthDate failed: 31.02.1990 is no date.",
    ),
    Trouble(
        code="CONNECTOR-2001-500",
        message=_PROCESSING,
        detail_code="INGEST-1555-400",
        detail="The required field _id is missing or null.",
    ),
)

REJECTIONS: Final[dict[FlowKind, tuple[Trouble, ...]]] = {
    **FAILURES,
    FlowKind.SOURCE: _REJECTED_ROWS,
    FlowKind.UNKNOWN: _REJECTED_ROWS,
    FlowKind.IDENTITY: (FAILURES[FlowKind.IDENTITY][0],),
    FlowKind.PROFILE: (Trouble(code="UPINGT-007012-400", message="Some ECIDs are not valid."),),
}
"""What makes a run leave some of its records out, and succeed with the others."""

SKIPPED_CODE: Final = "ACTIVATION_BATCH-0000-SKIP"
"""Told of records that were left out on purpose; no error."""
SKIPPED_MESSAGE: Final = "These records did not match the attribute filter."
