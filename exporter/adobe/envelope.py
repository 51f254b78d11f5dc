"""Opens envelopes: finds the run, the alert or the list inside the envelopes around it.

An envelope is a JSON object that holds a run, an alert, a list or another envelope in one of its members. Envelopes are
`{event_id, event}`, CloudEvents with `data`, `{value}` beside the fields of a message, `{messages: [...]}`,
`{items: [...]}` and the journal's `{position, event}`, in any nesting (docs/adobe.md, "Bodies", "Journal" and
"Payloads"). An envelope holds metadata that its content lacks: the event's id and code, the time, the organisation, and
the client id of the recipient. The metadata of all envelopes is collected on the way. A page of the journal is taken
apart before, in `exporter.adobe.deliveries`.

To add an envelope, add its member to `_OBJECTS` or `_LISTS`, and its metadata to `merge_metadata`.

Pure functions of decoded JSON: no I/O, no clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from exporter.adobe import fields

Node = Mapping[str, object]
"""A decoded JSON object."""

_MAX_NESTING: Final = 8
_OBJECTS: Final = ("event", "data", "value")
"""Members in which an envelope holds one object."""
_LISTS: Final = ("messages", "items", "events", "event", "data")
"""Members in which an envelope holds several."""

XDM: Final = "xdm:"
"""The prefix of member names in the Experience Data Model. Some of Adobe's payloads have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What the envelopes around an object state about it.

    If several envelopes state the same thing, the innermost is used, except for `client_id`: there the outermost is.
    """

    event_id: str = ""
    event_code: str = ""
    org: str = ""
    client_id: str = ""
    envelope_time: object = None
    """The time of the envelope, not parsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwrapped:
    """The content of the envelopes."""

    metadata: Metadata
    content: Node | list[object]
    """One object, or a list."""
    path: tuple[str, ...] = ()
    """The members that lead to the content."""


def member(node: Node, key: str) -> object:
    """The value of a member, or of the member with the XDM prefix. None if there is neither."""
    found = node.get(key)
    return found if found is not None else node.get(XDM + key)


def unwrap(node: Node, outer: Metadata) -> Unwrapped:
    """Follow the envelopes inwards to the first object that is not an envelope, or to the first list.

    `outer` is the metadata from outside this object, for example from the request's headers.
    """
    metadata = outer
    path: tuple[str, ...] = ()
    for _ in range(_MAX_NESTING):
        key = _content_key(node)
        if key is None:
            break
        metadata = merge_metadata(node, metadata)
        path += (key,)
        content = node[key]
        if isinstance(content, list):
            return Unwrapped(metadata=metadata, content=content, path=path)
        if isinstance(content, dict):
            node = content
    return Unwrapped(metadata=merge_metadata(node, metadata), content=node, path=path)


def _content_key(node: Node) -> str | None:
    """The member that holds an envelope's content. None if the object is not an envelope."""
    if looks_like_run(node) or looks_like_alert(node):
        return None
    for key in _OBJECTS:
        if isinstance(node.get(key), dict):
            return key
    for key in _LISTS:
        elements = node.get(key)
        if isinstance(elements, list) and any(isinstance(element, dict) for element in elements):
            return key
    return None


def looks_like_run(node: Node) -> bool:
    """Whether an object is a run: only runs have metrics."""
    return isinstance(member(node, "metrics"), dict)


def looks_like_alert(node: Node) -> bool:
    """Whether an object is an alert of Adobe: only alerts are firing or inactive, and have a name or a severity."""
    status = node.get("status")
    is_state = isinstance(status, str) and status.strip().lower() in {"firing", "inactive"}
    return is_state and bool(node.get("name") or node.get("severity"))


def merge_metadata(node: Node, outer: Metadata) -> Metadata:
    """Merge this object's metadata over that of the enclosing envelopes."""
    header = node.get("header")
    adobe = header.get("_adobeio") if isinstance(header, dict) else None
    adobe = adobe if isinstance(adobe, dict) else {}
    meta = node.get("_eventNotificationMeta")
    meta = meta if isinstance(meta, dict) else {}
    is_cloud_event = "specversion" in node
    envelope_time = node.get("timestamp") or (node.get("time") if is_cloud_event else None)
    return Metadata(
        event_id=_first_identifier(node.get("eventid"), node.get("event_id")) or outer.event_id,
        event_code=_first_identifier(
            adobe.get("eventCode"),
            meta.get("type"),
            node.get("type") if is_cloud_event else None,
            node.get("event_code"),
            node.get("event_type"),
            node.get("xdm:eventCode"),
        )
        or outer.event_code,
        org=_first_identifier(member(node, "imsOrgId"), member(node, "imsOrg"), adobe.get("imsOrgId")) or outer.org,
        # The outermost, which Adobe wrote. The publisher of an event writes its content, and may be any of those whose
        # events Adobe delivers and signs.
        client_id=outer.client_id or _first_identifier(node.get("recipientclientid"), node.get("recipient_client_id")),
        envelope_time=envelope_time or outer.envelope_time,
    )


def _first_identifier(*values: object) -> str:
    """The first of these values that can be read as an id, or an empty text."""
    return next(filter(None, map(fields.identifier, values)), "")
