"""Questions to a large ledger: how long each takes, how long the update of its schema takes, what an insert costs.

`python -m benchmarks.queries ENTRIES BYTES` makes a ledger of the schema before, in a temporary folder, with bodies of
so many bytes. A million entries of 400 bytes take a minute. Then it opens the ledger, which updates the schema, and
asks each question with usual filters and with those that are hardest to answer.
"""

import asyncio
import contextlib
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Final

from benchmarks.large_ledger import drafts
from exporter.ledger.page_cursors import PageCursor, PagedList, encode
from exporter.ledger.queries import RunFilter
from exporter.ledger.sqlite import SqliteLedger
from exporter.ledger.sqlite_file import APPLICATION_ID
from exporter.ledger.sqlite_queries import SqliteQueries
from exporter.model import Status

ROUNDS: Final = 15
FLOWS: Final = 1200
SANDBOXES: Final = 5
DAY: Final = 24 * 60 * 60 * 1000
SPAN: Final = 90 * DAY
FORMER_SCHEMA: Final = 4
_CODES: Final = tuple(f"CONNECTOR-{2000 + number}-500" for number in range(40))
_INSERT: Final = """
INSERT INTO entry (fact_key, source, received_at, kind, counts, flow_id, run_id, sandbox, status, error_codes,
                   completed_at, body)
VALUES (?, 'webhook', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

Values = tuple[object, ...]


def rows(entries: int, size: int, now: int) -> Iterator[Values]:
    """Runs of many flows over three months: some with a start, 4 % failed, 1 % corrected, a few not understood."""
    made = random.Random(1)
    for number in range(entries):
        at = now - SPAN + SPAN * number // entries
        body = made.randbytes(size)
        if number % 500 == 0:
            yield f"event:{number}", at, "unsupported", 0, None, None, "", None, None, None, body
            continue
        kind = number % 100
        # A correction and a start belong to the run of another entry.
        run = number - 1 if kind == 1 else number + 1 if kind % 5 == 2 else number
        flow = run % FLOWS
        status = "success"
        if kind == 1:
            status = "partial_success"
        elif kind % 5 == 2:
            status = "in_progress"
        elif kind % 25 == 0:
            status = "failed"
        codes = " ".join(made.sample(_CODES, made.choice((1, 1, 1, 2)))) if status == "failed" else None
        run_id = f"{run:08d}-2f6b-4d58-9e01-6b5d8f3a2c41"
        flow_id = f"{flow:08d}-7d39-4c65-b0a8-93e5d7c61f02"
        counts = 0 if kind == 1 or status == "in_progress" else 1
        ended_at = None if status == "in_progress" else at - 1000
        sandbox = f"sandbox-{flow % SANDBOXES}"
        yield f"run:{run_id}:{status}", at, "run", counts, flow_id, run_id, sandbox, status, codes, ended_at, body


def make(path: Path, entries: int, size: int, now: int) -> None:
    """A ledger of the schema before."""
    with contextlib.closing(sqlite3.connect(path)) as made:
        made.execute("PRAGMA journal_mode = WAL")
        made.execute("PRAGMA synchronous = OFF")
        for number in range(1, FORMER_SCHEMA + 1):
            script = resources.files("exporter.ledger").joinpath(f"sqlite_{number:04d}.sql")
            made.executescript(script.read_text(encoding="utf-8"))
        made.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        made.execute(f"PRAGMA user_version = {FORMER_SCHEMA}")
        made.executemany(_INSERT, rows(entries, size, now))
        made.commit()
        made.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def questions(asked: SqliteQueries, entries: int, now: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Questions by name: usual ones, and those that find little or nothing."""
    flow = "00000600-7d39-4c65-b0a8-93e5d7c61f02"
    middle = encode(PagedList.RUNS, PageCursor(entries, now - SPAN // 2, entries // 2))
    filters = {
        "any": RunFilter(),
        "a sandbox": RunFilter(sandbox="sandbox-3"),
        "a sandbox that never occurred": RunFilter(sandbox="other"),
        "failed": RunFilter(status=Status.FAILED),
        "corrected": RunFilter(status=Status.PARTIAL_SUCCESS),
        "a status that never occurred": RunFilter(status=Status.CANCELLED),
        "a code": RunFilter(error_code=_CODES[7]),
        "a code that never occurred": RunFilter(error_code="CONNECTOR-1-500"),
        "a flow": RunFilter(flow_id=flow, sandbox="sandbox-0"),
        "a flow, any sandbox": RunFilter(flow_id=flow),
        "a flow that never ran": RunFilter(flow_id="other"),
        "a flow and a code": RunFilter(flow_id=flow, error_code=_CODES[7]),
        "a flow and a code that never occurred": RunFilter(flow_id=flow, error_code="CONNECTOR-1-500"),
        "until the first day": RunFilter(until=now - SPAN + DAY),
        "until before all": RunFilter(until=1000),
        "since now": RunFilter(since=now),
    }
    for name, wanted in filters.items():
        yield f"runs: {name}", lambda wanted=wanted: asked.runs(wanted)  # type: ignore[misc]
    yield "runs: any, 500", lambda: asked.runs(RunFilter(), 500)
    yield "runs: any, from the middle", lambda: asked.runs(RunFilter(), cursor=middle)
    yield "run", lambda: asked.run(f"{entries // 200 * 100:08d}-2f6b-4d58-9e01-6b5d8f3a2c41")
    yield "run: never recorded", lambda: asked.run("other")
    yield "last_runs", lambda: asked.last_runs(flow, "sandbox-0")
    yield "last_good_run", lambda: asked.last_good_run(flow, "sandbox-0")
    yield "codes, a day", lambda: asked.codes(now - DAY)
    yield "codes, all time", lambda: asked.codes(0)
    yield "not_understood", asked.not_understood
    yield "flows", asked.flows
    yield "flows, 500", lambda: asked.flows(limit=500)
    yield "flow", lambda: asked.flow(flow, "sandbox-0")
    yield "last_deliveries", asked.last_deliveries


def insert_cost(path: Path, runs: int = 1000) -> str:
    """What a notification costs that is committed alone: bytes of the log, and time of the insert without the disk."""
    ledger = SqliteLedger(path)
    log = path.with_name(path.name + "-wal")
    made = list(drafts(70_000_000, runs, time.time_ns() // 1_000_000))

    async def append_one_by_one() -> None:
        for each in made:
            await ledger.append([each])

    before = log.stat().st_size
    # So that the log shows every commit.
    ledger._writer.execute("PRAGMA wal_autocheckpoint = 0")  # noqa: SLF001
    started = time.perf_counter()
    asyncio.run(append_one_by_one())
    took = time.perf_counter() - started
    written = log.stat().st_size - before
    ledger.close()
    return f"a notification alone: {written / runs / 1024:.1f} KiB of log, {took / runs * 1e6:.0f} us"


def measure(entries: int, size: int) -> Iterator[str]:
    """What came of it, a line each."""
    now = time.time_ns() // 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        make(path, entries, size, now)
        before = path.stat().st_size
        started = time.perf_counter()
        SqliteLedger(path).close()
        took = time.perf_counter() - started
        yield f"{entries:,} entries, {before / 1e6:,.0f} MB: update of the schema and start {took:.1f} s"
        yield f"the indices take {(path.stat().st_size - before) / entries:.0f} bytes an entry"
        ledger = SqliteLedger(path)
        asked = SqliteQueries(path, 60)
        for name, question in questions(asked, entries, now):
            times = []
            for _ in range(ROUNDS):
                started = time.perf_counter()
                question()
                times.append(time.perf_counter() - started)
            yield f"{name:45} {statistics.median(times) * 1000:8.2f} ms, largest {max(times) * 1000:8.2f} ms"
        asked.close()
        ledger.close()
        yield insert_cost(path)


if __name__ == "__main__":
    for line in measure(*(int(argument) for argument in sys.argv[1:3])):
        print(line, flush=True)  # noqa: T201 - the program's output
