"""Seed and number of flows to an organisation."""

from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import FlowKind
from exporter.simulate.organisation import (
    DAY,
    HOUR,
    MINUTE,
    PARTS,
    SANDBOXES,
    Cadence,
    Habit,
    Style,
    Wrapper,
    organisation,
)

seeds = st.integers(0, 10**18 - 1)


@given(seeds, st.integers(1, 60))
def test_a_seed_is_an_organisation(seed: int, count: int) -> None:
    """The same seed gives the same flows, each with an id of its own; another seed gives others."""
    flows = organisation(seed, count)
    assert flows == organisation(seed, count)
    assert len({flow.flow_id for flow in flows}) == len(flows) == count
    assert not {flow.flow_id for flow in flows} & {flow.flow_id for flow in organisation(seed + 1, count)}


@given(seeds, st.integers(1, 30), st.integers(0, 30))
def test_a_larger_organisation_begins_like_a_smaller(seed: int, count: int, more: int) -> None:
    """One flow more changes no other."""
    assert organisation(seed, count + more)[:count] == organisation(seed, count)


def test_names_differ() -> None:
    """Flows that play the same part are told apart by their names."""
    flows = organisation(1, 3 * len(PARTS))
    assert len({flow.name for flow in flows}) == len(flows)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (set(FlowKind), {part.kind for part in PARTS}),
        (set(Habit), {part.habit for part in PARTS}),
        (set(Style), {part.style for part in PARTS}),
        (set(Wrapper), {part.wrapper for part in PARTS if part.style is Style.EVENT}),
        (set(SANDBOXES), {flow.sandbox for flow in organisation(1, len(PARTS))}),
    ],
    ids=["kinds", "habits", "styles", "wrappers", "sandboxes"],
)
def test_everything_is_played(wanted: set[str], found: set[str]) -> None:
    """As many flows as parts are enough for every kind, habit, style, wrapper and sandbox."""
    assert found == wanted


def test_only_sources_are_told_of_in_the_older_styles() -> None:
    """The older notifications are those of sources: other flows have none."""
    assert {part.kind for part in PARTS if part.style is not Style.EVENT} == {FlowKind.SOURCE}


CADENCES = [
    pytest.param(Cadence(interval=HOUR), 5 * MINUTE, [5 * MINUTE, HOUR + 5 * MINUTE], id="hourly"),
    pytest.param(Cadence(interval=DAY, burst=3), 0, [0, 2 * MINUTE, 4 * MINUTE, DAY], id="three-a-night"),
    pytest.param(Cadence(interval=HOUR, hours=(8, 9)), 0, [8 * HOUR, DAY + 8 * HOUR], id="an-hour-a-day"),
    pytest.param(
        Cadence(interval=DAY, is_idle_at_weekends=True),
        HOUR,
        [*(d * DAY + HOUR for d in range(5)), 7 * DAY + HOUR],
        id="on-weekdays",
    ),
]


@pytest.mark.parametrize(("cadence", "offset", "wanted"), CADENCES)
def test_cadences(cadence: Cadence, offset: int, wanted: list[int]) -> None:
    """Runs begin in their slots, within the hours and on the days that the cadence names."""
    assert list(islice(cadence.starts(offset), len(wanted))) == wanted


@given(st.sampled_from([part.cadence for part in PARTS]), st.integers(0, 10 * DAY))
def test_slots_come_in_order(cadence: Cadence, offset: int) -> None:
    """Each slot comes after the one before it, by more than the jitter of a start."""
    assert all(later - earlier > 20_000 for earlier, later in pairwise(islice(cadence.starts(offset), 50)))
