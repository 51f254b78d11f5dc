"""The exposition of each sample body, through everything but the network."""

import asyncio
from pathlib import Path

import pytest

from exporter.adobe.deliveries import read_document
from exporter.adobe.payloads import read
from exporter.follower import Follower
from exporter.intake import Intake
from exporter.ledger.sqlite import SqliteLedger
from exporter.metrics.exposition import Format
from exporter.metrics.fold import Fold
from exporter.model import Source
from tests.generated import hold
from tests.metrics.facts import limits
from tests.metrics.reference import render

SAMPLES = Path(__file__).parent / "samples"
GOLDEN = Path(__file__).parent / "golden"

NOON = 1_793_534_400_000
"""2026-11-01 12:00 UTC, when everything is recorded and rendered."""


def exposition(bodies: list[bytes], folder: Path, format_: Format) -> str:
    """The flow half of a scrape after these deliveries."""
    ledger = SqliteLedger(folder / "ledger.db", clock=lambda: NOON)
    fold = Fold(limits(0))
    follower = Follower(ledger, fold, read)
    try:
        intake = Intake(ledger, ledger.now)
        asyncio.run(intake.record([read_document(body, Source.WEBHOOK, NOON) for body in bodies]))
        follower.catch_up()
    finally:
        follower.close()
        ledger.close()
    fold.advance(NOON)
    return render(fold.series, None, format_).decode()


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_golden(sample: Path, tmp_path: Path) -> None:
    """Each sample body gives the committed exposition."""
    hold(GOLDEN / f"{sample.stem}.txt", exposition([sample.read_bytes()], tmp_path, Format.TEXT))


def test_golden_openmetrics(tmp_path: Path) -> None:
    """All samples together give the committed OpenMetrics exposition."""
    bodies = [path.read_bytes() for path in sorted(SAMPLES.glob("*.json"))]
    hold(GOLDEN / "everything.openmetrics.txt", exposition(bodies, tmp_path, Format.OPENMETRICS))


def test_no_golden_is_left_over() -> None:
    """Every committed exposition belongs to a sample."""
    named = {path.stem for path in SAMPLES.glob("*.json")} | {"everything.openmetrics"}
    assert {path.stem for path in GOLDEN.glob("*.txt")} == named
