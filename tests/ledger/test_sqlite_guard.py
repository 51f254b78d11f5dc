"""What happens to the files of a ledger that is open: nothing is acknowledged that a restart would not find."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.errors import LedgerUnavailableError
from exporter.ledger.sqlite import SqliteLedger
from tests.ledger import append, draft, entries
from tests.ledger.test_sqlite_log import Writer, backup, files, keys, log_of, run_sqlite, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the test's ledger, in a folder of its own."""
    folder = tmp_path / "ledger"
    folder.mkdir()
    return folder / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    """A ledger with entries, some in the database and some in the log."""
    with contextlib.closing(SqliteLedger(path)) as opened:
        append(opened, *(draft(body=b"old") for _ in range(20)))
        run_sqlite(path, "PRAGMA wal_checkpoint(TRUNCATE)")
        for _ in range(5):
            append(opened, draft(body=b"x" * 5_000))
        opened.head()
        yield opened


def index_of(path: Path) -> Path:
    """SQLite's index of the log of a database."""
    return path.with_name(path.name + "-shm")


def cut(path: Path, *, keep: float) -> None:
    """Cut a file to a part of its size."""
    os.truncate(path, int(path.stat().st_size * keep))


def in_place(source: Path, path: Path) -> None:
    """Copy a file over another as `cp` does, so that it stays the same file."""
    path.write_bytes(source.read_bytes())


def log_of_another(path: Path) -> Path:
    """The log of another ledger."""
    other = path.parent.with_name("other") / path.name
    other.parent.mkdir()
    write(other, "other", 40)
    return log_of(other)


