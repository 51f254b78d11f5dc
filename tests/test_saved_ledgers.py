"""Ledgers that earlier versions wrote.

Each folder of `tests/samples/ledgers` holds the ledger of one version with two checkpoints and entries after them, and
the exposition that this version made of it. To add one: record made-up notifications, write two checkpoints, record a
few more, and save the scrape of a minute after the last. Help texts are not compared, because a ledger does not contain
them. Metrics that a later version added are compared with those of a fold that read every entry.
"""

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest

from exporter.adobe.deliveries import open_delivery
from exporter.adobe.payloads import read
from exporter.follower import Follower
from exporter.intake import Intake
from exporter.ledger.sqlite import SqliteLedger
from exporter.metrics.checkpoint import decode
from exporter.metrics.exposition import Format
from exporter.metrics.fold import Fold
from tests.metrics.facts import MINUTE, limits
from tests.metrics.reference import render

LEDGERS = Path(__file__).parent / "samples" / "ledgers"
VERSIONS = sorted(path.name for path in LEDGERS.iterdir())
HOLD = 150_000


def copy_of(version: str, folder: Path) -> Path:
    """A copy of a version's ledger that a test may write to."""
    return Path(shutil.copy(LEDGERS / version / "ledger.db", folder))


def last_recorded(ledger: SqliteLedger) -> int:
    """The time at which the newest entry was recorded."""
    return ledger.read(ledger.head() - 1, 1)[0].received_at


def followed(ledger: SqliteLedger) -> tuple[Fold, int]:
    """The fold at the ledger's head, and how many entries were read after the newest readable checkpoint."""
    fold = Fold(limits(HOLD))
    follower = Follower(ledger, fold, read)
    try:
        return fold, follower.catch_up()
    finally:
        follower.close()


def exposition(ledger: SqliteLedger, now: int) -> str:
    """The scrape at this time, from the newest readable checkpoint on."""
    fold, _ = followed(ledger)
    fold.advance(now)
    return without_help(render(fold.series, None, Format.OPENMETRICS).decode())


def without_help(text: str) -> str:
    """An exposition without its help texts."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("# HELP "))


def families(text: str) -> set[str]:
    """The names of the families in an exposition."""
    return set(re.findall(r"(?m)^# TYPE (\S+)", text))


def of_families(text: str, names: set[str]) -> str:
    """An exposition without help texts, and with these families alone."""
    parts = re.split(r"(?m)^(?=# (?:TYPE|EOF))", text)
    return "".join(part for part in parts if part.startswith("# EOF") or families(part) <= names)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_saved_ledger_shows_what_it_showed(version: str, tmp_path: Path) -> None:
    """The newest checkpoint and the entries after it give the same exposition as in the version that wrote them."""
    ledger = SqliteLedger(copy_of(version, tmp_path))
    try:
        assert len(ledger.checkpoints()) == 2
        assert ledger.checkpoints()[0].position < ledger.head()
        shown = exposition(ledger, last_recorded(ledger) + MINUTE)
    finally:
        ledger.close()
    saved = (LEDGERS / version / "exposition.openmetrics.txt").read_text(encoding="utf-8")
    assert of_families(shown, families(saved)) == without_help(saved)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_checkpoints_of_a_saved_ledger_are_used(version: str, tmp_path: Path) -> None:
    """Both checkpoints can be decoded, and only the entries after the newest are read."""
    ledger = SqliteLedger(copy_of(version, tmp_path))
    try:
        positions = [checkpoint.position for checkpoint in ledger.checkpoints()]
        assert all(decode(ledger.checkpoint(position) or b"").flows.flows for position in positions)
        _, count = followed(ledger)
        assert 0 < count <= ledger.head() - positions[0]
    finally:
        ledger.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_saved_ledger_shows_the_same_without_its_checkpoints(version: str, tmp_path: Path) -> None:
    """Following from the first entry gives the same exposition as following from a checkpoint."""
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
def test_a_saved_ledger_shows_when_its_flows_are_overdue(version: str, tmp_path: Path) -> None:
    """Every flow with a usual interval has the time at which it is overdue at once, from a checkpoint without it."""
    ledger = SqliteLedger(copy_of(version, tmp_path))
    try:
        shown = exposition(ledger, last_recorded(ledger) + MINUTE)
    finally:
        ledger.close()
    flows = re.findall(r"(?m)^aep_flow_run_interval_seconds(\{.*\}) (\S+)$", shown)
    assert flows
    for labels, interval in flows:
        (overdue_at,) = re.findall(rf"(?m)^aep_flow_overdue_timestamp_seconds{re.escape(labels)} (\S+)$", shown)
        of_flow = re.escape(labels.rstrip("}"))
        latest = max(map(float, re.findall(rf"(?m)^aep_flow_last_run_timestamp_seconds{of_flow},.* (\S+)$", shown)))
        assert float(overdue_at) - latest >= 1.5 * float(interval) + 900 - 0.001


@pytest.mark.parametrize("version", VERSIONS)
def test_a_saved_ledger_shows_why_its_flows_fail(version: str, tmp_path: Path) -> None:
    """Flows that failed before the upgrade have the error codes of their failures at once."""
    ledger = SqliteLedger(copy_of(version, tmp_path))
    try:
        shown = exposition(ledger, last_recorded(ledger) + MINUTE)
    finally:
        ledger.close()
    failing = {
        tuple(pairs)
        for name in ("runs", "cause_info")
        for pairs in re.findall(rf'(?m)^aep_flow_failing_({name}){{error_code="(.*?)",flow_id="(.*?)",.*}} 1.0$', shown)
    }
    of_source = "1f4e8b2a-7d39-4c65-b0a8-93e5d7c61f02"
    assert failing == {
        ("runs", "CONNECTOR-1001-500", "flow-held"),
        ("cause_info", "CONNECTOR-1001-500", "flow-held"),
        ("runs", "133", of_source),
        ("runs", "CONNECTOR-2001-500", of_source),
        ("cause_info", "CONNECTOR-2001-500", of_source),
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_a_saved_ledger_goes_on_counting(version: str, tmp_path: Path) -> None:
    """A run recorded now adds one to the saved counter, and the same run again adds nothing."""
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
