import base64
import re
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.adobe.deliveries import (
    MAX_EVENTS,
    Validation,
    challenge,
    is_quick,
    open_delivery,
    read_document,
    validation,
)
from exporter.errors import BadChallengeError, TooManyEventsError
from exporter.model import Delivery, Fact, FlowAlert, FlowKind, FlowRun, Source, Unreadable, Unsupported
from tests.adobe import DEEP, NOW, a_run, assert_keepable, encoded, facts, failing, opened, read_again, run_ids, trees
from tests.samples import NAMES, sample


@pytest.mark.parametrize(
    ("query", "value"),
    [
        (b"challenge=8ec8d794-e0ab-42df-9017-e3dada8e84f7", "8ec8d794-e0ab-42df-9017-e3dada8e84f7"),
        (b"a=1&challenge=x&b=2", "x"),
        (b"challenge=a%20b%26c%3Dd", "a b&c=d"),
        (b"challenge=%C3%A9", "\xe9"),
        (b"challenge=" + b"x" * 1024, "x" * 1024),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_challenge(query: bytes, value: str) -> None:
    """The challenge of a registration is decoded from the query."""
    assert challenge(query) == value


NO_CHALLENGES = (
    b"",
    b"challenge=",
    b"challenge",
    b"Challenge=x",
    b"x=challenge",
    b"challenge=" + b"x" * 1025,
    b"challenge=" + b"%C3%A9" * 513,
)


def test_no_challenge() -> None:
    """A query without a challenge, or with one of more than 1,024 bytes, is refused."""

    def check(query: bytes) -> None:
        with pytest.raises(BadChallengeError):
            challenge(query)

    assert failing(NO_CHALLENGES, check) == {}


@given(st.binary())
def test_any_query_is_answered(query: bytes) -> None:
    """A random query holds a challenge of at most 1,024 bytes, or is refused."""
    with suppress(BadChallengeError):
        assert 0 < len(challenge(query).encode()) <= 1024


@pytest.mark.parametrize(
    "body",
    [
        b'{"validationUrl": "https://csm.adobe.io/csm/registrations/validate?id=1"}',
        b'\xef\xbb\xbf {"validationUrl" : "https:\\/\\/csm.adobe.io\\/csm\\/registrations\\/validate?id=1"} ',
    ],
    ids=["plain", "escaped"],
)
def test_validation(body: bytes) -> None:
    """A body that holds a `validationUrl` and nothing else is a validation request."""
    assert validation(body) == Validation("https://csm.adobe.io/csm/registrations/validate?id=1")


NO_VALIDATIONS = (
    b'{"validationUrl": "https://csm.adobe.io/", "event": 1}',
    b'[{"validationUrl": "https://csm.adobe.io/"}]',
    b'{"validationUrl": 1}',
    b'{"validationUrl": null}',
    b'{"validationurl": "https://csm.adobe.io/"}',
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", True),
        (b"[" * 16_000, True),
        (b"[" * 17_000, False),
        (b'"' + b"a" * 200_000 + b'"', True),
        (b'"' + b"a" * 200_000 + b'\xff"', False),
        (b'"' + b"a" * 262_144 + b'"', False),
        (b'{"data" : "{' + b"a" * 20_000 + b'"}', False),
        (b'{"d\\u0061ta": "{' + b"a" * 20_000 + b'"}', False),
        (b'[{"event": {"items": [{"detail": {"__ow_body": "' + b"a" * 20_000 + b'"}}]}}]', False),
        (b'{"data": {"a": "' + b"a" * 20_000 + b'"}}', True),
        (b"[" + b'{"event": {"hello": "sailor"}}, ' * 450 + b"1]", True),
        (b"[" + b"{}, " * 5000 + b"1]", False),
        (b'{"event": ' * 2000 + b"1" + b"}" * 2000, False),
    ],
    ids=[
        "empty",
        "small",
        "damaged",
        "strict",
        "not UTF-8",
        "large",
        "a text",
        "an escaped name",
        "a text within",
        "no text",
        "events",
        "very many",
        "deep",
    ],
)
def test_quick_bodies(body: bytes, expected: bool) -> None:
    """A small body and one of medium size that the fast decoder accepts are quick to read, unless it holds text."""
    assert is_quick(body) is expected


def test_no_validation() -> None:
    """A `validationUrl` beside other members, or one that is not text, makes an unsupported event."""

    def check(body: bytes) -> None:
        assert validation(body) is None
        assert facts(body) == [Unsupported()]

    assert failing(NO_VALIDATIONS, check) == {}


@pytest.mark.parametrize("text", ["x\\u0000y", "x\\ud83dy", "x\\ny\\u001b[31m", "x\x7f\\u0085"], ids=repr)
def test_a_validation_can_be_shown(text: str) -> None:
    """The address of a validation request, which is logged and shown, holds no control characters."""
    asked = validation(f'{{"validationUrl": "{text}"}}'.encode())
    assert asked is not None
    assert_keepable(asked)


SAMPLES = {name: sample(name) for name in NAMES}

IDS: dict[str, list[tuple[str | None, str | None]]] = {
    "source-success": [("d2b1f0aa-5c6e-4b0e-8f57-0c9a4e7d1b01", "sources_flow_run_success")],
    "source-failure-messages": [("header", "sources_flow_run_failed")],
    "source-failure-xdm": [("header", "sources_flow_run_failure")],
    "source-start": [("header", "source_flow_run_info")],
    "destination-skipped": [("header", "header_code")],
    "alert-firing": [("header", "source_flow_run_error")],
    "cloudevent": [("6e9b8d3f-257a-4401-98f0-7a6d19204800", "destination_flow_run_info")],
    "cloudevents-batch": [
        ("7fac9e40-368b-4512-a901-8b7e2a315911", "destination_flow_run_info"),
        ("80bdaf51-479c-4623-ba12-9c8f3b426a22", "destination_flow_run_info"),
    ],
    "adobe-io-batch": [
        ("91ceb062-58ad-4734-8b23-ad904c537b33", None),
        ("a2dfc173-69be-4845-9c34-bea15d648c44", None),
    ],
    "journal-page": [
        ("b3e0d284-7acf-4956-ad45-cfb26e759d55", None),
        ("c4f1e395-8bd0-4a67-be56-d0c37f86ae66", "sources_flow_run_info"),
    ],
    "flow-service-runs": [("header#1", "header_code"), ("header#2", "header_code")],
    "audit-event": [("header", "audit_events_info")],
    "adobe-io-new-names": [("d5e2f4a6-9ce1-4b78-8f67-e1d48097bf77", "header_code")],
    "event-bridge": [("e6f3a5b7-adf2-4c89-9078-f2e591a8c088", "sources_flow_run_info")],
    "event-bridge-base64": [("2a37e9fb-e136-40cd-94bc-3629d5ec04cc", "sources_flow_run_failed")],
    "runtime-headers": [("f704b6c8-be03-4d9a-a189-03f6a2b9d199", "sources_flow_run_info")],
    "runtime-body": [("0815c7d9-cf14-4eab-b29a-1407b3cae2aa", "sources_flow_run_info")],
    "cloudevent-text": [("1926d8ea-d025-4fbc-83ab-2518c4dbf3bb", "destination_flow_run_info")],
}


@pytest.mark.parametrize("name", IDS)
def test_ids_and_codes(name: str) -> None:
    """An event has the id and the code in its body, or those of the headers if it is the only element and has none."""
    events = opened(sample(name), x_adobe_event_id="header", x_adobe_event_code="header_code")
    assert [(event.event_id, event.event_code) for event in events] == IDS[name]
    assert all(
        event.body_id == (None if (event.event_id or "").startswith("header") else event.event_id) for event in events
    )


def test_no_ids() -> None:
    """An event without id in its body and its headers has no id."""
    (event,) = opened(encoded(a_run()))
    assert (event.event_id, event.event_code) == (None, None)


@pytest.mark.parametrize("key", ["event_id", "eventid"])
def test_invalid_event_ids(key: str) -> None:
    """An invalid event id is skipped: the other member's id is used, or the request's."""
    other = "eventid" if key == "event_id" else "event_id"

    def check(garbage: object) -> None:
        (event,) = opened(encoded({key: garbage, "event": a_run()}), x_adobe_event_id="header")
        assert event.event_id == "header"
        (event,) = opened(encoded({key: garbage, other: "body", "event": a_run()}))
        assert event.event_id == "body"

    assert failing([{}, "", " ", True, {"id": "x"}, ["x"]], check) == {}


def test_several_facts_of_one_event_have_ids_of_their_own() -> None:
    """Several facts in one event have numbered ids, which are the same at every delivery."""
    messages = [{"value": a_run("one")}, {"value": a_run("two")}, {"value": a_run("three")}]
    body = encoded({"event_id": "e", "event": {"messages": messages}})
    assert [event.event_id for event in opened(body)] == ["e#1", "e#2", "e#3"]
    assert [event.event_id for event in opened(b"[" + body + b"]")] == ["e#1", "e#2", "e#3"]
    assert run_ids(body) == ["one", "two", "three"]


def test_an_event_that_wraps_one_fact_keeps_its_id() -> None:
    """An event whose list holds one fact has its id without a number."""
    (event,) = opened(encoded({"event_id": "e", "event": {"items": [a_run()]}}))
    assert event.event_id == "e"


def test_facts_that_have_ids_keep_them() -> None:
    """Facts in one event that have ids of their own keep them."""
    messages = [{"event_id": "one", "event": a_run("one")}, {"event_id": "two", "event": a_run("two")}]
    assert [event.event_id for event in opened(encoded({"messages": messages}))] == ["one", "two"]


def test_bodies_are_kept_as_they_came() -> None:
    """The body of each event of a sample is a piece of the request, byte for byte, or of a text in the request."""

    def check(body: bytes) -> None:
        texts = [base64.b64decode(text) for text in re.findall(rb'"data_base64": "([^"]*)"', body)]
        assert all(any(event.body in text for text in (body, *texts)) for event in opened(body))

    assert failing(SAMPLES, check) == {}


def test_the_ledger_reads_what_was_recorded() -> None:
    """Reading the stored body of a run or an alert gives the fact that the request gave."""

    def check(body: bytes) -> None:
        for event in opened(body):
            if isinstance(event.fact, FlowRun | FlowAlert):
                assert read_again(event) == event.fact

    assert failing(SAMPLES, check) == {}


RUNS_OF_A_QUERY = [a_run(run_id, flowName="SELECT secret") for run_id in ("one", "two")]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(RUNS_OF_A_QUERY[0], id="the request"),
        pytest.param(
            {"specversion": "1.0", "type": "query_service_run_info", "data": RUNS_OF_A_QUERY},
            id="an envelope of several",
        ),
    ],
)
def test_a_querys_run_is_read_again_as_one(body: object) -> None:
    """A run of a query, whose name can be SQL, is read as one again from its stored body."""
    events = opened(encoded(body), x_adobe_event_code="query_service_run_info")
    for fact in [event.fact for event in events] + [read_again(event) for event in events]:
        assert isinstance(fact, FlowRun)
        assert fact.kind is FlowKind.QUERY


