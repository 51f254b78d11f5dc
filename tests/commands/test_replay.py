"""`replay`: files into the ledger."""

import asyncio
import contextlib
import gzip
import io
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from exporter.commands.main import main
from exporter.commands.replay import record_file
from exporter.commands.replay_account import Account
from exporter.errors import LedgerUnavailableError
from exporter.intake import Intake
from exporter.ledger import Ledger
from exporter.ledger.sqlite import SqliteLedger
from exporter.model import Delivery, FlowRun, NotUnderstood, Result, Source
from exporter.reasons import EXPLANATIONS
from tests.commands.conftest import LEDGER, Run, Terminal, entries, make_ledger, run, standard_input, write


@pytest.fixture(autouse=True)
def an_empty_ledger(folder: Path) -> None:
    """There is a ledger, as there is where the exporter runs."""
    make_ledger(folder / LEDGER)


@pytest.fixture
def no_ledger(folder: Path) -> None:
    """There is no ledger."""
    shutil.rmtree(folder / LEDGER.parent)


def test_a_missing_file_costs_the_others_nothing(cli: Run) -> None:
    """If one of the files does not exist none is recorded, so that the command can be repeated."""
    assert cli("replay", write("a.json", run(1)), "b.json").status == 2
    assert entries() == []


def test_replay(cli: Run) -> None:
    """Replay records files and prints the number of events by result, and nothing else, to standard output."""
    ended = cli("replay", write("a.json", run(1), run(2, "failed"), {"other": 1}), write("b.json", run(1), 7))
    assert ended.status == 0
    assert ended.counts == {"recorded": 2, "duplicate": 1, "unsupported": 1, "unreadable": 1, "expired": 0}
    assert [entry.kind for entry in entries()] == ["run", "run", "unsupported", "unreadable"]


def test_the_ledger_is_named(cli: Run, folder: Path) -> None:
    """The first line on standard error has the ledger's absolute path and the number of its entries."""
    file = write("a.json", run(1), run(2), {"other": 1})
    for entries_before in (0, 3):
        first = cli("replay", file).err.splitlines()[0]
        assert first == f"aep-flow-exporter: recording in {folder}/data/ledger.db (entries before: {entries_before})"


@pytest.mark.usefixtures("no_ledger")
def test_a_ledger_that_does_not_exist(cli: Run, folder: Path) -> None:
    """Without a ledger nothing is recorded and nothing is made, and the message has the path and both ways out."""
    write("a.json", run(1))
    ended = cli("replay", "--ledger.url=sqlite:///new/folders/ledger.db", "a.json")
    assert (ended.status, ended.out) == (2, "")
    for part in (f"no ledger at {folder}/new/folders/ledger.db", "nothing was recorded", "--ledger.url", "--create"):
        assert part in ended.err
    assert [path.name for path in folder.rglob("*")] == ["a.json"]


@pytest.mark.usefixtures("no_ledger")
def test_create(cli: Run) -> None:
    """With --create the ledger and its folders are made."""
    assert cli("replay", "--create", write("a.json", run(1))).counts["recorded"] == 1
    assert cli("replay", "--create", "a.json").counts["duplicate"] == 1
    assert len(entries()) == 1


def test_a_ledger_with_a_similar_name(cli: Run, folder: Path) -> None:
    """The ledgers in the folder of a path at which there is none are named, and no other files."""
    Path("data/notes.db").write_text("notes", encoding="utf-8")
    ended = cli("replay", "--ledger.url=sqlite:///data/legder.db", write("a.json", run(1)))
    assert ended.status == 2
    assert f"Ledgers near it: {folder}/data/ledger.db\n" in ended.err
    assert sorted(path.name for path in Path("data").iterdir()) == ["ledger.db", "notes.db"]


def test_an_empty_file_is_no_ledger(cli: Run) -> None:
    """A file without content is no ledger. It stays as it is, unless a ledger is asked for."""
    empty = Path("empty.db")
    empty.touch()
    file = write("a.json", run(1))
    ended = cli("replay", "--ledger.url=sqlite:///empty.db", file)
    assert ended.status == 2
    assert "the file is empty" in ended.err
    assert (empty.stat().st_size, list(Path().glob("empty.db-*"))) == (0, [])
    assert cli("replay", "--create", "--ledger.url=sqlite:///empty.db", file).counts["recorded"] == 1


