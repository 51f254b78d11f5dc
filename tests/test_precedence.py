"""Deliveries go before pages."""

from collections.abc import Callable

import pytest

from exporter.precedence import ALLOWANCE, LONGEST, Precedence


class Time:
    """A clock that goes on while a thread sleeps."""

    def __init__(self, after_sleep: Callable[[float], None] = lambda _slept: None) -> None:
        self.now = 0.0
        self._after_sleep = after_sleep

    def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        self.now += seconds
        self._after_sleep(self.now)


def test_a_page_waits_for_a_delivery() -> None:
    """The thread of a page waits until no delivery is being taken."""

    def end_soon(slept: float) -> None:
        if slept > LONGEST / 2:
            precedence.__exit__(None, None, None)

    time = Time(end_soon)
    precedence = Precedence(lambda: time.now, time.sleep)
    precedence.__enter__()
    precedence.begin_page()
    precedence.give_way()
    assert LONGEST / 2 < time.now < LONGEST


def test_a_page_waits_only_for_so_long() -> None:
    """However many deliveries there are, a page has its allowance and no more. The next page has one of its own."""
    time = Time()
    precedence = Precedence(lambda: time.now, time.sleep)
    with precedence:
        precedence.give_way()
        assert time.now == pytest.approx(LONGEST, abs=0.002)
        for page in (1, 2):
            for _ in range(100):
                precedence.give_way()
            assert time.now == pytest.approx(page * ALLOWANCE, abs=0.002 * page)
            precedence.begin_page()


def test_without_deliveries_nothing_waits() -> None:
    """While no delivery is being taken, nothing waits."""
    time = Time()
    precedence = Precedence(lambda: time.now, time.sleep)
    with precedence:
        pass
    precedence.give_way()
    assert time.now == 0