def test_an_empty_array_holds_no_events() -> None:
    """An empty array is a delivery without events."""
    assert opened(b"[]") == opened(b" [ ] ") == ()


ENVELOPES: dict[str, tuple[bytes, bytes]] = {
    "batch": (b"[", b"]"),
    "messages": (b'{"event_id": "e", "event": {"messages": [', b"]}}"),
    "messages in a batch": (b'[{"messages": [', b"]}]"),
    "items": (b'{"items": [', b'], "_links": {}}'),
    "data": (b'{"specversion": "1.0", "type": "t", "eventid": "e", "data": [', b"]}"),
}
RUNS = (encoded(a_run("one")), encoded({"event_id": "two", "event": a_run("two")}))

# Elements that are no run, and the type of the fact that each is read as.
BROKEN: dict[str, tuple[bytes, type[Fact]]] = {
    "null": (b"null", Unreadable),
    "a number": (b"5", Unreadable),
    "text": (b'"low tide"', Unreadable),
    "an array": (b"[" + RUNS[0] + b"]", Unreadable),
    "nothing known": (b'{"hello": "sailor"}', Unsupported),
    "half an emoji": (b'{"hello": "\\ud83d"}', Unsupported),
    "a raw NUL": (b'{"hello": "\x00"}', Unsupported),
    "no UTF-8": (b'{"hello": "\xff"}', Unsupported),
    "half an emoji for a key": (b'{"\\ud83d": 1}', Unsupported),
    "more than a float": (b'{"hello": 1e400}', Unsupported),
    "5000 digits": (b'{"hello": ' + b"9" * 5000 + b"}", Unsupported),
    "10,000 brackets": (DEEP, Unreadable),
    "10,000 brackets in an object": (b'{"hello": ' + DEEP + b"}", Unreadable),
    "700 prefixed objects": (b'{"xdm:hello": ' + b'{"a":' * 700 + b"1" + b"}" * 701, Unsupported),
    "a run of nothing": (encoded(a_run(None)), Unsupported),
}
# Elements that are not JSON, which only the commas between them separate.
SPOILT: dict[str, bytes] = {
    "nothing": b"",
    "no colon": b'{"hello" "sailor"}',
    "no value": b'{"hello": }',
    "no word": b'{"hello": sailor}',
    "no escape": b'{"hello": "\\x"}',
    "no number": b'{"hello": 1.}',
    "two values": b'{"hello": 1} {"sailor": 2}',
}


