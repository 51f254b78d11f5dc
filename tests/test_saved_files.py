"""Notifications are read from files in every form in which people save them."""

import gzip
import io
import json
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import SavedFileError
from exporter.model import FlowRun
from exporter.saved_files.reading import Found, read_events
from exporter.saved_files.texts import Splitter

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


def fact(found: Found) -> str:
    """A run as its id, anything else as its kind."""
    value = found.event.fact
    return value.run_id if isinstance(value, FlowRun) else type(value).__name__.lower()


def facts(file: BinaryIO | bytes) -> list[str]:
    """The events of a file."""
    opened = io.BytesIO(file) if isinstance(file, bytes) else file
    return [fact(found) for found in read_events(opened, lambda: NOW)]


def places(file: bytes) -> list[tuple[str, str]]:
    """The events of a file with their places."""
    return [(found.place, fact(found)) for found in read_events(io.BytesIO(file), lambda: NOW)]


def until_broken_off(file: BinaryIO | bytes) -> tuple[list[str], str]:
    """The events of a file that can't be read to its end, and the message."""
    opened = io.BytesIO(file) if isinstance(file, bytes) else file
    found: list[str] = []
    with pytest.raises(SavedFileError) as error:
        found.extend(fact(each) for each in read_events(opened, lambda: NOW))
    return found, str(error.value)


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
        pytest.param(b"".join(lines(run(1), run(2)).splitlines()), TWO, id="in-a-row"),
        pytest.param(b" ".join(lines(run(1), run(2)).splitlines()), TWO, id="in-a-row-with-blanks"),
        pytest.param(lines(run(1), run(2)).replace(b"\n", b",\n"), TWO, id="with-commas-between"),
        pytest.param(lines(run(1), run(2)).replace(b"\n", b"\r"), TWO, id="lines-that-end-with-cr"),
        pytest.param(
            b"\xef\xbb\xbf".join([b"", *lines(run(1), run(2)).splitlines()]), TWO, id="joined-files-with-marks"
        ),
        pytest.param(b"HTTP/2 200 \r\nlink: <{>\r\n\r\n" + lines({"items": [run(1), run(2)]}), TWO, id="of-curl-i"),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\na: b\r\n\r\n" + lines(run(1)), ONE, id="of-curl-i-twice"
        ),
        pytest.param(lines({"items": [], "_links": {}}), [], id="answer-without-items"),
        pytest.param(lines({"events": [], "_page": {"count": 0}}), [], id="page-without-events"),
        pytest.param(b"hello\n", ["unreadable"], id="a-text"),
        pytest.param(bytes(range(256)), ["unreadable"], id="binary"),
        pytest.param(b"[1, " + json.dumps(run(1)).encode() + b"]", ["unreadable", "run-1"], id="an-odd-element"),
    ],
)
def test_forms(file: bytes, expected: list[str]) -> None:
    """A file is one JSON text in any layout, or one per line. A text is an object, an array, a page or an answer."""
    assert facts(file) == expected


def export(*contents: object) -> list[dict[str, object]]:
    """Requests with these bodies, as webhook.site exports them."""
    return [{"uuid": "u", "token_id": "t", "method": "POST", "content": content} for content in contents]


@pytest.mark.parametrize(
    "file",
    [
        pytest.param({"data": export(json.dumps(run(1)), "", json.dumps([run(2)])), "total": 3}, id="answer"),
        pytest.param(export(json.dumps(run(1)), None, json.dumps(run(2))), id="array"),
        pytest.param(
            [{"uuid": "u", "method": "POST", "content": json.dumps(run(1))}, run(2)],
            id="shortened, with a run beside it",
        ),
    ],
)
def test_an_export_of_webhook_site(file: object) -> None:
    """Of an export of webhook.site each request's body is read. A request without a body is nothing."""
    assert facts(lines(file)) == TWO


def test_odd_elements_of_an_export() -> None:
    """What is no request in an export is an event of its own, and hides none of the others."""
    odd = [None, *export(json.dumps(run(1))), {"uuid": "u"}, *export(json.dumps(run(2)))]
    assert facts(lines(odd)) == ["unreadable", "run-1", "unsupported", "run-2"]


def test_a_run_is_no_export() -> None:
    """A run with members of the same names is read as a run."""
    assert facts(lines({**run(1), "token_id": "t", "content": json.dumps(run(2))})) == ONE


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


