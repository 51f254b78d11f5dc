"""What pages get to know of flows: the summaries, beside the gauges of the same flows."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.metrics.checkpoint import decode, encode
from exporter.metrics.flow_summaries import CurrentFlows, FlowSummary
from exporter.metrics.fold import Fold
from exporter.model import AlertState, Fact, Flow, FlowAlert, FlowKey, FlowKind, RecordedFact, Status
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


F1 = FlowKey("f1", "prod")
HOURLY = [recorded(run(f"h{n}", completed_at=T0 + n * HOUR), n + 1, T0 + n * HOUR) for n in range(6)]
"""Six runs, an hour apart."""
LAST = T0 + 5 * HOUR


def f1(facts: Iterable[RecordedFact], now: int) -> FlowSummary:
    """The summary of the flow of these facts."""
    return folded(facts, now).current_flows().flows[F1]


def fails(run_id: str, at: int, **fields: Any) -> RecordedFact:
    """A run that failed, recorded when it ended."""
    return recorded(run(run_id, Status.FAILED, completed_at=at, **fields), 1000 + at % 1000, at)


def enabled(at: int, *, is_enabled: bool) -> RecordedFact:
    """The Flow Service's word about the flow."""
    return recorded(Flow(flow_id="f1", sandbox="prod", enabled=is_enabled), 2000, at)


def starts(at: int) -> RecordedFact:
    """The start of a run."""
    return recorded(run("open", Status.IN_PROGRESS, started_at=at), 3000, at)


def takes(seconds: int) -> list[RecordedFact]:
    """Three runs of this duration, the last of which ended at T0."""
    return [
        recorded(
            run(f"t{n}", completed_at=T0 - n * HOUR, started_at=T0 - n * HOUR - seconds * 1000), 10 - n, T0 - n * HOUR
        )
        for n in (2, 1, 0)
    ]


def reads(*records: int) -> list[RecordedFact]:
    """Runs that read so many records, one an hour. The first ended at T0."""
    return [
        recorded(run(f"z{n}", completed_at=T0 + n * HOUR, records=(("input", count),)), n + 1, T0 + n * HOUR)
        for n, count in enumerate(records)
    ]


@pytest.mark.parametrize(
    ("facts", "after", "expected"),
    [
        pytest.param([fails("r", T0)], 2 * DAY, True, id="failed"),
        pytest.param([fails("r", T0)], 2 * DAY + 1, True, id="abandoned"),
        pytest.param([fails("r", T0), enabled(T0, is_enabled=False)], HOUR, False, id="disabled"),
        pytest.param([fails("r", T0), enabled(T0, is_enabled=True)], HOUR, True, id="enabled"),
        pytest.param([fails("r", T0), recorded(run(completed_at=T0 + 1), 9, T0 + 1)], HOUR, False, id="succeeded"),
    ],
)
def test_a_flow_needs_repair(facts: list[RecordedFact], after: int, expected: bool) -> None:
    """A flow that fails needs repair, unless it is disabled, also if it is abandoned."""
    assert f1(facts, T0 + after).needs_repair is expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param(HOURLY, True, id="silent"),
        pytest.param([*HOURLY, enabled(LAST, is_enabled=False)], False, id="disabled"),
        pytest.param(HOURLY[:2], False, id="no usual silence"),
    ],
)
def test_a_flow_is_overdue(facts: list[RecordedFact], expected: bool) -> None:
    """A flow is overdue after the time of its gauge, also when it is abandoned: AEPFlowOverdue."""
    summary = f1(facts, LAST)
    at = summary.overdue_at or LAST
    assert not summary.is_overdue(at)
    for later in (at + 1, at + 10 * DAY):
        assert summary.is_overdue(later) is expected


