"""Checkpoints and pruning in a SQLite ledger.

Two checkpoints are kept, and only entries that the older of them contains are deleted. So a start can use either of
them, and finds every entry after it. The caller runs each function in a transaction of the writer.
"""

import sqlite3
from collections.abc import Collection
from itertools import takewhile
from typing import Final

LIST: Final = "SELECT position, written_at FROM checkpoint ORDER BY position DESC"
STATE: Final = "SELECT state FROM checkpoint WHERE position = ?"

PRUNED: Final = "pruned"
"""The name of the cursor that holds the position up to which entries were pruned."""
GET_CURSOR: Final = "SELECT value FROM cursor WHERE name = ?"
SET_CURSOR: Final = (
    "INSERT INTO cursor (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)

_SAVE: Final = """
INSERT INTO checkpoint (position, written_at, state) VALUES (?, ?, ?)
ON CONFLICT (position) DO UPDATE SET written_at = excluded.written_at, state = excluded.state
"""
_DROP_OLDER: Final = """
DELETE FROM checkpoint WHERE position NOT IN (SELECT position FROM checkpoint ORDER BY position DESC LIMIT 2)
"""
_OLDER: Final = "SELECT min(position) FROM checkpoint HAVING count(*) = 2"
_OLDEST: Final = "SELECT position, received_at FROM entry WHERE position <= ? ORDER BY position LIMIT ?"


def save(writer: sqlite3.Connection, position: int, written_at: int, state: bytes, discard: Collection[int]) -> None:
    """Store a state at a position and delete all others but the newest that is not at a position in `discard`."""
    writer.executemany("DELETE FROM checkpoint WHERE position = ?", [(other,) for other in discard])
    writer.execute(_SAVE, (position, written_at, state))
    writer.execute(_DROP_OLDER)


def prune(writer: sqlite3.Connection, before: int, up_to: int, limit: int) -> int:
    """Delete the oldest entries, at most `limit`, and return how many. See `Ledger.prune` for which may be deleted."""
    older = writer.execute(_OLDER).fetchone()
    if older is None:
        return 0
    oldest = writer.execute(_OLDEST, (min(older[0], up_to), limit)).fetchall()
    # Times of recording decrease where the clock was corrected, so only the first entries that are all old are deleted.
    deletable = [position for position, _ in takewhile(lambda entry: entry[1] < before, oldest)]
    if deletable:
        writer.execute("DELETE FROM entry WHERE position <= ?", (deletable[-1],))
        writer.execute(SET_CURSOR, (PRUNED, str(deletable[-1])))
    return len(deletable)
