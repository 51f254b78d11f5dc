"""Reads the events of a saved file, each with its place.

The bytes become UTF-8 (`streams`), UTF-8 becomes JSON texts (`texts`), and each text becomes events.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import BinaryIO, Final

from exporter.adobe import lenient_json
from exporter.adobe.deliveries import read_document
from exporter.errors import SavedFileError
from exporter.model import Event, Source, Unreadable
from exporter.saved_files import exports
from exporter.saved_files.kinds import certain_kind, likely_kind
from exporter.saved_files.streams import read_blocks, to_utf8, unpack, with_head
from exporter.saved_files.texts import MAX_TEXT, Splitter, Text

_MAX_KEPT: Final = 1000
"""Unreadable texts of one file that are worth keeping. A file of something else can have millions."""
_MAX_KEPT_BYTES: Final = 4 * 1024 * 1024
"""Bytes of these texts together."""
_MAX_EMPTY_PAGE: Final = 4096
"""Bytes of a page without elements. It holds links, and the number of elements."""

_NOTHING: Final = Event(fact=Unreadable(), body=b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One event of a file, or what stands in the place of one."""

    event: Event
    place: str
    """Where it is in the file. Empty for the whole file."""
    is_kept: bool = True
    """False for what is unreadable and not worth recording."""
    note: str = ""
    """Why it is unreadable, if there is more to say than the event's reason."""


def read_events(file: BinaryIO, clock: Callable[[], int], max_text: int = MAX_TEXT) -> Iterator[Found]:
    """Everything in a file, in its order. A text that is no JSON is one unreadable event.

    A file in which nothing is readable is a single unreadable event that is not kept. `max_text`: bytes of the longest
    text that is read.

    Raises SavedFileError, after everything that could be read, if the file can't be read to its end.
    """
    splitter = Splitter(max_text)
    failure: Exception | None = None
    try:
        head, blocks = with_head(to_utf8(unpack(read_blocks(file))))
    except (OSError, SavedFileError) as error:
        raise _broken_off(error, splitter.line) from error
    kind = certain_kind(head)
    if kind is not None:
        yield Found(event=_NOTHING, place="", is_kept=False, note=f"it seems to be {kind}")
        return

    def texts() -> Iterator[Text]:
        nonlocal failure
        try:
            for block in blocks:
                yield from splitter.feed(block)
        except (OSError, SavedFileError) as error:
            failure = error
        yield from splitter.end()

    yield from _with_unreadable((found for text in texts() for found in _read(text, clock)), head)
    if failure is not None:
        raise _broken_off(failure, splitter.line) from failure


def _broken_off(error: Exception, line: int) -> SavedFileError:
    reason = (error.strerror or "it can not be read") if isinstance(error, OSError) else str(error)
    return SavedFileError(f"line {line}: {reason}")


def _read(text: Text, clock: Callable[[], int]) -> Iterator[Found]:
    """The events in one text, with their places."""
    place = f"line {text.line}" if text.number == 1 else f"line {text.line}, text {text.number}"
    if text.is_too_long:
        note = "it is too long for one text. If it is an array, write its elements as lines: jq -c '.[]'"
        yield Found(event=_NOTHING, place=place, is_kept=False, note=note)
        return
    bodies = exports.bodies(text.body)
    if bodies is None:
        bodies = [] if _is_empty_page(text.body) else [text.body]
    events = [event for body in bodies for event in read_document(body, Source.REPLAY, clock()).events]
    for number, event in enumerate(events, start=1):
        yield Found(event=event, place=place if len(events) == 1 else f"{place}, event {number}")


def _is_empty_page(text: bytes) -> bool:
    """Whether a text is a page of the journal, or an answer of the Flow Service, that holds nothing."""
    decoded = lenient_json.decode(text) if len(text) <= _MAX_EMPTY_PAGE else None
    value = decoded.value if decoded else None
    return isinstance(value, dict) and (
        (value.get("items") == [] and "_links" in value) or (value.get("events") == [] and "_page" in value)
    )


def _with_unreadable(found: Iterator[Found], head: bytes) -> Iterator[Found]:
    """The same, with the unreadable ones held back until something is readable.

    If nothing is, there is one in the place of all. Of the others, the first ones are kept.
    """
    held: list[Found] = []
    not_held = kept = size = 0
    is_readable = False
    for each in found:
        if not isinstance(each.event.fact, Unreadable):
            if not is_readable:
                is_readable = True
                yield from held
                yield from repeat(Found(event=_NOTHING, place=f"before {each.place}", is_kept=False), not_held)
                held.clear()
            yield each
            continue
        is_kept = each.is_kept and kept < _MAX_KEPT and size + len(each.event.body) <= _MAX_KEPT_BYTES
        kept += is_kept
        size += len(each.event.body) if is_kept else 0
        unreadable = each if is_kept else Found(event=_NOTHING, place=each.place, is_kept=False, note=each.note)
        if is_readable:
            yield unreadable
        elif len(held) < _MAX_KEPT:
            held.append(unreadable)
        else:
            not_held += 1
    if not is_readable and held:
        note = next((each.note for each in held if each.note), "") or f"it seems to be {likely_kind(head)}"
        yield Found(event=_NOTHING, place="", is_kept=False, note=note)
