from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.metrics.checkpoint import decode, encode
from exporter.metrics.exposition import Format
from exporter.metrics.flows import Limits
from exporter.metrics.fold import Fold
from exporter.model import AlertState, ClockCorrection, FlowAlert, Forgotten, RecordedFact, Source, Status
from tests.metrics.facts import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    T0,
    exposition,
    fact_lists,
    limits,
    near_limits,
    recorded,
    run,
    value,
)

HOLD = 150 * SECOND
RUNS = "aep_flow_runs_total"
AHEAD = 46 * DAY


def correction(from_: int, to: int, position: int = 1000) -> RecordedFact:
    """A correction as the ledger returns it."""
    fact = ClockCorrection(from_=from_, to=to)
    return RecordedFact(position=position, received_at=to, source=Source.OPERATOR, fact=fact, counts=False)


def failed(fold: Fold, flow: str = "f1") -> float | None:
    """The number of failed runs that is shown."""
    return value(fold, RUNS, flow_id=flow, status="failed")


def outcome(number: int, at: int, ended_at: int | None = None, **fields: str) -> RecordedFact:
    """A failed run that Adobe ended at T0, or at another time."""
    fact = run(f"run-{number}", Status.FAILED, completed_at=T0 if ended_at is None else ended_at, **fields)
    return recorded(fact, number, at)


def ahead(*facts: RecordedFact, limits_: Limits | None = None) -> Fold:
    """A fold of a run at T0, of what a clock that is 46 days ahead recorded, and shown at that time."""
    fold = Fold(limits_ or limits(HOLD))
    fold.apply(outcome(1, T0))
    fold.advance(T0 + HOLD)
    assert failed(fold) == 1
    fold.advance(T0 + AHEAD)
    for fact in facts:
        fold.apply(fact)
    fold.advance(T0 + AHEAD)
    return fold


def test_what_age_has_hidden_is_shown_again() -> None:
    """A flow that only the wrong clock made silent is hidden, and shown again with its values."""
    fold = ahead()
    assert (failed(fold), fold.flows) == (None, 0)
    fold.apply(correction(T0 + AHEAD, T0 + MINUTE))
    fold.advance(T0 + MINUTE)
    assert (failed(fold), fold.flows, fold.now) == (1, 1, T0 + MINUTE)


def test_a_flow_that_returned_meanwhile_gets_both() -> None:
    """A flow that returned in the wrong time began anew, and after the correction has the runs of both times."""
    fold = ahead(outcome(2, T0 + AHEAD))
    # Not held, because by the wrong clock the run ended long ago.
    assert failed(fold) == 1
    fold.apply(correction(T0 + AHEAD, T0 + MINUTE))
    fold.advance(T0 + MINUTE)
    assert failed(fold) == 2
    assert value(fold, "aep_flow_consecutive_failures", flow_id="f1") == 2
    assert value(fold, "aep_flow_run_input_records_count") is None


def test_a_flow_whose_slot_was_taken_comes_back() -> None:
    """A flow whose slot another flow took is shown beside it after the correction."""
    fold = ahead(outcome(2, T0 + AHEAD, flow_id="f2"), limits_=limits(HOLD, max_flows=1))
    assert (failed(fold), failed(fold, "f2"), fold.flows) == (None, 1, 1)
    fold.apply(correction(T0 + AHEAD, T0 + MINUTE))
    fold.advance(T0 + MINUTE + HOLD)
    assert (failed(fold), failed(fold, "f2"), fold.flows) == (1, 1, 2)


def test_adobes_times_confirm_that_a_flow_has_expired() -> None:
    """A flow is forgotten for good once Adobe gave a time that is later than its expiry."""
    fold = ahead(outcome(2, T0 + AHEAD, T0 + AHEAD, flow_id="f2"))
    assert fold.state().set_aside == []
    fold = ahead(outcome(2, T0 + AHEAD, flow_id="f2"))
    assert [silent.key.flow_id for silent in fold.state().set_aside] == ["f1"]
    fold.apply(outcome(3, T0 + AHEAD + MINUTE, T0 + AHEAD, flow_id="f2"))
    assert fold.state().set_aside == []


