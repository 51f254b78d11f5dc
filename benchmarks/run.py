"""Measure the hot paths against what a reader would have used instead, and print a table of ratios.

Each row measures both sides in turn, several times, on one machine in one run, and compares medians; the spread says
how far to believe it. `make bench` runs it and writes benchmarks/results.md; it takes some minutes, most of them for
the ledger of a million entries (`python -m benchmarks.run ENTRIES` for another size).
"""

import asyncio
import gzip
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from prometheus_client.openmetrics.exposition import generate_latest

from benchmarks import large_ledger, pages
from benchmarks.load import Load, request, send
from benchmarks.made import FLOWS, LIMITS, NOW, bodies, body, fold, recorded
from benchmarks.servers import Server, endpoint, exporter, least
from exporter.adobe.deliveries import open_delivery
from exporter.adobe.payloads import read
from exporter.adobe.signature import load_key, signatures, verify
from exporter.intake import Intake, draft
from exporter.ledger.sqlite import SqliteLedger
from exporter.metrics.exposition import Format, compress
from exporter.metrics.fold import Fold
from exporter.model import Source
from tests.metrics.reference import ReferenceCollector, render
from tests.system.adobe import PATHS, Adobe, serving

ROUNDS: Final = 5
CONNECTIONS: Final = 64
POSTS: Final = 2000
BATCHES: Final = 100
BATCH: Final = 20
"""Adobe's largest (docs/adobe.md, "Bodies")."""
RESULTS: Final = Path(__file__).with_name("results.md")


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    name: str
    ours: str
    against: str
    ratio: str
    aim: str
    spread: str = ""

    def __str__(self) -> str:
        return f"| {self.name} | {self.ours} | {self.against} | {self.ratio} | {self.aim} | {self.spread} |"


def spread(values: Sequence[float]) -> str:
    """How far apart the rounds are, as a share of their median."""
    return f"{(max(values) - min(values)) / statistics.median(values):.0%}"


def seconds(work: Callable[[], object]) -> float:
    """How long it takes once."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def scrapes() -> Iterator[Row]:
    """A compressed scrape with one flow in a hundred changed, against prometheus_client's encoder and gzip."""
    made = fold()
    reference = ReferenceCollector(made.series)
    ours: list[float] = []
    theirs: list[float] = []

    def scrape() -> bytes:
        made.advance(NOW)
        return compress(render(made.series, None, Format.OPENMETRICS))

    first = seconds(scrape)
    for turn in range(ROUNDS):
        for flow in range(0, FLOWS, 100):
            made.apply(recorded(body((100 + turn) * FLOWS + flow), 1_000_000 + turn * FLOWS + flow))
        ours.append(seconds(scrape))
        theirs.append(seconds(lambda: gzip.compress(generate_latest(reference))))  # type: ignore[no-untyped-call]
    one, other = statistics.median(ours), statistics.median(theirs)
    name = f"scrape, {len(made.series):,} series, 1 % changed, against prometheus_client and gzip"
    yield Row(name, f"{one * 1000:.1f} ms", f"{other * 1000:.0f} ms", f"{other / one:.0f} times", "50", spread(ours))
    yield Row("the first scrape after a start", f"{first * 1000:.0f} ms", "", "", "")


def folds(folder: Path) -> Iterator[Row]:
    """Reading and folding runs, against reading and appending the same runs, durably, 64 at a time."""
    raws = list(bodies())

    async def append_all(ledger: SqliteLedger) -> None:
        intake = Intake(ledger, ledger.now)
        gate = asyncio.Semaphore(CONNECTIONS)

        async def one(raw: bytes) -> None:
            async with gate:
                await intake.record([open_delivery({}, raw, NOW)])

        await asyncio.gather(*map(one, raws))

    def fold_all() -> None:
        made = Fold(LIMITS)
        for position, raw in enumerate(raws, start=1):
            made.apply(recorded(raw, position))

    appended: list[float] = []
    folded: list[float] = []
    for turn in range(ROUNDS):
        ledger = SqliteLedger(folder / f"folds-{turn}.db")
        appended.append(len(raws) / seconds(lambda: asyncio.run(append_all(ledger))))  # noqa: B023 - called at once
        ledger.close()
        folded.append(len(raws) / seconds(fold_all))
    one, other = statistics.median(folded), statistics.median(appended)
    yield Row("fold, against appends", f"{one:,.0f}/s", f"{other:,.0f}/s", f"{one / other:.1f}", "3", spread(folded))


