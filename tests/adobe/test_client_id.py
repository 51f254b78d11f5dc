from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.adobe.deliveries import read_document
from exporter.model import Source, Unreadable
from tests.adobe import DEEP, NOW, a_run, encoded, failing, opened, trees

NEW = "recipientclientid"
OLD = "recipient_client_id"


def client_ids(body: object) -> list[str | None]:
    """The recipient's client id of each event in a body."""
    return [event.client_id for event in opened(body if isinstance(body, bytes) else encoded(body))]


def cloud_event(**members: object) -> dict[str, object]:
    """A run as CloudEvents wraps it."""
    return {"specversion": "1.0", "type": "t", "source": "urn:s", "id": "c", "eventid": "e", "data": a_run(), **members}


@pytest.mark.parametrize(
    ("body", "client_id"),
    [
        pytest.param({"event_id": "e", "event": a_run(), OLD: "ours"}, "ours", id="the old name"),
        pytest.param({"event_id": "e", "event": a_run(), NEW: "ours"}, "ours", id="the new name"),
        pytest.param({"event": a_run(), NEW: "new", OLD: "old"}, "new", id="both, the new one first"),
        pytest.param({OLD: "old", NEW: "new", "event": a_run()}, "new", id="both, the old one first"),
        pytest.param({"event": a_run(), NEW: "", OLD: "old"}, "old", id="the new one is empty"),
        pytest.param({"event": a_run(), NEW: None, OLD: "old"}, "old", id="the new one is null"),
        pytest.param({"event": a_run(), NEW: "new", OLD: None}, "new", id="the old one is null"),
        pytest.param(cloud_event(**{NEW: "ours"}), "ours", id="CloudEvents"),
        pytest.param(cloud_event(**{OLD: "ours"}), "ours", id="CloudEvents, the old name"),
        pytest.param(cloud_event(**{NEW: "new", OLD: "old"}), "new", id="CloudEvents, both"),
        pytest.param({**a_run(), NEW: "ours"}, "ours", id="beside a run that is not wrapped"),
        pytest.param({"hello": "sailor", NEW: "ours"}, "ours", id="beside another topic"),
        pytest.param({"event": {"hello": "sailor"}, NEW: "ours"}, "ours", id="around another topic"),
        pytest.param({"event": {}, NEW: "ours"}, "ours", id="around nothing"),
        pytest.param({"event": {"data": {"value": a_run()}}, NEW: "ours"}, "ours", id="nested envelopes"),
        pytest.param({"event": {"event": a_run(), NEW: "ours"}}, "ours", id="the inner envelope"),
        pytest.param({"position": "p", "event": {"event": a_run(), OLD: "ours"}}, "ours", id="a journal's entry"),
        pytest.param({"position": "p", "event": cloud_event(**{NEW: "ours"})}, "ours", id="an entry of CloudEvents"),
        pytest.param({"event": {"messages": [{"value": a_run()}]}, NEW: "ours"}, "ours", id="around a list"),
        pytest.param({"event": a_run()}, None, id="nowhere"),
        pytest.param({"event": a_run(), "Recipientclientid": "ours"}, None, id="another case"),
        pytest.param({"event": a_run(), "client_id": "ours", "x-api-key": "ours"}, None, id="other names"),
        pytest.param({"event": a_run(), "header": {NEW: "ours"}}, None, id="beside the way"),
    ],
)
def test_client_id(body: object, client_id: str | None) -> None:
    """The recipient is the client id in the envelope, in the new member rather than in the old."""
    assert client_ids(body) == [client_id]


