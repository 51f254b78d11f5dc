"""Entries into SQLite: one at a time, or many by one statement.

Uniqueness is the insert's own (`ON CONFLICT DO NOTHING`); nothing is read and then written. What was new is told by the
number of rows that changed: RETURNING would cost as much again as the insert. Many go in by one statement because
after each statement the writer's thread has to wait for the interpreter's lock behind the event loop.
"""

import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Final

from exporter.ledger import Draft

_COLUMNS: Final = (
    "event_id, fact_key, source, received_at, kind, event_code, counts, "
    "flow_id, run_id, sandbox, status, error_codes, completed_at, body"
)
# The first outcome of a run counts, and no later one.
_VALUES: Final = (
    "(?, ?, ?, ?, ?, ?, ? AND NOT EXISTS (SELECT 1 FROM entry WHERE run_id = ? AND counts = 1), ?, ?, ?, ?, ?, ?, ?)"
)
_MOST_ROWS: Final = 32
_MOST_BYTES: Final = 1024 * 1024
"""Bytes of bodies in one statement, which SQLite holds a second time."""


def insert(writer: sqlite3.Connection, draft: Draft, received_at: int) -> bool:
    """Insert one entry; whether it was new. Raises what SQLite raises."""
    return writer.execute(_statement(1), _parameters(draft, received_at)).rowcount > 0


def insert_new(writer: sqlite3.Connection, drafts: Sequence[Draft], received_at: int) -> bool:
    """Insert all of these in their order, if every one is new; else insert nothing. Whether they were.

    Within a transaction. Raises what SQLite raises; what was inserted till then is the caller's to roll back.
    """
    runs = [draft.run_id for draft in drafts if draft.is_outcome]
    # A statement does not see its own rows: two outcomes of one run would both count.
    if len(set(runs)) < len(runs) or sum(len(draft.body) for draft in drafts) > _MOST_BYTES:
        return False
    writer.execute("SAVEPOINT many")
    first = changed = 0
    while changed == first < len(drafts):
        # Powers of two, so that there are few statements to prepare.
        rows = min(_MOST_ROWS, 1 << (len(drafts) - first).bit_length() - 1)
        values = [value for draft in drafts[first : first + rows] for value in _parameters(draft, received_at)]
        changed += writer.execute(_statement(rows), values).rowcount
        first += rows
    are_new = changed == len(drafts)
    if not are_new:
        writer.execute("ROLLBACK TO many")
    writer.execute("RELEASE many")
    return are_new


@cache
def _statement(rows: int) -> str:
    values = ", ".join([_VALUES] * rows)
    return f"INSERT INTO entry ({_COLUMNS}) VALUES {values} ON CONFLICT DO NOTHING"  # noqa: S608 - constants only


def _parameters(draft: Draft, received_at: int) -> tuple[object, ...]:
    return (
        draft.event_id,
        draft.fact_key,
        draft.source.value,
        received_at,
        draft.kind,
        draft.event_code,
        draft.is_outcome,
        draft.run_id,
        draft.flow_id,
        draft.run_id,
        draft.sandbox,
        draft.status,
        draft.error_codes,
        draft.completed_at,
        draft.body,
    )
