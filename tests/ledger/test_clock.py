import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.errors import LedgerUnavailableError
from exporter.ledger import Ledger, corrections, horizon
from exporter.ledger.sqlite import SqliteLedger
from exporter.ledger.sqlite_clock import NEWEST_EVENT
from exporter.model import CLOCK_TOLERANCE, ClockCorrection, EntryKind
from tests.ledger import append, draft, entries

T0 = 1_790_000_000_000
HOUR = 3_600_000


class Clocks:
    """A wall clock and a monotonic one."""

    def __init__(self) -> None:
        self.wall = T0
        self.monotonic = 5_000

    def wait(self, milliseconds: int) -> None:
        """Let time go on."""
        self.wall += milliseconds
        self.monotonic += milliseconds


@pytest.fixture
def clocks() -> Clocks:
    """Clocks that the test sets."""
    return Clocks()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a ledger."""
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path, clocks: Clocks) -> Iterator[SqliteLedger]:
    """A ledger on these clocks."""
    with contextlib.closing(opened(path, clocks)) as made:
        yield made


def opened(path: Path, clocks: Clocks) -> SqliteLedger:
    """A ledger on a file and on these clocks."""
    return SqliteLedger(path, lambda: clocks.wall, monotonic=lambda: clocks.monotonic)


def recorded(ledger: Ledger) -> list[tuple[str, int]]:
    """Kind and time of every entry, in hours after T0."""
    return [(entry.kind, (entry.received_at - T0) // HOUR) for entry in entries(ledger)]


def corrected(ledger: Ledger) -> list[tuple[int, int]]:
    """The two times of every correction, after T0."""
    found = [entry.correction() for entry in entries(ledger) if entry.kind == EntryKind.CLOCK]
    return [(each.from_ - T0, each.to - T0) for each in found]


@pytest.mark.parametrize("position", [0, 7])
def test_a_body_is_read_as_it_was_written(position: int) -> None:
    """The body of a correction holds both times."""
    correction = ClockCorrection(from_=T0 + position, to=T0)
    assert corrections.decode(corrections.encode(correction)) == correction


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"clock": 1}',
        b'{"clock": {"from": 1}}',
        b'{"clock": {"from": "1", "to": 2}}',
        b'{"clock": {"from": 1.5, "to": 2}}',
        b'{"clock": {"from": true, "to": 2}}',
        b'{"clock": {"from": -1, "to": 2}}',
    ],
)
def test_another_body_is_no_correction(body: bytes) -> None:
    """A body that holds no two times raises ValueError."""
    with pytest.raises(ValueError, match=r"."):
        corrections.decode(body)


def test_an_append_corrects_the_clock_first(path: Path, clocks: Clocks) -> None:
    """With a clock behind the last entry, the correction comes before what is appended, which has the right time."""
    clocks.wall += 9 * HOUR
    with contextlib.closing(opened(path, clocks)) as ahead:
        append(ahead, draft(), draft())
    clocks.wall -= 9 * HOUR
    with contextlib.closing(opened(path, clocks)) as right:
        append(right, draft())
        append(right, draft())
        assert recorded(right) == [("unsupported", 9)] * 2 + [("clock", 0)] + [("unsupported", 0)] * 2
        assert corrected(right) == [(9 * HOUR, 0)]
        assert right.clock_corrections() == 1
        with contextlib.closing(sqlite3.connect(path)) as connection:
            key = connection.execute("SELECT fact_key FROM entry WHERE kind = 'clock'").fetchone()
        assert key == ("clock:2",)


@pytest.mark.parametrize(("behind", "count"), [(1, 0), (CLOCK_TOLERANCE, 0), (CLOCK_TOLERANCE + 1, 1)])
def test_small_steps_move_nothing_back(path: Path, clocks: Clocks, behind: int, count: int) -> None:
    """Up to the tolerance the time of recording stays at the last one, and no correction is written."""
    with contextlib.closing(opened(path, clocks)) as ledger:
        append(ledger, draft())
        clocks.wall -= behind
        append(ledger, draft())
        assert len(corrected(ledger)) == count
        assert entries(ledger)[-1].received_at == (T0 - behind if count else T0)


def test_what_was_used_counts_too(ledger: SqliteLedger, clocks: Clocks) -> None:
    """A clock that is behind the latest time that a follower has used is corrected without any new entry, once."""
    append(ledger, draft())
    assert ledger.correct_clock(1, T0 + 9 * HOUR)
    assert corrected(ledger) == [(9 * HOUR, 0)]
    # The follower has not read the correction yet.
    assert not ledger.correct_clock(1, T0 + 9 * HOUR)
    append(ledger, draft())
    assert not ledger.correct_clock(3, T0)
    assert len(corrected(ledger)) == 1
    clocks.wait(HOUR)
    assert ledger.correct_clock(3, T0 + 9 * HOUR)


@pytest.mark.parametrize("step", [6 * HOUR, -6 * HOUR])
@pytest.mark.parametrize("by_append", [True, False])
def test_a_step_against_the_monotonic_clock(ledger: SqliteLedger, clocks: Clocks, step: int, by_append: bool) -> None:
    """A step in either direction is recorded once, with the time at which the old clock would be."""
    append(ledger, draft())
    clocks.wait(HOUR)
    clocks.wall += step
    if by_append:
        append(ledger, draft())
    assert ledger.correct_clock(1, T0 + HOUR) is not by_append
    assert not ledger.correct_clock(2, T0 + HOUR + step)
    assert corrected(ledger) == [(HOUR, HOUR + step)]


def test_time_that_passes_is_no_step(ledger: SqliteLedger, clocks: Clocks) -> None:
    """However much time passes between two looks, both clocks agree and nothing is corrected."""
    for _ in range(3):
        clocks.wait(400 * 24 * HOUR)
        append(ledger, draft())
        assert not ledger.correct_clock(1, clocks.wall)
    assert corrected(ledger) == []


@pytest.mark.parametrize("step", [6 * HOUR, -6 * HOUR])
def test_of_two_processes_one_writes(path: Path, clocks: Clocks, step: int) -> None:
    """Two processes that have seen the same step write one correction."""
    with contextlib.closing(opened(path, clocks)) as first, contextlib.closing(opened(path, clocks)) as second:
        append(first, draft())
        clocks.wall += step
        assert first.correct_clock(1, T0)
        assert not second.correct_clock(1, T0)
        append(second, draft())
        assert corrected(first) == [(0, step)]
        assert (first.clock_corrections(), second.clock_corrections()) == (1, 0)


def test_a_correction_that_cannot_be_written_is_tried_again(
    path: Path, ledger: SqliteLedger, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another program holds the lock it raises, and once the lock is free the correction is written."""
    monkeypatch.setattr("exporter.ledger.sqlite_file._BUSY_MILLISECONDS", 1)
    append(ledger, draft())
    clocks.wall += 6 * HOUR
    ledger._writer.execute("PRAGMA busy_timeout = 1")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailableError):
            ledger.correct_clock(1, T0)
    assert ledger.clock_corrections() == 0
    assert ledger.correct_clock(1, T0)


