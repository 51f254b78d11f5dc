"""Reads requests, journal pages and files. The result is a challenge, a Validation or a Delivery.

Every element of a delivery becomes at least one event, and a damaged element does not affect the others. An element
that holds several facts becomes one event for each, with the ids `<event id>#<n>`. An element in which nothing is
recognised becomes one event with the bytes as they came. The event id, the event code and the time in a request's
headers are used only if the request holds a single element, and if its body has none of its own. These are Adobe's
headers, or those of a CloudEvent in binary mode, whose body is the event's data. No signature covers the headers, so an
event has the id in its body a second time, alone (docs/architecture.md, "What makes a fact").

No I/O and no clock: the time of reading is passed in.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl

from exporter.adobe import fields, lenient_json, payloads
from exporter.adobe.envelope import Metadata, Node, Unwrapped, may_hold_text, merge_metadata, unwrap
from exporter.adobe.lenient_json import Decoded
from exporter.errors import BadChallengeError, TooManyEventsError
from exporter.model import Delivery, Event, Fact, FlowAlert, FlowRun, Source, Unreadable, Unsupported
from exporter.plain_text import clean

MAX_CHALLENGE: Final = 1024
"""Bytes of a challenge. Adobe sends a UUID."""

MAX_EVENTS: Final = 10_000
"""Events of one delivery. Adobe's batches hold at most 20 (docs/adobe.md, "Bodies")."""

_EVENT_ID_HEADERS: Final = (b"x-adobe-event-id", b"ce-eventid", b"ce-id")
_EVENT_CODE_HEADERS: Final = (b"x-adobe-event-code", b"ce-type")
_TIME_HEADER: Final = b"ce-time"
_MAX_NESTED_LISTS: Final = 4
"""Lists within lists in which events are looked for."""
_ALWAYS_QUICK: Final = 16 * 1024
"""Bytes up to which a body is read within some milliseconds, also one that the fast decoder refuses."""
_NEVER_QUICK: Final = 256 * 1024
"""Bytes from which a body takes longer, whatever is in it."""
MAX_VALIDATION: Final = 4096
"""Bytes of a validation request."""


@dataclass(frozen=True, slots=True)
class Validation:
    """Adobe's request to open an address within five minutes (docs/adobe.md, "Registration")."""

    url: str


def challenge(query_string: bytes) -> str:
    """The value that the answer to a registration's GET must repeat. Raises BadChallengeError."""
    pairs = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
    value = dict(pairs).get("challenge")
    if not value:
        raise BadChallengeError("this is the address for Adobe's notifications: it answers GET only with ?challenge=")
    if len(value.encode(errors="replace")) > MAX_CHALLENGE:
        raise BadChallengeError(f"a challenge has at most {MAX_CHALLENGE} bytes")
    return value


def is_quick(body: bytes) -> bool:
    """Whether `open_delivery` takes a few milliseconds for this body. A large or damaged one can take seconds."""
    if len(body) <= _ALWAYS_QUICK:
        return True
    if len(body) >= _NEVER_QUICK:
        return False
    decoded = lenient_json.decode_strict(body)
    return decoded is not None and not may_hold_text(decoded.value)


def open_delivery(headers: Mapping[bytes, bytes], body: bytes, received_at: int) -> Delivery:
    """Read the body of a webhook request, received at a time (milliseconds). Raises TooManyEventsError."""
    request = Metadata(event_code=_header(headers, *_EVENT_CODE_HEADERS), envelope_time=_time(headers))
    events = _read(body, received_at, request, MAX_EVENTS, _header(headers, *_EVENT_ID_HEADERS))
    return Delivery(source=Source.WEBHOOK, events=events, read_at=received_at)


def keep_undecoded(headers: Mapping[bytes, bytes], body: bytes, received_at: int) -> Delivery:
    """The delivery of a body that can't be read, because it is encoded in a way that can't be undone.

    It holds one unreadable event with the bytes as they came.
    """
    request = Metadata(event_code=_header(headers, *_EVENT_CODE_HEADERS))
    events = _with_header_id([_event(body, request, Unreadable())], _header(headers, *_EVENT_ID_HEADERS))
    return Delivery(source=Source.WEBHOOK, events=events, read_at=received_at)


def read_document(body: bytes, source: Source, received_at: int) -> Delivery:
    """Read a page of the journal, an answer of the Flow Service or a saved notification, of any number of events."""
    events = _read(body, received_at, Metadata(), None)
    return Delivery(source=source, events=events, read_at=received_at)


def validation(body: bytes) -> Validation | None:
    """The validation request that a body holds. None if the body holds anything else beside a `validationUrl`."""
    if len(body) > MAX_VALIDATION or b"validationUrl" not in body:
        return None
    decoded = lenient_json.decode(body)
    value = decoded.value if decoded else None
    url = value.get("validationUrl") if isinstance(value, dict) and len(value) == 1 else None
    return Validation(clean(url)) if isinstance(url, str) else None


