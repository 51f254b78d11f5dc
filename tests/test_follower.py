import asyncio
import contextlib
import sqlite3
import sys
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import Future, wait
from pathlib import Path

import pytest

from exporter.adobe.payloads import read
from exporter.errors import DefectError, LedgerUnavailableError, NotCaughtUpError
from exporter.follower import Follower, FollowerStatus
from exporter.ledger import Draft
from exporter.ledger.sqlite import SqliteLedger
from exporter.metrics.checkpoint import encode
from exporter.metrics.exposition import Format
from exporter.metrics.fold import VERSION, Fold
from exporter.model import EntryKind, Fact, RecordedFact, Source
from tests.metrics.facts import DAY, MINUTE, T0, limits
from tests.metrics.reference import render

RUN = b'{"id": "run-%d", "flowId": "f", "metrics": {"statusSummary": {"status": "failed"}}}'


async def append(ledger: SqliteLedger, first: int, count: int) -> None:
    """Append this many runs, one after the other."""
    for number in range(first, first + count):
        body = RUN % number
        await ledger.append(
            [
                Draft(
                    fact_key=f"run:{number}",
                    source=Source.WEBHOOK,
                    kind=EntryKind.RUN,
                    run_id=str(number),
                    body=body,
                    is_outcome=True,
                )
            ]
        )


def test_a_catch_up_goes_to_the_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One catch-up applies every entry once, however many pages they fill."""
    monkeypatch.setattr("exporter.follower._PAGE", 7)
    ledger = SqliteLedger(tmp_path / "ledger.db")
    fold = Fold(limits(0))
    follower = Follower(ledger, fold, read)
    try:
        asyncio.run(append(ledger, 0, 30))
        assert follower.catch_up() == 30
        assert follower.catch_up() == 0
        asyncio.run(append(ledger, 30, 5))
        assert follower.catch_up() == 5
    finally:
        follower.close()
        ledger.close()
    assert fold.flows == 1


def test_it_is_ready_once_it_has_caught_up(tmp_path: Path) -> None:
    """The check raises NotCaughtUpError before the first catch-up and passes after it."""
    ledger = SqliteLedger(tmp_path / "ledger.db")
    follower = Follower(ledger, Fold(limits(0)), read)
    try:
        with pytest.raises(NotCaughtUpError):
            follower.check()
        follower.catch_up()
        follower.check()
    finally:
        follower.close()
        ledger.close()


@pytest.mark.parametrize("failure", [LedgerUnavailableError("away"), RuntimeError("a defect")])
def test_following_goes_on_after_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    """Following goes on after the ledger could not be read, and after a defect."""
    monkeypatch.setattr("exporter.follower.CATCH_UP_INTERVAL", 0.01)
    ledger = SqliteLedger(tmp_path / "ledger.db")
    follower = Follower(ledger, Fold(limits(0)), read)
    caught_up = threading.Event()
    failures = [failure, failure]
    original = ledger.head

    def flaky() -> int:
        if failures:
            raise failures.pop()
        caught_up.set()
        return original()

    monkeypatch.setattr(ledger, "head", flaky)

    async def scenario() -> None:
        following = asyncio.create_task(follower.run())
        assert await asyncio.to_thread(caught_up.wait, 10)
        await follower.render_at_head(lambda _series, _status: None)
        follower.check()
        following.cancel()

    try:
        asyncio.run(scenario())
    finally:
        follower.close()
        ledger.close()


def test_scrapes_at_the_same_time_wait_for_each_other(tmp_path: Path) -> None:
    """Scrapes at the same time each render the fold at the ledger's head."""
    ledger = SqliteLedger(tmp_path / "ledger.db")
    follower = Follower(ledger, Fold(limits(0)), read)

    async def scenario() -> list[int]:
        await append(ledger, 0, 3)
        return [
            status.position
            for status in await asyncio.gather(
                *(follower.render_at_head(lambda _series, status: status) for _ in range(5))
            )
        ]

    try:
        assert asyncio.run(scenario()) == [3] * 5
    finally:
        follower.close()
        ledger.close()


