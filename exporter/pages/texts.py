"""How pages write times, numbers, sizes and texts that others sent."""

from datetime import UTC, datetime, timedelta
from typing import Final

from exporter.plain_text import with_escapes

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS: Final = ("bytes", "KiB", "MiB", "GiB")


def time(milliseconds: int | None) -> str:
    """A time in UTC to the second: `2026-11-27 21:58:04 UTC`. A time that no calendar has is `unknown`."""
    moment = _moment(milliseconds)
    return "unknown" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def iso_time(milliseconds: int | None) -> str:
    """A time as HTML's `datetime` takes it: `2026-11-27T21:58:04Z`. Empty if it is unknown."""
    moment = _moment(milliseconds)
    return "" if moment is None else f"{moment:%Y-%m-%dT%H:%M:%S}Z"


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
