"""What became of the events of a file that is replayed, and what a person should know of those that can't be used."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from exporter.model import NotUnderstood, Result, Unreadable, Unsupported
from exporter.reasons import EXPLANATIONS
from exporter.saved_files.reading import Found

_MAX_PLACES: Final = 20
"""Events of one file whose places are printed. Of the others their number is."""


class Account:
    """What became of the events of one file, or of several."""

    def __init__(self) -> None:
        self.results: Counter[Result] = Counter()
        self.reasons: Counter[NotUnderstood] = Counter()
        """How many events were not understood, by the reason."""
        self.understood = 0
        """How many events were understood: recorded, duplicate or expired."""
        self.places: list[str] = []
        """Where the first events are that were not understood, and why they were not."""

    def note(self, found: Found) -> None:
        """Take an event into account, before it is recorded."""
        fact = found.event.fact
        if not isinstance(fact, Unsupported | Unreadable):
            self.understood += 1
            return
        self.reasons[fact.reason] += 1
        if len(self.places) < _MAX_PLACES:
            reason = f"{fact.reason.value}: {found.note or EXPLANATIONS[fact.reason]}"
            self.places.append(f"{found.place}: {reason}" if found.place else reason)

    def add(self, other: "Account") -> None:
        """Add the numbers of another account."""
        self.results += other.results
        self.reasons += other.reasons
        self.understood += other.understood

    @property
    def is_useless(self) -> bool:
        """Whether there were events, and none of them was understood."""
        return bool(self.reasons) and not self.understood

    def lines(self) -> Iterator[str]:
        """What a person should know besides the numbers of results."""
        yield from self.places
        rest = self.reasons.total() - len(self.places)
        if rest > 0:
            yield f"and {rest} more"
        if self.reasons.total() > 1:
            yield f"not used, by reason: {_numbers(self.reasons)}"
        if self.results[Result.EXPIRED]:
            yield (
                f"{self.results[Result.EXPIRED]} expired: they ended before --ledger.retention, so the ledger may have "
                "counted and deleted them already"
            )
        if self.is_useless:
            yield "nothing in this file can be used"


def _numbers(counts: Mapping[NotUnderstood, int]) -> str:
    return ", ".join(f"{count} {reason.value}" for reason, count in counts.items())
