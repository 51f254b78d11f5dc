"""A database and the write-ahead log beside it: which of them belong together."""

import contextlib
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

from exporter.errors import LedgerUnavailableError, LedgerUnusableError
from exporter.ledger import Entry, sqlite_file
from exporter.ledger.sqlite import SqliteLedger
from exporter.ledger.sqlite_file import APPLICATION_ID
from exporter.ledger.sqlite_log import has_first_page, read_log
from tests.ledger import append, draft, entries

WRITER = """
import asyncio, os, sys
from pathlib import Path
from exporter.ledger import Draft
from exporter.ledger.sqlite import SqliteLedger
from exporter.model import EntryKind, Source

ledger = SqliteLedger(Path(sys.argv[1]))
print("open", flush=True)
for line in sys.stdin:
    word, size = line.split()
    if word == "die":
        os.kill(os.getpid(), 9)
    draft = Draft(fact_key=word, source=Source.JOURNAL, kind=EntryKind.RUN, body=word.encode().ljust(int(size)))
    try:
        asyncio.run(ledger.append([draft]))
        print("done", flush=True)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
"""


class Writer:
    """A process that appends to a ledger."""

    def __init__(self, path: Path) -> None:
        words = [sys.executable, "-c", WRITER, str(path)]
        self._child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._read() == "open"

    def _read(self) -> str:
        assert self._child.stdout
        return self._child.stdout.readline().strip()

    def append(self, *keys: str, size: int = 2_500) -> None:
        """Append a draft for each key."""
        for key in keys:
            self._write(f"{key} {size}")
            assert self._read() == "done"

    def _write(self, line: str) -> None:
        assert self._child.stdin
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()

    def close(self) -> None:
        """End the process without closing the ledger, as kill -9 does."""
        self._write("die 0")
        self._child.communicate()


def keys(prefix: str, number: int = 20) -> list[str]:
    """Fact keys with a prefix."""
    return [f"{prefix}-{each}" for each in range(number)]


def write(path: Path, prefix: str, number: int = 20, *, size: int = 2_500) -> None:
    """Append drafts in a process that is then killed."""
    with contextlib.closing(Writer(path)) as writer:
        writer.append(*keys(prefix, number), size=size)


def close_cleanly(path: Path) -> None:
    """Open the ledger and close it, so that no log is left."""
    SqliteLedger(path).close()
    assert not log_of(path).exists()


def log_of(path: Path) -> Path:
    """The write-ahead log of a database."""
    return path.with_name(path.name + "-wal")


def backup(path: Path, copy: Path) -> Path:
    """A copy that SQLite makes."""
    run_sqlite(path, f".backup {copy}")
    return copy


def run_sqlite(path: Path, *commands: str) -> None:
    """Run SQLite's own program on a database."""
    subprocess.run(["sqlite3", path, *commands], check=True, capture_output=True)


def recorded(path: Path) -> set[str]:
    """The keys of the entries in a ledger."""
    found: list[Entry] = []
    with contextlib.closing(SqliteLedger(path)) as ledger:
        while page := entries(ledger, found[-1].position if found else 0):
            found += page
    return {entry.body.decode().strip() for entry in found}


def files(folder: Path) -> dict[str, str]:
    """The names of a folder's files, with a digest of the content of each."""
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in folder.iterdir()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the test's ledger, in a folder of its own."""
    folder = tmp_path / "ledger"
    folder.mkdir()
    return folder / "ledger.db"


@pytest.fixture
def aside(tmp_path: Path) -> Path:
    """A folder for copies."""
    folder = tmp_path / "aside"
    folder.mkdir()
    return folder


def older_backup(path: Path, aside: Path) -> None:
    """A backup that was made while the exporter ran, under the log of a later run."""
    write(path, "first")
    copy = backup(path, aside / "copy.db")
    write(path, "second")
    shutil.copy(copy, path)


def older_copy(path: Path, aside: Path) -> None:
    """A plain copy that was made while nothing ran, under the log that was written from there on."""
    write(path, "first")
    close_cleanly(path)
    copy = shutil.copy(path, aside)
    write(path, "second")
    shutil.copy(copy, path)


def backup_of_the_same_run(path: Path, aside: Path) -> None:
    """A backup that was made in the middle of the run whose log was left."""
    with contextlib.closing(Writer(path)) as writer:
        writer.append(*keys("first"))
        copy = backup(path, aside / "copy.db")
        writer.append(*keys("second"))
    shutil.copy(copy, path)


