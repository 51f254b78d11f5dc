"""Read-only connections to a SQLite ledger, beside whoever writes it, in this process or in another one.

Nothing is created or changed. SQLite alone would create the write-ahead log and its index if it opened a ledger that
nobody uses. So such a ledger is opened as an immutable file, for one question, and the answer holds if the files are
the same afterwards.

Each question has a connection of its own and one transaction, so its parts are of one moment. The time is looked at
before each statement, and within one after each number of SQLite's steps. A question whose time is over ends.

Weak point: closing an immutable file releases all locks that this process has on it. So a process that opens a ledger
to write asks questions only while the ledger is open, when its log is there, and closes the questions first. A
connection that is left open keeps SQLite from emptying the log when the ledger is closed.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from exporter.errors import LedgerUnavailableError, LedgerUnusableError, QueryTimeoutError
from exporter.ledger.sqlite_file import APPLICATION_ID, Access, companions, connect, explain, missing, newest_schema

_STEPS: Final = 50_000
"""Steps of SQLite's machine between two looks at the clock: a millisecond or so."""
_ATTEMPTS: Final = 20
_PAUSE: Final = 0.05
"""Seconds between two attempts while another process opens or closes the ledger."""

Parameters = Sequence[int | str | None] | Mapping[str, int | str | None]
_Answer = TypeVar("_Answer")
_Question = Callable[["Reader"], _Answer]
_File = tuple[int, int, int, int]


