"""Cached facts equal those that parsing the body again gives."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import fact_cache
from exporter.adobe.deliveries import open_delivery
from exporter.adobe.payloads import read
from exporter.fact_cache import FactCache
from exporter.model import Event, Fact, FlowRun, Unreadable
from tests.adobe import NOW
from tests.samples import NAMES, sample


class Reader:
    """A reader of bodies that keeps which bodies it was given."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def __call__(self, body: bytes, recorded_at: int, event_code: str) -> Fact:
        """Parse a body."""
        self.bodies.append(body)
        return read(body, recorded_at, event_code)


def a_run(**members: Any) -> bytes:
    """A run whose values are all valid."""
    status = {"statusSummary": {"status": "failed"}}
    return json.dumps({"id": "r", "flowId": "f", "metrics": status} | members).encode()


def only_event(body: bytes, read_at: int = NOW) -> Event:
    """The one event of a delivery."""
    (event,) = open_delivery({}, body, read_at).events
    return event


@given(
    st.sampled_from(NAMES).map(sample),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 30), st.binary(max_size=6)), max_size=3),
    st.sampled_from([{}, {b"x-adobe-event-code": b"query_service_run_info"}]),
    st.integers(-3_600_000, 3_600_000),
)
def test_a_cached_fact_equals_a_parsed_one(
    body: bytes, cuts: list[tuple[int, int, bytes]], headers: dict[bytes, bytes], later: int
) -> None:
    """For any body, recorded at any time, the cache returns the fact that parsing the body gives."""
    for start, length, piece in cuts:
        at = start % len(body) if body else 0
        body = body[:at] + piece + body[at + length :]
    cache = FactCache(read)
    events = open_delivery(headers, body, NOW).events
    for event in events:
        cache.put(event, NOW)
    for event in events:
        arguments = (event.body, NOW + later, event.event_code or "")
        assert cache.read(*arguments) == read(*arguments)


def test_a_run_is_not_parsed_again() -> None:
    """A run that was just recorded is returned from the cache once."""
    reader = Reader()
    cache = FactCache(reader)
    event = only_event(a_run())
    cache.put(event, NOW)
    assert cache.read(event.body, NOW, "") is event.fact
    assert not reader.bodies
    assert cache.read(event.body, NOW, "") == event.fact
    assert reader.bodies == [event.body]


@pytest.mark.parametrize(
    ("body", "recorded_at", "code"),
    [
        pytest.param(a_run(createdAt=NOW + 3_600_000), NOW + 3_600_000, "", id="a time that became valid"),
        pytest.param(a_run(createdAt=NOW + 500_000), NOW - 300_000, "", id="a clock that was put back"),
        pytest.param(a_run(flowName=7), NOW, "", id="an invalid value"),
        pytest.param(a_run(), NOW, "query_service_run_info", id="another event code"),
        pytest.param(a_run(activities=[{}] * 51), NOW, "", id="too many activities"),
        pytest.param(json.dumps({"name": "a", "status": "firing", "id": "i"}).encode(), NOW, "", id="not a run"),
        pytest.param(
            json.dumps({"timestamp": NOW, "messages": [json.loads(a_run())]}).encode(),
            NOW,
            "",
            id="an envelope that adds to it",
        ),
    ],
)
def test_what_may_be_parsed_otherwise_is_parsed_again(body: bytes, recorded_at: int, code: str) -> None:
    """A fact is not cached if parsing its body again could give another one."""
    reader = Reader()
    cache = FactCache(reader)
    event = only_event(body)
    cache.put(event, NOW)
    assert cache.read(event.body, recorded_at, code) == read(event.body, recorded_at, code)
    assert reader.bodies == [event.body]


@pytest.mark.parametrize(("bound", "value"), [("_MAX_FACTS", 3), ("_MAX_BYTES", 3 * len(a_run()))])
def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch, bound: str, value: int) -> None:
    """Without a follower the cache holds a limited number of facts, and the others are parsed again."""
    monkeypatch.setattr(fact_cache, bound, value)
    cache = FactCache(lambda _body, _at, _code: Unreadable())
    bodies = [a_run(id=str(number)) for number in range(8)]
    for body in bodies:
        cache.put(only_event(body), NOW)
    cached = [body for body in bodies if isinstance(cache.read(body, NOW, ""), FlowRun)]
    assert cached == bodies[6:]