def backup_of_a_backup(path: Path, aside: Path) -> None:
    """A backup of a ledger that was itself restored from a backup."""
    write(path, "first")
    restored = backup(path, aside / "restored.db")
    log_of(path).unlink(missing_ok=True)
    shutil.move(restored, path)
    backup_of_the_same_run(path, aside)


def vacuumed_copy(path: Path, aside: Path) -> None:
    """A copy by VACUUM INTO under the log of the same run."""
    with contextlib.closing(Writer(path)) as writer:
        writer.append(*keys("first"))
        run_sqlite(path, f"VACUUM INTO '{aside / 'copy.db'}'")
        writer.append(*keys("second"))
    shutil.move(aside / "copy.db", path)


def newer_backup(path: Path, aside: Path) -> None:
    """A backup of a later state under an older log."""
    write(path, "first")
    shutil.copy(log_of(path), aside)
    write(path, "second")
    copy = backup(path, aside / "copy.db")
    shutil.copy(aside / log_of(path).name, path.parent)
    shutil.copy(copy, path)


def log_of_another_ledger(path: Path, aside: Path) -> None:
    """The log of another ledger."""
    write(path, "first")
    close_cleanly(path)
    other = aside / "ledger.db"
    write(other, "other")
    shutil.copy(log_of(other), path.parent)


def copy_of_an_earlier_version(path: Path, aside: Path) -> None:
    """A ledger of version 0.1.0 under a log of this version."""
    copy = made_by_0_1_0(aside / "copy.db")
    shutil.copy(copy, path)
    write(path, "second")
    shutil.copy(copy, path)


def log_of_an_earlier_version(path: Path, aside: Path) -> None:
    """A ledger of this version under the log of version 0.1.0 that created tables."""
    write(path, "first")
    close_cleanly(path)
    old = made_by_0_1_0(aside / "ledger.db")
    with contextlib.closing(sqlite3.connect(old)) as connection:
        connection.execute("CREATE TABLE more (x)")
        shutil.copy(log_of(old), path.parent)


def cut_at_a_checkpoint(path: Path, aside: Path) -> None:
    """A copy of the database whose log was begun anew since."""
    with contextlib.closing(Writer(path)) as writer:
        writer.append(*keys("first"))
        copy = shutil.copy(path, aside)
        run_sqlite(path, "PRAGMA wal_checkpoint(TRUNCATE)")
        writer.append(*keys("second"))
    shutil.copy(copy, path)


def made_by_0_1_0(path: Path) -> Path:
    """A ledger with the schema of version 0.1.0, in WAL mode."""
    with contextlib.closing(sqlite3.connect(path)) as made:
        for script in ("sqlite_0001.sql", "sqlite_0002.sql"):
            made.executescript(resources.files("exporter.ledger").joinpath(script).read_text(encoding="utf-8"))
        made.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        made.execute("PRAGMA user_version = 2")
        made.execute("PRAGMA journal_mode = WAL")
    return path


STRANGERS: tuple[Callable[[Path, Path], None], ...] = (
    older_backup,
    older_copy,
    backup_of_the_same_run,
    backup_of_a_backup,
    vacuumed_copy,
    newer_backup,
    log_of_another_ledger,
    copy_of_an_earlier_version,
    log_of_an_earlier_version,
    cut_at_a_checkpoint,
)


@pytest.mark.parametrize("make", STRANGERS, ids=lambda make: make.__name__)
def test_a_log_of_another_state_is_refused(path: Path, aside: Path, make: Callable[[Path, Path], None]) -> None:
    """A database beside a log that was not written to it is refused with the way out, and nothing changes by a byte."""
    make(path, aside)
    before = files(path.parent)
    with pytest.raises(LedgerUnusableError, match=r"ledger\.db-wal.*move ledger\.db-wal"):
        SqliteLedger(path)
    assert files(path.parent) == before


def test_the_way_out_of_a_restore(path: Path, aside: Path) -> None:
    """A restored backup is opened once the log is moved away, as the message says."""
    older_backup(path, aside)
    for name in ("ledger.db-wal", "ledger.db-shm"):
        shutil.move(path.with_name(name), aside)
    assert recorded(path) == set(keys("first"))


