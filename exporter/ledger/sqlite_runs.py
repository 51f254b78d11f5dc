"""Finds runs in a SQLite ledger by its indices (sqlite_0005.sql): which outcomes stand, and in which order they are.

A list is merged of streams. A stream is a stretch of one index that is in order already: the outcomes with one status
in one sandbox, or with one status of one flow in one sandbox, or with one set of error codes. Where a filter leaves a
value open, its values are found by one step in the index for each. So a list reads about as many entries as it shows,
in a ledger of any size, also if nothing matches. An index is named in each statement, because SQLite's planner has no
statistics to choose by.

All functions raise what `Reader.execute` raises.
"""

import heapq
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from exporter.ledger.queries import RunFilter
from exporter.ledger.sqlite_reading import Reader
from exporter.model import Status

OUTCOMES: Final = tuple(status.value for status in Status if status.is_outcome)
_OPEN_STREAMS: Final = 100
"""Streams that are read at the same time. Each one that is open takes some kilobytes."""
_ALL_TIMES: Final = 1 << 62

_STATUSES: Final = "('success', 'partial_success', 'failed', 'cancelled', 'unknown')"
"""As sqlite_0005.sql has them: SQLite uses a partial index only for the condition of the index, word for word."""


class Key(NamedTuple):
    """The place of an outcome in a list of runs."""

    ended_at: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Which part of a list is wanted."""

    head: int
    """Entries above this position are left out. So are the corrections among them."""
    since: int = -_ALL_TIMES
    until: int = _ALL_TIMES
    """The end of a run is before this time."""
    beyond: Key | None = None
    """The list begins after this place."""


def _time(entry: str) -> str:
    return f"coalesce({entry}.completed_at, {entry}.received_at)"


def _is_outcome(entry: str) -> str:
    return f"{entry}.kind = 'run' AND {entry}.status IN {_STATUSES}"


def _standing(entry: str) -> str:
    return f"coalesce({entry}.updated_at, {entry}.completed_at, {entry}.received_at), {entry}.position"


# The other outcomes of a run are found by their fact keys (`fact_keys.run_keys`). So no index of run ids is needed.
_STANDS: Final = f"""
NOT EXISTS (
    SELECT 1 FROM entry AS other
     WHERE other.fact_key > 'run:' || e.run_id || ':' AND other.fact_key < 'run:' || e.run_id || ';'
       AND other.position <> e.position AND +other.position <= :head AND other.run_id = e.run_id
       AND {_is_outcome("other")} AND ({_standing("other")}) > ({_standing("e")})
)"""  # noqa: S608 - constants only


def _stream(index: str, condition: str, *, newest_first: bool = True) -> str:
    """The statement that reads the places of one stream's outcomes that stand."""
    beyond, order = ("<", "DESC") if newest_first else (">", "ASC")
    return f"""
SELECT {_time("e")}, e.position FROM entry AS e INDEXED BY {index}
 WHERE {condition} AND {_is_outcome("e")} AND {_time("e")} BETWEEN :since AND :last
   AND ({_time("e")} {beyond} :ended_at OR e.position {beyond} :position) AND e.position <= :head AND {_STANDS}
 ORDER BY {_time("e")} {order}, e.position {order}
"""  # noqa: S608 - constants only


_OF_FLOW: Final = "e.flow_id = :flow_id AND coalesce(e.sandbox, '') = :sandbox AND e.kind <> 'forgotten'"
_BY_STATUS: Final = _stream("entry_outcome", "coalesce(e.sandbox, '') = :sandbox AND e.status = :status")
_BY_FLOW: Final = _stream("entry_flow", f"{_OF_FLOW} AND coalesce(e.status, '') = :status")
_BY_FLOW_OLDEST_FIRST: Final = _stream(
    "entry_flow", f"{_OF_FLOW} AND coalesce(e.status, '') = :status", newest_first=False
)
_BY_CODES: Final = _stream(
    "entry_error",
    "e.error_codes = :codes AND coalesce(e.flow_id, '') = coalesce(:flow_id, coalesce(e.flow_id, '')) "
    "AND coalesce(e.sandbox, '') = coalesce(:sandbox, coalesce(e.sandbox, '')) "
    "AND e.status = coalesce(:status, e.status)",
)
_COUNT_BY_CODES: Final = f"SELECT count(*) FROM ({_BY_CODES} LIMIT :most)"  # noqa: S608 - constants only


def _next_value(value: str, index: str, condition: str) -> str:
    """The statement that finds the first value of a column from another value on. It is completed by `values`."""
    return (
        f"SELECT {value} FROM entry AS e INDEXED BY {index} "  # noqa: S608 - constants only
        f"WHERE {value} {{}} :after AND {condition} ORDER BY {value} LIMIT 1"
    )


_SANDBOXES: Final = _next_value("coalesce(e.sandbox, '')", "entry_outcome", _is_outcome("e"))
CODES: Final = _next_value("e.error_codes", "entry_error", f"e.error_codes IS NOT NULL AND {_is_outcome('e')}")
FLOWS: Final = _next_value("e.flow_id", "entry_flow", "e.flow_id IS NOT NULL AND e.kind <> 'forgotten'")
SANDBOXES_OF_FLOW: Final = _next_value(
    "coalesce(e.sandbox, '')", "entry_flow", "e.flow_id = :flow_id AND e.kind <> 'forgotten'"
)
STATUSES_OF_FLOW: Final = _next_value("coalesce(e.status, '')", "entry_flow", _OF_FLOW)

