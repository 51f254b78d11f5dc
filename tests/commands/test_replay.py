"""`replay`: files into the ledger."""

import io
import json
import os
import sys
from pathlib import Path

import pytest

from exporter.commands.main import main
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
