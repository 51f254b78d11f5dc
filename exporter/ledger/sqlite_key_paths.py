"""Paths of trusted keys in a SQLite ledger. The caller runs `save` in a transaction of the writer."""

import sqlite3
from collections.abc import Collection
from typing import Final

from exporter.ledger import KeyPath

MAX_PATHS: Final = 64
"""Paths that are kept. Adobe uses two at a time."""

LIST: Final = "SELECT path, last_used_at FROM key_path ORDER BY last_used_at DESC, path"

_SAVE: Final = """
INSERT INTO key_path (path, last_used_at) VALUES (?, ?)
ON CONFLICT (path) DO UPDATE SET last_used_at = excluded.last_used_at
"""
_DROP: Final = "DELETE FROM key_path WHERE path = ?"
_DROP_OLDER: Final = f"""
DELETE FROM key_path WHERE path NOT IN (SELECT path FROM key_path ORDER BY last_used_at DESC, path LIMIT {MAX_PATHS})
"""  # noqa: S608 - a constant


def save(writer: sqlite3.Connection, used: Collection[KeyPath], dropped: Collection[str]) -> None:
    """Store the paths with their times, delete those that are dropped, and keep the MAX_PATHS that were used last."""
    writer.executemany(_SAVE, used)
    writer.executemany(_DROP, [(path,) for path in dropped])
    writer.execute(_DROP_OLDER)
