"""The ledger in a SQLite file: WAL, `synchronous=FULL`, one writer, readers on connections of their own.

Several processes may share the file: writers take turns by SQLite's own lock, and positions are given out under it, so
they become visible in order. Knows nothing of what an entry means.
"""

import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from exporter.errors import LedgerFullError, LedgerUnavailableError
from exporter.ledger import Checkpoint, Cursor, Draft, Entry, Receipt, as_unreadable, sqlite_checkpoint
from exporter.ledger.group_commit import DataRefusedError, GroupCommit, Request
from exporter.ledger.sqlite_file import Identity, connect, identity, open_file, trouble
from exporter.ledger.sqlite_insert import insert, insert_new
from exporter.model import Source

_READ_BYTES: Final = 8 * 1024 * 1024
"""Bytes of bodies after which a page ends."""
_LAST_RECEIVED: Final = "SELECT received_at FROM entry ORDER BY position DESC LIMIT 1"
_READ: Final = """
SELECT position, received_at, source, kind, event_code, counts, flow_id, sandbox, completed_at, body
  FROM entry WHERE position > ? ORDER BY position LIMIT ?
"""

# What SQLite or its binding says of a value it can't take; everything else is the database's own trouble.
_DATA_REFUSED = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeError,
)

_Result = TypeVar("_Result")


