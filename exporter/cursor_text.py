"""Texts of the cursors of lists that are read page by page. A cursor says where a page ended, and goes into a URL.

A checksum finds a cursor that was cut off or mistyped. It protects nothing: a cursor holds no secret, and gives no
access that its list does not give.
"""

import base64
import binascii
import zlib

from exporter.errors import BadCursorError


def encode(list_name: str, place: bytes) -> str:
    """The text for a place in a list: letters, digits, `-` and `_`."""
    content = f"{list_name}:".encode() + place
    return base64.urlsafe_b64encode(content + zlib.crc32(content).to_bytes(4)).decode().rstrip("=")


def decode(list_name: str, text: str) -> bytes:
    """The place in a text. Raises BadCursorError unless `encode` made the text for this list."""
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)[:-4]
    except (ValueError, binascii.Error):
        raise bad_cursor() from None
    name, _, place = content.partition(b":")
    # Several texts can mean the same bytes in base64, and only one of them is made here.
    if name != list_name.encode() or encode(list_name, place) != text:
        raise bad_cursor()
    return place


def bad_cursor() -> BadCursorError:
    """The error for a cursor that is none of this list."""
    return BadCursorError("the cursor is damaged or belongs to another list: begin again with the first page")