def with_between(element: bytes) -> Iterator[list[bytes]]:
    """Two runs with another element before, between or after them."""
    for place in range(len(RUNS) + 1):
        yield [*RUNS[:place], element, *RUNS[place:]]


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_one_element_spoils_no_other(envelope: str) -> None:
    """An element that is no run, or that can't be read, does not affect the others, wherever it is."""
    before, after = ENVELOPES[envelope]

    def check(broken: tuple[bytes, type[Fact]]) -> None:
        element, kind = broken
        for elements in with_between(element):
            found = facts(before + b", ".join(elements) + after)
            others = [type(fact) for fact in found if not isinstance(fact, FlowRun)]
            # Pruned values are only noticed in the elements of a batch.
            assert others == [kind] or (envelope != "batch" and kind is Unreadable and others == [Unsupported])
            assert [fact.run_id for fact in found if isinstance(fact, FlowRun)] == ["one", "two"]

    assert failing(BROKEN, check) == {}


def test_one_entry_spoils_no_page() -> None:
    """An entry of a journal page that is no run, or that can't be read, does not affect the others."""

    def check(broken: tuple[bytes, type[Fact]]) -> None:
        for elements in with_between(broken[0]):
            entries = [b'{"position": "p", "event": ' + part + b"}" if part in RUNS else part for part in elements]
            body = b'{"events": [' + b", ".join(entries) + b'], "_page": {"count": 3}}'
            delivery = read_document(body, Source.JOURNAL, NOW)
            assert [event.fact.run_id for event in delivery.events if isinstance(event.fact, FlowRun)] == ["one", "two"]
            assert len(delivery.events) == 3
            assert run_ids(body) == ["one", "two"]

    assert failing(BROKEN, check) == {}


