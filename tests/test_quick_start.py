"""The quick start's notification behaves as the README says, on whatever day it is posted."""

import asyncio
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.adobe.deliveries import read_document
from exporter.adobe.payloads import read
from exporter.follower import Follower
from exporter.intake import Intake
from exporter.ledger.sqlite import SqliteLedger
from exporter.metrics.exposition import Format
from exporter.metrics.fold import Fold
from exporter.model import Source
from tests.metrics.facts import limits
from tests.metrics.reference import render
from tests.quick_start import FAILED, ROOT, commands

HOLD = 150_000
"""The default of --series.hold in milliseconds, which the README names."""


def after_posting(folder: Path, now: int) -> Fold:
    """A fold that has followed the quick start's failed run, which was recorded at `now`."""
    ledger = SqliteLedger(folder / "ledger.db", clock=lambda: now)
    fold = Fold(limits(HOLD))
    follower = Follower(ledger, fold, read)
    try:
        delivery = read_document(FAILED.read_bytes(), Source.WEBHOOK, now)
        asyncio.run(Intake(ledger, ledger.now).record([delivery]))
        follower.catch_up()
    finally:
        follower.close()
        ledger.close()
    return fold


def failures(fold: Fold, at: int) -> dict[str, float]:
    """The metrics at a time that are about failures of the flow, by name."""
    fold.advance(at)
    text = render(fold.series, None, Format.TEXT).decode()
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("flow_id") == "orders" and sample.labels.get("status", "failed") == "failed"
    }


@pytest.mark.parametrize("now", [1_793_534_400_000, 2_208_945_600_000], ids=["in 2026", "in 2039"])
def test_the_failed_run_is_of_today(now: int, tmp_path: Path) -> None:
    """Whenever it is posted, the gauge is 1 at once, the counter is 0 until the hold is over, and the run is new."""
    fold = after_posting(tmp_path, now)
    for at, count in ((now, 0), (now + HOLD - 1, 0), (now + HOLD, 1)):
        found = failures(fold, at)
        assert found["aep_flow_runs_total"] == count
        assert found["aep_flow_consecutive_failures"] == 1
        # The alert is only about flows that ran within the last two days.
        assert found["aep_flow_last_run_timestamp_seconds"] == now / 1000


def test_make_run_names_commands_of_the_quick_start() -> None:
    """The hints of `make run` are the first commands of the README's quick start after `make run`."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = makefile.partition("\nrun:")[2].partition("\n\n")[0]
    hints = [line.partition("'  ")[2].rstrip("'") for line in recipe.splitlines() if "@echo '  " in line]
    assert len(hints) == 2
    assert [command.line for command in commands()][:3] == ["make run", *hints]
