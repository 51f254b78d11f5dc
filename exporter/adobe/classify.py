"""What kind of flow a run belongs to, and which step an activity is.

Nothing in a run says its kind outright, so it is concluded, from the surest sign to the weakest: the event code, the
activities (fixed ids, adobe.md B2.6), the Adobe service that created the run, the shape of its reference. A query
run promotes its result as a source run does, so the query's own activity is looked for first.

Sans-I/O.
"""

import re
from collections.abc import Collection
from typing import Final

from exporter.adobe.envelope import Node
from exporter.model import OTHER, FlowKind

_ACTIVITIES: Final = {
    "copyActivity": "copy",
    "promotionActivity": "promotion",
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

# For activities whose id is new; the first word that the name holds decides.
_ACTIVITY_WORDS: Final = (
    ("copy activity", "copy"),
    ("promotion activity", "promotion"),
    ("uis", "identity"),
    ("segmentation", "segmentation"),
    ("profile batch activity", "profile"),
    ("query activity", "query"),
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
    """An activity's name, one of flowrun.ACTIVITIES."""
    activity_id = node.get("id")
    known = _ACTIVITIES.get(activity_id) if isinstance(activity_id, str) else None
    if known:
        return known
    told = node.get("name")
    words = told.lower() if isinstance(told, str) else ""
    return next((name for word, name in _ACTIVITY_WORDS if word in words), OTHER)


def kind_of_run(node: Node, names: Collection[str], event_code: str) -> FlowKind:
    """The kind of flow a run belongs to; `names`: those of its activities."""
    created_by = node.get("createdClient")
    client = _KINDS_BY_CLIENT.get(created_by) if isinstance(created_by, str) else None
    # Looked for first, whatever the code says: a query's name can be its SQL, and must not become a label.
    if "query" in names or client is FlowKind.QUERY or looks_like_sql(node.get("flowName")):
        return FlowKind.QUERY
    for word, kind in _KINDS_BY_CODE:
        if event_code.startswith(word):
            return kind
    for name, kind in _KINDS_BY_ACTIVITY:
        if name in names:
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
    """Whether a flow's name is the text of a query."""
    return isinstance(name, str) and _SQL.match(name[:2000]) is not None


def kind_of_flow(node: Node) -> FlowKind:
    """The kind of a flow as the Flow Service describes it."""
    attributes = node.get("inheritedAttributes")
    properties = attributes.get("properties") if isinstance(attributes, dict) else None
    if isinstance(properties, dict):
        if properties.get("isDestinationFlow") is True:
            return FlowKind.DESTINATION
        if properties.get("isSourceFlow") is True:
            return FlowKind.SOURCE
    return FlowKind.UNKNOWN