def mounted_read_only(path: Path) -> None:
    """Put a read-only disk in the place of the folder."""
    if os.geteuid():
        pytest.skip("mounting needs root")
    subprocess.run(["mount", "--bind", path.parent, path.parent], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", path.parent, path.parent], check=True)


def index_made_anew(path: Path) -> None:
    """Delete the index, and let another process make a new one."""
    index_of(path).unlink()
    run_sqlite(path, "SELECT count(*) FROM entry")


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "log-cut-to-nothing": (lambda path: cut(log_of(path), keep=0), "-wal was cut off"),
    "log-cut-to-half": (lambda path: cut(log_of(path), keep=0.5), "-wal was cut off"),
    "log-cut-by-a-byte": (lambda path: os.truncate(log_of(path), log_of(path).stat().st_size - 1), "-wal was cut off"),
    "log-deleted": (lambda path: log_of(path).unlink(), "-wal was moved or deleted"),
    "log-replaced": (lambda path: shutil.move(log_of_another(path), log_of(path)), "-wal was replaced"),
    "log-overwritten": (lambda path: in_place(log_of_another(path), log_of(path)), "-wal was overwritten"),
    "log-zeroed": (lambda path: log_of(path).write_bytes(bytes(log_of(path).stat().st_size)), "-wal was overwritten"),
    "index-deleted": (lambda path: index_of(path).unlink(), "-shm was moved or deleted"),
    "index-made-anew": (index_made_anew, "-shm was|-wal was"),
    "database-cut": (lambda path: cut(path, keep=0.5), "ledger.db was cut off"),
    "database-cut-to-nothing": (lambda path: cut(path, keep=0), "ledger.db was cut off"),
    "database-deleted": (lambda path: path.unlink(), "ledger.db was moved or deleted"),
    "database-replaced": (lambda path: shutil.move(backup(path, path.with_name("copy")), path), "db was replaced"),
    "database-overwritten": (lambda path: in_place(backup(path, path.with_name("copy")), path), "db was overwritten"),
    "folder-renamed": (lambda path: path.parent.rename(path.parent.with_name("moved")), "was moved or deleted"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_noticed(ledger: SqliteLedger, path: Path, name: str) -> None:
    """After a fault neither the head is read nor anything appended, and the message says what is wrong and to do."""
    fault, message = FAULTS[name]
    fault(path)
    with pytest.raises(LedgerUnavailableError, match=f"{message}.*(exporter|back)"):
        ledger.head()
    with pytest.raises(LedgerUnavailableError, match=message):
        append(ledger, draft())
    with contextlib.suppress(LedgerUnavailableError):
        ledger.pruned()
    with pytest.raises(LedgerUnavailableError, match=message):
        ledger.save_checkpoint(1, b"state")


@pytest.mark.parametrize("name", FAULTS)
def test_a_damaged_ledger_is_abandoned(ledger: SqliteLedger, path: Path, name: str) -> None:
    """Closing a ledger whose files were damaged changes none of them."""
    FAULTS[name][0](path)
    folder = path.parent if path.parent.exists() else path.parent.with_name("moved")
    before = files(folder)
    ledger.close()
    assert files(folder) == before


def test_a_log_that_is_cut_during_a_transaction(
    ledger: SqliteLedger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An append fails if the log is cut off after its transaction began, although SQLite commits it."""
    begin = ledger._begin

    def begin_and_cut() -> None:
        begin()
        cut(log_of(path), keep=0.5)

    monkeypatch.setattr(ledger, "_begin", begin_and_cut)
    with pytest.raises(LedgerUnavailableError, match="-wal was cut off"):
        append(ledger, draft(body=b"x" * 100_000))


def test_a_disk_that_becomes_read_only(ledger: SqliteLedger, path: Path) -> None:
    """A disk that can't be written any more is noticed without a delivery."""
    mounted_read_only(path)
    try:
        with pytest.raises(LedgerUnavailableError, match="read-only: mount it"):
            ledger.head()
    finally:
        subprocess.run(["umount", path.parent], check=True)
    ledger.head()


def test_a_folder_that_is_put_back(ledger: SqliteLedger, path: Path) -> None:
    """A folder that was renamed and is put back is used again."""
    moved = path.parent.rename(path.parent.with_name("moved"))
    with pytest.raises(LedgerUnavailableError):
        append(ledger, draft())
    moved.rename(path.parent)
    append(ledger, draft(body=b"after"))
    assert entries(ledger)[-1].body == b"after"


HARMLESS: dict[str, Callable[[Path], object]] = {
    "a-checkpoint": lambda path: run_sqlite(path, "PRAGMA wal_checkpoint(PASSIVE)"),
    "a-checkpoint-that-empties-the-log": lambda path: run_sqlite(path, "PRAGMA wal_checkpoint(TRUNCATE)"),
    "a-backup": lambda path: backup(path, path.with_name("copy")),
    "a-vacuum": lambda path: run_sqlite(path, "VACUUM"),
    "a-vacuum-that-shrinks": lambda path: run_sqlite(path, "DELETE FROM entry", "VACUUM", "PRAGMA wal_checkpoint"),
    "a-new-index": lambda path: run_sqlite(path, "CREATE INDEX of_people ON entry (flow_id)", "PRAGMA wal_checkpoint"),
    "a-second-process": lambda path: write(path, "second"),
    "much-by-a-second-process": lambda path: write(path, "second", size=600_000),
    "a-permission": lambda path: path.chmod(0o640),
    "garbage-at-the-end-of-the-log": lambda path: os.truncate(log_of(path), log_of(path).stat().st_size + 9),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_others_may_do(ledger: SqliteLedger, path: Path, name: str) -> None:
    """What SQLite's own program and other processes do to a ledger in use disturbs nothing."""
    for number in range(3):
        HARMLESS[name](path)
        path.with_name("copy").unlink(missing_ok=True)
        if name == "a-new-index":
            run_sqlite(path, "DROP INDEX of_people")
        ledger.head()
        append(ledger, draft(body=b"after %d" % number))
        ledger.head()
    ledger.close()
    with contextlib.closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert other.execute("SELECT count(*) FROM entry WHERE CAST(body AS TEXT) LIKE 'after%'").fetchone() == (
            1 if name == "a-vacuum-that-shrinks" else 3,
        )


def test_two_busy_processes(ledger: SqliteLedger, path: Path) -> None:
    """Two processes that write and begin the log anew all the time find no damage."""
    with contextlib.closing(Writer(path)) as writer:
        for key in keys("second", 60):
            writer.append(key, size=700_000)
            append(ledger, draft(body=bytes(700_000)))
            ledger.head()


def test_many_looks_while_another_process_writes(ledger: SqliteLedger, path: Path) -> None:
    """A process that only looks finds no damage while another one writes."""
    child = subprocess.Popen(["sqlite3", path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert child.stdin
    child.stdin.write("CREATE TABLE filler (x); PRAGMA synchronous = OFF;\n")
    child.stdin.write("INSERT INTO filler VALUES (randomblob(90000));\n" * 1_500)
    child.stdin.write("DROP TABLE filler; VACUUM; PRAGMA wal_checkpoint(TRUNCATE);\n")
    child.stdin.close()
    looks = 0
    while child.poll() is None:
        ledger.head()
        looks += 1
    assert child.returncode == 0
    assert looks > 10
