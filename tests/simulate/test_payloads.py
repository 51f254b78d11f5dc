"""What is posted is read by the exporter as what was meant: the one place where both sides meet."""

from collections import Counter
from functools import cache

import pytest

from exporter.adobe.deliveries import open_delivery
from exporter.adobe.payloads import read
from exporter.model import OTHER, AlertState, Event, FlowAlert, FlowKind, FlowRun, Status, Unsupported, is_error_code
from exporter.simulate import envelopes
from exporter.simulate.clock import Clock
from exporter.simulate.deliveries import Delivery, Item
from exporter.simulate.organisation import ORGANISATION, Style, Wrapper
from exporter.simulate.timeline import AlertTold, OtherTold, RunTold
from tests.simulate.weeks import HISTORY, PRESENT, WEEK, delivered

CLIENT_ID = "our-client-id"
COMPRESSED = Clock(present=PRESENT - WEEK, speed=672.0)
WEEKS = [pytest.param(1, HISTORY, id="history"), pytest.param(2, COMPRESSED, id="compressed")]


def opened(delivery: Delivery, clock: Clock, client_id: str | None = CLIENT_ID) -> tuple[Event, ...]:
    """A delivery as the webhook reads it when it comes."""
    body = envelopes.body(delivery, clock, client_id)
    headers = {name.encode(): value.encode() for name, value in envelopes.headers(delivery, 0).items()}
    return open_delivery(headers, body, clock.real(delivery.at)).events


@cache
def told(seed: int, clock: Clock) -> tuple[tuple[Delivery, Item, Event], ...]:
    """Each event of a week, as it was meant and as it was read."""
    return tuple(
        (delivery, item, event)
        for delivery in delivered(seed)
        for item, event in zip(delivery.items, opened(delivery, clock), strict=True)
    )


def whole_seconds(moment: int) -> int:
    """What is left of a moment that is told in seconds."""
    return moment // 1000 * 1000


def wanted_times(notice: RunTold, clock: Clock) -> tuple[int | None, int | None]:
    """When a run is to be read to have begun and ended."""
    run, style = notice.run, notice.flow.part.style
    if run.ended is None or not notice.status.is_outcome:
        return None, None
    ended = clock.real(run.ended)
    started = ended - (run.ended - run.started)
    if notice.status is Status.FAILED:
        return {
            Style.EVENT: (started, ended),
            Style.XDM: (whole_seconds(started), ended),
            Style.MESSAGES: (started, None),
        }[style]
    return (whole_seconds(started), whole_seconds(ended)) if style is Style.MESSAGES else (started, ended)


def wanted_codes(notice: RunTold) -> set[str]:
    """The error codes that a run is to be read to have reported."""
    trouble = notice.run.trouble
    if trouble is None or not notice.status.is_outcome:
        return set()
    codes = {trouble.code, trouble.detail_code}
    return {code if is_error_code(code) else OTHER for code in codes if code}


def wanted_activities(notice: RunTold, clock: Clock) -> list[tuple[str, int | None]]:
    """The activities that a run is to be read to have had, and how long each took."""
    run, style = notice.run, notice.flow.part.style
    if not notice.status.is_outcome or (style is Style.XDM and notice.status is Status.FAILED):
        return []
    steps = run.steps[-1:] if style is Style.MESSAGES and notice.status is Status.FAILED else run.steps
    in_seconds = style is Style.MESSAGES and notice.status is not Status.FAILED
    return [(step.name, None if in_seconds else step.ended - step.started) for step in steps]


@pytest.mark.parametrize(("seed", "clock"), WEEKS)
def test_runs_are_read_as_they_were_meant(seed: int, clock: Clock) -> None:
    """Whatever the style and the wrapper, a run is read with its ids, state, times, numbers, errors and activities."""
    seen: Counter[tuple[Style, Wrapper, Status]] = Counter()
    for delivery, item, event in told(seed, clock):
        if not isinstance(item.notice, RunTold):
            continue
        notice, run, fact = item.notice, item.notice.run, event.fact
        part = notice.flow.part
        assert isinstance(fact, FlowRun)
        assert (fact.run_id, fact.flow_id, fact.sandbox) == (run.run_id, run.flow.flow_id, run.flow.sandbox)
        assert (fact.status, fact.org) == (notice.status, ORGANISATION)
        # A start has no activities, and of some kinds no code: nothing says then what kind of flow it is.
        says_little = not notice.status.is_outcome and part.kind in {FlowKind.PROFILE, FlowKind.SEGMENT}
        assert fact.kind is part.kind or (says_little and fact.kind is FlowKind.UNKNOWN)
        assert fact.flow_name == (run.flow.name.splitlines()[0] if part.style is Style.EVENT else "")
        assert (fact.started_at, fact.completed_at) == wanted_times(notice, clock)
        assert notice.status.is_outcome or fact.created_at == clock.real(notice.at)
        has_ended = notice.status.is_outcome
        for read_, meant in ((fact.records, run.records), (fact.size, run.size), (fact.files, run.files)):
            assert read_ == (meant if has_ended else ())
        assert set(fact.error_codes) == wanted_codes(notice)
        wanted = wanted_activities(notice, clock)
        assert [activity.name for activity in fact.activities] == [name for name, _ in wanted]
        for activity, (_, duration) in zip(fact.activities, wanted, strict=True):
            assert duration is None or activity.duration == duration
        assert set(fact.anomalies) <= {"status", "error_code"}
        assert ("status" in fact.anomalies) == (notice.status is Status.UNKNOWN)
        seen[part.style, part.wrapper, notice.status] += 1
        # What is kept of it says the same when it is read again.
        assert read(event.body, clock.real(delivery.at), event.event_code or "").__class__ is FlowRun
    assert {(style, status) for style, _, status in seen} >= {
        *((Style.EVENT, status) for status in Status),
        *((style, status) for style in Style for status in (Status.SUCCESS, Status.FAILED)),
    }
    assert {wrapper for style, wrapper, _ in seen if style is Style.EVENT} == set(Wrapper)


