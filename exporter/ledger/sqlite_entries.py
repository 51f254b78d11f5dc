"""Reads the entries of a SQLite ledger in order. A damaged row does not hide the rows after it.

The caller passes the function that executes a statement on its connection, and handles what SQLite raises.
"""

import sqlite3
from collections.abc import Callable
from typing import Final

from exporter.ledger import Entry, damaged_entry
from exporter.ledger.sqlite_file import is_damage

_READ_BYTES: Final = 8 * 1024 * 1024
"""A page ends when its bodies have more bytes than this."""
_READ: Final = """
SELECT position, received_at, source, kind, event_code, counts, flow_id, sandbox, completed_at, body
  FROM entry WHERE position > ? ORDER BY position LIMIT ?
"""
_POSITIONS: Final = "SELECT position FROM entry WHERE position > ? ORDER BY position LIMIT ?"
_DAMAGED_PAGE: Final = 100
"""Entries that are read one by one where a page of entries has a damaged row."""

# The types of the columns of _READ. A damaged row can have others.
_TYPES: Final[tuple[type | tuple[type, ...], ...]] = (
    int,
    int,
    str,
    str,
    (str, type(None)),
    int,
    *[(str, type(None))] * 2,
    (int, type(None)),
    bytes,
)

Execute = Callable[[str, tuple[int, ...]], sqlite3.Cursor]


def read(execute: Execute, after: int, limit: int) -> list[Entry]:
    """The entries above a position, in order, at most `limit`. See `Ledger.read`.

    Raises sqlite3.Error if not even the positions can be read, or for an error that is no damage.
    """
    entries: list[Entry] = []
    size = 0
    try:
        rows = execute(_READ, (after, limit))
        for row in rows:
            entries.append(_entry(row))
            size += len(entries[-1].body)
            if size > _READ_BYTES:
                break
        rows.close()
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        return entries or _read_one_by_one(execute, after)
    return entries


def _read_one_by_one(execute: Execute, after: int) -> list[Entry]:
    """The next entries, at most _DAMAGED_PAGE, where one of them can't be read."""
    positions = execute(_POSITIONS, (after, _DAMAGED_PAGE)).fetchall()
    return [_read_one(execute, position) for (position,) in positions]


def _read_one(execute: Execute, position: int) -> Entry:
    try:
        rows = execute(_READ, (position - 1, 1)).fetchall()
    except sqlite3.Error as error:
        if is_damage(error):
            return damaged_entry(position)
        raise
    return _entry(rows[0]) if rows and rows[0][0] == position else damaged_entry(position)


def _entry(row: tuple) -> Entry:  # type: ignore[type-arg] # the types of its values are checked here
    """The entry that a row of _READ holds."""
    if not all(isinstance(value, type_) for value, type_ in zip(row, _TYPES, strict=True)):
        return damaged_entry(row[0])
    position, received_at, source, kind, event_code, counts, flow_id, sandbox, completed_at, body = row
    return Entry(
        position=position,
        received_at=received_at,
        source=source,
        kind=kind,
        event_code=event_code,
        counts=bool(counts),
        flow_id=flow_id,
        sandbox=sandbox,
        completed_at=completed_at,
        body=body,
    )