@pytest.mark.parametrize("name", [NEW, OLD])
def test_a_client_id_of_a_wrong_type(name: str) -> None:
    """A client id that is not text names nobody, and the rest of the event is read."""

    def check(value: object) -> None:
        (event,) = opened(encoded({"event_id": "e", "event": a_run(), name: value}))
        assert (event.client_id, event.event_id) == (None, "e")
        assert not isinstance(event.fact, Unreadable)

    assert failing([None, "", " \n", True, False, 1.5, [], ["ours"], {}, {"ours": "ours"}], check) == {}


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda inner: {"event": inner, NEW: "theirs"}, id="Adobe I/O"),
        pytest.param(lambda inner: {"event": inner, OLD: "theirs"}, id="Adobe I/O, the old name"),
        pytest.param(lambda inner: cloud_event(data=inner, **{NEW: "theirs"}), id="CloudEvents"),
        pytest.param(lambda inner: {"event": {"data": inner}, NEW: "theirs"}, id="nested envelopes"),
        pytest.param(lambda inner: {"event": {"items": [inner]}, NEW: "theirs"}, id="around a list"),
        pytest.param(lambda inner: {"event": [{"value": inner}], NEW: "theirs"}, id="around a list of envelopes"),
        pytest.param(lambda inner: {"position": "p", "event": {"event": inner, NEW: "theirs"}}, id="a journal's entry"),
    ],
)
def test_the_content_of_an_event_can_not_change_the_recipient(wrap: Callable[[object], object]) -> None:
    """The recipient is the one in Adobe's envelope. The content comes from the publisher, who may be anybody."""
    contents = (a_run(), {"hello": "sailor"}, {"event": a_run()})

    def check(content: dict[str, object]) -> None:
        assert set(client_ids(wrap(content))) == {"theirs"}

    assert failing([content | {name: "ours"} for content in contents for name in (NEW, OLD)], check) == {}


def test_a_batch() -> None:
    """In a batch each element names its own client, or none."""
    batch = [{"event": a_run("a"), NEW: "one"}, cloud_event(**{NEW: "two"}), {"event": a_run("c")}, {"event": 1}]
    assert client_ids(batch) == ["one", "two", None, None]


@pytest.mark.parametrize("damage", [b"ahoy", b"1", b'{"a" 1}', b"[]", b'"ours"'], ids=bytes.decode)
def test_a_batch_with_damage(damage: bytes) -> None:
    """An element that can't be read names nobody, and the others name whom they name."""
    whole = encoded({"event": a_run(), NEW: "ours"})
    assert client_ids(b"[" + b",".join([whole, damage, whole]) + b"]") == ["ours", None, "ours"]


@pytest.mark.parametrize("value", [b'"\\ud83d"', DEEP, b'"a\\u0000b"', b'"\xff"'], ids=lambda value: repr(value)[:20])
def test_damage_beside_a_client_id(value: bytes) -> None:
    """Damage in another member does not hide the recipient."""
    assert client_ids(b'{"x": ' + value + b', "event": {"y": ' + value + b'}, "recipientclientid": "theirs"}') == [
        "theirs"
    ]


def test_events_of_one_envelope() -> None:
    """Every event in one envelope has the recipient that the envelope names."""
    assert client_ids({"event": {"items": [a_run("a"), a_run("b")]}, NEW: "ours"}) == ["ours", "ours"]


def test_a_page_that_is_for_another() -> None:
    """The recipient that a page names is that of all its entries, whatever they name."""
    page = {OLD: "theirs", "events": [{"event": a_run("a"), NEW: "ours"}, {"event": a_run("b")}]}
    assert client_ids(page) == ["theirs", "theirs"]


def test_a_recipient_is_not_lost_in_a_list() -> None:
    """An unsupported event in a list still names its recipient."""
    assert "theirs" in client_ids([{"messages": [{"a": 1, OLD: "theirs"}]}, {OLD: "ours"}])


def test_a_journals_page() -> None:
    """Every entry of a journal page has the recipient that its own envelope names."""
    page = {"events": [{"position": "p", "event": {"event": a_run("a"), NEW: "one"}}, {"event": {"event": a_run("b")}}]}
    delivery = read_document(encoded(page), Source.JOURNAL, NOW)
    assert [event.client_id for event in delivery.events] == ["one", None]


@given(trees)
def test_any_content(content: object) -> None:
    """Whatever an envelope holds, its events have the recipient that the envelope names."""
    assert set(client_ids({"event": content, NEW: "theirs"})) <= {"theirs"}


@given(st.dictionaries(st.sampled_from(["event", "data", "value", "items"]), st.just({OLD: "ours"})))
def test_any_way_in(members: dict[str, object]) -> None:
    """Whichever member holds the content, its events have the recipient that the envelope names."""
    assert client_ids({**members, NEW: "theirs"}) == ["theirs"]