def test_alerts_are_read_as_they_were_meant() -> None:
    """An alert is read with its name, state, moment, flow and run, where Adobe names these."""
    count = 0
    for _, item, event in told(1, HISTORY):
        if not isinstance(item.notice, AlertTold):
            continue
        notice, fact = item.notice, event.fact
        assert isinstance(fact, FlowAlert)
        assert (fact.alert_id, fact.name, fact.state) == (notice.alert_id, notice.name, notice.state)
        assert fact.flow_id == (notice.flow.flow_id if notice.names_flow else "")
        assert (fact.run_id, fact.sandbox, fact.org) == (notice.run_id, notice.flow.sandbox, ORGANISATION)
        assert fact.changed_at == HISTORY.real(notice.at)
        assert not fact.anomalies
        count += 1
    assert count > 50


def test_other_topics_are_read_as_such() -> None:
    """Events of other topics are authentic, and no runs."""
    others = [event.fact for _, item, event in told(1, HISTORY) if isinstance(item.notice, OtherTold)]
    assert len(others) > 50
    assert all(isinstance(fact, Unsupported) for fact in others)


def test_events_say_what_they_are_and_whom_they_are_for() -> None:
    """Each event is meant for the client, and is told from others by its id; only a bare one in a batch has none."""
    codes = Counter[str | None]()
    for delivery, item, event in told(1, HISTORY):
        assert event.client_id == CLIENT_ID
        part = item.notice.flow.part
        has_no_id = delivery.is_batch and part.wrapper is Wrapper.BARE
        assert event.event_id == (None if has_no_id else item.event_id)
        codes[event.event_code] += 1
    assert {
        "sources_flow_run_success",
        "sources_flow_run_failure",
        "sources_flow_run_failed",
        "source_flow_run_info",
        "source_flow_run_error",
        "identity_ingestion_info",
        "audit_events_info",
        "platform_event",
        None,
    } <= set(codes)


def test_without_a_client_id_nothing_is_said_of_it() -> None:
    """Where no client id is given, events name none."""
    for delivery in delivered(1)[:500]:
        assert b"recipient" not in envelopes.body(delivery, HISTORY, None)
        assert {event.client_id for event in opened(delivery, HISTORY, None)} == {None}


@pytest.mark.parametrize(("seed", "clock"), WEEKS)
def test_nothing_is_of_the_future(seed: int, clock: Clock) -> None:
    """What is told of ended before it was delivered, at whatever speed; an alert ends after it fired."""
    for delivery, _, event in told(seed, clock):
        now = clock.real(delivery.at)
        if isinstance(event.fact, FlowRun):
            for moment in (event.fact.started_at, event.fact.completed_at, event.fact.ended_at):
                assert moment is None or moment <= now
        if isinstance(event.fact, FlowAlert) and event.fact.state is AlertState.INACTIVE:
            assert event.fact.changed_at is not None
            assert event.fact.changed_at <= now


def test_the_same_seed_posts_the_same_bytes() -> None:
    """Two deliveries of one seed at one time have the same body and the same headers; attempts differ in their ids."""
    for delivery in delivered(2)[:300]:
        assert envelopes.body(delivery, HISTORY, CLIENT_ID) == envelopes.body(delivery, HISTORY, CLIENT_ID)
        first, again = envelopes.headers(delivery, 0), envelopes.headers(delivery, 1)
        assert first == envelopes.headers(delivery, 0)
        assert {name for name in again if again[name] != first.get(name)} == {
            "x-adobe-delivery-id",
            "x-request-id",
            "x-adobe-retry-count",
        }
        assert int(again["x-adobe-retry-count"]) == int(first.get("x-adobe-retry-count", "0")) + 1