Layout = Callable[[list[dict[str, Any]]], str]
LAYOUTS: dict[str, Layout] = {
    "lines": lambda runs: "".join(json.dumps(each) + "\n" for each in runs),
    "lines-with-crlf": lambda runs: "\r\n\r\n".join(json.dumps(each) for each in runs),
    "array": json.dumps,
    "array-pretty-printed": lambda runs: json.dumps(runs, indent=2),
    "array-per-line": lambda runs: "\n".join(json.dumps(runs[at : at + 2]) for at in range(0, len(runs), 2)),
    "element-per-line": lambda runs: "[\n" + ",\n".join(json.dumps(each) for each in runs) + "\n]\n",
    "pretty-printed": lambda runs: "\n".join(json.dumps(each, indent=4) for each in runs),
    "in-a-row": lambda runs: "".join(json.dumps(each) for each in runs),
    "in-a-row-pretty-printed": lambda runs: "".join(json.dumps(each, indent=1) for each in runs),
    "rfc-7464": lambda runs: "".join(f"\x1e{json.dumps(each)}\n" for each in runs),
    "rfc-7464-in-a-row": lambda runs: "".join(f"\x1e{json.dumps(each)}" for each in runs),
    "page": lambda runs: json.dumps({"events": [{"position": "p", "event": each} for each in runs], "_page": {}}),
    "answer": lambda runs: json.dumps({"items": runs, "_links": {}}, indent=2),
}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
# Everything that a splitter could take for the end of a text.
TEXTS = st.text(st.sampled_from('{}[]",:\\\n\x1e \u2028\N{PARTY POPPER}a'), max_size=8)


