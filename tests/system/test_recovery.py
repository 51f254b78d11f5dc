"""Starts after a kill: few entries are read again, and an entry that can't be read hides nothing."""

import contextlib
import signal
import sqlite3
from pathlib import Path

from tests.system.adobe import Connection
from tests.system.processes import Exporter, until
from tests.system.test_serve import delivery

ENTRIES = 12_000
BATCH = 100


def batch(first: int) -> bytes:
    """A delivery of so many runs."""
    return b"[" + b",".join(delivery(first + number)[1] for number in range(BATCH)) + b"]"


def test_a_killed_program_has_left_a_checkpoint(tmp_path: Path) -> None:
    """A program that is killed soon after its start has left a checkpoint, because many entries came in."""
    with Exporter(tmp_path / "exporter", "--series.hold=0s") as exporter:
        connection = Connection(exporter.port)
        for first in range(0, ENTRIES, BATCH):
            assert connection.post(batch(first), {}) == 200
        connection.close()

        def checkpoints() -> list[int]:
            with contextlib.closing(sqlite3.connect(exporter.ledger)) as ledger:
                return [position for (position,) in ledger.execute("SELECT position FROM checkpoint")]

        until(lambda: bool(checkpoints()), "a checkpoint")
        before = exporter.flows()
        exporter.stop(signal.SIGKILL)
        with contextlib.closing(sqlite3.connect(exporter.ledger)) as ledger, ledger:
            ledger.execute("UPDATE entry SET source = 'newer' WHERE position = ?", (ENTRIES,))
        assert ENTRIES - max(checkpoints()) <= 10_000
        exporter.run()
        until(lambda: exporter.get("/-/ready").text.startswith("ready, entries skipped: 1"), "ready")
        assert exporter.flows().count("\n") == before.count("\n")
        assert exporter.output().count("an entry of the ledger was skipped") == 1
