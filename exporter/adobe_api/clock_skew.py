"""How far this machine's clock is from Adobe's, by the headers of Adobe's answers.

An answer has the time at which it was made (`Date`, in whole seconds) and, if a cache gave it, for how many seconds it
was kept there (`Age`). It is compared with our clock half-way between request and answer. An answer that took long says
little about the time, and one with a header that makes no sense says nothing. Both are left out.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog

MAX_ROUND_TRIP: Final = 5.0
"""Seconds. The value is wrong by at most half of this, and by the second that the headers round."""
VALID_FOR: Final = 60 * 60.0
"""Seconds after an answer in which its value is shown."""
WRONG: Final = 120.0
"""Seconds of difference above which a warning is logged. The alert AEPExporterClockWrong has the same bound."""
RIGHT: Final = 60.0
"""Seconds of difference below which the clock is right again. It is less, so that the log does not alternate."""
_HALF_A_SECOND: Final = 0.5
"""`Date` is cut to whole seconds, so the time is half a second later on average."""
_EARLIEST_YEAR: Final = 2000

# RFC 9110, 5.6.7: the form of a date that a server sends. Python's own parsers accept much else.
_DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_AGE = re.compile(r"[0-9]{1,6}")

_log: structlog.stdlib.BoundLogger = structlog.get_logger("clock")


class ClockSkew:
    """The difference between our clock and Adobe's by the latest answer."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """`monotonic`: a clock in seconds that nobody sets."""
        self._monotonic = monotonic
        # One value, because a scrape reads it on another thread.
        self._latest: tuple[float, float] | None = None
        self._is_wrong = False

    def value(self) -> float | None:
        """Seconds by which our clock is ahead of Adobe's. Negative if it is behind.

        None before the first answer, and if the last one was more than an hour ago.
        """
        latest = self._latest
        if latest is None or self._monotonic() - latest[1] > VALID_FOR:
            return None
        return latest[0]

    def observe(self, date: str | None, age: str | None, sent_at: float, received_at: float) -> None:
        """Take the headers `Date` and `Age` of an answer, None for one that it does not have.

        `sent_at`, `received_at`: our clock before the request and after the answer's headers, in seconds since 1970.
        """
        skew = measure(date, age, sent_at, received_at)
        if skew is None:
            return
        self._latest = skew, self._monotonic()
        self._report(skew)

    def _report(self, skew: float) -> None:
        """Log once that the clock is wrong, and once that it is right again."""
        if not self._is_wrong and abs(skew) > WRONG:
            self._is_wrong = True
            _log.warning(
                "this machine's clock differs from Adobe's: set it right",
                seconds=round(abs(skew)),
                ours="ahead" if skew > 0 else "behind",
            )
        elif self._is_wrong and abs(skew) <= RIGHT:
            self._is_wrong = False
            _log.info("this machine's clock agrees with Adobe's again")


def measure(date: str | None, age: str | None, sent_at: float, received_at: float) -> float | None:
    """Seconds by which our clock is ahead of Adobe's, by one answer. None if the answer does not say.

    The arguments are those of `ClockSkew.observe`.
    """
    # Less than 0 means that our clock was set back in between.
    if date is None or not 0 <= received_at - sent_at <= MAX_ROUND_TRIP:
        return None
    made_at = _parse_date(date)
    if made_at is None or (age is not None and not _AGE.fullmatch(age)):
        return None
    adobes = made_at + _HALF_A_SECOND + int(age or 0)
    return (sent_at + received_at) / 2 - adobes


def _parse_date(text: str) -> float | None:
    """Seconds since 1970. None if the text is not a date of HTTP, or one before 2000."""
    matched = _DATE.fullmatch(text)
    if matched is None or matched[2] not in _MONTHS:
        return None
    day, month, year = int(matched[1]), _MONTHS.index(matched[2]) + 1, int(matched[3])
    try:
        moment = datetime(year, month, day, int(matched[4]), int(matched[5]), int(matched[6]), tzinfo=UTC)
    except ValueError:
        return None
    return moment.timestamp() if year >= _EARLIEST_YEAR else None
