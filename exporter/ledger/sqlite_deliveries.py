"""When something was last delivered by each source, in a SQLite ledger: a row of the table `cursor` for each source.

A row is written with every commit, also where all facts were known. The page of the table is written with every commit
anyway, for the stamp (`exporter.ledger.sqlite_log`).
"""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Final

from exporter.ledger import Draft, sqlite_checkpoint
from exporter.ledger.sqlite_reading import Reader

_PREFIX: Final = "delivered:"
_LIST: Final = "SELECT name, value FROM cursor WHERE name > 'delivered:' AND name < 'delivered;'"


def store(writer: sqlite3.Connection, drafts: Iterable[Draft], received_at: int) -> None:
    """Note the time for the sources of these drafts, in the transaction that is under way. Raises sqlite3.Error."""
    for source in {draft.source.value for draft in drafts}:
        writer.execute(sqlite_checkpoint.SET_CURSOR, (_PREFIX + source, str(received_at)))


def read(reader: Reader) -> Mapping[str, int]:
    """The time of each source. Raises what `Reader.execute` raises."""
    return {name.removeprefix(_PREFIX): int(value) for name, value in reader.execute(_LIST)}
