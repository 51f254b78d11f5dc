"""What is special to the ledger in a SQLite file. Its guarantees are in test_contract.py."""

import asyncio
import contextlib
import hashlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from exporter.errors import LedgerFullError, LedgerUnavailableError, LedgerUnusableError
from exporter.ledger import DAMAGED, Entry, Ledger, Receipt, sqlite, sqlite_insert
from exporter.ledger.sqlite import SqliteLedger
from exporter.ledger.sqlite_entries import _READ, _entry
from exporter.ledger.sqlite_file import APPLICATION_ID
from exporter.model import EntryKind
from tests.ledger import append, draft, entries, outcome

COLUMNS = [
    *("position", "event_id", "fact_key", "source", "received_at", "kind", "event_code", "counts", "flow_id"),
    *("run_id", "sandbox", "status", "error_codes", "completed_at", "body", "event", "updated_at"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the test's ledger."""
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    """A new ledger in a file."""
    with contextlib.closing(SqliteLedger(path)) as opened:
        yield opened


@contextlib.contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program's connection to a file, in autocommit."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file's write lock on another connection."""
    with connected(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def files(folder: Path) -> dict[str, str]:
    """The names of a folder's files, with a digest of the content of each."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_schema_is_the_design(ledger: SqliteLedger, path: Path) -> None:
    """The file has the columns of the schema and the application id of a ledger, and SQLite finds no damage."""
    with connected(path) as other:
        assert [row[1] for row in other.execute("PRAGMA table_info(entry)")] == COLUMNS
        assert [row[1] for row in other.execute("PRAGMA table_info(cursor)")] == ["name", "value"]
        assert [row[1] for row in other.execute("PRAGMA table_info(checkpoint)")] == ["position", "written_at", "state"]
        assert [row[1] for row in other.execute("PRAGMA table_info(key_path)")] == ["path", "last_used_at"]
        assert other.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert other.execute("PRAGMA user_version").fetchone() == (6,)
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_pruning_freed_can_be_used_again(path: Path) -> None:
    """A ledger at its size limit accepts deliveries after it was pruned, although its file is no smaller."""
    with contextlib.closing(SqliteLedger(path, max_size=12_000_000)) as ledger:
        with contextlib.suppress(LedgerFullError):
            for _ in range(100):
                append(ledger, draft(body=bytes(200_000)))
        with pytest.raises(LedgerFullError):
            append(ledger, draft())
        with pytest.raises(LedgerFullError):
            asyncio.run(ledger.check_writable())
        for position in (1000, 1001):
            ledger.save_checkpoint(position, b"state")
        size = path.stat().st_size
        kept = ledger.head()
        assert ledger.prune(2**60, 2**60, 1000) == kept
        append(ledger, draft(body=bytes(200_000)))
        assert path.stat().st_size >= size


@contextlib.contextmanager
def held_by_a_reader(path: Path) -> Iterator[None]:
    """Another process reads the ledger, as a backup does, and keeps the log from being emptied."""
    reader = subprocess.Popen(["sqlite3", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert reader.stdin
    assert reader.stdout
    reader.stdin.write("BEGIN; SELECT 'reads' FROM sqlite_schema LIMIT 1;\n")
    reader.stdin.flush()
    assert reader.stdout.readline() == "reads\n"
    yield
    reader.communicate()


def append_often(ledger: SqliteLedger, times: int, size: int) -> None:
    """Append drafts one by one, with bodies of so many bytes."""
    for _ in range(times):
        append(ledger, draft(body=bytes(size)))


def test_a_log_that_a_reader_held_is_not_counted(path: Path) -> None:
    """Twelve MiB of bodies fit into a ledger of sixteen, although a backup keeps the log from being emptied."""
    log = path.with_name("ledger.db-wal")
    with contextlib.closing(SqliteLedger(path, max_size=16 * 2**20)) as ledger:
        with held_by_a_reader(path):
            append_often(ledger, 120, 100 * 2**10)
        append(ledger, *(draft() for _ in range(50)))
        assert ledger.size() < 16 * 2**20
        assert log.stat().st_size < 2**20
        with pytest.raises(LedgerFullError, match="keep runs for less long"):
            append_often(ledger, 50, 100 * 2**10)
        assert 16 * 2**20 <= ledger.size() < 21 * 2**20


def test_a_log_that_a_reader_holds_for_long_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a reader keeps the log from being emptied, it grows up to the size of the ledger, no more."""
    monkeypatch.setattr("exporter.ledger.sqlite._MIN_LOG", 2**20)
    with contextlib.closing(SqliteLedger(path, max_size=2 * 2**20)) as ledger:
        with held_by_a_reader(path), pytest.raises(LedgerFullError, match="end that program"):
            append_often(ledger, 1_000, 10)
        append(ledger, draft())


def test_a_ledger_of_an_earlier_version_is_brought_up_to_date(path: Path) -> None:
    """A ledger with the first schema has all of its entries under the newest one."""
    schema = resources.files("exporter.ledger").joinpath("sqlite_0001.sql").read_text(encoding="utf-8")
    with contextlib.closing(sqlite3.connect(path)) as made:
        made.executescript(schema)
        made.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        made.execute("PRAGMA user_version = 1")
        columns = "fact_key, source, received_at, kind, counts, body"
        made.execute(f"INSERT INTO entry ({columns}) VALUES ('f', 'webhook', 5, 'run', 0, x'')")
        made.commit()
    with contextlib.closing(SqliteLedger(path)) as ledger:
        assert [(entry.position, entry.received_at) for entry in entries(ledger)] == [(1, 5)]
        ledger.save_checkpoint(1, b"state")
        assert len(ledger.checkpoints()) == 1


@pytest.fixture
def opened_by_0_1_0(path: Path) -> Path:
    """A ledger in which version 0.1.0 recorded a run with an unknown outcome, and an event with an id."""
    with connected(path) as made:
        for script in ("sqlite_0001.sql", "sqlite_0002.sql"):
            made.executescript(resources.files("exporter.ledger").joinpath(script).read_text(encoding="utf-8"))
        made.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        made.execute("PRAGMA user_version = 2")
        columns = "event_id, fact_key, source, received_at, kind, counts, run_id, status, body"
        rows = (
            "'e1', 'run:r:unknown', 'webhook', 5, 'run', 1, 'r', 'unknown', x''",
            "'e2', 'event:e2', 'webhook', 5, ",
        )
        made.execute(f"INSERT INTO entry ({columns}) VALUES ({rows[0]})")
        made.execute(f"INSERT INTO entry ({columns}) VALUES ({rows[1]}'unsupported', 0, NULL, NULL, x'')")
    return path


def test_an_earlier_version_gave_an_unknown_outcome_the_place_of_its_run(opened_by_0_1_0: Path) -> None:
    """The first known outcome of a run counts, although version 0.1.0 counted an unknown one in its place."""
    with contextlib.closing(SqliteLedger(opened_by_0_1_0)) as ledger:
        assert append(ledger, outcome("r", "failed"), draft())[0].is_new
        assert append(ledger, outcome("r", "success"), outcome("r", "failed"))[0].is_new
        runs = [entry for entry in entries(ledger) if entry.kind == "run"]
        assert [entry.counts for entry in runs] == [True, True, False]


def test_an_event_of_an_earlier_version_is_known(opened_by_0_1_0: Path) -> None:
    """An event that version 0.1.0 recorded under the id in its body is not new, and its id hides no other fact."""
    with contextlib.closing(SqliteLedger(opened_by_0_1_0)) as ledger:
        receipts = append(ledger, draft("event:e2", event_id="e2"), outcome("other", "failed", event_id="e2"))
        assert [receipt.is_new for receipt in receipts] == [False, True]


def test_a_run_that_would_count_twice_is_a_correction(ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """An insert that would count a run twice is tried again, so that the correction is kept and does not count."""
    blind = sqlite_insert._VALUES.replace("counts = 1", "counts = 99")
    monkeypatch.setattr("exporter.ledger.sqlite_insert._VALUES", blind)
    sqlite_insert._statement.cache_clear()
    try:
        receipts = append(ledger, outcome("run", "failed"), draft())
        receipts += append(ledger, draft(), outcome("run", "success"), draft())
        receipts += append(ledger, outcome("run", "cancelled"))
    finally:
        sqlite_insert._statement.cache_clear()
    assert all(receipt.is_new for receipt in receipts)
    runs = [(entry.kind, entry.counts) for entry in entries(ledger) if entry.kind != "unsupported"]
    assert runs == [("run", True), ("run", False), ("run", False)]


def test_every_word_of_a_draft_has_its_column(ledger: SqliteLedger, path: Path) -> None:
    """Each value of a draft is in the column of its name, for people who read the file with SQL."""
    fields: dict[str, Any] = {
        "event_code": "code",
        "flow_id": "flow",
        "sandbox": "prod",
        "error_codes": "A-1 B-2",
        "completed_at": 7,
        "updated_at": 8,
        "body": b"{}",
    }
    append(ledger, outcome("run", "failed", event_id="event", **fields))
    with connected(path) as other:
        row = dict(zip(COLUMNS, other.execute("SELECT * FROM entry").fetchone(), strict=True))
    assert {name: row[name] for name in fields} == fields
    assert (row["event"], row["event_id"]) == ("event", None)
    assert (row["fact_key"], row["run_id"], row["status"], row["counts"]) == ("run:run:failed", "run", "failed", 1)


def test_commits_are_durable(ledger: SqliteLedger) -> None:
    """The writer uses WAL and synchronous=FULL, without which a power cut would lose answered deliveries."""
    assert ledger._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert ledger._writer.execute("PRAGMA synchronous").fetchone() == (2,)


def test_commits_are_durable_after_reopening(ledger: SqliteLedger, path: Path) -> None:
    """The writer uses them for a file that exists, too."""
    with contextlib.closing(SqliteLedger(path)) as again:
        test_commits_are_durable(again)


def test_only_its_owner_reads_it(path: Path) -> None:
    """The file and its companions have mode 0600, whatever the umask, because bodies name people."""
    before = os.umask(0)
    try:
        with contextlib.closing(SqliteLedger(path)) as ledger:
            append(ledger, draft())
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}


def test_size_includes_the_log(ledger: SqliteLedger, path: Path) -> None:
    """The size is that of the database and of its write-ahead log."""
    append(ledger, draft(body=b"x" * 100_000))
    assert ledger.size() == path.stat().st_size + path.with_name("ledger.db-wal").stat().st_size


def test_size_of_a_file_that_is_gone(ledger: SqliteLedger, path: Path) -> None:
    """If the file is gone, its size raises LedgerUnavailableError."""
    path.unlink()
    with pytest.raises(LedgerUnavailableError):
        ledger.size()


def test_a_position_is_never_used_again(ledger: SqliteLedger, path: Path) -> None:
    """A position is not used again, not even that of the newest entry after it was pruned."""
    append(ledger, draft(), draft())
    with connected(path) as other:
        other.execute("DELETE FROM entry")
    append(ledger, draft())
    assert [entry.position for entry in entries(ledger)] == [3]


def test_what_another_process_appends(ledger: SqliteLedger, path: Path) -> None:
    """Two processes see each other's entries, and an entry survives a kill -9 right after its append."""
    program = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from exporter.model import EntryKind, Source\n"
        "from exporter.ledger import Draft\n"
        "from exporter.ledger.sqlite import SqliteLedger\n"
        "ledger = SqliteLedger(Path(sys.argv[1]))\n"
        "drafts = [Draft(fact_key=key, source=Source.JOURNAL, kind=EntryKind.RUN, body=key.encode()) for key in 'ab']\n"
        "print(asyncio.run(ledger.append(drafts)), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    append(ledger, draft("a"))
    ended = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == f"{[Receipt(kind=EntryKind.RUN, is_new=False), Receipt(kind=EntryKind.RUN, is_new=True)]}\n"
    assert [entry.body for entry in entries(ledger)][1:] == [b"b"]


def test_two_processes_that_insert_at_once(ledger: SqliteLedger, path: Path) -> None:
    """Of runs that two processes report with different outcomes, every fact is kept, and each run counts once."""
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from exporter.ledger.sqlite import SqliteLedger\n"
        "from tests.ledger import outcome\n"
        "async def main():\n"
        "    ledger = SqliteLedger(Path(sys.argv[1]))\n"
        "    for run in range(0, 90, 3):\n"
        "        drafts = [outcome(f'run-{run + each}', status) for each in range(3) for status in sys.argv[2:]]\n"
        "        await ledger.append(drafts)\n"
        "asyncio.run(main())\n"
    )
    outcomes = (("success", "failed"), ("cancelled", "failed"))
    folder = Path(__file__).parents[2]
    children = [subprocess.Popen([sys.executable, "-c", program, str(path), *each], cwd=folder) for each in outcomes]
    assert [child.wait() for child in children] == [0, 0]
    assert len(entries(ledger)) == 3 * 90
    with connected(path) as other:
        counted = other.execute("SELECT count(*), count(DISTINCT run_id) FROM entry WHERE counts = 1").fetchone()
    assert counted == (90, 90)


MAKE_A_THING = ("CREATE TABLE thing (x)", "INSERT INTO thing VALUES (zeroblob(9000))")


def _database(*statements: str, cut_to: int | None = None) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with connected(path) as connection:
            for statement in statements:
                connection.execute(statement)
        if cut_to is not None:
            os.truncate(path, cut_to)

    return make


def _text(path: Path) -> None:
    path.write_text("not a database, but somebody's notes\n" * 100)


def _left_behind(path: Path) -> None:
    """A database whose program was killed, with the last commits in its write-ahead log."""
    source = path.with_name("source.db")
    with connected(source) as connection:
        for statement in ("PRAGMA journal_mode = WAL", *MAKE_A_THING):
            connection.execute(statement)
        for suffix in ("", "-wal"):
            path.with_name(path.name + suffix).write_bytes(source.with_name(source.name + suffix).read_bytes())
    source.unlink()


NOT_OURS = {
    "another-program": _database(*MAKE_A_THING),
    "another-program-with-a-log": _database("PRAGMA journal_mode = WAL", *MAKE_A_THING),
    "another-program-that-was-killed": _left_behind,
    "another-programs-mark": _database("PRAGMA application_id = 7"),
    "another-programs-schema": _database("PRAGMA user_version = 1"),
    "a-newer-schema": _database(f"PRAGMA application_id = {APPLICATION_ID}", "PRAGMA user_version = 1000"),
    "a-text": _text,
    "a-database-cut-off": _database(*MAKE_A_THING, cut_to=5000),
}


@pytest.mark.parametrize("name", NOT_OURS)
def test_what_is_not_ours_is_left_as_it_is(path: Path, name: str) -> None:
    """A file that is not a ledger is refused, and neither it nor its folder changes by a byte."""
    NOT_OURS[name](path)
    before = files(path.parent)
    with pytest.raises(LedgerUnusableError, match=r"ledger\.db.*--ledger\.url"):
        SqliteLedger(path)
    assert files(path.parent) == before


@pytest.mark.parametrize("name", ["a-folder", "below-a-file", "too-long"])
def test_what_cannot_be_opened(tmp_path: Path, name: str) -> None:
    """A path that can't be a ledger is refused with a message that names the flag."""
    (tmp_path / "file").touch()
    paths = {"a-folder": tmp_path, "below-a-file": tmp_path / "file" / "ledger.db", "too-long": tmp_path / ("x" * 300)}
    with pytest.raises(LedgerUnusableError, match=r"--ledger\.url"):
        SqliteLedger(paths[name])


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    """A file name that is not UTF-8, which POSIX allows, can be used."""
    with contextlib.closing(SqliteLedger(Path(os.fsdecode(os.fsencode(tmp_path) + b"/ledger-\xff.db")))) as ledger:
        append(ledger, draft())
        assert len(entries(ledger)) == 1


def test_an_empty_file_becomes_a_ledger(path: Path) -> None:
    """An empty file, as a volume or `touch` leaves it, becomes a new ledger."""
    path.touch()
    with contextlib.closing(SqliteLedger(path)) as ledger:
        append(ledger, draft())


def test_while_another_holds_the_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another connection holds the write lock, appends fail and reads succeed. Afterwards all is well."""
    monkeypatch.setattr("exporter.ledger.sqlite_file._BUSY_MILLISECONDS", 20)
    with contextlib.closing(SqliteLedger(path)) as ledger:
        append(ledger, draft(body=b"before"))
        lost = draft(body=b"lost at first")
        with locked(path):
            with pytest.raises(LedgerUnavailableError):
                append(ledger, lost)
            with pytest.raises(LedgerUnavailableError):
                asyncio.run(ledger.check_writable())
            assert [entry.body for entry in entries(ledger)] == [b"before"]
        assert append(ledger, lost) == [Receipt(kind=EntryKind.UNSUPPORTED, is_new=True)]
        assert [entry.body for entry in entries(ledger)] == [b"before", b"lost at first"]


def test_opening_while_another_holds_the_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a locked ledger raises LedgerUnavailableError, not LedgerUnusableError, which would suggest a backup."""
    monkeypatch.setattr("exporter.ledger.sqlite_file._BUSY_MILLISECONDS", 20)
    SqliteLedger(path).close()
    with locked(path), pytest.raises(LedgerUnavailableError):
        SqliteLedger(path)


def test_a_full_disk(ledger: SqliteLedger) -> None:
    """While the file can't grow, appends and the write check fail and nothing is stored. Afterwards all is well."""
    (pages,) = ledger._writer.execute("PRAGMA page_count").fetchone()
    ledger._writer.execute(f"PRAGMA max_page_count = {pages + 2}")
    large = draft(), draft(body=b"x" * 100_000)
    with pytest.raises(LedgerUnavailableError):
        append(ledger, *large)
    assert entries(ledger) == []
    with pytest.raises(LedgerUnavailableError):
        asyncio.run(ledger.check_writable())
    ledger._writer.execute("PRAGMA max_page_count = 1000000")
    asyncio.run(ledger.check_writable())
    assert [receipt.is_new for receipt in append(ledger, *large)] == [True, True]


@pytest.fixture
def damaged_file(ledger: SqliteLedger, path: Path) -> Path:
    """A ledger with damaged pages in its middle."""
    append(ledger, *(draft(body=b"x" * 2_000) for _ in range(50)))
    ledger.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 20 * 4096)
    return path


def test_a_damaged_file_is_refused(damaged_file: Path) -> None:
    """Damage in the middle of a ledger is found when it is opened. The file is left as it is, and the message helps."""
    before = damaged_file.read_bytes()
    with pytest.raises(LedgerUnusableError, match="backup"):
        SqliteLedger(damaged_file)
    assert damaged_file.read_bytes() == before


def test_damage_that_shows_later(damaged_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a ledger that is too large to be checked, damage makes reads and appends fail instead of losing entries."""
    monkeypatch.setattr("exporter.ledger.sqlite_file._CHECKED_UP_TO", 0)
    path = damaged_file
    with contextlib.closing(SqliteLedger(path)) as damaged:
        with pytest.raises(LedgerUnavailableError):
            entries(damaged)
        with pytest.raises(LedgerUnavailableError):
            append(damaged, draft())


def test_an_unforeseen_failure_costs_one_append(path: Path) -> None:
    """After a defect raised an exception in a transaction, the next append is committed."""
    times: list[int | Exception] = [1, RuntimeError("a defect"), 2]

    def clock() -> int:
        moment = times.pop(0)
        if isinstance(moment, Exception):
            raise moment
        return moment

    with contextlib.closing(SqliteLedger(path, clock)) as ledger:
        append(ledger, draft())
        with pytest.raises(LedgerUnavailableError):
            append(ledger, draft())
        assert append(ledger, draft()) == [Receipt(kind=EntryKind.UNSUPPORTED, is_new=True)]


@pytest.mark.parametrize(
    "fields",
    [
        *(
            pytest.param({name: "half an emoji \ud83d"}, id=name)
            for name in ("event_id", "event_code", "flow_id", "run_id", "sandbox", "status", "error_codes", "kind")
        ),
        pytest.param({"fact_key": "\ud83d"}, id="fact_key"),
        pytest.param({"completed_at": 2**63}, id="a-number-too-large"),
    ],
)
def test_one_poison_in_a_group(ledger: SqliteLedger, path: Path, fields: dict[str, Any]) -> None:
    """A draft that SQLite refuses is stored as unreadable, and the others of its group are stored as they are."""
    made: dict[str, Any] = {"kind": "run", "is_outcome": True, "body": b"poison"}
    poison = draft(**(made | fields))

    async def run() -> list[list[Receipt]]:
        with locked(path):  # so that the others wait for the first, and are a group
            groups = [[draft()], [draft(), poison, draft()], [draft()], [outcome("run", "failed")]]
            appends = [asyncio.create_task(ledger.append(drafts)) for drafts in groups]
            await asyncio.sleep(0)
        return await asyncio.gather(*appends)

    kinds = [[receipt.kind for receipt in receipts] for receipts in asyncio.run(run())]
    assert kinds == [["unsupported"], ["unsupported", "unreadable", "unsupported"], ["unsupported"], ["run"]]
    assert [entry.kind for entry in entries(ledger) if entry.body == b"poison"] == ["unreadable"]
    assert sum(entry.counts for entry in entries(ledger)) == 1
    assert append(ledger, poison) == [Receipt(kind=EntryKind.UNREADABLE, is_new=False)]


def test_readers_write_nothing(ledger: Ledger) -> None:
    """The connections of readers can't write."""
    assert isinstance(ledger, SqliteLedger)
    entries(ledger)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        ledger._reader().execute("DELETE FROM entry")


def test_reading_after_close(ledger: SqliteLedger) -> None:
    """A closed ledger can't be read."""
    entries(ledger)
    ledger.close()
    with pytest.raises(LedgerUnavailableError):
        entries(ledger)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        pytest.param("event_code", "CAST(x'ff' AS TEXT)", id="not-utf-8"),
        pytest.param("source", "CAST(x'ff' AS TEXT)", id="source-not-utf-8"),
    ],
)
def test_a_damaged_row_does_not_hide_the_others(ledger: SqliteLedger, path: Path, column: str, value: str) -> None:
    """A row that can't be decoded is an entry of kind DAMAGED, and the entries around it are as they were."""
    append(ledger, *(draft() for _ in range(5)))
    with connected(path) as connection:
        connection.execute(f"UPDATE entry SET {column} = {value} WHERE position = 3")
    found: list[Entry] = []
    while len(found) < 5:
        found += ledger.read(len(found), 1000)
    assert [entry.position for entry in found] == [1, 2, 3, 4, 5]
    assert [entry.kind for entry in found] == ["unsupported"] * 2 + [DAMAGED] + ["unsupported"] * 2
    assert found[2].body == b""


@pytest.mark.parametrize(("column", "value"), [("received_at", "x"), ("body", None), ("kind", 7), ("source", None)])
def test_a_row_with_values_of_other_types_is_damaged(ledger: SqliteLedger, column: str, value: object) -> None:
    """A row whose value has a type that its column can't have is an entry of kind DAMAGED."""
    append(ledger, draft())
    row = list(ledger._reader().execute(_READ, (0, 1)).fetchone())
    names = ("position", "received_at", "source", "kind", "event_code", "counts", "flow_id", "sandbox", "completed_at")
    row[(*names, "body").index(column)] = value
    assert (_entry(tuple(row)).position, _entry(tuple(row)).kind) == (1, DAMAGED)


def test_a_body_on_a_damaged_page(ledger: SqliteLedger, path: Path) -> None:
    """An entry whose body lies on damaged pages is damaged, and the entries around it are as they were."""
    append(ledger, draft(), draft(body=b"large" * 40_000), draft())
    with connected(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ledger.close()
    raw = path.read_bytes()
    page = int.from_bytes(raw[16:18])
    inside = raw.rindex(b"large" * 700) // page - 2
    # The first four bytes of an overflow page are the number of the next one. No page has this one.
    path.write_bytes(raw[: inside * page] + b"\xff\xff\xff\xf0" + raw[inside * page + 4 :])
    with contextlib.closing(reopened(path)) as again:
        found: list[Entry] = []
        while len(found) < 3:
            found += again.read(len(found), 1000)
    assert [(entry.position, entry.kind == DAMAGED) for entry in found] == [(1, False), (2, True), (3, False)]


def reopened(path: Path) -> SqliteLedger:
    """The ledger, opened without the check that refuses damaged pages, as a large one is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("exporter.ledger.sqlite_file._CHECKED_UP_TO", 0)
        return SqliteLedger(path)


def test_a_large_ledger_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above a number of entries there is a bound from the positions, which duplicates can raise."""
    monkeypatch.setattr(sqlite, "_COUNT_UP_TO", 3)
    with contextlib.closing(SqliteLedger(tmp_path / "ledger.db")) as ledger:
        known = draft()
        append(ledger, known, draft(), draft())
        assert ledger.content()[:2] == (3, True)
        append(ledger, known, draft())
        entries, is_exact, _ = ledger.content()
        assert entries >= 4
        assert not is_exact


def test_a_relative_path_is_shown_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of a ledger is an absolute path, and an empty file that is there already makes a new ledger."""
    monkeypatch.chdir(tmp_path)
    Path("ledger.db").touch()
    with contextlib.closing(SqliteLedger(Path("ledger.db"))) as ledger:
        assert (ledger.location, ledger.was_created) == (str(tmp_path / "ledger.db"), True)
