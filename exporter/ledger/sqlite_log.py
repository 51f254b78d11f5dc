"""Reads a SQLite write-ahead log, to say whether it belongs to the database beside it.

SQLite applies a log to any database of the same name. So a database that was restored from a backup is overwritten by
the log that was left behind, and a log beside an empty database is deleted. A ledger therefore stamps each transaction:
a row holds a random id of this transaction and that of the one before. The database on the disk is older than its log,
or as old: its stamp is one in the log, or the one before the first. Any other stamp is that of another state.

A copy that SQLite's backup made of the state in which a log began has the same stamp. SQLite gives the copy another
schema cookie, and the stamps hold the cookie too.

Weak point: a plain copy of the database alone that was made while the log grew is, byte for byte, the database that a
crash leaves behind. The log is applied to it.

Nothing here writes. The format is that of https://www.sqlite.org/fileformat2.html#the_write_ahead_log.
"""

import os
import re
import secrets
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes

from exporter.ledger import sqlite_checkpoint

HEADER_SIZE: Final = 32
FRAME_HEADER_SIZE: Final = 24

_ROW: Final = "lineage"
"""The name of the row in the table `cursor` that holds the stamps."""
_NO_STAMP: Final = "0" * 16
_STAMP: Final = """
INSERT INTO cursor (name, value)
SELECT 'lineage', printf('0000000000000000 %010d %s %010d', schema_version, ?1, schema_version)
  FROM pragma_schema_version WHERE true
    ON CONFLICT (name) DO UPDATE SET value = substr(value, 29) || substr(excluded.value, 28)
"""
_PATTERN: Final = re.compile(rb"lineage([0-9a-f]{16}) ([0-9]{10}) ([0-9a-f]{16}) ([0-9]{10})")
_CELL_HEADER: Final = 12
"""Bytes of a cell before its first value, at most: the number of a child page, the length, and the types of values."""
_MAGICS: Final = (0x377F0682, 0x377F0683)
_TREE_HEADERS: Final = {0x02: 12, 0x0A: 8}
"""The sizes of the headers of the pages that can hold the row, by the type of the page."""
_PAGE_START: Final = 100
"""Bytes of a page that are read of each frame. A first page begins with a header of this size."""


class Stamp(NamedTuple):
    """The id of the last transaction of a state, and its schema cookie."""

    transaction: str
    cookie: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseState:
    """What the file of a database says of itself, without its log."""

    stamp: str | None
    """None if it was written by a version that made no stamps."""
    cookie: int
    schema: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogState:
    """What a log says of the database that it belongs to."""

    salts: bytes
    before: Stamp | None
    """The stamp of the state before the first one. None if no transaction was stamped."""
    last: str | None
    """The stamp of the state after the last one."""
    stamps: frozenset[str]
    cookies: frozenset[int]
    schema: int
    """The newest schema's number in the log, or 0."""

    def fits(self, database: DatabaseState) -> bool:
        """Whether the log was written to this state of a database, or to an earlier one. If in doubt, it was."""
        if self.before is None:
            # Another program wrote it, or a version that made no stamps. The schema's number never falls.
            return not self.schema or self.schema >= database.schema
        if database.stamp is None:
            return self.before.transaction == _NO_STAMP
        if database.stamp not in self.stamps and database.stamp != self.before.transaction:
            return False
        # With the last stamp the log adds nothing of ours. Another program can have changed the cookie since.
        return database.stamp == self.last or database.cookie in self.cookies


def stamp(writer: sqlite3.Connection) -> None:
    """Stamp the transaction that is under way. Raises sqlite3.Error."""
    writer.execute(_STAMP, (secrets.token_hex(8),))


