"""Retention: facts older than the ledger is to keep go, bit by bit, while the program serves.

Only what two checkpoints contain that can be read is deleted, so no metric depends on what goes here. A run that comes
back from a file after that is refused by `intake` (`expired`); so that the two agree at every moment, nothing goes
until a good while after it would be refused.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from exporter.errors import LedgerUnavailableError
from exporter.ledger import Ledger

PRUNE_INTERVAL: Final = 600.0
"""Seconds between looks at what has become too old."""
MARGIN: Final = 60 * 60 * 1000
"""Milliseconds; more than Adobe's clock may be ahead of ours, and than a batch of `replay` takes."""
_CHUNK: Final = 200
"""Entries deleted at a time: deliveries wait for no more than that."""
_REST: Final = 3
"""Times as long as a chunk took that the ledger is left to others."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("retention")


class Retention:
    """Deletes what is too old."""

    def __init__(
        self, ledger: Ledger, retention: int, prunable: Callable[[], Awaitable[int]], count_failure: Callable[[], None]
    ) -> None:
        """`retention`: milliseconds a fact is kept at least; `prunable`: up to which position entries can be deleted.

        `count_failure` is called for each try that failed.
        """
        self._ledger = ledger
        self._prunable = prunable
        self._retention = retention
        self._count_failure = count_failure

    async def run(self) -> None:
        """Delete what is too old, now and every PRUNE_INTERVAL seconds, until cancelled."""
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
        """Delete all that is too old now; how many entries that were."""
        before = await asyncio.to_thread(self._ledger.now) - self._retention - MARGIN
        up_to = await self._prunable()
        deleted = 0
        while True:
            started = time.perf_counter()
            count = await asyncio.to_thread(self._ledger.prune, before, up_to, _CHUNK)
            deleted += count
            if count < _CHUNK:
                return deleted
            await asyncio.sleep(_REST * (time.perf_counter() - started))