def test_an_empty_ledger_can_be_corrected(ledger: SqliteLedger) -> None:
    """A follower that has used a time beyond the clock has it corrected, also where every entry was pruned."""
    assert ledger.correct_clock(0, T0 + HOUR)
    for position in (1, 2):
        ledger.save_checkpoint(position, b"state")
    assert ledger.prune(T0 + 1, 1, 10) == 1
    assert ledger.correct_clock(1, T0 + HOUR)
    assert [entry.position for entry in entries(ledger)] == [2]


def test_only_the_first_entries_that_are_all_old_are_pruned(path: Path, clocks: Clocks) -> None:
    """An old entry behind one that is not old stays."""
    with contextlib.closing(opened(path, clocks)) as ledger:
        append(ledger, draft())
        clocks.wall += 9 * HOUR
        append(ledger, draft())
        clocks.wall -= 9 * HOUR
        append(ledger, draft())
        for position in (9, 10):
            ledger.save_checkpoint(position, b"state")
        assert recorded(ledger) == [
            ("unsupported", 0),
            ("clock", 9),
            ("unsupported", 9),
            ("clock", 0),
            ("unsupported", 0),
        ]
        assert ledger.prune(T0 + HOUR, 10, 10) == 1
        assert ledger.prune(T0 + 10 * HOUR, 10, 10) == 4


def test_the_newest_time_that_adobe_gave(path: Path, ledger: SqliteLedger, clocks: Clocks) -> None:
    """It is that of the newest entry by Adobe's times, over restarts, from any process, and after pruning."""
    assert ledger.newest_event_time() is None
    append(ledger, draft(), draft(completed_at=500))
    append(ledger, draft(completed_at=300))
    assert ledger.newest_event_time() == 500
    with contextlib.closing(opened(path, clocks)) as other:
        append(other, draft(completed_at=400))
        assert other.newest_event_time() == 500
        append(other, draft(completed_at=900))
    append(ledger, draft(completed_at=700))
    for position in (9, 10):
        ledger.save_checkpoint(position, b"state")
    assert ledger.prune(T0 + 1, 10, 10) == 6
    assert ledger.newest_event_time() == 900


def test_an_older_ledger_is_asked_for_its_newest_entries(path: Path, ledger: SqliteLedger, clocks: Clocks) -> None:
    """A ledger without that row takes the time from its entries, and keeps it from the next append on."""
    append(ledger, draft(completed_at=500))
    ledger._run_between_commits(lambda writer: writer.execute("DELETE FROM cursor WHERE name = ?", (NEWEST_EVENT,)))
    with contextlib.closing(opened(path, clocks)) as other:
        assert other.newest_event_time() == 500
        append(other, draft(completed_at=100))
        assert other.cursor(NEWEST_EVENT) == "500"


def test_data_that_is_refused_leaves_the_newest_time(ledger: SqliteLedger) -> None:
    """A request whose data is refused at first stores its newest time with what is stored of it."""
    append(ledger, draft(completed_at=500, sandbox="\ud800"), draft(completed_at=600))
    assert ledger.newest_event_time() == 600


@pytest.mark.parametrize(("newest", "expected"), [(None, -50), (T0 - 5, -55), (T0 + 5, -50)])
def test_the_horizon_is_that_of_the_earlier_clock(ledger: SqliteLedger, newest: int | None, expected: int) -> None:
    """What can have been pruned is old by the ledger's clock and by Adobe's times."""
    append(ledger, draft(completed_at=newest))
    assert horizon(ledger, T0, 50) - T0 == expected


def test_the_real_clocks_need_no_correction(path: Path) -> None:
    """With the clocks of this host no correction is written."""
    with contextlib.closing(SqliteLedger(path)) as ledger:
        asyncio.run(ledger.check_writable())
        append(ledger, draft())
        assert not ledger.correct_clock(1, ledger.now())
        assert corrected(ledger) == []
