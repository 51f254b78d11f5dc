"""Finds out why an object is neither a run, an alert nor a flow: another topic, something missing, or a new form.

The alert on events that are not understood leaves other topics out. So an object is of another topic only if nothing in
it points to a flow's run. In doubt its form is unknown (docs/operating.md, "Why was a notification not understood?").

Pure functions of decoded JSON: no I/O, no clock.
"""

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Final

from exporter.adobe import fields
from exporter.adobe.envelope import Metadata, Node, member, unwrap
from exporter.model import NotUnderstood

FLOW_CODES: Final = frozenset(
    {
        "sources_flow_run_success",
        "sources_flow_run_failure",
        "sources_flow_run_failed",
        "source_flow_run_info",
        "source_flow_run_error",
        "identity_ingestion_info",
    }
)
"""The documented event codes of runs and of Adobe's alerts."""

OTHER_CODES: Final = frozenset(
    {
        "audit_events_info",
        "platform_event",
        *(f"{family}_load_{outcome}" for family in ("ing", "ps", "ig") for outcome in ("success", "failure")),
    }
)
"""The documented event codes of other topics: audit events and the deprecated data ingestion events."""

# No code is published for runs of profile, segments, destinations and queries, nor for some alerts.
_FLOW_WORDS = re.compile(
    r"(?<!work)flow|(?<![a-z])"
    r"(?:run|source|destination|identity|profile|segment|audience|quer|ingest|activation|alert|notification)",
    re.IGNORECASE,
)
_FLOW_MEMBERS = re.compile(
    rb"(?<!work)flow_?(?:run_?)?(?:id|name|type|spec)|status_?summary|\"severity\"|\"(?:firing|inactive)\"",
    re.IGNORECASE,
)

_LOUDEST_FIRST: Final = (
    NotUnderstood.NO_FLOW_ID,
    NotUnderstood.NO_RUN_ID,
    NotUnderstood.NO_STATUS,
    NotUnderstood.UNKNOWN_SHAPE,
    NotUnderstood.OTHER_TOPIC,
)
_MAX_NESTED_LISTS: Final = 4


class Topic:
    """Finds the reasons for the objects of one JSON text."""

    def __init__(self, body: bytes) -> None:
        """`body` is the text that contains the objects."""
        self._body = body

    def reason(self, node: Node, event_code: str) -> NotUnderstood:
        """Why an object is not understood. Its own members may have the XDM prefix."""
        metrics = member(node, "metrics")
        flow_id = fields.identifier(member(node, "flowId"))
        run_ids = [fields.identifier(member(node, key)) for key in ("id", "flowRunId")]
        summary = member(metrics, "statusSummary") if isinstance(metrics, dict) else None
        is_of_run = bool(flow_id or run_ids[1]) or summary is not None
        if not is_of_run and self._is_of_another_topic(node, event_code):
            return NotUnderstood.OTHER_TOPIC
        has_form_of_run = isinstance(metrics, dict) or (is_of_run and metrics is None and not _has_state(node))
        if not has_form_of_run:
            return NotUnderstood.UNKNOWN_SHAPE
        if not flow_id:
            return NotUnderstood.NO_FLOW_ID
        if not any(run_ids):
            return NotUnderstood.NO_RUN_ID
        status = member(summary, "status") if isinstance(summary, dict) else None
        return NotUnderstood.NO_STATUS if status is None or status == "" else NotUnderstood.UNKNOWN_SHAPE

    def reason_of_list(
        self, content: Iterable[object], metadata: Metadata, lists_left: int = _MAX_NESTED_LISTS
    ) -> NotUnderstood:
        """Why nothing in a list is understood. If there are several reasons, it is the one that says most."""
        reasons = {self._reason_of_element(element, metadata, lists_left) for element in content}
        return next((each for each in _LOUDEST_FIRST if each in reasons), NotUnderstood.UNKNOWN_SHAPE)

    def _reason_of_element(self, element: object, metadata: Metadata, lists_left: int) -> NotUnderstood:
        if not isinstance(element, dict):
            return NotUnderstood.UNKNOWN_SHAPE
        unwrapped = unwrap(element, metadata)
        topic = self if unwrapped.text is None else Topic(unwrapped.text)
        if not isinstance(unwrapped.content, list):
            return topic.reason(unwrapped.content, unwrapped.metadata.event_code)
        if not lists_left:
            return NotUnderstood.UNKNOWN_SHAPE
        return topic.reason_of_list(unwrapped.content, unwrapped.metadata, lists_left - 1)

    def _is_of_another_topic(self, node: Node, event_code: str) -> bool:
        code = event_code.lower()
        if code in OTHER_CODES:
            return True
        if code in FLOW_CODES:
            return False
        if _is_audit_event(node) or member(node, "ingestionId") is not None:
            return True
        return bool(code) and _FLOW_WORDS.search(code) is None and not self._mentions_flows

    @cached_property
    def _mentions_flows(self) -> bool:
        """Whether the text has member names or words of runs and alerts, in any place."""
        return _FLOW_MEMBERS.search(self._body) is not None


def _has_state(node: Node) -> bool:
    """Whether an object has a state where an alert has it."""
    return node.get("status") is not None or node.get("severity") is not None


def _is_audit_event(node: Node) -> bool:
    """Whether an object has the form of an audit event, which may come without a header."""
    payload = node.get("payload")
    return isinstance(payload, dict) and "assetType" in payload and "action" in payload
