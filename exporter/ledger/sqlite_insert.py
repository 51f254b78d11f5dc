"""Inserts entries into SQLite, one by one or many with one statement.

The fact key alone makes an entry unique, and the insert itself enforces it (`ON CONFLICT (fact_key) DO NOTHING`).
Nothing is read first and written afterwards. That a run counts once is another rule, with an index of its own. An
insert that breaks it is tried again and never dropped, because a correction would be lost with it.

The number of changed rows shows what was new: RETURNING would cost as much again as the insert. Many entries go into
one statement because the writer's thread waits after each statement for the interpreter's lock, which the event loop
holds.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Final

from exporter.ledger import Draft

_COLUMNS: Final = (
    "event, fact_key, source, received_at, kind, event_code, counts, "
    "flow_id, run_id, sandbox, status, error_codes, completed_at, body, updated_at"
)
# The first outcome of a run counts, and no later one. An outcome that is unknown takes no run's place.
_VALUES: Final = (
    "?, ?, ?, ?, ?, ?, "
    "? * NOT EXISTS (SELECT 1 FROM entry WHERE run_id = ? AND counts = 1 AND status IS NOT 'unknown'), "
    "?, ?, ?, ?, ?, ?, ?, ?"
)
_COUNTS: Final = 1
_COUNTS_PROVISIONALLY: Final = 2
"""The value of `counts` for an outcome that takes no place in the index of counted runs (sqlite_0004.sql)."""

_INSERT_UNLESS_KNOWN: Final = (
    f"INSERT INTO entry ({_COLUMNS}) SELECT {_VALUES} "  # noqa: S608 - constants only
    "WHERE NOT EXISTS (SELECT 1 FROM entry WHERE fact_key = ?) ON CONFLICT (fact_key) DO NOTHING"
)
# Version 0.1.0 gave an outcome that is unknown the place of its run.
_FREE_PLACE: Final = (
    f"UPDATE entry SET counts = {_COUNTS_PROVISIONALLY} "  # noqa: S608 - constants only
    "WHERE run_id = ? AND counts = 1 AND status = 'unknown'"
)
_CHUNK_SIZES: Final = (32, 16, 8, 4, 2, 1)
"""Rows of one statement, the largest first. Few sizes, so that few statements are compiled and kept."""
_MAX_BYTES: Final = 1024 * 1024
"""Bytes of the bodies that are inserted together. SQLite holds a second copy of them."""


def insert(writer: sqlite3.Connection, draft: Draft, received_at: int) -> bool:
    """Insert one entry. Returns whether it was new. Raises what SQLite raises."""
    try:
        return _insert_one(writer, draft, received_at)
    except sqlite3.IntegrityError as error:
        if not _is_counted_twice(error):
            raise
    # A statement that fails changes nothing, and its transaction goes on.
    if not writer.execute(_FREE_PLACE, (draft.run_id,)).rowcount:
        draft = replace(draft, is_outcome=False)
    return _insert_one(writer, draft, received_at)


def _insert_one(writer: sqlite3.Connection, draft: Draft, received_at: int) -> bool:
    if draft.former_key is None:
        return writer.execute(_statement(1), _parameters(draft, received_at)).rowcount > 0
    return writer.execute(_INSERT_UNLESS_KNOWN, (*_parameters(draft, received_at), draft.former_key)).rowcount > 0


def _is_counted_twice(error: sqlite3.IntegrityError) -> bool:
    """Whether an insert was refused because a run would count twice. No other index but that of fact keys is unique."""
    return getattr(error, "sqlite_errorname", "") == "SQLITE_CONSTRAINT_UNIQUE"


def insert_new(writer: sqlite3.Connection, drafts: Sequence[Draft], received_at: int) -> bool:
    """Insert all drafts in their order if every one is new, else none. Returns whether they were inserted.

    It may return False for new drafts that can't share a statement. Call it in a transaction. Raises what SQLite
    raises, and then the caller rolls the transaction back.
    """
    if any(draft.former_key is not None for draft in drafts):
        return False
    runs = [draft.run_id for draft in drafts if draft.is_outcome]
    # A statement does not see its own rows: two outcomes of one run would both count.
    if len(set(runs)) < len(runs) or sum(len(draft.body) for draft in drafts) > _MAX_BYTES:
        return False
    writer.execute("SAVEPOINT many")
    try:
        are_new = all(_insert_chunk(writer, chunk, received_at) for chunk in _chunks(drafts))
    except sqlite3.IntegrityError as error:
        if not _is_counted_twice(error):
            raise
        are_new = False
    if not are_new:
        writer.execute("ROLLBACK TO many")
    writer.execute("RELEASE many")
    return are_new


def _chunks(drafts: Sequence[Draft]) -> Iterator[Sequence[Draft]]:
    """Cut the drafts into pieces of the sizes that there are statements for."""
    start = 0
    for size in _CHUNK_SIZES:
        while len(drafts) - start >= size:
            yield drafts[start : start + size]
            start += size


def _insert_chunk(writer: sqlite3.Connection, drafts: Sequence[Draft], received_at: int) -> bool:
    """Insert these drafts with one statement. Returns whether all of them were new."""
    values = [value for draft in drafts for value in _parameters(draft, received_at)]
    return writer.execute(_statement(len(drafts)), values).rowcount == len(drafts)


@cache
def _statement(rows: int) -> str:
    """The statement that inserts so many rows."""
    values = ", ".join([f"({_VALUES})"] * rows)
    return f"INSERT INTO entry ({_COLUMNS}) VALUES {values} ON CONFLICT (fact_key) DO NOTHING"  # noqa: S608 - constants


def _parameters(draft: Draft, received_at: int) -> tuple[object, ...]:
    return (
        draft.event_id,
        draft.fact_key,
        draft.source.value,
        received_at,
        draft.kind,
        draft.event_code,
        draft.is_outcome * (_COUNTS_PROVISIONALLY if draft.is_provisional else _COUNTS),
        draft.run_id,
        draft.flow_id,
        draft.run_id,
        draft.sandbox,
        draft.status,
        draft.error_codes,
        draft.completed_at,
        draft.body,
        draft.updated_at,
    )
