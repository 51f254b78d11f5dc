"""A ledger's SQLite file: made, opened, brought up to date, told from other programs' files.

The rule: a file that is not ours, or not whole, is left as it is, byte for byte; the schema is brought up to date by
numbered scripts, each in a transaction with its number.
"""

import os
import sqlite3
from importlib import resources
from pathlib import Path
from typing import Final
from urllib.parse import quote

from exporter.errors import LedgerUnavailableError, LedgerUnusableError

APPLICATION_ID: Final = 0x41455046
"""Marks the file as ours ("AEPF"), so that another program's database is never migrated."""

_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_SIZE: Final = 100
_ID_OFFSET: Final = 68

_CHECKED_UP_TO: Final = 256 * 1024 * 1024
"""Bytes of a ledger that is looked through when it is opened; a larger one would take too long to start."""
_BUSY_MILLISECONDS: Final = 5_000
"""How long to wait for another process's commit; less than a request may take."""


Identity = tuple[int, int] | None
"""What tells a file from one that takes its place: device and inode; None where there is none."""


def identity(path: Path) -> tuple[Identity, int]:
    """Which file is there, and its bytes."""
    try:
        found = path.stat()
    except OSError:
        return None, 0
    return (found.st_dev, found.st_ino), found.st_size


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a file that is there already; raises sqlite3.Error."""
    # A URI, so that the file is never made by a reader; connections change threads only while nobody uses them.
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
    return connection


def open_file(path: Path) -> sqlite3.Connection:
    """The writer's connection to a file that is ours and up to date, made new where there is none.

    Raises LedgerUnusableError, or LedgerUnavailableError while another program holds its lock.
    """
    try:
        if path.exists() and not path.is_file():
            raise LedgerUnusableError(f"{path} is no file: give --ledger.url the path of one")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Bodies name flows, people and files: the ledger is for its owner's eyes.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise LedgerUnusableError(
            f"{path} can't be opened for writing ({error.strerror}): give --ledger.url a path in a folder that this "
            "user may write to"
        ) from error
    _inspect(path)
    try:
        connection = connect(path)
    except sqlite3.Error as error:
        raise _cannot_open(path, error) from error
    try:
        _look_through(connection, path)
        _migrate(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        # The write-ahead log is there from the first transaction on.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        connection.close()
        raise _cannot_open(path, error) from error
    except LedgerUnusableError:
        connection.close()
        raise
    return connection


def _look_through(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file with damaged pages, as far as it can be looked through in a moment."""
    if path.stat().st_size > _CHECKED_UP_TO:
        return
    if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise LedgerUnusableError(
            f"{path} is damaged; it was left as it is. Put a copy from a backup in its place, or save what can be read "
            "with sqlite3's .recover"
        )


def _inspect(path: Path) -> None:
    """Look at the file before SQLite does: opening another program's database may already change it.

    Source: SQLite's file format, the header's magic string and its application id at offset 68.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_SIZE)
    if header and not header.startswith(_MAGIC):
        raise LedgerUnusableError(
            f"{path} is no ledger; it was left as it is. Give --ledger.url another path, or put a copy from a backup "
            "in its place"
        )
    if len(header) == _HEADER_SIZE and header[_ID_OFFSET : _ID_OFFSET + 4] != APPLICATION_ID.to_bytes(4):
        raise LedgerUnusableError(f"{path} is another program's database: give --ledger.url another path")


def _cannot_open(path: Path, error: sqlite3.Error) -> LedgerUnusableError | LedgerUnavailableError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return LedgerUnavailableError(f"{path} is locked by another program: end that, and start again")
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_NOMEM")):
        return LedgerUnavailableError(f"{path} can't be written ({name}): see to the disk, and start again")
    return LedgerUnusableError(
        f"{path} is no ledger that can be used ({trouble(error)}); it was left as it is. Give --ledger.url another "
        "path, or put a copy from a backup in its place"
    )


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date, one numbered file at a time, each in a transaction with its number."""
    scripts = {
        int(file.name.removeprefix("sqlite_").removesuffix(".sql")): file
        for file in resources.files(__package__).iterdir()
        if file.name.startswith("sqlite_") and file.name.endswith(".sql")
    }
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        owner = connection.execute("PRAGMA application_id").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if (owner, version, tables) != (0, 0, 0) and owner != APPLICATION_ID:
            raise LedgerUnusableError(f"{path} is another program's database: give --ledger.url another path")
        if version > max(scripts):
            raise LedgerUnusableError(
                f"{path} was written by a newer version (schema {version}, this one knows {max(scripts)}): upgrade, or "
                "give --ledger.url another path"
            )
        if version == max(scripts):
            return
        for number in sorted(scripts):
            if number > version:
                for statement in _statements(scripts[number].read_text(encoding="utf-8")):
                    connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {max(scripts)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _statements(script: str) -> list[str]:
    """The statements of a script; `executescript` would commit before it begins."""
    found: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            found.append(pending)
            pending = ""
    return found


def trouble(error: sqlite3.Error) -> str:
    """SQLite's own name for what is wrong: a word of a closed list, never a text."""
    return getattr(error, "sqlite_errorname", None) or type(error).__name__
