"""A ledger that is followed without being written to."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.errors import LedgerMissingError, LedgerUnavailableError
from exporter.ledger import DAMAGED, Followed
from exporter.ledger.sqlite import SqliteLedger
from exporter.ledger.sqlite_following import follow
from exporter.ledger.sqlite_reading import Reader
from tests.ledger import append, draft

SECONDS = 60.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger with five entries, two checkpoints and a row that is damaged, which nobody has open."""
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    for number in range(5):
        append(ledger, draft(flow_id=f"f{number}"))
    ledger.save_checkpoint(2, b"older")
    ledger.save_checkpoint(4, b"newer")
    ledger.prune(1 << 60, 1, 1)
    ledger.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE entry SET flow_id = CAST(x'ff' AS TEXT) WHERE position = 3")
    connection.commit()
    connection.close()
    return path


def answers(ledger: Followed) -> list[object]:
    """What a follower asks, but for the clock."""
    return [
        ledger.head(),
        ledger.pruned(),
        ledger.checkpoints(),
        [ledger.checkpoint(position) for position in (2, 3, 4)],
        [ledger.read(after, limit) for after in range(6) for limit in (1, 100)],
        ledger.clock_corrections(),
        ledger.size() > 0,
    ]


def test_a_follower_reads_the_same_as_one_that_writes(path: Path) -> None:
    """Entries, checkpoints and what was pruned are the same, whether the ledger is in use or not."""
    alone = follow(path, SECONDS, answers)
    ledger = SqliteLedger(path)
    in_use = follow(path, SECONDS, answers)
    assert alone == in_use == answers(ledger)
    ledger.close()
    assert follow(path, SECONDS, lambda ledger: ledger.read(2, 9))[0].kind == DAMAGED


def test_nothing_is_written(path: Path) -> None:
    """A checkpoint is refused, the clock is not corrected, and the files stay as they are."""

    def write(ledger: Followed) -> None:
        assert not ledger.correct_clock(5, ledger.now() + (1 << 40))
        with pytest.raises(LedgerUnavailableError):
            ledger.save_checkpoint(5, b"state")

    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    follow(path, SECONDS, write)
    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == before


def test_all_is_of_one_moment(path: Path) -> None:
    """What another process commits meanwhile is not seen, so that positions and entries go together."""
    ledger = SqliteLedger(path)

    def append_between(followed: Followed) -> tuple[int, int]:
        before = followed.head()
        append(ledger, draft())
        return before, followed.head()

    before, after = follow(path, SECONDS, append_between)
    assert before == after < ledger.head()
    ledger.close()


def test_a_missing_ledger_is_not_made(tmp_path: Path) -> None:
    """Where there is no ledger the error says so."""
    with pytest.raises(LedgerMissingError):
        follow(tmp_path / "ledger.db", SECONDS, answers)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ask", [lambda ledger: ledger.head(), lambda ledger: ledger.read(0, 9)])
def test_following_ends_when_its_time_is_over(
    path: Path, ask: Callable[[Followed], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its seconds every question raises the error of a ledger that can't be read now."""
    with pytest.raises(LedgerUnavailableError, match="takes too long: start the exporter"):
        follow(path, 0.0, ask)

    def ask_late(ledger: Followed) -> None:
        monkeypatch.setattr(Reader, "is_late", lambda _: True)
        ask(ledger)

    with pytest.raises(LedgerUnavailableError, match="takes too long: start the exporter"):
        follow(path, SECONDS, ask_late)
