import asyncio
import threading
from pathlib import Path

import pytest

from exporter.adobe.payloads import read
from exporter.errors import DefectError, LedgerUnavailableError, NotCaughtUpError
from exporter.flowrun import RecordedFact, Source
from exporter.follow import Follower
from exporter.ledger import Draft
from exporter.ledger.sqlite import SqliteLedger
from exporter.metrics.fold import Fold
from tests.metrics.facts import limits

RUN = b'{"id": "run-%d", "flowId": "f", "metrics": {"statusSummary": {"status": "failed"}}}'


async def append(ledger: SqliteLedger, first: int, count: int) -> None:
    """So many runs, one after the other."""
    for number in range(first, first + count):
        body = RUN % number
        await ledger.append(
            [
                Draft(
                    fact_key=f"run:{number}",
                    source=Source.WEBHOOK,
                    kind="run",
                    run_id=str(number),
                    body=body,
                    is_outcome=True,
                )
            ]
        )


def test_a_catch_up_goes_to_the_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many entries there are, one catch-up folds them all, page by page, each once."""
    monkeypatch.setattr("exporter.follow._PAGE", 7)
    ledger = SqliteLedger(tmp_path / "ledger.db")
    fold = Fold(limits(0))
    follower = Follower(ledger, fold, read)
    try:
        asyncio.run(append(ledger, 0, 30))
        assert follower.catch_up() == 30
        assert follower.catch_up() == 0
        asyncio.run(append(ledger, 30, 5))
        assert follower.catch_up() == 5
    finally:
        follower.close()
        ledger.close()
    assert fold.flows == 1


def test_it_is_ready_once_it_has_caught_up(tmp_path: Path) -> None:
    """Before the first catch-up the check says why it is not ready."""
    ledger = SqliteLedger(tmp_path / "ledger.db")
    follower = Follower(ledger, Fold(limits(0)), read)
    try:
        with pytest.raises(NotCaughtUpError):
            follower.check()
        follower.catch_up()
        follower.check()
    finally:
        follower.close()
        ledger.close()


@pytest.mark.parametrize("failure", [LedgerUnavailableError("away"), RuntimeError("a defect")])
def test_following_survives_what_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    """Following goes on after a ledger that could not be read, and after a defect of ours."""
    monkeypatch.setattr("exporter.follow.BEAT", 0.01)
    ledger = SqliteLedger(tmp_path / "ledger.db")
    follower = Follower(ledger, Fold(limits(0)), read)
    caught_up = threading.Event()
    failures = [failure, failure]
    original = ledger.head

    def flaky() -> int:
        if failures:
            raise failures.pop()
        caught_up.set()
        return original()

    monkeypatch.setattr(ledger, "head", flaky)

    async def story() -> None:
        following = asyncio.create_task(follower.keep_up())
        assert await asyncio.to_thread(caught_up.wait, 10)
        await follower.at_head(lambda _series, _standing: None)
        follower.check()
        following.cancel()

    try:
        asyncio.run(story())
    finally:
        follower.close()
        ledger.close()


def test_two_looks_at_once_are_one_after_the_other(tmp_path: Path) -> None:
    """Scrapes at the same moment each see a whole fold."""
    ledger = SqliteLedger(tmp_path / "ledger.db")
    follower = Follower(ledger, Fold(limits(0)), read)

    async def story() -> list[int]:
        await append(ledger, 0, 3)
        return [
            standing.position
            for standing in await asyncio.gather(
                *(follower.at_head(lambda _series, standing: standing) for _ in range(5))
            )
        ]

    try:
        assert asyncio.run(story()) == [3] * 5
    finally:
        follower.close()
        ledger.close()


def test_one_entry_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that can't be folded is left out, counted and told of; those behind it are in the metrics."""
    ledger = SqliteLedger(tmp_path / "ledger.db")
    fold = Fold(limits(0))
    follower = Follower(ledger, fold, read)
    apply = fold.apply

    def failing(recorded: RecordedFact) -> None:
        if recorded.position == 2:
            raise RuntimeError("a defect")
        apply(recorded)

    monkeypatch.setattr(fold, "apply", failing)
    try:
        asyncio.run(append(ledger, 0, 3))
        standing = asyncio.run(follower.at_head(lambda _series, standing: standing))
    finally:
        follower.close()
        ledger.close()
    assert (standing.position, standing.failures) == (3, {"fold": 1})


def test_gauges_that_fail_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the metrics can't be worked out, those who ask get an error that is known."""
    ledger = SqliteLedger(tmp_path / "ledger.db")
    fold = Fold(limits(0))
    follower = Follower(ledger, fold, read)

    def failing(now: int) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(fold, "advance", failing)
    try:
        with pytest.raises(DefectError):
            asyncio.run(follower.at_head(lambda _series, standing: standing))
    finally:
        follower.close()
        ledger.close()