@st.composite
def some_runs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Runs whose names hold brackets and quotes."""
    return [{**run(draw(st.integers(0, 9))), "flowName": draw(TEXTS)} for _ in range(draw(st.integers(1, 5)))]


class Blocks(io.BytesIO):
    """A file of which each read returns a few bytes, as a slow pipe does."""

    def __init__(self, content: bytes, sizes: Iterator[int]) -> None:
        super().__init__(content)
        self._sizes = sizes

    def read(self, _size: int | None = -1, /) -> bytes:
        """The next few bytes."""
        return super().read(next(self._sizes))


@given(some_runs(), st.sampled_from(sorted(LAYOUTS)), st.sampled_from(ENCODINGS), st.booleans(), st.data())
def test_layout_changes_nothing(
    runs: list[dict[str, Any]], layout: str, encoding: str, is_packed: bool, data: st.DataObject
) -> None:
    """The same runs are the same events in the same order, in any layout, encoding and packing, and in any blocks."""
    content = LAYOUTS[layout](runs).encode(encoding)
    if is_packed:
        cut = data.draw(st.integers(0, len(content)))
        content = gzip.compress(content[:cut]) + gzip.compress(content[cut:])
    size = data.draw(st.integers(1, 50))
    found = [each.event.fact for each in read_events(Blocks(content, iter(lambda: size, 0)), lambda: NOW)]
    expected = [each.event.fact for each in read_events(io.BytesIO(lines(*runs)), lambda: NOW)]
    assert found == expected


@given(st.lists(st.lists(st.integers(0, 99), max_size=3), max_size=6), st.sampled_from([None, 1]))
def test_arrays_change_nothing(groups: list[list[int]], indent: int | None) -> None:
    """The same runs in one array or in an array per line are the same events in the same order."""
    per_line = lines(*([run(number) for number in group] for group in groups))
    whole = json.dumps([run(number) for group in groups for number in group], indent=indent).encode()
    assert facts(per_line) == facts(whole)


@given(st.binary(max_size=60) | TEXTS.map(str.encode), st.integers(1, 9))
def test_blocks_change_nothing(content: bytes, size: int) -> None:
    """Whatever a file holds, it is read to its end, and the same texts are found in blocks of any size."""
    found: list[list[bytes]] = []
    for step in (size, len(content) or 1):
        splitter = Splitter()
        bodies = [text.body for at in range(0, len(content), step) for text in splitter.feed(content[at : at + step])]
        found.append([*bodies, *(text.body for text in splitter.end())])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        pytest.param(
            lines(run(1)) + json.dumps(run(2), indent=2).encode().removesuffix(b"\n}") + b"\n" + lines(run(3), run(4)),
            ["run-1", "unreadable", "run-3", "run-4"],
            id="pretty-printed-and-cut-off",
        ),
        pytest.param(
            lines(run(1)) + b'{"id": "run-\n' + json.dumps(run(3), indent=2).encode() + b"\n" + lines(run(4)),
            ["run-1", "unreadable", "run-3", "run-4"],
            id="cut-off-in-a-string",
        ),
        pytest.param(
            lines(run(1)) + b'{"id": broken\n  ' + b"\n  ".join(lines(run(2), run(3)).splitlines()),
            ["run-1", "unreadable", "run-2", "run-3"],
            id="before-lines-that-are-indented",
        ),
        pytest.param(
            json.dumps(run(1)).encode() + b'{"id": broken}' + json.dumps(run(2)).encode(),
            ["run-1", "unreadable", "run-2"],
            id="in-a-row",
        ),
        pytest.param(
            b"\x1e" + json.dumps(run(1)).encode() + b'\x1e{"id": {"cut": \x1e' + json.dumps(run(2)).encode(),
            ["run-1", "unreadable", "run-2"],
            id="cut-off-before-a-record-separator",
        ),
        pytest.param(
            b"[\n  " + b"\n  ".join(lines(run(1), run(2)).splitlines()) + b"\n]\n",
            TWO,
            id="an-array-without-its-comma",
        ),
        pytest.param(
            json.dumps(run(1)).encode() + b" } " + json.dumps(run(2)).encode(),
            ["run-1", "unreadable", "run-2"],
            id="one-bracket-more",
        ),
    ],
)
def test_damage_costs_one_text(file: bytes, expected: list[str]) -> None:
    """A text that is damaged or cut off is one unreadable event, in any layout, and all others are read."""
    assert facts(file) == expected


def test_places() -> None:
    """Each event has its line, its number among several texts of the line, and its number among several of a text."""
    file = lines(run(1)) + b"\n" + json.dumps(run(2), indent=1).encode() + b"\n" + lines([run(3), 7]) + b"{}{} x\n"
    lines_of_two = len(json.dumps(run(2), indent=1).splitlines())
    assert places(file) == [
        ("line 1", "run-1"),
        ("line 3", "run-2"),
        (f"line {3 + lines_of_two}, event 1", "run-3"),
        (f"line {3 + lines_of_two}, event 2", "unreadable"),
        (f"line {4 + lines_of_two}", "unsupported"),
        (f"line {4 + lines_of_two}, text 2", "unsupported"),
        (f"line {4 + lines_of_two}, text 3", "unreadable"),
    ]


@pytest.mark.parametrize("cut", [1, 8, 40])
@pytest.mark.parametrize("form", ["lines", "array"])
def test_gzip_data_that_is_cut_off(cut: int, form: str) -> None:
    """What can be unpacked of a file counts, and then the message states the line and that the data is cut off."""
    runs = [run(number) for number in range(1, 200)]
    whole = gzip.compress(lines(*runs) if form == "lines" else json.dumps(runs, indent=1).encode())
    found, message = until_broken_off(whole[:-cut])
    assert len(found) > 100
    assert found[:100] == [f"run-{number}" for number in range(1, 101)]
    assert message.startswith("line ")
    assert "cut off" in message


@pytest.mark.parametrize("after", [b"other bytes", b"\0\0 and more"])
def test_gzip_data_that_is_damaged(after: bytes) -> None:
    """What is neither gzip data nor zeros after gzip data is named, and what came before counts."""
    found, message = until_broken_off(gzip.compress(lines(run(1), run(2))) + after)
    assert found == TWO
    assert "damaged" in message


def test_zeros_after_gzip_data() -> None:
    """Zeros with which a program filled up a gzip file are no damage."""
    assert facts(gzip.compress(lines(run(1), run(2))) + bytes(512)) == TWO


def test_a_file_that_breaks_off() -> None:
    """If reading a file fails, what was read before counts, and the message has the line and the system's words."""

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if block := super().read(size):
                return block
            raise OSError(5, "Input/output error")

    assert until_broken_off(Failing(lines(run(1), run(2)))) == (TWO, "line 3: Input/output error")
    assert until_broken_off(Failing(lines(*map(run, range(100)))))[0] == [f"run-{number}" for number in range(100)]
    assert until_broken_off(Failing()) == ([], "line 1: Input/output error")


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        pytest.param(b"PK\x03\x04" + lines(run(1)), "ZIP", id="zip"),
        pytest.param(gzip.compress(b"a".ljust(257, b"\0") + b"ustar" + lines(run(1))), "tar", id="tar-gz"),
        pytest.param(gzip.compress(gzip.compress(lines(run(1)))), "twice", id="gzip-twice"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + lines(run(1)), "image", id="png"),
        pytest.param(b"SQLite format 3\0" + lines(run(1)), "SQLite", id="a-ledger"),
        pytest.param(b"\n<!DOCTYPE html>\n<script>\n{}\n</script>", "HTML", id="html"),
        pytest.param("<html>\n{}\n".encode("utf-16"), "HTML", id="html-in-utf-16"),
        pytest.param(b"id,flow,status\n1,2,failed\n", "CSV", id="csv"),
        pytest.param(b"id\tflow\tstatus\n1\t2\tfailed\n", "CSV", id="tsv"),
        pytest.param(b"hello, world\n", "text", id="a-text"),
        pytest.param(bytes(range(256)) * 9, "binary", id="binary"),
        pytest.param(json.dumps(run(1)).encode()[:-9], "cut off", id="half-a-run"),
        pytest.param(b"[" * 200_000 + b"]" * 200_000, "nested too deep", id="brackets"),
        pytest.param(json.dumps(json.dumps(run(1))).encode(), "without an object", id="a-string"),
        pytest.param(json.dumps("x" * 1000).encode(), "without an object", id="a-long-string"),
        pytest.param(b"-1.5e3\n", "without an object", id="a-number"),
        pytest.param(b"null", "without an object", id="null"),
        pytest.param(b"12 monkeys\n", "text", id="a-text-with-a-number"),
    ],
)
def test_a_file_of_something_else(file: bytes, kind: str) -> None:
    """A file in which nothing is readable is one unreadable event that is not kept, with a guess at what it is."""
    (found,) = read_events(io.BytesIO(file), lambda: NOW)
    assert (fact(found), found.place, found.is_kept) == ("unreadable", "", False)
    assert kind in found.note