def wall_clock() -> int:
    """This host's clock: milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class SqliteLedger:
    """A ledger in a file (see the port, exporter.ledger.Ledger, for what each method promises)."""

    def __init__(self, path: Path, clock: Callable[[], int] = wall_clock, *, max_size: int | None = None) -> None:
        """Open the file, made new where there is none; raises LedgerUnusableError.

        `max_size`: bytes above which nothing is appended.
        """
        self._max_size = max_size
        self._path = path
        self._clock = clock
        self._readers = threading.local()
        self._open_readers: list[sqlite3.Connection] = []
        self._log_path = path.with_name(path.name + "-wal")
        self._writer = open_file(path)
        self._files, self._seen_size = self._look()
        self._group = GroupCommit(self._commit, self._commit_piecewise)

    async def append(self, drafts: Sequence[Draft], cursor: Cursor | None = None) -> list[Receipt]:
        """Commit all drafts and the cursor, or none of them."""
        return await self._group.submit(drafts, cursor)

    def read(self, after: int, limit: int) -> list[Entry]:
        """Up to `limit` entries above a position, in order."""
        entries: list[Entry] = []
        size = 0
        try:
            rows = self._reader().execute(_READ, (after, limit))
            for position, received_at, source, kind, event_code, counts, flow_id, sandbox, completed_at, body in rows:
                entries.append(
                    Entry(
                        position=position,
                        received_at=received_at,
                        source=Source(source),
                        kind=kind,
                        event_code=event_code,
                        counts=bool(counts),
                        flow_id=flow_id,
                        sandbox=sandbox,
                        completed_at=completed_at,
                        body=body,
                    )
                )
                size += len(body)
                if size > _READ_BYTES:
                    break
            rows.close()
        except sqlite3.Error as error:
            raise self._unavailable(error) from error
        return entries

    def head(self) -> int:
        """The position of the last entry."""
        self._check_file()
        return int(self._query("SELECT coalesce(max(position), 0) FROM entry", ())[0][0])

    def cursor(self, name: str) -> str | None:
        """The cursor's last committed value."""
        rows = self._query("SELECT value FROM cursor WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None

    def checkpoints(self) -> list[Checkpoint]:
        """The checkpoints that are kept, newest first."""
        return [Checkpoint(*row) for row in self._query(sqlite_checkpoint.LIST, ())]

    def checkpoint(self, position: int) -> bytes | None:
        """The state of a checkpoint."""
        rows = self._query(sqlite_checkpoint.STATE, (position,))
        return bytes(rows[0][0]) if rows else None

    def save_checkpoint(self, position: int, state: bytes, discard: Collection[int] = ()) -> None:
        """Keep a state, and the newest one before it."""
        self._run_between_commits(
            lambda writer: sqlite_checkpoint.save(writer, position, self._clock(), state, discard)
        )

    def prune(self, before: int, up_to: int, limit: int) -> int:
        """Delete up to `limit` of the oldest entries recorded before a time."""
        return self._run_between_commits(lambda writer: sqlite_checkpoint.prune(writer, before, up_to, limit))

    def pruned(self) -> int:
        """The position of the last entry that was pruned."""
        return int(self.cursor(sqlite_checkpoint.PRUNED) or 0)

    def now(self) -> int:
        """This host's clock."""
        return self._clock()

    def size(self) -> int:
        """Bytes of the database and of its write-ahead log."""
        try:
            return self._path.stat().st_size + (self._log_path.stat().st_size if self._log_path.exists() else 0)
        except OSError:
            raise LedgerUnavailableError("the ledger's file can't be seen") from None

    def close(self) -> None:
        """Commit what waits, then let go of the file."""
        self._group.close()
        for reader in self._open_readers:
            reader.close()
        self._writer.close()

    def _run_between_commits(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Do something in a transaction of its own, between two commits."""

        def transaction() -> _Result:
            self._check_file()
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                result = work(self._writer)
                self._writer.execute("COMMIT")
            except BaseException as error:
                self._roll_back()
                if isinstance(error, sqlite3.Error):
                    raise self._unavailable(error) from error
                raise
            return result

        return self._group.run_between_commits(transaction)

    # Any, because a row of SQLite holds what its columns hold.
    def _query(self, sql: str, parameters: tuple[object, ...]) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._reader().execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: sqlite3.Error) -> LedgerUnavailableError:
        return LedgerUnavailableError(f"the ledger can't be used now: {trouble(error)}")

    def _reader(self) -> sqlite3.Connection:
        """This thread's connection."""
        reader: sqlite3.Connection | None = getattr(self._readers, "connection", None)
        if reader is None:
            reader = connect(self._path)
            reader.execute("PRAGMA query_only = ON")
            self._readers.connection = reader
            self._open_readers.append(reader)
        return reader

    def _commit(self, requests: Sequence[Request]) -> list[list[Receipt]]:
        return self._transaction(requests, self._insert_all)

    def _commit_piecewise(self, requests: Sequence[Request]) -> list[list[Receipt]]:
        return self._transaction(requests, self._insert_or_isolate_each)

    def _transaction(
        self, requests: Sequence[Request], insert_all: Callable[[Sequence[Draft], int], list[Receipt]]
    ) -> list[list[Receipt]]:
        connection = self._writer
        self._check_file()
        if self._max_size is not None and self.size() - self._freed() >= self._max_size:
            raise LedgerFullError("the ledger has reached --ledger.max-size: raise it, or keep runs for less long")
        try:
            connection.execute("BEGIN IMMEDIATE")
            last = connection.execute(_LAST_RECEIVED).fetchone()
            received_at = max(self._clock(), last[0] if last else 0)
            inserted = iter(insert_all([draft for request in requests for draft in request.drafts], received_at))
            receipts = [list(islice(inserted, len(request.drafts))) for request in requests]
            for request in requests:
                if request.cursor is not None:
                    connection.execute(sqlite_checkpoint.SET_CURSOR, (request.cursor.name, request.cursor.value))
            connection.execute("COMMIT")
        except BaseException as error:
            # Whatever it is, the next transaction must be able to begin.
            self._roll_back()
            if isinstance(error, _DATA_REFUSED):
                raise DataRefusedError from error
            if isinstance(error, sqlite3.Error):
                raise self._unavailable(error) from error
            raise
        return receipts

    def _freed(self) -> int:
        """Bytes of the file that pruning has freed, and that are used again before it grows."""
        try:
            pages = self._writer.execute("PRAGMA freelist_count").fetchone()[0]
            return int(pages * self._writer.execute("PRAGMA page_size").fetchone()[0])
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def _check_file(self) -> None:
        """A file that was moved away would take everything with it at the next start."""
        # Read before the file is looked at: another thread may see it grow in between, and that is no cut.
        seen = self._seen_size
        files, size = self._look()
        if files != self._files:
            raise LedgerUnavailableError("the ledger's file was moved or deleted: put it back, or start again")
        if size < seen:
            raise LedgerUnavailableError("the ledger's file was cut off: put a copy from a backup in its place")
        self._seen_size = size

    def _look(self) -> tuple[tuple[Identity, Identity], int]:
        """Which files the ledger is in now, and the database's bytes."""
        database, size = identity(self._path)
        log, _ = identity(self._log_path)
        return (database, log), size

    def _roll_back(self) -> None:
        if self._writer.in_transaction:
            try:
                self._writer.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise self._unavailable(error) from error

    def _insert_all(self, drafts: Sequence[Draft], received_at: int) -> list[Receipt]:
        if len(drafts) > 1 and insert_new(self._writer, drafts, received_at):
            return [Receipt(kind=draft.kind, is_new=True) for draft in drafts]
        return [self._insert(draft, received_at) for draft in drafts]

    def _insert_or_isolate_each(self, drafts: Sequence[Draft], received_at: int) -> list[Receipt]:
        return [self._insert_or_isolate(draft, received_at) for draft in drafts]

    def _insert(self, draft: Draft, received_at: int) -> Receipt:
        return Receipt(kind=draft.kind, is_new=insert(self._writer, draft, received_at))

    def _insert_or_isolate(self, draft: Draft, received_at: int) -> Receipt:
        try:
            return self._insert(draft, received_at)
        except _DATA_REFUSED:
            # A statement that fails leaves nothing behind in SQLite; the transaction goes on.
            digest = "sha256:" + hashlib.sha256(draft.body).hexdigest()
            return self._insert(as_unreadable(draft, digest), received_at)
