"""Finds out what kind of flow a run belongs to, and which step an activity is.

No field of a run names the kind of its flow. It is concluded from these signs, the surest first: the event code, the
activities (which have fixed ids: docs/adobe.md, "Payloads"), the Adobe service that created the run, and the form of
the run's reference. The signs of a query are looked for before all others, because a query's run promotes its result as
a run of a source does, and because the name of its flow can be a whole SQL text.

Pure functions of decoded JSON: no I/O, no clock.
"""

import re
from collections.abc import Collection
from typing import Final

from exporter.adobe.envelope import Node
from exporter.model import OTHER, FlowKind
from exporter.plain_text import without_formats

# By the id in lower case.
_ACTIVITIES: Final = {
    "copyactivity": "copy",
    "promotionactivity": "promotion",
    "4f008a00-3a04-11eb-adc1-0242ac120002": "copy",
    "37b34f84-1ada-11eb-adc1-0242ac120002": "promotion",
    "46382888-2f46-11eb-adc1-0242ac120002": "identity",
    "08e3217c-2f46-11eb-adc1-0242ac120002": "profile",
    "3c8e49bc-27a6-11ec-9621-0242ac130002": "segmentation",
    "c4f238e3-7334-4933-8b56-64d7ea43ea54": "activation_processing",
    "51d82b36-6b8f-11eb-9439-0242ac130002": "activation_publishing",
    "8816f6a2-2533-4dff-9026-c23a27b38691": "query",
    "076085f8-255a-11ee-be56-0242ac120002": "activation_streaming",
}

# For activities with an unknown id: the first of these words that the activity's name contains decides.
_ACTIVITY_NAME_PARTS: Final = (
    ("copy activity", "copy"),
    ("promotion activity", "promotion"),
    ("uis batch activity", "identity"),
    ("identity batch activity", "identity"),
    ("segmentation", "segmentation"),
    ("profile batch activity", "profile"),
    ("query activity", "query"),
    ("activation batch xdmprocessor", "activation_processing"),
    ("activation batch publisher", "activation_publishing"),
    ("streaming activation", "activation_streaming"),
)

_KINDS_BY_ACTIVITY: Final = (
    ("query", FlowKind.QUERY),
    ("segmentation", FlowKind.SEGMENT),
    ("activation_processing", FlowKind.DESTINATION),
    ("activation_publishing", FlowKind.DESTINATION),
    ("activation_streaming", FlowKind.DESTINATION),
    ("identity", FlowKind.IDENTITY),
    ("profile", FlowKind.PROFILE),
    ("copy", FlowKind.SOURCE),
    ("promotion", FlowKind.SOURCE),
)

_KINDS_BY_CODE: Final = (
    ("source", FlowKind.SOURCE),
    ("destination", FlowKind.DESTINATION),
    ("identity", FlowKind.IDENTITY),
    ("profile", FlowKind.PROFILE),
    ("segment", FlowKind.SEGMENT),
    ("query", FlowKind.QUERY),
)

_SQL = re.compile(
    r"\s*(?:--|/\*|(?:select|insert|create|update|delete|merge|with|drop|alter|explain|show|copy)\b.*"
    r"\b(?:from|into|table|view|as|set|using|select|database|schema)\b)",
    re.IGNORECASE | re.DOTALL,
)

_KINDS_BY_CLIENT: Final = {
    "aep_activation_batch": FlowKind.DESTINATION,
    "AepActivationService": FlowKind.DESTINATION,
    "acp_foundation_queryService": FlowKind.QUERY,
}


def activity_name(node: Node) -> str:
    """The name of an activity, one of `model.ACTIVITIES`."""
    activity_id = node.get("id")
    known = _ACTIVITIES.get(activity_id.strip().lower()) if isinstance(activity_id, str) else None
    if known:
        return known
    display_name = node.get("name")
    text = display_name.lower() if isinstance(display_name, str) else ""
    return next((name for part, name in _ACTIVITY_NAME_PARTS if part in text), OTHER)


def kind_of_run(node: Node, activity_names: Collection[str], event_code: str) -> FlowKind:
    """The kind of the flow that a run belongs to."""
    created_by = node.get("createdClient")
    client = _KINDS_BY_CLIENT.get(created_by) if isinstance(created_by, str) else None
    # Before the event code, which may be another: the name of a query's flow can be SQL and must not become a label.
    if "query" in activity_names or client is FlowKind.QUERY or looks_like_sql(node.get("flowName")):
        return FlowKind.QUERY
    for prefix, kind in _KINDS_BY_CODE:
        if event_code.startswith(prefix):
            return kind
    for name, kind in _KINDS_BY_ACTIVITY:
        if name in activity_names:
            return kind
    if client:
        return client
    reference = node.get("providerRefId")
    if isinstance(reference, str):
        if reference.startswith("segment:"):
            return FlowKind.DESTINATION
        if reference.startswith("M-"):
            return FlowKind.SOURCE
    return FlowKind.UNKNOWN


def looks_like_sql(name: object) -> bool:
    """Whether a flow's name is the SQL text of a query. The first 2,000 characters decide."""
    return isinstance(name, str) and _SQL.match(without_formats(name[:2000])) is not None


def kind_of_flow(node: Node) -> FlowKind:
    """The kind of a flow that the Flow Service describes."""
    attributes = node.get("inheritedAttributes")
    properties = attributes.get("properties") if isinstance(attributes, dict) else None
    if isinstance(properties, dict):
        if properties.get("isDestinationFlow") is True:
            return FlowKind.DESTINATION
        if properties.get("isSourceFlow") is True:
            return FlowKind.SOURCE
    return FlowKind.UNKNOWN
