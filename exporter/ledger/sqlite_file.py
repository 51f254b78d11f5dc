"""Creates and opens a ledger's SQLite file, and brings its schema up to date.

A file of another program, or a damaged one, is left as it is, byte for byte. So is a database beside a write-ahead log
that is not its own (`exporter.ledger.sqlite_log`). The schema is brought up to date by
numbered scripts, in one transaction together with the number.
"""

import contextlib
import fcntl
import os
import secrets
import sqlite3
import time
from enum import StrEnum
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import islice
from pathlib import Path
from typing import Final
from urllib.parse import quote

from exporter.errors import LedgerMissingError, LedgerUnavailableError, LedgerUnusableError
from exporter.ledger.sqlite_guard import abandon
from exporter.ledger.sqlite_log import read_database, read_log, stamp

APPLICATION_ID: Final = 0x41455046
"""Marks a file as a ledger ("AEPF"), so that another program's database is never migrated."""

_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_SIZE: Final = 100
_ID_OFFSET: Final = 68

_LOOKED_AT: Final = 100
"""Files that are looked at where a ledger is missing, and may have another name."""
_NAMED: Final = 3
"""Ledgers that are named then."""

_CHECKED_UP_TO: Final = 256 * 1024 * 1024
"""Bytes up to which a ledger is checked for damage when it is opened. With a larger one the start would be slow."""
_BUSY_MILLISECONDS: Final = 5_000
"""How long to wait for another process's commit. A request may take longer than this."""

_SHARED_LOCK: Final = (0x40000002, 510)
"""Start and length of the bytes that SQLite locks while a database is open."""
_IS_OPENING: Final = 1.0
"""Seconds. A process that opens a ledger has its lock for a moment before the files beside it are there."""
_RANDOM_COOKIES: Final = 1 << 16
"""The smallest schema cookie that is chosen at random. SQLite begins with 1."""
_DISK_ERRORS: Final = ("SQLITE_FULL", "SQLITE_IOERR")
"""How the names of errors begin that a disk without space causes. Some file systems report it as a failure."""


_ADVICE: Final = {
    "SQLITE_BUSY": ": another program holds its lock. Wait for the backup, or end that program",
    "SQLITE_FULL": ": the disk is full. Make room",
    "SQLITE_IOERR": ": the disk fails or is full. Check it",
    "SQLITE_READONLY": ": the disk or the file can't be written. Give the user of the exporter access to it",
    "SQLITE_CANTOPEN": ": give the user of the exporter access to its folder",
    "SQLITE_CORRUPT": ": it is damaged. Stop the exporter, and put a copy from a backup in its place",
    "SQLITE_NOTADB": ": it is damaged. Stop the exporter, and put a copy from a backup in its place",
}
"""What to do about SQLite's errors, by the beginning of their names."""


class Access(StrEnum):
    """What a connection may do with a file. None of them creates the file."""

    WRITE = "mode=rw"
    READ = "mode=ro"
    """SQLite creates the write-ahead log and its index if they are not there."""
    IMMUTABLE = "mode=ro&immutable=1"
    """Without locks and without a log. The file must not change meanwhile."""


def connect(path: Path, access: Access = Access.WRITE) -> sqlite3.Connection:
    """Connect to a file that exists. Raises sqlite3.Error."""
    # Only a URI can ask SQLite not to create the file. A connection may move to another thread while it is not in use.
    # The path is absolute, because `:memory:` alone is no file.
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(path.absolute()))}?{access.value}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
    return connection


def open_file(path: Path, *, create: bool = True) -> tuple[sqlite3.Connection, sqlite3.Error | None]:
    """Open a ledger's file for the writer, with the newest schema. `create`: whether to create one that does not exist.

    Returns the error of the disk, too, if the ledger has the newest schema but can't be written now. Then the caller
    begins its lineage later (`choose_cookie`, `stamp`, `truncate_log`).

    Raises LedgerMissingError if there is no ledger and none is created, LedgerUnusableError, or LedgerUnavailableError
    while another program holds the file's lock, or while a disk that can't be written lacks something without which
    nothing can be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise LedgerUnusableError(f"{path} is not a file: give --ledger.url the path of one")
        _compare_with_log(path)
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        elif not path.exists() or not path.stat().st_size:
            raise missing(path)
        # Only the owner may read the file, because bodies name flows, people and files.
        os.close(os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600))
    except OSError as error:
        raise LedgerUnusableError(
            f"{path} can't be opened for writing ({error.strerror}): give --ledger.url a path in a folder that this "
            "user may write to"
        ) from error
    _inspect(path)
    _compare_with_users(path)
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
        # SQLite creates the write-ahead log with the first transaction, and `SqliteLedger` remembers which file it is.
        disk_error = _begin_lineage(connection)
    except sqlite3.Error as error:
        abandon(connection)
        raise _cannot_open(path, error) from error
    except LedgerUnusableError:
        # Closing would write the log into a file that is to be left as it is.
        abandon(connection)
        raise
    return connection, disk_error


def companions(path: Path) -> tuple[Path, Path]:
    """The write-ahead log of a database, and SQLite's index of it. They are beside the file that a link leads to."""
    real = Path(os.path.realpath(path))
    return real.with_name(real.name + "-wal"), real.with_name(real.name + "-shm")


