"""Writes JSON that every client can read, and decides how a body of a stranger is shown in it.

JSON allows things that common readers refuse or change: halves of surrogates, numbers too large for a double, and
any depth. Python's own writer and reader also take NaN, which is no JSON. None of these leaves this program.
"""

import json
import math
from typing import Final

import msgspec

from exporter.pages.views import Json, Moment, as_json, rfc3339
from exporter.plain_text import with_escapes

MAX_BODY: Final = 1 << 20
"""Bytes of a body that is shown."""
MAX_DEPTH: Final = 64
"""Nested values of a body that is shown as JSON. Some readers stop at 100, and an answer adds a few."""


def json_text(value: Json) -> bytes:
    """A JSON text in UTF-8, which ends with a line feed.

    A half of a surrogate becomes a question mark. Control and format characters are escaped, so that a terminal shows
    them and does not obey them. Raises ValueError for a number that is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return with_escapes(text.encode(errors="replace").decode()).encode() + b"\n"


def view_text(view: object) -> bytes:
    """The text of a view, as `json_text` has it (`exporter.pages.views.as_json`). Lists of hundreds are made so."""
    try:
        text = _encoder.encode(view).decode()
    except (ValueError, OverflowError, msgspec.MsgspecError):
        # A half of a surrogate, a number of more than 64 bits, or a member whose name is no text.
        return json_text(as_json(view))
    return with_escapes(text).encode() + b"\n"


def _time_text(value: object) -> str | None:
    if isinstance(value, Moment):
        return rfc3339(value)
    raise TypeError(f"a view has no values of the type {type(value).__name__}")


_encoder: Final = msgspec.json.Encoder(enc_hook=_time_text)


def body_value(body: bytes) -> Json:
    """A stored body: its JSON if every client can read that, else its text. None if it is larger than MAX_BODY.

    In the text, damaged characters are U+FFFD.
    """
    if len(body) > MAX_BODY:
        return None
    text = body.decode(errors="replace")
    try:
        value: Json = json.loads(body.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        # It is no JSON, no UTF-8, has a number of thousands of digits, or is nested too deep for the decoder.
        return text
    return value if _is_portable(value, MAX_DEPTH) else text


def _refuse(constant: str) -> Json:
    raise ValueError(f"{constant} is no JSON")


def _is_portable(value: Json, depth: int) -> bool:
    """Whether every client reads the same value, nested at most so deep."""
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) < _TOO_LARGE
    if isinstance(value, dict):
        return depth > 0 and all(_is_portable(key, 0) and _is_portable(each, depth - 1) for key, each in value.items())
    if isinstance(value, list):
        return depth > 0 and all(_is_portable(each, depth - 1) for each in value)
    return True


_TOO_LARGE: Final = 10**308
"""A larger whole number is refused by readers that make a double of each number."""
