"""The ledger in a SQLite file: WAL, `synchronous=FULL`, one writer, and readers on connections of their own.

Several processes may share the file. SQLite's lock lets one of them write at a time, and positions are assigned under
that lock, so they become visible in order. Entries are stored as they come and are not interpreted.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from exporter.errors import LedgerFullError, LedgerUnavailableError
from exporter.ledger import (
    Checkpoint,
    Content,
    Cursor,
    Draft,
    Entry,
    KeyPath,
    Receipt,
    sqlite_checkpoint,
    sqlite_deliveries,
    sqlite_entries,
    sqlite_key_paths,
)
from exporter.ledger.group_commit import DataRefusedError, GroupCommit, Request
from exporter.ledger.sqlite_clock import (
    FIND_NEWEST_EVENT,
    NEWEST_EVENT,
    NewestEvent,
    SqliteClock,
    monotonic_clock,
    wall_clock,
)
from exporter.ledger.sqlite_file import (
    choose_cookie,
    companions,
    connect,
    explain,
    open_file,
    truncate_log,
)
from exporter.ledger.sqlite_guard import Guard, abandon
from exporter.ledger.sqlite_insert import insert, insert_new
from exporter.ledger.sqlite_log import stamp

_MIN_LOG: Final = 64 * 1024 * 1024
"""Bytes of the log that a small `--ledger.max-size` allows while a reader keeps it from being emptied."""
_WRITE_CHECK: Final = "probe"
"""The cursor that `check_writable` writes. Version 0.1.0 chose this name: another one would leave its row behind."""
_WRITE_CHECK_BYTES: Final = 64 * 1024
"""About the size of a notification. On a full disk a few bytes may still fit."""
_COUNT_UP_TO: Final = 100_000
"""Entries that are counted in a few milliseconds, from an index of some megabytes."""
_COUNT: Final = "SELECT count(*) FROM (SELECT 1 FROM entry LIMIT ?)"
_SPAN: Final = "SELECT (SELECT max(position) FROM entry) - (SELECT min(position) FROM entry) + 1"
_USED: Final = """
SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size
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


