"""Where a page of the ledger's lists ended.

A cursor has the position of the ledger's head when the first page was read. Later pages leave out what was recorded
after it.
"""

import struct
from enum import StrEnum
from typing import Final, NamedTuple

from exporter import cursor_text

_FORM: Final = struct.Struct(">qqq")
"""The head, the time and the position of the last item."""


class PagedList(StrEnum):
    """The lists of the ledger that have cursors."""

    RUNS = "runs"
    NOTIFICATIONS = "notifications"


class PageCursor(NamedTuple):
    """Where a page ended."""

    head: int
    """The position of the last entry when the first page was read."""
    time: int
    """Of the page's last item: milliseconds since 1970. 0 in a list that is in order of position alone."""
    position: int
    """Of the page's last item."""


def encode(paged: PagedList, cursor: PageCursor) -> str:
    """The text of a cursor."""
    return cursor_text.encode(paged, _FORM.pack(*cursor))


def decode(paged: PagedList, text: str) -> PageCursor:
    """The cursor in a text. Raises BadCursorError unless `encode` made the text for this list."""
    place = cursor_text.decode(paged, text)
    if len(place) != _FORM.size:
        raise cursor_text.bad_cursor()
    return PageCursor(*_FORM.unpack(place))
