"""The ledger in a SQLite file: WAL, `synchronous=FULL`, one writer, and readers on connections of their own.

Several processes may share the file. SQLite's lock lets one of them write at a time, and positions are assigned under
that lock, so they become visible in order. Entries are stored as they come and are not interpreted.
"""

import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from exporter.errors import LedgerFullError, LedgerUnavailableError
from exporter.ledger import Checkpoint, Cursor, Draft, Entry, Receipt, sqlite_checkpoint
from exporter.ledger.group_commit import DataRefusedError, GroupCommit, Request
from exporter.ledger.sqlite_clock import (
    FIND_NEWEST_EVENT,
    NEWEST_EVENT,
    NewestEvent,
    SqliteClock,
    monotonic_clock,
    wall_clock,
)
from exporter.ledger.sqlite_file import Identity, connect, error_name, identity, open_file
from exporter.ledger.sqlite_insert import insert, insert_new
from exporter.model import Source

_READ_BYTES: Final = 8 * 1024 * 1024
"""A page ends when its bodies have more bytes than this."""
_WRITE_CHECK: Final = "probe"
"""The cursor that `check_writable` writes. Version 0.1.0 chose this name: another one would leave its row behind."""
_WRITE_CHECK_BYTES: Final = 64 * 1024
"""About the size of a notification. On a full disk a few bytes may still fit."""
_READ: Final = """
SELECT position, received_at, source, kind, event_code, counts, flow_id, sandbox, completed_at, body
  FROM entry WHERE position > ? ORDER BY position LIMIT ?
"""

# What SQLite or its Python module raises for a value that can't be stored. Other errors concern the database itself.
_DATA_REFUSED = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeError,
)

_Result = TypeVar("_Result")