def test_one_entry_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that can't be applied is skipped and counted, and the metrics include the later ones."""
    ledger = SqliteLedger(tmp_path / "ledger.db")
    fold = Fold(limits(0))
    follower = Follower(ledger, fold, read)
    apply = fold.apply

    def failing(recorded: RecordedFact) -> None:
        if recorded.position == 2:
            raise RuntimeError("a defect")
        apply(recorded)

    monkeypatch.setattr(fold, "apply", failing)
    try:
        asyncio.run(append(ledger, 0, 3))
        status = asyncio.run(follower.render_at_head(lambda _series, status: status))
    finally:
        follower.close()
        ledger.close()
    assert (status.position, status.failures) == (3, {"fold": 1})


def test_a_failing_gauge_raises_a_known_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the metrics can't be computed, render_at_head raises DefectError."""
    ledger = SqliteLedger(tmp_path / "ledger.db")
    fold = Fold(limits(0))
    follower = Follower(ledger, fold, read)

    def failing(now: int) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(fold, "advance", failing)
    try:
        with pytest.raises(DefectError):
            asyncio.run(follower.render_at_head(lambda _series, status: status))
    finally:
        follower.close()
        ledger.close()


class Following:
    """A ledger with a follower that can be restarted."""

    def __init__(self, folder: Path) -> None:
        self.now = T0
        self.path = folder / "ledger.db"
        self.ledger = SqliteLedger(self.path, clock=lambda: self.now)
        self.begin()

    def begin(self) -> None:
        """Start a process."""
        self.fold = Fold(limits())
        self.follower = Follower(self.ledger, self.fold, read)

    def end(self) -> None:
        """End the process in an orderly way."""
        asyncio.run(self.follower.finish())
        self.follower.close()

    def status(self) -> FollowerStatus:
        """The follower's status at the head."""
        return asyncio.run(self.follower.render_at_head(lambda _series, status: status))

    def text(self) -> str:
        """The flow half of a scrape."""
        return asyncio.run(
            self.follower.render_at_head(lambda series, _status: render(series, None, Format.OPENMETRICS))
        ).decode()


@pytest.fixture
def following(tmp_path: Path) -> Iterator[Following]:
    """A follower on a ledger with three entries."""
    made = Following(tmp_path)
    asyncio.run(append(made.ledger, 0, 3))
    yield made
    made.follower.close()
    made.ledger.close()


def test_an_orderly_end_writes_a_checkpoint(following: Following) -> None:
    """After an orderly end the next start reads no entry again and shows the same."""
    before = following.text()
    following.end()
    assert [each.position for each in following.ledger.checkpoints()] == [3]
    following.begin()
    assert following.follower.catch_up() == 0
    assert following.text() == before
    assert following.status().checkpoint_position == 3


def test_a_start_without_a_checkpoint_reads_everything(following: Following) -> None:
    """After a process was killed before its first checkpoint, the next start reads every entry and shows the same."""
    before = following.text()
    following.follower.close()
    following.begin()
    assert following.follower.catch_up() == 3
    assert following.text() == before


def test_a_start_reads_only_the_tail(following: Following) -> None:
    """A start reads the entries after the checkpoint, and none before it."""
    following.follower.catch_up()
    following.end()
    asyncio.run(append(following.ledger, 3, 2))
    following.begin()
    assert following.follower.catch_up() == 2
    assert following.status().position == 5
    assert 'aep_flow_runs_total{flow_id="f",sandbox="",status="failed"} 5.0' in following.text()


def test_pruned_entries_stay_in_the_metrics(following: Following) -> None:
    """Pruned entries that a checkpoint includes are still in the metrics."""
    before = following.text()
    following.ledger.save_checkpoint(3, encode(following.fold.state()))
    following.ledger.save_checkpoint(4, b"one that can't be read")
    assert following.ledger.prune(T0 + 1, 3, 100) == 3
    following.follower.close()
    following.begin()
    assert following.text() == before
    assert following.status().failures == {"checkpoint": 1}


def test_without_a_readable_checkpoint_everything_is_read(following: Following) -> None:
    """If no checkpoint can be read and no entry is pruned, all entries are read and the checkpoints replaced."""
    following.ledger.save_checkpoint(2, b"junk")
    following.ledger.save_checkpoint(3, b"")
    assert following.follower.catch_up() == 3
    assert following.status().failures == {"checkpoint": 2}
    following.end()
    assert [each.position for each in following.ledger.checkpoints()] == [3]
    following.begin()
    assert following.follower.catch_up() == 0


