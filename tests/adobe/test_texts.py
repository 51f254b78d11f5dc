"""Envelopes that hold their content as text, and stacks of all kinds of envelopes."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.adobe import lenient_json
from exporter.adobe.envelope import Metadata, unwrap
from exporter.intake import draft
from exporter.model import Event, FlowRun, Source, Unreadable, Unsupported
from tests.adobe import DEEP, a_run, encoded, facts, failing, opened, read_again, run_ids

CLOUD_EVENT: dict[str, object] = {"specversion": "1.0", "type": "t", "source": "urn:s", "id": "c"}
BRIDGE: dict[str, object] = {"version": "0", "id": "b", "detail-type": "p:t", "source": "aws.partner/p"}


def in_base64(value: object) -> str:
    """The value as JSON in base64."""
    return base64.b64encode(encoded(value)).decode()


Wrap = Callable[[Any], dict[str, Any]]

OBJECTS: dict[str, Wrap] = {
    "adobe_io": lambda inner: {"event": inner},
    "CloudEvents": lambda inner: CLOUD_EVENT | {"data": inner},
    "message": lambda inner: {"msgType": "eventNotification", "value": inner},
    "EventBridge": lambda inner: BRIDGE | {"detail": inner},
    "relayed headers": lambda inner: {"x-adobe-provider": "p", "event": inner},
    "journal": lambda inner: {"position": "p", "event": inner},
}
TEXTS: dict[str, Wrap] = {
    "CloudEvents text": lambda inner: CLOUD_EVENT | {"data": json.dumps(inner)},
    "CloudEvents base64": lambda inner: CLOUD_EVENT | {"data_base64": in_base64(inner)},
    "EventBridge text": lambda inner: BRIDGE | {"detail": json.dumps(inner)},
    "I/O Runtime": lambda inner: {"__ow_method": "post", "__ow_headers": {"a": "b"}, "__ow_body": in_base64(inner)},
    "I/O Runtime text": lambda inner: {"__ow_path": "", "__ow_body": json.dumps(inner)},
}
LISTS: dict[str, Wrap] = {
    "messages": lambda inner: {"messages": [inner]},
    "items": lambda inner: {"items": [inner], "_links": {}},
    "CloudEvents list": lambda inner: CLOUD_EVENT | {"data": [inner]},
    "list in a text": lambda inner: CLOUD_EVENT | {"data": json.dumps([inner])},
    "list in base64": lambda inner: {"__ow_body": in_base64([inner])},
}
WRAPS: dict[str, Wrap] = OBJECTS | TEXTS | LISTS
RECIPIENTS = ("recipientclientid", "recipient_client_id")


def has_room(names: list[str]) -> bool:
    """Whether a stack has no more texts and lists than are opened: four of each."""
    texts = sum(name in TEXTS or name in {"list in a text", "list in base64"} for name in names)
    return texts <= 4 and sum(name in LISTS for name in names) <= 4


stacks = st.lists(st.sampled_from(sorted(WRAPS)), max_size=8).filter(has_room)
object_stacks = st.lists(st.sampled_from(sorted(OBJECTS | TEXTS)), max_size=8).filter(has_room)


def wrapped(content: object, names: list[str]) -> Any:
    """The content in a stack of envelopes, the first of which is the outermost."""
    for name in reversed(names):
        content = WRAPS[name](content)
    return content


runs = st.builds(
    a_run,
    st.text("abc", min_size=1, max_size=3),
    sandboxName=st.sampled_from(["harbour", "north sea", "\N{ANCHOR}"]),
    imsOrgId=st.just("ORG@AdobeOrg"),
    createdAt=st.integers(1_759_000_000_000, 1_759_999_999_999),
    flowName=st.text(max_size=5),
    metrics=st.fixed_dictionaries(
        {
            "statusSummary": st.fixed_dictionaries(
                {"status": st.sampled_from(["success", "failed", "inProgress", "partialSuccess"])}
            ),
            "recordSummary": st.dictionaries(
                st.sampled_from(["inputRecordCount", "failedRecordCount"]), st.integers(0, 100)
            ),
        }
    ),
)


@given(runs, stacks, st.booleans())
def test_a_run_is_one_fact_in_any_envelopes(run: dict[str, object], names: list[str], is_batch: bool) -> None:
    """In any stack of envelopes a run is the fact that it is without them, as received and as read again."""
    (plain,) = opened(encoded(run))
    body = wrapped(run, names)
    (event,) = opened(encoded([body] if is_batch else body))
    assert isinstance(plain.fact, FlowRun)
    assert event.fact == read_again(event) == plain.fact
    assert draft(Source.WEBHOOK, event).fact_key == draft(Source.WEBHOOK, plain).fact_key


@given(object_stacks, st.booleans())
def test_another_topic_has_one_key_in_any_envelopes(names: list[str], is_batch: bool) -> None:
    """What is not understood has the key of its content in any stack of envelopes around one object."""
    content = {"hello": "sailor", "from": {"\N{ANCHOR}": [1, "x"]}}
    keys = set()
    for body in (content, wrapped(dict(reversed(content.items())), names)):
        (event,) = opened(encoded([body] if is_batch else body))
        assert isinstance(event.fact, Unsupported)
        keys.add(draft(Source.WEBHOOK, event).fact_key)
    assert len(keys) == 1


@given(stacks.filter(bool), st.data())
def test_the_outermost_recipient(names: list[str], data: st.DataObject) -> None:
    """The recipient is the one that the outermost envelope names, whatever any envelope within names."""
    inner = a_run(**dict.fromkeys(RECIPIENTS, "ours"))
    for number, name in enumerate(reversed(names)):
        inner = WRAPS[name](inner)
        client_id = "theirs" if number == len(names) - 1 else "ours"
        inner[data.draw(st.sampled_from(RECIPIENTS))] = client_id
    assert {event.client_id for event in opened(encoded(inner))} == {"theirs"}


@given(stacks.filter(lambda names: any(name in TEXTS or "list in" in name for name in names)))
def test_a_text_names_no_recipient(names: list[str]) -> None:
    """A client id in a text proves nothing. The publisher wrote the text, who may be anybody."""
    inner = a_run(**dict.fromkeys(RECIPIENTS, "ours"))
    assert {event.client_id for event in opened(encoded(wrapped(inner, names)))} == {None}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(in_base64(a_run()), id="plain"),
        pytest.param(in_base64(a_run(name="??>>")).replace("+", "-").replace("/", "_"), id="for addresses"),
        pytest.param(in_base64(a_run()).rstrip("="), id="without padding"),
        pytest.param("\r\n".join([in_base64(a_run())[:20], in_base64(a_run())[20:]]) + "\n", id="over several lines"),
        pytest.param(base64.b64encode(b"\xef\xbb\xbf " + encoded(a_run())).decode(), id="with a byte order mark"),
        pytest.param(json.dumps(a_run()), id="not in base64"),
        pytest.param("\ufeff\n " + json.dumps(a_run()), id="not in base64, with a byte order mark"),
        pytest.param(json.dumps(a_run(x="\ud83d"), ensure_ascii=False), id="with half an emoji"),
        pytest.param(base64.b64encode(encoded(a_run())[:-1] + b', "x": "\xff\x00"}').decode(), id="not UTF-8"),
    ],
)
@pytest.mark.parametrize("key", ["data_base64", "__ow_body"])
def test_base64(key: str, text: str) -> None:
    """Base64 is read with or without padding, line breaks and the letters for addresses. So is text in its place."""
    assert run_ids(encoded({key: text})) == ["r"]


NO_ENVELOPES: dict[str, dict[str, object]] = {
    **{
        f"{key}: {name}": {key: text}
        for key in ("data", "data_base64", "__ow_body")
        for name, text in {
            "nothing": "",
            "text": "low tide",
            "no JSON": "{low tide",
            "a number": "7",
            "a number in base64": in_base64(7),
            "a text in a text": json.dumps(json.dumps(a_run())),
            "numbers": "[1, 2]",
            "binary data": base64.b64encode(bytes(range(256))).decode(),
            "no ASCII": "\N{ANCHOR}",
            "half an emoji": "\ud83d",
            "one letter": "e",
        }.items()
    },
    "data in base64": {"data": in_base64(a_run())},
    "a detail without its type": {"detail": json.dumps(a_run())},
    "an object as detail without its type": {"detail": a_run()},
    **{f"a run in {key}": {key: json.dumps(a_run())} for key in ("message", "event", "value", "body", "messages")},
}


def test_texts_that_are_no_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that is no JSON object, or not in a member for content, is a text, and the event is unsupported."""

    def check(node: dict[str, object]) -> None:
        (event,) = opened(encoded(node))
        assert isinstance(event.fact, Unsupported)
        assert event.body == encoded(node)
        assert event.content == lenient_json.canonical(node)

    assert failing(NO_ENVELOPES, check) == {}
    decoded = count_decoded(monkeypatch)
    opened(encoded({"message": json.dumps(a_run()), "errors": [{"data": "{}"}]}))
    assert len(decoded) == 1


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets the size of each text that is decoded."""
    sizes: list[int] = []
    decode = lenient_json.decode

    def counting(raw: bytes) -> lenient_json.Decoded | None:
        sizes.append(len(raw))
        return decode(raw)

    monkeypatch.setattr(lenient_json, "decode", counting)
    return sizes


@pytest.mark.parametrize("is_list", [False, True], ids=["objects", "lists"])
def test_texts_in_texts_are_bounded(monkeypatch: pytest.MonkeyPatch, is_list: bool) -> None:
    """Of texts within each other four are decoded. What lies deeper is kept and not understood."""

    def nested(depth: int) -> bytes:
        inner: object = a_run()
        for _ in range(depth):
            inner = {"data_base64": in_base64([inner] if is_list else inner)}
        return encoded(inner)

    assert run_ids(nested(4)) == ["r"]
    sizes = count_decoded(monkeypatch)
    for depth in (5, 24):
        (event,) = opened(nested(depth))
        assert (event.fact, event.body) == (Unsupported(), nested(depth))
    # In a list each element is decoded once more, and once more to find out why it is not understood.
    assert len(sizes) <= 2 * 3 * 5


def test_brackets_in_a_text() -> None:
    """Ten thousand brackets in a text make the event unreadable, as they do outside of a text."""
    for brackets in (DEEP, b'{"hello": ' + DEEP + b"}", b'{"a":' * 10_000):
        for key in ("data", "__ow_body"):
            (event,) = opened(encoded({key: brackets.decode()}))
            assert isinstance(event.fact, Unsupported | Unreadable)
    (event,) = opened(encoded({"data": '{"hello": ' + DEEP.decode() + "}"}))
    assert event.fact == Unreadable()
    assert event.content is None


@pytest.mark.parametrize("value", [b'"\\ud83d"', b'"a\\u0000b"', b'"\x01"', DEEP, b"1e400"], ids=lambda v: repr(v)[:9])
def test_damage_in_a_text(value: bytes) -> None:
    """A damaged value in a text costs its leaf, and not the run."""
    text = b'{"flowName": ' + value + b", " + encoded(a_run())[1:]
    assert run_ids(encoded({"data": text.decode()})) == ["r"]
    assert run_ids(encoded({"data_base64": base64.b64encode(text).decode()})) == ["r"]


def test_half_an_emoji_in_a_text() -> None:
    """A text with a part that was lost has no content of its own, because another text could have the same."""
    (event,) = opened(encoded({"data": '{"hello": "\ud83d"}'}))
    assert (event.fact, event.content) == (Unsupported(), None)


def test_a_prefixed_run_in_a_text() -> None:
    """Fields with the XDM prefix are read in a text too, where base64 hides the prefix."""
    run = {"xdm:flowRunId": "r", "xdm:flowId": "f", "xdm:metrics": {"xdm:statusSummary": {"xdm:status": "failed"}}}
    (event,) = opened(encoded({"__ow_body": in_base64(run)}))
    assert event.fact == read_again(event) == facts(encoded(run))[0]
    assert isinstance(event.fact, FlowRun)


def test_several_runs_in_a_text() -> None:
    """A relay of a batch has an event for each element, which is stored with its own bytes."""
    batch = [{"event_id": "one", "event": a_run("one")}, {"event_id": "two", "event": a_run("two")}, {"a": 1}]
    body = encoded({"__ow_body": in_base64(batch)})
    events = opened(body)
    assert run_ids(body) == ["one", "two"]
    assert [event.body for event in events] == [encoded(element) for element in batch]
    assert [event.event_id for event in events] == ["one", "two", None]


@pytest.mark.parametrize(
    ("node", "metadata"),
    [
        pytest.param(
            BRIDGE | {"time": "T", "detail": a_run()}, Metadata(event_code="t", envelope_time="T"), id="EventBridge"
        ),
        pytest.param(
            BRIDGE | {"detail-type": "a:b:c", "detail": a_run()}, Metadata(event_code="c"), id="several colons"
        ),
        pytest.param(BRIDGE | {"detail-type": "c", "detail": a_run()}, Metadata(event_code="c"), id="no colon"),
        pytest.param(BRIDGE | {"detail-type": 1, "detail": a_run()}, Metadata(), id="no text"),
        pytest.param(
            BRIDGE | {"detail": {"event_id": "e", "event_code": "inner", "event": a_run()}},
            Metadata(event_id="e", event_code="inner"),
            id="the innermost counts",
        ),
        pytest.param({"time": "T", "event": a_run()}, Metadata(), id="a time without a type"),
        pytest.param(
            a_run(**{"X-Adobe-Event-Code": "c", "x-adobe-event-ID": "e", "x-adobe-provider": "p"}),
            Metadata(event_id="e", event_code="c"),
            id="relayed headers beside a run",
        ),
        pytest.param(
            {"__ow_headers": {"X-ADOBE-EVENT-CODE": "c", "x-adobe-event-id": "e"}, "event": a_run()},
            Metadata(event_id="e", event_code="c"),
            id="relayed headers in a member of their own",
        ),
        pytest.param(
            {"__ow_headers": {"x-adobe-event-id": "in it"}, "x-adobe-event-id": "beside it", "event": a_run()},
            Metadata(event_id="beside it"),
            id="relayed headers twice",
        ),
        pytest.param(
            {"x-adobe-event-id": "header", "event_id": "member", "event": a_run()},
            Metadata(event_id="member"),
            id="a member of its own comes first",
        ),
        pytest.param(
            {"x-adobe-event-id": {}, "__ow_headers": "x", "event": a_run()}, Metadata(), id="no headers at all"
        ),
    ],
)
def test_the_metadata_of_relays(node: dict[str, object], metadata: Metadata) -> None:
    """EventBridge and relays state the event's code, time and id. EventBridge's own id is not the event's."""
    assert unwrap(node, Metadata()).metadata == metadata


