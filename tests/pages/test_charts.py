"""Where the bars and points of charts are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.pages.charts import HEIGHT, WIDTH, Value, line_chart, strip

RUNS = st.lists(
    st.builds(
        Value,
        st.none() | st.floats(0, 1e18) | st.just(0.0),
        st.sampled_from(["success", "partial_success", "failed", "cancelled", "unknown", "another word"]),
        st.text(max_size=3),
    ),
    max_size=110,
)
EDGE = 0.02
"""Coordinates are rounded."""


@given(RUNS)
def test_every_bar_is_in_the_box(runs: list[Value]) -> None:
    """Each run has a bar that can be seen and lies in the box, beside the one before, whatever its duration."""
    bars = strip(runs, 100)
    assert [(bar.status, bar.label) for bar in bars] == [(run.status, run.label) for run in runs]
    right = -EDGE
    for bar in bars:
        assert right <= bar.x
        right = bar.x + bar.width
        assert right <= WIDTH + EDGE
        assert bar.height > 0
        assert bar.y >= -EDGE
        assert bar.y + bar.height == pytest.approx(HEIGHT, abs=EDGE)
        assert bool(bar.outline) == (bar.status == "failed")
        for corner in bar.outline.split():
            x, y = map(float, corner.split(","))
            assert bar.x - EDGE <= x <= right + EDGE
            assert bar.y - EDGE <= y <= HEIGHT + EDGE


def test_a_bar_is_as_high_as_its_run_was_long() -> None:
    """The longest run has the full height. So has a failed one, however short it was. The newest is on the right."""
    first, second, third = strip([Value(50, "success", ""), Value(1, "failed", ""), Value(100, "success", "")], 4)
    assert (first.height, second.height, third.height) == (50, 100, 100)
    assert first.x > WIDTH / 4
    assert third.x + third.width == pytest.approx(WIDTH, abs=WIDTH / 4 * 0.11)


@given(RUNS, st.none() | st.floats(0, 1e18))
def test_every_point_is_in_the_box(runs: list[Value], typical: float | None) -> None:
    """Each run with a value is in the line or has a mark, and all of them lie in the box."""
    chart = line_chart(runs, typical)
    known = [run for run in runs if run.value is not None]
    if chart is None:
        assert known == []
        return
    line = [tuple(map(float, point.split())) for point in chart.line.removeprefix("M").split("L") if point]
    assert len(line) + len(chart.marks) == len(known)
    for x, y in (*line, *((mark.x, mark.y) for mark in chart.marks)):
        assert 0 <= x <= WIDTH + EDGE
        assert -EDGE <= y <= HEIGHT + EDGE
    assert chart.typical is None or -EDGE <= chart.typical <= HEIGHT + EDGE
    assert (chart.typical is None) == (typical is None)


def test_a_failed_run_is_no_part_of_the_line() -> None:
    """The line goes through good runs alone. A failed run is a mark of its own, at the height of its value."""
    chart = line_chart([Value(10, "success", ""), Value(1, "failed", "x"), Value(20, "partial_success", "")], 15)
    assert chart is not None
    assert chart.line.count("L") == 1
    [mark] = chart.marks
    assert (mark.x, mark.status, mark.label) == (WIDTH / 2, "failed", "x")
    assert chart.largest == 20


def test_one_good_run_is_a_mark() -> None:
    """A line needs two points."""
    chart = line_chart([Value(10, "success", "")], None)
    assert chart is not None
    assert chart.line == ""
    assert len(chart.marks) == 1
