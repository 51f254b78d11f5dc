"""Which wrappers Adobe puts around a run, and the way through them.

`{event_id, event}`, CloudEvents `data`, `{value}` with its message's fields, `{messages: [...]}`, `{items: [...]}` and
the journal's `{position, event}`, in any nesting (facts: adobe.md A5, A7, B2). A wrapper says things its content does
not: the event's id and code, the time, the organisation, the client it is meant for.

Sans-I/O.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from exporter.adobe import fields

Node = Mapping[str, object]
"""A decoded JSON object."""

_MAX_NESTING: Final = 8
_OBJECTS: Final = ("event", "data", "value")
_LISTS: Final = ("messages", "items", "events", "event", "data")

XDM: Final = "xdm:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapping:
    """What the wrappers said; the innermost that says a thing is believed, but for the client it is meant for."""

    event_id: str = ""
    event_code: str = ""
    org: str = ""
    client_id: str = ""
    envelope_time: object = None
    """A time, as it came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwrapped:
    """What lies within: an object, or, where `inner` is a list, several; `path` leads there."""

    wrapping: Wrapping
    inner: Node | list[object]
    path: tuple[str, ...] = ()


def member(node: Node, key: str) -> object:
    """A member by its name, with or without the prefix of Experience Data Model fields."""
    found = node.get(key)
    return found if found is not None else node.get(XDM + key)


def unwrap(node: Node, outer: Wrapping) -> Unwrapped:
    """Follow the wrappers inwards to the first object that is none, or to the first list."""
    wrapping = outer
    path: tuple[str, ...] = ()
    for _ in range(_MAX_NESTING):
        if looks_like_run(node) or looks_like_alert(node):
            break
        key = next(_ways_in(node), None)
        if key is None:
            break
        wrapping = merge_metadata(node, wrapping)
        path += (key,)
        inner = node[key]
        if isinstance(inner, list):
            return Unwrapped(wrapping=wrapping, inner=inner, path=path)
        if isinstance(inner, dict):
            node = inner
    return Unwrapped(wrapping=merge_metadata(node, wrapping), inner=node, path=path)


def _ways_in(node: Node) -> Iterator[str]:
    for key in _OBJECTS:
        if isinstance(node.get(key), dict):
            yield key
    for key in _LISTS:
        inner = node.get(key)
        if isinstance(inner, list) and any(isinstance(element, dict) for element in inner):
            yield key


def looks_like_run(node: Node) -> bool:
    """Whether the object is a run: only runs have metrics."""
    return isinstance(member(node, "metrics"), dict)


def looks_like_alert(node: Node) -> bool:
    """Whether the object is one of Adobe's alerts: these have a state, a name and a severity, and no metrics."""
    status = node.get("status")
    is_state = isinstance(status, str) and status.strip().lower() in {"firing", "inactive"}
    return is_state and bool(node.get("name") or node.get("severity"))


def merge_metadata(node: Node, wrapping: Wrapping) -> Wrapping:
    """What this object says of the event, over what the wrappers around it said."""
    header = node.get("header")
    adobe = header.get("_adobeio") if isinstance(header, dict) else None
    adobe = adobe if isinstance(adobe, dict) else {}
    meta = node.get("_eventNotificationMeta")
    meta = meta if isinstance(meta, dict) else {}
    is_cloud_event = "specversion" in node
    envelope_time = node.get("timestamp") or (node.get("time") if is_cloud_event else None)
    return Wrapping(
        event_id=_first(node.get("eventid"), node.get("event_id")) or wrapping.event_id,
        event_code=_first(
            adobe.get("eventCode"),
            meta.get("type"),
            node.get("type") if is_cloud_event else None,
            node.get("event_code"),
            node.get("event_type"),
            node.get("xdm:eventCode"),
        )
        or wrapping.event_code,
        org=_first(member(node, "imsOrgId"), member(node, "imsOrg"), adobe.get("imsOrgId")) or wrapping.org,
        # The outermost is believed: what lies within is the publisher's, who may be anybody that Adobe signs for.
        client_id=wrapping.client_id or _first(node.get("recipientclientid"), node.get("recipient_client_id")),
        envelope_time=envelope_time or wrapping.envelope_time,
    )


def _first(*values: object) -> str:
    """The first of these that is an id."""
    return next(filter(None, map(fields.identifier, values)), "")
