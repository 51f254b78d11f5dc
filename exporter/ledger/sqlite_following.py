"""Follows a SQLite ledger without writing to it, beside whoever does.

`exporter.follower` follows a ledger that it may write to. A command that only looks reads the same entries and
checkpoints here, in one transaction, so that what it reads is of one moment.
"""

import sqlite3
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from exporter.errors import LedgerUnavailableError, QueryTimeoutError
from exporter.ledger import Checkpoint, Entry, Followed, sqlite_checkpoint, sqlite_entries
from exporter.ledger.sqlite_clock import wall_clock
from exporter.ledger.sqlite_file import explain
from exporter.ledger.sqlite_reading import Parameters, Reader, ReadOnlyFile

_Answer = TypeVar("_Answer")


def follow(path: Path, seconds: float, use: Callable[[Followed], _Answer]) -> _Answer:
    """Call `use` with a ledger, and return its result. It can be called again if the ledger is opened meanwhile.

    `seconds`: how long that may take. Raises LedgerUnavailableError, also if it takes longer, LedgerMissingError or
    LedgerUnusableError, and what `use` raises.
    """
    # A damaged entry must be one here as well, or the state would be another one than on /metrics.
    file = ReadOnlyFile(path, seconds, shows_damage=False)
    try:
        return file.ask(lambda reader: use(_ReadOnlyLedger(reader, path)))
    except QueryTimeoutError as error:
        raise _timeout() from error
    finally:
        file.close()


def _timeout() -> LedgerUnavailableError:
    # A follower passes this error on. Any other one is a defect for it, which it logs with a traceback.
    return LedgerUnavailableError(
        "reading the ledger from its last checkpoint on takes too long: start the exporter on it, which saves another"
    )


class _ReadOnlyLedger:
    """A ledger within one read transaction. The port, `Followed`, states what each method guarantees."""

    def __init__(self, reader: Reader, path: Path) -> None:
        self._reader = reader
        self._path = path

    def read(self, after: int, limit: int) -> list[Entry]:
        """The entries above a position, in order, at most `limit`."""
        try:
            return sqlite_entries.read(self._execute, after, limit)
        except sqlite3.Error as error:
            raise self._error(error) from error

    def head(self) -> int:
        """The position of the last entry, or 0 if there is no entry."""
        return int(self._query("SELECT coalesce(max(position), 0) FROM entry")[0][0])

    def checkpoints(self) -> list[Checkpoint]:
        """The stored checkpoints, the newest first."""
        return [Checkpoint(*row) for row in self._query(sqlite_checkpoint.LIST)]

    def checkpoint(self, position: int) -> bytes | None:
        """The state of a checkpoint, or None if it is not stored."""
        rows = self._query(sqlite_checkpoint.STATE, (position,))
        return bytes(rows[0][0]) if rows else None

    # The arguments below are those of the port.
    def save_checkpoint(self, position: int, state: bytes, discard: Collection[int] = ()) -> None:  # noqa: ARG002
        """Raise LedgerUnavailableError."""
        raise LedgerUnavailableError("this ledger is open for reading only")

    def pruned(self) -> int:
        """The position of the last entry that was pruned, or 0."""
        rows = self._query(sqlite_checkpoint.GET_CURSOR, (sqlite_checkpoint.PRUNED,))
        return int(rows[0][0]) if rows else 0

    def now(self) -> int:
        """This host's clock: milliseconds since 1970."""
        return wall_clock()

    def correct_clock(self, position: int, now: int) -> bool:  # noqa: ARG002
        """Return False. The process that writes corrects the clock."""
        return False

    def clock_corrections(self) -> int:
        """Return 0."""
        return 0

    def size(self) -> int:
        """Bytes of the database, without its write-ahead log."""
        try:
            return self._path.stat().st_size
        except OSError:
            raise LedgerUnavailableError("the ledger's file can't be found") from None

    # A row is a bare tuple because the types of its values depend on the statement.
    def _query(self, statement: str, parameters: Parameters = ()) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._error(error) from error

    def _execute(self, statement: str, parameters: Parameters) -> sqlite3.Cursor:
        if self._reader.is_late():
            raise _timeout()
        return self._reader.execute(statement, parameters)

    def _error(self, error: sqlite3.Error) -> LedgerUnavailableError:
        """The error to raise for one of SQLite's, which ends a statement whose time is over."""
        return _timeout() if self._reader.is_late() else explain(error)