def test_an_element_that_is_not_json_spoils_no_other() -> None:
    """An element of a batch that is not JSON does not affect the others, wherever it is."""

    def check(element: bytes) -> None:
        for elements in with_between(element):
            found = facts(b"[" + b", ".join(elements) + b"]")
            assert [type(fact) for fact in found if not isinstance(fact, FlowRun)] == [Unreadable]
            assert [fact.run_id for fact in found if isinstance(fact, FlowRun)] == ["one", "two"]

    assert failing(SPOILT, check) == {}


@given(st.lists(st.sampled_from([None, *BROKEN, *SPOILT]), min_size=2, max_size=12))
def test_every_element_is_an_event(parts: list[str | None]) -> None:
    """In any mixture of runs and damaged elements, every element becomes one event, in order."""
    elements = [
        encoded(a_run(str(number))) if part is None else SPOILT[part] if part in SPOILT else BROKEN[part][0]
        for number, part in enumerate(parts)
    ]
    found = facts(b"[" + b",".join(elements) + b"]")
    assert [type(fact) for fact in found] == [
        FlowRun if part is None else Unreadable if part in SPOILT else BROKEN[part][1] for part in parts
    ]
    assert [fact.run_id for fact in found if isinstance(fact, FlowRun)] == [
        str(number) for number, part in enumerate(parts) if part is None
    ]


NOT_UNDERSTOOD: tuple[tuple[bytes, type[Fact]], ...] = (
    (b"{}", Unsupported),
    (b'{"hello": "sailor"}', Unsupported),
    (b'{"events": [], "_page": {"count": 0}}', Unsupported),
    (b'{"events": [{"hello": "sailor"}]}', Unsupported),
    (b"", Unreadable),
    (b"   ", Unreadable),
    (b"ahoy", Unreadable),
    (b"1", Unreadable),
    (b'"text"', Unreadable),
    (b"null", Unreadable),
    (b'{"hello": ', Unreadable),
    (b"\x00" * 9, Unreadable),
    (b"\xff\xfe{\x00}\x00", Unreadable),
    (DEEP, Unreadable),
    (b'{"a":' * 10_000, Unreadable),
    (b'{"hello": ' + DEEP + b"}", Unreadable),
)


def test_a_body_that_is_not_understood_is_one_event() -> None:
    """A body in which nothing is recognised becomes one event with its bytes."""

    def check(case: tuple[bytes, type[Fact]]) -> None:
        body, kind = case
        (event,) = opened(body)
        assert isinstance(event.fact, kind)
        assert event.body == body if not body.startswith(b"[") else event.body in body

    assert failing(NOT_UNDERSTOOD, check) == {}


