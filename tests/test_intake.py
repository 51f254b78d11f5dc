"""Recording deliveries: the key of each fact, its draft, and the result of each event."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.adobe.deliveries import open_delivery
from exporter.errors import LedgerUnavailableError
from exporter.intake import Intake, anomalies, draft
from exporter.ledger import Cursor, Draft, Ledger, Receipt
from exporter.ledger.fact_keys import body_key
from exporter.ledger.sqlite import SqliteLedger
from exporter.model import (
    AlertState,
    Delivery,
    EntryKind,
    Event,
    Fact,
    Flow,
    FlowAlert,
    FlowRun,
    NotUnderstood,
    Result,
    RunError,
    Source,
    Status,
    Unreadable,
    Unsupported,
)

DAY = 86_400_000
NOW = 1_790_000_000_000
RETENTION = 90 * DAY

RUN = FlowRun(run_id="run", flow_id="flow", status=Status.FAILED)
ALERT = FlowAlert(alert_id="alert", name="delay", state=AlertState.FIRING)
FLOW = Flow(flow_id="flow", flow_name="Orders")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A new ledger."""
    with contextlib.closing(SqliteLedger(tmp_path / "ledger.db")) as opened:
        yield opened


class FakeLedger(SqliteLedger):
    """A ledger that stores nothing: every draft is new, or every write fails."""

    def __init__(self, error: Exception | None = None, *, write_error: LedgerUnavailableError | None = None) -> None:
        self.error = error
        self._write_error = write_error
        self.checks = 0
        self.answers = True

    async def append(self, drafts: Sequence[Draft], cursor: Cursor | None = None) -> list[Receipt]:
        """A receipt for each draft, as if it were new. Raises the error if there is one."""
        assert drafts or cursor
        if self.error:
            raise self.error
        return [Receipt(kind=each.kind, is_new=True) for each in drafts]

    async def check_writable(self) -> None:
        """Raise the error if there is one, or wait for ever if the ledger does not answer."""
        self.checks += 1
        if not self.answers:
            await asyncio.Event().wait()
        if self.error:
            raise self.error


def event(fact: Fact, body: bytes = b"{}", **words: Any) -> Event:
    """An event with a fact."""
    return Event(fact=fact, body=body, **words)


def delivery(*facts: Fact | Event, source: Source = Source.WEBHOOK) -> Delivery:
    """A delivery of facts, each in a body of its own."""
    return Delivery(
        source=source,
        events=tuple(
            fact if isinstance(fact, Event) else event(fact, b"%d" % number) for number, fact in enumerate(facts)
        ),
    )


def record(
    ledger: Ledger, *deliveries: Delivery, cursor: Cursor | None = None, retention: int | None = None
) -> Counter[Result]:
    """The results of recording deliveries at the time NOW."""
    return asyncio.run(Intake(ledger, lambda: NOW, retention).record(deliveries, cursor))


IDS = ("a", "a:failed", "event:a", "run:a:failed")
FACTS: list[Fact] = [
    *(FlowRun(run_id=id_, flow_id="f", status=status) for id_ in IDS for status in Status),
    *(
        FlowAlert(alert_id=id_, name="delay", state=state, changed_at=changed_at)
        for id_ in IDS
        for state in AlertState
        for changed_at in (None, NOW, NOW + 1)
    ),
    Unsupported(),
    Unreadable(),
]
EVENTS = [
    Event(fact=fact, body=body, event_id=header_id or body_id, body_id=body_id, content=content)
    for fact in FACTS
    for header_id in (None, "h")
    for body_id in (None, *IDS)
    for body in (b"{}", b"[]")
    for content in ((None, b"{}", b"[]") if isinstance(fact, Unsupported) else (None,))
]


def identity(event_: Event) -> tuple[object, ...]:
    """What makes two events the same fact (docs/architecture.md, "What makes a fact")."""
    match event_.fact:
        case FlowRun() as run:
            return "run", run.run_id, run.status
        case FlowAlert() as alert:
            return "alert", alert.alert_id, alert.state, alert.changed_at
        case _:
            if event_.body_id:
                return "event", event_.body_id
            return ("bytes", event_.body) if event_.content is None else ("content", event_.content)


