"""The cursors of lists that are read page by page: where a page ended, as a text that goes into a URL.

A cursor has the position of the ledger's head when the first page was read. Later pages leave out what was recorded
after it. A checksum finds a cursor that was cut off or mistyped. It protects nothing: a cursor holds no secret, and
gives no access that its list does not give.
"""

import base64
import binascii
import struct
import zlib
from enum import IntEnum
from typing import Final, NamedTuple

from exporter.errors import BadCursorError

_FORM: Final = struct.Struct(">BqqqI")
"""The list, the head, the time and the position of the last item, and the checksum of what comes before."""
_CHECKED: Final = _FORM.size - 4


class PagedList(IntEnum):
    """The lists that have cursors."""

    RUNS = 1
    NOTIFICATIONS = 2


class PageCursor(NamedTuple):
    """Where a page ended."""

    head: int
    """The position of the last entry when the first page was read."""
    time: int
    """Of the page's last item: milliseconds since 1970. 0 in a list that is in order of position alone."""
    position: int
    """Of the page's last item."""


def encode(paged: PagedList, cursor: PageCursor) -> str:
    """The text of a cursor: letters, digits, `-` and `_`."""
    content = _FORM.pack(paged, *cursor, 0)[:_CHECKED]
    packed = content + zlib.crc32(content).to_bytes(4)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode(paged: PagedList, text: str) -> PageCursor:
    """The cursor in a text. Raises BadCursorError unless `encode` made the text for this list."""
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        list_, head, time, position, checksum = _FORM.unpack(packed)
    except (ValueError, binascii.Error, struct.error):
        raise _bad() from None
    cursor = PageCursor(head, time, position)
    # Several texts can mean the same bytes in base64, and only one of them is made here.
    if checksum != zlib.crc32(packed[:_CHECKED]) or list_ != paged or encode(paged, cursor) != text:
        raise _bad()
    return cursor


def _bad() -> BadCursorError:
    return BadCursorError("the cursor is damaged or belongs to another list: begin again with the first page")
