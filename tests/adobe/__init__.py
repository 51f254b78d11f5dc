"""What the tests of `exporter.adobe` share: the time of reading, bodies, and what must hold for everything read."""

import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

import pytest
from hypothesis import strategies as st

from exporter.adobe import deliveries, payloads
from exporter.model import Delivery, Event, Fact, FlowRun

NOW: Final = 1_760_000_000_000
"""The time of reading: 2025-10-09T08:53:20Z, an hour or a day after the samples."""

ORG: Final = "0B7D41C65E2F93A80C1D2E3F@AdobeOrg"

DEEP: Final = b"[" * 10_000 + b"]" * 10_000

GARBAGE: Final[Mapping[str, bytes]] = {
    "null": b"null",
    "true": b"true",
    "zero": b"0",
    "minus one": b"-1",
    "minus much": b"-5000000000000",
    "a fraction": b"0.5",
    "more than a float": b"1e400",
    "less than a float": b"-1e400",
    "400 digits": b"9" * 400,
    "5000 digits": b"9" * 5000,
    "5000 digits and a fraction": b"9" * 5000 + b".5",
    "not a number": b"NaN",
    "infinity": b"-Infinity",
    "nothing": b'""',
    "blanks": b'" \\n "',
    "text": b'"low tide"',
    "long text": b'"' + b"tide " * 10_000 + b'"',
    "400 digits in a string": b'"' + b"9" * 400 + b'"',
    "an object": b'{"high": "tide"}',
    "an object with a key twice": b'{"a": 1, "a": 2}',
    "an array": b'[null, 1, "x", {}, []]',
    "half an emoji": b'"\\ud83d"',
    "the other half": b'{"\\ude00": ["\\ude00"]}',
    "an escaped NUL": b'"a\\u0000b"',
    "a raw NUL": b'"a\x00b"',
    "a raw line break": b'"a\nb"',
    "no UTF-8": b'"\xff\xfe"',
    "an encoded half emoji": b'"\xed\xa0\xbd"',
    "100 brackets": b"[" * 100 + b"]" * 100,
    "900 brackets": b"[" * 900 + b"]" * 900,
    "10,000 brackets": DEEP,
    **{f"{depth} objects": b'{"a":' * depth + b"1" + b"}" * depth for depth in (450, 600, 1100)},
}
"""Invalid values of a field, by what is wrong with them, as JSON or nearly JSON."""

_KEYS: Final = (
    *("id", "flowId", "flowRunId", "status", "metrics", "statusSummary", "errors", "extensions", "recordSummary"),
    *("failedInfo", "inputRecordCount", "durationSummary", "startedAtUTC", "completedAtUTC", "activities", "name"),
    *("flowName", "sandboxName", "code", "message", "count", "createdAt", "resolvedAt", "flowSpec", "state"),
    *("event", "data", "value", "messages", "items", "events", "event_id", "eventid", "timestamp", "time"),
    *("specversion", "type", "header", "_adobeio", "eventCode", "imsOrgId", "validationUrl"),
    *("xdm:metrics", "xdm:flowId", "xdm:flowRunId", "activites", "recipientclientid"),
    *("detail-type", "detail", "data_base64", "__ow_body", "__ow_headers", "x-adobe-event-id", "X-Adobe-Event-Code"),
)
_WORDS: Final = (
    *("success", "failed", "inProgress", "FIRING", "INACTIVE", "enabled", "2200", "1759911000", "r", "f"),
    *('{"event": {"id": "r"}}', "eyJkYXRhIjogW3siaWQiOiAiciJ9XX0="),
)
_SCALARS: Final = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=8)
    | st.text(st.characters(categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Lu"]), max_size=4)
    | st.sampled_from(_WORDS)
)

trees: Final = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=8),
    max_leaves=40,
)
"""JSON values that are made of Adobe's member names and texts, each in any place."""


def failing(cases: Mapping[str, Any] | Iterable[Any], check: Callable[[Any], object]) -> dict[str, str]:
    """The cases for which a check raises, with what it raised. A test of a whole table asserts that there is none.

    The keys are the names of the cases, or their numbers and texts if they have no names.
    """
    named = cases if isinstance(cases, Mapping) else {f"{at}: {case!r}"[:80]: case for at, case in enumerate(cases)}
    found: dict[str, str] = {}
    for name, case in named.items():
        try:
            check(case)
        except Exception as error:  # noqa: BLE001 - it is in the result
            found[name] = f"{type(error).__name__}: {error}"
        except pytest.fail.Exception as error:
            found[name] = str(error)
    assert named, "the table is empty"
    return found


def encoded(value: object) -> bytes:
    """The value as JSON."""
    return json.dumps(value).encode()


def a_run(run_id: object = "r", **members: object) -> dict[str, object]:
    """The smallest run, with more members."""
    return {"id": run_id, "flowId": "f", "metrics": {"statusSummary": {"status": "failed"}}, **members}


def opened(body: bytes, **headers: str) -> tuple[Event, ...]:
    """The events of a request. Headers are keywords, with underscores in their names."""
    raw = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    delivery = deliveries.open_delivery(raw, body, NOW)
    assert isinstance(delivery, Delivery)
    return delivery.events


def read_again(event: Event) -> Fact:
    """The fact in the body that the ledger stores of an event, as the metrics read it."""
    return payloads.read(event.body, NOW, event.event_code or "")


def facts(body: bytes) -> list[Fact]:
    """The facts in a request."""
    return [event.fact for event in opened(body)]


def run_ids(body: bytes) -> list[str]:
    """The ids of the runs in a request."""
    return [fact.run_id for fact in facts(body) if isinstance(fact, FlowRun)]


def assert_keepable(value: object) -> None:
    """Assert that a database and an encoder can take a fact or an event: clean text, and integers of 64 bits."""
    for leaf in _leaves(value):
        if isinstance(leaf, str):
            leaf.encode()
            assert not any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in leaf)
        elif isinstance(leaf, int):
            assert -(2**63) <= leaf < 2**63
        else:
            assert leaf is None or isinstance(leaf, bytes)


def _leaves(value: object) -> Iterator[object]:
    if is_dataclass(value):
        for field in fields(value):
            yield from _leaves(getattr(value, field.name))
    elif isinstance(value, tuple):
        for element in value:
            yield from _leaves(element)
    else:
        yield value
