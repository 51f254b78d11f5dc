"""Makes label values of event codes and error codes. The number of values is bounded, and beyond that it is `other`."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from exporter.model import OTHER

EVENT_CODES: Final = frozenset(
    {
        "sources_flow_run_success",
        "sources_flow_run_failure",
        "sources_flow_run_failed",
        "source_flow_run_info",
        "source_flow_run_error",
        "identity_ingestion_info",
        "audit_events_info",
        "platform_event",
        *(f"{family}_load_{outcome}" for family in ("ing", "ps", "ig") for outcome in ("success", "failure")),
    }
)
"""The event codes that Adobe documents (docs/adobe.md, "Event codes")."""
NO_CODE: Final = "none"

MAX_CODES_PER_FLOW: Final = 20
MAX_CODES: Final = 500
"""Error codes in all."""


def event_code_label(code: str | None) -> str:
    """The label value of an event code: the code itself if Adobe documents it, `none` where there is no code."""
    return code if code in EVENT_CODES else OTHER if code else NO_CODE


class ErrorCodes:
    """The error codes that are label values, with the number of flows that have each."""

    def __init__(self) -> None:
        self._flows_by_code: Counter[str] = Counter()

    def labels(self, codes: Iterable[str], of_flow: set[str]) -> tuple[str, ...]:
        """The error codes of a run as label values, each once. `of_flow` has those of its flow, and gets new ones.

        Beyond the limits per flow and in all a code is `other`.
        """
        found: dict[str, None] = {}
        for code in codes:
            if code != OTHER and code not in of_flow and self._may_add(code, of_flow):
                of_flow.add(code)
                self._flows_by_code[code] += 1
            found[code if code in of_flow else OTHER] = None
        return tuple(found)

    def add(self, of_flow: Iterable[str]) -> None:
        """Count the codes of a flow that was put back or restored."""
        self._flows_by_code.update(of_flow)

    def remove(self, of_flow: Iterable[str]) -> None:
        """Do not count the codes of a flow any more."""
        self._flows_by_code -= Counter(of_flow)

    def _may_add(self, code: str, of_flow: set[str]) -> bool:
        return len(of_flow) < MAX_CODES_PER_FLOW and (
            code in self._flows_by_code or len(self._flows_by_code) < MAX_CODES
        )
