"""What is special to questions to a SQLite file. The guarantees of the port are in test_queries.py."""

import asyncio
import contextlib
import hashlib
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import pytest

from exporter.errors import (
    LedgerMissingError,
    LedgerUnavailableError,
    LedgerUnusableError,
    QueryTimeoutError,
)
from exporter.ledger.queries import RunFilter, SeenFlow
from exporter.ledger.sqlite import SqliteLedger
from exporter.ledger.sqlite_file import Access, connect
from exporter.ledger.sqlite_queries import SqliteQueries
from exporter.ledger.sqlite_reading import ReadOnlyFile
from exporter.ledger.sqlite_runs import _STATUSES, OUTCOMES
from exporter.ledger.urls import open_queries
from exporter.model import Status
from tests.ledger import append, draft, outcome
from tests.test_saved_ledgers import VERSIONS, copy_of

ENDLESS = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the test's ledger."""
    return tmp_path / "ledger.db"


@contextlib.contextmanager
def asked(path: Path, seconds: float = 60) -> Iterator[SqliteQueries]:
    """Questions to a file."""
    with contextlib.closing(SqliteQueries(path, seconds)) as opened:
        yield opened


def record(path: Path, *run_ids: str) -> None:
    """Record successful runs, in a ledger that is closed then."""
    with contextlib.closing(SqliteLedger(path)) as ledger:
        append(ledger, *(outcome(run_id, "success", flow_id="f", sandbox="prod") for run_id in run_ids))


def files(folder: Path) -> dict[str, str]:
    """The names of a folder's files, with a digest of the content of each."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def run_ids(queries: SqliteQueries) -> set[str | None]:
    """The ids of all runs that have ended."""
    return {row.run_id for row in queries.runs(RunFilter(), 500).items}


def ask_everything(queries: SqliteQueries) -> None:
    """Ask every question, and for runs with every part of a filter."""
    filters = [
        RunFilter(flow_id=flow_id, sandbox=sandbox, status=status, error_code=code, since=since)
        for flow_id in (None, "f")
        for sandbox in (None, "prod")
        for status in (None, Status.FAILED)
        for code in (None, "133")
        for since in (None, 1)
    ]
    for wanted in filters:
        page = queries.runs(wanted, 1)
        if page.next:
            queries.runs(wanted, 1, page.next)
    page = queries.not_understood(1)
    queries.not_understood(1, page.next)
    queries.run("r1")
    queries.last_runs("f", "prod")
    queries.last_good_run("f", "prod")
    queries.codes(0)
    queries.flows()
    queries.flows(SeenFlow("e", "prod"))
    queries.sandboxes("f")
    queries.flow("f", "prod")
    queries.last_deliveries()


def test_every_statement_uses_an_index(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No statement of any question reads the whole table, and none sorts what it read."""
    statements: set[str] = set()

    def traced(path: Path, access: Access) -> sqlite3.Connection:
        connection = connect(path, access)
        connection.set_trace_callback(statements.add)
        return connection

    monkeypatch.setattr("exporter.ledger.sqlite_reading.connect", traced)
    with contextlib.closing(SqliteLedger(path)) as ledger, asked(path) as queries:
        for number in range(3):
            append(ledger, outcome(f"r{number}", "failed", flow_id="f", sandbox="prod", error_codes="133"), draft())
        ask_everything(queries)
        selects = sorted(each for each in statements if "FROM entry" in each or "FROM cursor" in each)
        assert len(selects) > 20
        with contextlib.closing(sqlite3.connect(path)) as planner:
            for statement in selects:
                plan = [row[3] for row in planner.execute(f"EXPLAIN QUERY PLAN {statement}")]
                assert not [step for step in plan if step.startswith(("SCAN e", "SCAN other", "SCAN cursor"))], plan
                assert not [step for step in plan if "TEMP B-TREE" in step], plan


def test_the_statuses_of_the_indices_are_the_outcomes() -> None:
    """The indices, the statements and the model name the same outcomes."""
    schema = resources.files("exporter.ledger").joinpath("sqlite_0005.sql").read_text(encoding="utf-8")
    assert f"({', '.join(repr(status) for status in OUTCOMES)})" == _STATUSES
    assert schema.count(_STATUSES) == schema.count("status IN") == 2


def test_nothing_is_created_or_changed(path: Path) -> None:
    """A ledger that nobody uses has the same files, byte for byte, after every question."""
    record(path, "r1", "r2")
    before = files(path.parent)
    assert list(before) == ["ledger.db"]
    with asked(path) as queries:
        ask_everything(queries)
        assert run_ids(queries) == {"r1", "r2"}
        assert files(path.parent) == before
    assert files(path.parent) == before


