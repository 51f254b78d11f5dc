"""Checkpoints and pruning in a SQLite ledger: the statements, each to be run in a transaction of the writer's.

The rule: two checkpoints are kept, and only entries that the older of them contains are ever deleted; so a start can
always begin from either, with every entry behind it.
"""

import sqlite3
from collections.abc import Collection
from typing import Final

LIST: Final = "SELECT position, written_at FROM checkpoint ORDER BY position DESC"
STATE: Final = "SELECT state FROM checkpoint WHERE position = ?"

PRUNED: Final = "pruned"
"""The cursor that says up to which position entries were pruned."""
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
    """Keep a state, and the newest one before it that is not to be replaced."""
    writer.executemany("DELETE FROM checkpoint WHERE position = ?", [(other,) for other in discard])
    writer.execute(_SAVE, (position, written_at, state))
    writer.execute(_DROP_OLDER)


def prune(writer: sqlite3.Connection, before: int, up_to: int, limit: int) -> int:
    """Delete up to `limit` of the oldest entries recorded before a time, if the older checkpoint contains them."""
    older = writer.execute(_OLDER).fetchone()
    if older is None:
        return 0
    # Times of recording never fall, so the entries to delete are the first ones.
    oldest = writer.execute(_OLDEST, (min(older[0], up_to), limit)).fetchall()
    gone = [position for position, received_at in oldest if received_at < before]
    if gone:
        writer.execute("DELETE FROM entry WHERE position <= ?", (gone[-1],))
        writer.execute(SET_CURSOR, (PRUNED, str(gone[-1])))
    return len(gone)