BINARY = {"ce_specversion": "1.0", "ce_type": "source_flow_run_info", "ce_id": "c", "ce_time": "2025-10-08T12:21:01Z"}


def event_of(body: object, **headers: str) -> Event:
    """The only event of a request."""
    (event,) = opened(encoded(body), **headers)
    return event


def test_binary_mode() -> None:
    """A CloudEvent in binary mode has its code, its time and its id in the headers."""
    event = event_of(a_run(), **BINARY)
    assert isinstance(event.fact, FlowRun)
    assert (event.event_code, event.event_id, event.body_id) == ("source_flow_run_info", "c", None)
    assert event.fact.ended_at == event.fact.envelope_time == 1_759_926_061_000
    assert not event.is_complete


def test_headers_of_binary_mode_are_used_last() -> None:
    """Adobe's own headers and members come before those of the CloudEvent, and a batch uses none of them."""
    event = event_of(a_run(), **BINARY, ce_eventid="e")
    assert event.event_id == "e"
    event = event_of(a_run(), **BINARY, x_adobe_event_id="x", x_adobe_event_code="code")
    assert (event.event_id, event.event_code) == ("x", "code")
    inner = a_run(metrics={"statusSummary": {"status": "failed"}}, completedAt=None)
    event = event_of({"event_id": "b", "event_code": "inner", "timestamp": 1_759_926_000_000, "event": inner}, **BINARY)
    assert isinstance(event.fact, FlowRun)
    assert (event.event_id, event.event_code, event.fact.envelope_time) == ("b", "inner", 1_759_926_000_000)
    for event in opened(encoded([a_run("a"), a_run("b")]), **BINARY):
        assert isinstance(event.fact, FlowRun)
        assert (event.event_id, event.event_code, event.fact.envelope_time) == (None, None, None)


