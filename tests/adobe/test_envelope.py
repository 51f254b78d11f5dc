import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.adobe.envelope import Metadata, Unwrapped, looks_like_alert, looks_like_run, member, unwrap
from tests.adobe import ORG, a_run, failing

RUN = a_run()
ALERT: dict[str, object] = {"id": "a", "status": "FIRING", "name": "sources_flow_run_delay"}
OTHER: dict[str, object] = {"hello": "sailor"}


@pytest.mark.parametrize(
    "path",
    [
        pytest.param((), id="bare"),
        pytest.param(("event",), id="adobe_io"),
        pytest.param(("data",), id="CloudEvents"),
        pytest.param(("value",), id="message"),
        pytest.param(("event", "event"), id="journal entry of adobe_io"),
        pytest.param(("event", "data"), id="journal entry of CloudEvents"),
        pytest.param(("event", "data", "value"), id="three deep"),
    ],
)
def test_one_object(path: tuple[str, ...]) -> None:
    """A run, an alert or another object is found in any nesting of envelopes."""

    def check(content: dict[str, object]) -> None:
        node = content
        for key in reversed(path):
            node = {key: node, "beside": 1}
        assert unwrap(node, Metadata()) == Unwrapped(metadata=Metadata(), content=content, path=path)

    assert failing({"run": RUN, "alert": ALERT, "another topic": OTHER}, check) == {}


@pytest.mark.parametrize("key", ["messages", "items", "event", "data"])
def test_a_list(key: str) -> None:
    """A list of objects is found with the path that leads to it."""

    def check(before: tuple[str, ...]) -> None:
        node: dict[str, object] = {key: [RUN, None, ALERT]}
        for outer in reversed(before):
            node = {outer: node}
        expected = Unwrapped(metadata=Metadata(), content=[RUN, None, ALERT], path=(*before, key))
        assert unwrap(node, Metadata()) == expected

    assert failing([(), ("event",), ("event", "data")], check) == {}


@pytest.mark.parametrize("key", ["event", "data", "value", "messages", "items"])
def test_an_object_that_wraps_nothing(key: str) -> None:
    """An object whose member holds no object is not an envelope."""

    def check(inside: object) -> None:
        node = {key: inside}
        assert unwrap(node, Metadata()).content == node

    assert failing([None, 1, "text", [], [1, "a"]], check) == {}


@pytest.mark.parametrize("key", ["event", "data", "value", "messages", "items"])
def test_a_run_is_no_envelope(key: str) -> None:
    """A run or an alert is not unwrapped, whatever else it holds."""

    def check(inside: object) -> None:
        for node in (RUN | {key: inside}, ALERT | {key: inside}):
            assert unwrap(node, Metadata()).content == node

    assert failing([{"a": 1}, [{"a": 1}]], check) == {}


@pytest.mark.parametrize(
    ("node", "metadata"),
    [
        pytest.param({"event_id": "e", "event": RUN}, Metadata(event_id="e"), id="event_id"),
        pytest.param({"eventid": "new", "event_id": "old", "event": RUN}, Metadata(event_id="new"), id="eventid first"),
        pytest.param(
            {
                "specversion": "1.0",
                "type": "t",
                "id": "not this",
                "eventid": "e",
                "time": "2025-10-08T12:21:01Z",
                "data": RUN,
            },
            Metadata(event_id="e", event_code="t", envelope_time="2025-10-08T12:21:01Z"),
            id="CloudEvents",
        ),
        pytest.param(
            RUN | {"header": {"_adobeio": {"imsOrgId": ORG, "eventCode": "c"}}},
            Metadata(event_code="c", org=ORG),
            id="header",
        ),
        pytest.param(
            {
                "timestamp": "1759914102040",
                "imsOrgId": ORG,
                "_eventNotificationMeta": {"type": "c"},
                "value": RUN,
            },
            Metadata(event_code="c", org=ORG, envelope_time="1759914102040"),
            id="message",
        ),
        pytest.param({"event_code": "c", "event": RUN}, Metadata(event_code="c"), id="event_code"),
        pytest.param({"event_type": "c", "event": RUN}, Metadata(event_code="c"), id="event_type"),
        pytest.param(RUN | {"imsOrgId": ORG}, Metadata(org=ORG), id="imsOrgId"),
        pytest.param(RUN | {"xdm:imsOrgId": ORG}, Metadata(org=ORG), id="xdm:imsOrgId"),
        pytest.param(RUN | {"xdm:imsOrg": ORG}, Metadata(org=ORG), id="xdm:imsOrg"),
        pytest.param(
            {"event_id": "outer", "imsOrgId": "outer", "event": RUN | {"event_id": "inner"}},
            Metadata(event_id="inner", org="outer"),
            id="the innermost counts",
        ),
    ],
)
def test_the_metadata_of_envelopes(node: dict[str, object], metadata: Metadata) -> None:
    """The metadata of all envelopes is collected. The innermost counts if several state the same."""
    assert unwrap(node, Metadata()).metadata == metadata


def test_the_metadata_of_the_request() -> None:
    """The metadata of the request is used if no envelope states the same."""
    request = Metadata(event_id="request", event_code="request")
    assert unwrap(RUN, request).metadata == request
    assert unwrap({"event_id": "e", "event": RUN}, request).metadata == Metadata(event_id="e", event_code="request")


@pytest.mark.parametrize(
    ("node", "is_run", "is_alert"),
    [
        ({"metrics": {}}, True, False),
        ({"xdm:metrics": {}}, True, False),
        ({"metrics": None, "xdm:metrics": {}}, True, False),
        ({"metrics": []}, False, False),
        ({"metrics": None}, False, False),
        ({}, False, False),
        ({"status": "FIRING", "name": "n"}, False, True),
        ({"status": "INACTIVE", "severity": "high"}, False, True),
        ({"status": "FIRING"}, False, False),
        ({"status": "failed"}, False, False),
        ({"status": 1}, False, False),
    ],
    ids=repr,
)
def test_signs(node: dict[str, object], is_run: bool, is_alert: bool) -> None:
    """An object with metrics is a run. One that is firing or inactive and has a name or a severity is an alert."""
    assert (looks_like_run(node), looks_like_alert(node)) == (is_run, is_alert)


@pytest.mark.parametrize(
    ("node", "found"),
    [({"flowId": "f"}, "f"), ({"xdm:flowId": "f"}, "f"), ({"flowId": None, "xdm:flowId": "f"}, "f"), ({}, None)],
    ids=repr,
)
def test_member(node: dict[str, object], found: object) -> None:
    """A member is found with and without the XDM prefix."""
    assert member(node, "flowId") == found


@given(st.lists(st.sampled_from(["event", "data", "value"]), max_size=6))
def test_any_nesting(keys: list[str]) -> None:
    """A run is found in any envelopes in any order."""
    node = RUN
    for key in reversed(keys):
        node = {key: node}
    assert unwrap(node, Metadata()) == Unwrapped(metadata=Metadata(), content=RUN, path=tuple(keys))


@pytest.mark.parametrize("depth", [20, 400])
def test_no_nesting_is_endless(depth: int) -> None:
    """In more nested envelopes than there can be, no run is found."""
    node = RUN
    for _ in range(depth):
        node = {"event": node}
    inner = unwrap(node, Metadata()).content
    assert isinstance(inner, dict)
    assert not looks_like_run(inner)