def pieces(folder: Path) -> Iterator[Row]:
    """What one notification costs, piece by piece, on one core: where the next step would have to be made."""
    adobe = Adobe()
    raws = [body(number) for number in range(POSTS)]
    heads = [{name.encode(): value.encode() for name, value in adobe.headers(raw).items()} for raw in raws]
    key = load_key(adobe.answer(PATHS[0])[1])
    claims = [signatures(headers) for headers in heads]
    deliveries = [open_delivery({}, raw, NOW) for raw in raws]
    drafts = [draft(Source.WEBHOOK, delivery.events[0]) for delivery in deliveries]
    facts = [recorded(raw, position) for position, raw in enumerate(raws, start=1)]
    ledger = SqliteLedger(folder / "pieces.db")

    async def commit() -> None:
        for first in range(0, len(drafts), CONNECTIONS):
            await ledger.append(drafts[first : first + CONNECTIONS])

    def fold_all() -> None:
        made = Fold(LIMITS)
        for fact in facts:
            made.apply(fact)

    measured = {
        "headers to signatures": lambda: [signatures(headers) for headers in heads],
        "RSA, one signature": lambda: [verify(raw, claim[0], key) for raw, claim in zip(raws, claims, strict=True)],
        "body to fact": lambda: [open_delivery({}, raw, NOW) for raw in raws],
        "fact to entry": lambda: [draft(Source.WEBHOOK, delivery.events[0]) for delivery in deliveries],
        f"queue and commit, {CONNECTIONS} together": lambda: asyncio.run(commit()),
        "entry from the ledger": lambda: ledger.read(0, POSTS),
        "entry's body to fact": lambda: [read(raw, NOW) for raw in raws],
        "fact into the metrics": fold_all,
    }
    for name, work in measured.items():
        took = seconds(work) / POSTS
        yield Row(name, f"{took * 1e6:.1f} µs", "", "", "")
    ledger.close()


def signed(adobe: Adobe, raw: bytes) -> bytes:
    """A delivery with Adobe's signatures."""
    return request(raw, adobe.headers(raw))