def test_what_is_kept_of_unreadable_texts() -> None:
    """Of a file with something readable, the first thousand unreadable texts are kept, before and after it."""
    noise = b"no JSON\n" * 1_500
    for file in (noise + lines(run(1)), lines(run(1)) + noise, b"no JSON\n" * 700 + lines(run(1)) + b"no JSON\n" * 800):
        found = list(read_events(io.BytesIO(file), lambda: NOW))
        assert sorted(map(fact, found)) == ["run-1", *["unreadable"] * 1_500]
        assert sum(each.is_kept for each in found) == 1_001


def test_large_unreadable_texts() -> None:
    """Of unreadable texts at most 4 MiB are kept, and one longer than a MiB is not."""
    file = lines(run(1)) + (b"x" * 1_000_000 + b"\n") * 6 + b"x" * 2_000_000 + b"\n" + lines(run(2))
    found = list(read_events(io.BytesIO(file), lambda: NOW))
    assert [fact(each) for each in found] == ["run-1", *["unreadable"] * 7, "run-2"]
    assert [each.is_kept for each in found] == [True] * 5 + [False] * 3 + [True]


@pytest.mark.parametrize("form", ["array", "object"])
def test_a_text_that_is_too_long(form: str) -> None:
    """A text beyond the limit is one unreadable event with advice, and what comes after it is read."""
    elements = [run(number) for number in range(2_000)]
    long = json.dumps(elements if form == "array" else {"items": elements}, indent=1).encode()
    file = lines(run(1)) + long + lines(run(2))
    found = list(read_events(io.BytesIO(file), lambda: NOW, max_text=100_000))
    assert [fact(each) for each in found] == ["run-1", "unreadable", "run-2"]
    assert (found[1].place, found[1].is_kept) == ("line 2", False)
    assert "jq" in found[1].note


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(lines(run(1)), id="lines"),
        pytest.param(json.dumps(run(1)).encode(), id="in-a-row"),
        pytest.param(json.dumps(run(1), indent=1).encode() + b"\n", id="pretty-printed"),
        pytest.param(b"x" * 1000, id="one-endless-line"),
        pytest.param(b'{"a":[' + b"1," * 500, id="one-endless-text"),
    ],
)
def test_memory(part: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is never held as a whole: one of 600 kB takes less than 300 kB, with a limit of 20 kB for a text."""
    monkeypatch.setattr("exporter.saved_files.texts._MAX_QUICK", 20_000)
    block = part * (20_000 // len(part))
    splitter = Splitter(max_text=20_000, max_stray=20_000)
    tracemalloc.start()
    try:
        for _ in range(30):
            for _text in splitter.feed(block):
                pass
        for _text in splitter.end():
            pass
        assert tracemalloc.get_traced_memory()[1] < 300_000
    finally:
        tracemalloc.stop()


def test_standard_input(tmp_path: Path) -> None:
    """A pipe, which can't be rewound, is read like a file, by lines and as a whole."""
    for file in (lines(run(1), run(2)), json.dumps([run(1), run(2)], indent=1).encode()):
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as stream:
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(file)
            assert facts(stream) == TWO
