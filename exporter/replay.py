"""`replay`: notifications from files into the ledger.

A file holds one JSON text (a notification, an array, a saved journal page, a Flow Service answer), or one per line. It
is recorded in batches through the same write path as the webhook's deliveries, so nothing counts twice.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import BinaryIO, Final

from exporter.adobe import document
from exporter.adobe.envelope import read_document
from exporter.flowrun import Delivery, Event, Result, Source

_BATCH: Final = 500
"""Events of one transaction."""

Progress = Callable[[Mapping[Result, int]], None]
"""Told the counts so far, after each batch."""
Record = Callable[[list[Delivery]], Awaitable[Mapping[Result, int]]]


def documents(file: BinaryIO) -> Iterator[bytes]:
    """The JSON texts of a file: each line, where lines are texts by themselves; else the file as a whole."""
    lines = (line for line in file if line.strip())
    first = next(lines, b"")
    if document.decode(first) is not None:
        yield first
        yield from lines
    elif first:
        rest = file.read()
        yield from _in_lines(first, rest) or [first + rest]


def _in_lines(first: bytes, rest: bytes) -> list[bytes] | None:
    """The lines of a file whose first line is damaged; None where the file is one text over several lines."""
    lines = [first, *(line for line in rest.splitlines() if line.strip())]
    is_whole = document.decode(first + rest) is not None or first.strip() in {b"[", b"{"}
    return None if is_whole or all(map(_is_no_container, lines[1:])) else lines


def _is_no_container(line: bytes) -> bool:
    decoded = document.decode(line)
    return decoded is None or not isinstance(decoded.value, dict | list)


def events(file: BinaryIO, clock: Callable[[], int]) -> Iterator[Event]:
    """Every event of a file."""
    for text in documents(file):
        yield from read_document(text, Source.REPLAY, clock()).events


async def replay(file: BinaryIO, record: Record, clock: Callable[[], int], progress: Progress) -> Counter[Result]:
    """Record every event of a file; counts by result."""
    total: Counter[Result] = Counter()
    batch: list[Event] = []

    async def flush() -> None:
        total.update(await record([Delivery(source=Source.REPLAY, events=tuple(batch))]))
        batch.clear()
        progress(total)

    for event in events(file, clock):
        batch.append(event)
        if len(batch) == _BATCH:
            await flush()
    if batch:
        await flush()
    return total
