import asyncio
import threading
from pathlib import Path

import pytest

from exporter.errors import LedgerUnavailableError
from exporter.ledger.sqlite import SqliteLedger
from exporter.retention import MARGIN, Retention
from tests.ledger import append, draft, entries

DAY = 24 * 60 * 60 * 1000


async def everything(_skipped_after: int) -> int:
    """A position after every entry."""
    return 1 << 60


def filled(folder: Path, count: int, now: list[int]) -> SqliteLedger:
    """A ledger with an entry for each day, all of which two checkpoints contain."""
    ledger = SqliteLedger(folder / "ledger.db", clock=lambda: now[0])
    for day in range(count):
        now[0] = day * DAY
        append(ledger, draft())
    for position in (count, count + 1):
        ledger.save_checkpoint(position, b"state")
    return ledger


@pytest.mark.parametrize(
    ("late", "left"), [(0, 4), (MARGIN, 4), (MARGIN + 1, 3), (DAY + MARGIN + 1, 2), (100 * DAY, 0)], ids=str
)
def test_old_entries_are_deleted(tmp_path: Path, late: int, left: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry is deleted once it is older than retention and margin together, in as many chunks as needed."""
    monkeypatch.setattr("exporter.retention._CHUNK", 2)
    now = [0]
    ledger = filled(tmp_path, 7, now)
    now[0] = 6 * DAY + late
    deleted = asyncio.run(Retention(ledger, 3 * DAY, everything, lambda: None).prune())
    assert (len(entries(ledger)), deleted) == (left, 7 - left)
    ledger.close()


def test_it_goes_on_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed run is counted, and a later run tries again."""
    monkeypatch.setattr("exporter.retention.PRUNE_INTERVAL", 0.01)
    ledger = filled(tmp_path, 3, [0])
    failures: list[None] = []
    done = threading.Event()

    def prune(before: int, up_to: int, limit: int) -> int:
        if len(failures) < 2:
            raise LedgerUnavailableError("away")
        done.set()
        return 0

    monkeypatch.setattr(ledger, "prune", prune)

    async def story() -> None:
        running = asyncio.create_task(Retention(ledger, DAY, everything, lambda: failures.append(None)).run())
        assert await asyncio.to_thread(done.wait, 10)
        running.cancel()

    asyncio.run(story())
    assert len(failures) == 2
    ledger.close()
