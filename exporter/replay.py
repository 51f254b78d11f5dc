"""`replay`: notifications from files into the ledger.

A file holds one JSON text (a notification, an array, a saved journal page, a Flow Service answer), or one per line. It
is recorded in batches through the same write path as the webhook's deliveries, so nothing counts twice.
"""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import BinaryIO, Final

from exporter.adobe.envelope import read_document
from exporter.flowrun import Delivery, Event, Result, Source

_BATCH: Final = 500
"""Events of one transaction."""

Progress = Callable[[Mapping[Result, int]], None]
"""Told the counts so far, after each batch."""
Record = Callable[[list[Delivery]], Awaitable[Mapping[Result, int]]]


def documents(file: BinaryIO) -> Iterator[bytes]:
    """The JSON texts of a file: each line, where the first line is one by itself; else the file as a whole."""
    first = next((line for line in file if line.strip()), b"")
    if _is_json(first):
        yield first
        yield from (line for line in file if line.strip())
    elif first:
        yield first + file.read()


def events(file: BinaryIO, clock: Callable[[], int]) -> Iterator[Event]:
    """Every event of a file."""
    for document in documents(file):
        yield from read_document(document, Source.REPLAY, clock()).events


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


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