def missing(path: Path) -> LedgerMissingError:
    """The error that no ledger is at this path. It names the ledgers that are near it."""
    state = "the file is empty: there is no ledger in" if path.exists() else "there is no ledger at"
    near = ", ".join(map(str, _ledgers_near(path)))
    return LedgerMissingError(
        f"{state} {path.absolute()}, and nothing was recorded. Give --ledger.url that of the running exporter"
        + (f". Ledgers near it: {near}" if near else "")
    )


def _ledgers_near(path: Path) -> list[Path]:
    """Some ledgers in the folder of this path, or in the nearest folder above that exists."""
    folder = next((each for each in path.absolute().parents if each.is_dir()), None)
    candidates: list[Path] = []
    with contextlib.suppress(OSError):
        candidates = list(islice(folder.glob("*.db"), _LOOKED_AT)) if folder else []
    return sorted(each for each in candidates if each != path.absolute() and _is_ledger(each))[:_NAMED]


def _is_ledger(path: Path) -> bool:
    """Whether the header of a file is a ledger's."""
    try:
        # Opening a pipe would wait for its other end.
        if not path.is_file():
            return False
        with path.open("rb") as file:
            header = file.read(_HEADER_SIZE)
    except OSError:
        return False
    return header.startswith(_MAGIC) and header[_ID_OFFSET : _ID_OFFSET + 4] == APPLICATION_ID.to_bytes(4)


def _compare_with_log(path: Path) -> None:
    """Raise LedgerUnusableError if there is a write-ahead log with transactions that is not this database's."""
    log_path, _ = companions(path)
    if not path.exists() or not path.stat().st_size:
        if read_log(log_path) is None:
            return
        state = "empty" if path.exists() else "missing"
        raise LedgerUnusableError(
            f"{path} is {state}, and the newest entries are in {log_path.name} beside it. Nothing was changed. Put the "
            f"{path.name} back that belongs to it. Or move {log_path.name} away, and then put a copy from a backup in "
            "its place or begin a new ledger"
        )
    while True:
        database = read_database(path)
        log = read_log(log_path)
        if database is None or log is None or log.fits(database):
            return
        # Another process can have written both since.
        again = read_log(log_path)
        if read_database(path) == database and again is not None and again.salts == log.salts:
            break
    raise LedgerUnusableError(
        f"{path} and {log_path.name} beside it do not belong together, so SQLite would damage the ledger or undo its "
        f"restore. Nothing was changed. If {path.name} is a copy from a backup, move {log_path.name} and "
        f"{path.name}-shm away, and start again. If it is not, put back the {path.name} that belongs to the log"
    )


def _compare_with_users(path: Path) -> None:
    """Raise LedgerUnavailableError if another process has the ledger open without the files that belong to it."""
    deadline = time.monotonic() + _IS_OPENING
    while _is_open_elsewhere(path):
        missing = [each.name for each in companions(path) if not each.exists()]
        if not missing:
            return
        if time.monotonic() > deadline:
            raise LedgerUnavailableError(
                f"{' and '.join(missing)} beside {path} was deleted while another process uses the ledger: end that "
                "process, and start again"
            )
        time.sleep(_IS_OPENING / 50)


