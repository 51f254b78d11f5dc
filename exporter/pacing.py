"""Answers deliveries more slowly while the metrics are far behind the ledger, so that they can catch up.

Receiving and following share one processor, because Python runs one thread at a time. A sender that posts without a
pause would take so much of it that a start takes minutes. A delivery waits after its commit, so it is on disk already
if the sender gives up.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from exporter.intake import Record
from exporter.model import Delivery, Result

_INTERVAL: Final = 0.01
"""Seconds for each event of an answer while the metrics are far behind."""
_MAX_WAIT: Final = 0.5
"""Seconds that an answer waits at most. Adobe waits ten, and a commit takes eight at most."""


class Pacing:
    """Spaces answers out."""

    def __init__(self, is_far_behind: Callable[[], bool], clock: Callable[[], float]) -> None:
        """`clock` returns seconds and never goes back."""
        self._is_far_behind = is_far_behind
        self._clock = clock
        self._next = 0.0

    def paced(self, record: Record) -> Record:
        """Return `record`, with a wait after it while the metrics are far behind."""

        async def paced(deliveries: list[Delivery]) -> Mapping[Result, int]:
            results = await record(deliveries)
            if self._is_far_behind():
                await asyncio.sleep(self._wait(sum(len(delivery.events) for delivery in deliveries)))
            return results

        return paced

    def _wait(self, events: int) -> float:
        """Seconds until the answer to so many events is due."""
        now = self._clock()
        self._next = max(now, self._next) + max(events, 1) * _INTERVAL
        return min(self._next - now, _MAX_WAIT)