def test_a_question_can_not_write(path: Path) -> None:
    """A statement that writes is refused by SQLite, beside a running ledger too."""
    record(path, "r1")
    file = ReadOnlyFile(path, 60)
    with pytest.raises(LedgerUnavailableError, match="SQLITE_READONLY"):
        file.ask(lambda reader: reader.execute("DELETE FROM entry"))
    with contextlib.closing(SqliteLedger(path)) as ledger:
        with pytest.raises(LedgerUnavailableError, match="SQLITE_READONLY"):
            file.ask(lambda reader: reader.execute("DELETE FROM entry"))
        assert ledger.head() == 1
        file.close()


def test_a_missing_ledger_is_not_created(path: Path) -> None:
    """Without a ledger, or with an empty file, a question says so and leaves the folder as it is."""
    with asked(path) as queries, pytest.raises(LedgerMissingError, match="no ledger"):
        queries.last_deliveries()
    assert not list(path.parent.iterdir())
    path.touch()
    with asked(path) as queries, pytest.raises(LedgerMissingError, match="no ledger"):
        queries.last_deliveries()
    assert [each.name for each in path.parent.iterdir()] == ["ledger.db"]


def _another_program(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE entry (position INTEGER)")


def _schema(number: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        record(path, "r1")
        with contextlib.closing(sqlite3.connect(path)) as made:
            made.execute(f"PRAGMA user_version = {number}")

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda path: path.write_bytes(b"text " * 1000), "not a ledger", id="no-database"),
        pytest.param(_another_program, "another program", id="another-programs"),
        pytest.param(_schema(4), "start the exporter of this version", id="older"),
        pytest.param(_schema(1000), "upgrade", id="newer"),
        pytest.param(lambda path: path.mkdir(), "ledger", id="folder"),
    ],
)
def test_what_is_no_ledger_of_this_version(path: Path, make: Callable[[Path], object], message: str) -> None:
    """Another file, and a ledger of another schema, is refused with what to do, and is left as it is."""
    make(path)
    before = files(path.parent) if path.is_file() else {}
    with asked(path) as queries, pytest.raises((LedgerUnusableError, LedgerUnavailableError), match=message):
        queries.last_deliveries()
    assert not before or files(path.parent) == before


def test_a_url_names_a_ledger(path: Path) -> None:
    """Questions are opened by the URL of a ledger. Another URL is refused."""
    record(path, "r1")
    with contextlib.closing(open_queries(f"sqlite:///{path}", 60)) as queries:
        assert len(queries.runs(RunFilter()).items) == 1
    with pytest.raises(LedgerUnusableError):
        open_queries("postgres://host/ledger", 60)


def test_another_process_reads_beside_a_running_ledger(path: Path) -> None:
    """A process that only reads finds what is in the log alone, and its end changes nothing for the writer."""
    program = (
        "import sys\n"
        "from exporter.ledger.urls import open_queries\n"
        "from exporter.ledger.queries import RunFilter\n"
        "queries = open_queries('sqlite:///' + sys.argv[1], 60)\n"
        "print(*[row.run_id for row in queries.runs(RunFilter()).items])\n"
        "queries.close()\n"
    )
    with contextlib.closing(SqliteLedger(path)) as ledger:
        for number in range(3):
            append(ledger, outcome(f"r{number}", "success"))
            found = subprocess.run(
                [sys.executable, "-c", program, path], check=True, capture_output=True, text=True, timeout=60
            )
            assert found.stdout.split() == [f"r{each}" for each in range(number, -1, -1)]
        assert ledger.head() == 3
    assert [each.name for each in path.parent.iterdir()] == ["ledger.db"]


