"""Simulated moments to real ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.simulate.clock import Clock
from exporter.simulate.organisation import DAY, HOUR
from tests.simulate.weeks import PRESENT


@pytest.mark.parametrize(
    ("clock", "moment", "real"),
    [
        pytest.param(Clock(present=PRESENT), 0, PRESENT, id="now"),
        pytest.param(Clock(present=PRESENT), HOUR, PRESENT + HOUR, id="at-its-own-pace"),
        pytest.param(Clock(present=PRESENT, speed=672.0), 7 * DAY, PRESENT + 900_000, id="compressed"),
        pytest.param(Clock(present=PRESENT, speed=0.5), HOUR, PRESENT + 2 * HOUR, id="slowed-down"),
        pytest.param(
            Clock(present=PRESENT, history=DAY, speed=672.0), 0, PRESENT - DAY, id="history-is-not-compressed"
        ),
        pytest.param(Clock(present=PRESENT, history=DAY, speed=24.0), 2 * DAY, PRESENT + HOUR, id="after-history"),
    ],
)
def test_moments(clock: Clock, moment: int, real: int) -> None:
    """History happened at its own pace and ends now; what comes after goes by at the speed that was asked for."""
    assert clock.real(moment) == real


@given(st.integers(0, 30 * DAY), st.floats(0.01, 1e6), st.integers(0, 60 * DAY), st.integers(0, 60 * DAY))
def test_time_does_not_run_backwards(history: int, speed: float, moment: int, later: int) -> None:
    """What comes later comes later."""
    clock = Clock(present=PRESENT, history=history, speed=speed)
    assert clock.real(moment) <= clock.real(moment + later)