def _is_open_elsewhere(path: Path) -> bool:
    """Whether another process has the database open, in the way that SQLite finds it out."""
    start, length = _SHARED_LOCK
    file = os.open(path, os.O_RDWR)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def _begin_lineage(connection: sqlite3.Connection) -> sqlite3.Error | None:
    """Give this use of the ledger a stamp of its own, in the database itself.

    A copy that was made before then has another stamp than the log that is written from now on. Returns the error of a
    disk that can't be written. What is in the ledger can be read all the same.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        choose_cookie(connection)
        stamp(connection)
        connection.execute("COMMIT")
        truncate_log(connection)
    except sqlite3.DatabaseError as error:
        # SQLite has ended the transaction after some errors.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        name = error_name(error)
        if name.startswith(_DISK_ERRORS):
            return error
        # What can be read of a large ledger is read. Its damage shows where it is used.
        if name != "SQLITE_CORRUPT":
            raise
    return None


def choose_cookie(writer: sqlite3.Connection) -> None:
    """Give the database a schema cookie of its own in the transaction that is under way, if it has none.

    Copies that SQLite makes have the cookie 1. Raises sqlite3.Error.
    """
    if writer.execute("PRAGMA schema_version").fetchone()[0] < _RANDOM_COOKIES:
        writer.execute(f"PRAGMA schema_version = {_RANDOM_COOKIES + secrets.randbelow(1 << 30)}")


def truncate_log(connection: sqlite3.Connection) -> bool:
    """Write the whole log into the database and empty it, unless somebody reads or writes now. Returns whether it was.

    Raises sqlite3.Error.
    """
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        return bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
    finally:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")


def _look_through(connection: sqlite3.Connection, path: Path) -> None:
    """Raise LedgerUnusableError if the file has damaged pages. A large file is not checked."""
    if path.stat().st_size > _CHECKED_UP_TO:
        return
    if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise LedgerUnusableError(
            f"{path} is damaged and was left as it is. Put a copy from a backup in its place, or save what can be read "
            "with sqlite3's .recover"
        )


def _inspect(path: Path) -> None:
    """Raise LedgerUnusableError unless the file's header is a ledger's, or the file is empty.

    The header is read before SQLite opens the file, because opening another program's database may change it. Source:
    SQLite's file format, which has a magic string at the start and the application id at offset 68.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_SIZE)
    if header and not header.startswith(_MAGIC):
        raise LedgerUnusableError(
            f"{path} is not a ledger and was left as it is. Give --ledger.url another path, or put a copy from a "
            "backup in its place"
        )
    if len(header) == _HEADER_SIZE and header[_ID_OFFSET : _ID_OFFSET + 4] != APPLICATION_ID.to_bytes(4):
        raise LedgerUnusableError(f"{path} is another program's database: give --ledger.url another path")


def _cannot_open(path: Path, error: sqlite3.Error) -> LedgerUnusableError | LedgerUnavailableError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return LedgerUnavailableError(f"{path} is locked by another program: end that, and start again")
    if name.startswith((*_DISK_ERRORS, "SQLITE_NOMEM")):
        return LedgerUnavailableError(f"{path} can't be written ({name}): check the disk, and start again")
    return LedgerUnusableError(
        f"{path} can't be used as a ledger ({error_name(error)}) and was left as it is. Give --ledger.url another "
        "path, or put a copy from a backup in its place"
    )


def newest_schema() -> int:
    """The number of the schema that this version writes and reads."""
    return max(_scripts())


def _scripts() -> dict[int, Traversable]:
    """The scripts that bring a schema up to date, by the number of the schema that each leads to."""
    return {
        int(file.name.removeprefix("sqlite_").removesuffix(".sql")): file
        for file in resources.files(__package__).iterdir()
        if file.name.startswith("sqlite_") and file.name.endswith(".sql")
    }


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Run the numbered scripts that the file's schema lacks, in one transaction together with the schema's number."""
    scripts = _scripts()
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        owner = connection.execute("PRAGMA application_id").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if (owner, version, tables) != (0, 0, 0) and owner != APPLICATION_ID:
            raise LedgerUnusableError(f"{path} is another program's database: give --ledger.url another path")
        if version > max(scripts):
            raise LedgerUnusableError(
                f"{path} was written by a newer version (schema {version}, this one supports {max(scripts)}): upgrade, "
                "or give --ledger.url another path"
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
    """Split a script into statements, because `executescript` would commit the transaction first."""
    found: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            found.append(pending)
            pending = ""
    return found


def error_name(error: sqlite3.Error) -> str:
    """SQLite's name for an error. It is one of a closed list and holds no data."""
    return getattr(error, "sqlite_errorname", None) or type(error).__name__


def explain(error: sqlite3.Error) -> LedgerUnavailableError:
    """The error to raise for one of SQLite's, with what to do about it."""
    name = error_name(error)
    advice = next((text for start, text in _ADVICE.items() if name.startswith(start)), "")
    return LedgerUnavailableError(f"the ledger can't be used now: {name}{advice}")


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error concerns the content of a row, which another attempt can't read either.

    Python raises an error without SQLite's name for a text that is not UTF-8.
    """
    name = getattr(error, "sqlite_errorname", None)
    if name is None:
        return isinstance(error, sqlite3.OperationalError) and "decode" in str(error).lower()
    return bool(name.startswith("SQLITE_CORRUPT"))
