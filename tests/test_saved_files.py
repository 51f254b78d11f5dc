"""Notifications are read from files in every form in which people save them."""

import io
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import FlowRun
from exporter.saved_files import read_events

NOW = 1_790_000_000_000


def run(number: int) -> dict[str, Any]:
    """A run as Adobe writes one."""
    return {
        "id": f"run-{number}",
        "flowId": "flow",
        "metrics": {"statusSummary": {"status": "success"}, "recordSummary": {"inputRecordCount": number}},
    }


def lines(*values: object) -> bytes:
    """Values as JSON lines."""
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def page(*numbers: int) -> dict[str, Any]:
    """A journal's page of these runs."""
    events = [{"position": f"p-{n}", "event": {"event_id": f"e-{n}", "event": run(n)}} for n in numbers]
    return {"events": events, "_page": {"last": "p", "count": len(events)}}


def facts(file: BinaryIO | bytes) -> list[str]:
    """The events of a file: a run as its id, anything else as its kind."""
    opened = io.BytesIO(file) if isinstance(file, bytes) else file
    return [
        each.fact.run_id if isinstance(each.fact, FlowRun) else type(each.fact).__name__.lower()
        for each in read_events(opened, lambda: NOW)
    ]


ONE = ["run-1"]
TWO = ["run-1", "run-2"]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        pytest.param(b"", [], id="empty"),
        pytest.param(b" \n\n\t\r\n", [], id="blank"),
        pytest.param(json.dumps(run(1)).encode(), ONE, id="object"),
        pytest.param(json.dumps(run(1), indent=4).encode(), ONE, id="object-pretty-printed"),
        pytest.param(json.dumps([run(1), run(2)]).encode(), TWO, id="array"),
        pytest.param(json.dumps([run(1), run(2)], indent=2).encode() + b"\n", TWO, id="array-pretty-printed"),
        pytest.param(b"\n\n" + json.dumps([run(1), run(2)], indent=2).encode(), TWO, id="after-blank-lines"),
        pytest.param(lines(run(1), run(2)), TWO, id="json-lines"),
        pytest.param(lines(run(1), run(2)).strip(), TWO, id="last-line-without-end"),
        pytest.param(lines(run(1), run(2)).replace(b"\n", b"\r\n\r\n"), TWO, id="lines-of-another-system"),
        pytest.param(b"\xef\xbb\xbf" + lines(run(1), run(2)), TWO, id="byte-order-mark"),
        pytest.param(lines([run(1)], [run(2)]), TWO, id="an-array-per-line"),
        pytest.param(lines({"event_id": "e", "event": run(1)}), ONE, id="envelope"),
        pytest.param(lines(page(1, 2)), TWO, id="journal-page"),
        pytest.param(lines(page(1), page(2)), TWO, id="journal-page-per-line"),
        pytest.param(json.dumps(page(1, 2), indent=1).encode(), TWO, id="journal-page-pretty-printed"),
        pytest.param(lines({"items": [run(1), run(2)], "_links": {}}), TWO, id="flow-service-answer"),
        pytest.param(json.dumps({"items": [run(1), run(2)]}, indent=1).encode(), TWO, id="answer-pretty-printed"),
        pytest.param(b"hello\n", ["unreadable"], id="a-text"),
        pytest.param(bytes(range(256)), ["unreadable"], id="binary"),
        pytest.param(b"[1, " + json.dumps(run(1)).encode() + b"]", ["unreadable", "run-1"], id="an-odd-element"),
    ],
)
def test_forms(file: bytes, expected: list[str]) -> None:
    """A file is one JSON text in any layout, or one per line. A text is an object, an array, a page or an answer."""
    assert facts(file) == expected


BROKEN = {
    "no-json": b'{"id": broken',
    "cut-off-at-its-start": json.dumps(run(9)).encode()[30:],
    "a-remark": b"# saved on Monday",
    "ten-thousand-brackets": b"[" * 10_000 + b"]" * 10_000,
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
def test_a_broken_line(name: str, place: int) -> None:
    """A line that can't be read is one unreadable event, wherever it is, and the other lines are read."""
    kept = lines(run(1), run(2)).splitlines()
    kept.insert(place, BROKEN[name])
    expected = ["run-1", "run-2"]
    expected.insert(place, "unreadable")
    assert facts(b"\n".join(kept)) == expected


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(b'"\xff\xfe"', id="no-utf-8"),
        pytest.param(b'"\x00\x01"', id="control-characters"),
        pytest.param(b'"\\ud83d"', id="half-an-emoji"),
        pytest.param(b"[" * 500 + b"]" * 500, id="nested-deep"),
    ],
)
def test_a_damaged_value(damage: bytes) -> None:
    """A line with a damaged value inside is read without that value, also if it is the first."""
    damaged = json.dumps(run(1)).encode().removesuffix(b"}") + b', "leaf": ' + damage + b"}\n"
    assert facts(damaged + lines(run(2))) == TWO


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(json.dumps([run(1), run(2)])[:-1], id="in-one-line"),
        pytest.param(json.dumps([run(1), run(2)], indent=2).removesuffix("\n]"), id="pretty-printed"),
        pytest.param(
            json.dumps([run(1), run(2)], indent=2).replace("[\n  {", "[{").removesuffix("]"), id="of-javascript"
        ),
        pytest.param(f"[\n{json.dumps(run(1))},\n{json.dumps(run(2))}\n", id="an-element-per-line"),
        pytest.param(f"[{json.dumps(run(1))},\n{json.dumps(run(2))}\n", id="the-first-beside-the-bracket"),
    ],
)
def test_an_array_that_was_cut_off(file: str) -> None:
    """An array that is cut off, as by a full disk, gives the elements that are complete, in any layout."""
    assert facts(file.encode()) == TWO


def test_a_file_that_is_no_json() -> None:
    """A file that is no JSON is one unreadable event, also if one of its lines looks like JSON by chance."""
    assert facts(b"\x7fELF\x02\xff of another program\n" * 1_000 + b"[]\n") == ["unreadable"]


@given(st.lists(st.lists(st.integers(0, 99), max_size=3), max_size=6), st.sampled_from([None, 1]))
def test_layout_changes_nothing(groups: list[list[int]], indent: int | None) -> None:
    """The same runs in one array or in an array per line are the same events in the same order."""
    per_line = lines(*([run(number) for number in group] for group in groups))
    whole = json.dumps([run(number) for group in groups for number in group], indent=indent).encode()
    assert facts(per_line) == facts(whole)


def test_standard_input(tmp_path: Path) -> None:
    """A pipe, which can't be rewound, is read like a file, by lines and as a whole."""
    for file in (lines(run(1), run(2)), json.dumps([run(1), run(2)], indent=1).encode()):
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as stream:
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(file)
            assert facts(stream) == TWO