def test_without_a_readable_checkpoint_after_pruning_nothing_is_shown(following: Following) -> None:
    """If no checkpoint can be read and entries were pruned, nothing is shown and no checkpoint is changed."""
    before = following.text()
    good = encode(following.fold.state())
    for position in (3, 4):
        following.ledger.save_checkpoint(position, good)
    assert following.ledger.prune(T0 + 1, 3, 100) == 3
    for position in (3, 4):
        following.ledger.save_checkpoint(position, b"of a version to come")
    following.follower.close()
    following.begin()
    with pytest.raises(LedgerUnavailableError, match="no checkpoint can be read"):
        following.follower.catch_up()
    with pytest.raises(LedgerUnavailableError):
        following.follower.check()
    following.end()
    assert following.ledger.checkpoint(4) == b"of a version to come"
    following.ledger.save_checkpoint(4, good)
    following.begin()
    assert following.text() == before


def test_entries_pruned_before_they_were_read_are_an_error(following: Following) -> None:
    """A process raises LedgerUnavailableError if entries that it has not read were pruned."""
    following.follower.catch_up()
    asyncio.run(append(following.ledger, 3, 3))
    for position in (5, 6):
        following.ledger.save_checkpoint(position, b"another's")
    assert following.ledger.prune(T0 + 1, 4, 100) == 4
    with pytest.raises(LedgerUnavailableError, match="restart it"):
        following.follower.catch_up()


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        pytest.param([], 0, id="none"),
        pytest.param([True], 0, id="one"),
        pytest.param([True, True], 3, id="two"),
        pytest.param([True, False], 0, id="the-newer-is-damaged"),
        pytest.param([False, True], 0, id="the-older-is-damaged"),
    ],
)
def test_only_what_two_readable_checkpoints_hold_is_prunable(
    following: Following, states: list[bool], expected: int
) -> None:
    """Entries are prunable if both checkpoints that include them can be read, and not otherwise."""
    following.follower.catch_up()
    for position, is_good in enumerate(states, start=3):
        following.ledger.save_checkpoint(position, encode(following.fold.state()) if is_good else b"junk")
    assert asyncio.run(following.follower.checkpoints.prunable(0)) == expected


def test_a_damaged_checkpoint_is_replaced_first(following: Following) -> None:
    """The next checkpoint replaces one that can't be read, and not a good one."""
    following.follower.catch_up()
    following.ledger.save_checkpoint(1, encode(Fold(limits()).state()))
    following.ledger.save_checkpoint(2, b"junk")
    following.follower.close()
    following.begin()
    following.follower.catch_up()
    following.end()
    assert [each.position for each in following.ledger.checkpoints()] == [3, 1]


def test_a_checkpoint_written_over_a_damaged_one_is_kept(following: Following) -> None:
    """A checkpoint written at the position of an unreadable one is kept beside the next one."""
    following.ledger.save_checkpoint(3, b"junk")
    following.follower.catch_up()
    asyncio.run(following.follower.checkpoints.save(min_age=0))
    asyncio.run(append(following.ledger, 3, 1))
    following.follower.catch_up()
    following.end()
    assert [each.position for each in following.ledger.checkpoints()] == [4, 3]


def test_a_checkpoint_from_the_future_does_not_stop_others(following: Following) -> None:
    """Checkpoints are written after one whose clock was far ahead."""
    following.now = T0 + DAY
    following.ledger.save_checkpoint(1, encode(Fold(limits()).state()))
    following.now = T0
    following.follower.catch_up()
    asyncio.run(following.follower.checkpoints.save(min_age=150))
    assert [each.position for each in following.ledger.checkpoints()] == [3, 1]


def test_now_does_not_fall_over_a_restart(tmp_path: Path) -> None:
    """A series whose hold has ended stays so after a restart with a clock that went back."""
    following = Following(tmp_path)
    following.fold = Fold(limits(hold=MINUTE))
    following.follower = Follower(following.ledger, following.fold, read)
    asyncio.run(append(following.ledger, 0, 1))
    asyncio.run(following.follower.checkpoints.save(min_age=0))
    following.now += 2 * MINUTE
    assert 'status="failed"} 1.0' in following.text()
    following.end()
    following.now -= 2 * MINUTE
    following.fold = Fold(limits(hold=MINUTE))
    following.follower = Follower(following.ledger, following.fold, read)
    assert 'status="failed"} 1.0' in following.text()
    following.follower.close()
    following.ledger.close()


