"""One leaf of a payload to one value: text, moment, count.

The rule: a value that makes no sense is left out and named, never guessed. Facts: adobe.md B2, contract 4.4. Times come
in seconds and milliseconds, sometimes in one object, as numbers, digits in strings and ISO 8601; below 1e11 a number is
seconds. 0 and negative numbers are how Adobe says "not known" and are no anomaly; -1 says the same of a count.

Sans-I/O.
"""

import hashlib
import math
import re
from datetime import UTC, datetime
from typing import Final

MAX_ID: Final = 128
"""Characters of an id, a sandbox or an organisation; what is longer is cut and ends in a digest."""

_MAX_NUMBER: Final = 10**4000
"""Python refuses to write out numbers of thousands of digits."""

MAX_NAME: Final = 120
MAX_COUNT: Final = 2**53
"""A count above this can't be told apart from its neighbour once it is a sample (a float)."""

EARLIEST: Final = 1_262_304_000_000
"""2010-01-01, years before Platform's first run."""
MAX_AHEAD: Final = 10 * 60 * 1000
"""How far ahead of ours Adobe's clock may be: ten minutes in milliseconds."""

_SECONDS_BELOW: Final = 100_000_000_000
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_DIGITS = re.compile(r"[0-9]{1,16}")


class InvalidFieldError(Exception):
    """The leaf holds something, and it makes no sense."""


def clean(text: str) -> str:
    """The text without what a database, an encoder or a terminal trips over: control characters, halves of emoji."""
    return text if text.isprintable() else _UNPRINTABLE.sub(_REPLACEMENT, text)


def identifier(value: object) -> str:
    """An id as text of at most MAX_ID characters; empty when there is none."""
    if value is None:
        return ""
    if isinstance(value, str):
        text = clean(value.strip())
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX_NUMBER:
        text = str(value)
    else:
        return ""
    return text if len(text) <= MAX_ID else shorten(text)


def shorten(text: str) -> str:
    """A text of MAX_ID characters that still differs where the long one did."""
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]
    return f"{text[: MAX_ID - 17]}~{digest}"


def name(value: object) -> str:
    """The first line of a name, cut to MAX_NAME characters: names hold whole SQL texts."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidFieldError
    lines = value.strip().splitlines()
    return clean(lines[0].strip())[:MAX_NAME] if lines else ""


def message(value: object) -> str | None:
    """Free text for a person to read, of at most 2,000 characters; never a label."""
    if not isinstance(value, str) or not value.strip():
        return None
    return _UNPRINTABLE.sub(" ", value.strip()[:2000])


def moment(value: object, recorded_at: int) -> int | None:
    """A time in milliseconds since 1970 UTC; None when it is not known."""
    if value is None or value == "":
        return None
    milliseconds = _number_of_milliseconds(value)
    if milliseconds is None:
        return None
    if not EARLIEST <= milliseconds <= recorded_at + MAX_AHEAD:
        raise InvalidFieldError
    return milliseconds


def _number_of_milliseconds(value: object) -> int | None:
    if isinstance(value, bool):
        raise InvalidFieldError
    if isinstance(value, str):
        text = value.strip()
        if not _DIGITS.fullmatch(text):
            return _from_iso(text)
        value = int(text)
    if not isinstance(value, int | float) or (isinstance(value, float) and not math.isfinite(value)):
        raise InvalidFieldError
    if value <= 0:
        return None
    return round(value * 1000) if value < _SECONDS_BELOW else int(value)


def _from_iso(text: str) -> int:
    try:
        parsed = datetime.fromisoformat(text)
        return round((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise InvalidFieldError from None


def count(value: object) -> int | None:
    """A whole number from 0; None when it is not known (absent, or -1)."""
    if isinstance(value, str) and _DIGITS.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or value == -1:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise InvalidFieldError
    return value
