"""Faults of the ledger: deliveries get 503, so that Adobe sends them again, and are taken once the fault is over."""

import contextlib
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.adobe import Connection
from tests.system.processes import Exporter, needs_root, until
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


def test_a_ledger_that_is_locked(tmp_path: Path) -> None:
    """While another program holds the ledger's lock deliveries get 503, and afterwards they are taken."""
    with Exporter(tmp_path / "exporter", "--series.hold=0s") as exporter:
        with contextlib.closing(sqlite3.connect(exporter.ledger, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert exporter.post(delivery(1)[1]) == 503
            assert "SQLITE_BUSY" in exporter.output()
            assert exporter.get("/metrics").status_code == 200
            # The probe does not wait for the lock.
            assert exporter.get("/-/ready").status_code == 503
            other.execute("ROLLBACK")
        assert exporter.post(delivery(1)[1]) == 200
        assert ready(exporter).startswith("200")
        assert kept(exporter) == {"run-1"}


def test_a_ledger_that_has_its_size(tmp_path: Path) -> None:
    """When the ledger has reached --ledger.max-size deliveries get 503, the probe names it and metrics go on."""
    with Exporter(tmp_path / "exporter", "--ledger.max-size=300KiB", "--series.hold=0s") as exporter:
        connection = Connection(exporter.port)
        statuses = [connection.post(delivery(number)[1], {}) for number in range(400)]
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
