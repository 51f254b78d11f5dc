"""Notifications from files."""

import asyncio
import contextlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import LedgerUnavailableError
from exporter.intake import Intake
from exporter.ledger import Ledger
from exporter.ledger.sqlite import SqliteLedger
from exporter.model import Delivery, FlowRun, Result, Source
from exporter.replay import replay

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


class Recorder:
    """Takes what is to be recorded."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.told: list[int] = []

    async def record(self, deliveries: list[Delivery]) -> Mapping[Result, int]:
        """Take everything as new."""
        self.deliveries += deliveries
        return {Result.RECORDED: sum(len(delivery.events) for delivery in deliveries)}

    def progress(self, counts: Mapping[Result, int]) -> None:
        """Note how much was recorded so far."""
        self.told.append(sum(counts.values()))

    @property
    def facts(self) -> list[str]:
        """Each event: a run by its id, anything else by its kind."""
        return [
            each.fact.run_id if isinstance(each.fact, FlowRun) else type(each.fact).__name__.lower()
            for delivery in self.deliveries
            for each in delivery.events
        ]


def replayed(file: BinaryIO | bytes) -> Recorder:
    """What is recorded of a file."""
    recorder = Recorder()
    opened = io.BytesIO(file) if isinstance(file, bytes) else file
    total = asyncio.run(replay(opened, recorder.record, lambda: NOW, recorder.progress))
    assert total.total() == len(recorder.facts)
    return recorder


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A new ledger."""
    with contextlib.closing(SqliteLedger(tmp_path / "ledger.db")) as opened:
        yield opened


ONE = ["run-1"]
TWO = ["run-1", "run-2"]


@pytest.mark.parametrize(
    ("file", "facts"),
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
def test_forms(file: bytes, facts: list[str]) -> None:
    """A file is one JSON text, in any layout, or one per line; each an object, an array, a page or an answer."""
    recorder = replayed(file)
    assert recorder.facts == facts
    assert all(delivery.source is Source.REPLAY for delivery in recorder.deliveries)


BROKEN = {
    "no-json": b'{"id": broken',
    "cut-off-at-its-start": json.dumps(run(9)).encode()[30:],
    "a-remark": b"# saved on Monday",
    "ten-thousand-brackets": b"[" * 10_000 + b"]" * 10_000,
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
def test_a_broken_line_costs_that_line(name: str, place: int) -> None:
    """A line that can't be read is one unreadable event, wherever it stands, and the others are recorded."""
    kept = lines(run(1), run(2)).splitlines()
    kept.insert(place, BROKEN[name])
    facts = ["run-1", "run-2"]
    facts.insert(place, "unreadable")
    assert replayed(b"\n".join(kept)).facts == facts


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(b'"\xff\xfe"', id="no-utf-8"),
        pytest.param(b'"\x00\x01"', id="control-characters"),
        pytest.param(b'"\\ud83d"', id="half-an-emoji"),
        pytest.param(b"[" * 500 + b"]" * 500, id="nested-deep"),
    ],
)
def test_damage_in_a_leaf_costs_the_leaf(damage: bytes) -> None:
    """A line with a damaged leaf is read forgivingly, the first one too."""
    damaged = json.dumps(run(1)).encode().removesuffix(b"}") + b', "leaf": ' + damage + b"}\n"
    assert replayed(damaged + lines(run(2))).facts == TWO


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
    """An array without its end, as a full disk leaves it, gives the elements that are there, in any layout."""
    assert replayed(file.encode()).facts == TWO


def test_what_is_no_json_is_kept_once() -> None:
    """A file of another kind is one unreadable event, though a line of it may look like JSON by chance."""
    assert replayed(b"\x7fELF\x02\xff of another program\n" * 1_000 + b"[]\n").facts == ["unreadable"]


@given(st.lists(st.lists(st.integers(0, 99), max_size=3), max_size=6), st.sampled_from([None, 1]))
def test_layout_changes_nothing(groups: list[list[int]], indent: int | None) -> None:
    """The same runs in one array or in an array per line are the same events in the same order."""
    per_line = lines(*([run(number) for number in group] for group in groups))
    whole = json.dumps([run(number) for group in groups for number in group], indent=indent).encode()
    assert replayed(per_line).facts == replayed(whole).facts


def test_standard_input(tmp_path: Path) -> None:
    """A stream that can't be rewound is read like a file, in both ways."""
    for file in (lines(run(1), run(2)), json.dumps([run(1), run(2)], indent=1).encode()):
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as stream:
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(file)
            assert replayed(stream).facts == TWO


def test_batches_and_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long file is recorded in transactions of bounded size, over its lines and arrays; each tells the progress."""
    monkeypatch.setattr("exporter.replay._BATCH", 3)
    recorder = replayed(lines([run(1), run(2), run(3), run(4)], *(run(number) for number in range(5, 9))))
    assert [len(delivery.events) for delivery in recorder.deliveries] == [3, 3, 2]
    assert recorder.told == [3, 6, 8]
    assert recorder.facts == [f"run-{number}" for number in range(1, 9)]


def totals(ledger: Ledger, file: bytes) -> Counter[Result]:
    """What becomes of a file that is recorded in a ledger."""
    intake = Intake(ledger, ledger.now)
    return asyncio.run(replay(io.BytesIO(file), intake.record, ledger.now, lambda _counts: None))


def test_twice_counts_once(ledger: Ledger) -> None:
    """A file that is replayed again, or in another form, records nothing new."""
    file = lines(run(1), run(2), run(1), {"other": "topic"}, 7)
    assert totals(ledger, file) == {
        Result.RECORDED: 2,
        Result.DUPLICATE: 1,
        Result.UNSUPPORTED: 1,
        Result.UNREADABLE: 1,
    }
    assert totals(ledger, file) == {Result.DUPLICATE: 5}
    assert totals(ledger, lines(page(1, 2))) == {Result.DUPLICATE: 2}
    assert sum(entry.counts for entry in ledger.read(0, 100)) == 2


def test_a_failure_ends_it(ledger: Ledger) -> None:
    """When a batch can't be recorded the replay ends with that error."""
    ledger.close()
    with pytest.raises(LedgerUnavailableError):
        totals(ledger, lines(run(1)))