def test_what_a_crash_leaves_is_read(path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The files that a killed exporter leaves are read with the log. Without the log's index, the error says so."""
    folder = tmp_path_factory.mktemp("crashed")
    with contextlib.closing(SqliteLedger(path)) as ledger:
        append(ledger, outcome("r1", "success"))
        for each in path.parent.iterdir():
            shutil.copy(each, folder)
    with asked(folder / "ledger.db") as queries:
        assert run_ids(queries) == {"r1"}
    (folder / "ledger.db-shm").unlink()
    before = files(folder)
    with asked(folder / "ledger.db", 0.2) as queries, pytest.raises(LedgerUnavailableError, match="start the exporter"):
        queries.last_deliveries()
    assert files(folder) == before


def test_a_ledger_that_was_replaced_is_read_anew(path: Path) -> None:
    """A connection to files that were moved away is not used again."""
    former = path.with_name("former.db")
    with asked(path) as queries:
        with contextlib.closing(SqliteLedger(path)) as ledger:
            append(ledger, outcome("r1", "success"))
            assert run_ids(queries) == {"r1"}
            queries.close()
        for each in list(path.parent.glob("ledger.db*")):
            each.rename(each.with_name(each.name.replace("ledger", "former")))
        with contextlib.closing(SqliteLedger(path)) as ledger:
            append(ledger, outcome("r2", "success"))
            assert run_ids(queries) == {"r2"}
    assert former.exists()


OPENS_AND_CLOSES = """
import sys
from pathlib import Path
from tests.ledger.test_sqlite_queries import record
for number in range(20):
    record(Path(sys.argv[1]), f"r{number}")
    print(f"r{number}", flush=True)
"""


def test_a_ledger_is_read_while_it_is_opened_and_closed(path: Path) -> None:
    """Answers have all that was committed before the question, while another process opens and closes the ledger."""
    record(path, "first")
    committed = {"first"}
    answers = 0
    command = [sys.executable, "-c", OPENS_AND_CLOSES, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer, asked(path) as queries:
        lines = writer.stdout or ()
        waiting = threading.Thread(target=lambda: committed.update(line.strip() for line in lines))
        waiting.start()
        try:
            while waiting.is_alive() or not answers:
                before = set(committed)
                # It can be asked again in the moment in which the other process opens the ledger.
                with contextlib.suppress(LedgerUnavailableError):
                    assert run_ids(queries) >= before
                    answers += 1
        finally:
            waiting.join()
        assert run_ids(queries) == {"first", *(f"r{number}" for number in range(20))}


def test_a_question_ends_within_its_time(path: Path) -> None:
    """A statement that goes on for ever is interrupted, and the next question is answered."""
    record(path, "r1")
    file = ReadOnlyFile(path, 0.2)
    for _ in range(2):
        with pytest.raises(QueryTimeoutError, match=r"within 0\.2 s"):
            file.ask(lambda reader: reader.execute(ENDLESS).fetchone())
        with contextlib.closing(SqliteLedger(path)), pytest.raises(QueryTimeoutError):
            file.ask(lambda reader: reader.execute(ENDLESS).fetchone())
    file.close()


def test_many_short_statements_end_within_their_time(path: Path) -> None:
    """A question of many statements ends too, although none of them takes long."""
    record(path, "r1")

    def for_ever(reader: object) -> None:
        while True:
            reader.execute("SELECT 1").fetchone()  # type: ignore[attr-defined]

    with pytest.raises(QueryTimeoutError):
        ReadOnlyFile(path, 0.1).ask(for_ever)


def test_a_list_is_merged_of_many_streams(path: Path) -> None:
    """A list is in order if its runs are in more sandboxes than are read at the same time."""
    with contextlib.closing(SqliteLedger(path)) as ledger, asked(path) as queries:
        made = [
            outcome(f"r{number}", OUTCOMES[number % 5], sandbox=f"s{number * 7 % 60}", completed_at=number * 37 % 200)
            for number in range(200)
        ]
        append(ledger, *made)
        ends = [row.ended_at for row in queries.runs(RunFilter(), 500).items]
        assert ends == sorted((number * 37 % 200 for number in range(200)), reverse=True)
        assert [row.ended_at for row in queries.runs(RunFilter(), 7).items] == ends[:7]


def test_a_damaged_text_hides_no_run(path: Path) -> None:
    """A text that is not UTF-8 is shown as far as it can be read, and ends no list before its end."""
    record(path, "r1", "r2", "r3")
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE entry SET event_code = CAST(x'61ff' AS TEXT) WHERE run_id = 'r2'")
        other.execute("UPDATE entry SET sandbox = CAST(x'ff' AS TEXT) WHERE run_id = 'r3'")
        other.commit()
    with asked(path) as queries:
        rows = queries.last_runs("f", "prod")
        assert [(row.run_id, row.event_code) for row in rows] == [("r2", "a\ufffd"), ("r1", None)]
        assert queries.sandboxes("f") == ("prod", "\ufffd")
        assert run_ids(queries) >= {"r1", "r2"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_saved_ledger_can_be_asked(version: str, tmp_path: Path) -> None:
    """The ledger of an earlier version has lists of its runs, flows and last deliveries once it was opened."""
    path = copy_of(version, tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as saved:
        where = f"FROM entry WHERE kind = 'run' AND status IN {_STATUSES}"
        runs = {run_id for (run_id,) in saved.execute(f"SELECT run_id {where}")}
        flows = set(saved.execute(f"SELECT flow_id, coalesce(sandbox, '') {where}"))
        deliveries = dict(saved.execute("SELECT source, max(received_at) FROM entry WHERE kind <> 'clock' GROUP BY 1"))
    SqliteLedger(path).close()
    with asked(path) as queries:
        assert run_ids(queries) == runs
        assert set(queries.flows(limit=500)) >= flows
        assert queries.last_deliveries() == deliveries


def test_questions_can_be_asked_at_the_same_time(path: Path) -> None:
    """Several threads ask at once, while runs are recorded, and each answer is complete."""
    with contextlib.closing(SqliteLedger(path)) as ledger, asked(path) as queries:

        async def ask_and_append() -> list[int]:
            await ledger.append([outcome("first", "success")])
            answers = [asyncio.to_thread(lambda: len(run_ids(queries))) for _ in range(20)]
            appends = [ledger.append([outcome(f"r{number}", "success")]) for number in range(20)]
            found = await asyncio.gather(*answers, *appends)
            return [each for each in found if isinstance(each, int)]

        assert all(1 <= each <= 21 for each in asyncio.run(ask_and_append()))
        assert len(run_ids(queries)) == 21
