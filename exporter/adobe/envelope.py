"""Opens envelopes: finds the run, the alert or the list inside the envelopes around it.

An envelope is a JSON object that holds a run, an alert, a list or another envelope in one of its members. Envelopes are
`{event_id, event}`, CloudEvents with `data`, `{value}` beside the fields of a message, `{messages: [...]}`,
`{items: [...]}`, the journal's `{position, event}`, EventBridge's `{detail-type, detail}` and the parameters of an I/O
Runtime action, in any nesting (docs/adobe.md, "Bodies", "Journal" and "Payloads"). An envelope holds metadata that its
content lacks: the event's id and code, the time, the organisation, and the client id of the recipient. The metadata of
all envelopes is collected on the way. A page of the journal is taken apart before, in `exporter.adobe.deliveries`.

Some envelopes hold their content as text: JSON in a string, or base64. Only the members in `_TEXTS` are decoded, up to
`_MAX_TEXTS` within each other. A text that is no JSON object or list is left as it is. The text is the content in
`Unwrapped.text`, because it is what an element of a list is cut out of.

To add an envelope, add its member to `_OBJECTS`, `_LISTS` or `_TEXTS`, and its metadata to `merge_metadata`.

Pure functions of decoded JSON: no I/O, no clock.
"""

import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeGuard

from exporter.adobe import fields, lenient_json

Node = Mapping[str, object]
"""A decoded JSON object."""

_MAX_NESTING: Final = 8
_OBJECTS: Final = ("event", "data", "value")
"""Members in which an envelope holds one object."""
_LISTS: Final = ("messages", "items", "events", "event", "data")
"""Members in which an envelope holds several."""
_BASE64: Final = ("data_base64", "__ow_body")
"""Members in which an envelope holds JSON in base64. `__ow_body` can also be the JSON text itself."""
_TEXTS: Final = ("data", *_BASE64)
"""Members in which an envelope holds JSON as text."""
_MAX_TEXTS: Final = 4
"""Texts within each other that are decoded. Decoding a damaged one of 4 MB takes most of a second."""
_MOST_LOOKED_AT: Final = 1000
"""Objects and lists in which `may_hold_text` looks for texts."""
_DETAIL: Final = "detail"
"""The member in which EventBridge holds the event, as an object or as text. Other publishers may use the same name."""
_DETAIL_TYPE: Final = "detail-type"
"""The provider and the event code, joined by a colon. Every event of EventBridge has it."""
_MEMBERS: Final = {*_OBJECTS, *_LISTS, *_TEXTS, _DETAIL}
"""All members in which an envelope can hold its content."""
_RELAYED_HEADERS: Final = "__ow_headers"
"""The member in which an action of I/O Runtime has the request's headers, if they are not members themselves."""

_LOOK_AT: Final = 256
"""Characters of a text whose first printed one says whether it is JSON."""
_BLANKS: Final = " \t\r\n\ufeff"
_FROM_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")

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
    texts: int = 0
    """In how many texts the object lies, one within the other."""


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """The content of the envelopes."""

    metadata: Metadata
    content: Node | list[object]
    """One object, or a list."""
    path: tuple[str, ...] = ()
    """The members that lead to the content, from the text that holds it."""
    text: bytes | None = None
    """The innermost text that an envelope held and that holds the content. None if there is no such text."""
    is_pruned: bool = False
    """Whether one of the texts was nested too deep (`Decoded.is_pruned`)."""
    is_lossy: bool = False
    """Whether a part of one of the texts was lost (`Decoded.is_lossy`)."""


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
    text: bytes | None = None
    is_pruned = is_lossy = False
    for _ in range(_MAX_NESTING):
        inner = _open(node, metadata.texts)
        if inner is None:
            break
        metadata = merge_metadata(node, metadata)
        if inner.text is None:
            path += (inner.key,)
        else:
            path, text = (), inner.text
            is_pruned, is_lossy = is_pruned or inner.is_pruned, is_lossy or inner.is_lossy
            metadata = replace(metadata, texts=metadata.texts + 1)
        if isinstance(inner.content, list):
            return Unwrapped(metadata, inner.content, path, text, is_pruned, is_lossy)
        node = inner.content
    return Unwrapped(merge_metadata(node, metadata), node, path, text, is_pruned, is_lossy)


class _Inner(NamedTuple):
    """What an envelope holds."""

    key: str
    """The member that holds it."""
    content: Node | list[object]
    text: bytes | None = None
    """The text that it was decoded from. None if it was no text."""
    is_pruned: bool = False
    """As in `Decoded`."""
    is_lossy: bool = False
    """As in `Decoded`."""


def _open(node: Node, texts: int) -> _Inner | None:
    """The content of an envelope that lies in so many texts. None if the object is not an envelope."""
    if looks_like_run(node) or looks_like_alert(node):
        return None
    is_event_bridge = _DETAIL_TYPE in node
    for key in (*_OBJECTS, _DETAIL) if is_event_bridge else _OBJECTS:
        value = node.get(key)
        if isinstance(value, dict):
            return _Inner(key, value)
    for key in _LISTS:
        value = node.get(key)
        if _holds_objects(value):
            return _Inner(key, value)
    if texts < _MAX_TEXTS:
        for key in (*_TEXTS, _DETAIL) if is_event_bridge else _TEXTS:
            value = node.get(key)
            if isinstance(value, str) and (inner := _decode(key, value)) is not None:
                return inner
    return None


