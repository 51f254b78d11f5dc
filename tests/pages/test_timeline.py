"""The geometry of a run's activities."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.pages.timeline import MIN_WIDTH, WIDTH, Bar, Stretch, timeline

TIMES = st.none() | st.integers(-(1 << 62), 1 << 62) | st.integers(0, 3)
STRETCHES = st.builds(Stretch, started_at=TIMES, completed_at=TIMES)


def stretch(started_at: int | None, completed_at: int | None) -> Stretch:
    """A stretch of time."""
    return Stretch(started_at=started_at, completed_at=completed_at)


@pytest.mark.parametrize(
    ("activity", "bar"),
    [
        (stretch(1_000, 1_500), Bar(x=0, width=500, is_open=False, offset=0)),
        (stretch(1_500, 2_000), Bar(x=500, width=500, is_open=False, offset=500)),
        (stretch(1_250, 1_251), Bar(x=250, width=MIN_WIDTH, is_open=False, offset=250)),
        (stretch(2_000, 2_000), Bar(x=WIDTH - MIN_WIDTH, width=MIN_WIDTH, is_open=False, offset=1_000)),
        (stretch(1_100, None), Bar(x=100, width=MIN_WIDTH, is_open=True, offset=100)),
        (stretch(None, 1_100), Bar(x=100, width=MIN_WIDTH, is_open=True, offset=100)),
        (stretch(1_900, 1_100), Bar(x=100, width=800, is_open=False, offset=100)),
        (stretch(None, None), None),
    ],
)
def test_a_bar_is_where_its_activity_is(activity: Stretch, bar: Bar | None) -> None:
    """A bar begins and ends in proportion. A short one can still be seen, and times in the wrong order are turned."""
    found = timeline(stretch(1_000, 2_000), [activity, stretch(1_000, 2_000)])
    assert found is not None
    assert found.bars[0] == bar
    assert found.seconds == 1


def test_an_activity_outside_of_its_run_makes_the_line_longer() -> None:
    """Nothing is cut off, whatever the times of the run are."""
    found = timeline(stretch(1_000, 2_000), [stretch(500, 3_000), stretch(1_000, 2_000)])
    assert found is not None
    assert (found.started_at, found.completed_at) == (500, 3_000)
    assert found.bars[1] == Bar(x=200, width=400, is_open=False, offset=500)


def test_there_is_no_line_without_times() -> None:
    """A run whose activities have no times has no chart, even if the run itself has times."""
    assert timeline(stretch(1, 2), []) is None
    assert timeline(stretch(1, 2), [stretch(None, None)]) is None


@given(STRETCHES, st.lists(STRETCHES, max_size=6))
def test_every_bar_is_inside(run: Stretch, activities: list[Stretch]) -> None:
    """Whatever the times are, each bar lies within the line and is wide enough to be seen."""
    found = timeline(run, activities)
    if found is None:
        assert all(each == Stretch() for each in activities)
        return
    assert len(found.bars) == len(activities)
    assert found.seconds >= 0
    for activity, bar in zip(activities, found.bars, strict=True):
        assert (bar is None) == (activity == Stretch())
        if bar is not None:
            assert bar.x >= 0
            assert bar.x + bar.width <= WIDTH
            assert bar.width >= MIN_WIDTH
            assert bar.offset >= 0