_NEWEST_OF_FLOW: Final = f"""
SELECT {_time("e")}, e.position, e.kind FROM entry AS e INDEXED BY entry_flow
 WHERE {_OF_FLOW} AND coalesce(e.status, '') = :status ORDER BY {_time("e")} DESC, e.position DESC LIMIT 1
"""  # noqa: S608 - constants only
_END_BY_CODES: Final = (
    f"SELECT {_time('e')} FROM entry AS e INDEXED BY entry_error "  # noqa: S608 - constants only
    f"WHERE e.error_codes = :codes AND {_is_outcome('e')} ORDER BY {_time('e')} {{}} LIMIT 1"
)


def values(reader: Reader, statement: str, after: str | None = None, **parameters: str | None) -> Iterator[str]:
    """The different values of a column, after one of them, in order: one step in the index for each."""
    while True:
        complete = statement.format(">=" if after is None else ">")
        row = reader.execute(complete, {"after": after or "", **parameters}).fetchone()
        # A text that is damaged is read as another one, which may be in front of it.
        if row is None or (after is not None and row[0] <= after):
            return
        after = str(row[0])
        yield after


def keys(reader: Reader, wanted: RunFilter, stretch: Stretch, limit: int) -> list[Key]:
    """The places of runs that have ended, latest first, at most `limit`."""
    return _merge(reader, list(_streams(reader, wanted)), _bounds(wanted, stretch), limit, newest_first=True)


def next_key(reader: Reader, flow_id: str, sandbox: str, stretch: Stretch) -> Key | None:
    """The place of the run of a flow that ended first after a place."""
    after = stretch.beyond or Key(-_ALL_TIMES, 0)
    bounds = {**_bounds(RunFilter(), stretch), "since": after.ended_at, "last": _ALL_TIMES}
    streams: list[_Stream] = [
        (_BY_FLOW_OLDEST_FIRST, {"flow_id": flow_id, "sandbox": sandbox, "status": status}) for status in OUTCOMES
    ]
    return next(iter(_merge(reader, streams, bounds, 1, newest_first=False)), None)


def count(reader: Reader, codes: str, since: int, head: int, most: int) -> int:
    """The number of runs that ended since a time and report exactly these codes, at most `most`."""
    every = {"flow_id": None, "sandbox": None, "status": None}
    bounds = _bounds(RunFilter(since=since), Stretch(head=head))
    return int(reader.execute(_COUNT_BY_CODES, {"codes": codes, "most": most, **every, **bounds}).fetchone()[0])


def first_and_last(reader: Reader, codes: str) -> tuple[int, int]:
    """The first and the last end of a run that reported exactly these codes."""
    first, last = (
        reader.execute(_END_BY_CODES.format(order), {"codes": codes}).fetchone()[0] for order in ("ASC", "DESC")
    )
    return first, last


def newest_of_flow(reader: Reader, flow_id: str, sandbox: str) -> list[tuple[Key, str]]:
    """The place and the kind of the newest entry of a flow with each status, or state, that it has entries with."""
    found = []
    for status in values(reader, STATUSES_OF_FLOW, flow_id=flow_id, sandbox=sandbox):
        parameters = {"flow_id": flow_id, "sandbox": sandbox, "status": status}
        ended_at, position, kind = reader.execute(_NEWEST_OF_FLOW, parameters).fetchone()
        found.append((Key(ended_at, position), kind))
    return found


_Stream = tuple[str, dict[str, str | None]]


def _streams(reader: Reader, wanted: RunFilter) -> Iterator[_Stream]:
    """The statements that together give all runs that are wanted, each with its parameters."""
    status = None if wanted.status is None else wanted.status.value
    if wanted.error_code is not None:
        for codes in values(reader, CODES):
            if wanted.error_code in codes.split(" "):
                scope = {"flow_id": wanted.flow_id, "sandbox": wanted.sandbox, "status": status}
                yield _BY_CODES, {"codes": codes, **scope}
        return
    statement = _BY_STATUS if wanted.flow_id is None else _BY_FLOW
    for sandbox in _sandboxes(reader, wanted):
        for each in OUTCOMES if status is None else (status,):
            yield statement, {"flow_id": wanted.flow_id, "sandbox": sandbox, "status": each}


def _sandboxes(reader: Reader, wanted: RunFilter) -> Iterable[str]:
    if wanted.sandbox is not None:
        return (wanted.sandbox,)
    if wanted.flow_id is not None:
        return values(reader, SANDBOXES_OF_FLOW, flow_id=wanted.flow_id)
    return values(reader, _SANDBOXES)


def _bounds(wanted: RunFilter, stretch: Stretch) -> dict[str, int]:
    """The parameters that all streams of a list, latest first, have in common."""
    since = stretch.since if wanted.since is None else max(stretch.since, wanted.since)
    until = stretch.until if wanted.until is None else min(stretch.until, wanted.until)
    beyond = stretch.beyond or Key(_ALL_TIMES, _ALL_TIMES)
    return {
        "head": stretch.head,
        "since": since,
        "last": min(until - 1, beyond.ended_at),
        "ended_at": beyond.ended_at,
        "position": beyond.position,
    }


def _merge(
    reader: Reader, streams: Sequence[_Stream], bounds: dict[str, int], limit: int, *, newest_first: bool
) -> list[Key]:
    """The first places of all streams together. Of each stream no more is read than is needed for them."""
    merged: list[Key] = []
    for start in range(0, len(streams), _OPEN_STREAMS):
        opened = [
            reader.execute(statement, {**bounds, **parameters})
            for statement, parameters in streams[start : start + _OPEN_STREAMS]
        ]
        # Every cursor gives bare tuples, which compare as places do.
        merged = list(islice(heapq.merge(merged, *map(_keys, opened), reverse=newest_first), limit))
        for rows in opened:
            rows.close()
    return merged


def _keys(rows: sqlite3.Cursor) -> Iterator[Key]:
    for ended_at, position in rows:
        yield Key(ended_at, position)
