"""What is told, and when."""

from collections import Counter
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import ACTIVITIES, RECORD_RESULTS, SIZE_RESULTS, AlertState, FlowKind, Status
from exporter.simulate.codes import FAILURES, REJECTIONS
from exporter.simulate.organisation import HOUR, PARTS, organisation
from exporter.simulate.timeline import AlertTold, OtherTold, RunTold, timeline
from tests.simulate.weeks import SEEDS, notices


def runs_told(seed: int) -> list[RunTold]:
    """What is told of runs in a week."""
    return [told for told in notices(seed) if isinstance(told, RunTold)]


def alerts_told(seed: int) -> list[AlertTold]:
    """What is told of alerts in a week."""
    return [told for told in notices(seed) if isinstance(told, AlertTold)]


@given(st.integers(0, 10**6), st.integers(1, 30))
def test_what_is_told_is_the_seeds(seed: int, count: int) -> None:
    """Two timelines of one seed are the same, in order, and nothing is told twice; another seed's is another."""
    found = list(islice(timeline(organisation(seed, count), seed), 100))
    assert found == list(islice(timeline(organisation(seed, count), seed), 100))
    assert all(earlier.at <= later.at for earlier, later in pairwise(found))
    assert len({told.fact_id for told in found}) == len(found)
    other = list(islice(timeline(organisation(seed + 1, count), seed + 1), 100))
    assert not {told.fact_id for told in found} & {told.fact_id for told in other}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_week_has_every_status_of_every_kind(seed: int) -> None:
    """Within a week every status is told, and flows of every kind succeed and fail."""
    told = {(notice.flow.part.kind, notice.status) for notice in runs_told(seed)}
    assert {status for _, status in told} == set(Status)
    for kind in set(FlowKind) - {FlowKind.UNKNOWN}:
        assert (kind, Status.SUCCESS) in told
        assert (kind, Status.FAILED) in told


@pytest.mark.parametrize("seed", SEEDS)
def test_a_week_has_every_result(seed: int) -> None:
    """Within a week every result of records, bytes and files is more than 0, and every activity is done."""
    found: dict[str, Counter[str]] = {"records": Counter(), "size": Counter(), "files": Counter()}
    activities = set()
    for notice in runs_told(seed):
        if notice.status.is_outcome:
            for name, total in found.items():
                total.update(dict(getattr(notice.run, name)))
            activities |= {step.name for step in notice.run.steps}
    assert {result for result in RECORD_RESULTS if found["records"][result]} == set(RECORD_RESULTS)
    for name in ("size", "files"):
        assert {result for result in SIZE_RESULTS if found[name][result]} == set(SIZE_RESULTS)
    assert activities == set(ACTIVITIES)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_week_has_many_codes(seed: int) -> None:
    """Within a week runs fail for most of the reasons there are, free text among them."""
    told = {notice.run.trouble for notice in runs_told(seed) if notice.run.trouble is not None}
    every = {trouble for table in (FAILURES, REJECTIONS) for troubles in table.values() for trouble in troubles}
    assert told <= every
    assert len(told) > 0.6 * len(every)
    assert "Unknown error code" in {trouble.code for trouble in told}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_week_has_alerts_that_fire_and_end(seed: int) -> None:
    """Each of the alerts fires and ends within a week; one of them names no flow, one that fired has not ended."""
    told = alerts_told(seed)
    for state in AlertState:
        assert {notice.name for notice in told if notice.state is state} == {
            "sources_flow_run_delay",
            "destinations_flow_run_delay",
            "sources_ingestion_error_rate_exceeded",
            "segment_definition_disabled",
        }
    assert {notice.names_flow for notice in told} == {True, False}
    states = Counter(notice.alert_id for notice in told)
    assert {1, 2} == set(states.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_an_alert_ends_after_it_fired(seed: int) -> None:
    """A delay fires while the run goes on and ends with it, or is given up after ten hours."""
    by_id: dict[str, dict[AlertState, AlertTold]] = {}
    for notice in alerts_told(seed):
        by_id.setdefault(notice.alert_id, {})[notice.state] = notice
    for states in by_id.values():
        fired = states[AlertState.FIRING]
        over = states.get(AlertState.INACTIVE)
        assert fired.at == fired.fired_at
        assert over is None or (over.at > fired.at and over.fired_at == fired.at)
        if over is not None and fired.name.endswith("delay"):
            assert over.at - fired.at <= 10 * HOUR


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_is_told_of_from_beginning_to_end(seed: int) -> None:
    """A run is announced before it begins and begins before it ends; what an exporter has not asked for is told too."""
    by_run: dict[str, list[RunTold]] = {}
    for notice in runs_told(seed):
        by_run.setdefault(notice.run.run_id, []).append(notice)
    order = [Status.QUEUED, Status.IN_PROGRESS]
    for states in by_run.values():
        told = [order.index(notice.status) if notice.status in order else len(order) for notice in states]
        assert told == sorted(told)
    assert {notice.is_audit for notice in notices(seed) if isinstance(notice, OtherTold)} == {True, False}


def test_a_timeline_may_end() -> None:
    """Where every flow was switched off, everything that happened is told, and then nothing."""
    silent = organisation(1, 10)[9:]
    told = [notice for notice in timeline(silent, 1) if isinstance(notice, RunTold)]
    assert sum(notice.status.is_outcome for notice in told) == sum(
        notice.status is Status.IN_PROGRESS for notice in told
    )


def test_only_what_goes_on_is_kept() -> None:
    """However long it goes on, what waits to be told is only what has begun."""
    stream = timeline(organisation(3, len(PARTS)), 3)
    sizes = []
    for number, _ in enumerate(islice(stream, 20_000)):
        if number % 1000 == 0:
            frame = stream.gi_frame  # type: ignore[attr-defined]
            sizes.append(len(frame.f_locals["waiting"]))
    assert max(sizes) < 150
