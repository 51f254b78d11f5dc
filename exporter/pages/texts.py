"""How pages write times, numbers, sizes and texts that others sent."""

import shlex
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from exporter.plain_text import with_escapes

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HALF_A_DAY: Final = 12 * 60 * 60 * 1000
_TIME_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
"""Seconds of each unit of time."""
_STATUS_WORDS: Final = {
    "success": "succeeded",
    "partial_success": "succeeded in part",
    "in_progress": "in progress",
}
_UNITS: Final = ("bytes", "KiB", "MiB", "GiB")


def time(milliseconds: int | None) -> str:
    """A time in UTC to the second: `2026-11-27 21:58:04 UTC`. A time that no calendar has is `unknown`."""
    moment = _moment(milliseconds)
    return "unknown" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def short_time(milliseconds: int | None, now: int) -> str:
    """A time in UTC to the minute: `21:58 UTC` within twelve hours, else `2026-11-27 21:58 UTC`."""
    moment = _moment(milliseconds)
    if moment is None or milliseconds is None:
        return "unknown"
    near = abs(now - milliseconds) < _HALF_A_DAY
    return f"{moment:%H:%M} UTC" if near else f"{moment:%Y-%m-%d %H:%M} UTC"


def ago(milliseconds: int | None, now: int) -> str:
    """How long ago a time was, or how far ahead it is, in one unit: `4 h ago`, `in 7 min`, `now`."""
    if milliseconds is None:
        return "unknown"
    seconds = (now - milliseconds) / 1000
    if abs(seconds) < 1:
        return "now"
    text = _in_one_unit(abs(seconds))
    return f"{text} ago" if seconds > 0 else f"in {text}"


def duration(seconds: float | None) -> str:
    """A duration in at most two units: `31 s`, `4 min 12 s`, `2 h 5 min`, `3 d 4 h`. `unknown` if it is not known."""
    if seconds is None:
        return "unknown"
    if 0 < seconds < 1:
        return f"{seconds:.2g} s"
    # The smaller unit is cut, not rounded, so that nothing shows as 60 s or 24 h.
    left = int(seconds)
    for (size_, unit), (smaller, smaller_unit) in pairwise(_TIME_UNITS):
        if left >= size_:
            rest = left % size_ // smaller
            return f"{left // size_:,} {unit} {rest} {smaller_unit}" if rest else f"{left // size_:,} {unit}"
    return f"{left} s"


def _in_one_unit(seconds: float) -> str:
    for size_, unit in _TIME_UNITS:
        if seconds >= size_:
            return f"{int(seconds // size_):,} {unit}"
    return "1 s"


def iso_time(milliseconds: int | None) -> str:
    """A time as HTML's `datetime` takes it: `2026-11-27T21:58:04Z`. Empty if it is unknown."""
    moment = _moment(milliseconds)
    return "" if moment is None else f"{moment:%Y-%m-%dT%H:%M:%S}Z"


def status_words(status: str | None) -> str:
    """The status of a run in words: `succeeded`, `succeeded in part`, `failed` and so on."""
    return _STATUS_WORDS.get(status or "unknown", status or "unknown")


def number(value: int) -> str:
    """A whole number with its thousands apart: `12,345`."""
    return f"{value:,}"


def size(count: int) -> str:
    """A number of bytes: `812 bytes`, `64 KiB`, `1.5 MiB`."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.3g} {_UNITS[unit]}" if value < 1000 else f"{value:.0f} {_UNITS[unit]}"


def shown(text: str, limit: int = 100) -> str:
    """A text that others sent, on one line and at most so long. What a reader could not see is escaped."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return with_escapes(cut).replace("\n", "\\n").replace("\t", "\\t")


def shell_word(text: str) -> str:
    """A text as one word of a shell's command line, on one line."""
    return shlex.quote(with_escapes(text).replace("\n", "\\n"))


def body(content: bytes, limit: int) -> str:
    """The first bytes of a body as text. What a reader could not see is escaped as JSON does it."""
    # A character that the limit cuts is left out. Other damage is shown as U+FFFD.
    cut = content[:limit]
    if len(content) > limit:
        end = limit
        while end > max(limit - 4, 0) and content[end] & 0xC0 == 0x80:
            end -= 1
        cut = content[:end]
    return with_escapes(cut.decode(errors="replace"))


def _moment(milliseconds: int | None) -> datetime | None:
    if milliseconds is None:
        return None
    try:
        moment = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None
    # strftime writes years below 1000 differently from system to system.
    return moment if moment.year >= 1000 else None
