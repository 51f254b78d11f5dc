import pytest

from exporter.metrics.failure_streak import (
    CODES_SHOWN,
    MAX_COMBINATIONS,
    add_runs,
    count_by_code,
    first_code,
    join_codes,
)

TEN = [f"CODE-{number:04}-500" for number in range(1, CODES_SHOWN + 1)]


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        pytest.param({}, {}, id="no runs"),
        pytest.param({"133": 2}, {"133": 2}, id="one code"),
        pytest.param({"133 2200": 1, "2200": 3}, {"133": 1, "2200": 4}, id="a run counts under each of its codes"),
        pytest.param({"133 2200": 1, "2200 133": 1}, {"133": 2, "2200": 2}, id="in any order"),
        pytest.param({"": 2, "133": 1}, {"133": 1, "none": 2}, id="runs without a code"),
        pytest.param({"other": 2, "133 other": 1}, {"133": 1, "other": 3}, id="codes beyond the limits"),
        pytest.param(dict.fromkeys(TEN, 2), dict.fromkeys(TEN, 2), id="ten codes"),
        pytest.param(
            {**dict.fromkeys(TEN, 2), "ZONE-1-500": 3},
            {**dict.fromkeys(TEN[:-1], 2), "ZONE-1-500": 3, "other": 2},
            id="the ten that most runs have",
        ),
        pytest.param(
            {**dict.fromkeys(TEN, 2), "ALPHA-1-500": 2},
            {"ALPHA-1-500": 2, **dict.fromkeys(TEN[:-1], 2), "other": 2},
            id="ties by code",
        ),
        pytest.param(
            {**dict.fromkeys(TEN, 2), "ZONE-1-500 ZONE-2-500 other": 1},
            {**dict.fromkeys(TEN, 2), "other": 1},
            id="a run counts once under other",
        ),
        pytest.param(
            {**dict.fromkeys(TEN, 2), f"{TEN[0]} ZONE-1-500": 1},
            {**dict.fromkeys(TEN, 2), TEN[0]: 3, "other": 1},
            id="a run counts under a code that is shown and under other",
        ),
        pytest.param(
            {**dict.fromkeys(TEN, 2), "other": 9, "": 9},
            {**dict.fromkeys(TEN, 2), "none": 9, "other": 9},
            id="other and none take no place of the ten",
        ),
    ],
)
def test_runs_are_counted_by_code(runs: dict[str, int], expected: dict[str, int]) -> None:
    """Each code has the number of runs that reported it, and beyond ten codes a run counts once as other."""
    assert count_by_code(runs) == expected


@pytest.mark.parametrize(
    ("codes", "expected"), [("", "none"), ("133", "133"), ("2200 133", "2200"), ("other 133", "other"), (None, "other")]
)
def test_the_first_code(codes: str | None, expected: str) -> None:
    """The first code is the one that was reported first, `none` without one, and `other` if nothing is known."""
    assert first_code(codes) == expected


def test_equal_codes_share_their_memory() -> None:
    """The codes of thousands of runs that report the same are one object."""
    assert join_codes(["133", "2200"]) is join_codes(iter(("133", "2200")))


def test_combinations_are_bounded() -> None:
    """However many combinations of codes runs have, their number is kept, and beyond the bound they are `other`."""
    counts: dict[str, int] = {}
    for number in range(3 * MAX_COMBINATIONS):
        add_runs(counts, f"2200 {number + 100}", 2)
    add_runs(counts, "100 2200")
    add_runs(counts, None)
    assert len(counts) == MAX_COMBINATIONS + 1
    assert sum(counts.values()) == 6 * MAX_COMBINATIONS + 2
    assert counts["100 2200"] == 3
    assert counts["other"] == 4 * MAX_COMBINATIONS + 1