@pytest.mark.parametrize("is_empty", [True, False], ids=["empty", "missing"])
def test_a_log_without_its_database(path: Path, is_empty: bool) -> None:
    """An empty or missing database beside a log with entries is refused, and nothing changes by a byte."""
    write(path, "first")
    path.unlink()
    if is_empty:
        path.touch()
    before = files(path.parent)
    with pytest.raises(LedgerUnusableError, match=r"ledger\.db is (empty|missing).*ledger\.db-wal"):
        SqliteLedger(path)
    assert files(path.parent) == before


def test_a_log_that_holds_nothing(path: Path) -> None:
    """An empty log, or one of a header alone, does not keep a new ledger from being made."""
    for content in (b"", bytes(100)):
        log_of(path).write_bytes(content)
        SqliteLedger(path).close()
        path.unlink()


def killed(path: Path, aside: Path) -> None:
    """A process was killed."""
    write(path, "first")


def killed_without_an_index(path: Path, aside: Path) -> None:
    """A process was killed, and the index was deleted."""
    killed(path, aside)
    path.with_name("ledger.db-shm").unlink()


def killed_often(path: Path, aside: Path) -> None:
    """Processes were killed one after the other."""
    for number in range(5):
        write(path, f"first-{number}", 3)
    write(path, "first")


def killed_after_checkpoints(path: Path, aside: Path) -> None:
    """A process was killed that had written more than the log holds at a time."""
    write(path, "first", size=500_000)


