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
    SANDBOXES,
    TEMPLATES,
    Behaviour,
    Envelope,
    Schedule,
    Style,
    organisation,
)

seeds = st.integers(0, 10**18 - 1)


@given(seeds, st.integers(1, 60))
def test_an_organisation_depends_on_the_seed(seed: int, count: int) -> None:
    """The same seed gives the same flows, each with its own id, and another seed gives others."""
    flows = organisation(seed, count)
    assert flows == organisation(seed, count)
    assert len({flow.flow_id for flow in flows}) == len(flows) == count
    assert not {flow.flow_id for flow in flows} & {flow.flow_id for flow in organisation(seed + 1, count)}


@given(seeds, st.integers(1, 30), st.integers(0, 30))
def test_a_larger_organisation_begins_like_a_smaller(seed: int, count: int, more: int) -> None:
    """An additional flow does not change the others."""
    assert organisation(seed, count + more)[:count] == organisation(seed, count)


def test_names_differ() -> None:
    """Flows of the same template have different names."""
    flows = organisation(1, 3 * len(TEMPLATES))
    assert len({flow.name for flow in flows}) == len(flows)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (set(FlowKind), {template.kind for template in TEMPLATES}),
        (set(Behaviour), {template.behaviour for template in TEMPLATES}),
        (set(Style), {template.style for template in TEMPLATES}),
        (set(Envelope), {template.envelope for template in TEMPLATES if template.style is Style.EVENT}),
        (set(SANDBOXES), {flow.sandbox for flow in organisation(1, len(TEMPLATES))}),
    ],
    ids=["kinds", "behaviours", "styles", "envelopes", "sandboxes"],
)
def test_the_templates_cover_everything(wanted: set[str], found: set[str]) -> None:
    """As many flows as templates give every kind, behaviour, style, envelope and sandbox."""
    assert found == wanted


def test_only_sources_have_the_older_styles() -> None:
    """Only flows of sources have notifications in the older styles."""
    assert {template.kind for template in TEMPLATES if template.style is not Style.EVENT} == {FlowKind.SOURCE}


SCHEDULES = [
    pytest.param(Schedule(interval=HOUR), 5 * MINUTE, [5 * MINUTE, HOUR + 5 * MINUTE], id="hourly"),
    pytest.param(Schedule(interval=DAY, burst=3), 0, [0, 2 * MINUTE, 4 * MINUTE, DAY], id="three-a-night"),
    pytest.param(Schedule(interval=HOUR, hours=(8, 9)), 0, [8 * HOUR, DAY + 8 * HOUR], id="an-hour-a-day"),
    pytest.param(
        Schedule(interval=DAY, is_idle_at_weekends=True),
        HOUR,
        [*(d * DAY + HOUR for d in range(5)), 7 * DAY + HOUR],
        id="on-weekdays",
    ),
]


@pytest.mark.parametrize(("schedule", "offset", "wanted"), SCHEDULES)
def test_schedules(schedule: Schedule, offset: int, wanted: list[int]) -> None:
    """Runs start at their interval, within the hours and on the days of the schedule."""
    assert list(islice(schedule.starts(offset), len(wanted))) == wanted


@given(st.sampled_from([template.schedule for template in TEMPLATES]), st.integers(0, 10 * DAY))
def test_starts_come_in_order(schedule: Schedule, offset: int) -> None:
    """Each start follows the one before it by more than a start is delayed at random."""
    assert all(later - earlier > 20_000 for earlier, later in pairwise(islice(schedule.starts(offset), 50)))
