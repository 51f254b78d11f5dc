"""Headers and body of what Adobe sends to what it says: Challenge, Validation or Delivery.

The rule: every element of a delivery becomes at least one event, and none spoils another. An element that wraps several
facts gives an event for each, numbered `<event id>#<n>`; one in which nothing is recognised stays one event as it came.
The request's event id serves only a single event whose body names none (contract 4.7), and its event code only where
the body names none.

Sans-I/O: no clock (the time of reading is passed in), no client, no async.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from exporter.adobe import document, leaves, payloads
from exporter.adobe.wrappers import Node, Wrapping, unwrap
from exporter.errors import BadChallengeError, TooManyEventsError
from exporter.flowrun import Delivery, Event, Fact, Source, Unreadable, Unsupported

MAX_CHALLENGE: Final = 1024
"""Bytes of a challenge that is echoed; Adobe sends a UUID."""

MAX_EVENTS: Final = 10_000
"""Events of one delivery; Adobe's batches hold at most 20 (adobe.md A5)."""

_EVENT_ID_HEADER: Final = b"x-adobe-event-id"
_EVENT_CODE_HEADER: Final = b"x-adobe-event-code"
_MAX_NESTED_LISTS: Final = 4


@dataclass(frozen=True, slots=True)
class Validation:
    """A lone `validationUrl`: Adobe asks a person to open it within five minutes (adobe.md A1)."""

    url: str


def challenge(query_string: bytes) -> str:
    """The value that a registration's GET wants to see again."""
    pairs = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
    value = dict(pairs).get("challenge")
    if not value:
        raise BadChallengeError("this is the address for Adobe's notifications: it answers GET only with ?challenge=")
    if len(value.encode(errors="replace")) > MAX_CHALLENGE:
        raise BadChallengeError(f"a challenge has at most {MAX_CHALLENGE} bytes")
    return value


def open_delivery(headers: Mapping[bytes, bytes], body: bytes, received_at: int) -> Delivery | Validation:
    """Read a webhook request's body; raises TooManyEventsError."""
    elements = document.elements(body)
    if elements is None:
        decoded = document.decode(body)
        value = decoded.value if decoded else None
        if isinstance(value, dict):
            url = value.get("validationUrl")
            if isinstance(url, str) and len(value) == 1:
                return Validation(leaves.clean(url))
            elements = _page(body, value) or [body]
        else:
            elements = [body]
    return Delivery(
        source=Source.WEBHOOK,
        events=read_elements(
            elements,
            received_at,
            single=Wrapping(
                event_id=_header(headers, _EVENT_ID_HEADER),
                event_code=_header(headers, _EVENT_CODE_HEADER),
            ),
            limit=MAX_EVENTS,
        ),
    )


def read_document(body: bytes, source: Source, received_at: int) -> Delivery:
    """Read a journal page, an answer of the Flow Service or a saved notification."""
    elements = document.elements(body)
    if elements is None:
        decoded = document.decode(body)
        elements = (_page(body, decoded.value) if decoded and isinstance(decoded.value, dict) else None) or [body]
    return Delivery(source=source, events=read_elements(elements, received_at))


def read_elements(
    elements: list[bytes], received_at: int, *, single: Wrapping | None = None, limit: int | None = None
) -> tuple[Event, ...]:
    """The events of a delivery's elements; `single` is what the request says of a delivery of one."""
    outer = single if single is not None and len(elements) == 1 else Wrapping()
    events: list[Event] = []
    for element in elements:
        # An element holds an event or more, so a delivery of too many elements is seen before it is read whole.
        if limit is not None and len(events) + 1 > limit:
            raise TooManyEventsError(f"more than {limit} events in one delivery")
        events += _numbered(_events(element, outer, received_at, _MAX_NESTED_LISTS))
    if limit is not None and len(events) > limit:
        raise TooManyEventsError(f"more than {limit} events in one delivery")
    return tuple(events)


def _header(headers: Mapping[bytes, bytes], name: bytes) -> str:
    return leaves.identifier(headers.get(name, b"").decode("latin-1"))


def _page(body: bytes, node: Node) -> list[bytes] | None:
    """The elements of a journal's page; None where the object is none."""
    events = node.get("events")
    if isinstance(events, list) and any(isinstance(entry, dict) and "event" in entry for entry in events):
        return document.elements_at(body, ("events",))
    return None


def _events(element: bytes, outer: Wrapping, received_at: int, lists_left: int) -> list[Event]:
    """The events that lie in one element."""
    decoded = document.decode(element)
    if decoded is None or not isinstance(decoded.value, dict):
        return [_event(element, outer, Unreadable())]
    unwrapped = unwrap(decoded.value, outer)
    if isinstance(unwrapped.inner, list):
        parts = (document.elements_at(element, unwrapped.path) or []) if lists_left else []
        found = [event for part in parts for event in _events(part, unwrapped.wrapping, received_at, lists_left - 1)]
        if any(not isinstance(event.fact, Unsupported | Unreadable) for event in found):
            return found
        return [_event(element, unwrapped.wrapping, Unsupported())]
    fact = payloads.interpret(unwrapped.inner, unwrapped.wrapping, received_at)
    if decoded.pruned and isinstance(fact, Unsupported):
        fact = Unreadable()
    return [_event(element, unwrapped.wrapping, fact)]


def _event(body: bytes, wrapping: Wrapping, fact: Fact) -> Event:
    return Event(
        fact=fact,
        body=body,
        event_id=wrapping.event_id or None,
        event_code=wrapping.event_code or None,
    )


def _numbered(events: list[Event]) -> list[Event]:
    """Tell the facts of one event apart: each that shares its id with another gets a number."""
    shared = len(events) > 1 and len({event.event_id for event in events}) < len(events)
    if not shared:
        return events
    return [
        Event(fact=event.fact, body=event.body, event_code=event.event_code, event_id=f"{event.event_id}#{number}")
        if event.event_id
        else event
        for number, event in enumerate(events, start=1)
    ]
