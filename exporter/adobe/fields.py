"""Reads one field of a payload as text, a time or a count.

A value that is not valid raises InvalidFieldError. It is never guessed. Times come as numbers, as digits in a string
and in ISO 8601, and in seconds as well as milliseconds, sometimes in one object: a number below 1e11 is seconds. In
Adobe's payloads 0 and negative times mean that the time is not known, and so does the count -1. These are read as None.
Sources: docs/adobe.md, "Payloads", and docs/metrics.md, "Numbers and times".

No I/O and no clock.
"""

import hashlib
import math
import re
from datetime import UTC, datetime
from typing import Final

from exporter.plain_text import clean, without_formats

MAX_ID: Final = 128
"""Characters of an id, a sandbox or an organisation. A longer one is cut and ends in a digest."""

_MAX_NUMBER: Final = 10**4000
"""Python raises ValueError when a number of more than 4,300 digits becomes text."""

MAX_NAME: Final = 120
"""Characters of a name."""
MAX_COUNT: Final = 2**53
"""Above this a float can't hold every whole number, and samples are floats."""

EARLIEST: Final = 1_262_304_000_000
"""2010-01-01 in milliseconds, years before Platform's first run."""
MAX_AHEAD: Final = 10 * 60 * 1000
"""How far Adobe's clock may be ahead of this host's: ten minutes in milliseconds."""

_SECONDS_BELOW: Final = 100_000_000_000
_DIGITS = re.compile(r"[0-9]{1,16}")


class InvalidFieldError(Exception):
    """The field has a value, and the value is not valid."""


def identifier(value: object) -> str:
    """An id as text of at most MAX_ID characters. Empty if the value is neither text nor a whole number."""
    if value is None:
        return ""
    if isinstance(value, str):
        text = clean(without_formats(value).strip())
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX_NUMBER:
        text = str(value)
    else:
        return ""
    return text if len(text) <= MAX_ID else shorten(text)


def shorten(text: str) -> str:
    """Cut a text to MAX_ID characters. A digest at its end keeps different texts different."""
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]
    return f"{text[: MAX_ID - 17]}~{digest}"


def name(value: object) -> str:
    """The first line of a name, cut to MAX_NAME characters, because a name can be a whole SQL text.

    Every line separator that `str.splitlines` names ends a line.

    Raises InvalidFieldError unless the value is text or None.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidFieldError
    lines = without_formats(value).strip().splitlines()
    return clean(lines[0].strip())[:MAX_NAME] if lines else ""


def error_code(value: object) -> str:
    """What stands in the place of an error code, as text. `model.is_error_code` says whether it is a code.

    Some encoders write a whole number with a fraction of zero.
    """
    return identifier(int(value) if isinstance(value, float) and value.is_integer() else value)


def message(value: object) -> str | None:
    """Free text of at most 2,000 characters, on one line, or None. It is for people and never becomes a label."""
    if not isinstance(value, str):
        return None
    return clean(without_formats(value).strip()[:2000], " ") or None


def moment(value: object, recorded_at: int) -> int | None:
    """A time in milliseconds since 1970 UTC, or None if it is not known.

    Raises InvalidFieldError if the value is not a time, or a time before EARLIEST or more than MAX_AHEAD after
    `recorded_at`.
    """
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
    """A whole number from 0 to MAX_COUNT, or None if it is not known. Raises InvalidFieldError."""
    if isinstance(value, str) and _DIGITS.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or value == -1:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise InvalidFieldError
    return value