def killed_while_a_reader_holds_the_log(path: Path, aside: Path) -> None:
    """A process was killed, and a reader had kept the log from being written into the database wholly."""
    with contextlib.closing(Writer(path)) as writer:
        writer.append("first-0")
        reader = subprocess.Popen(["sqlite3", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert reader.stdin
        assert reader.stdout
        reader.stdin.write("BEGIN; SELECT count(*) FROM entry;\n")
        reader.stdin.flush()
        assert reader.stdout.readline().strip() == "1"
        writer.append(*keys("first")[1:], size=500_000)
        run_sqlite(path, "PRAGMA wal_checkpoint(PASSIVE)")
        reader.kill()
        reader.communicate()


def copied_whole(path: Path, aside: Path) -> None:
    """All three files were copied elsewhere and back."""
    killed(path, aside)
    for each in [*path.parent.iterdir()]:
        shutil.move(each, aside)
    for each in aside.iterdir():
        shutil.copy(each, path.parent)


def restored_without_a_log(path: Path, aside: Path) -> None:
    """A backup was restored, and no log is beside it."""
    killed(path, aside)
    copy = backup(path, aside / "copy.db")
    for each in [*path.parent.iterdir()]:
        each.unlink()
    shutil.copy(copy, path)


def another_program_wrote(path: Path, aside: Path) -> None:
    """SQLite's own program changed the schema and wrote the newest transaction, and was killed."""
    killed(path, aside)
    program = subprocess.Popen(["sqlite3", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert program.stdin
    assert program.stdout
    program.stdin.write("CREATE INDEX of_people ON entry (flow_id); PRAGMA wal_checkpoint(TRUNCATE);\n")
    program.stdin.write("INSERT INTO cursor VALUES ('people', 'x'); SELECT 'done';\n")
    program.stdin.flush()
    while program.stdout.readline().strip() != "done":
        pass
    program.kill()
    program.communicate()


def an_earlier_version_was_killed(path: Path, aside: Path) -> None:
    """Version 0.1.0 was killed."""
    source = made_by_0_1_0(aside / "ledger.db")
    columns = "fact_key, source, received_at, kind, counts, body"
    with contextlib.closing(sqlite3.connect(source, isolation_level=None)) as connection:
        for key in keys("first"):
            connection.execute(
                f"INSERT INTO entry ({columns}) VALUES (?, 'webhook', 5, 'run', 0, CAST(? AS BLOB))", (key, key)
            )
        for each in (source, log_of(source)):
            shutil.copy(each, path.parent)


def killed_right_after_an_upgrade(path: Path, aside: Path) -> None:
    """A process was killed that had opened a ledger of version 0.1.0 while a reader kept the log."""
    an_earlier_version_was_killed(path, aside)
    reader = subprocess.Popen(["sqlite3", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert reader.stdin
    assert reader.stdout
    reader.stdin.write("BEGIN; SELECT count(*) FROM entry;\n")
    reader.stdin.flush()
    assert reader.stdout.readline().strip() == "20"
    write(path, "first")
    reader.kill()
    reader.communicate()


LEFT_BEHIND: tuple[Callable[[Path, Path], None], ...] = (
    killed,
    killed_without_an_index,
    killed_often,
    killed_after_checkpoints,
    killed_while_a_reader_holds_the_log,
    copied_whole,
    restored_without_a_log,
    another_program_wrote,
    an_earlier_version_was_killed,
    killed_right_after_an_upgrade,
)


@pytest.mark.parametrize("make", LEFT_BEHIND, ids=lambda make: make.__name__)
def test_what_a_crash_leaves_is_opened(path: Path, aside: Path, make: Callable[[Path, Path], None]) -> None:
    """Whatever state a crash or a whole copy leaves behind is opened, with every entry."""
    make(path, aside)
    assert recorded(path) >= set(keys("first"))
    close_cleanly(path)


def test_a_copy_at_any_moment_is_opened(path: Path, aside: Path) -> None:
    """The files as a power cut leaves them after any transaction are opened, with every entry."""
    copy = aside / path.name
    with contextlib.closing(Writer(path)) as writer:
        for number, key in enumerate(keys("first", 40)):
            writer.append(key, size=400_000)
            for each in (path, log_of(path)):
                shutil.copy(each, aside)
            assert len(recorded(copy)) == number + 1
            for each in (*aside.iterdir(),):
                each.unlink()


def copied(path: Path, folder: Path) -> Path:
    """A copy of a ledger in use with its log, as a power cut leaves it. It is made without releasing locks."""
    folder.mkdir()
    subprocess.run(["cp", path, log_of(path), folder], check=True)
    return folder / path.name


@pytest.mark.parametrize("step", ["stamp", "truncate_log"])
def test_a_start_on_a_disk_without_space(
    path: Path, aside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A start that can't write its stamp is followed by others, and the first commit lets older copies be refused."""

    def fail(_connection: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorname = "SQLITE_FULL"
        raise error

    write(path, "first")
    close_cleanly(path)
    older = shutil.copy(path, aside)
    with monkeypatch.context() as disk:
        disk.setattr(sqlite_file, step, fail)
        ledger = SqliteLedger(path)
    with contextlib.closing(ledger):
        assert "the disk is full" in str(ledger.write_error)
        assert recorded(copied(path, tmp_path / "not written")) == set(keys("first"))
        for number in range(2):
            append(ledger, draft(body=b"second-%d" % number))
        newer = copied(path, tmp_path / "written")
        mixed = copied(path, tmp_path / "mixed")
    assert recorded(newer) == {*keys("first"), "second-0", "second-1"}
    shutil.copy(older, mixed)
    with pytest.raises(LedgerUnusableError, match="do not belong together"):
        SqliteLedger(mixed)


def test_a_large_log_is_read_in_parts(path: Path) -> None:
    """Reading a log of megabytes takes little memory."""
    write(path, "first", 6, size=500_000)
    log = log_of(path)
    assert log.stat().st_size > 3_000_000
    # What is imported or compiled once does not count.
    read_log(log)
    tracemalloc.start()
    try:
        state = read_log(log)
        assert not has_first_page(log, bytes(100))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert state is not None
    assert len(state.stamps) == 6
    assert peak < 200_000


def test_a_ledger_in_use_is_opened(path: Path) -> None:
    """A second process opens a ledger at any moment while the first one writes and begins its log anew."""
    with contextlib.closing(Writer(path)) as writer:
        for number in range(15):
            writer.append(f"big-{number}", size=900_000)
            write(path, f"second-{number}", 1)
    assert len(recorded(path)) == 30


def test_a_second_process_finds_files_missing(path: Path) -> None:
    """A ledger that another process uses is not opened while its log or the index is deleted."""
    for name in ("ledger.db-shm", "ledger.db-wal"):
        with contextlib.closing(Writer(path)) as writer:
            writer.append(name)
            path.with_name(name).unlink()
            with pytest.raises(LedgerUnavailableError, match=f"{name} .*end that process"):
                SqliteLedger(path)


def test_a_link_to_a_ledger(path: Path, aside: Path) -> None:
    """A ledger behind a symbolic link has its log where the file is, and the log is compared there."""
    link = aside / "link.db"
    link.symlink_to(path)
    with contextlib.closing(SqliteLedger(link)) as ledger:
        append(ledger, draft())
        assert ledger.size() == path.stat().st_size + log_of(path).stat().st_size
    write(link, "first")
    path.unlink()
    with pytest.raises(LedgerUnusableError, match="missing"):
        SqliteLedger(link)
    assert not os.path.lexists(path)
