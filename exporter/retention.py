"""Retention: deletes entries that are older than `--ledger.retention`, in small chunks, while the program serves.

Only entries that two readable checkpoints contain are deleted, so no metric depends on a deleted entry. `replay`
refuses a run of a file that is older than the retention (`expired`). Both measure age by the ledger's clock and by the
newest time that Adobe gave, so that nothing is deleted because the clock is wrong. Entries are deleted MARGIN after
that, so that a pruned fact can't be accepted again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from exporter.errors import LedgerUnavailableError
from exporter.ledger import Ledger, horizon

PRUNE_INTERVAL: Final = 600.0
"""Seconds between two runs."""
MARGIN: Final = 60 * 60 * 1000
"""Milliseconds. More than Adobe's clock may be ahead of ours, and more than a batch of `replay` takes."""
_CHUNK: Final = 200
"""Entries deleted in one transaction. Deliveries wait for one at most."""
_PAUSE_FACTOR: Final = 3
"""The pause after a chunk, as a multiple of the time that the chunk took."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("retention")


class Retention:
    """Deletes old entries of a ledger."""

    def __init__(
        self,
        ledger: Ledger,
        retention: int,
        prunable: Callable[[int], Awaitable[int]],
        count_failure: Callable[[], None],
    ) -> None:
        """`retention`: milliseconds that a fact is kept at least.

        `prunable` returns the position up to which entries may be deleted. It is given a time, and returns a position
        below the first entry that was skipped and recorded after that time. `count_failure` is called for each run that
        failed.
        """
        self._ledger = ledger
        self._prunable = prunable
        self._retention = retention
        self._count_failure = count_failure

    async def run(self) -> None:
        """Delete old entries now and every PRUNE_INTERVAL seconds, until cancelled. A failed run is logged."""
        while True:
            try:
                deleted = await self.prune()
            except LedgerUnavailableError as error:
                self._count_failure()
                _log.error("old entries could not be deleted", reason=error.reason, detail=str(error))
            else:
                if deleted:
                    _log.info("deleted what is older than --ledger.retention", entries=deleted)
            await asyncio.sleep(PRUNE_INTERVAL)

    async def prune(self) -> int:
        """Delete every entry that is too old now. Return their number. Raises LedgerUnavailableError."""
        now = await asyncio.to_thread(self._ledger.now)
        before = await asyncio.to_thread(horizon, self._ledger, now, self._retention) - MARGIN
        # An entry that was skipped is kept twice as long as others. A later version may be able to read it.
        up_to = await self._prunable(before - self._retention)
        deleted = 0
        while True:
            started = time.perf_counter()
            count = await asyncio.to_thread(self._ledger.prune, before, up_to, _CHUNK)
            deleted += count
            if count < _CHUNK:
                return deleted
            await asyncio.sleep(_PAUSE_FACTOR * (time.perf_counter() - started))
