"""The exporter reads simulated deliveries as they were meant. Only these tests import both sides."""

from collections import Counter
from functools import cache

import pytest

from exporter.adobe.deliveries import open_delivery
from exporter.adobe.payloads import read
from exporter.model import (
    OTHER,
    AlertState,
    Event,
    FlowAlert,
    FlowKind,
    FlowRun,
    NotUnderstood,
    Status,
    Unsupported,
    is_error_code,
)
from exporter.simulate import envelopes
from exporter.simulate.clock import Clock
from exporter.simulate.deliveries import Item, SimulatedDelivery
from exporter.simulate.organisation import ORGANISATION, Envelope, Style
from exporter.simulate.timeline import AlertNotification, OtherNotification, RunNotification
from tests.simulate.weeks import BEFORE_NOW, PRESENT, WEEK, delivered

CLIENT_ID = "our-client-id"
COMPRESSED = Clock(present=PRESENT - WEEK, speed=672.0)
WEEKS = [pytest.param(1, BEFORE_NOW, id="before-now"), pytest.param(2, COMPRESSED, id="compressed")]


def opened(delivery: SimulatedDelivery, clock: Clock, client_id: str | None = CLIENT_ID) -> tuple[Event, ...]:
    """The events of a delivery, as the webhook reads them."""
    body = envelopes.body(delivery, clock, client_id)
    headers = {name.encode(): value.encode() for name, value in envelopes.headers(delivery, 0).items()}
    return open_delivery(headers, body, clock.real(delivery.at)).events


@cache
def events(seed: int, clock: Clock) -> tuple[tuple[SimulatedDelivery, Item, Event], ...]:
    """Each event of a week, as it was simulated and as it was read."""
    return tuple(
        (delivery, item, event)
        for delivery in delivered(seed)
        for item, event in zip(delivery.items, opened(delivery, clock), strict=True)
    )


def whole_seconds(moment: int) -> int:
    """A moment in whole seconds."""
    return moment // 1000 * 1000


def wanted_times(notification: RunNotification, clock: Clock) -> tuple[int | None, int | None]:
    """The expected start and completion of a run."""
    run, style = notification.run, notification.flow.template.style
    if run.ended is None or not notification.status.is_outcome:
        return None, None
    ended = clock.real(run.ended)
    started = ended - (run.ended - run.started)
    if notification.status is Status.FAILED:
        return {
            Style.EVENT: (started, ended),
            Style.XDM: (whole_seconds(started), ended),
            Style.MESSAGES: (started, None),
        }[style]
    return (whole_seconds(started), whole_seconds(ended)) if style is Style.MESSAGES else (started, ended)


def wanted_codes(notification: RunNotification) -> set[str]:
    """The expected error codes of a run."""
    cause = notification.run.cause
    if cause is None or not notification.status.is_outcome:
        return set()
    codes = {cause.code, cause.detail_code}
    return {code if is_error_code(code) else OTHER for code in codes if code}


def wanted_activities(notification: RunNotification, clock: Clock) -> list[tuple[str, int | None]]:
    """The expected activities of a run, with their durations."""
    run, style = notification.run, notification.flow.template.style
    if not notification.status.is_outcome or (style is Style.XDM and notification.status is Status.FAILED):
        return []
    steps = run.steps[-1:] if style is Style.MESSAGES and notification.status is Status.FAILED else run.steps
    in_seconds = style is Style.MESSAGES and notification.status is not Status.FAILED
    return [(step.name, None if in_seconds else step.ended - step.started) for step in steps]