def test_a_fact_has_one_key() -> None:
    """A key depends on run and status, on alert, state and time, on the body's event id or on the content.

    It depends on nothing else, and never on the id in a header.
    """
    keys: dict[tuple[object, ...], set[str]] = {}
    for each in EVENTS:
        for source in Source:
            keys.setdefault(identity(each), set()).add(draft(source, each).fact_key)
    assert all(len(found) == 1 for found in keys.values())
    assert len(set().union(*keys.values())) == len(keys)


@given(
    st.lists(
        st.builds(delivery, st.sampled_from(EVENTS), st.sampled_from(EVENTS), source=st.sampled_from(Source)),
        max_size=3,
    )
)
def test_results_count_events(deliveries: list[Delivery]) -> None:
    """Whatever is delivered, there is one result for each event."""
    counts = record(FakeLedger(), *deliveries, retention=RETENTION)
    assert counts.total() == sum(len(each.events) for each in deliveries)


def test_what_is_kept_of_a_run() -> None:
    """The draft of a run has its ids, status, error codes and end, and whether it has ended."""
    run = FlowRun(
        run_id="run",
        flow_id="flow",
        status=Status.PARTIAL_SUCCESS,
        sandbox="prod",
        updated_at=NOW,
        errors=(RunError(code="133"), RunError(code="other"), RunError(code="133", message="again")),
    )
    assert draft(Source.JOURNAL, event(run, b"body", event_id="event", event_code="code")) == Draft(
        fact_key="run:run:partial_success",
        source=Source.JOURNAL,
        kind=EntryKind.RUN,
        body=b"body",
        event_id="event",
        event_code="code",
        flow_id="flow",
        run_id="run",
        sandbox="prod",
        status="partial_success",
        error_codes="133 other",
        completed_at=NOW,
        updated_at=NOW,
        is_outcome=True,
    )
    assert draft(Source.JOURNAL, event(replace(run, status=Status.UNKNOWN))).is_provisional


@pytest.mark.parametrize("status", Status)
def test_only_outcomes_can_count(status: Status) -> None:
    """A run in progress or queued is not an outcome. In every other state it is."""
    is_outcome = draft(Source.WEBHOOK, event(FlowRun(run_id="run", flow_id="flow", status=status))).is_outcome
    assert is_outcome == (status not in {Status.IN_PROGRESS, Status.QUEUED})


@pytest.mark.parametrize(
    ("fact", "source", "kind"),
    [
        pytest.param(RUN, Source.WEBHOOK, "run", id="run"),
        pytest.param(ALERT, Source.WEBHOOK, "alert", id="alert"),
        pytest.param(Unsupported(), Source.WEBHOOK, "unsupported", id="unsupported"),
        pytest.param(Unreadable(), Source.JOURNAL, "unreadable", id="unreadable"),
        pytest.param(FLOW, Source.REPLAY, "flow", id="flow-from-a-file"),
        pytest.param(FLOW, Source.WEBHOOK, "unsupported", id="flow-by-webhook"),
        pytest.param(FLOW, Source.JOURNAL, "unsupported", id="flow-by-journal"),
    ],
)
def test_kinds(fact: Fact, source: Source, kind: str) -> None:
    """Each fact has its kind. A flow is recorded as a flow only from a file, and is unsupported in a notification."""
    assert draft(source, event(fact)).kind == kind


def test_what_became_of_each_event(ledger: Ledger) -> None:
    """The results tell new events from duplicates, and count unsupported and unreadable ones."""
    events = delivery(RUN, RUN, ALERT, Unsupported(), Unreadable())
    assert record(ledger, events) == {
        Result.RECORDED: 2,
        Result.DUPLICATE: 1,
        Result.UNSUPPORTED: 1,
        Result.UNREADABLE: 1,
    }
    assert record(ledger, events, events) == {Result.DUPLICATE: 10}


REPORTED = [
    pytest.param(RUN, Source.WEBHOOK, [], id="run"),
    pytest.param(ALERT, Source.JOURNAL, [], id="alert"),
    *(
        pytest.param(Unsupported(reason=reason), Source.WEBHOOK, [reason], id=reason.value)
        for reason in NotUnderstood
        if reason is not NotUnderstood.UNREADABLE
    ),
    pytest.param(Unreadable(), Source.JOURNAL, [NotUnderstood.UNREADABLE], id="unreadable"),
    pytest.param(FLOW, Source.WEBHOOK, [NotUnderstood.OTHER_TOPIC], id="flow-by-webhook"),
    pytest.param(FLOW, Source.REPLAY, [], id="flow-from-a-file"),
]