@pytest.mark.parametrize(
    ("facts", "after", "expected"),
    [
        pytest.param([], 6 * HOUR, False, id="six hours without a typical duration"),
        pytest.param([], 6 * HOUR + 1, True, id="longer without a typical duration"),
        pytest.param(takes(60), HOUR, False, id="an hour, where a minute is typical"),
        pytest.param(takes(60), HOUR + 1, True, id="longer than an hour"),
        pytest.param(takes(7200), 6 * HOUR, False, id="three typical durations"),
        pytest.param(takes(7200), 6 * HOUR + 1, True, id="longer than three typical durations"),
    ],
)
def test_a_run_is_stuck(facts: list[RecordedFact], after: int, expected: bool) -> None:
    """A run is stuck after three typical durations, at least an hour, and six where none is known: AEPFlowRunStuck."""
    now = T0 + after
    assert f1([*facts, starts(T0)], now).is_stuck(now) is expected
    assert not f1([*facts, starts(T0), enabled(T0, is_enabled=False)], now).is_stuck(now)
    assert not f1([*facts, starts(T0), recorded(run("open", completed_at=T0 + 1), 4000, T0 + 1)], now).is_stuck(now)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param(reads(5, 5, 5, 0), True, id="once"),
        pytest.param(reads(5, 5, 5, 0, 5), False, id="read again"),
        pytest.param(reads(5, 5, 0), True, id="of three"),
        pytest.param(reads(5, 0), False, id="of two: nothing is typical yet"),
        pytest.param(reads(0, 0, 0, 0), False, id="never read anything"),
        pytest.param(reads(*[5] * 9, 0, 0), True, id="twice in eleven"),
        pytest.param(reads(*[5] * 9, 0, 0, 0), False, id="three times in twelve"),
        pytest.param(reads(*[5] * 27, 0, 0, 0), True, id="three times in thirty"),
        pytest.param([*reads(5, 5, 5, 0), fails("r", T0 + 4 * HOUR)], False, id="failed since"),
        pytest.param([*reads(5, 5, 5, 0), enabled(T0 + 4 * HOUR, is_enabled=False)], False, id="disabled"),
        pytest.param(
            [*reads(5, 5, 5, 0), recorded(run("c", Status.CANCELLED, completed_at=T0 + 4 * HOUR), 9, T0 + 4 * HOUR)],
            True,
            id="cancelled since",
        ),
    ],
)
def test_a_flow_is_empty(facts: list[RecordedFact], expected: bool) -> None:
    """A run that read nothing is reported where at most a tenth of all runs, and one, did so: AEPFlowZeroRecords."""
    now = max(fact.received_at for fact in facts)
    assert f1(facts, now).is_empty(now) is expected
    assert not f1(facts, now).is_empty(now + 60 * DAY)


def test_runs_that_read_nothing_are_those_of_the_histogram() -> None:
    """The share of empty runs is that of the series, also while they are held and after a restart."""
    fold = Fold(limits(hold=DAY))
    for fact in reads(0, 7, 0, 1000):
        fold.apply(fact)
    fold.advance(LAST)
    restored = Fold(limits(hold=DAY))
    restored.restore(decode(encode(fold.state())))
    restored.advance(LAST)
    for each in (fold, restored):
        summary = each.current_flows().flows[F1]
        assert (summary.empty_runs, summary.runs_with_input) == (2, 4)


@pytest.mark.parametrize(
    ("facts", "after", "expected"),
    [
        pytest.param([fails("r", T0), enabled(T0, is_enabled=False)], 7 * DAY, True, id="a week"),
        pytest.param([fails("r", T0), enabled(T0, is_enabled=False)], 7 * DAY + 1, False, id="longer"),
        pytest.param([fails("r", T0)], HOUR, False, id="not disabled"),
        pytest.param([recorded(run(completed_at=T0), 1, T0), enabled(T0, is_enabled=False)], HOUR, False, id="good"),
    ],
)
def test_a_flow_is_disabled_while_it_fails(facts: list[RecordedFact], after: int, expected: bool) -> None:
    """For a week after its last run: AEPFlowDisabledWhileFailing."""
    assert f1(facts, T0 + after).is_disabled_while_failing(T0 + after) is expected