@pytest.mark.parametrize(("seed", "clock"), WEEKS)
def test_runs_are_read_as_they_were_meant(seed: int, clock: Clock) -> None:
    """A run of any style and envelope is read with its ids, state, times, numbers, errors and activities."""
    seen: Counter[tuple[Style, Envelope, Status]] = Counter()
    for delivery, item, event in events(seed, clock):
        if not isinstance(item.notification, RunNotification):
            continue
        notification, run, fact = item.notification, item.notification.run, event.fact
        template = notification.flow.template
        assert isinstance(fact, FlowRun)
        assert (fact.run_id, fact.flow_id, fact.sandbox) == (run.run_id, run.flow.flow_id, run.flow.sandbox)
        assert (fact.status, fact.org) == (notification.status, ORGANISATION)
        # A start has no activities, and of some kinds no code. The kind is unknown then.
        may_be_unknown = not notification.status.is_outcome and template.kind in {FlowKind.PROFILE, FlowKind.SEGMENT}
        assert fact.kind is template.kind or (may_be_unknown and fact.kind is FlowKind.UNKNOWN)
        assert fact.flow_name == (run.flow.name.splitlines()[0] if template.style is Style.EVENT else "")
        assert (fact.started_at, fact.completed_at) == wanted_times(notification, clock)
        assert notification.status.is_outcome or fact.created_at == clock.real(notification.at)
        has_ended = notification.status.is_outcome
        for read_, meant in ((fact.records, run.records), (fact.size, run.size), (fact.files, run.files)):
            assert read_ == (meant if has_ended else ())
        assert set(fact.error_codes) == wanted_codes(notification)
        wanted = wanted_activities(notification, clock)
        assert [activity.name for activity in fact.activities] == [name for name, _ in wanted]
        for activity, (_, duration) in zip(fact.activities, wanted, strict=True):
            assert duration is None or activity.duration == duration
        assert set(fact.anomalies) <= {"status", "error_code"}
        assert ("status" in fact.anomalies) == (notification.status is Status.UNKNOWN)
        seen[template.style, template.envelope, notification.status] += 1
        # The recorded body is read as a run again.
        assert read(event.body, clock.real(delivery.at), event.event_code or "").__class__ is FlowRun
    assert {(style, status) for style, _, status in seen} >= {
        *((Style.EVENT, status) for status in Status),
        *((style, status) for style in Style for status in (Status.SUCCESS, Status.FAILED)),
    }
    assert {envelope for style, envelope, _ in seen if style is Style.EVENT} == set(Envelope)


def test_alerts_are_read_as_they_were_meant() -> None:
    """An alert is read with its name, state and time, and with the flow and run if it names them."""
    count = 0
    for _, item, event in events(1, BEFORE_NOW):
        if not isinstance(item.notification, AlertNotification):
            continue
        notification, fact = item.notification, event.fact
        assert isinstance(fact, FlowAlert)
        assert (fact.alert_id, fact.name, fact.state) == (notification.alert_id, notification.name, notification.state)
        assert fact.flow_id == (notification.flow.flow_id if notification.names_flow else "")
        assert (fact.run_id, fact.sandbox, fact.org) == (notification.run_id, notification.flow.sandbox, ORGANISATION)
        assert fact.changed_at == BEFORE_NOW.real(notification.at)
        assert not fact.anomalies
        count += 1
    assert count > 50


def test_other_topics_are_read_as_such() -> None:
    """Events of other topics are read as such, so that the alert on what is not understood stays silent."""
    others = [
        event.fact for _, item, event in events(1, BEFORE_NOW) if isinstance(item.notification, OtherNotification)
    ]
    assert len(others) > 50
    assert {fact.reason for fact in others if isinstance(fact, Unsupported)} == {NotUnderstood.OTHER_TOPIC}
    assert all(isinstance(fact, Unsupported) for fact in others)


def test_events_have_ids_codes_and_recipients() -> None:
    """Each event names the client and has its id and code, except that a bare event in a batch has no id."""
    codes = Counter[str | None]()
    for delivery, item, event in events(1, BEFORE_NOW):
        assert event.client_id == CLIENT_ID
        template = item.notification.flow.template
        has_no_id = delivery.is_batch and template.envelope is Envelope.BARE
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


def test_without_a_client_id_events_have_no_recipient() -> None:
    """Events name no recipient if no client id is given."""
    for delivery in delivered(1)[:500]:
        assert b"recipient" not in envelopes.body(delivery, BEFORE_NOW, None)
        assert {event.client_id for event in opened(delivery, BEFORE_NOW, None)} == {None}


@pytest.mark.parametrize(("seed", "clock"), WEEKS)
def test_no_event_is_from_the_future(seed: int, clock: Clock) -> None:
    """Runs and alerts ended before they were delivered, at any speed."""
    for delivery, _, event in events(seed, clock):
        now = clock.real(delivery.at)
        if isinstance(event.fact, FlowRun):
            for moment in (event.fact.started_at, event.fact.completed_at, event.fact.ended_at):
                assert moment is None or moment <= now
        if isinstance(event.fact, FlowAlert) and event.fact.state is AlertState.INACTIVE:
            assert event.fact.changed_at is not None
            assert event.fact.changed_at <= now


def test_the_same_seed_gives_the_same_bytes() -> None:
    """A delivery has always the same body and headers, and each attempt has other ids."""
    for delivery in delivered(2)[:300]:
        assert envelopes.body(delivery, BEFORE_NOW, CLIENT_ID) == envelopes.body(delivery, BEFORE_NOW, CLIENT_ID)
        first, again = envelopes.headers(delivery, 0), envelopes.headers(delivery, 1)
        assert first == envelopes.headers(delivery, 0)
        assert {name for name in again if again[name] != first.get(name)} == {
            "x-adobe-delivery-id",
            "x-request-id",
            "x-adobe-retry-count",
        }
        assert int(again["x-adobe-retry-count"]) == int(first.get("x-adobe-retry-count", "0")) + 1
