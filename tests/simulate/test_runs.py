"""The runs of flows."""

from itertools import islice, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import ACTIVITIES, RECORD_RESULTS, FlowKind, Status
from exporter.simulate.organisation import DAY, HOUR, TEMPLATES, Behaviour, SimulatedFlow, Style, organisation
from exporter.simulate.runs import Run, runs
from tests.simulate.weeks import SEEDS, WEEK


def flow_with(behaviour: Behaviour, seed: int) -> SimulatedFlow:
    """The first flow with a behaviour."""
    return next(flow for flow in organisation(seed, len(TEMPLATES)) if flow.template.behaviour is behaviour)


def week(flow: SimulatedFlow, seed: int) -> list[Run]:
    """A week of a flow's runs."""
    return list(takewhile(lambda run: run.started < WEEK, runs(flow, seed)))


@given(st.integers(0, 10**6), st.integers(0, len(TEMPLATES) - 1))
def test_runs_make_sense(seed: int, number: int) -> None:
    """Runs come in the order of their starts, end later, have their own ids and report results in the usual order."""
    found = list(islice(runs(organisation(seed, number + 1)[number], seed), 40))
    assert [run.started for run in found] == sorted(run.started for run in found)
    assert len({run.run_id for run in found}) == len(found)
    for run in found:
        assert (run.ended is None) == (run.outcome is Status.IN_PROGRESS)
        assert run.ended is None or run.ended - run.started >= 7_000
        assert [result for result, _ in run.records] == [name for name in RECORD_RESULTS if name in dict(run.records)]
        assert all(count >= 0 for counts in (run.records, run.size, run.files) for _, count in counts)
        assert (run.cause is not None) == (run.outcome in {Status.FAILED, Status.PARTIAL_SUCCESS}) or (
            run.flow.template.style is not Style.EVENT and run.outcome is Status.SUCCESS
        )
        for step in run.steps:
            assert step.name in ACTIVITIES
            assert run.ended is not None
            assert run.started <= step.started <= step.ended <= run.ended


@pytest.mark.parametrize("seed", SEEDS)
def test_a_failing_flow_fails_for_days(seed: int) -> None:
    """A failing flow fails for four days and then succeeds again."""
    flow = flow_with(Behaviour.FAILING, seed)
    found = list(takewhile(lambda run: run.started < 9 * DAY, runs(flow, seed)))
    failing = [run for run in found if 4 * DAY <= run.started < 8 * DAY]
    assert len(failing) > 90
    assert {run.outcome for run in failing} == {Status.FAILED}
    assert Status.SUCCESS in {run.outcome for run in found if run.started >= 8 * DAY}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stuck_flow_goes_on_with_its_next_run(seed: int) -> None:
    """One run of a week never ends, and others end before and after it."""
    outcomes = [run.outcome for run in week(flow_with(Behaviour.STUCK, seed), seed)]
    assert outcomes.count(Status.IN_PROGRESS) == 1
    assert 0 < outcomes.index(Status.IN_PROGRESS) < len(outcomes) - 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_silent_flow_has_a_last_run(seed: int) -> None:
    """A flow that was switched off starts no run after its third day."""
    assert 60 < len(list(runs(flow_with(Behaviour.SILENT, seed), seed))) <= 72


@pytest.mark.parametrize("seed", SEEDS)
def test_an_empty_run_succeeds_and_reads_nothing(seed: int) -> None:
    """A few runs of a week, also the last one, succeed without reading a record."""
    found = [run for run in week(flow_with(Behaviour.EMPTY, seed), seed) if run.outcome is Status.SUCCESS]
    read = [dict(run.records)["input"] for run in found]
    assert read[-1] == 0
    assert 0 < read.count(0) <= 1 + len(read) // 10


@pytest.mark.parametrize("seed", SEEDS)
def test_a_slow_run_takes_twice_as_long_and_more(seed: int) -> None:
    """At the end of the week the runs of a slow flow take more than twice the usual time and ten minutes."""
    durations = [
        run.ended - run.started
        for run in week(flow_with(Behaviour.SLOW, seed), seed)
        if run.ended is not None and run.outcome is Status.SUCCESS
    ]
    usual = sorted(durations[-20:])[10]
    assert durations[-1] > 2 * usual + 600_000


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lossy_flow_leaves_out_some_records(seed: int) -> None:
    """Partial successes leave out more than a twentieth of the records, and report an error."""
    partial = [run for run in week(flow_with(Behaviour.LOSSY, seed), seed) if run.outcome is Status.PARTIAL_SUCCESS]
    assert len(partial) > 5
    for run in partial:
        records = dict(run.records)
        assert records["failed"] / records["input"] > 0.05
        assert run.cause is not None


def test_streaming_runs_are_windows_of_an_hour() -> None:
    """Every run of a streaming flow takes an hour, also a failed one."""
    flow = next(flow for flow in organisation(1, len(TEMPLATES)) if flow.template.is_streaming)
    assert {run.ended - run.started for run in week(flow, 1) if run.ended is not None} == {HOUR}


def test_only_destinations_skip_records() -> None:
    """Only destinations skip records on purpose."""
    skipping = {
        run.flow.template.kind for flow in organisation(1, len(TEMPLATES)) for run in week(flow, 1) if run.skipped
    }
    assert skipping == {FlowKind.DESTINATION}
