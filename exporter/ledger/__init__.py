"""The ledger: every notification's facts, durable, each once, in the order they were committed.

`Ledger` is the port, written as guarantees; `exporter.ledger.sqlite` keeps them in a file. This module and its engines
know what an entry is and nothing of what it means: the keys that make a fact the same fact come with the draft.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from exporter.model import EntryKind, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A fact on its way into the ledger."""

    fact_key: str
    """What makes two tellings one fact; unique in the ledger."""
    source: Source
    kind: EntryKind
    body: bytes
    """The event as it was received."""
    event_id: str | None = None
    """Unique in the ledger where it is known."""
    event_code: str | None = None
    flow_id: str | None = None
    run_id: str | None = None
    sandbox: str | None = None
    status: str | None = None
    error_codes: str | None = None
    """Separated by blanks."""
    completed_at: int | None = None
    """When it happened by Adobe's word: milliseconds since 1970."""
    is_outcome: bool = False
    """Whether it ends a run; the first that does so counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A fact in the ledger."""

    position: int
    received_at: int
    source: Source
    kind: str
    """An EntryKind, or a word that a newer version wrote."""
    event_code: str | None
    counts: bool
    """Whether it is the first outcome recorded of its run."""
    flow_id: str | None
    sandbox: str | None
    completed_at: int | None
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far a source that is read page by page has been read."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of one draft: `kind` as it was kept, or not kept again because it was there."""

    kind: EntryKind
    is_new: bool


class Checkpoint(NamedTuple):
    """That a state was kept, and which entries it contains."""

    position: int
    """Of the last entry in it."""
    written_at: int
    """Milliseconds since 1970 by the ledger's clock."""


class Ledger(Protocol):
    """Where facts are kept. Blocking methods say so: they belong on a thread of their own."""

    async def append(self, drafts: Sequence[Draft], cursor: Cursor | None = None) -> list[Receipt]:
        """Commit all drafts and the cursor, or none of them; a receipt for each draft, in order.

        On return they are on disk. A draft whose event id or fact key is there already is not kept again: the first
        version of a fact wins. A draft that the database refuses as data is kept as unreadable; the others are not
        held up by it. `received_at` is the ledger's clock, and never less than that of the entry before.

        Raises QueueFullError, CommitTimeoutError (it may yet be committed), LedgerFullError or LedgerUnavailableError
        (it was not).
        """
        ...

    def read(self, after: int, limit: int) -> list[Entry]:
        """Up to `limit` entries above a position, in order; fewer where they are large, but one if there is one.

        Complete: once an entry was read, none will appear below it. Blocking; raises LedgerUnavailableError.
        """
        ...

    def head(self) -> int:
        """The position of the last entry; 0 where there is none. Blocking; raises LedgerUnavailableError."""
        ...

    def cursor(self, name: str) -> str | None:
        """The cursor's last committed value. Blocking; raises LedgerUnavailableError."""
        ...

    def checkpoints(self) -> list[Checkpoint]:
        """The checkpoints that are kept, newest first. Blocking; raises LedgerUnavailableError."""
        ...

    def checkpoint(self, position: int) -> bytes | None:
        """The state of a checkpoint; None where it is no longer kept. Blocking; raises LedgerUnavailableError."""
        ...

    def save_checkpoint(self, position: int, state: bytes, discard: Collection[int] = ()) -> None:
        """Keep a state, and the newest one before it; older ones go, and those of the positions in `discard`.

        On return it is on disk. Blocking; raises LedgerUnavailableError.
        """
        ...

    def prune(self, before: int, up_to: int, limit: int) -> int:
        """Delete up to `limit` of the oldest entries recorded before a time; how many there were.

        Only entries up to a position, and only what the older of two checkpoints contains, are ever deleted. Blocking;
        raises LedgerUnavailableError.
        """
        ...

    def pruned(self) -> int:
        """The position of the last entry that was pruned; 0 where none was. Blocking; raises LedgerUnavailableError."""
        ...

    def now(self) -> int:
        """The ledger's clock: milliseconds since 1970. Blocking; raises LedgerUnavailableError."""
        ...

    def size(self) -> int:
        """Bytes the ledger takes, with what pruning freed for later use. Blocking; raises LedgerUnavailableError."""
        ...

    def close(self) -> None:
        """Commit what waits, then let go of everything. Blocking."""
        ...


def as_unreadable(draft: Draft, digest: str) -> Draft:
    """The draft without anything a database could refuse: its bytes, under their digest."""
    return replace(
        draft,
        kind=EntryKind.UNREADABLE,
        fact_key=digest,
        event_id=None,
        event_code=None,
        flow_id=None,
        run_id=None,
        sandbox=None,
        status=None,
        error_codes=None,
        completed_at=None,
        is_outcome=False,
    )
