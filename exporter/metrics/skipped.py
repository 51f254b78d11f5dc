"""Remembers the entries that the metrics do not include because they could not be read or folded.

The positions are part of the fold's state, so a checkpoint names them. A version that can read one of these entries
does not start from such a checkpoint (docs/architecture.md, "Entries that can't be read"). Of more than MAX_POSITIONS
only the first are remembered by position, and of the others only the number.
"""

from dataclasses import dataclass, field
from typing import Final

from exporter.model import SkipReason

MAX_POSITIONS: Final = 1000


@dataclass(frozen=True, slots=True)
class SkippedEntry:
    """One entry that was skipped. The field names are those of the checkpoint."""

    position: int
    received_at: int
    """When it was recorded, in milliseconds since 1970. 0 for a damaged row."""
    reason: SkipReason


@dataclass(slots=True)
class Skipped:
    """The entries that were skipped, in their order. The field names are those of the checkpoint."""

    count: int = 0
    """The number of all of them, also of those that are not remembered by position."""
    entries: list[SkippedEntry] = field(default_factory=list)

    def add(self, entry: SkippedEntry) -> None:
        """Add the next entry."""
        self.count += 1
        if len(self.entries) < MAX_POSITIONS:
            self.entries.append(entry)

    def first_kept(self, recorded_after: int) -> int | None:
        """The position of the first entry that a later version may read, or None.

        Entries that were recorded before this time (milliseconds since 1970), and damaged ones, are left out.
        """
        return next(
            (
                each.position
                for each in self.entries
                if each.reason is not SkipReason.DAMAGED and each.received_at >= recorded_after
            ),
            None,
        )
