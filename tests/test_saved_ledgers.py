"""Ledgers that earlier versions left behind.

Each folder of `tests/samples/ledgers` holds the ledger of one version with two checkpoints and entries after them, and
the exposition which that version made of it. To add one: record made-up notifications, checkpoint twice, record a few
more, and save what a scrape shows a minute after the last.
"""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from exporter.adobe.deliveries import open_delivery
from exporter.adobe.payloads import read
from exporter.follower import Follower
from exporter.intake import Intake
from exporter.ledger.sqlite import SqliteLedger
from exporter.metrics.exposition import Format, render
from exporter.metrics.fold import Fold
from tests.metrics.facts import MINUTE, limits

LEDGERS = Path(__file__).parent / "samples" / "ledgers"
VERSIONS = sorted(path.name for path in LEDGERS.iterdir())
HOLD = 150_000


def copy_of(version: str, folder: Path) -> Path:
    """A copy of a version's ledger that a test may write to."""
    return Path(shutil.copy(LEDGERS / version / "ledger.db", folder))


def last_recorded(ledger: SqliteLedger) -> int:
    """When the newest entry was recorded."""
    return ledger.read(ledger.head() - 1, 1)[0].received_at


def exposition(ledger: SqliteLedger, now: int) -> str:
    """What a scrape shows at this time, beginning with the newest checkpoint."""
    fold = Fold(limits(HOLD))
    follower = Follower(ledger, fold, read)
    try:
        follower.catch_up()
    finally:
        follower.close()
    fold.advance(now)
    return render(fold.series, None, Format.OPENMETRICS).decode()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_saved_ledger_shows_what_it_showed(version: str, tmp_path: Path) -> None:
    """The newest checkpoint and the entries after it give the bytes that the version which wrote them gave."""
    ledger = SqliteLedger(copy_of(version, tmp_path))
    try:
        assert len(ledger.checkpoints()) == 2
        assert ledger.checkpoints()[0].position < ledger.head()
        shown = exposition(ledger, last_recorded(ledger) + MINUTE)
    finally:
        ledger.close()
    assert shown == (LEDGERS / version / "exposition.openmetrics.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_saved_ledger_shows_the_same_without_its_checkpoints(version: str, tmp_path: Path) -> None:
    """Following from the first entry gives the same as a checkpoint does."""
    path = copy_of(version, tmp_path)
    ledger = SqliteLedger(path)
    try:
        now = last_recorded(ledger) + MINUTE
        with_checkpoint = exposition(ledger, now)
        for checkpoint in ledger.checkpoints():
            ledger.save_checkpoint(checkpoint.position, b"not a checkpoint")
        assert exposition(ledger, now) == with_checkpoint
    finally:
        ledger.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_saved_ledger_goes_on_counting(version: str, tmp_path: Path) -> None:
    """A run recorded now adds one to the counter as it was left; the same run again adds nothing."""
    failed = 'aep_flow_runs_total{flow_id="flow-held",sandbox="prod",status="failed"}'
    clock = [0]
    ledger = SqliteLedger(copy_of(version, tmp_path), clock=lambda: clock[0])
    try:
        clock[0] = last_recorded(ledger) + 10 * MINUTE
        assert f"{failed} 1.0" in exposition(ledger, clock[0])
        intake = Intake(ledger, ledger.now)
        for run_id in ("run-held", "run-new", "run-new"):
            metrics = {"statusSummary": {"status": "failed"}, "durationSummary": {"completedAtUTC": clock[0]}}
            body = {"id": run_id, "flowId": "flow-held", "sandboxName": "prod", "metrics": metrics}
            asyncio.run(intake.record([open_delivery({}, json.dumps(body).encode(), clock[0])]))
        assert f"{failed} 2.0" in exposition(ledger, clock[0])
    finally:
        ledger.close()