@pytest.mark.parametrize(("fact", "source", "reasons"), REPORTED)
def test_what_is_not_understood_is_reported_once(
    ledger: Ledger, fact: Fact, source: Source, reasons: list[NotUnderstood]
) -> None:
    """A new event that is not understood is reported with its reason and code. A duplicate is not reported again."""
    reported: list[tuple[NotUnderstood, str | None]] = []
    intake = Intake(ledger, lambda: NOW, report=lambda reason, code: reported.append((reason, code)))
    for _ in range(2):
        asyncio.run(intake.record([delivery(event(fact, event_code="audit_events_info"), source=source)]))
    assert reported == [(reason, "audit_events_info") for reason in reasons]


@pytest.mark.parametrize("fact", [RUN, Unsupported(reason=NotUnderstood.NO_STATUS)], ids=["run", "unsupported"])
def test_what_the_database_refuses_is_reported_as_unreadable(ledger: Ledger, fact: Fact) -> None:
    """An event that the database refuses is kept as unreadable, and that is its reason."""
    reported: list[NotUnderstood] = []
    intake = Intake(ledger, lambda: NOW, report=lambda reason, _: reported.append(reason))
    refused = event(fact, b"refused", event_code="half an emoji \ud83d")
    assert asyncio.run(intake.record([delivery(refused)])) == {Result.UNREADABLE: 1}
    assert reported == [NotUnderstood.UNREADABLE]


def test_what_is_not_recorded_is_not_reported() -> None:
    """If the ledger can't be written, nothing is reported, because Adobe sends the delivery again."""
    reported: list[NotUnderstood] = []
    failing = FakeLedger(LedgerUnavailableError("the disk is full"))
    intake = Intake(failing, lambda: NOW, report=lambda reason, _: reported.append(reason))
    with pytest.raises(LedgerUnavailableError):
        asyncio.run(intake.record([delivery(Unsupported())]))
    assert reported == []


def test_one_run_by_every_way(ledger: Ledger) -> None:
    """A run that comes by webhook, journal and file, with different event ids and bodies, is one fact."""
    for number, source in enumerate(Source):
        record(ledger, delivery(event(RUN, b"%d" % number, event_id=f"event-{number}"), source=source))
    assert [(entry.source, entry.counts) for entry in ledger.read(0, 10)] == [(Source.WEBHOOK, True)]


def test_an_event_id_hides_no_run(ledger: Ledger) -> None:
    """A run that comes under the event id of another fact is recorded and counts."""
    record(ledger, delivery(event(RUN, event_id="event", body_id="event")))
    other = FlowRun(run_id="other", flow_id="flow", status=Status.SUCCESS)
    assert record(ledger, delivery(event(other, event_id="event", body_id="event"))) == {Result.RECORDED: 1}
    assert [entry.counts for entry in ledger.read(0, 10)] == [True, True]


def post(ledger: Ledger, body: object, event_id: str = "") -> Counter[Result]:
    """The results of recording the body of a request, with an event id in its headers."""
    headers = {b"x-adobe-event-id": event_id.encode()} if event_id else {}
    return record(ledger, open_delivery(headers, body if isinstance(body, bytes) else json.dumps(body).encode(), NOW))


A_RUN = {"id": "run", "flowId": "flow", "metrics": {"statusSummary": {"status": "failed"}}}
NOT_UNDERSTOOD: dict[str, object] = {
    "another-topic": {"hello": "sailor"},
    "another-topic-in-a-wrapper": {"event": {"hello": "sailor"}},
    "a-run-without-status": {"id": "run", "flowId": "flow", "metrics": {}},
    "half-an-emoji": b'{"hello": "\\ud83d"}',
    "no-json": b"ahoy",
    "a-list-of-nothing-known": {"items": [{"hello": 1}, {"hello": 2}]},
}


@pytest.mark.parametrize("body", [A_RUN, *NOT_UNDERSTOOD.values()], ids=["a-run", *NOT_UNDERSTOOD])
def test_ids_in_headers_decide_nothing(ledger: Ledger, body: object) -> None:
    """One body is one entry, under however many ids in headers it comes."""
    assert post(ledger, body, "claimed").total() == 1
    assert all(post(ledger, body, f"made-up-{number}") == {Result.DUPLICATE: 1} for number in range(50))
    assert post(ledger, body) == {Result.DUPLICATE: 1}
    assert len(ledger.read(0, 100)) == 1


