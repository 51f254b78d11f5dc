"""Measure the hot paths against what a reader would have used instead, and print a table of ratios.

Each row measures both sides in turn, several times, and compares medians; the spread says how far to believe it.
"""

import asyncio
import gzip
import json
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from prometheus_client import generate_latest

from exporter.adobe.envelope import open_delivery
from exporter.adobe.payloads import read
from exporter.flowrun import FlowRun, RecordedFact, Source
from exporter.intake import Intake
from exporter.ledger.sqlite import SqliteLedger
from exporter.metrics.exposition import Format, compress, render
from exporter.metrics.flows import Limits
from exporter.metrics.fold import Fold

FLOWS: Final = 1200
RUNS: Final = ("failed", "partialSuccess", "success")
ROUNDS: Final = 5
LIMITS: Final = Limits(hold=0, ttl=45 * 24 * 3600 * 1000, max_flows=10_000)
NOW: Final = time.time_ns() // 1_000_000
SAMPLE: Final = Path(__file__).parents[1] / "tests" / "samples" / "flow-service-runs.json"


def body(flow: int, run: int, status: str) -> bytes:
    """A run like Adobe's, of its own flow and id."""
    found = json.loads(SAMPLE.read_bytes())["items"][0]
    found["id"] = f"run-{flow}-{run}"
    found["flowId"] = f"{flow:08d}-4d71-8a15-9c2c-2cba1abf719e"
    found["metrics"]["statusSummary"]["status"] = status
    found["metrics"]["durationSummary"] = {"startedAtUTC": NOW - 90_000, "completedAtUTC": NOW - 1000}
    return json.dumps(found).encode()


def recorded(raw: bytes, position: int) -> RecordedFact:
    """The fact as a follower hands it to the fold."""
    fact = read(raw, NOW)
    ended_at = fact.ended_at if isinstance(fact, FlowRun) else None
    return RecordedFact(
        position=position, received_at=NOW, source=Source.WEBHOOK, fact=fact, counts=True, ended_at=ended_at
    )


def seconds(work: Callable[[], object]) -> float:
    """How long it takes once."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def row(name: str, ours: list[float], theirs: list[float], aim: str) -> str:
    """A line of the table: medians in milliseconds, their ratio, our spread."""
    one, other = statistics.median(ours), statistics.median(theirs)
    spread = (max(ours) - min(ours)) / one
    return f"| {name} | {one * 1000:.2f} ms | {other * 1000:.2f} ms | {other / one:.1f} | {spread:.0%} | {aim} |"


def scrape(fold: Fold) -> tuple[list[float], list[float]]:
    """A compressed scrape with one flow in a hundred changed, against prometheus_client's encoder and gzip."""
    ours: list[float] = []
    theirs: list[float] = []
    for round_ in range(ROUNDS):
        for flow in range(0, FLOWS, 100):
            fold.apply(recorded(body(flow, 1000 + round_, "success"), 1_000_000 + round_ * FLOWS + flow))

        def ours_once() -> bytes:
            fold.advance(NOW)
            return compress(render(fold.series, None, Format.TEXT))

        ours.append(seconds(ours_once))
        theirs.append(seconds(lambda: gzip.compress(generate_latest(fold.series))))
    return ours, theirs


def appends(bodies: list[bytes], folder: Path) -> list[float]:
    """Seconds to read and commit each of these bodies, 64 waiting at a time; once a round."""

    async def append_all(ledger: SqliteLedger) -> None:
        intake = Intake(ledger, ledger.now)
        gate = asyncio.Semaphore(64)

        async def one(raw: bytes) -> None:
            async with gate:
                await intake.record([open_delivery({}, raw, NOW)])

        await asyncio.gather(*map(one, bodies))

    found: list[float] = []
    for round_ in range(ROUNDS):
        ledger = SqliteLedger(folder / f"{round_}.db")
        found.append(seconds(lambda: asyncio.run(append_all(ledger))))  # noqa: B023 - called at once
        ledger.close()
    return found


def folds(bodies: list[bytes]) -> list[float]:
    """Seconds to read and fold these bodies; once a round."""

    def fold_all() -> None:
        fold = Fold(LIMITS)
        for position, raw in enumerate(bodies, start=1):
            fold.apply(recorded(raw, position))

    return [seconds(fold_all) for _ in range(ROUNDS)]


def main() -> None:
    """Print the table."""
    bodies = [body(flow, run, status) for flow in range(FLOWS) for run, status in enumerate(RUNS)]
    fold = Fold(LIMITS)
    for position, raw in enumerate(bodies, start=1):
        fold.apply(recorded(raw, position))
    fold.advance(NOW)
    with tempfile.TemporaryDirectory() as folder:
        appended = appends(bodies, Path(folder))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    measured = f"Python {platform.python_version()}, {len(fold.series)} series, {len(bodies)} runs, {ROUNDS} rounds"
    lines = [
        f"{measured}; at most {memory} MB resident before the reference encoder ran.",
        "",
        "| | ours | against | ratio | spread | aim |",
        "|---|---|---|---|---|---|",
        row("scrape with 1 % changed, against prometheus_client and gzip", *scrape(fold), "50"),
        row("fold, against durable appends of the same runs", folds(bodies), appended, "3"),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