def test_an_empty_ledger_has_no_checkpoint(tmp_path: Path) -> None:
    """No checkpoint is written for an empty ledger."""
    following = Following(tmp_path)
    following.follower.catch_up()
    following.end()
    assert following.ledger.checkpoints() == []
    following.ledger.close()


def test_an_end_during_a_catch_up_writes_a_checkpoint(following: Following) -> None:
    """A process that ends while it catches up writes a checkpoint, and the next one goes on from there."""
    apply = following.fold.apply

    def applied(fact: RecordedFact) -> None:
        apply(fact)
        following.follower._is_closing = fact.position == 2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(following.fold, "apply", applied)
        patch.setattr("exporter.follower._PAGE", 1)
        assert following.follower.catch_up() == 2
    following.end()
    following.begin()
    assert following.follower.catch_up() == 1


def test_checkpoints_are_written_regularly(following: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process writes checkpoints while it runs, unless the newest one is younger than the interval."""
    monkeypatch.setattr("exporter.checkpoints.CHECKPOINT_INTERVAL", 0.01)
    kept = threading.Event()
    save = following.ledger.save_checkpoint

    def saved(position: int, state: bytes, discard: Collection[int]) -> None:
        save(position, state, discard)
        kept.set()

    monkeypatch.setattr(following.ledger, "save_checkpoint", saved)

    async def scenario() -> list[int]:
        await following.follower.render_at_head(lambda _series, _status: None)
        keeping = asyncio.create_task(following.follower.checkpoints.run())
        assert await asyncio.to_thread(kept.wait, 10)
        await append(following.ledger, 3, 1)
        await following.follower.render_at_head(lambda _series, _status: None)
        # The ledger's clock stands still, so the last checkpoint has no age.
        await asyncio.sleep(0.05)
        early = [each.position for each in following.ledger.checkpoints()]
        kept.clear()
        following.now += 60_000
        assert await asyncio.to_thread(kept.wait, 10)
        keeping.cancel()
        return early

    assert asyncio.run(scenario()) == [3]
    assert [each.position for each in following.ledger.checkpoints()] == [4, 3]


@pytest.mark.parametrize("failure", [LedgerUnavailableError("away"), RuntimeError("a defect")])
def test_a_checkpoint_that_can_not_be_written_is_counted(
    following: Following, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """A checkpoint that can't be written is counted, and following goes on."""

    def failing(position: int, state: bytes, discard: Collection[int]) -> None:
        raise failure

    monkeypatch.setattr(following.ledger, "save_checkpoint", failing)
    following.follower.catch_up()
    asyncio.run(following.follower.finish())
    assert following.status().failures == {"checkpoint": 1}


def entry_of(following: Following, number: int, **columns: object) -> None:
    """Append one run, and write other values into columns of its row."""
    asyncio.run(append(following.ledger, number, 1))
    with contextlib.closing(sqlite3.connect(following.path)) as other, other:
        for name, value in columns.items():
            other.execute(f"UPDATE entry SET {name} = ? WHERE position = (SELECT max(position) FROM entry)", (value,))


def checkpoint_positions(following: Following) -> list[int]:
    """The positions of the checkpoints, the newest first."""
    return [each.position for each in following.ledger.checkpoints()]


def test_checkpoints_follow_the_work_done(following: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint is written after so many entries, also in the middle of a catch-up and without an end."""
    monkeypatch.setattr("exporter.follower._PAGE", 5)
    monkeypatch.setattr("exporter.checkpoints.CHECKPOINT_ENTRIES", 10)
    asyncio.run(append(following.ledger, 3, 44))
    written: list[int] = []
    save = following.ledger.save_checkpoint

    def saved(position: int, state: bytes, discard: Collection[int]) -> None:
        save(position, state, discard)
        written.append(position)

    monkeypatch.setattr(following.ledger, "save_checkpoint", saved)
    submit = following.follower.checkpoints._saver.submit
    # The test waits for each, so that none is still being written when the next one is due.
    monkeypatch.setattr(following.follower.checkpoints._saver, "submit", lambda *work: wait_for(submit(*work)))
    before = following.text()
    assert written == [10, 20, 30, 40]
    following.follower.close()
    following.begin()
    assert following.follower.catch_up() == 7
    assert following.text() == before


def wait_for(work: "Future[None]") -> "Future[None]":
    """The future once it is done."""
    wait([work], timeout=10)
    return work


def test_another_process_has_written_a_checkpoint(following: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catch-up writes no checkpoint where another process wrote one a few entries before."""
    monkeypatch.setattr("exporter.checkpoints.CHECKPOINT_ENTRIES", 3)
    following.ledger.save_checkpoint(2, encode(Fold(limits()).state()))
    following.follower._has_begun = True
    following.follower.catch_up()
    following.follower.close()
    assert checkpoint_positions(following) == [2]


def test_a_checkpoint_that_fails_during_a_catch_up_is_counted(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A catch-up goes on when its checkpoint can't be written, and does not try again at each page."""
    monkeypatch.setattr("exporter.follower._PAGE", 1)
    monkeypatch.setattr("exporter.checkpoints.CHECKPOINT_ENTRIES", 2)

    def failing(position: int, state: bytes, discard: Collection[int]) -> None:
        raise LedgerUnavailableError("away")

    monkeypatch.setattr(following.ledger, "save_checkpoint", failing)
    assert following.follower.catch_up() == 3
    following.follower.close()
    assert following.follower.checkpoints.failures == 1


SKIPPED: list[dict[str, object]] = [
    {"source": "a newer one"},
    {"kind": "of a newer version"},
    {"kind": "run", "body": b"makes the reader raise"},
    {"kind": b"\xff".decode("latin-1")},
]


def reader(body: bytes, recorded_at: int, event_code: str) -> Fact:
    """Read a body as the program does, and fail on one."""
    if body == b"makes the reader raise":
        raise ZeroDivisionError("a defect")
    return read(body, recorded_at, event_code)


@pytest.mark.parametrize("columns", SKIPPED, ids=str)
def test_an_entry_that_can_not_be_read_is_skipped(
    following: Following, columns: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    """An entry that can't be read changes no series, hides no other, is counted, and is logged once."""
    following.follower = Follower(following.ledger, following.fold, reader)
    expected = following.text()
    entry_of(following, 3, **columns)
    assert following.text() == expected
    following.follower.check()
    assert following.status().failures == {"read": 1}
    assert following.follower.skipped == 1
    asyncio.run(append(following.ledger, 4, 1))
    assert 'status="failed"} 4.0' in following.text()
    assert capsys.readouterr().out.count("an entry of the ledger was skipped") == 1
    following.end()
    following.begin()
    following.follower = Follower(following.ledger, following.fold, reader)
    assert following.follower.catch_up() == 0
    assert following.follower.skipped == 1


def test_a_damaged_row_is_skipped(following: Following) -> None:
    """A row that holds no UTF-8 is skipped, and the entries around it are in the metrics."""
    asyncio.run(append(following.ledger, 3, 2))
    with contextlib.closing(sqlite3.connect(following.path)) as other, other:
        other.execute("UPDATE entry SET event_code = CAST(x'ff61' AS TEXT) WHERE position = 2")
    assert 'status="failed"} 4.0' in following.text()
    assert following.status().failures == {"read": 1}
    assert following.status().position == 5
    for position in (4, 5):
        following.ledger.save_checkpoint(position, encode(following.fold.state()))
    assert asyncio.run(following.follower.checkpoints.prunable(0)) == 4


def test_a_version_that_can_read_a_skipped_entry_reads_it(following: Following) -> None:
    """A start of a version that can read what the newest checkpoint lacks begins at an older one, or at the first."""
    following.follower.catch_up()
    asyncio.run(following.follower.checkpoints.save(min_age=0))
    entry_of(following, 3, source="a newer one")
    following.follower.catch_up()
    following.end()
    assert checkpoint_positions(following) == [4, 3]
    with contextlib.closing(sqlite3.connect(following.path)) as other, other:
        other.execute("UPDATE entry SET source = 'webhook'")
    following.begin()
    assert following.follower.catch_up() == 1
    assert following.follower.skipped == 0
    assert 'status="failed"} 4.0' in following.text()
    following.end()
    assert checkpoint_positions(following) == [4, 3]
    following.begin()
    assert following.follower.catch_up() == 0


def test_a_version_that_can_read_a_skipped_entry_begins_anew(following: Following) -> None:
    """If every checkpoint lacks an entry that can be read and nothing was pruned, a start reads everything."""
    entry_of(following, 3, kind="of a newer version")
    following.follower.catch_up()
    asyncio.run(following.follower.checkpoints.save(min_age=0))
    asyncio.run(append(following.ledger, 4, 1))
    following.follower.catch_up()
    following.end()
    with contextlib.closing(sqlite3.connect(following.path)) as other, other:
        other.execute("UPDATE entry SET kind = 'run'")
    following.begin()
    assert following.follower.catch_up() == 5
    assert 'status="failed"} 5.0' in following.text()
    assert asyncio.run(following.follower.checkpoints.prunable(0)) == 0


def test_a_skipped_entry_stays_out_where_the_others_are_gone(following: Following) -> None:
    """If entries were pruned, a start uses a checkpoint that lacks a readable entry, because counters would fall."""
    entry_of(following, 3, kind="of a newer version")
    before = following.text()
    for position in (4, 5):
        following.ledger.save_checkpoint(position, encode(following.fold.state()))
    following.ledger.prune(T0 + 1, 3, 100)
    with contextlib.closing(sqlite3.connect(following.path)) as other, other:
        other.execute("UPDATE entry SET kind = 'run'")
    following.follower.close()
    following.begin()
    assert following.text() == before
    assert following.follower.skipped == 1


@pytest.mark.parametrize(("older", "count"), [(0, 0), (1, 4)], ids=["same-version", "newer-version"])
def test_an_entry_that_could_not_be_folded(
    following: Following, monkeypatch: pytest.MonkeyPatch, older: int, count: int
) -> None:
    """An entry that could not be folded is tried again by a later version of the fold, and not by the same one."""
    monkeypatch.setattr(following.fold, "apply", lambda _fact: 1 / 0)
    asyncio.run(append(following.ledger, 3, 1))
    following.follower.catch_up()
    assert following.follower.skipped == 4
    following.end()
    monkeypatch.setattr("exporter.earlier_checkpoints.VERSION", VERSION + older)
    following.begin()
    assert following.follower.catch_up() == count


@pytest.mark.parametrize(("skipped_after", "expected"), [(0, 3), (T0, 3), (T0 + 1, 5)], ids=str)
def test_pruning_waits_for_a_skipped_entry(following: Following, skipped_after: int, expected: int) -> None:
    """An entry that was skipped and those after it are not prunable, unless it was recorded too long ago."""
    entry_of(following, 3, source="a newer one")
    asyncio.run(append(following.ledger, 4, 2))
    following.follower.catch_up()
    for position in (5, 6):
        following.ledger.save_checkpoint(position, encode(following.fold.state()))
    assert asyncio.run(following.follower.checkpoints.prunable(skipped_after)) == expected


def test_a_defect_in_following_is_not_ready(
    following: Following, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While a defect keeps the ledger from being followed the check raises DefectError, and the log has it once."""
    following.follower.catch_up()

    def failing() -> int:
        raise ValueError("a defect")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(following.ledger, "head", failing)
        for _ in range(3):
            with pytest.raises(ValueError, match="a defect"):
                following.follower.catch_up()
        with pytest.raises(DefectError):
            following.status()
        with pytest.raises(DefectError):
            following.follower.check()
    assert capsys.readouterr().out.count("Traceback") == 1
    following.follower.catch_up()
    following.follower.check()


def test_far_behind_it_gets_the_processor(following: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower that is far behind says so and has longer turns, and both end with the catch-up."""
    monkeypatch.setattr("exporter.follower.FAR_BEHIND_AT_START", 1)
    monkeypatch.setattr("exporter.follower._SWITCH_INTERVAL", 0.004)
    before = sys.getswitchinterval()
    apply = following.fold.apply
    seen: list[tuple[bool, float]] = []

    def applied(fact: RecordedFact) -> None:
        apply(fact)
        seen.append((following.follower.is_far_behind(), round(sys.getswitchinterval(), 4)))
        with pytest.raises(NotCaughtUpError, match="3 entries are left"):
            following.follower.check()

    monkeypatch.setattr(following.fold, "apply", applied)
    following.follower.catch_up()
    assert seen == [(True, 0.004)] * 3
    assert not following.follower.is_far_behind()
    assert sys.getswitchinterval() == before
