"""Headers and body of what Adobe sends to what it says: a challenge, a Validation or a Delivery.

The rule: every element of a delivery becomes at least one event, and none spoils another. An element that wraps several
facts gives an event for each, numbered `<event id>#<n>`; one in which nothing is recognised stays one event as it came.
The request's event id serves only a single event whose body names none (contract 4.7), and its event code only where
the body names none.

Sans-I/O: no clock (the time of reading is passed in), no client, no async.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl

from exporter.adobe import fields, lenient_json, payloads
from exporter.adobe.envelope import Node, Unwrapped, Wrapping, merge_metadata, unwrap
from exporter.adobe.lenient_json import Decoded
from exporter.errors import BadChallengeError, TooManyEventsError
from exporter.model import Delivery, Event, Fact, Source, Unreadable, Unsupported

MAX_CHALLENGE: Final = 1024
"""Bytes of a challenge that is echoed; Adobe sends a UUID."""

MAX_EVENTS: Final = 10_000
"""Events of one delivery; Adobe's batches hold at most 20 (adobe.md A5)."""

_EVENT_ID_HEADER: Final = b"x-adobe-event-id"
_EVENT_CODE_HEADER: Final = b"x-adobe-event-code"
_MAX_NESTED_LISTS: Final = 4
_MAX_VALIDATION: Final = 4096
"""Bytes of a body that holds a validation address."""


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


def open_delivery(headers: Mapping[bytes, bytes], body: bytes, received_at: int) -> Delivery:
    """Read a webhook request's body; raises TooManyEventsError."""
    single = Wrapping(event_id=_header(headers, _EVENT_ID_HEADER), event_code=_header(headers, _EVENT_CODE_HEADER))
    events = _read(body, received_at, single, MAX_EVENTS)
    return Delivery(source=Source.WEBHOOK, events=events, read_at=received_at)


def read_document(body: bytes, source: Source, received_at: int) -> Delivery:
    """Read a journal page, an answer of the Flow Service or a saved notification."""
    events = _read(body, received_at, Wrapping(), None)
    return Delivery(source=source, events=events, read_at=received_at)


def validation(body: bytes) -> Validation | None:
    """The address to be opened, where a body holds that and nothing else."""
    if len(body) > _MAX_VALIDATION or b"validationUrl" not in body:
        return None
    decoded = lenient_json.decode(body)
    value = decoded.value if decoded else None
    url = value.get("validationUrl") if isinstance(value, dict) and len(value) == 1 else None
    return Validation(fields.clean(url)) if isinstance(url, str) else None


def _read(body: bytes, received_at: int, single: Wrapping, limit: int | None) -> tuple[Event, ...]:
    """Every event of a delivery; `single` is what the request says of a delivery of one element."""
    elements = lenient_json.elements(body)
    page = Wrapping()
    decoded: Decoded | None = None
    if elements is None:
        decoded = lenient_json.decode(body)
        node: Node = decoded.value if decoded and isinstance(decoded.value, dict) else {}
        elements = _page(body, node)
        if elements is None:
            elements = [body]
        else:
            decoded = None
            # A page may say whom it is for; what else it says is not said of its entries.
            page = Wrapping(client_id=merge_metadata(node, page).client_id)
    reading = _Reading(received_at, limit)
    reading.expect(len(elements))
    outer = page
    if len(elements) == 1:
        outer = replace(single, client_id=page.client_id) if page.client_id else single
    return tuple(event for element in elements for event in _numbered(reading.events(element, outer, decoded=decoded)))


def _header(headers: Mapping[bytes, bytes], name: bytes) -> str:
    return fields.identifier(headers.get(name, b"").decode("latin-1"))


def _page(body: bytes, node: Node) -> list[bytes] | None:
    """The elements of a journal's page; None where the object is none."""
    events = node.get("events")
    if isinstance(events, list) and any(isinstance(entry, dict) and "event" in entry for entry in events):
        return lenient_json.elements_at(body, ("events",))
    return None


class _Reading:
    """One delivery on its way from elements to events."""

    def __init__(self, received_at: int, limit: int | None) -> None:
        self._received_at = received_at
        self._limit = limit
        self._expected = 0

    def expect(self, count: int) -> None:
        """So many events more, or more than that: refuse a delivery of too many before it is read whole."""
        self._expected += count
        if self._limit is not None and self._expected > self._limit:
            raise TooManyEventsError(f"more than {self._limit} events in one delivery")

    def events(
        self, element: bytes, outer: Wrapping, lists_left: int = _MAX_NESTED_LISTS, decoded: Decoded | None = None
    ) -> list[Event]:
        """The events that lie in one element; `decoded` where that has been done."""
        if decoded is None:
            decoded = lenient_json.decode(element)
        if decoded is None or not isinstance(decoded.value, dict):
            return [_event(element, outer, Unreadable())]
        unwrapped = unwrap(decoded.value, outer)
        if isinstance(unwrapped.inner, list):
            return self._events_of_list(element, unwrapped, lists_left)
        fact = payloads.interpret(unwrapped.inner, unwrapped.wrapping, self._received_at, element)
        if decoded.pruned and isinstance(fact, Unsupported):
            fact = Unreadable()
        is_complete = not outer.org and outer.envelope_time is None
        return [_event(element, unwrapped.wrapping, fact, is_complete=is_complete)]

    def _events_of_list(self, element: bytes, unwrapped: Unwrapped, lists_left: int) -> list[Event]:
        """Those of a list within; the element itself where nothing in it is recognised."""
        parts = (lenient_json.elements_at(element, unwrapped.path) or []) if lists_left else []
        self.expect(len(parts) - 1)
        found = [event for part in parts for event in self.events(part, unwrapped.wrapping, lists_left - 1)]
        is_recognised = any(not isinstance(event.fact, Unsupported | Unreadable) for event in found)
        # An event that says whom it is for is not lost in the one that they came in.
        if is_recognised or any(event.client_id not in {None, unwrapped.wrapping.client_id} for event in found):
            return found
        return [_event(element, unwrapped.wrapping, Unsupported())]


def _event(body: bytes, wrapping: Wrapping, fact: Fact, *, is_complete: bool = False) -> Event:
    return Event(
        fact=fact,
        body=body,
        event_id=wrapping.event_id or None,
        event_code=wrapping.event_code or None,
        client_id=wrapping.client_id or None,
        is_complete=is_complete,
    )


def _numbered(events: list[Event]) -> list[Event]:
    """Tell the facts of one event apart: each that shares its id with another gets a number."""
    if len(events) == 1:
        return events
    shared = Counter(event.event_id for event in events)
    return [
        replace(event, event_id=f"{event.event_id}#{number}")
        if event.event_id and shared[event.event_id] > 1
        else event
        for number, event in enumerate(events, start=1)
    ]