def _decode(key: str, value: str) -> _Inner | None:
    """The content of a member that is a text. None if the text is not JSON, or JSON without an object."""
    text = _json_of(value, is_base64=key in _BASE64)
    decoded = lenient_json.decode(text) if text is not None else None
    if decoded is None:
        return None
    content = decoded.value
    if isinstance(content, dict) or _holds_objects(content):
        return _Inner(key, content, text, decoded.is_pruned, decoded.is_lossy)
    return None


def may_hold_text(value: object) -> bool:
    """Whether `unwrap` may decode a text in this object or in one of this list. It may if there are very many of them.

    A text may be damaged, so that decoding it takes long, although the whole was decoded quickly.
    """
    waiting = [value]
    for _ in range(_MOST_LOOKED_AT):
        if not waiting:
            return False
        inner = waiting.pop()
        if isinstance(inner, list):
            waiting += inner[:_MOST_LOOKED_AT]
        elif isinstance(inner, dict) and not looks_like_run(inner):
            for key in _MEMBERS & inner.keys():
                if isinstance(inner[key], str):
                    return True
                waiting.append(inner[key])
    return True


def _holds_objects(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list) and any(isinstance(element, dict) for element in value)


def _json_of(text: str, *, is_base64: bool) -> bytes | None:
    """The bytes of the JSON object or list that a text holds. None if it begins like neither."""
    if text[:_LOOK_AT].lstrip(_BLANKS).startswith(("{", "[")):
        return text.encode(errors="surrogatepass")
    if not is_base64:
        return None
    try:
        raw = b"".join(text.encode("ascii").translate(_FROM_URL_SAFE).split()).rstrip(b"=")
        raw = binascii.a2b_base64(raw + b"=" * (-len(raw) % 4))
    except ValueError:
        return None
    start = raw[:_LOOK_AT].decode(errors="replace").lstrip(_BLANKS)
    return raw if start.startswith(("{", "[")) else None


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
    has_time = is_cloud_event or _DETAIL_TYPE in node
    event_id = _first_identifier(node.get("eventid"), node.get("event_id"))
    event_code = _first_identifier(
        adobe.get("eventCode"),
        meta.get("type"),
        node.get("type") if is_cloud_event else None,
        node.get("event_code"),
        node.get("event_type"),
        node.get("xdm:eventCode"),
    )
    # All names of relayed headers have hyphens, and hardly any other name has one. Looking at each name takes longer.
    if "-" in "".join(node) or _RELAYED_HEADERS in node:
        relayed = _relayed_headers(node)
        event_id = event_id or relayed.get("x-adobe-event-id", "")
        event_code = event_code or _code_of_detail_type(node) or relayed.get("x-adobe-event-code", "")
    return Metadata(
        event_id=event_id or outer.event_id,
        event_code=event_code or outer.event_code,
        org=_first_identifier(member(node, "imsOrgId"), member(node, "imsOrg"), adobe.get("imsOrgId")) or outer.org,
        client_id=outer.client_id or _client_id(node, outer),
        envelope_time=node.get("timestamp") or (node.get("time") if has_time else None) or outer.envelope_time,
        texts=outer.texts,
    )


def _client_id(node: Node, outer: Metadata) -> str:
    """The client id that an object names. It is used where no envelope around the object names one.

    So the outermost is used, which Adobe wrote. The publisher of an event writes its content, and may be any of those
    whose events Adobe delivers and signs. A client id in a text names nobody: Adobe writes no envelope into a text.
    """
    if outer.texts:
        return ""
    return _first_identifier(node.get("recipientclientid"), node.get("recipient_client_id"))


def _code_of_detail_type(node: Node) -> str:
    """The event code of an event of EventBridge: what follows the provider and the last colon."""
    detail_type = node.get(_DETAIL_TYPE)
    return fields.identifier(detail_type.rpartition(":")[2]) if isinstance(detail_type, str) else ""


def _relayed_headers(node: Node) -> dict[str, str]:
    """The request's headers that a relay has put into the body, by their names in lower case."""
    return {name.lower(): text for name, value in _relayed_members(node) if (text := fields.identifier(value))}


def _relayed_members(node: Node) -> Iterator[tuple[str, object]]:
    """Headers of Adobe's among the members, after those in a member of their own, so that they replace these."""
    inner = node.get(_RELAYED_HEADERS)
    for members in (inner if isinstance(inner, dict) else {}, node):
        yield from ((name, value) for name, value in members.items() if name[:8].lower() == "x-adobe-")


def _first_identifier(*values: object) -> str:
    """The first of these values that can be read as an id, or an empty text."""
    for value in values:
        if value is not None and (text := fields.identifier(value)):
            return text
    return ""
