import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.adobe.envelope import Metadata, Unwrapped, looks_like_alert, looks_like_run, member, unwrap
from tests.adobe import ORG, a_run

RUN = a_run()
ALERT: dict[str, object] = {"id": "a", "status": "FIRING", "name": "sources_flow_run_delay"}
OTHER: dict[str, object] = {"hello": "sailor"}


@pytest.mark.parametrize("inner", [RUN, ALERT, OTHER], ids=["run", "alert", "another topic"])
@pytest.mark.parametrize(
    ("before", "path"),
    [
        pytest.param([], (), id="bare"),
        pytest.param(["event"], ("event",), id="adobe_io"),
        pytest.param(["data"], ("data",), id="CloudEvents"),
        pytest.param(["value"], ("value",), id="message"),
        pytest.param(["event", "event"], ("event", "event"), id="journal entry of adobe_io"),
        pytest.param(["event", "data"], ("event", "data"), id="journal entry of CloudEvents"),
        pytest.param(["event", "data", "value"], ("event", "data", "value"), id="three deep"),
    ],
)
def test_one_object(inner: dict[str, object], before: list[str], path: tuple[str, ...]) -> None:
    """An object is found in any nesting of wrappers."""
    node = inner
    for key in reversed(before):
        node = {key: node, "beside": 1}
    assert unwrap(node, Metadata()) == Unwrapped(metadata=Metadata(), content=inner, path=path)


@pytest.mark.parametrize("key", ["messages", "items", "event", "data"])
@pytest.mark.parametrize("before", [(), ("event",), ("event", "data")], ids=" ".join)
def test_a_list(key: str, before: tuple[str, ...]) -> None:
    """A list of objects within wrappers is found with the path to it."""
    node: dict[str, object] = {key: [RUN, None, ALERT]}
    for outer in reversed(before):
        node = {outer: node}
    assert unwrap(node, Metadata()) == Unwrapped(metadata=Metadata(), content=[RUN, None, ALERT], path=(*before, key))


@pytest.mark.parametrize("key", ["event", "data", "value", "messages", "items"])
@pytest.mark.parametrize("inside", [None, 1, "text", [], [1, "a"]], ids=repr)
def test_what_wraps_nothing(key: str, inside: object) -> None:
    """A wrapper that holds no object is the object itself."""
    node = {key: inside}
    assert unwrap(node, Metadata()).content == node


@pytest.mark.parametrize("key", ["event", "data", "value", "messages", "items"])
@pytest.mark.parametrize("inside", [{"a": 1}, [{"a": 1}]], ids=repr)
def test_a_run_is_no_wrapper(key: str, inside: object) -> None:
    """A run or an alert is taken as it is, whatever else it holds."""
    for node in (RUN | {key: inside}, ALERT | {key: inside}):
        assert unwrap(node, Metadata()).content == node


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
            id="innermost believed",
        ),
    ],
)
def test_what_wrappers_say(node: dict[str, object], metadata: Metadata) -> None:
    """A wrapper says what its content does not; where both speak, the innermost is believed."""
    assert unwrap(node, Metadata()).metadata == metadata


def test_the_request_speaks_last() -> None:
    """What the request says stands where no wrapper says it."""
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
    """Only runs have metrics; only alerts are firing or inactive, under a name or with a severity."""
    assert (looks_like_run(node), looks_like_alert(node)) == (is_run, is_alert)


@pytest.mark.parametrize(
    ("node", "found"),
    [({"flowId": "f"}, "f"), ({"xdm:flowId": "f"}, "f"), ({"flowId": None, "xdm:flowId": "f"}, "f"), ({}, None)],
    ids=repr,
)
def test_member(node: dict[str, object], found: object) -> None:
    """A member is found with and without the prefix of Experience Data Model fields."""
    assert member(node, "flowId") == found


@given(st.lists(st.sampled_from(["event", "data", "value"]), max_size=6))
def test_any_nesting(keys: list[str]) -> None:
    """A run is found under any wrappers in any order."""
    node = RUN
    for key in reversed(keys):
        node = {key: node}
    assert unwrap(node, Metadata()) == Unwrapped(metadata=Metadata(), content=RUN, path=tuple(keys))


@pytest.mark.parametrize("depth", [20, 400])
def test_no_nesting_is_endless(depth: int) -> None:
    """Far more wrappers than Adobe has ever used end at an object that is none of ours."""
    node = RUN
    for _ in range(depth):
        node = {"event": node}
    inner = unwrap(node, Metadata()).content
    assert isinstance(inner, dict)
    assert not looks_like_run(inner)
