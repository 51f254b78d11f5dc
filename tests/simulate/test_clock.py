"""The conversion of simulated moments to real ones."""

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
        pytest.param(Clock(present=PRESENT, past=DAY, speed=672.0), 0, PRESENT - DAY, id="the-past-is-not-compressed"),
        pytest.param(Clock(present=PRESENT, past=DAY, speed=24.0), 2 * DAY, PRESENT + HOUR, id="after-the-past"),
    ],
)
def test_moments(clock: Clock, moment: int, real: int) -> None:
    """The simulated past passes at its own pace and ends now, and the time after it at the requested speed."""
    assert clock.real(moment) == real


@given(st.integers(0, 30 * DAY), st.floats(0.01, 1e6), st.integers(0, 60 * DAY), st.integers(0, 60 * DAY))
def test_time_does_not_run_backwards(past: int, speed: float, moment: int, later: int) -> None:
    """A later simulated moment is never an earlier real one."""
    clock = Clock(present=PRESENT, past=past, speed=speed)
    assert clock.real(moment) <= clock.real(moment + later)