class Reader:
    """A connection while a question is asked."""

    def __init__(self, connection: sqlite3.Connection, seconds: float, deadline: float) -> None:
        """`seconds` are for the message of the error, `deadline` is by the monotonic clock."""
        self._connection = connection
        self._seconds = seconds
        self._deadline = deadline

    def execute(self, statement: str, parameters: Parameters = ()) -> sqlite3.Cursor:
        """Run a statement. Raises sqlite3.Error, or QueryTimeoutError if the time is over."""
        if self.is_late():
            raise self.timeout()
        return self._connection.execute(statement, parameters)

    def is_late(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self._deadline

    def timeout(self) -> QueryTimeoutError:
        """The error that says so."""
        return QueryTimeoutError(
            f"the ledger did not answer within {self._seconds:g} s: ask for fewer runs, a shorter time or one flow"
        )


class _Files(NamedTuple):
    """What is on the disk: device, inode, size and time of change of each file, or None if there is none."""

    database: _File | None
    log: _File | None
    shared: _File | None
    """SQLite's index of the log, which its processes share."""

    @property
    def are_in_use(self) -> bool:
        """Whether SQLite can open them without creating any."""
        return self.log is not None and self.shared is not None

    @property
    def are_whole(self) -> bool:
        """Whether all entries are in the database, or in a log that can be read."""
        return self.are_in_use or self.log is None or self.log[2] == 0

    @property
    def identity(self) -> tuple[tuple[int, int] | None, ...]:
        """Which files they are, whatever they hold."""
        return tuple(file and file[:2] for file in self)


class ReadOnlyFile:
    """Asks questions of a ledger's file."""

    def __init__(self, path: Path, seconds: float, *, shows_damage: bool = True) -> None:
        """Nothing is opened before the first question. `seconds`: how long one may take.

        `shows_damage`: whether a damaged text is shown as far as it can be read. If not, it raises sqlite3.Error, as it
        does where the ledger is written.
        """
        self._path = path
        self._seconds = seconds
        self._shows_damage = shows_damage
        self._idle: list[tuple[tuple[tuple[int, int] | None, ...], sqlite3.Connection]] = []
        self._lock = threading.Lock()

    def ask(self, question: _Question[_Answer]) -> _Answer:
        """The answer of a function to which a reader is given, in a transaction of its own.

        It must have read all that it returns. Raises what `exporter.ledger.queries.Queries` names.
        """
        deadline = time.monotonic() + self._seconds
        for _ in range(_ATTEMPTS):
            files = self._files()
            if files.are_in_use:
                return self._ask_shared(question, files, deadline)
            try:
                answer = self._ask_alone(question, deadline) if files.are_whole else None
            except (QueryTimeoutError, LedgerUnusableError):
                raise
            except LedgerUnavailableError:
                if files == self._files():
                    raise
            else:
                if answer is not None and files == self._files():
                    return answer[0]
            if time.monotonic() > deadline:
                break
            time.sleep(_PAUSE)
        if files.are_whole:
            raise LedgerUnavailableError("the ledger is being opened or closed by another process: try again")
        raise LedgerUnavailableError(
            f"the newest entries are in {self._path.name}-wal, and {self._path.name}-shm is missing: start the exporter"
        )

    def close(self) -> None:
        """Close the connections that are not in use."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _files(self) -> _Files:
        """What is on the disk. Raises LedgerMissingError, or LedgerUnusableError if it may not be looked at."""
        try:
            files = _Files(*map(_look_at, (self._path, *companions(self._path))))
        except OSError as error:
            raise LedgerUnusableError(f"{self._path} can't be read ({error.strerror}): give its user access") from error
        if files.database is None or not files.database[2]:
            raise missing(self._path)
        return files

    def _ask_alone(self, question: _Question[_Answer], deadline: float) -> tuple[_Answer]:
        """The answer of a ledger that nobody has open."""
        connection = self._open(Access.IMMUTABLE, deadline)
        try:
            return (self._ask(connection, question, deadline),)
        finally:
            connection.close()

    def _ask_shared(self, question: _Question[_Answer], files: _Files, deadline: float) -> _Answer:
        """The answer of a ledger that has a log. The connection is kept for later questions."""
        connection = self._take(files) or self._open(Access.READ, deadline)
        try:
            answer = self._ask(connection, question, deadline)
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._idle.append((files.identity, connection))
        return answer

    def _take(self, files: _Files) -> sqlite3.Connection | None:
        """An idle connection to these files. Those to files that were replaced are closed."""
        with self._lock:
            kept = [each for each in self._idle if each[0] == files.identity]
            dropped = [each for each in self._idle if each[0] != files.identity]
            taken = kept.pop()[1] if kept else None
            self._idle = kept
        for _, connection in dropped:
            connection.close()
        return taken

    def _open(self, access: Access, deadline: float) -> sqlite3.Connection:
        """A new connection to a ledger with the newest schema."""
        try:
            connection = connect(self._path, access)
        except sqlite3.Error as error:
            raise explain(error) from error
        try:
            if self._shows_damage:
                connection.text_factory = _decode
            self._ask(connection, self._check_schema, deadline)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_schema(self, reader: Reader) -> None:
        try:
            owner = reader.execute("PRAGMA application_id").fetchone()[0]
            schema = reader.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorname", "") == "SQLITE_NOTADB":
                raise LedgerUnusableError(f"{self._path} is not a ledger: give --ledger.url another path") from error
            raise
        newest = newest_schema()
        if owner != APPLICATION_ID:
            raise LedgerUnusableError(f"{self._path} is another program's database: give --ledger.url another path")
        if schema > newest:
            raise LedgerUnusableError(
                f"{self._path} was written by a newer version (schema {schema}, this one supports {newest}): upgrade"
            )
        if schema < newest:
            raise LedgerUnusableError(
                f"{self._path} was written by an earlier version (schema {schema}, this one reads {newest}): start the "
                "exporter of this version on it once"
            )

    def _ask(self, connection: sqlite3.Connection, question: _Question[_Answer], deadline: float) -> _Answer:
        reader = Reader(connection, self._seconds, deadline)
        connection.set_progress_handler(reader.is_late, _STEPS)
        try:
            connection.execute("BEGIN")
            answer = question(reader)
            connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
                raise reader.timeout() from error
            raise explain(error) from error
        return answer


def _decode(text: bytes) -> str:
    return text.decode(errors="replace")


def _look_at(path: Path) -> _File | None:
    """Looks at the name alone: opening and closing a file would release SQLite's locks in this process."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
