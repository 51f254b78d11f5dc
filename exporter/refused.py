"""Remembers the requests to the webhook that were refused last, for pages.

Strangers cause such requests, so the ledger does not hold them: they are in memory, since the start of this process.
Nothing of a request is kept but its time, the reason and the address of its sender: no body, no header, and no path,
which can hold a token.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

MAX_KEPT: Final = 100
MAX_KEPT_OF_REASON: Final = 20
"""A flood of requests that are refused for one reason hides no other one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedDelivery:
    """A request to the webhook that was refused, so that Adobe does not send it again."""

    refused_at: int
    """By this host's clock: milliseconds since 1970."""
    reason: str
    """The reason of an error of `exporter.errors`, one of those in `exporter.reasons.REFUSALS`."""
    peer: str
    """The address of the sender, or of the proxy that it came through. Empty if it is not known."""


class RefusedDeliveries:
    """The last ones. All methods can be called on any thread."""

    def __init__(self, clock: Callable[[], int]) -> None:
        """`clock` returns milliseconds since 1970. It is not the ledger's, which may have to be asked for it."""
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, deque[tuple[int, RefusedDelivery]]] = {}
        """By reason, each with its number in the order of all, the oldest first."""
        self._counts: Counter[str] = Counter()

    def add(self, reason: str, peer: str) -> None:
        """Remember one. Of a reason that has MAX_KEPT_OF_REASON, and else of the one that has most, one is dropped."""
        refused = RefusedDelivery(refused_at=self._clock(), reason=reason, peer=peer)
        with self._lock:
            self._counts[reason] += 1
            number = self._counts.total()
            self._kept.setdefault(reason, deque(maxlen=MAX_KEPT_OF_REASON)).append((number, refused))
            if sum(map(len, self._kept.values())) > MAX_KEPT:
                max(self._kept.values(), key=len).popleft()

    def latest(self) -> tuple[RefusedDelivery, ...]:
        """Those that are remembered, the newest first."""
        with self._lock:
            kept = [each for of_reason in self._kept.values() for each in of_reason]
        return tuple(refused for _, refused in sorted(kept, key=lambda each: -each[0]))

    def counts(self) -> Mapping[str, int]:
        """How many there were since the start, by reason. They are not only those that are remembered."""
        with self._lock:
            return dict(self._counts)
