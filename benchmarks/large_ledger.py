"""A ledger of a million entries: how long a start takes, and what deliveries notice of pruning.

Makes the ledger (some five gigabytes, in a temporary folder), follows it once from its beginning, and then runs the
program on it. Prints a table; takes some minutes. `python -m benchmarks.large_ledger [ENTRIES]`.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from benchmarks.run import LIMITS
from exporter.adobe.payloads import read
from exporter.flowrun import Source
from exporter.follow import Follower
from exporter.ledger import Draft
from exporter.ledger.sqlite import SqliteLedger
from exporter.metrics.fold import Fold

FLOWS: Final = 1200
DAYS: Final = 90
DAY: Final = 24 * 60 * 60 * 1000
BATCH: Final = 2000
PORT: Final = 10499
SECONDS: Final = 20
SAMPLE: Final = Path(__file__).parents[1] / "tests" / "samples" / "source-success.json"
PROGRAM: Final = Path(sys.executable).with_name("aep-flow-exporter")


def body(number: int, at: int) -> bytes:
    """A run like Adobe's that ended a moment before this time."""
    found = json.loads(SAMPLE.read_bytes())
    event = found.get("event", found)
    event["id"] = f"{number:08d}-2f6b-4d58-9e01-6b5d8f3a2c41"
    event["flowId"] = f"{number % FLOWS:08d}-7d39-4c65-b0a8-93e5d7c61f02"
    event["metrics"]["durationSummary"] = {"startedAtUTC": at - 90_000, "completedAtUTC": at - 1000}
    event["metrics"]["statusSummary"] = {"status": "failed" if number % 37 == 0 else "success"}
    found["event_id"] = f"event-{number}"
    return json.dumps(found).encode()


def drafts(first: int, count: int, at: int) -> Iterator[Draft]:
    """What intake would make of so many runs."""
    for number in range(first, first + count):
        yield Draft(
            fact_key=f"run:{number:08d}-2f6b-4d58-9e01-6b5d8f3a2c41:success",
            source=Source.WEBHOOK,
            kind="run",
            body=body(number, at),
            event_id=f"event-{number}",
            flow_id=f"{number % FLOWS:08d}-7d39-4c65-b0a8-93e5d7c61f02",
            run_id=f"{number:08d}-2f6b-4d58-9e01-6b5d8f3a2c41",
            sandbox="prod",
            status="success",
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


def follow(path: Path, until: int) -> float:
    """Seconds that a follower takes from its start to the head; it leaves a checkpoint."""
    ledger = SqliteLedger(path)
    started = time.perf_counter()
    follower = Follower(ledger, Fold(LIMITS), read)
    follower.catch_up()
    took = time.perf_counter() - started
    asyncio.run(follower.finish())
    follower.close()
    asyncio.run(ledger.append(list(drafts(until, 100, time.time_ns() // 1_000_000))))
    ledger.close()
    return took


@contextmanager
def serving(path: Path, *flags: str) -> Iterator[float]:
    """The program on a ledger; gives the seconds from its start until it was ready."""
    started = time.perf_counter()
    command = [str(PROGRAM), "serve", f"--web.listen-address=127.0.0.1:{PORT}", f"--ledger.url=sqlite:///{path}"]
    with subprocess.Popen([*command, *flags], stderr=subprocess.DEVNULL) as child:
        try:
            while not is_ready():
                time.sleep(0.01)
            yield time.perf_counter() - started
        finally:
            child.terminate()


def is_ready() -> bool:
    """Whether the program answers that it is."""
    try:
        return httpx.get(f"http://127.0.0.1:{PORT}/-/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def deliver(first: int) -> list[float]:
    """Seconds of each delivery, one after the other, for some time."""
    found: list[float] = []
    with httpx.Client(timeout=30) as client:
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            raw = body(first + len(found), time.time_ns() // 1_000_000)
            started = time.perf_counter()
            client.post(f"http://127.0.0.1:{PORT}/webhook", content=raw).raise_for_status()
            found.append(time.perf_counter() - started)
    return found


def told(latencies: list[float]) -> str:
    """Median, 99th percentile and largest, in milliseconds."""
    cuts = statistics.quantiles(latencies, n=100)
    return f"{cuts[49] * 1000:.1f} / {cuts[98] * 1000:.1f} / {max(latencies) * 1000:.0f} ms ({len(latencies)} posts)"


def oldest(path: Path) -> tuple[int, int]:
    """First and last position."""
    ledger = SqliteLedger(path)
    try:
        return ledger.read(0, 1)[0].position, ledger.head()
    finally:
        ledger.close()


def main() -> None:
    """Print the table."""
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        fill(path, entries)
        size = path.stat().st_size / 1e9
        whole = follow(path, entries)
        tail = follow(path, entries + 100)
        with serving(path, "--ledger.retention=400d") as ready:
            scraped = time.perf_counter()
            httpx.get(f"http://127.0.0.1:{PORT}/metrics", timeout=60).raise_for_status()
            scrape = time.perf_counter() - scraped
            quiet = deliver(10_000_000)
        first, _ = oldest(path)
        with serving(path, "--ledger.retention=45d"):
            started = time.perf_counter()
            pruning = deliver(20_000_000)
            took = time.perf_counter() - started
        second, _ = oldest(path)
    rows = [
        f"{entries} entries, {size:.1f} GB, {FLOWS} flows, {DAYS} days",
        f"follow it all from the beginning, without a checkpoint: {whole:.1f} s ({entries / whole:.0f} entries/s)",
        f"follow from a checkpoint, 100 entries behind: {tail:.2f} s",
        f"program start to ready, with a checkpoint: {ready:.2f} s; first scrape {scrape:.2f} s",
        f"a delivery, median / p99 / largest, without pruning: {told(quiet)}",
        f"a delivery, median / p99 / largest, while pruning: {told(pruning)}",
        f"pruned meanwhile: {second - first} entries, {(second - first) / took:.0f}/s",
    ]
    sys.stdout.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
