"""`replay`: files into the ledger."""

import asyncio
import contextlib
import io
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from exporter.commands.main import main
from exporter.commands.replay import record_file
from exporter.errors import LedgerUnavailableError
from exporter.intake import Intake
from exporter.ledger import Ledger
from exporter.ledger.sqlite import SqliteLedger
from exporter.model import Delivery, FlowRun, Result, Source
from tests.commands.conftest import LEDGER, Run, Terminal, entries, run, standard_input, write


def test_a_missing_file_costs_the_others_nothing(cli: Run) -> None:
    """If one of the files does not exist none is recorded, so that the command can be repeated."""
    assert cli("replay", write("a.json", run(1)), "b.json").status == 2
    assert not LEDGER.exists()


def test_replay(cli: Run) -> None:
    """Replay records files and prints the number of events by result. It prints nothing to standard error."""
    ended = cli("replay", write("a.json", run(1), run(2, "failed"), {"other": 1}), write("b.json", run(1), 7))
    assert (ended.status, ended.err) == (0, "")
    assert ended.counts == {"recorded": 2, "duplicate": 1, "unsupported": 1, "unreadable": 1, "expired": 0}
    assert [entry.kind for entry in entries()] == ["run", "run", "unsupported", "unreadable"]


def test_replay_again(cli: Run) -> None:
    """If a file is replayed again, every event is a duplicate."""
    write("a.json", run(1), run(2))
    cli("replay", "a.json")
    assert cli("replay", "a.json", "a.json").counts["duplicate"] == 4
    assert len(entries()) == 2


def test_replay_of_nothing(cli: Run) -> None:
    """An empty file is no error."""
    assert set(cli("replay", write("empty.json")).counts.values()) == {0}


@pytest.mark.parametrize(("retention", "result"), [("90d", "expired"), ("50y", "recorded")])
def test_replay_of_what_is_long_past(cli: Run, retention: str, result: str) -> None:
    """A run that ended earlier than the ledger's retention is not recorded."""
    ended = cli("replay", f"--ledger.retention={retention}", write("a.json", run(1, completedAtUTC=1_500_000_000_000)))
    assert ended.counts[result] == 1
    assert len(entries()) == (result == "recorded")


def test_replay_to_another_ledger(cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger is the one that the flag or the variable names."""
    write("a.json", run(1))
    monkeypatch.setenv("AEP_EXPORTER_LEDGER_URL", "sqlite:///by-variable.db")
    assert cli("replay", "a.json").status == 0
    assert cli("replay", "--ledger.url", f"sqlite:///{folder}/by-flag.db", "a.json").status == 0
    assert len(entries(Path("by-variable.db"))) == len(entries(Path("by-flag.db"))) == 1
    assert not LEDGER.exists()


def test_replay_of_standard_input(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dash is read as standard input, also between files."""
    monkeypatch.setattr(sys, "stdin", standard_input(json.dumps(run(2)).encode()))
    assert cli("replay", write("a.json", run(1)), "-", write("b.json", run(3))).counts["recorded"] == 3


def test_replay_of_a_pipe(cli: Run) -> None:
    """A pipe, as a shell's <(...) makes one, is read like a file."""
    reading, writing = os.pipe()
    os.write(writing, json.dumps(run(1)).encode())
    os.close(writing)
    try:
        ended = cli("replay", f"/dev/fd/{reading}")
    finally:
        os.close(reading)
    assert (ended.status, ended.err) == (0, "")
    assert ended.counts["recorded"] == 1


def test_a_file_that_breaks_off(cli: Run) -> None:
    """A file that can be opened and not read is named in the message."""
    ended = cli("replay", "/proc/self/mem")
    assert ended.status == 1
    assert "/proc/self/mem" in ended.err


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal progress is shown for each file, and the result begins on a new line after it."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["replay", write("a.json", run(1)), write("b.json", run(2))]) == 0
    shown = terminal.getvalue()
    assert "a.json: 1 recorded" in shown
    assert "b.json: 1 recorded" in shown
    assert "recorded             2" in shown.splitlines()


def test_an_interrupt(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends a replay with 130 and without a message, and what was committed stays."""

    class Interrupted(io.BytesIO):
        def __next__(self) -> bytes:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Interrupted()))
    ended = cli("replay", write("a.json", run(1)), "-")
    assert (ended.status, ended.err) == (130, "")
    assert len(entries()) == 1


NOW = 1_790_000_000_000


def lines(*values: object) -> bytes:
    """Values as JSON lines."""
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


class Recorder:
    """Records in memory."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.progressed: list[int] = []

    async def record(self, deliveries: list[Delivery]) -> Mapping[Result, int]:
        """Accept every event as new."""
        self.deliveries += deliveries
        return {Result.RECORDED: sum(len(delivery.events) for delivery in deliveries)}

    def progress(self, counts: Mapping[Result, int]) -> None:
        """Note how many events were recorded so far."""
        self.progressed.append(sum(counts.values()))


def replayed(file: bytes) -> Recorder:
    """What is recorded of a file."""
    recorder = Recorder()
    asyncio.run(record_file(io.BytesIO(file), recorder.record, lambda: NOW, recorder.progress))
    return recorder


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A new ledger."""
    with contextlib.closing(SqliteLedger(tmp_path / "ledger.db")) as opened:
        yield opened


def test_batches_and_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long file is recorded in batches across its lines and arrays, and each batch reports progress."""
    monkeypatch.setattr("exporter.commands.replay._BATCH", 3)
    recorder = replayed(lines([run(1), run(2), run(3), run(4)], *(run(number) for number in range(5, 9))))
    assert [len(delivery.events) for delivery in recorder.deliveries] == [3, 3, 2]
    assert recorder.progressed == [3, 6, 8]
    assert all(delivery.source is Source.REPLAY for delivery in recorder.deliveries)
    facts = [event.fact for delivery in recorder.deliveries for event in delivery.events]
    assert [fact.run_id for fact in facts if isinstance(fact, FlowRun)] == [f"run-{n}" for n in range(1, 9)]


def totals(ledger: Ledger, file: bytes) -> Counter[Result]:
    """The results of the events of a file that is recorded in a ledger."""
    intake = Intake(ledger, ledger.now)
    return asyncio.run(record_file(io.BytesIO(file), intake.record, ledger.now, lambda _counts: None))


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
    events = [{"event_id": f"e-{n}", "event": run(n)} for n in (1, 2)]
    assert totals(ledger, lines({"events": events, "_page": {"last": "p", "count": 2}})) == {Result.DUPLICATE: 2}
    assert sum(entry.counts for entry in ledger.read(0, 100)) == 2


def test_a_failure_ends_it(ledger: Ledger) -> None:
    """If a batch can't be recorded the replay ends with that error."""
    ledger.close()
    with pytest.raises(LedgerUnavailableError):
        totals(ledger, lines(run(1)))
