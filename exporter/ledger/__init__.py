"""The ledger: all facts, each stored once and durably, in the order in which they were committed.

`Ledger` is the port: it states what every engine guarantees. The engine that there is today stores a ledger in a SQLite
file (`exporter.ledger.sqlite`). One test holds every engine to the guarantees (tests/ledger/test_contract.py).

An engine stores entries and does not interpret them. What makes two notifications the same fact is decided by the key
that a draft carries (`exporter.ledger.fact_keys`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from exporter.errors import LedgerUnavailableError
from exporter.ledger import corrections
from exporter.ledger.fact_keys import body_key
from exporter.model import ClockCorrection, EntryKind, Source

DAMAGED: Final = "damaged"
"""The kind of an entry whose row the database can't read. Such an entry has its position and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An entry that is to be appended."""

    fact_key: str
    """Unique in the ledger: of several drafts with one key the first becomes an entry (`exporter.ledger.fact_keys`)."""
    source: Source
    kind: EntryKind
    body: bytes
    """The event as it was received."""
    former_key: str | None = None
    """The key that an earlier version gave this fact. If the ledger holds it, the fact is not new."""
    event_id: str | None = None
    """Stored for people. It decides nothing: several entries can have the same one."""
    event_code: str | None = None
    flow_id: str | None = None
    run_id: str | None = None
    sandbox: str | None = None
    status: str | None = None
    error_codes: str | None = None
    """Separated by blanks."""
    completed_at: int | None = None
    """When it happened, by Adobe's clock: milliseconds since 1970."""
    updated_at: int | None = None
    """When a run was updated last, by Adobe's clock: milliseconds since 1970. The newest outcome of a run stands."""
    is_outcome: bool = False
    """Whether it is the end of a run. The first entry that ends a run counts."""
    is_provisional: bool = False
    """Whether it ends a run and does not settle how it ended. If another outcome comes later, that one counts as well.

    It counts itself if no other outcome of the run came before.
    """

    def as_unreadable(self) -> "Draft":
        """A draft of the same body without any text that came from outside, for a database that refuses this one."""
        return Draft(fact_key=body_key(self.body), source=self.source, kind=EntryKind.UNREADABLE, body=self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A fact in the ledger."""

    position: int
    received_at: int
    """When it was committed, by the ledger's clock: milliseconds since 1970."""
    source: str
    """The value of a Source, or another word that a newer version of this program wrote."""
    kind: str
    """The value of an EntryKind, another word that a newer version of this program wrote, or DAMAGED."""
    event_code: str | None
    counts: bool
    """Whether it is the first outcome that was recorded of its run, or a provisional one that came before that."""
    flow_id: str | None
    sandbox: str | None
    completed_at: int | None
    """When it happened, by Adobe's clock: milliseconds since 1970."""
    body: bytes

    def correction(self) -> ClockCorrection:
        """What an entry of kind CLOCK says. Raises ValueError if the body holds no correction."""
        return corrections.decode(self.body)


def damaged_entry(position: int) -> Entry:
    """What is left of an entry whose row can't be read."""
    return Entry(
        position=position,
        received_at=0,
        source="",
        kind=DAMAGED,
        event_code=None,
        counts=False,
        flow_id=None,
        sandbox=None,
        completed_at=None,
        body=b"",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far something that is read page by page has been read. Only the SQLite engine uses cursors today."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The result of appending one draft."""

    kind: EntryKind
    """The draft's kind, or UNREADABLE if the database refused the draft and only its body was stored."""
    is_new: bool
    """False if its fact was in the ledger already."""


class Checkpoint(NamedTuple):
    """A stored state of the metrics."""

    position: int
    """The state contains all entries up to this position."""
    written_at: int
    """By the ledger's clock: milliseconds since 1970."""


class KeyPath(NamedTuple):
    """The path of a public key that has verified a delivery."""

    path: str
    last_used_at: int
    """By the ledger's clock: milliseconds since 1970. It may lag behind by a day."""


class Content(NamedTuple):
    """How much a ledger holds."""

    entries: int
    """The number of entries, or a bound above it: a ledger of millions is not counted, because that takes long."""
    is_exact: bool
    """Whether `entries` was counted. The bound comes from the positions, and a duplicate can use one up."""
    bytes_used: int
    """What counts against the ledger's limit: without room that pruning has freed."""


class Followed(Protocol):
    """What is asked of a ledger to follow it: to apply its entries, from a checkpoint on, up to its head.

    All methods block. One that must not write has no use for `save_checkpoint` and `correct_clock`: it raises
    LedgerUnavailableError in the first and returns False in the second.
    """

    def read(self, after: int, limit: int) -> list[Entry]:
        """The entries above a position, in order, at most `limit`. There may be fewer if they are large.

        There is at least one if the ledger holds one. No entry ever appears below an entry that was read. A row that
        is damaged is an entry of kind DAMAGED, so that it does not hide the entries after it. Blocking. Raises
        LedgerUnavailableError.
        """
        ...

    def head(self) -> int:
        """The position of the last entry, or 0 if there is no entry. Blocking. Raises LedgerUnavailableError."""
        ...

    def checkpoints(self) -> list[Checkpoint]:
        """The stored checkpoints, the newest first. Blocking. Raises LedgerUnavailableError."""
        ...

    def checkpoint(self, position: int) -> bytes | None:
        """The state of a checkpoint, or None if it is no longer stored. Blocking. Raises LedgerUnavailableError."""
        ...

    def save_checkpoint(self, position: int, state: bytes, discard: Collection[int] = ()) -> None:
        """Store a checkpoint. Of the others keep the newest that is not at a position in `discard`. Delete the rest.

        When it returns, the state is on disk. Blocking. Raises LedgerUnavailableError.
        """
        ...

    def pruned(self) -> int:
        """The position of the last entry that was pruned, or 0. Blocking. Raises LedgerUnavailableError."""
        ...

    def now(self) -> int:
        """The ledger's clock: milliseconds since 1970. Blocking. Raises LedgerUnavailableError."""
        ...

    def correct_clock(self, position: int, now: int) -> bool:
        """Write an entry that corrects the clock, if one is due. Returns whether it was written.

        It is due where the clock is more than CLOCK_TOLERANCE behind the last time of recording or behind `now`, the
        latest time that the caller has used, and where it has moved by more than that against a monotonic clock. The
        entries that the caller has read up to `position` include no correction of `now`. Of several processes that find
        the same, one writes the entry. Blocking. Raises LedgerUnavailableError if it is due and can't be written.
        """
        ...

    def clock_corrections(self) -> int:
        """The number of corrections of the clock that this object has written."""
        ...

    def size(self) -> int:
        """Bytes on disk, including what pruning has freed for later use. Blocking. Raises LedgerUnavailableError."""
        ...


class Ledger(Followed, Protocol):
    """Stores facts. Methods that are marked as blocking wait for a disk: call them on a thread of their own."""

    @property
    def write_error(self) -> LedgerUnavailableError | None:
        """What kept the ledger from being written when it was opened, or None. It stays when the ledger recovers."""
        ...

    @property
    def location(self) -> str:
        """Where it is, for people: the absolute path of a file. Without a password."""
        ...

    @property
    def was_created(self) -> bool:
        """Whether it did not exist before this object opened it."""
        ...

    def content(self) -> Content:
        """How much it holds. Blocking, and quick. Raises LedgerUnavailableError."""
        ...

    async def append(self, drafts: Sequence[Draft], cursor: Cursor | None = None) -> list[Receipt]:
        """Commit all drafts and the cursor, or none of them. Returns a receipt for each draft, in order.

        When it returns, everything is on disk. A draft whose fact key is in the ledger is not stored again: the first
        version of a fact stays. A draft that the database refuses because of its data is stored as unreadable,
        and the other drafts are stored as they are. `received_at` is the ledger's clock, and not less than that of the
        entry before, unless a correction of the clock stands between them. The correction is written first, where one
        is due (`correct_clock`).

        Raises QueueFullError, LedgerFullError or LedgerUnavailableError if nothing was committed. Raises
        CommitTimeoutError if the commit takes too long: it may still succeed later.
        """
        ...

    async def check_writable(self) -> None:
        """Return if a body of a usual size (64 KiB) can be committed now. Changes no entry and no cursor of others.

        Otherwise it raises what `append` would raise. The check writes, so a disk without space for a notification is
        found.
        """
        ...

    def cursor(self, name: str) -> str | None:
        """The last committed value of a cursor. Blocking. Raises LedgerUnavailableError."""
        ...

    def prune(self, before: int, up_to: int, limit: int) -> int:
        """Delete the oldest entries, at most `limit`, and return how many were deleted.

        Only entries that were recorded before a time, as all entries before them were, that are not above the position
        `up_to`, and that the older of two checkpoints contains are deleted. Blocking. Raises LedgerUnavailableError.
        """
        ...

    def key_paths(self) -> list[KeyPath]:
        """The stored paths of keys, the one that was used last first. Blocking. Raises LedgerUnavailableError."""
        ...

    def save_key_paths(self, used: Collection[KeyPath], dropped: Collection[str] = ()) -> None:
        """Store paths of keys with their times, and delete others.

        Of all that are stored, those that were used last are kept, 64 at most. When it returns, the change is on disk.
        Blocking. Raises LedgerUnavailableError.
        """
        ...

    def newest_event_time(self) -> int | None:
        """The newest time at which anything happened by Adobe's clock, or None if no entry has such a time.

        Milliseconds since 1970. Blocking. Raises LedgerUnavailableError.
        """
        ...

    def close(self) -> None:
        """Commit what was submitted, then release all files and connections. Blocking."""
        ...


def horizon(ledger: Ledger, now: int, retention: int) -> int:
    """The time before which facts can have been deleted, for a ledger that keeps them for `retention` (milliseconds).

    `now` is the ledger's clock. It can be wrong, so a fact is old only if it is also old by the newest time that Adobe
    gave. Blocking. Raises LedgerUnavailableError.
    """
    newest = ledger.newest_event_time()
    return (now if newest is None else min(now, newest)) - retention
