"""The questions of `exporter.ledger.queries.Queries`, answered from a SQLite file.

Which entries an answer has is found in the indices first (`exporter.ledger.sqlite_runs`). Then the rows of these alone
are read, because bodies are large.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from exporter.ledger import fact_keys, page_cursors, sqlite_deliveries, sqlite_runs
from exporter.ledger.page_cursors import PageCursor, PagedList
from exporter.ledger.queries import (
    MAX_ALERTS,
    MAX_COUNTED,
    MAX_LIMIT,
    FlowFacts,
    Page,
    Row,
    RunFacts,
    RunFilter,
    SeenCode,
    SeenFlow,
)
from exporter.ledger.sqlite_file import is_damage
from exporter.ledger.sqlite_reading import Reader, ReadOnlyFile
from exporter.ledger.sqlite_runs import Key, Stretch
from exporter.model import EntryKind, Status

_PAGE_BYTES: Final = 8 * 1024 * 1024
"""A page ends when its bodies have more bytes than this."""
_FIRST_TIME: Final = -(1 << 53)

_ROW: Final = """
SELECT position, received_at, source, kind, event_code, counts, flow_id, run_id, sandbox, status, error_codes,
       completed_at, updated_at, coalesce(event, event_id), body
  FROM entry WHERE position = ?
"""
_HEAD: Final = "SELECT coalesce(max(position), 0) FROM entry"
_OLDEST: Final = "SELECT received_at FROM entry ORDER BY position LIMIT 1"
_OF_RUN: Final = "SELECT position FROM entry WHERE fact_key > ? AND fact_key < ? AND run_id = ? AND kind = 'run'"
_ALERTS_OF_RUN: Final = """
SELECT position FROM entry INDEXED BY entry_alert_run
 WHERE run_id = ? AND run_id <> '' AND kind = 'alert' ORDER BY position LIMIT ?
"""
_FORGOTTEN: Final = (
    "SELECT max(position) FROM entry INDEXED BY entry_forgotten WHERE kind = 'forgotten' AND flow_id = ?"
)
_NOT_UNDERSTOOD: Final = """
SELECT position FROM entry INDEXED BY entry_not_understood
 WHERE kind IN ('unsupported', 'unreadable') AND position < ? ORDER BY position DESC LIMIT ?