def posts(folder: Path) -> Iterator[Row]:
    """Signed, deduplicated, durable deliveries, against an endpoint that reads the body and answers 204.

    Also against the least that such a delivery needs, by time and by processor time: how near it is to the limit.
    """
    with (
        serving(Adobe()) as adobe,
        endpoint() as theirs,
        least(folder / "least.db", adobe.url + PATHS[0]) as limit,
        exporter(folder / "posts.db", keys_url=adobe.url) as ours,
    ):

        def batch(first: int) -> bytes:
            return signed(adobe, b"[" + b",".join(body(first + number) for number in range(BATCH)) + b"]")

        send(ours.port, [signed(adobe, body(90_000_000 + number)) for number in range(200)], CONNECTIONS)
        singles: dict[int, list[float]] = {server.port: [] for server in (theirs, limit, ours)}
        batches: dict[int, list[float]] = {server.port: [] for server in (limit, ours)}
        used: dict[int, list[float]] = {server.port: [] for server in (theirs, limit, ours)}
        for turn in range(ROUNDS):
            requests = [signed(adobe, body(turn * POSTS + number)) for number in range(POSTS)]
            for server in (theirs, limit, ours):
                before = server.cpu()
                singles[server.port].append(send(server.port, requests, CONNECTIONS).per_second)
                if server is ours:
                    until_folded(server)
                used[server.port].append((server.cpu() - before) / POSTS)
            first = 50_000_000 + turn * BATCHES * BATCH
            requests = [batch(first + number * BATCH) for number in range(BATCHES)]
            for server in (limit, ours):
                batches[server.port].append(send(server.port, requests, CONNECTIONS // 4).per_second * BATCH)
            until_folded(ours)
    other = statistics.median(singles[theirs.port])
    for name, found, against, aim in (
        ("one notification per POST, against an endpoint that answers 204", singles, other, "0.6"),
        (f"{BATCH} per POST, events against the same requests", batches, other, "3"),
        ("one per POST, against the least it needs", singles, statistics.median(singles[limit.port]), ""),
        (f"{BATCH} per POST, against the least it needs", batches, statistics.median(batches[limit.port]), ""),
    ):
        one = statistics.median(found[ours.port])
        values = found[ours.port]
        yield Row(name, f"{one:,.0f}/s", f"{against:,.0f}/s", f"{one / against:.2f}", aim, spread(values))
    mine, floor, bare = (statistics.median(used[server.port]) * 1e6 for server in (ours, limit, theirs))
    name = f"processor time of one POST, against the least it needs (the endpoint: {bare:.0f} µs)"
    yield Row(name, f"{mine:.0f} µs", f"{floor:.0f} µs", f"{mine / floor:.1f}", "", spread(used[ours.port]))


def until_folded(server: Server) -> None:
    """A scrape catches up, so that no round pays for the one before."""
    server.get("/metrics")


@contextmanager
def scraping(server: Server) -> Iterator[None]:
    """Scrape it once a second, for as long."""
    done = threading.Event()

    def scrape() -> None:
        while not done.wait(1.0):
            server.get("/metrics")

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def under_scrapes(folder: Path) -> Iterator[Row]:
    """How long deliveries take, 100 a second, while 100,000 series are scraped every second, against the same without.

    Also what memory the program has before and after it knows these series.
    """
    with serving(Adobe()) as adobe, exporter(folder / "scrapes.db", keys_url=adobe.url) as server:
        idle = server.resident()
        started = server.seconds

        def deliver(first: int, count: int, pause: float) -> Load:
            return send(server.port, [signed(adobe, body(first + number)) for number in range(count)], 10, pause)

        send(server.port, [signed(adobe, raw) for raw in bodies()], CONNECTIONS)
        until_folded(server)
        series = next(
            float(line.split()[1])
            for line in server.get("/metrics").text.splitlines()
            if line.startswith("aep_exporter_series ")
        )
        full = server.resident()
        quiet: list[float] = []
        busy: list[float] = []
        for turn in range(ROUNDS):
            first = 10_000_000 + turn * 10_000
            quiet.append(deliver(first, 800, 0.1).percentile(99))
            with scraping(server):
                busy.append(deliver(first + 5000, 800, 0.1).percentile(99))
    one, other = statistics.median(busy), statistics.median(quiet)
    name = f"webhook p99 while {series:,.0f} series are scraped every second, against without"
    yield Row(name, f"{one * 1000:.1f} ms", f"{other * 1000:.1f} ms", f"{one / other:.1f}", "2 at most", spread(busy))
    yield Row("memory, idle", f"{idle:.0f} MB", "", "", "80 MB")
    yield Row("memory per series", f"{(full - idle) * 1000 / series:.2f} KB", "", "", "1.5 KB")
    yield Row("start to ready, empty ledger", f"{started:.2f} s", "", "", "1 s")


def main() -> None:
    """Print the table, and keep it."""
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else large_ledger.ENTRIES
    lines = [
        "# What `make bench` measured last",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        + ", ".join(f"{name} {version(name)}" for name in ("uvicorn", "starlette", "prometheus-client", "isal"))
        + f"; medians of {ROUNDS} rounds.",
        "",
        "| | ours | against | ratio | aim | spread |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for rows in (scrapes(), posts(folder), under_scrapes(folder), folds(folder)):
            for row in rows:
                lines.append(str(row))
                sys.stderr.write(f"{row}\n")
        lines += ["", "What one notification costs, piece by piece, on one core:", "", "| | µs |", "|---|---|"]
        lines += [f"| {row.name} | {row.ours} |" for row in pieces(folder)]
    lines += ["", f"A ledger of {entries:,} entries:", ""]
    lines += [f"- {line}" for line in large_ledger.measure(entries)]
    lines += ["", f"Pages and the API over a ledger of {entries:,} entries, half of its flows failing:", ""]
    lines += [f"- {line}" for line in pages.measure(entries)]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write(RESULTS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