def _read(
    body: bytes, received_at: int, request: Metadata, limit: int | None, header_id: str = ""
) -> tuple[Event, ...]:
    """All events of a delivery. `request` and `header_id` are from the headers, for a delivery of one element."""
    elements = lenient_json.elements(body, limit)
    page = Metadata()
    decoded: Decoded | None = None
    if elements is None:
        decoded = lenient_json.decode(body)
        node: Node = decoded.value if decoded and isinstance(decoded.value, dict) else {}
        elements = _elements_of_page(body, node)
        if elements is None:
            elements = [body]
            # What can't be decoded is not decoded a second time. An event of it is the same as of null.
            decoded = decoded or Decoded(None)
        else:
            decoded = None
            # A page can name the recipient of all its entries. Its other metadata does not apply to them.
            page = Metadata(client_id=merge_metadata(node, page).client_id)
    reader = _ElementReader(received_at, limit)
    reader.count(len(elements))
    if len(elements) != 1:
        return tuple(event for element in elements for event in _numbered(reader.events(element, page)))
    outer = replace(request, client_id=page.client_id) if page.client_id else request
    return _with_header_id(_numbered(reader.events(elements[0], outer, decoded=decoded)), header_id)


def _header(headers: Mapping[bytes, bytes], *names: bytes) -> str:
    """The value of the first of these headers that has one, or an empty text."""
    for name in names:
        if value := fields.identifier(headers.get(name, b"").decode("latin-1")):
            return value
    return ""


def _time(headers: Mapping[bytes, bytes]) -> str | None:
    """The time of a CloudEvent in binary mode, not parsed."""
    return _header(headers, _TIME_HEADER) or None


def _elements_of_page(body: bytes, node: Node) -> list[bytes] | None:
    """The elements of a journal's page. None if the object is not a page."""
    events = node.get("events")
    if isinstance(events, list) and any(isinstance(entry, dict) and "event" in entry for entry in events):
        return lenient_json.elements_at(body, ("events",))
    return None


class _ElementReader:
    """Reads the elements of one delivery, up to a number of events."""

    def __init__(self, received_at: int, limit: int | None) -> None:
        self._received_at = received_at
        self._limit = limit
        self._count = 0

    def count(self, more: int) -> None:
        """Add to the number of events. Raises TooManyEventsError, so that a delivery of too many is not read whole."""
        self._count += more
        if self._limit is not None and self._count > self._limit:
            raise TooManyEventsError(f"more than {self._limit} events in one delivery")

    def events(
        self, element: bytes, outer: Metadata, lists_left: int = _MAX_NESTED_LISTS, decoded: Decoded | None = None
    ) -> list[Event]:
        """The events in one element. `decoded` is its value, if it has been decoded already."""
        if decoded is None:
            decoded = lenient_json.decode(element)
        if decoded is None or not isinstance(decoded.value, dict):
            return [_event(element, outer, Unreadable())]
        unwrapped = unwrap(decoded.value, outer)
        if isinstance(unwrapped.content, list):
            return self._events_of_list(element, decoded, unwrapped, lists_left)
        json = unwrapped.text or element
        fact = payloads.interpret(unwrapped.content, unwrapped.metadata, self._received_at, json)
        if (decoded.is_pruned or unwrapped.is_pruned) and isinstance(fact, Unsupported):
            fact = Unreadable()
        is_complete = not outer.org and outer.envelope_time is None
        content = None if isinstance(fact, FlowRun | FlowAlert) else _content(decoded, unwrapped)
        return [_event(element, unwrapped.metadata, fact, content, is_complete=is_complete)]

    def _events_of_list(self, element: bytes, decoded: Decoded, unwrapped: Unwrapped, lists_left: int) -> list[Event]:
        """The events in an envelope's list. The element itself is one event if nothing in the list is recognised."""
        json = unwrapped.text or element
        parts = (lenient_json.elements_at(json, unwrapped.path) or []) if lists_left else []
        self.count(len(parts) - 1)
        found = [event for part in parts for event in self.events(part, unwrapped.metadata, lists_left - 1)]
        is_recognised = any(not isinstance(event.fact, Unsupported | Unreadable) for event in found)
        # The recipient of every event is verified later, so an event that names another one must not be merged.
        if is_recognised or any(event.client_id not in {None, unwrapped.metadata.client_id} for event in found):
            return found
        fact = payloads.unrecognised_list(unwrapped.content, unwrapped.metadata, json)
        return [_event(element, unwrapped.metadata, fact, _content(decoded, unwrapped))]


def _content(decoded: Decoded, unwrapped: Unwrapped) -> bytes | None:
    """What the wrappers hold, encoded in one way. None if decoding lost a part of it."""
    return None if decoded.is_lossy or unwrapped.is_lossy else lenient_json.canonical(unwrapped.content)


def _event(
    body: bytes, metadata: Metadata, fact: Fact, content: bytes | None = None, *, is_complete: bool = False
) -> Event:
    return Event(
        fact=fact,
        body=body,
        content=content,
        event_id=metadata.event_id or None,
        body_id=metadata.event_id or None,
        event_code=metadata.event_code or None,
        client_id=metadata.client_id or None,
        is_complete=is_complete,
    )


def _numbered(events: list[Event]) -> list[Event]:
    """The events of one element. An id that several of them share gets a number for each."""
    uses = Counter(event.event_id for event in events) if len(events) > 1 else {}
    for number, event in enumerate(events, start=1):
        if event.event_id and uses.get(event.event_id, 1) > 1:
            id_ = f"{event.event_id}#{number}"
            events[number - 1] = replace(event, event_id=id_, body_id=id_)
    return events


def _with_header_id(events: list[Event], header_id: str) -> tuple[Event, ...]:
    """The events of a request of one element. Those without an id in the body have that of the headers."""
    without = sum(event.event_id is None for event in events)
    if not header_id or not without:
        return tuple(events)
    return tuple(
        replace(event, event_id=f"{header_id}#{number}" if without > 1 else header_id)
        if event.event_id is None
        else event
        for number, event in enumerate(events, start=1)
    )
