"""What pages get to know of flows: the summaries, beside the gauges of the same flows."""

from hypothesis import given
from hypothesis import strategies as st

from exporter.metrics.flow_summaries import CurrentFlows
from exporter.metrics.fold import Fold
from exporter.model import FlowKey, RecordedFact, Status
from tests.metrics.facts import DAY, HOUR, T0, exposition, fact_lists, folded, limits, recorded, run


@given(fact_lists(), st.sets(st.integers(0, 25)), st.integers(0, 60))
def test_a_summary_does_not_depend_on_when_it_was_asked_for(
    facts: list[RecordedFact], asked_after: set[int], days: int
) -> None:
    """Summaries are the same whether somebody asked for them before or not."""
    now = T0 + days * DAY
    asked = Fold(limits())
    for number, fact in enumerate(facts):
        asked.apply(fact)
        if number in asked_after:
            asked.advance(fact.received_at)
            asked.current_flows()
    asked.advance(now)
    unasked = folded(facts, now)
    assert asked.current_flows() == unasked.current_flows()
    assert asked.current_flows() == unasked.current_flows()


@given(fact_lists(), st.integers(0, 60))
def test_summaries_are_of_the_flows_that_have_an_info_series(facts: list[RecordedFact], days: int) -> None:
    """Pages show the flows that /metrics shows, and each with the number of failures that its gauge has."""
    fold = folded(facts, T0 + days * DAY)
    text = exposition(fold)
    flows = fold.current_flows().flows
    assert len(flows) == text.count("\naep_flow_info{")
    failures = sum(summary.streak.failures for summary in flows.values())
    shown = [line for line in text.splitlines() if line.startswith("aep_flow_consecutive_failures{")]
    assert failures == sum(float(line.rpartition(" ")[2]) for line in shown)


def current(*facts: RecordedFact, now: int) -> CurrentFlows:
    """The flows after these facts."""
    return folded(facts, now).current_flows()


def test_a_flow_is_abandoned_after_two_days_or_three_intervals() -> None:
    """The failure of a flow that ran once no longer matters after two days, that of a rare flow after longer."""
    once = recorded(run("r1", Status.FAILED, completed_at=T0), 1, T0)
    weekly = [
        recorded(run(f"w{n}", flow_id="weekly", completed_at=T0 + 7 * n * DAY), n + 2, T0 + 7 * n * DAY)
        for n in range(6)
    ]
    rare, now = FlowKey("weekly", "prod"), T0 + 35 * DAY + 3 * DAY
    flows = current(once, *weekly, now=now).flows
    assert flows[FlowKey("f1", "prod")].is_abandoned(now)
    assert not flows[FlowKey("f1", "prod")].is_abandoned(T0 + 2 * DAY)
    assert not flows[rare].is_abandoned(now)
    assert flows[rare].is_abandoned(T0 + 35 * DAY + 22 * DAY)


def test_a_flow_beyond_the_limit_is_named() -> None:
    """Who asks for a flow that is counted as other gets to know it."""
    fold = Fold(limits(max_flows=1))
    for number, flow_id in enumerate(["a", "b"]):
        fold.apply(recorded(run(f"r{number}", flow_id=flow_id, completed_at=T0), number + 1, T0 + HOUR))
    fold.advance(T0 + HOUR)
    found = fold.current_flows()
    assert set(found.flows) == {FlowKey("a", "prod")}
    assert set(found.without_slot) == {FlowKey("b", "prod")}
    assert found.overflowed == 1
