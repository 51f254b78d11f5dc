"""Writes JSON that every client can read, and decides how a body of a stranger is shown in it.

JSON allows things that common readers refuse or change: halves of surrogates, numbers too large for a double, and
any depth. Python's own writer and reader also take NaN, which is no JSON. None of these leaves this program.
"""

import json
import math
from collections.abc import Callable
from typing import Final

from exporter.pages.views import Json
from exporter.plain_text import with_escapes

MAX_BODY: Final = 1 << 20
"""Bytes of a body that is shown."""
MAX_DEPTH: Final = 64
"""Nested values of a body that is shown as JSON. Some readers stop at 100, and an answer adds a few."""


def json_text(value: Json, pause: Callable[[], None] = lambda: None) -> bytes:
    """A JSON text in UTF-8, which ends with a line feed.

    A half of a surrogate becomes a question mark. Control and format characters are escaped, so that a terminal shows
    them and does not obey them. `pause` is called before each item of a list. Raises ValueError for a number that is
    not finite.
    """
    if isinstance(value, dict):
        members = (
            f"{_text(name)}:{_array(each, pause) if isinstance(each, list) else _text(each)}"
            for name, each in value.items()
        )
        return f"{{{','.join(members)}}}\n".encode()
    return f"{_text(value)}\n".encode()


def _array(values: list[Json], pause: Callable[[], None]) -> str:
    """The text of a list, made item by item: other threads can't run while one long text is made."""
    texts = []
    for value in values:
        pause()
        texts.append(_text(value))
    return f"[{','.join(texts)}]"


def _text(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return with_escapes(text.encode(errors="replace").decode())


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