class SqliteLedger:
    """A ledger in a file. The port, `exporter.ledger.Ledger`, states what each method guarantees."""

    def __init__(
        self,
        path: Path,
        clock: Callable[[], int] = wall_clock,
        *,
        monotonic: Callable[[], int] | None = None,
        max_size: int | None = None,
    ) -> None:
        """Open the file, or create it. Raises LedgerUnusableError, or LedgerUnavailableError while it is locked.

        `clock` and `monotonic` count milliseconds. With a clock of its own and no monotonic one, a ledger does not look
        for steps between the two. `max_size`: bytes above which nothing is appended.
        """
        self._max_size = max_size
        self._path = path
        self._clock = SqliteClock(clock, monotonic_clock if clock is wall_clock and monotonic is None else monotonic)
        self._newest_event = NewestEvent()
        self._readers = threading.local()
        self._open_readers: list[sqlite3.Connection] = []
        self._log_path = path.with_name(path.name + "-wal")
        self._writer = open_file(path)
        self._files, self._seen_size = self._look()
        self._group = GroupCommit(self._commit, self._commit_piecewise)

    async def append(self, drafts: Sequence[Draft], cursor: Cursor | None = None) -> list[Receipt]:
        """Commit all drafts and the cursor, or none of them."""
        return await self._group.submit(drafts, cursor)

    async def check_writable(self) -> None:
        """Commit 64 KiB to a row that serves nothing else, by the way that an append takes."""
        # The time makes the value a new one, so that the pages of the row are written.
        value = str(self._clock.wall()).ljust(_WRITE_CHECK_BYTES)
        await self._group.submit([], Cursor(name=_WRITE_CHECK, value=value))

    def read(self, after: int, limit: int) -> list[Entry]:
        """The entries above a position, in order, at most `limit`."""
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
        """The position of the last entry, or 0 if there is no entry."""
        self._check_file()
        return int(self._query("SELECT coalesce(max(position), 0) FROM entry", ())[0][0])

    def cursor(self, name: str) -> str | None:
        """The last committed value of a cursor."""
        rows = self._query("SELECT value FROM cursor WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None

    def checkpoints(self) -> list[Checkpoint]:
        """The stored checkpoints, the newest first."""
        return [Checkpoint(*row) for row in self._query(sqlite_checkpoint.LIST, ())]

    def checkpoint(self, position: int) -> bytes | None:
        """The state of a checkpoint, or None if it is no longer stored."""
        rows = self._query(sqlite_checkpoint.STATE, (position,))
        return bytes(rows[0][0]) if rows else None

    def save_checkpoint(self, position: int, state: bytes, discard: Collection[int] = ()) -> None:
        """Store a checkpoint and delete all others but one."""
        self._run_between_commits(
            lambda writer: sqlite_checkpoint.save(writer, position, self._clock.wall(), state, discard)
        )

    def prune(self, before: int, up_to: int, limit: int) -> int:
        """Delete the oldest entries, at most `limit`."""
        return self._run_between_commits(lambda writer: sqlite_checkpoint.prune(writer, before, up_to, limit))

    def pruned(self) -> int:
        """The position of the last entry that was pruned, or 0."""
        return int(self.cursor(sqlite_checkpoint.PRUNED) or 0)

    def now(self) -> int:
        """This host's clock: milliseconds since 1970."""
        return self._clock.wall()

    def correct_clock(self, position: int, now: int) -> bool:
        """Write a correction if the clock was wrong."""
        self._clock.use(position, now)
        if self._clock.is_right():
            return False
        moment = self._run_between_commits(self._clock.begin)
        self._clock.finish(moment)
        return moment.correction is not None

    def clock_corrections(self) -> int:
        """The number of corrections that this process has written."""
        return self._clock.corrections

    def newest_event_time(self) -> int | None:
        """The newest time that Adobe gave."""
        stored = self.cursor(NEWEST_EVENT)
        found = int(stored) if stored else self._query(FIND_NEWEST_EVENT, ())[0][0]
        return int(found) if found else None

    def size(self) -> int:
        """Bytes of the database and of its write-ahead log."""
        try:
            return self._path.stat().st_size + (self._log_path.stat().st_size if self._log_path.exists() else 0)
        except OSError:
            raise LedgerUnavailableError("the ledger's file can't be found") from None

    def close(self) -> None:
        """Commit what was submitted, then close the file."""
        self._group.close()
        for reader in self._open_readers:
            reader.close()
        self._writer.close()

    def _run_between_commits(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Run some work in a transaction of its own, between two commits, and return its result."""

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

    # A row is a bare tuple because the types of its values depend on the statement.
    def _query(self, sql: str, parameters: tuple[object, ...]) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._reader().execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: sqlite3.Error) -> LedgerUnavailableError:
        return LedgerUnavailableError(f"the ledger can't be used now: {error_name(error)}")

    def _reader(self) -> sqlite3.Connection:
        """The connection of this thread, opened when it is first used."""
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
            moment = self._clock.begin(connection)
            drafts = [draft for request in requests for draft in request.drafts]
            inserted = iter(insert_all(drafts, moment.received_at))
            receipts = [list(islice(inserted, len(request.drafts))) for request in requests]
            for request in requests:
                if request.cursor is not None:
                    connection.execute(sqlite_checkpoint.SET_CURSOR, (request.cursor.name, request.cursor.value))
            newest = self._newest_event.store(connection, drafts)
            connection.execute("COMMIT")
        except BaseException as error:
            # After any error the next transaction must be able to begin.
            self._roll_back()
            if isinstance(error, _DATA_REFUSED):
                raise DataRefusedError from error
            if isinstance(error, sqlite3.Error):
                raise self._unavailable(error) from error
            raise
        self._clock.finish(moment)
        self._newest_event.finish(newest)
        return receipts

    def _freed(self) -> int:
        """Bytes of the file that pruning has freed. SQLite uses them again before the file grows."""
        try:
            pages = self._writer.execute("PRAGMA freelist_count").fetchone()[0]
            return int(pages * self._writer.execute("PRAGMA page_size").fetchone()[0])
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def _check_file(self) -> None:
        """Raise LedgerUnavailableError if the file was moved, deleted or truncated since it was opened.

        SQLite would go on writing into a file that was moved, and the next start would not find what was written.
        """
        # Read before the file is looked at. Otherwise another thread could store a larger size in between, and the file
        # would seem to be truncated.
        seen = self._seen_size
        files, size = self._look()
        if files != self._files:
            raise LedgerUnavailableError("the ledger's file was moved or deleted: put it back, or start again")
        if size < seen:
            raise LedgerUnavailableError("the ledger's file was cut off: put a copy from a backup in its place")
        self._seen_size = size

    def _look(self) -> tuple[tuple[Identity, Identity], int]:
        """Which files have the ledger's names now, and how many bytes the database has."""
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
            # In SQLite a statement that fails changes nothing, and its transaction goes on.
            return self._insert(draft.as_unreadable(), received_at)