def test_a_flow_that_had_expired_stays_away() -> None:
    """A flow that was silent for too long by the right clock too is not shown again."""
    fold = ahead(outcome(2, T0 + AHEAD, flow_id="f2"))
    fold.apply(correction(T0 + AHEAD, T0 + 45 * DAY + MINUTE))
    fold.advance(T0 + 45 * DAY + MINUTE)
    assert failed(fold) is None


def test_a_forgotten_flow_does_not_come_back() -> None:
    """A flow that was forgotten in the wrong time stays away after the correction."""
    fold = ahead(outcome(2, T0 + AHEAD, flow_id="f2"), recorded(Forgotten(flow_id="f1"), 3, T0 + AHEAD))
    fold.apply(correction(T0 + AHEAD, T0 + MINUTE))
    fold.advance(T0 + MINUTE)
    assert failed(fold) is None


def test_what_is_set_aside_is_bounded() -> None:
    """At most `max_flows` flows are set aside, and the longest silent goes first."""
    fold = Fold(limits(max_flows=3))
    for number in range(12):
        fold.apply(outcome(number, T0 + number * AHEAD, T0, flow_id=f"flow-{number}"))
    assert [silent.key.flow_id for silent in fold.state().set_aside] == ["flow-8", "flow-9", "flow-10"]


@pytest.mark.parametrize(("shown_at", "expected"), [(HOLD - 1, 0), (HOLD, 1)])
def test_a_series_is_held_on_only_if_it_was_held(shown_at: int, expected: int) -> None:
    """A series of the wrong time whose value was shown goes on to show it, and a held one is held as long once more."""
    fold = Fold(limits(HOLD))
    fold.apply(outcome(1, T0 + AHEAD, T0 + AHEAD))
    fold.advance(T0 + AHEAD + shown_at)
    assert failed(fold) == expected
    fold.apply(correction(T0 + AHEAD + shown_at, T0))
    for after, shown in ((0, expected), (HOLD - 1, expected), (HOLD, 1)):
        fold.advance(T0 + after)
        assert failed(fold) == shown


@pytest.mark.parametrize("ahead_by", [HOUR, 400 * DAY])
def test_a_step_forward_makes_nothing_older(ahead_by: int) -> None:
    """After a step forward flows, holds, alerts and runs in progress are as old as before."""
    fold = Fold(limits(HOLD))
    fold.apply(outcome(1, T0))
    fold.apply(recorded(run("going", Status.IN_PROGRESS), 2, T0))
    alert = FlowAlert(alert_id="a", name="delay", state=AlertState.FIRING, flow_id="f1", sandbox="prod")
    fold.apply(recorded(alert, 3, T0))
    fold.advance(T0 + MINUTE)
    before = exposition(fold)
    fold.apply(correction(T0 + MINUTE, T0 + MINUTE + ahead_by))
    fold.advance(T0 + MINUTE + ahead_by)
    assert exposition(fold) == before
    assert failed(fold) == 0
    fold.advance(T0 + HOLD + ahead_by)
    assert failed(fold) == 1
    fold.advance(T0 + DAY - 1 + ahead_by)
    assert value(fold, "aep_alert_firing") == 1
    fold.advance(T0 + DAY + ahead_by)
    assert value(fold, "aep_alert_firing") == 0
    fold.advance(T0 + 7 * DAY + ahead_by)
    assert value(fold, "aep_flow_runs_in_progress") == 0


def test_alerts_and_starts_of_the_right_time_come_back() -> None:
    """An alert and a run in progress that ended by the age of a wrong clock alone go on after the correction."""
    fold = Fold(limits(HOLD))
    fold.apply(recorded(run("going", Status.IN_PROGRESS), 1, T0))
    alert = FlowAlert(alert_id="a", name="delay", state=AlertState.FIRING, flow_id="f1", sandbox="prod")
    fold.apply(recorded(alert, 2, T0))
    for late, position in ((AHEAD, 3), (10 * DAY, 4)):
        fold.advance(T0 + late)
        fold.apply(outcome(position, T0 + late))
        fold.apply(correction(T0 + late, T0 + position * MINUTE))
        fold.advance(T0 + position * MINUTE)
        assert value(fold, "aep_alert_firing") == 1
        assert value(fold, "aep_flow_runs_in_progress") == 1