@pytest.mark.parametrize(
    ("kind", "now", "is_enabled", "expected"),
    [
        (FlowKind.SOURCE, 21 * DAY, True, False),
        (FlowKind.SOURCE, 21 * DAY + 1, True, True),
        (FlowKind.SOURCE, 31 * DAY, True, True),
        (FlowKind.SOURCE, 31 * DAY + 1, True, False),
        (FlowKind.UNKNOWN, 22 * DAY, True, True),
        (FlowKind.DESTINATION, 22 * DAY, True, False),
        (FlowKind.SOURCE, 22 * DAY, False, False),
    ],
)
def test_a_flow_is_disabled_soon(kind: FlowKind, now: int, is_enabled: bool, expected: bool) -> None:
    """Adobe disables a source that failed for 30 days. It is reported from 21 days on, while runs still fail."""
    facts = [fails("r1", T0, kind=kind), enabled(T0, is_enabled=is_enabled), fails("r2", T0 + 21 * DAY, kind=kind)]
    assert f1(facts, T0 + now).is_disabled_soon(T0 + now) is expected


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ("f", None),
        ("s", None),
        ("fs", 1),
        ("ffsss", 2),
        ("fsf", None),
        ("fcs", 2),
        ("fc", None),
        ("f" + 60 * "s", 1),
        ("sf" + 200 * "p" + "c", 2),
    ],
)
def test_a_flow_recovers(outcomes: str, expected: int | None) -> None:
    """The first success after the last failure is the recovery, however many successes came after it, for six hours."""
    statuses = {"f": Status.FAILED, "s": Status.SUCCESS, "p": Status.PARTIAL_SUCCESS, "c": Status.CANCELLED}
    facts = [
        recorded(run(f"r{n}", statuses[letter], completed_at=T0 + n * 60_000), n + 1, T0 + n * 60_000)
        for n, letter in enumerate(outcomes)
    ]
    summary = f1(facts, facts[-1].received_at)
    if expected is None:
        assert summary.recovery is None
        assert not summary.has_recovered(T0)
        return
    assert summary.recovery is not None
    at = T0 + expected * 60_000
    assert (summary.recovery.good.ended_at, summary.recovery.failed.run_id) == (
        at,
        f"r{outcomes.rindex('f')}",
    )
    assert summary.has_recovered(at + 6 * HOUR - 1)
    assert not summary.has_recovered(at + 6 * HOUR)


def test_an_alert_that_belongs_to_another_flow_is_recorded_for_the_flow_it_names() -> None:
    """An alert belongs to the flow of its first notification. The time of a later one is that of the flow it names."""
    fold = folded([recorded(run(completed_at=T0), 1, T0)], T0)
    for position, flow_id in ((2, ""), (3, "f1")):
        alert = FlowAlert(alert_id="a", name="error_rate", state=AlertState.FIRING, sandbox="prod", flow_id=flow_id)
        fold.apply(recorded(alert, position, T0 + position))
        fold.advance(T0 + position)
        recorded_at = fold.current_flows().flows[F1].recorded_at
    assert recorded_at == T0 + 3


def test_alerts_that_name_no_flow_are_kept_apart() -> None:
    """An alert of Adobe's that names no flow, or a flow that never ran, is named with its sandbox."""
    found_facts: list[Fact] = [
        run(completed_at=T0),
        FlowAlert(alert_id="a1", name="flow_run_delay", state=AlertState.FIRING, sandbox="prod", flow_id=""),
        FlowAlert(alert_id="a2", name="error_rate", state=AlertState.FIRING, sandbox="prod", flow_id="new"),
        FlowAlert(alert_id="a3", name="error_rate", state=AlertState.FIRING, sandbox="prod", flow_id="f1"),
        FlowAlert(alert_id="a4", name="error_rate", state=AlertState.INACTIVE, sandbox="dev", flow_id=""),
    ]
    facts = [recorded(fact, number, T0) for number, fact in enumerate(found_facts, start=1)]
    found = current(*facts, now=T0)
    assert found.other_alerts == {FlowKey("", "prod"): ("flow_run_delay",), FlowKey("new", "prod"): ("error_rate",)}
    assert found.flows[F1].firing_alerts == ("error_rate",)
    assert current(*facts, now=T0 + 2 * DAY).other_alerts == {}
