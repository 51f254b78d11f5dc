"""Bytes to JSON values, forgivingly.

The rule: damage costs the leaf it is in. The fast decoder is strict (half an emoji, a NUL or a thousand brackets make
it refuse everything), so what it refuses is decoded again: bytes that are no UTF-8 are replaced, what is nested deeper
than MAX_DEPTH becomes null, and the elements of an array are told apart by their brackets, so that one that can't be
read leaves its siblings alone. The second way is some thirty times slower; nothing that Adobe sends by itself needs it.

Sans-I/O: no clock, no client, no async.
"""

import json
import re
from dataclasses import dataclass
from typing import Final

import msgspec

MAX_DEPTH: Final = 128
"""Brackets within brackets; the deepest run Adobe documents has nine."""

_MAX_DIGITS: Final = 20

_BOM: Final = b"\xef\xbb\xbf"
_NULL: Final = b"null"

# A string, closed or cut off at the end of the text (so that no quote is tried twice), or a run of one kind of bracket.
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[{]+|[\]}]+', re.DOTALL)
_BRACKETS_AND_COMMAS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[{]|[\]}]|,', re.DOTALL)

_decode = msgspec.json.Decoder().decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

# msgspec says DecodeError, UnicodeDecodeError and RecursionError; all but the last are ValueErrors.
_REFUSED = (ValueError, RecursionError)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A JSON value, and whether something nested too deep was left out of it."""

    value: object
    pruned: bool = False


def decode(raw: bytes) -> Decoded | None:
    """Decode one JSON text; None when it is none, even read forgivingly."""
    raw = raw.removeprefix(_BOM)
    try:
        return Decoded(_decode(raw))
    except _REFUSED:
        pass
    pruned, was_pruned = _prune(raw)
    try:
        return Decoded(json.loads(pruned.decode(errors="replace"), strict=False, parse_int=_integer), was_pruned)
    except _REFUSED:
        return None


def elements(raw: bytes) -> list[bytes] | None:
    """Each element of an array as its own bytes; None when the text is no array.

    Where the array as a whole can't be decoded, its elements are told apart by brackets and commas alone, so some of
    them may be unreadable; an array that was cut off gives the elements that are there.
    """
    raw = raw.removeprefix(_BOM)
    try:
        return [bytes(element) for element in _decode_list(raw)]
    except _REFUSED:
        pass
    text = raw.strip()
    return _split(text) if text.startswith(b"[") else None


def elements_at(raw: bytes, path: tuple[str, ...]) -> list[bytes] | None:
    """Each element of the array that lies in nested objects under these keys, as its own bytes."""
    part = raw
    try:
        for key in path:
            part = bytes(_decode_object(part)[key])
    except _REFUSED:
        return _encoded_again(raw, path)
    return elements(part)


def _encoded_again(raw: bytes, path: tuple[str, ...]) -> list[bytes] | None:
    """The same from what can still be decoded; its bytes are ours, since Adobe's can't be cut out."""
    decoded = decode(raw)
    value: object = decoded.value if decoded else None
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return [json.dumps(element).encode() for element in value] if isinstance(value, list) else None


def _integer(digits: str) -> int | float:
    """A whole number; one that is longer than any real one as a float, which costs no time to make."""
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits[:_MAX_DIGITS])


def _prune(text: bytes) -> tuple[bytes, bool]:
    """Replace what is nested deeper than MAX_DEPTH by null; cut off a text that never comes back from there."""
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


def _split(text: bytes) -> list[bytes]:
    """The elements of an array by its outermost commas; a bracket that closes nothing is part of its element."""
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
    found.append(text[start:end].strip())
    return found
