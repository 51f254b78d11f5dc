from itertools import pairwise
from random import Random

import pytest

from benchmarks.cadences import DAY, HOUR, MINUTE, OTHERS, TEN, THREE_WEEKS
from benchmarks.overdue import (
    A_NIGHT,
    CHOSEN,
    DRAFT,
    NEVER,
    QUARTER,
    STOPS,
    Computed,
    Floor,
    Flow,
    Told,
    alarms,
    lives,
    measure,
)


def looked_at(rule: Computed, flow: Flow) -> list[int]:
    """When the alert fires, found the slow way: the limit is worked out anew at every tick of the clock."""
    fired: list[int] = []
    since: int | None = None
    for told, following in pairwise(flow.told):
        for now in range(told.delivered, following.delivered):
            if told.interval is None or now - told.completed < limit(rule, told, told.interval, now - flow.learned_at):
                since = None
                continue
            since = now if since is None else since
            # An alarm that ends with the next notification has fired if it was held until then.
            if now + 1 - since == rule.hold:
                fired.append(since + rule.hold)
    return fired


def limit(rule: Computed, told: Told, interval: int, age: int) -> int:
    """The longest silence that the rule allows the flow at this age."""
    floors = [
        floor.silence
        for floor in rule.floors
        if told.runs < floor.runs_below
        and age < floor.memory
        and floor.interval_from <= interval < floor.interval_below
    ]
    return max(int(rule.multiplier * interval) + rule.slack, *floors, 0)


def some_flow(random: Random) -> Flow:
    """Notifications in no order that a flow would have, in ticks."""
    moments = sorted(random.sample(range(600), 12))
    told = [
        Told(moment, max(0, moment - random.randrange(30)), runs, random.choice([None, 5, 20, 60]))
        for runs, moment in enumerate(moments, start=1)
    ]
    return Flow(told, 0, 600)


def some_rule(random: Random) -> Computed:
    """A rule with floors of every kind, in ticks."""
    floors = [
        Floor(
            silence=random.randrange(120),
            runs_below=random.choice([NEVER, random.randrange(12)]),
            memory=random.choice([NEVER, random.randrange(400)]),
            interval_from=random.choice([0, 20]),
            interval_below=random.choice([NEVER, 60]),
        )
        for _ in range(random.randrange(4))
    ]
    return Computed(
        name="some", multiplier=1.5, slack=random.randrange(20), hold=random.randrange(1, 20), floors=tuple(floors)
    )


def test_alarms_are_those_that_looking_at_every_moment_finds() -> None:
    """What is worked out agrees with a rule that is evaluated at every tick."""
    random = Random(4)
    found = 0
    for _ in range(200):
        rule, flow = some_rule(random), some_flow(random)
        expected = looked_at(rule, flow)
        assert alarms(rule, flow) == expected
        found += len(expected)
    assert found > 200


@pytest.mark.parametrize("cadence", TEN)
def test_the_chosen_rule_is_silent_and_in_time(cadence: str) -> None:
    """A flow that runs as it always does raises no alarm, and one that stops does so in 1.5 intervals and 30 min."""
    measured = measure(CHOSEN, lives(cadence, TEN[cadence], seeds=1))
    assert (measured.early_alarms, measured.later_alarms) == (0, 0)
    assert len(measured.delays) == STOPS
    assert measured.excess == pytest.approx(0)


@pytest.mark.parametrize("cadence", ["daily, five audiences", "hourly, office hours", "working days"])
def test_the_draft_is_wrong_about_new_flows(cadence: str) -> None:
    """Without a floor, the first nights and weekends of a flow are alarms: the simulation sees them."""
    assert measure(DRAFT, lives(cadence, TEN[cadence], seeds=2)).early_alarms > 0


def test_a_new_quarter_hourly_flow_is_watched_after_a_day() -> None:
    """A floor delays the alarm of a frequent flow by a night at most, and only on the flow's first day."""
    (flow,) = lives("every 15 min", TEN["every 15 min"], seeds=1)
    overdue = {told.runs: CHOSEN.overdue_from(told, flow.learned_at) - told.completed for told in flow.told[10:200]}
    assert overdue[11] == overdue[99] == A_NIGHT
    assert all(silence < HOUR for runs, silence in overdue.items() if runs >= 100)
    assert flow.told[99].completed - flow.start < DAY + 2 * HOUR


def test_flows_live_through_their_warm_up_and_a_quarter() -> None:
    """Completions are in order and within the flow's life, and each is told within minutes."""
    for name, schedule in {**TEN, **OTHERS}.items():
        if name.startswith("every 15 min"):
            continue
        (flow,) = lives(name, schedule, seeds=1)
        completed = [told.completed for told in flow.told]
        assert completed == sorted(completed)
        assert flow.start < completed[0] < completed[-1] < flow.end == flow.start + schedule.warm_up + QUARTER
        assert all(0 < told.delivered - told.completed <= 6 * MINUTE for told in flow.told)
        assert schedule.warm_up >= THREE_WEEKS
