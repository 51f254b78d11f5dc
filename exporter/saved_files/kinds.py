"""Finds out what a file seems to be that holds no JSON, so that a message can state it.

Formats that name themselves by their first bytes are certain, and such a file is not searched for JSON. All else is a
guess for a message alone.
"""

import re
from typing import Final

_BY_MAGIC: Final = (
    ((b"PK\x03\x04", b"PK\x05\x06"), "a ZIP archive: unpack it, and replay the files in it"),
    ((b"\x1f\x8b",), "packed with gzip twice: unpack it once"),
    ((b"BZh91AY&SY",), "packed with bzip2: unpack it"),
    ((b"\xfd7zXZ\0",), "packed with xz: unpack it"),
    ((b"\x28\xb5\x2f\xfd",), "packed with zstd: unpack it"),
    ((b"7z\xbc\xaf\x27\x1c",), "a 7z archive: unpack it, and replay the files in it"),
    ((b"SQLite format 3\0",), "a SQLite database"),
    ((b"PAR1",), "a Parquet file"),
    ((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a"), "an image"),
    ((b"%PDF-",), "a PDF document"),
    ((b"\x7fELF",), "a program"),
)
_TAR: Final = (b"ustar", 257)
_PAGE: Final = re.compile(rb"\s*(?:<!doctype html|<html|<\?xml)", re.IGNORECASE)
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c\x1d]")
_ROW: Final = re.compile(rb"[^\n{}]*?([,;\t])[^\n{}]*?\1[^\n]*\n")
_SCALAR: Final = re.compile(rb'(?:"(?:[^"\\]|\\.)*(?:"|\Z)|-?[0-9][0-9.eE+-]*|true|false|null)\s*(?:\n|\Z)')
_BOM: Final = b"\xef\xbb\xbf"


def certain_kind(head: bytes) -> str | None:
    """What a file is by its first 512 bytes, if that is certain and no notification can be in it, else None."""
    for magics, kind in _BY_MAGIC:
        if head.startswith(magics):
            return kind
    magic, place = _TAR
    if head[place:].startswith(magic):
        return "a tar archive: unpack it, and replay the files in it"
    if _PAGE.match(head.removeprefix(_BOM)):
        return "a page of HTML or XML. A sign-in page is saved like this where an answer was expected"
    return None


def likely_kind(head: bytes) -> str:
    """What a file seems to be by its first 512 bytes, of which no part is a JSON object."""
    text = head.removeprefix(_BOM).lstrip()
    if text.startswith((b"{", b"[")):
        return "JSON that is damaged, cut off or nested too deep"
    if _SCALAR.match(text):
        return "JSON without an object. If it is a string that holds one, take it out: jq -r ."
    if _CONTROLS.search(text):
        return "a binary file"
    if _ROW.match(text):
        return "a table (CSV). Save the notifications themselves as JSON"
    return "a text that is no JSON"