"""
_GOOD: Final = tuple(status for status in Status if status.is_success)


class SqliteQueries:
    """Answers from a file, which it never changes. The port, `Queries`, states what each method guarantees."""

    def __init__(self, path: Path, seconds: float) -> None:
        """Nothing is opened before the first question. `seconds`: how long an answer may take."""
        self._file = ReadOnlyFile(path, seconds)

    def runs(self, wanted: RunFilter, limit: int = 100, cursor: str | None = None) -> Page:
        """Runs that have ended, each once, latest end first."""
        _check(limit)
        after = None if cursor is None else page_cursors.decode(PagedList.RUNS, cursor)
        return self._file.ask(lambda reader: _runs(reader, wanted, limit, after))

    def entries(self, positions: Sequence[int]) -> tuple[Row, ...]:
        """The entries at these positions."""
        if len(positions) > MAX_LIMIT:
            raise ValueError(f"at most {MAX_LIMIT} entries are read at a time")
        return self._file.ask(lambda reader: tuple(_rows(reader, positions)[0]))

    def run(self, run_id: str) -> RunFacts | None:
        """All that was recorded of a run."""
        return self._file.ask(lambda reader: _run(reader, run_id))

    def last_runs(self, flow_id: str, sandbox: str, limit: int = 100) -> tuple[Row, ...]:
        """The runs of a flow that ended last."""
        return self.runs(RunFilter(flow_id=flow_id, sandbox=sandbox), limit).items

    def last_good_run(self, flow_id: str, sandbox: str) -> Row | None:
        """The run of a flow that ended last of those that succeeded, wholly or partly."""
        return self._file.ask(lambda reader: _last_good_run(reader, flow_id, sandbox))

    def codes(self, since: int) -> tuple[SeenCode, ...]:
        """The error codes that are in the ledger."""
        return self._file.ask(lambda reader: _codes(reader, since))

    def not_understood(self, limit: int = 100, cursor: str | None = None) -> Page:
        """The entries that are unsupported or unreadable, newest first."""
        _check(limit)
        after = None if cursor is None else page_cursors.decode(PagedList.NOTIFICATIONS, cursor)
        return self._file.ask(lambda reader: _not_understood(reader, limit, after))

    def flows(self, after: SeenFlow | None = None, limit: int = 100) -> tuple[SeenFlow, ...]:
        """Flows of which the ledger holds anything, by flow id and sandbox."""
        _check(limit)
        return self._file.ask(lambda reader: _flows(reader, after, limit))

    def sandboxes(self, flow_id: str) -> tuple[str, ...]:
        """The sandboxes of a flow."""
        return self._file.ask(
            lambda reader: tuple(
                islice(sqlite_runs.values(reader, sqlite_runs.SANDBOXES_OF_FLOW, flow_id=flow_id), MAX_LIMIT)
            )
        )

    def flow(self, flow_id: str, sandbox: str) -> FlowFacts | None:
        """What shows that the ledger holds a flow."""
        return self._file.ask(lambda reader: _flow(reader, flow_id, sandbox))

    def last_deliveries(self) -> Mapping[str, int]:
        """When something was last delivered by each source."""
        return self._file.ask(sqlite_deliveries.read)

    def oldest_entry_at(self) -> int | None:
        """When the first entry that is not pruned was recorded."""
        return self._file.ask(_oldest_entry_at)

    def close(self) -> None:
        """Close the connections."""
        self._file.close()


def _check(limit: int) -> None:
    if not 1 <= limit <= MAX_LIMIT:
        raise ValueError(f"a limit is a number from 1 to {MAX_LIMIT}")


def _head(reader: Reader) -> int:
    return int(reader.execute(_HEAD).fetchone()[0])


def _oldest_entry_at(reader: Reader) -> int | None:
    found = reader.execute(_OLDEST).fetchone()
    return int(found[0]) if found is not None else None


def _row(reader: Reader, position: int) -> Row | None:
    """The row at a position. None if it is damaged or not there."""
    try:
        found = reader.execute(_ROW, (position,)).fetchone()
    except sqlite3.Error as error:
        if is_damage(error):
            return None
        raise
    if found is None:
        return None
    *values, counts, flow_id, run_id, sandbox, status, codes, completed_at, updated_at, event_id, body = found
    position, received_at, source, kind, event_code = values
    # The columns have types. Only a damaged row has others.
    if not (isinstance(received_at, int) and isinstance(kind, str) and isinstance(body, bytes)):
        return None
    return Row(
        position=position,
        received_at=received_at,
        source=source,
        kind=kind,
        event_code=event_code,
        counts=bool(counts),
        flow_id=flow_id,
        run_id=run_id,
        sandbox=sandbox,
        status=status,
        error_codes=tuple(codes.split()) if codes else (),
        completed_at=completed_at,
        updated_at=updated_at,
        event_id=event_id,
        body=body,
    )


def _rows(reader: Reader, positions: Iterable[int]) -> tuple[list[Row], int]:
    """The rows at these positions, until their bodies are large, and how many positions were read.

    Damaged rows are left out.
    """
    rows: list[Row] = []
    read = size = 0
    for position in positions:
        read += 1
        row = _row(reader, position)
        if row is not None:
            rows.append(row)
            size += len(row.body)
            if size > _PAGE_BYTES:
                break
    return rows, read


def _page(reader: Reader, paged: PagedList, keys: Sequence[Key], limit: int, head: int) -> Page:
    """The page of a list that goes on with these places. If there are more than `limit`, it goes on after the page."""
    rows, read = _rows(reader, [key.position for key in keys[:limit]])
    goes_on = read < len(keys)
    return Page(tuple(rows), page_cursors.encode(paged, PageCursor(head, *keys[read - 1])) if goes_on else None)


def _runs(reader: Reader, wanted: RunFilter, limit: int, after: PageCursor | None) -> Page:
    head = _head(reader) if after is None else after.head
    beyond = None if after is None else Key(after.time, after.position)
    keys = sqlite_runs.keys(reader, wanted, Stretch(head=head, beyond=beyond), limit + 1)
    return _page(reader, PagedList.RUNS, keys, limit, head)


def _not_understood(reader: Reader, limit: int, after: PageCursor | None) -> Page:
    head = _head(reader) if after is None else after.head
    before = head + 1 if after is None else after.position
    keys = [Key(0, position) for (position,) in reader.execute(_NOT_UNDERSTOOD, (before, limit + 1))]
    return _page(reader, PagedList.NOTIFICATIONS, keys, limit, head)


def _run(reader: Reader, run_id: str) -> RunFacts | None:
    positions = [position for (position,) in reader.execute(_OF_RUN, (*fact_keys.run_keys(run_id), run_id))]
    alerts = [position for (position,) in reader.execute(_ALERTS_OF_RUN, (run_id, MAX_ALERTS))]
    # A run has a fact for each of its statuses, so these are few.
    facts = [row for row in (_row(reader, position) for position in positions) if row is not None]
    facts = sorted([*facts, *_rows(reader, alerts)[0]], key=lambda row: row.position)
    if not facts:
        return None
    standing = max((row for row in facts if row.is_outcome), key=lambda row: row.standing, default=None)
    previous, following = _neighbours(reader, standing or facts[-1])
    return RunFacts(facts=tuple(facts), standing=standing, previous=previous, next=following)


def _neighbours(reader: Reader, row: Row) -> tuple[Row | None, Row | None]:
    """The runs of the same flow and sandbox that ended before and after this row."""
    if row.flow_id is None:
        return None, None
    sandbox = row.sandbox or ""
    stretch = Stretch(head=_head(reader), beyond=Key(row.ended_at, row.position))
    before = sqlite_runs.keys(reader, RunFilter(flow_id=row.flow_id, sandbox=sandbox), stretch, 1)
    after = sqlite_runs.next_key(reader, row.flow_id, sandbox, stretch)
    return (
        _row(reader, before[0].position) if before else None,
        _row(reader, after.position) if after else None,
    )


def _last_good_run(reader: Reader, flow_id: str, sandbox: str) -> Row | None:
    stretch = Stretch(head=_head(reader))
    found = [
        key
        for status in _GOOD
        for key in sqlite_runs.keys(reader, RunFilter(flow_id=flow_id, sandbox=sandbox, status=status), stretch, 1)
    ]
    return _row(reader, max(found).position) if found else None


def _codes(reader: Reader, since: int) -> tuple[SeenCode, ...]:
    head = _head(reader)
    seen: dict[str, SeenCode] = {}
    for codes in sqlite_runs.values(reader, sqlite_runs.CODES):
        first, last = sqlite_runs.first_and_last(reader, codes)
        recent = sqlite_runs.count(reader, codes, since, head, MAX_COUNTED) if last >= since else 0
        for code in codes.split():
            known = seen.get(code)
            seen[code] = SeenCode(
                code=code,
                recent_runs=min(recent + (known.recent_runs if known else 0), MAX_COUNTED),
                first_seen_at=min(first, known.first_seen_at) if known else first,
                last_seen_at=max(last, known.last_seen_at) if known else last,
            )
    return tuple(sorted(seen.values(), key=lambda each: (-each.last_seen_at, each.code)))


def _flows(reader: Reader, after: SeenFlow | None, limit: int) -> tuple[SeenFlow, ...]:
    return tuple(islice(_all_flows(reader, after), limit))


def _all_flows(reader: Reader, after: SeenFlow | None) -> Iterable[SeenFlow]:
    """The flows after one of them, which may be in no entry."""
    if after is not None:
        yield from _in_sandboxes(reader, after.flow_id, after.sandbox)
    for flow_id in sqlite_runs.values(reader, sqlite_runs.FLOWS, after.flow_id if after else None):
        yield from _in_sandboxes(reader, flow_id)


def _in_sandboxes(reader: Reader, flow_id: str, after: str | None = None) -> Iterable[SeenFlow]:
    for sandbox in sqlite_runs.values(reader, sqlite_runs.SANDBOXES_OF_FLOW, after, flow_id=flow_id):
        yield SeenFlow(flow_id, sandbox)


def _flow(reader: Reader, flow_id: str, sandbox: str) -> FlowFacts | None:
    found = sqlite_runs.newest_of_flow(reader, flow_id, sandbox)
    newest = _newest(reader, [key for key, _ in found])
    if newest is None:
        return None
    described = [key for key, kind in found if kind in (EntryKind.RUN, EntryKind.FLOW)]
    (forgotten,) = reader.execute(_FORGOTTEN, (flow_id,)).fetchone()
    return FlowFacts(newest, _newest(reader, described), forgotten)


def _newest(reader: Reader, keys: Sequence[Key]) -> Row | None:
    return _row(reader, max(keys).position) if keys else None
