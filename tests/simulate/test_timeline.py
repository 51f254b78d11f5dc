"""The notifications of a simulation, and their order."""

from collections import Counter
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import ACTIVITIES, RECORD_RESULTS, SIZE_RESULTS, AlertState, FlowKind, Status
from exporter.simulate.codes import FAILURES, REJECTIONS
from exporter.simulate.organisation import HOUR, TEMPLATES, organisation
from exporter.simulate.timeline import AlertNotification, OtherNotification, RunNotification, timeline
from tests.simulate.weeks import SEEDS, notifications


def run_notifications(seed: int) -> list[RunNotification]:
    """The notifications about runs in a week."""
    return [each for each in notifications(seed) if isinstance(each, RunNotification)]


def alert_notifications(seed: int) -> list[AlertNotification]:
    """The notifications about alerts in a week."""
    return [each for each in notifications(seed) if isinstance(each, AlertNotification)]


@given(st.integers(0, 10**6), st.integers(1, 30))
def test_a_timeline_depends_on_the_seed(seed: int, count: int) -> None:
    """Two timelines of one seed are equal, in order and without repetition, and that of another seed differs."""
    found = list(islice(timeline(organisation(seed, count), seed), 100))
    assert found == list(islice(timeline(organisation(seed, count), seed), 100))
    assert all(earlier.at <= later.at for earlier, later in pairwise(found))
    assert len({each.fact_id for each in found}) == len(found)
    other = list(islice(timeline(organisation(seed + 1, count), seed + 1), 100))
    assert not {each.fact_id for each in found} & {each.fact_id for each in other}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_week_has_every_status_of_every_kind(seed: int) -> None:
    """A week has every status, and flows of every kind succeed and fail."""
    found = {(notification.flow.template.kind, notification.status) for notification in run_notifications(seed)}
    assert {status for _, status in found} == set(Status)
    for kind in set(FlowKind) - {FlowKind.UNKNOWN}:
        assert (kind, Status.SUCCESS) in found
        assert (kind, Status.FAILED) in found


@pytest.mark.parametrize("seed", SEEDS)
def test_a_week_has_every_result(seed: int) -> None:
    """A week has every result of records, bytes and files with more than 0, and every activity."""
    found: dict[str, Counter[str]] = {"records": Counter(), "size": Counter(), "files": Counter()}
    activities = set()
    for notification in run_notifications(seed):
        if notification.status.is_outcome:
            for name, total in found.items():
                total.update(dict(getattr(notification.run, name)))
            activities |= {step.name for step in notification.run.steps}
    assert {result for result in RECORD_RESULTS if found["records"][result]} == set(RECORD_RESULTS)
    for name in ("size", "files"):
        assert {result for result in SIZE_RESULTS if found[name][result]} == set(SIZE_RESULTS)
    assert activities == set(ACTIVITIES)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_week_has_many_codes(seed: int) -> None:
    """Runs of a week report most of the errors, also the one whose code is free text."""
    reported = {
        notification.run.cause for notification in run_notifications(seed) if notification.run.cause is not None
    }
    every = {cause for table in (FAILURES, REJECTIONS) for causes in table.values() for cause in causes}
    assert reported <= every
    assert len(reported) > 0.6 * len(every)
    assert "Unknown error code" in {cause.code for cause in reported}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_week_has_alerts_that_fire_and_end(seed: int) -> None:
    """Each kind of alert fires and ends within a week, one kind names no flow, and some alerts have not ended."""
    found = alert_notifications(seed)
    for state in AlertState:
        assert {notification.name for notification in found if notification.state is state} == {
            "sources_flow_run_delay",
            "destinations_flow_run_delay",
            "sources_ingestion_error_rate_exceeded",
            "segment_definition_disabled",
        }
    assert {notification.names_flow for notification in found} == {True, False}
    states = Counter(notification.alert_id for notification in found)
    assert {1, 2} == set(states.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_an_alert_ends_after_it_fired(seed: int) -> None:
    """An alert ends after it fired, and a delay at most ten hours later."""
    by_id: dict[str, dict[AlertState, AlertNotification]] = {}
    for notification in alert_notifications(seed):
        by_id.setdefault(notification.alert_id, {})[notification.state] = notification
    for states in by_id.values():
        fired = states[AlertState.FIRING]
        over = states.get(AlertState.INACTIVE)
        assert fired.at == fired.fired_at
        assert over is None or (over.at > fired.at and over.fired_at == fired.at)
        if over is not None and fired.name.endswith("delay"):
            assert over.at - fired.at <= 10 * HOUR


@pytest.mark.parametrize("seed", SEEDS)
def test_notifications_of_a_run_are_in_order(seed: int) -> None:
    """A run is queued before it starts and starts before it ends, and there are events of other topics."""
    by_run: dict[str, list[RunNotification]] = {}
    for notification in run_notifications(seed):
        by_run.setdefault(notification.run.run_id, []).append(notification)
    order = [Status.QUEUED, Status.IN_PROGRESS]
    for states in by_run.values():
        ranks = [
            order.index(notification.status) if notification.status in order else len(order) for notification in states
        ]
        assert ranks == sorted(ranks)
    assert {
        notification.is_audit for notification in notifications(seed) if isinstance(notification, OtherNotification)
    } == {True, False}


def test_a_timeline_may_end() -> None:
    """When every flow is switched off, the timeline ends after the last run has ended."""
    silent = organisation(1, 10)[9:]
    found = [notification for notification in timeline(silent, 1) if isinstance(notification, RunNotification)]
    assert sum(notification.status.is_outcome for notification in found) == sum(
        notification.status is Status.IN_PROGRESS for notification in found
    )


def test_memory_is_bounded() -> None:
    """However long a simulation goes on, only notifications about runs that have started wait."""
    stream = timeline(organisation(3, len(TEMPLATES)), 3)
    sizes = []
    for number, _ in enumerate(islice(stream, 20_000)):
        if number % 1000 == 0:
            frame = stream.gi_frame  # type: ignore[attr-defined]
            sizes.append(len(frame.f_locals["waiting"]))
    assert max(sizes) < 150
