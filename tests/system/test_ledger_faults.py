"""Faults of the ledger: deliveries get 503, so that Adobe sends them again, and are taken once the fault is over."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.adobe import Connection
from tests.system.processes import Exporter, needs_root, program, until
from tests.system.test_serve import delivery


def kept(exporter: Exporter) -> set[str]:
    """The ids of the runs in the ledger."""
    with contextlib.closing(sqlite3.connect(exporter.ledger)) as ledger:
        return {run_id for (run_id,) in ledger.execute("SELECT run_id FROM entry")}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes."""
    needs_root("mounting a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def ready(exporter: Exporter) -> str:
    """The status and text of the readiness probe."""
    response = exporter.get("/-/ready")
    return f"{response.status_code} {response.text}"


def runs_shown(exporter: Exporter) -> float:
    """The sum of the counters of runs."""
    lines = [line for line in exporter.flows().splitlines() if line.startswith("aep_flow_runs_total{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def test_a_full_disk(small_disk: Path) -> None:
    """On a full disk deliveries get 503, the probe names the cause, metrics go on, and freed space is enough."""
    with Exporter(small_disk, "--series.hold=0s") as exporter:
        assert exporter.post(delivery(0)[1]) == 200
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 1024)
        statuses = [exporter.post(delivery(number)[1]) for number in range(1, 40)]
        assert set(statuses) <= {200, 503}
        assert statuses[-1] == 503
        acknowledged = {0, *(number for number, status in enumerate(statuses, start=1) if status == 200)}
        assert ready(exporter).startswith("503 not ready: ledger_unavailable")
        assert "aep_flow_runs_total" in exporter.flows()
        filler.unlink()
        until(lambda: ready(exporter).startswith("200"), "recovery")
        assert exporter.post(delivery(99)[1]) == 200
        assert kept(exporter) == {f"run-{number}" for number in {*acknowledged, 99}}
        assert "Traceback" not in exporter.output()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_start_on_a_full_disk(small_disk: Path, end: int) -> None:
    """On a full disk a ledger is opened and its runs are shown, deliveries get 503, and freed space is enough."""
    filler = small_disk / "filler"
    filler.write_bytes(bytes(1024 * 1024))
    with Exporter(small_disk, "--series.hold=0s") as exporter:
        count = 0
        while exporter.post(delivery(count)[1] + b" " * 20_000) == 200:
            count += 1
        exporter.stop(end)
        with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 1024)
        exporter.run("/-/healthy")
        until(lambda: "SQLITE_FULL" in ready(exporter), "the probe's text")
        assert ready(exporter).startswith("503 not ready: ledger_unavailable")
        until(lambda: runs_shown(exporter) == count, "the metrics")
        assert exporter.post(delivery(count)[1] + b" " * 20_000) == 503
        exporter.stop(signal.SIGKILL)
        exporter.run("/-/healthy")
        filler.unlink()
        until(lambda: ready(exporter).startswith("200"), "recovery")
        assert exporter.post(delivery(99)[1]) == 200
        assert kept(exporter) == {f"run-{number}" for number in (*range(count), 99)}
        exporter.stop(signal.SIGKILL)
        exporter.run()
        assert "Traceback" not in exporter.output()


def test_a_ledger_that_is_locked(tmp_path: Path) -> None:
    """While another program holds the ledger's lock deliveries get 503, and afterwards they are taken."""
    with Exporter(tmp_path / "exporter", "--series.hold=0s") as exporter:
        with contextlib.closing(sqlite3.connect(exporter.ledger, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert exporter.post(delivery(1)[1]) == 503
            until(lambda: "SQLITE_BUSY" in exporter.output(), "the log")
            assert exporter.get("/metrics").status_code == 200
            # The probe does not wait for the lock.
            assert exporter.get("/-/ready").status_code == 503
            other.execute("ROLLBACK")
        assert exporter.post(delivery(1)[1]) == 200
        assert ready(exporter).startswith("200")
        assert kept(exporter) == {"run-1"}


def log_of(exporter: Exporter) -> Path:
    """The ledger's write-ahead log."""
    return exporter.ledger.with_name("ledger.db-wal")


def sqlite(exporter: Exporter, command: str) -> None:
    """Run a command of SQLite's own program, as a person does."""
    subprocess.run([program("sqlite3"), exporter.ledger, command], check=True, capture_output=True)


FAULTS: dict[str, Callable[[Exporter], object]] = {
    "ledger.db-wal was cut off": lambda exporter: os.truncate(log_of(exporter), log_of(exporter).stat().st_size // 2),
    "ledger.db-wal was moved or deleted": lambda exporter: log_of(exporter).unlink(),
    "ledger.db-shm was moved or deleted": lambda exporter: exporter.ledger.with_name("ledger.db-shm").unlink(),
}


@pytest.mark.parametrize("message", FAULTS)
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_file_that_is_damaged_while_it_is_used(tmp_path: Path, message: str, end: int) -> None:
    """A damaged file is noticed without a delivery, nothing is acknowledged, and a restart has what was after it."""
    with Exporter(tmp_path / "exporter", "--series.hold=0s") as exporter:
        assert exporter.post(delivery(1)[1]) == 200
        sqlite(exporter, "PRAGMA wal_checkpoint")
        for number in range(2, 6):
            assert exporter.post(delivery(number)[1]) == 200
        FAULTS[message](exporter)
        assert exporter.post(delivery(6)[1]) == 503
        until(lambda: message in ready(exporter), "the probe's text")
        assert ready(exporter).startswith("503 not ready: ledger_unavailable")
        assert "stop the exporter, and start it again" in ready(exporter)
        assert message in exporter.output()
        assert exporter.post(delivery(7)[1]) == 503
        exporter.stop(end)
        exporter.run()
        assert exporter.post(delivery(8)[1]) == 200
        exporter.stop(signal.SIGKILL)
        exporter.run()
        assert kept(exporter) >= {"run-1", "run-8"}
        assert not kept(exporter) & {"run-6", "run-7"}
        if "-shm" in message:
            assert len(kept(exporter)) == 6


def test_a_backup_that_is_restored_under_a_log(tmp_path: Path) -> None:
    """A backup beside the log of a later crash is refused. With the log moved away, as the message says, it starts."""
    with Exporter(tmp_path / "exporter") as exporter:
        exporter.post(delivery(1)[1])
        sqlite(exporter, f".backup {tmp_path / 'copy.db'}")
        exporter.post(delivery(2)[1])
        exporter.stop(signal.SIGKILL)
        shutil.copy(tmp_path / "copy.db", exporter.ledger)
        before = exporter.ledger.read_bytes(), log_of(exporter).read_bytes()
        with pytest.raises(AssertionError, match=r"move ledger\.db-wal and ledger\.db-shm away"):
            exporter.run()
        assert exporter.wait() == 1
        assert (exporter.ledger.read_bytes(), log_of(exporter).read_bytes()) == before
        log_of(exporter).unlink()
        exporter.run()
        assert kept(exporter) == {"run-1"}


def test_a_ledger_that_has_its_size(tmp_path: Path) -> None:
    """When the ledger has reached --ledger.max-size deliveries get 503, the probe names it and metrics go on."""
    with Exporter(tmp_path / "exporter", "--ledger.max-size=300KiB", "--series.hold=0s") as exporter:
        connection = Connection(exporter.port)
        statuses = [connection.post(delivery(number)[1], {}) for number in range(1_500)]
        connection.close()
        assert statuses[-1] == 503
        assert set(statuses) == {200, 503}
        assert "--ledger.max-size" in ready(exporter)
        assert len(kept(exporter)) == statuses.count(200)
        assert "aep_flow_runs_total" in exporter.flows()


def test_a_damaged_ledger_is_refused_at_the_start(tmp_path: Path) -> None:
    """A start with a damaged ledger leaves it as it is and ends with advice."""
    with Exporter(tmp_path / "exporter") as exporter:
        exporter.post(delivery(1)[1])
        exporter.stop()
        damaged = b"damaged" + exporter.ledger.read_bytes()[7:]
        exporter.ledger.write_bytes(damaged)
        with pytest.raises(AssertionError, match="put a copy from a backup"):
            exporter.run()
        assert exporter.wait() == 1
        assert exporter.ledger.read_bytes() == damaged
