"""A large ledger: how long a start takes, and what deliveries notice of pruning.

Makes the ledger (a million entries take some four gigabytes, in a temporary folder), follows it once from its
beginning, and then runs the program on it.
"""

import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.load import Load, request, run, send
from benchmarks.made import LIMITS, STATUSES, body
from benchmarks.servers import exporter
from exporter.adobe.payloads import read
from exporter.follower import Follower
from exporter.ledger import Draft
from exporter.ledger.sqlite import SqliteLedger
from exporter.metrics.fold import Fold
from exporter.model import EntryKind, Source
from tests.system.processes import free_port

ENTRIES: Final = 1_000_000
FLOWS: Final = 1200
DAYS: Final = 90
DAY: Final = 24 * 60 * 60 * 1000
BATCH: Final = 5000
CRASHED: Final = 200_000
"""Entries of the ledger whose program was killed."""
POSTS: Final = 2000


def drafts(first: int, count: int, at: int) -> Iterator[Draft]:
    """What intake would make of so many runs."""
    for number in range(first, first + count):
        status = STATUSES[0 if number % 37 == 0 else 2]
        yield Draft(
            fact_key=f"run:{number:08d}-2f6b-4d58-9e01-6b5d8f3a2c41:{status}",
            source=Source.WEBHOOK,
            kind=EntryKind.RUN,
            body=body(number, status, at, FLOWS),
            event_id=f"event-{number:08d}",
            flow_id=f"{number % FLOWS:08d}-7d39-4c65-b0a8-93e5d7c61f02",
            run_id=f"{number:08d}-2f6b-4d58-9e01-6b5d8f3a2c41",
            sandbox="harbour",
            status=status,
            completed_at=at - 1000,
            is_outcome=True,
        )


def fill(path: Path, entries: int) -> None:
    """A ledger whose entries are spread over the last 90 days."""
    now = time.time_ns() // 1_000_000
    clock = [now]
    ledger = SqliteLedger(path, clock=lambda: clock[0])

    async def append_all() -> None:
        for first in range(0, entries, BATCH):
            clock[0] = now - DAYS * DAY + DAYS * DAY * first // entries
            await ledger.append(list(drafts(first, min(BATCH, entries - first), clock[0])))

    asyncio.run(append_all())
    ledger.close()


def follow(path: Path, next_number: int) -> float:
    """Seconds that a follower takes from its start to the head; it leaves a checkpoint, 100 entries behind."""
    ledger = SqliteLedger(path)
    follower = Follower(ledger, Fold(LIMITS), read)
    started = time.perf_counter()
    follower.catch_up()
    took = time.perf_counter() - started
    asyncio.run(follower.finish())
    follower.close()
    asyncio.run(ledger.append(list(drafts(next_number, 100, time.time_ns() // 1_000_000))))
    ledger.close()
    return took


def deliver(port: int, first: int) -> Load:
    """Deliveries, 200 a second, while the program does whatever else it does."""
    now = time.time_ns() // 1_000_000
    requests = [request(body(first + number, at=now, flows=FLOWS), {}) for number in range(POSTS)]
    return send(port, requests, 10, 0.05)


def post_for_ever(port: int) -> None:
    """Post as fast as answers come, from the moment that the port answers, until the process is killed."""
    first = 40_000_000
    while True:
        try:
            asyncio.run(run(port, [request(body(first + number, flows=FLOWS), {}) for number in range(2000)], 16, 0.0))
            first += 2000
        except OSError:
            time.sleep(0.02)


def start_under_load(path: Path) -> tuple[float, float]:
    """Seconds from a start until the program is ready while 16 connections post, and its processor time until then."""
    port = free_port()
    sender = multiprocessing.get_context("spawn").Process(target=post_for_ever, args=(port,), daemon=True)
    sender.start()
    try:
        with exporter(path, port=port) as server:
            return server.seconds, server.cpu()
    finally:
        sender.kill()
        sender.join()


def starts(folder: Path) -> Iterator[str]:
    """Starts under load: without a checkpoint, and after a crash, with as many entries to read as there can be."""
    path = folder / "crashed.db"
    fill(path, CRASHED)
    took, used = start_under_load(path)
    yield f"start to ready under load, {CRASHED:,} entries, no checkpoint: {took:.1f} s ({used:.1f} s of processor)"
    ledger = SqliteLedger(path)
    behind = 10_000
    asyncio.run(ledger.append(list(drafts(60_000_000, behind, time.time_ns() // 1_000_000))))
    ledger.close()
    took, used = start_under_load(path)
    yield f"the same, {behind:,} entries after the checkpoint: {took:.1f} s ({used:.1f} s of processor)"


def told(load: Load) -> str:
    """Median, 99th percentile and largest latency."""
    cuts = (load.percentile(50), load.percentile(99), max(load.latencies))
    return " / ".join(f"{cut * 1000:.1f}" for cut in cuts) + " ms"


def oldest(path: Path) -> int:
    """The first position that is left."""
    ledger = SqliteLedger(path)
    try:
        return ledger.read(0, 1)[0].position
    finally:
        ledger.close()


def measure(entries: int) -> Iterator[str]:
    """What came of it, a line each."""
    with tempfile.TemporaryDirectory() as folder:
        yield from starts(Path(folder))
        path = Path(folder) / "ledger.db"
        fill(path, entries)
        whole = follow(path, entries)
        follow(path, entries + 100)
        yield f"{path.stat().st_size / 1e9:.1f} GB, {FLOWS:,} flows over {DAYS} days"
        yield f"followed from its beginning, without a checkpoint: {whole:.0f} s, {entries / whole:,.0f} entries/s"
        with exporter(path, "--ledger.retention=400d") as server:
            yield f"start to ready with a checkpoint, 100 entries behind: {server.seconds:.2f} s (aim: 2 s)"
            started = time.perf_counter()
            server.get("/metrics")
            yield f"its first scrape: {time.perf_counter() - started:.2f} s"
            quiet = deliver(server.port, 20_000_000)
        first = oldest(path)
        with exporter(path, "--ledger.retention=45d") as server:
            started = time.perf_counter()
            pruning = deliver(server.port, 30_000_000)
            took = time.perf_counter() - started
        deleted = oldest(path) - first
        yield f"a delivery, median / p99 / largest: {told(quiet)}; while pruning: {told(pruning)}"
        yield f"pruned meanwhile: {deleted:,} entries, {deleted / took:,.0f}/s"
