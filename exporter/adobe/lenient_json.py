"""Decodes JSON so that damage in one place loses only the value in that place.

The fast decoder is strict: half a surrogate pair, a NUL or a thousand brackets make it refuse the whole text. A text
that it refuses is decoded again with control characters escaped and bytes that are not UTF-8 replaced. If it is still
refused, it is decoded by a slower way. There, values nested deeper than MAX_DEPTH become null, and an array is split at
its commas, so that an element that can't be read does not affect the others. The slow way takes about twenty times as
long. Nothing that Adobe is known to send needs it.

Pure functions of bytes: no I/O, no clock.
"""

import contextlib
import json
import re
from dataclasses import dataclass
from itertools import islice
from typing import Final

import msgspec

MAX_DEPTH: Final = 128
"""Nested brackets. The deepest run in Adobe's documentation has nine."""

_MAX_DIGITS: Final = 20
"""Digits of a whole number. A longer one is decoded as a float."""

_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % (_MAX_DIGITS + 1))

_BOM: Final = b"\xef\xbb\xbf"
_NULL: Final = b"null"
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}".encode()

# A string that is closed, or cut off at the end of the text, or a series of opening or of closing brackets. A string
# that is cut off must match as a whole. Otherwise the search would begin again at each of its quotes: quadratic time.
# The repeated part is a class of characters, because a choice at each character would take ten times as long.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_BRACKETS = re.compile(_STRING + rb"|[\[{]+|[\]}]+", re.DOTALL)
_BRACKETS_AND_COMMAS = re.compile(_STRING + rb"|[\[{]|[\]}]|,", re.DOTALL)

_CONTROLS: Final = {bytes([code]): b"\\u%04x" % code for code in range(0x20) if code not in b"\t\n\r"}

_decode = msgspec.json.Decoder().decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

# msgspec raises DecodeError, UnicodeDecodeError and RecursionError. All but the last are ValueErrors.
_REFUSED = (ValueError, RecursionError)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded JSON value."""

    value: object
    is_pruned: bool = False
    """Whether values that were nested too deep were replaced by null."""
    is_lossy: bool = False
    """Whether two different texts can have this value, because a part of the text was replaced or shortened."""


def decode(raw: bytes) -> Decoded | None:
    """Decode one JSON text. None if it is not JSON even by the lenient rules."""
    raw = raw.removeprefix(_BOM)
    try:
        return Decoded(_decode(raw))
    except _REFUSED:
        pass
    repaired = _repair(raw)
    is_lossy = _REPLACEMENT in repaired or _LONG_NUMBER.search(repaired) is not None
    if repaired != raw:
        with contextlib.suppress(*_REFUSED):
            return Decoded(_decode(repaired), is_lossy=is_lossy)
    text, is_pruned = _prune(repaired)
    try:
        value = json.loads(text, strict=False, parse_int=_integer, object_hook=_same)
    except _REFUSED:
        return None
    return Decoded(value, is_pruned, is_lossy or is_pruned)


def decode_strict(raw: bytes) -> Decoded | None:
    """Decode one JSON text by the fast decoder alone. None if it refuses the text."""
    try:
        return Decoded(_decode(raw.removeprefix(_BOM)))
    except _REFUSED:
        return None


def canonical(value: object) -> bytes | None:
    """A decoded value as bytes that do not depend on the order of members or on blanks. None if that can't be done.

    It can't be done of what is nested too deep, and of a number of thousands of digits. Half an emoji, which UTF-8 does
    not have, is encoded by its number.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    except (RecursionError, ValueError):
        return None


def elements(raw: bytes, most: int | None = None) -> list[bytes] | None:
    """The bytes of each element of an array. None if the text is not an array. Of more than `most` elements one more.

    An array that can't be decoded as a whole is split at its commas, with regard to brackets and strings only, so some
    elements may not be JSON. Of an array that was cut off, the elements that are there are returned.
    """
    raw = raw.removeprefix(_BOM)
    try:
        found = _decode_list(raw)
        return [bytes(element) for element in (found if most is None else islice(found, most + 1))]
    except _REFUSED:
        pass
    text = raw.strip()
    return _split(text, most) if text.startswith(b"[") else None


def elements_at(raw: bytes, path: tuple[str, ...]) -> list[bytes] | None:
    """The bytes of each element of the array that a path of keys leads to. None if there is no array."""
    part = raw
    try:
        for key in path:
            part = bytes(_decode_object(part)[key])
    except _REFUSED:
        return _reencoded_elements(raw, path)
    return elements(part)


def _reencoded_elements(raw: bytes, path: tuple[str, ...]) -> list[bytes] | None:
    """Elements as in `elements_at`, of a text that only the slow way can decode.

    The elements are encoded again, because their original bytes can't be cut out of such a text.
    """
    decoded = decode(raw)
    value: object = decoded.value if decoded else None
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return [json.dumps(element).encode() for element in value] if isinstance(value, list) else None


def _integer(digits: str) -> int | float:
    """A whole number. A very long one becomes a float of its first digits, because `int` takes quadratic time."""
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits[:_MAX_DIGITS])


def _repair(text: bytes) -> bytes:
    """Replace bytes that are not UTF-8, and escape the control characters that JSON never allows as they are."""
    text = text.decode(errors="replace").encode()
    for control, escape in _CONTROLS.items():
        text = text.replace(control, escape)
    return text


def _same(value: dict[str, object]) -> dict[str, object]:
    """Return the object as it is. Python lets other threads run at such a call, and not within `json.loads` itself."""
    return value


def _prune(text: bytes) -> tuple[bytes, bool]:
    """Replace values that are nested deeper than MAX_DEPTH by null. Returns the text and whether it was changed.

    If the brackets of such a value are never closed, the text ends there.
    """
    kept: list[bytes] = []
    depth = start = 0
    dropping = False
    for token in _BRACKETS.finditer(text):
        first = text[token.start()]
        if first in b"[{":
            depth += token.end() - token.start()
            if depth > MAX_DEPTH and not dropping:
                dropping = True
                cut = token.end() - (depth - MAX_DEPTH)
                kept += (text[start:cut], _NULL)
        elif first in b"]}":
            depth -= token.end() - token.start()
            if dropping and depth <= MAX_DEPTH:
                dropping = False
                start = token.end() - (MAX_DEPTH - depth)
    if not kept:
        return text, False
    if not dropping:
        kept.append(text[start:])
    return b"".join(kept), True


def _split(text: bytes, most: int | None = None) -> list[bytes]:
    """Split an array at its outermost commas, up to `most` times.

    A closing bracket that closes nothing is part of its element.
    """
    found: list[bytes] = []
    depth = start = 1
    end = len(text)
    last_opening = max(text.rfind(b"["), text.rfind(b"{"))
    for token in _BRACKETS_AND_COMMAS.finditer(text, 1):
        first = text[token.start()]
        if first in b"[{":
            depth += 1
        elif first in b"]}":
            if depth > 1:
                depth -= 1
            elif first == ord("]") and token.start() > last_opening:
                end = token.start()
                break
        elif first == ord(",") and depth == 1:
            found.append(text[start : token.start()].strip())
            start = token.end()
            if len(found) == most:
                break
    found.append(text[start:end].strip())
    return found