def _is_missing_or_empty(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except OSError:
        return True


class SqliteLedger:
    """A ledger in a file. The port, `exporter.ledger.Ledger`, states what each method guarantees."""

    def __init__(
        self,
        path: Path,
        clock: Callable[[], int] = wall_clock,
        *,
        monotonic: Callable[[], int] | None = None,
        max_size: int | None = None,
        create: bool = True,
    ) -> None:
        """Open the file, or create it. Raises LedgerUnusableError, or LedgerUnavailableError while it is locked.

        `create`: if false, a file that does not exist is not created, and LedgerMissingError is raised.
        `clock` and `monotonic` count milliseconds. With a clock of its own and no monotonic one, a ledger does not look
        for steps between the two. `max_size`: bytes above which nothing is appended.
        """
        self._max_size = max_size
        self._path = path
        self._clock = SqliteClock(clock, monotonic_clock if clock is wall_clock and monotonic is None else monotonic)
        self._newest_event = NewestEvent()
        self._readers = threading.local()
        self._open_readers: list[sqlite3.Connection] = []
        self._log_path, index_path = companions(path)
        self._was_created = _is_missing_or_empty(path)
        self._writer, disk_error = open_file(path, create=create)
        try:
            self._guard = Guard(path, self._log_path, index_path)
        except LedgerUnavailableError:
            abandon(self._writer)
            raise
        self._has_lineage = disk_error is None
        """Whether the database has the stamp of this use. If not, the next transactions see to it."""
        self._write_error = None if disk_error is None else self._unavailable(disk_error)
        self._is_closed = False
        self._group = GroupCommit(self._commit, self._commit_piecewise)

    @property
    def write_error(self) -> LedgerUnavailableError | None:
        """What kept the ledger from being written when it was opened."""
        return self._write_error

    @property
    def location(self) -> str:
        """The absolute path of the file."""
        return str(self._path.absolute())

    @property
    def was_created(self) -> bool:
        """Whether there was no file, or an empty one."""
        return self._was_created

    def content(self) -> Content:
        """How much it holds."""
        used = int(self._query(_USED, ())[0][0])
        counted = int(self._query(_COUNT, (_COUNT_UP_TO + 1,))[0][0])
        if counted <= _COUNT_UP_TO:
            return Content(counted, is_exact=True, bytes_used=used)
        return Content(int(self._query(_SPAN, ())[0][0]), is_exact=False, bytes_used=used)

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
        try:
            return sqlite_entries.read(self._reader().execute, after, limit)
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def head(self) -> int:
        """The position of the last entry, or 0 if there is no entry."""
        self._guard.check()
        return int(self._query("SELECT coalesce(max(position), 0) FROM entry", ())[0][0])

    def cursor(self, name: str) -> str | None:
        """The last committed value of a cursor."""
        rows = self._query(sqlite_checkpoint.GET_CURSOR, (name,))
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

    def key_paths(self) -> list[KeyPath]:
        """The stored paths of keys, the one that was used last first."""
        return [KeyPath(*row) for row in self._query(sqlite_key_paths.LIST, ())]

    def save_key_paths(self, used: Collection[KeyPath], dropped: Collection[str] = ()) -> None:
        """Store paths of keys with their times, and delete others."""
        self._run_between_commits(lambda writer: sqlite_key_paths.save(writer, used, dropped))

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
        """Commit what was submitted, then close the files. Files that were damaged are left as they are."""
        self._group.close()
        connections = [*self._open_readers, self._writer]
        if not self._is_closed and self._guard.is_damaged:
            for connection in connections:
                abandon(connection)
            return
        for connection in connections:
            connection.close()
        self._guard.close()
        self._is_closed = True

    def _run_between_commits(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Run some work in a transaction of its own, between two commits, and return its result."""

        def transaction() -> _Result:
            try:
                self._begin()
                result = work(self._writer)
                self._end()
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
        """The error to raise for one of SQLite's. If the files were damaged, it says that."""
        try:
            self._guard.check()
        except LedgerUnavailableError as damage:
            return damage
        return explain(error)

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
        if self._max_size is not None:
            self._make_room(self._max_size)
        try:
            self._begin()
            moment = self._clock.begin(connection)
            drafts = [draft for request in requests for draft in request.drafts]
            inserted = iter(insert_all(drafts, moment.received_at))
            receipts = [list(islice(inserted, len(request.drafts))) for request in requests]
            for request in requests:
                if request.cursor is not None:
                    connection.execute(sqlite_checkpoint.SET_CURSOR, (request.cursor.name, request.cursor.value))
            sqlite_deliveries.store(connection, drafts, moment.received_at)
            newest = self._newest_event.store(connection, drafts)
            self._end()
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
        if self._max_size is not None and self.size() >= self._max_size:
            # What was committed stays so, whether the log can be emptied or not.
            with contextlib.suppress(sqlite3.Error):
                truncate_log(self._writer)
        return receipts

    def _begin(self) -> None:
        """Begin a transaction of the writer, in files that are whole."""
        self._writer.execute("BEGIN IMMEDIATE")
        self._guard.before_commit()
        if not self._has_lineage:
            choose_cookie(self._writer)

    def _end(self) -> None:
        """Commit the writer's transaction. Raises LedgerUnavailableError if it is not on the disk then."""
        stamp(self._writer)
        self._writer.execute("COMMIT")
        self._guard.after_commit()
        if not self._has_lineage:
            # What was committed stays so. While the log can't be emptied, each commit tries it again.
            with contextlib.suppress(sqlite3.Error):
                self._has_lineage = truncate_log(self._writer)

    def _make_room(self, max_size: int) -> None:
        """Raise LedgerFullError if the ledger has reached its size. First the log is emptied if that is enough.

        The log does not count as such: it holds many versions of a page, and one of them remains. A reader, such as a
        backup, keeps the log from being emptied. Meanwhile it may become as large as the ledger.
        """
        # SQLite must not empty the log of a database that is not its own.
        self._guard.check()
        try:
            if self._used() >= max_size:
                raise LedgerFullError("the ledger has reached --ledger.max-size: raise it, or keep runs for less long")
            if self.size() < max_size or truncate_log(self._writer):
                return
        except sqlite3.Error as error:
            raise self._unavailable(error) from error
        if self._log_path.stat().st_size >= max(max_size, _MIN_LOG):
            raise LedgerFullError(
                f"a program that reads the ledger keeps {self._log_path.name} from being emptied, and it has reached "
                "--ledger.max-size: wait for the backup, or end that program"
            )

    def _used(self) -> int:
        """Bytes of the database once the log is in it, without what pruning has freed and SQLite uses again."""
        return int(self._writer.execute(_USED).fetchone()[0])

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