def test_a_claimed_id_hides_no_run(ledger: Ledger) -> None:
    """A body that is replayed under the id of a run that is yet to come does not keep that run out."""
    post(ledger, {"hello": "sailor"}, "the-runs-id")
    post(ledger, {"event_id": "another", "event": {"hello": "sailor"}}, "the-runs-id")
    assert post(ledger, {"event_id": "the-runs-id", "event": A_RUN}, "the-runs-id") == {Result.RECORDED: 1}
    assert ledger.read(0, 10)[-1].counts


def test_one_content_is_one_fact(ledger: Ledger) -> None:
    """What is not understood is one fact, whatever its wrappers, blanks and order of members."""
    assert post(ledger, b'{"a": 1, "b": [2, {"c": 3, "d": 4}]}') == {Result.UNSUPPORTED: 1}
    for body in (
        b'{"b":[2,{"d":4,"c":3}],"a":1}',
        b'[{"a": 1, "b": [2, {"c": 3, "d": 4}]}]',
        b'{"event": {"a": 1, "b": [2, {"c": 3, "d": 4}]}}',
        b'{"events": [{"position": "p", "event": {"a": 1, "b": [2, {"c": 3, "d": 4}]}}]}',
    ):
        assert post(ledger, body) == {Result.DUPLICATE: 1}
    assert post(ledger, b'{"a": 1, "b": [{"c": 3, "d": 4}, 2]}') == {Result.UNSUPPORTED: 1}
    assert post(ledger, b'{"a": 1, "b": [2, {"c": 3, "d": 5}]}') == {Result.UNSUPPORTED: 1}


def test_what_can_not_be_decoded_wholly_is_told_apart(ledger: Ledger) -> None:
    """Bodies that differ only in what decoding drops are several facts."""
    deep = b"[" * 200 + b"%d" + b"]" * 200
    bodies = [
        b'{"a": "\xff"}',
        b'{"a": "\xfe"}',
        *(b'{"b": "\\ud83d", "a": ' + b"1" * 30 + end for end in (b"1}", b"2}")),
        *(b'{"b": "\\ud83d", "a": ' + deep % number + b"}" for number in (1, 2)),
    ]
    assert sum((post(ledger, body) for body in bodies), Counter()).total() == len(bodies)
    assert len(ledger.read(0, 100)) == len(bodies)


def test_what_an_earlier_version_recorded_by_its_bytes(ledger: Ledger) -> None:
    """An event that version 0.1.0 recorded under the digest of its bytes is a duplicate when it comes again."""
    body = b'{"hello": "sailor"}'
    known = Draft(fact_key=body_key(body), source=Source.WEBHOOK, kind=EntryKind.UNSUPPORTED, body=body)
    asyncio.run(ledger.append([known]))
    assert post(ledger, body) == {Result.DUPLICATE: 1}


def test_a_flow_that_changes(ledger: Ledger) -> None:
    """A flow that is read again is a duplicate until the Flow Service describes it differently."""
    files = [delivery(event(FLOW, body), source=Source.REPLAY) for body in (b"first", b"first", b"second")]
    assert record(ledger, *files) == {Result.RECORDED: 2, Result.DUPLICATE: 1}


def ended(at: int | None, status: Status = Status.FAILED) -> FlowRun:
    """A run with this end."""
    return FlowRun(run_id="run", flow_id="flow", status=status, completed_at=at)


