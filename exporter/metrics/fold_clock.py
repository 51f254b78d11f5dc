"""The times that a fold depends on: `now`, and what the ledger's clock and Adobe's have reached.

This module decides what a correction of the ledger's clock does to a time of recording (docs/architecture.md, "Clock").
`fold` applies that to everything it remembers. No clock is read here. Times are milliseconds since 1970.
"""

from collections.abc import Callable
from dataclasses import dataclass

from exporter.model import CLOCK_TOLERANCE, ClockCorrection


@dataclass(slots=True, kw_only=True)
class FoldClock:
    """The times of one fold."""

    now: int = 0
    newest_event: int = 0
    """The newest time at which anything happened by Adobe's clock. 0 without one."""
    recorded_until: int = 0
    """The largest time of recording since the last correction of the clock."""
    correction: tuple[int, int] | None = None
    """The last correction of the clock: from and to."""

    def advance(self, now: int) -> None:
        """Move `now`. A time before the last one has no effect."""
        self.now = max(self.now, now)

    def record(self, received_at: int, happened_at: int | None) -> None:
        """Note when a fact was recorded, and when it happened by Adobe's clock if Adobe gave a time."""
        self.now = max(self.now, received_at)
        self.recorded_until = max(self.recorded_until, received_at)
        if happened_at is not None and happened_at > self.newest_event:
            self.newest_event = happened_at

    def horizon(self, received_at: int) -> int:
        """The time before which everything is old by the ledger's clock and by Adobe's. 0 without a time of Adobe's."""
        return min(received_at, self.newest_event)

    def correct(self, correction: ClockCorrection) -> Callable[[int], int] | None:
        """Correct these times. Return a function from an old time of recording to its new time.

        A step back sets later times to the time of the new clock. A step forward moves all times by as much, so that
        nothing is older than it was. Returns None where remembered times stay as they are: the correction is known
        already, or something was recorded by the new clock before a step forward.
        """
        from_, to = correction.from_, correction.to
        if (from_, to) == self.correction:
            return None
        self.correction = from_, to
        if to > from_:
            self.now = max(self.now, to)
            if to - from_ <= CLOCK_TOLERANCE or self.recorded_until > from_ + CLOCK_TOLERANCE:
                # Something was recorded by the new clock already, so that times of both are mixed.
                self.recorded_until = max(self.recorded_until, to)
                return None
            self.recorded_until = to
            return lambda at: min(at + to - from_, to)
        self.now = min(self.now, to)
        self.newest_event = min(self.newest_event, to)
        self.recorded_until = to
        return lambda at: min(at, to)
