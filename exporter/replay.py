"""`replay`: notifications from files into the ledger.

A file holds one JSON text (a notification, an array, a saved journal page, a Flow Service answer), or one per line. It
is recorded in batches through the same write path as the webhook's deliveries, so nothing counts twice.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import BinaryIO, Final

from exporter.adobe import lenient_json
from exporter.adobe.deliveries import read_document
from exporter.model import Delivery, Event, Result, Source

_BATCH: Final = 500
"""Events of one transaction, if they are not large."""
_BATCH_BYTES: Final = 4 * 1024 * 1024

Progress = Callable[[Mapping[Result, int]], None]
"""Told the counts so far, after each batch."""
Record = Callable[[list[Delivery]], Awaitable[Mapping[Result, int]]]


def documents(file: BinaryIO) -> Iterator[bytes]:
    """The JSON texts of a file: each line, where lines are texts by themselves; else the file as a whole."""
    lines = (line for line in file if line.strip())
    first = next(lines, b"")
    if lenient_json.decode(first) is not None:
        yield first
        yield from lines
    elif first:
        rest = file.read()
        yield from _in_lines(first, rest) or [first + rest]


def _in_lines(first: bytes, rest: bytes) -> list[bytes] | None:
    """The lines of a file whose first line is damaged; None where the file is one text over several lines."""
    lines = [line for line in rest.splitlines() if line.strip()]
    if first.lstrip().startswith(b"[") or lenient_json.decode(first + rest) is not None:
        return None
    readable = sum(map(_is_container, lines))
    return [first, *lines] if readable > len(lines) / 2 else None


def _is_container(line: bytes) -> bool:
    decoded = lenient_json.decode(line)
    return decoded is not None and isinstance(decoded.value, dict | list)


def events(file: BinaryIO, clock: Callable[[], int]) -> Iterator[Event]:
    """Every event of a file."""
    for text in documents(file):
        yield from read_document(text, Source.REPLAY, clock()).events


async def replay(file: BinaryIO, record: Record, clock: Callable[[], int], progress: Progress) -> Counter[Result]:
    """Record every event of a file; counts by result."""
    total: Counter[Result] = Counter()
    batch: list[Event] = []
    size = 0

    async def flush() -> None:
        total.update(await record([Delivery(source=Source.REPLAY, events=tuple(batch))]))
        batch.clear()
        progress(total)

    for event in events(file, clock):
        batch.append(event)
        size += len(event.body)
        if len(batch) == _BATCH or size >= _BATCH_BYTES:
            await flush()
            size = 0
    if batch:
        await flush()
    return total
