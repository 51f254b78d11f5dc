"""Facts that need not be read again are what reading them again would give."""

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
    """The reader of bodies, and which bodies it was given."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def __call__(self, body: bytes, recorded_at: int, event_code: str) -> Fact:
        """Read it."""
        self.asked.append(body)
        return read(body, recorded_at, event_code)


def a_run(**members: Any) -> bytes:
    """A run that reads without anything left out."""
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
def test_what_is_handed_out_is_what_would_be_read(
    body: bytes, cuts: list[tuple[int, int, bytes]], headers: dict[bytes, bytes], later: int
) -> None:
    """Whatever was delivered, and recorded at whatever time, the fact is the one that reading the body gives."""
    for start, length, piece in cuts:
        at = start % len(body) if body else 0
        body = body[:at] + piece + body[at + length :]
    kept = FactCache(read)
    events = open_delivery(headers, body, NOW).events
    for event in events:
        kept.put(event, NOW)
    for event in events:
        asked = (event.body, NOW + later, event.event_code or "")
        assert kept.read(*asked) == read(*asked)


def test_a_run_is_not_read_again() -> None:
    """A run that was just recorded is handed out as it was read, once."""
    reader = Reader()
    kept = FactCache(reader)
    event = only_event(a_run())
    kept.put(event, NOW)
    assert kept.read(event.body, NOW, "") is event.fact
    assert not reader.asked
    assert kept.read(event.body, NOW, "") == event.fact
    assert reader.asked == [event.body]


@pytest.mark.parametrize(
    ("body", "recorded_at", "code"),
    [
        pytest.param(a_run(createdAt=NOW + 3_600_000), NOW + 3_600_000, "", id="a time that came true meanwhile"),
        pytest.param(a_run(createdAt=NOW + 500_000), NOW - 300_000, "", id="a clock that was put back"),
        pytest.param(a_run(flowName=7), NOW, "", id="a value that made no sense"),
        pytest.param(a_run(), NOW, "query_service_run_info", id="another event code"),
        pytest.param(a_run(activities=[{}] * 51), NOW, "", id="more than is worth its memory"),
        pytest.param(json.dumps({"name": "a", "status": "firing", "id": "i"}).encode(), NOW, "", id="no run"),
        pytest.param(
            json.dumps({"timestamp": NOW, "messages": [json.loads(a_run())]}).encode(), NOW, "", id="more around it"
        ),
    ],
)
def test_what_may_read_otherwise_is_read_again(body: bytes, recorded_at: int, code: str) -> None:
    """Where reading the body again could tell something else, it is read again."""
    reader = Reader()
    kept = FactCache(reader)
    event = only_event(body)
    kept.put(event, NOW)
    assert kept.read(event.body, recorded_at, code) == read(event.body, recorded_at, code)
    assert reader.asked == [event.body]


@pytest.mark.parametrize(("bound", "value"), [("_MAX_FACTS", 3), ("_MAX_BYTES", 3 * len(a_run()))])
def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch, bound: str, value: int) -> None:
    """While nobody follows, no more than so many facts are held; those that went are read again."""
    monkeypatch.setattr(fact_cache, bound, value)
    kept = FactCache(lambda _body, _at, _code: Unreadable())
    bodies = [a_run(id=str(number)) for number in range(8)]
    for body in bodies:
        kept.put(only_event(body), NOW)
    held = [body for body in bodies if isinstance(kept.read(body, NOW, ""), FlowRun)]
    assert held == bodies[6:]
