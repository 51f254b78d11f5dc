"""Reads notifications that were saved in files.

A file holds one JSON text (a notification, an array of them, a page of Adobe's journal, an answer of its Flow Service)
in any layout, or one JSON text per line. Files are read forward only, so that a pipe is read like a file.
"""

from collections.abc import Callable, Iterator
from typing import BinaryIO

from exporter.adobe import lenient_json
from exporter.adobe.deliveries import read_document
from exporter.model import Event, Source


def read_events(file: BinaryIO, clock: Callable[[], int]) -> Iterator[Event]:
    """Every event of a file, in its order. A text that is no JSON is one unreadable event."""
    for text in read_documents(file):
        yield from read_document(text, Source.REPLAY, clock()).events


def read_documents(file: BinaryIO) -> Iterator[bytes]:
    """The JSON texts of a file: each line if the first line is a JSON text of its own, else the whole file as one.

    Lines are read one at a time. A file that is one text is read into memory as a whole.
    """
    lines = (line for line in file if line.strip())
    first = next(lines, b"")
    if lenient_json.decode(first) is not None:
        yield first
        yield from lines
    elif first:
        rest = file.read()
        yield from _split_lines(first, rest) or [first + rest]


def _split_lines(first: bytes, rest: bytes) -> list[bytes] | None:
    """The lines of a file of which only the first is damaged. None if the file is one text over several lines.

    It is taken for lines if more than half of the others are JSON objects or arrays.
    """
    lines = [line for line in rest.splitlines() if line.strip()]
    if first.lstrip().startswith(b"[") or lenient_json.decode(first + rest) is not None:
        return None
    readable = sum(map(_is_container, lines))
    return [first, *lines] if readable > len(lines) / 2 else None


def _is_container(line: bytes) -> bool:
    decoded = lenient_json.decode(line)
    return decoded is not None and isinstance(decoded.value, dict | list)