@pytest.mark.parametrize(
    ("fact", "source", "retention", "result"),
    [
        pytest.param(ended(NOW - RETENTION - 1), Source.REPLAY, RETENTION, Result.EXPIRED, id="replayed-too-old"),
        pytest.param(ended(NOW - RETENTION), Source.REPLAY, RETENTION, Result.RECORDED, id="replayed-just-in-time"),
        pytest.param(ended(NOW - RETENTION - 1), Source.WEBHOOK, RETENTION, Result.RECORDED, id="posted-too-old"),
        pytest.param(ended(NOW - RETENTION - 1), Source.JOURNAL, RETENTION, Result.RECORDED, id="from-the-journal"),
        pytest.param(ended(1), Source.REPLAY, None, Result.RECORDED, id="nothing-is-pruned"),
        pytest.param(ended(None), Source.REPLAY, RETENTION, Result.RECORDED, id="no-time-at-all"),
        pytest.param(ended(1, Status.IN_PROGRESS), Source.REPLAY, RETENTION, Result.RECORDED, id="not-ended"),
        pytest.param(ALERT, Source.REPLAY, RETENTION, Result.RECORDED, id="an-alert"),
        pytest.param(replace(ALERT, changed_at=1), Source.REPLAY, RETENTION, Result.EXPIRED, id="an-alert-too-old"),
        pytest.param(Unreadable(), Source.REPLAY, RETENTION, Result.UNREADABLE, id="unreadable"),
    ],
)
def test_expired(ledger: Ledger, fact: Fact, source: Source, retention: int | None, result: Result) -> None:
    """A replayed run or alert that is older than the ledger's retention is not recorded: it may have been pruned."""
    assert record(ledger, delivery(fact, source=source), retention=retention) == {result: 1}
    assert len(ledger.read(0, 10)) == (result is not Result.EXPIRED)


def test_the_cursor_goes_with_the_events(ledger: Ledger) -> None:
    """A page's cursor is committed with its events, and also if there are none."""
    record(ledger, delivery(RUN, source=Source.JOURNAL), cursor=Cursor(name="journal", value="one"))
    assert ledger.cursor("journal") == "one"
    record(ledger, cursor=Cursor(name="journal", value="two"))
    assert ledger.cursor("journal") == "two"


def test_a_failure_is_the_callers() -> None:
    """An error of the ledger is raised, so that nothing is acknowledged. A delivery without events needs no ledger."""
    ledger = FakeLedger(LedgerUnavailableError("not now"))
    with pytest.raises(LedgerUnavailableError):
        record(ledger, delivery(RUN))
    assert record(ledger, delivery()) == {}


def test_the_check_asks_the_ledger_only_after_a_failure() -> None:
    """The check asks the ledger only after a failed write, until the ledger can be written again."""
    ledger = FakeLedger()
    intake = Intake(ledger, lambda: NOW)

    async def run() -> None:
        await intake.record([delivery(RUN)])
        await intake.check()
        assert ledger.checks == 0
        ledger.error = LedgerUnavailableError("the disk is full")
        with pytest.raises(LedgerUnavailableError):
            await intake.record([delivery(RUN)])
        ledger.error = LedgerUnavailableError("the file was moved")
        for _ in range(2):
            with pytest.raises(LedgerUnavailableError, match="the file was moved"):
                await intake.check()
        ledger.error = None
        await intake.check()
        await intake.check()
        assert ledger.checks == 3

    asyncio.run(run())


def test_the_check_asks_a_ledger_that_could_not_be_written_at_the_start() -> None:
    """The first check asks a ledger that was opened on a full disk, until it can be written."""
    ledger = FakeLedger(write_error=LedgerUnavailableError("the disk is full"))
    intake = Intake(ledger, lambda: NOW)
    assert intake.is_failing

    async def run() -> None:
        await intake.check()
        await intake.check()

    asyncio.run(run())
    assert ledger.checks == 1


def test_the_check_does_not_wait_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the ledger does not answer in time, the check raises the error of the last write."""
    monkeypatch.setattr("exporter.intake._CHECK_TIMEOUT", 0.01)
    ledger = FakeLedger(LedgerUnavailableError("locked"))
    ledger.answers = False
    intake = Intake(ledger, lambda: NOW)

    async def run() -> None:
        with pytest.raises(LedgerUnavailableError):
            await intake.record([delivery(RUN)])
        with pytest.raises(LedgerUnavailableError, match="locked"):
            await intake.check()

    asyncio.run(run())


def test_anomalies_are_counted_by_field() -> None:
    """Each value that was dropped counts for its field, over all events and deliveries."""
    odd_run = FlowRun(run_id="r", flow_id="f", status=Status.FAILED, anomalies=("records", "records", "status"))
    odd_alert = FlowAlert(alert_id="a", name="n", state=AlertState.FIRING, anomalies=("created_at",))
    assert anomalies([delivery(odd_run, odd_alert, Unreadable()), delivery(odd_run, FLOW)]) == {
        "records": 4,
        "status": 2,
        "created_at": 1,
    }
