"""A start from the checkpoint of a version that did not save the error codes of failures."""

import asyncio
import gzip
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from exporter.adobe.deliveries import open_delivery
from exporter.adobe.payloads import read
from exporter.errors import LedgerUnavailableError
from exporter.follower import Follower
from exporter.intake import Intake
from exporter.ledger import Entry
from exporter.ledger.sqlite import SqliteLedger
from exporter.metrics.exposition import Format
from exporter.metrics.fold import Fold
from tests.metrics.facts import MINUTE, T0, limits, samples
from tests.metrics.reference import render

FAILING = ("aep_flow_consecutive_failures", "aep_flow_failing_runs", "aep_flow_failing_cause_info")


def without_codes(checkpoint: bytes) -> bytes:
    """The checkpoint as an earlier version writes it."""
    document = json.loads(gzip.decompress(checkpoint))
    for _, flow in document["fold"]["flows"]["flows"]:
        history = flow["run_history"]
        del history["older_codes"], history["older_cause"]
        for outcome in history["outcomes"]:
            del outcome["codes"]
    return gzip.compress(json.dumps(document).encode())


class Upgrading:
    """A ledger with a follower, which can be replaced by one of this version after an earlier version."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.db"
        self.now = T0
        self.ledger = SqliteLedger(self.path, clock=lambda: self.now)
        self.intake = Intake(self.ledger, self.ledger.now)
        self.ended = 0
        self.begin()

    def begin(self) -> None:
        """Start a process."""
        self.follower = Follower(self.ledger, Fold(limits()), read)

    def record(self, flow_id: str, *runs: str) -> None:
        """Record runs of a flow, one after the other: the codes of a failed one, or `success`."""
        events: list[Any] = []
        for codes in runs:
            self.ended += 1
            self.now += MINUTE
            status: dict[str, Any] = {"status": "success"}
            if codes != "success":
                status = {"status": "failed", "errors": [{"code": code} for code in codes.split()]}
            metrics = {"statusSummary": status, "durationSummary": {"completedAtUTC": self.now}}
            run = {"id": f"run-{self.ended}", "flowId": flow_id, "sandboxName": "prod", "metrics": metrics}
            events.append({"event_id": f"event-{self.ended}", "event": run})
        asyncio.run(self.intake.record([open_delivery({}, json.dumps(events).encode(), self.now)]))

    def upgrade(self) -> None:
        """End the process, which is one of an earlier version, and start one of this version."""
        self.shown()
        asyncio.run(self.follower.finish())
        self.follower.close()
        position = self.ledger.checkpoints()[0].position
        saved = self.ledger.checkpoint(position)
        assert saved is not None
        for at in (position - 1, position):
            self.ledger.save_checkpoint(at, without_codes(saved))
        self.begin()

    def shown(self) -> dict[tuple[str, str, str], float]:
        """The metrics of failing flows at the head, by name, flow and code."""
        text = asyncio.run(self.follower.render_at_head(lambda series, _: render(series, None, Format.TEXT))).decode()
        return {
            (name, dict(labels)["flow_id"], dict(labels).get("error_code", "")): number
            for (name, labels), number in samples(text).items()
            if name in FAILING
        }

    def codes(self, flow_id: str) -> tuple[dict[str, float], str]:
        """How many failed runs of a flow reported each code, and the cause."""
        found = self.shown()
        runs = {code: runs for (name, flow, code), runs in found.items() if (name, flow) == (FAILING[1], flow_id)}
        (cause,) = [code for name, flow, code in found if (name, flow) == (FAILING[2], flow_id)]
        return runs, cause


@pytest.fixture
def upgrading(tmp_path: Path) -> Iterator[Upgrading]:
    """A ledger with a flow that fails, one that has recovered, and one that failed without a code."""
    made = Upgrading(tmp_path)
    made.record("failing", "99", "success", "133 2200", "2200")
    made.record("recovered", "133", "success")
    made.record("silent", "")
    yield made
    made.follower.close()
    made.ledger.close()


def test_codes_are_right_at_once(upgrading: Upgrading) -> None:
    """The first scrape after an upgrade has the codes of the runs that failed before it."""
    before = upgrading.shown()
    upgrading.upgrade()
    assert upgrading.codes("failing") == ({"133": 1, "2200": 2}, "133")
    assert upgrading.codes("silent") == ({"none": 1}, "none")
    assert upgrading.shown() == before
    upgrading.record("failing", "99")
    assert upgrading.codes("failing") == ({"133": 1, "2200": 2, "99": 1}, "133")


def test_a_failure_that_joins_later_has_its_codes(upgrading: Upgrading) -> None:
    """The failures before a success have their codes too, in case the success is corrected."""
    upgrading.upgrade()
    metrics = {"statusSummary": {"status": "failed"}, "durationSummary": {"completedAtUTC": T0 + 2 * MINUTE}}
    corrected = {"id": "run-2", "flowId": "failing", "sandboxName": "prod", "updatedAt": T0 + 9 * MINUTE}
    body = json.dumps({**corrected, "metrics": metrics}).encode()
    asyncio.run(upgrading.intake.record([open_delivery({}, body, upgrading.now)]))
    assert upgrading.codes("failing") == ({"99": 1, "133": 1, "2200": 2, "none": 1}, "99")


def test_codes_of_pruned_entries_are_other(upgrading: Upgrading) -> None:
    """A failure whose entry was pruned may have had a code, so it is under `other`."""
    upgrading.upgrade()
    assert upgrading.ledger.prune(upgrading.now + 1, 3, 100) == 3
    assert upgrading.codes("failing") == ({"2200": 1, "other": 1}, "other")
    asyncio.run(upgrading.follower.finish())
    upgrading.follower.close()
    upgrading.begin()
    assert upgrading.codes("failing") == ({"2200": 1, "other": 1}, "other")


def test_codes_of_unreadable_entries_are_other(upgrading: Upgrading) -> None:
    """A failure whose entry can't be read any more is under `other`."""
    upgrading.upgrade()
    with closing(sqlite3.connect(upgrading.path)) as changed, changed:
        changed.execute("UPDATE entry SET body = X'7B7D' WHERE position = 3")
    assert upgrading.codes("failing") == ({"2200": 1, "other": 1}, "other")