def test_nothing_recognised_is_one_event() -> None:
    """A list in which nothing is recognised becomes one event with the bytes of all of it."""
    body = b'{"event_id": "e", "event": {"items": [{"a": 1}, {"b": 2}, 3]}}'
    (event,) = opened(body)
    assert (event.fact, event.body, event.event_id) == (Unsupported(), body, "e")


def nested(depth: int) -> bytes:
    """A run in so many nested lists."""
    return b'{"items": [' * depth + encoded(a_run()) + b"]}" * depth


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_lists_in_lists(depth: int) -> None:
    """A run is found in up to four nested lists."""
    assert run_ids(nested(depth)) == ["r"]


@pytest.mark.parametrize("depth", [10, 60, 500])
def test_lists_without_end(depth: int) -> None:
    """A run in more nested lists becomes one event with the bytes of all of them."""
    (event,) = opened(nested(depth))
    assert event.body == nested(depth)


def batch(count: int) -> bytes:
    """So many runs in an array."""
    return encoded([a_run(number) for number in range(count)])


def wrapped(count: int) -> bytes:
    """So many runs in one event."""
    return encoded({"items": [a_run(number) for number in range(count)]})


def page(count: int) -> bytes:
    """So many runs on a journal's page."""
    return encoded({"events": [{"event": a_run(number)} for number in range(count)]})


@pytest.mark.parametrize("made", [batch, wrapped, page], ids=lambda made: made.__name__)
def test_too_many_events(made: Callable[[int], bytes]) -> None:
    """A delivery of 10,000 events is read. A delivery of one more is refused."""
    assert len(opened(made(MAX_EVENTS))) == MAX_EVENTS == 10_000
    with pytest.raises(TooManyEventsError):
        opened(made(MAX_EVENTS + 1))


def test_too_many_broken_elements() -> None:
    """Elements that can't be read count towards the limit too."""
    with pytest.raises(TooManyEventsError):
        opened(b"[" + b",".join([b'"\\ud83d"'] * (MAX_EVENTS + 1)) + b"]")


def test_a_document_is_read_as_a_request_is() -> None:
    """A page or a file gives the events that a request with the same body gives, with another source."""

    def check(body: bytes) -> None:
        for source in Source:
            assert read_document(body, source, NOW) == Delivery(source=source, events=opened(body), read_at=NOW)

    others = {
        "no JSON": b"ahoy",
        "an empty object": b"{}",
        "an empty array": b"[]",
        "a broken element": b'[{"a" 1}, {"b": 2}]',
    }
    assert failing(SAMPLES | others, check) == {}


@given(st.binary() | st.lists(st.binary()).map(lambda parts: b"[" + b",".join(parts) + b"]"))
def test_any_bytes(body: bytes) -> None:
    """Random bytes are a delivery whose facts can be stored."""
    assert_opens(body)


@given(trees | st.lists(trees), st.sampled_from([b"", b"\xef\xbb\xbf", b" "]))
def test_any_json(tree: object, start: bytes) -> None:
    """Adobe's members in random places are a delivery whose facts can be stored."""
    assert_opens(start + encoded(tree))


@given(
    st.sampled_from(NAMES).map(sample),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 30), st.binary(max_size=6)), min_size=1, max_size=4),
)
def test_any_damage(body: bytes, cuts: list[tuple[int, int, bytes]]) -> None:
    """A sample with random pieces replaced is a delivery whose facts can be stored."""
    for start, length, piece in cuts:
        at = start % len(body) if body else 0
        body = body[:at] + piece + body[at + length :]
    assert_opens(body)


@given(st.dictionaries(st.sampled_from([b"x-adobe-event-id", b"x-adobe-event-code", b"x"]), st.binary()))
def test_any_headers(headers: dict[bytes, bytes]) -> None:
    """Random headers give ids and codes that can be stored."""
    assert_opens(encoded(a_run()), headers)


def assert_opens(body: bytes, headers: dict[bytes, bytes] | None = None) -> None:
    """Assert that the ledger can store the delivery of a body, and that reading it again gives the same runs."""
    delivery = open_delivery(headers or {}, body, NOW)
    assert_keepable(delivery)
    for event in delivery.events:
        assert len(event.event_id or "") <= 140
        if isinstance(event.fact, FlowRun | FlowAlert):
            again = read_again(event)
            assert isinstance(again, FlowRun | FlowAlert)
            assert (again.run_id, again.flow_id, again.sandbox) == (
                event.fact.run_id,
                event.fact.flow_id,
                event.fact.sandbox,
            )
