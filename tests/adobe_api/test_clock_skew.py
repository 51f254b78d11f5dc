"""Our clock against the dates of Adobe's answers."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import LogCapture

from exporter.adobe_api import clock_skew as module
from exporter.adobe_api.clock_skew import MAX_ROUND_TRIP, RIGHT, VALID_FOR, WRONG, ClockSkew, measure
from tests.adobe import failing

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


def date(seconds: float) -> str:
    """The header `Date` of an answer that was made then."""
    return format_datetime(datetime.fromtimestamp(int(seconds), UTC), usegmt=True)


@given(
    st.floats(NOON - 8e8, NOON + 8e8),
    st.floats(-1e7, 1e7),
    st.floats(0, MAX_ROUND_TRIP - 0.001),
    st.floats(0, 1),
    st.integers(0, 86400),
)
def test_the_error_is_bounded(now: float, skew: float, round_trip: float, share: float, age: int) -> None:
    """The value differs from the truth by at most half the round trip, and half a second for the whole seconds."""
    made_at = now + round_trip * share
    measured = measure(date(made_at - age), str(age), now + skew, now + skew + round_trip)
    assert measured is not None
    # Sums of large numbers are exact to a microsecond only.
    assert abs(measured - skew) <= round_trip / 2 + 0.5 + 1e-5


def test_the_sign() -> None:
    """The value is positive if our clock is ahead, and negative if it is behind."""
    assert measure(date(NOON), None, NOON + 600.5, NOON + 600.5) == 600
    assert measure(date(NOON), "0", NOON - 599.5, NOON - 599.5) == -600


NONSENSE: dict[str, tuple[str | None, str | None]] = {
    "no date": (None, None),
    "an empty date": ("", None),
    "words": ("yesterday", None),
    "a number": ("1772366400", None),
    "ISO 8601": ("2026-03-01T12:00:00Z", None),
    "another zone": ("Sun, 01 Mar 2026 12:00:00 +0100", None),
    "an old form": ("Sunday, 01-Mar-26 12:00:00 GMT", None),
    "no such month": ("Sun, 01 Foo 2026 12:00:00 GMT", None),
    "no such day": ("Sun, 31 Feb 2026 12:00:00 GMT", None),
    "no such hour": ("Sun, 01 Mar 2026 25:00:00 GMT", None),
    "year 0": ("Sun, 01 Mar 0000 12:00:00 GMT", None),
    "the epoch": ("Thu, 01 Jan 1970 00:00:00 GMT", None),
    "two dates": (f"{date(NOON)}, {date(NOON)}", None),
    "a negative age": (date(NOON), "-1"),
    "an age in words": (date(NOON), "old"),
    "half a second of age": (date(NOON), "0.5"),
    "an empty age": (date(NOON), ""),
    "an age of centuries": (date(NOON), "9" * 12),
    "two ages": (date(NOON), "1, 1"),
}


def test_nonsense_is_left_out() -> None:
    """An answer whose headers make no sense says nothing."""

    def check(headers: tuple[str | None, str | None]) -> None:
        assert measure(*headers, NOON, NOON) is None

    assert failing(NONSENSE, check) == {}


@given(st.text(), st.text())
def test_any_headers(date: str, age: str) -> None:
    """No header causes an exception."""
    measure(date, age, NOON, NOON)


def test_slow_answers_are_left_out() -> None:
    """An answer that took too long, or came before it was asked for, says nothing."""
    assert measure(date(NOON), None, NOON, NOON + MAX_ROUND_TRIP) is not None
    assert measure(date(NOON), None, NOON, NOON + MAX_ROUND_TRIP + 0.01) is None
    assert measure(date(NOON), None, NOON, NOON - 0.01) is None


class Clock:
    """A monotonic clock, and the skew under test."""

    def __init__(self) -> None:
        self.now = 0.0
        self.skew = ClockSkew(lambda: self.now)

    def observe(self, seconds: float) -> float | None:
        """Take an answer by which our clock is ahead by so many seconds. Returns the value."""
        ours = NOON + 0.5 + seconds
        self.skew.observe(date(NOON), None, ours, ours)
        return self.skew.value()


def test_when_there_is_a_value() -> None:
    """There is no value before the first answer and an hour after the last. An answer that says nothing is none."""
    clock = Clock()
    assert clock.skew.value() is None
    assert clock.observe(3) == 3
    clock.now += VALID_FOR
    assert clock.skew.value() == 3
    clock.skew.observe(None, None, NOON, NOON)
    clock.now += 1
    assert clock.skew.value() is None
    assert clock.observe(-4) == -4


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> LogCapture:
    """What is logged."""
    capture = LogCapture()
    monkeypatch.setattr(module, "_log", structlog.wrap_logger(None, processors=[capture]))
    return capture


def test_the_log(logged: LogCapture) -> None:
    """A wrong clock is logged once, with its direction, and once more when it is right again."""
    clock = Clock()
    for seconds in (0, WRONG, -WRONG - 1, -WRONG - 2, WRONG + 1, RIGHT + 1, RIGHT, 0, WRONG + 5):
        clock.observe(seconds)
    levels = [(entry["log_level"], entry.get("seconds"), entry.get("ours")) for entry in logged.entries]
    assert levels == [("warning", 121, "behind"), ("info", None, None), ("warning", 125, "ahead")]