def test_an_error_while_reading_is_tried_again(upgrading: Upgrading, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the ledger can't be read while codes are filled in, nothing is shown, and the next scrape has them."""
    monkeypatch.setattr("exporter.earlier_checkpoints._MANY", 100)
    before = upgrading.shown()
    upgrading.upgrade()
    original, failures = upgrading.ledger.read, [LedgerUnavailableError("away")]

    def flaky(after: int, limit: int) -> list[Entry]:
        # The third read is in the middle of filling in codes.
        reads.append(after)
        if len(reads) == 3 and failures:
            raise failures.pop()
        return original(after, limit)

    reads: list[int] = []
    monkeypatch.setattr(upgrading.ledger, "read", flaky)
    with pytest.raises(LedgerUnavailableError):
        upgrading.shown()
    assert upgrading.shown() == before


def test_entries_are_read_once(upgrading: Upgrading, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first checkpoint of this version a start reads no entry again."""
    upgrading.upgrade()
    before = upgrading.shown()
    asyncio.run(upgrading.follower.finish())
    upgrading.follower.close()
    upgrading.begin()

    def failing(after: int, limit: int) -> list[Entry]:
        raise AssertionError("read")

    monkeypatch.setattr(upgrading.ledger, "read", failing)
    assert upgrading.shown() == before


@pytest.fixture
def long_streaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures beyond 10 are kept as a number."""
    monkeypatch.setattr("exporter.metrics.run_history.LATEST", 2)
    monkeypatch.setattr("exporter.metrics.run_history.MAX_FAILURES", 10)
    monkeypatch.setattr("exporter.earlier_checkpoints._PAGE", 7)


@pytest.mark.usefixtures("long_streaks")
def test_codes_of_many_failures_are_right_at_once(upgrading: Upgrading) -> None:
    """The failures that an earlier version kept as a number are searched for, and their codes counted."""
    for _ in range(20):
        upgrading.record("long", "133 2200", "99", "")
        upgrading.record("other-flow", "133", "success", "2200")
    before = upgrading.shown()
    upgrading.upgrade()
    assert upgrading.codes("long") == ({"133": 20, "2200": 20, "99": 20, "none": 20}, "133")
    assert upgrading.shown() == before
    upgrading.record("long", *["99"] * 60)
    assert upgrading.codes("long") == ({"133": 20, "2200": 20, "99": 80, "none": 20}, "133")


@pytest.mark.usefixtures("long_streaks")
def test_codes_of_many_failures_that_were_pruned_are_other(upgrading: Upgrading) -> None:
    """Those of many failures whose entries were pruned are under `other`, and the others under their codes."""
    upgrading.record("long", *["133"] * 60)
    upgrading.upgrade()
    pruned = upgrading.ledger.head() - 40
    assert upgrading.ledger.prune(upgrading.now + 1, pruned, 1000) == pruned
    assert upgrading.codes("long") == ({"133": 40, "other": 20}, "other")
    upgrading.record("long", "133")
    assert upgrading.codes("long") == ({"133": 41, "other": 20}, "other")


@pytest.mark.usefixtures("long_streaks")
def test_only_neighbours_are_read_together(upgrading: Upgrading, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures far from each other are read alone, and neighbours together."""
    monkeypatch.setattr("exporter.earlier_checkpoints._NEAR", 8)
    upgrading.record("long", *["133"] * 8)
    upgrading.record("busy", *["success"] * 30)
    upgrading.record("late", "2200")
    before = upgrading.shown()
    upgrading.upgrade()
    original, reads = upgrading.ledger.read, list[int]()

    def counted(after: int, limit: int) -> list[Entry]:
        reads.append(limit)
        return original(after, limit)

    monkeypatch.setattr(upgrading.ledger, "read", counted)
    assert upgrading.shown() == before
    assert reads.count(1) < 6
    assert 8 in reads
