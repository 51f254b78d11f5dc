"""What a checkpoint of an earlier version lacks, and how a start makes up for it from the ledger.

- Entries that the earlier version skipped. If this version can read one of them, the checkpoint is not used.
- The error codes of failed runs. They are read from the ledger before the state is restored, so that after an upgrade
  the codes of current failures are right at once. Failures that are kept one by one are read by their positions. Of
  failures that are kept as a number the positions are not known, so every entry up to the checkpoint is read. That
  takes about a second for 100,000 entries, and happens if a flow has failed more than MAX_FAILURES times in a row.

Everything here is blocking and raises LedgerUnavailableError.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import structlog

from exporter.ledger import Entry, Followed
from exporter.metrics.fold import VERSION
from exporter.metrics.fold_state import FoldState
from exporter.metrics.missing_codes import MissingCodes
from exporter.model import FlowKey, RecordedFact, SkipReason
from exporter.plain_text import clean

_PAGE: Final = 1000
_NEAR: Final = 64
"""So many entries are read together where _MANY of them are needed. Elsewhere each is read alone."""
_MANY: Final = 4

_log: structlog.stdlib.BoundLogger = structlog.get_logger("follow")

FactOf = Callable[[Entry], RecordedFact | None]
"""Returns the fact of an entry, or None if it can't be read."""


class EarlierCheckpoints:
    """Compares states that were saved with the ledger."""

    def __init__(self, ledger: Followed, fact_of: FactOf) -> None:
        """`fact_of` reads an entry as this version does."""
        self._ledger = ledger
        self._fact_of = fact_of

    def can_read_skipped(self, state: FoldState) -> bool:
        """Whether this version can read, or may be able to fold, an entry that the state lacks."""
        return any(
            state.version < VERSION
            if skipped.reason is SkipReason.FOLD
            else any(
                entry.position == skipped.position and self._fact_of(entry) is not None
                for entry in self._ledger.read(skipped.position - 1, 1)
            )
            for skipped in state.skipped.entries
        )

    def fill_codes(self, state: FoldState, up_to: int) -> None:
        """Fill in the error codes that a state lacks. It contains the entries up to a position.

        After an error the state may be half filled, and must not be used.
        """
        missing = MissingCodes(state)
        if not missing.positions and not missing.flows:
            return
        _log.info(
            "reading the error codes of failed runs, which an earlier version did not save",
            runs=len(missing.positions),
            flows_to_search_for=len(missing.flows),
        )
        for entry in _entries_at(self._ledger, missing.positions):
            missing.add_kept(entry.position, self._fact_of(entry))
        if missing.flows:
            for entry in _entries(self._ledger, up_to):
                if FlowKey(clean(entry.flow_id or ""), clean(entry.sandbox or "")) in missing.flows:
                    missing.add_older(self._fact_of(entry))
        missing.fill()


def _entries_at(ledger: Followed, positions: Sequence[int]) -> Iterator[Entry]:
    """The entries at these positions, which rise, as far as the ledger still has them."""
    wanted = set(positions)
    read_up_to = 0
    for index, position in enumerate(positions):
        if position <= read_up_to:
            continue
        needed = bisect_left(positions, position + _NEAR) - index
        entries = ledger.read(position - 1, _NEAR if needed >= _MANY else 1)
        if not entries:
            return
        yield from (entry for entry in entries if entry.position in wanted)
        read_up_to = entries[-1].position


def _entries(ledger: Followed, up_to: int) -> Iterator[Entry]:
    """Every entry up to a position that the ledger still has."""
    position = ledger.pruned()
    while position < up_to and (entries := ledger.read(position, _PAGE)):
        yield from (entry for entry in entries if entry.position <= up_to)
        position = entries[-1].position