def test_what_could_not_be_used(cli: Run) -> None:
    """Each event that was not understood has its file, its place, its reason and what that means, and no value."""
    ended = cli("replay", write("a.json", run(1), {"secret": "s3cret"}, ["s3cret"], run(2)), write("b.json", run(3)))
    assert ended.status == 0
    _, first, second, totals = (line.removeprefix("aep-flow-exporter: ") for line in ended.err.splitlines())
    assert first.startswith("a.json: line 2: ")
    assert first.partition("line 2: ")[2] in {f"{reason.value}: {EXPLANATIONS[reason]}" for reason in NotUnderstood}
    assert second == f"a.json: line 3: unreadable: {EXPLANATIONS[NotUnderstood.UNREADABLE]}"
    assert totals.startswith("a.json: not used, by reason: ")
    assert "1 unreadable" in totals
    assert "s3cret" not in ended.err


def test_much_that_could_not_be_used(cli: Run) -> None:
    """Of one file twenty places are printed, then how many more there are and how many have each reason."""
    ended = cli("replay", write("a.json", run(1), *[[7]] * 30), write("b.json", run(1), *[[8]] * 2))
    shown = [line for line in ended.err.splitlines() if "unreadable: " in line and "line" in line]
    assert sum("a.json" in line for line in shown) == 20
    assert "a.json: and 10 more\n" in ended.err
    assert "a.json: not used, by reason: 30 unreadable\n" in ended.err
    assert sum("b.json" in line for line in shown) == 2
    assert "b.json: and" not in ended.err


@pytest.mark.parametrize("name", ["a.json", "b.json"])
def test_a_file_of_which_nothing_can_be_used(cli: Run, name: str) -> None:
    """If nothing in one of the files can be used the command ends with 1, and the others are recorded."""
    write("a.json", run(1))
    write("b.json", run(2))
    write(name, {"other": 1})
    ended = cli("replay", "a.json", "b.json")
    assert ended.status == 1
    assert f"{name}: nothing in this file can be used\n" in ended.err
    assert ended.counts["recorded"] == ended.counts["unsupported"] == 1
    assert [entry.kind for entry in entries()].count("unsupported") == 1


def test_a_file_of_something_else_is_not_recorded(cli: Run) -> None:
    """A file in which nothing is readable is counted once, as unreadable, and is not recorded."""
    Path("picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(9_000))
    ended = cli("replay", "picture.png", write("a.json", run(1)))
    assert ended.status == 1
    assert "picture.png: unreadable: it seems to be an image\n" in ended.err
    assert (ended.counts["unreadable"], ended.counts["recorded"]) == (1, 1)
    assert [entry.kind for entry in entries()] == ["run"]


def test_a_file_that_is_cut_off(cli: Run) -> None:
    """What can be read of a gzip file that is cut off is recorded. The message has its place, and the status is 1."""
    packed = gzip.compress(lines(*(run(number) for number in range(100)), *[{"other": 1}] * 50))
    Path("a.gz").write_bytes(packed[:-8])
    ended = cli("replay", "a.gz")
    assert ended.status == 1
    assert "a.gz: line " in ended.err
    assert "cut off" in ended.err
    assert ended.counts["recorded"] == 100
    assert sum(entry.kind == "run" for entry in entries()) == 100


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
    assert ended.status == 0
    assert ended.counts[result] == 1
    assert ("a.json: 1 expired: they ended before --ledger.retention" in ended.err) == (result == "expired")
    assert len(entries()) == (result == "recorded")


def test_replay_to_another_ledger(cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger is the one that the flag or the variable names."""
    write("a.json", run(1))
    monkeypatch.setenv("AEP_EXPORTER_LEDGER_URL", "sqlite:///by-variable.db")
    assert cli("replay", "--create", "a.json").status == 0
    assert cli("replay", "--create", "--ledger.url", f"sqlite:///{folder}/by-flag.db", "a.json").status == 0
    assert len(entries(Path("by-variable.db"))) == len(entries(Path("by-flag.db"))) == 1
    assert entries() == []


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
    assert ended.status == 0
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
        def read(self, _size: int | None = -1, /) -> bytes:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Interrupted()))
    ended = cli("replay", write("a.json", run(1)), "-")
    assert (ended.status, ended.out) == (130, "")
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
    asyncio.run(record_file(io.BytesIO(file), recorder.record, lambda: NOW, Account(), recorder.progress))
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
    account = Account()
    asyncio.run(record_file(io.BytesIO(file), intake.record, ledger.now, account, lambda _counts: None))
    return account.results


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


def test_every_reason_is_explained() -> None:
    """Each reason for which an event is not understood has a sentence of its own."""
    assert EXPLANATIONS.keys() == set(NotUnderstood)
    assert len(set(EXPLANATIONS.values())) == len(NotUnderstood)