def story(draw: st.DrawFn, facts: list[RecordedFact]) -> list[RecordedFact]:
    """The same facts recorded by a clock that was set some times, with the corrections."""
    off = 0
    found: list[RecordedFact] = []
    for fact in facts:
        step = draw(st.sampled_from([0, 0, 0, 2 * HOUR, 46 * DAY, -2 * HOUR, -3 * DAY]))
        if step:
            before = fact.received_at + off
            found.append(correction(before, before + step, 10 * fact.position - 1))
            off += step
        found.append(replace(fact, position=10 * fact.position, received_at=fact.received_at + off))
    return found


stories = st.composite(lambda draw: story(draw, draw(fact_lists())))()


@given(stories, near_limits, st.data())
def test_folding_it_twice_changes_nothing(facts: list[RecordedFact], near: Limits, data: st.DataObject) -> None:
    """A correction that is folded again changes neither the state nor the exposition."""
    fold, twice = Fold(near), Fold(near)
    for fact in facts:
        late = data.draw(st.sampled_from([0, 0, MINUTE, HOUR]))
        for each, times in ((fold, 1), (twice, 2)):
            for _ in range(times if isinstance(fact.fact, ClockCorrection) else 1):
                each.apply(fact)
            each.advance(fact.received_at + late)
        assert encode(fold.state()) == encode(twice.state())
        assert exposition(fold) == exposition(twice)


@pytest.mark.parametrize("restart_after", range(4))
def test_a_restart_does_not_change_what_is_set_aside(restart_after: int) -> None:
    """Of flows that expired at the same moment, the same ones are set aside and put back after a restart."""
    alert = FlowAlert(alert_id="a", name="delay", state=AlertState.FIRING, flow_id="", sandbox="prod")
    facts = [
        # After the second run the check for the expiry of the flow is earlier than its expiry. A restart corrects that.
        outcome(1, T0),
        recorded(alert, 2, T0 + MINUTE),
        outcome(3, T0 + MINUTE),
        # Only one of the two that expired can be set aside.
        outcome(4, T0 + AHEAD, flow_id="f2"),
        correction(T0 + AHEAD, T0 + HOUR),
    ]
    undisturbed, restarted = (Fold(limits(max_flows=1)) for _ in range(2))
    for position, fact in enumerate(facts):
        undisturbed.apply(fact)
        restarted.apply(fact)
        if position == restart_after:
            checkpoint = encode(restarted.state())
            restarted = Fold(limits(max_flows=1))
            restarted.restore(decode(checkpoint))
    for fold in (undisturbed, restarted):
        fold.advance(T0 + HOUR)
    assert undisturbed.flows >= 1
    assert exposition(undisturbed) == exposition(restarted)


@given(stories, near_limits, st.data())
def test_restarts_change_nothing(facts: list[RecordedFact], near: Limits, data: st.DataObject) -> None:
    """The exposition is the same when a fold is saved and restored after any fact or correction."""
    undisturbed, restarted = Fold(near), Fold(near)
    end = T0
    for fact in facts:
        undisturbed.apply(fact)
        restarted.apply(fact)
        end = fact.received_at
        if data.draw(st.booleans()):
            for fold in (undisturbed, restarted):
                fold.advance(end)
        if data.draw(st.booleans()):
            checkpoint = encode(restarted.state())
            restarted = Fold(near)
            restarted.restore(decode(checkpoint))
    for late in sorted(data.draw(st.lists(st.integers(0, 60 * DAY), min_size=1, max_size=3))):
        for fold in (undisturbed, restarted):
            fold.advance(end + late)
        for format_ in Format:
            assert exposition(undisturbed, format_) == exposition(restarted, format_)
        assert len(undisturbed.series) == len(restarted.series)


@given(stories, near_limits, st.data())
def test_looking_changes_nothing(facts: list[RecordedFact], near: Limits, data: st.DataObject) -> None:
    """The exposition at the end is the same however often it was rendered at the times of the facts."""
    undisturbed, disturbed = Fold(near), Fold(near)
    for fact in facts:
        undisturbed.apply(fact)
        disturbed.apply(fact)
        if data.draw(st.booleans()):
            disturbed.advance(fact.received_at)
            exposition(disturbed)
    end = (facts[-1].received_at if facts else T0) + data.draw(st.integers(0, 60 * DAY))
    for fold in (undisturbed, disturbed):
        fold.advance(end)
    assert exposition(undisturbed) == exposition(disturbed)
