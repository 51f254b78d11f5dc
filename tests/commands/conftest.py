"""What the tests of commands share: a working directory, a way to run a command, and files to replay."""

import contextlib
import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.commands.main import main
from exporter.ignored_signals import UNUSED
from exporter.ledger import Entry
from exporter.ledger.sqlite import SqliteLedger
from tests.test_logs import restored_logging

SECRET = "s3cret-s3cret-s3cret"
LEDGER = Path("data/ledger.db")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, no settings in the environment, and afterwards the signals' meanings as before."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("AEP_EXPORTER_"):
            monkeypatch.delenv(name)
    # Programs that later tests of this process start would inherit the signals that `serve` ignores.
    handlers = {number: signal.getsignal(number) for number in (signal.SIGHUP, *UNUSED)}
    with restored_logging():
        yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)


class Ended:
    """How a command ended, and what it printed."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    @property
    def counts(self) -> dict[str, int]:
        """The table that `replay` prints, as numbers."""
        rows = [line.split() for line in self.out.splitlines()]
        return {name: int(number) for name, number in rows}


Run = Callable[..., Ended]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command. Each line of its standard error begins with the name of the program, and none is a traceback."""

    def run(*words: str) -> Ended:
        status = main(words)
        ended = Ended(status, *capsys.readouterr())
        assert all(line.startswith("aep-flow-exporter: ") for line in ended.err.splitlines())
        assert "Traceback" not in ended.err
        return ended

    return run


def run(number: int, status: str = "success", **times: int) -> dict[str, Any]:
    """A run as Adobe writes one."""
    metrics = {"statusSummary": {"status": status}, "durationSummary": times}
    return {"id": f"run-{number}", "flowId": "flow", "metrics": metrics}


def write(name: str, *values: object) -> str:
    """Write a file of JSON lines. Returns its name."""
    Path(name).write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return name


def entries(path: Path = LEDGER) -> list[Entry]:
    """The entries of a ledger."""
    with contextlib.closing(SqliteLedger(path)) as ledger:
        return ledger.read(0, 1000)


def make_ledger(path: Path = LEDGER) -> None:
    """Make a ledger without entries."""
    SqliteLedger(path).close()


def standard_input(content: bytes) -> io.TextIOWrapper:
    """Standard input with this content."""
    return io.TextIOWrapper(io.BytesIO(content))


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True
