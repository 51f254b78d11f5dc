"""Pages and the API over a large ledger: how long each takes, and what deliveries notice while they are asked for.

`python -m benchmarks.pages ENTRIES` makes the ledger in a temporary folder (a million entries take some four gigabytes
and some minutes), lets half of its flows fail with two error codes each, and runs the program on it.
"""

import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import httpx

from benchmarks import large_ledger
from benchmarks.large_ledger import FLOWS, deliver, fill, follow
from benchmarks.made import body
from benchmarks.servers import Server, exporter
from exporter.adobe.deliveries import open_delivery
from exporter.intake import draft
from exporter.ledger.sqlite import SqliteLedger
from exporter.model import Source

REQUESTS: Final = 25
ROUNDS: Final = 3
AT_ONCE: Final = 8
"""Pages that are asked for at a time while deliveries are measured. The program makes three at a time."""
SANDBOX: Final = "harbour"
CODES: Final = ("CONNECTOR-2001-500", "MAPPER-3700-400")


def let_flows_fail(path: Path, first: int) -> None:
    """The latest two runs of every second flow fail, each with two codes."""
    now = time.time_ns() // 1_000_000
    drafts = []
    for number in range(first, first + 2 * FLOWS):
        if number % 2:
            continue
        made = json.loads(body(number, "failed", now - 60_000, FLOWS))
        errors = [{"code": code, "message": f"made up for {number}"} for code in CODES]
        made["event"]["metrics"]["statusSummary"]["errors"] = errors
        (event,) = open_delivery({}, json.dumps(made).encode(), now).events
        drafts.append(draft(Source.WEBHOOK, event))
    ledger = SqliteLedger(path)
    asyncio.run(ledger.append(drafts))
    ledger.close()


def addresses(server: Server, entries: int) -> Mapping[str, str]:
    """The pages and calls by name. Some lists go on from the middle of the ledger."""
    flow = f"{0:08d}-7d39-4c65-b0a8-93e5d7c61f02"
    run = f"{entries // 2:08d}-2f6b-4d58-9e01-6b5d8f3a2c41"
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 45 * 86_400))
    cursor = server.get(f"/api/v1/runs?limit=1&until={until}").json()["next"]
    filters = f"sandbox={SANDBOX}&status=failed&error_code={CODES[0]}"
    found = {"/": "/"}
    for base in ("/", "/api/v1/"):
        found |= {
            f"{base}flows": f"{base}flows",
            f"{base}flows, failing": f"{base}flows?failing=true",
            f"{base}flows/ID": f"{base}flows/{flow}?sandbox={SANDBOX}",
            f"{base}runs": f"{base}runs",
            f"{base}runs, 500": f"{base}runs?limit=500",
            f"{base}runs, filtered": f"{base}runs?{filters}",
            f"{base}runs, of a flow": f"{base}runs?flow_id={flow}",
            f"{base}runs, from the middle": f"{base}runs?until={until}&cursor={cursor}",
            f"{base}runs/ID": f"{base}runs/{run}",
            f"{base}errors": f"{base}errors",
            f"{base}notifications": f"{base}notifications",
            f"{base}status": f"{base}status",
        }
    return found


def times(server: Server, path: str) -> list[float]:
    """Milliseconds of some requests, one after the other, over one connection."""
    found = []
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as client:
        for _ in range(REQUESTS + 3):
            started = time.perf_counter()
            client.get(path).raise_for_status()
            found.append((time.perf_counter() - started) * 1000)
    return found[3:]


def hammer(port: int, paths: list[str]) -> None:
    """Ask for pages as fast as they come, until the process is killed. A 503 is an answer, too."""
    # Browsers are on other machines. Here they must not take the processor from what is measured.
    os.nice(19)

    async def ask(client: httpx.AsyncClient, first: int) -> None:
        number = first
        while True:
            await client.get(paths[number % len(paths)])
            number += 1

    async def ask_all() -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            await asyncio.gather(*(ask(client, number) for number in range(AT_ONCE)))

    asyncio.run(ask_all())


def beside_pages(server: Server, paths: list[str]) -> Iterator[str]:
    """Deliveries, 200 a second, with and without somebody who asks for pages all the time."""
    quiet, busy = [], []
    for turn in range(ROUNDS):
        first = 20_000_000 + turn * 1_000_000
        quiet.append(deliver(server.port, first).percentile(99) * 1000)
        asking = multiprocessing.get_context("spawn").Process(target=hammer, args=(server.port, paths), daemon=True)
        asking.start()
        try:
            # The process needs a moment until it asks.
            time.sleep(2)
            busy.append(deliver(server.port, first + 500_000).percentile(99) * 1000)
        finally:
            asking.kill()
            asking.join()
    one, other = statistics.median(busy), statistics.median(quiet)
    yield (
        f"a delivery's p99 while {AT_ONCE} clients ask for pages, against without: {one:.1f} ms, {other:.1f} ms, "
        f"{one / other:.1f} times (aim: 2 at most)"
    )


def measure(entries: int) -> Iterator[str]:
    """What came of it, a line each."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        fill(path, entries)
        let_flows_fail(path, 80_000_000 // FLOWS * FLOWS)
        follow(path, entries)
        with exporter(path, "--ledger.retention=400d") as server:
            asked = addresses(server, entries)
            for name, address in asked.items():
                found = times(server, address)
                cuts = statistics.quantiles(found, n=20)
                yield f"{name}: {statistics.median(found):.1f} ms, 95 % under {cuts[-1]:.1f} ms (aim: 100 ms)"
            yield from beside_pages(server, list(asked.values()))


if __name__ == "__main__":
    for line in measure(int(sys.argv[1]) if len(sys.argv) > 1 else large_ledger.ENTRIES):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
