"""The clock of a SQLite ledger: finds out that it was wrong, and records the correction in the ledger.

The rule (docs/architecture.md, "Clock"): a clock is wrong where it is more than CLOCK_TOLERANCE behind the last time of
recording or behind the latest time that this process has used, and where it moves by more than that against the
monotonic clock. The correction is an entry of its own. It is written in a transaction of the writer, which compares
again there, so that of several processes one writes it.

The newest time that Adobe gave is kept here too: what is deleted because of its age must be old by that time as well.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from exporter.ledger import Draft, corrections, fact_keys, sqlite_checkpoint
from exporter.ledger.sqlite_insert import insert
from exporter.model import CLOCK_TOLERANCE, ClockCorrection, EntryKind, Source

CORRECTION: Final = "clock"
"""The name of the cursor that holds the position of the last correction, and its two times."""
NEWEST_EVENT: Final = "newest_event"
"""The name of the cursor that holds the newest time that Adobe gave."""
FIND_NEWEST_EVENT: Final = """
SELECT max(completed_at) FROM (SELECT completed_at FROM entry ORDER BY position DESC LIMIT 10000)
"""
"""For a ledger of a version that kept no such cursor."""

_LAST: Final = "SELECT position, received_at FROM entry ORDER BY position DESC LIMIT 1"
_RAISE_NEWEST_EVENT: Final = """
INSERT INTO cursor (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value
 WHERE CAST(value AS INTEGER) < CAST(excluded.value AS INTEGER)
"""
_MAX_TIME: Final = 1 << 53

_log: structlog.stdlib.BoundLogger = structlog.get_logger("ledger")


def wall_clock() -> int:
    """This host's clock: milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def monotonic_clock() -> int:
    """Milliseconds since some moment, at a pace that nobody sets. The time in which the host is suspended counts."""
    # Only Linux has this clock. Elsewhere a host that wakes up sees a step forward, which changes no number.
    boot_clock = getattr(time, "CLOCK_BOOTTIME", None)
    return (time.monotonic_ns() if boot_clock is None else time.clock_gettime_ns(boot_clock)) // 1_000_000


@dataclass(frozen=True, slots=True)
class Moment:
    """What one look at the clocks led to."""

    received_at: int
    """The time of recording of what is appended now."""
    correction: ClockCorrection | None
    """The correction that was inserted before."""
    _before: int
    _offset: int


class SqliteClock:
    """The clock of one process, and what it has shown so far."""

    def __init__(self, wall: Callable[[], int], monotonic: Callable[[], int] | None) -> None:
        """Begin with the clocks as they are now. Both count milliseconds.

        Without a monotonic clock a step is found only if it goes back behind the times that were used.
        """
        self.wall = wall
        self.corrections = 0
        """The number of corrections that this process has written."""
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._offset = 0 if monotonic is None else wall() - monotonic()
        """How far the wall clock was ahead of the monotonic clock at the last look."""
        self._used = (0, 0)

    def use(self, position: int, now: int) -> None:
        """Note the latest time that this process has used, and the position up to which it has read the ledger."""
        self._used = (position, now)

    def is_right(self) -> bool:
        """Whether no correction is due, as far as this process can tell without the ledger."""
        before = self._offset
        wall, expected = self._look(before)
        if self._used[1] - wall > CLOCK_TOLERANCE or abs(wall - expected) > CLOCK_TOLERANCE:
            return False
        self._adopt(before, before + wall - expected)
        return True

    def begin(self, writer: sqlite3.Connection) -> Moment:
        """Insert a correction if one is due, and return the time for what is appended next.

        Call it in a transaction, and `finish` once that is committed. Raises what SQLite raises.
        """
        before = self._offset
        wall, expected = self._look(before)
        position, last = writer.execute(_LAST).fetchone() or (0, 0)
        offset = before + wall - expected
        correction = self._find_correction(writer, wall, expected, last)
        if correction is None:
            return Moment(max(wall, last), None, before, offset)
        position = position or _number(writer, sqlite_checkpoint.PRUNED)
        draft = Draft(
            fact_key=fact_keys.clock_key(position),
            source=Source.OPERATOR,
            kind=EntryKind.CLOCK,
            body=corrections.encode(correction),
        )
        if insert(writer, draft, wall):
            row = writer.execute("SELECT last_insert_rowid()").fetchone()
            value = f"{row[0]} {correction.from_} {correction.to}"
            writer.execute(sqlite_checkpoint.SET_CURSOR, (CORRECTION, value))
        return Moment(wall, correction, before, offset)

    def finish(self, moment: Moment) -> None:
        """Note that the transaction of a moment was committed."""
        self._adopt(moment._before, moment._offset)  # noqa: SLF001 - of this module
        if moment.correction is not None:
            self.corrections += 1
            times = {"from": _readable(moment.correction.from_), "to": _readable(moment.correction.to)}
            _log.warning("the clock was wrong and is corrected: check the host's clock", **times)

    def _find_correction(
        self, writer: sqlite3.Connection, wall: int, expected: int, last: int
    ) -> ClockCorrection | None:
        used_position, used = self._used
        step = wall - expected
        if max(last, used) - wall <= CLOCK_TOLERANCE and abs(step) <= CLOCK_TOLERANCE:
            return None
        row = writer.execute(sqlite_checkpoint.GET_CURSOR, (CORRECTION,)).fetchone()
        corrected_at, from_, to = map(int, row[0].split()) if row else (0, 0, 0)
        # What was used before the last correction was used by the clock that is corrected.
        latest = max(last, used if used_position >= corrected_at else 0)
        is_recorded = abs(wall - to) <= CLOCK_TOLERANCE and (to > from_) == (step > 0)
        if abs(step) <= CLOCK_TOLERANCE or (row is not None and is_recorded):
            # Another process has written the correction of this step.
            step = 0
        if latest - wall > CLOCK_TOLERANCE:
            return ClockCorrection(from_=max(latest, expected) if step < 0 else latest, to=wall)
        return ClockCorrection(from_=expected, to=wall) if step else None

    def _look(self, offset: int) -> tuple[int, int]:
        """The wall clock, and where it would be if nobody had set it since the last look."""
        wall = self.wall()
        return wall, wall if self._monotonic is None else self._monotonic() + offset

    def _adopt(self, before: int, offset: int) -> None:
        """Remember the offset of a look, unless there was another look meanwhile."""
        with self._lock:
            if self._offset == before:
                self._offset = offset


class NewestEvent:
    """The newest time at which anything happened by Adobe's clock."""

    def __init__(self) -> None:
        """Begin without a time."""
        self._known = 0

    def store(self, writer: sqlite3.Connection, drafts: Sequence[Draft]) -> int:
        """Store the newest time of these drafts if it is newer than that of the ledger. Raises what SQLite raises.

        Returns the newest time that the ledger has then. Call `finish` with it once the transaction is committed.
        """
        times = (draft.completed_at for draft in drafts if draft.completed_at is not None)
        newest = max((each for each in times if each < _MAX_TIME), default=0)
        if newest <= self._known:
            return self._known
        if not self._known:
            found = _number(writer, NEWEST_EVENT) or writer.execute(FIND_NEWEST_EVENT).fetchone()[0] or 0
            newest = max(newest, found)
        writer.execute(_RAISE_NEWEST_EVENT, (NEWEST_EVENT, str(newest)))
        return newest

    def finish(self, newest: int) -> None:
        """Note that the transaction that stored this time was committed."""
        self._known = newest


def _number(writer: sqlite3.Connection, name: str) -> int:
    """The number that a cursor holds, or 0."""
    row = writer.execute(sqlite_checkpoint.GET_CURSOR, (name,)).fetchone()
    return int(row[0]) if row else 0


def _readable(moment: int) -> str:
    """A time for the log."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment / 1000))