def read_database(path: Path) -> DatabaseState | None:
    """What a database's file says, without its log. None if it can't be read so.

    Call it only while this process has not opened the file: closing it would release SQLite's locks.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
        cookie, schema = (int.from_bytes(header[at : at + 4]) for at in (40, 60))
        # An immutable database is read without its log and without locks.
        connection = sqlite3.connect(f"file:{quote_from_bytes(bytes(path))}?mode=ro&immutable=1", uri=True)
        try:
            row = connection.execute(sqlite_checkpoint.GET_CURSOR, (_ROW,)).fetchone()
        finally:
            connection.close()
    except OSError:
        return None
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            return None
        row = None
    except sqlite3.Error:
        return None
    return DatabaseState(stamp=row[0][28:44] if row else None, cookie=cookie, schema=schema)


def read_log(path: Path) -> LogState | None:
    """What a log says. None if it holds no transaction, so that nothing is lost with it.

    A log can have hundreds of megabytes, so only the parts of it that are needed are read, one frame after the other.
    """
    try:
        with path.open("rb", buffering=0) as file:
            return _read_transactions(file.fileno())
    except OSError:
        return None


def has_first_page(path: Path, header: bytes) -> bool:
    """Whether a log holds a first page that begins with these bytes, in a transaction that is valid or was."""
    try:
        with path.open("rb", buffering=0) as file:
            log = file.fileno()
            begin = _begin(log)
            return begin is not None and any(
                os.pread(log, len(header), start + FRAME_HEADER_SIZE) == header
                for start in _frames(log, begin.page_size, at_least=len(header))
            )
    except OSError:
        return False


class _Begin(NamedTuple):
    """What the header of a log says."""

    page_size: int
    salts: bytes


def _begin(log: int) -> _Begin | None:
    """What the header of an open log says. None if it is not one. Raises OSError."""
    header = os.pread(log, HEADER_SIZE, 0)
    if len(header) < HEADER_SIZE:
        return None
    magic, _, page_size = struct.unpack_from(">III", header)
    if magic not in _MAGICS or not 512 <= page_size <= 65536:
        return None
    return _Begin(page_size, header[16:24])


def _frames(log: int, page_size: int, at_least: int) -> range:
    """Where the frames of an open log begin that have so many bytes of their page. Raises OSError."""
    size = os.fstat(log).st_size
    return range(HEADER_SIZE, size - FRAME_HEADER_SIZE - at_least + 1, FRAME_HEADER_SIZE + page_size)


def _read_transactions(log: int) -> LogState | None:
    """What the transactions in an open log say, up to the last one that was committed. Raises OSError."""
    begin = _begin(log)
    if begin is None:
        return None
    before: Stamp | None = None
    last: Stamp | None = None
    stamps: set[str] = set()
    cookies: set[int] = set()
    schema = 0
    # What the transaction has that has not been committed so far.
    pairs: list[tuple[Stamp, Stamp]] = []
    headers: list[bytes] = []
    has_transaction = False
    for start in _frames(log, begin.page_size, at_least=begin.page_size):
        frame = os.pread(log, FRAME_HEADER_SIZE + _PAGE_START, start)
        if frame[8:16] != begin.salts:
            break
        number, size_after_commit = struct.unpack_from(">II", frame)
        if number == 1:
            headers.append(frame[FRAME_HEADER_SIZE:])
        if frame[FRAME_HEADER_SIZE] in _TREE_HEADERS:
            pairs += _stamps(os.pread(log, begin.page_size, start + FRAME_HEADER_SIZE))
        if size_after_commit:
            has_transaction = True
            for before_it, last in pairs:
                before = before or before_it
                stamps.add(last.transaction)
                cookies |= {before_it.cookie, last.cookie}
            for header in headers:
                cookies.add(int.from_bytes(header[40:44]))
                schema = max(schema, int.from_bytes(header[60:64]))
            pairs.clear()
            headers.clear()
    if not has_transaction:
        return None
    return LogState(
        salts=begin.salts,
        before=before,
        last=last.transaction if last else None,
        stamps=frozenset(stamps),
        cookies=frozenset(cookies),
        schema=schema,
    )


def _stamps(page: bytes) -> Iterator[tuple[Stamp, Stamp]]:
    """The stamps in a page: that of the transaction before, and that of its own.

    Only cells that are in use are looked at. What was deleted may still be in the page.
    """
    if not page or page[0] not in _TREE_HEADERS:
        return
    header = _TREE_HEADERS[page[0]]
    cells = int.from_bytes(page[3:5])
    for at in range(header, min(header + 2 * cells, len(page) - 1), 2):
        cell = int.from_bytes(page[at : at + 2])
        match = _PATTERN.search(page, cell, cell + _CELL_HEADER + 7 + 55)
        if match:
            before, cookie_before, own, cookie = match.groups()
            yield Stamp(before.decode(), int(cookie_before)), Stamp(own.decode(), int(cookie))