def test_ids_in_headers_decide_nothing() -> None:
    """One content with several ids in headers is one fact, and no header names a recipient."""
    events = [event_of({"a": 1}, **BINARY | {"ce_id": id_}, ce_recipientclientid="ours") for id_ in ("c", "d")]
    assert len({draft(Source.WEBHOOK, event).fact_key for event in events}) == 1
    assert {event.client_id for event in events} == {None}


MISSPELT = {"id": "copyActivity", "statusSummary": {"status": "success"}}


@pytest.mark.parametrize(
    ("members", "names"),
    [
        pytest.param({"activites": [MISSPELT]}, ["copy"], id="misspelt"),
        pytest.param({"xdm:activites": [MISSPELT]}, ["copy"], id="misspelt, with the prefix"),
        pytest.param({"activities": [], "activites": [MISSPELT]}, ["copy"], id="both, one empty"),
        pytest.param({"activities": None, "activites": MISSPELT}, ["copy"], id="an object in place of a list"),
        pytest.param({"activities": [{"id": "promotionActivity"}], "activites": [MISSPELT]}, ["promotion"], id="both"),
        pytest.param({"activites": "x", "activityRefs": {"copyActivity": 1}}, [], id="no activities"),
    ],
)
def test_misspelt_activities(members: dict[str, object], names: list[str]) -> None:
    """The activities of a run are read under the name that one of Adobe's schemas misspells."""
    (fact,) = facts(encoded(a_run(**members)))
    assert isinstance(fact, FlowRun)
    assert [activity.name for activity in fact.activities] == names


def test_fields_that_are_not_used() -> None:
    """Fields of a run that are not used change nothing, whatever they hold."""

    def check(value: object) -> None:
        unused = dict.fromkeys(("parentFlowRunId", "childFlowRunIds", "recordTypes", "activityRefs"), value)
        run = a_run(**unused, metrics={"statusSummary": {"status": "failed"}, "customSummary": value})
        assert facts(encoded(run)) == facts(encoded(a_run()))

    assert failing([None, "", 7, "x", [], {}, ["a", {"b": 1}], {"a": [1]}, [{"id": "copyActivity"}]], check) == {}
