"""Wrong clocks, seen from /metrics: a ledger with followers, whose wall clock is set while true time goes on."""

import asyncio
import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.adobe.payloads import read
from exporter.errors import LedgerUnavailableError
from exporter.follower import Follower
from exporter.ledger import Draft, Ledger
from exporter.ledger.sqlite import SqliteLedger
from exporter.metrics.catalogue import CATALOGUE, MetricType
from exporter.metrics.exposition import Format
from exporter.metrics.fold import Fold
from exporter.model import EntryKind, Source
from exporter.retention import Retention
from tests.metrics.facts import DAY, HOUR, MINUTE, SECOND, T0, limits, samples
from tests.metrics.reference import render

HOLD = 150 * SECOND
COUNTERS = tuple(metric.name for metric in CATALOGUE if metric.type is not MetricType.GAUGE)
AHEAD = [pytest.param(2 * HOUR, id="2h"), pytest.param(46 * DAY, id="46d"), pytest.param(400 * DAY, id="400d")]
OFF = [*AHEAD, pytest.param(-2 * HOUR, id="-2h"), pytest.param(-400 * DAY, id="-400d")]

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Process:
    """A process on the ledger's file."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.ledger = SqliteLedger(world.path, lambda: world.wall, monotonic=lambda: world.true)
        self.fold = Fold(limits(HOLD, world.ttl))
        self.follower = Follower(self.ledger, self.fold, read)

    def text(self) -> str:
        """The flow half of a scrape, with start timestamps."""
        return asyncio.run(
            self.follower.render_at_head(
                lambda series, _status: render(series, None, Format.OPENMETRICS, start_timestamps=True)
            )
        ).decode()

    def counters(self) -> Samples:
        """The counters, buckets and sums of a scrape."""
        text = asyncio.run(
            self.follower.render_at_head(lambda series, _status: render(series, None, Format.TEXT))
        ).decode()
        return {key: number for key, number in samples(text).items() if key[0].startswith(COUNTERS)}

    def runs(self) -> dict[str, float]:
        """The number of failed runs by flow."""
        return {
            dict(labels)["flow_id"]: number
            for (name, labels), number in self.counters().items()
            if name == "aep_flow_runs_total" and ("status", "failed") in labels
        }

    def end(self, *, with_checkpoint: bool = True) -> None:
        """End the process."""
        if with_checkpoint:
            asyncio.run(self.follower.finish())
        self.follower.close()
        self.ledger.close()


class World:
    """True time, a wall clock that is off by something, and processes on one ledger."""

    def __init__(self, folder: Path, processes: int = 1, ttl: int = 45 * DAY) -> None:
        self.ttl = ttl
        self.path = folder / "ledger.db"
        self.true = T0
        self.off = 0
        self.facts: Counter[str] = Counter()
        self.processes = [Process(self) for _ in range(processes)]

    @property
    def wall(self) -> int:
        """What the host's clock shows."""
        return self.true + self.off

    @property
    def first(self) -> Process:
        """The first process."""
        return self.processes[0]

    def post(self, flow: str, process: int = 0) -> None:
        """A run of this flow fails now, and Adobe tells one of the processes."""
        self.facts[flow] += 1
        run_id = f"{flow}-{self.facts[flow]}"
        status = '"statusSummary": {"status": "failed"}'
        times = f'"durationSummary": {{"startedAtUTC": {self.true - MINUTE}, "completedAtUTC": {self.true}}}'
        body = f'{{"id": "{run_id}", "flowId": "{flow}", "metrics": {{{status}, {times}}}}}'.encode()
        asyncio.run(
            self.processes[process].ledger.append(
                [
                    Draft(
                        fact_key=f"run:{run_id}:failed",
                        source=Source.WEBHOOK,
                        kind=EntryKind.RUN,
                        run_id=run_id,
                        status="failed",
                        completed_at=self.true,
                        body=body,
                        is_outcome=True,
                    )
                ]
            )
        )

    def restart(self, index: int = 0, *, with_checkpoint: bool = True, off: int | None = None) -> None:
        """End a process and start another, between which the wall clock can be set."""
        self.processes[index].end(with_checkpoint=with_checkpoint)
        if off is not None:
            self.off = off
        self.processes[index] = Process(self)

    def close(self) -> None:
        """End all processes."""
        for process in self.processes:
            process.end(with_checkpoint=False)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world with one process, and two flows whose runs are shown."""
    with contextlib.closing(World(tmp_path)) as made:
        made.first.text()
        for _ in range(3):
            made.post("a")
            made.post("b")
            made.true += 5 * MINUTE
        assert made.first.runs() == {"a": 3, "b": 3}
        yield made


def corrections(ledger: Ledger) -> int:
    """The number of corrections in the ledger."""
    return sum(entry.kind == EntryKind.CLOCK for entry in ledger.read(0, 10_000))


def not_less(before: Samples, after: Samples) -> bool:
    """Whether every counter is there still, and none has fallen."""
    return all(after.get(key, -1) >= number for key, number in before.items())


@pytest.mark.parametrize("off", AHEAD)
@pytest.mark.parametrize("posted", ["", "a", "new", "ab"])
@pytest.mark.parametrize("with_checkpoint", [True, False])
def test_a_start_with_a_clock_that_was_ahead(world: World, off: int, posted: str, with_checkpoint: bool) -> None:
    """After a start with a clock that was ahead, and one with the right clock, every minute shows every counter."""
    before = world.first.counters()
    world.restart(off=off)
    world.first.text()
    for flow in {"new": ["new"]}.get(posted, list(posted)):
        world.post(flow)
    world.true += 2 * SECOND
    shown = world.first.counters()
    world.restart(off=0, with_checkpoint=with_checkpoint)
    minutes = []
    for _ in range(6):
        minutes.append(world.first.counters())
        world.true += MINUTE
    assert not_less(before, minutes[0])
    assert not_less(shown, minutes[0])
    assert all(not_less(earlier, later) for earlier, later in pairwise(minutes))
    assert world.first.runs() == world.facts
    world.post("a")
    assert world.first.runs() == world.facts
    assert corrections(world.first.ledger) == (1 if posted or with_checkpoint else 0)


@pytest.mark.parametrize("off", OFF)
@pytest.mark.parametrize("posted", ["", "a", "new", "ab"])
def test_a_clock_that_is_set_while_the_process_runs(world: World, off: int, posted: str) -> None:
    """While a wrong clock is set and set right again, no counter falls, and afterwards every minute shows the facts."""
    minutes = [world.first.counters()]
    world.off = off
    for _ in range(5):
        minutes.append(world.first.counters())
        for flow in {"new": ["new"]}.get(posted, list(posted)):
            world.post(flow)
        world.true += MINUTE
    minutes.append(world.first.counters())
    world.off = 0
    for _ in range(6):
        minutes.append(world.first.counters())
        world.true += MINUTE
    assert all(not_less(earlier, later) for earlier, later in pairwise(minutes))
    assert world.first.runs() == world.facts
    assert corrections(world.first.ledger) == 2
    assert world.first.ledger.clock_corrections() == 2


@pytest.mark.parametrize("off", AHEAD)
def test_no_entry_is_pruned_because_of_a_wrong_clock(world: World, off: int) -> None:
    """With a clock that is ahead nothing is pruned, though two checkpoints contain every entry."""
    world.restart(off=off)
    for _ in range(2):
        world.post("a")
        world.restart()
    process = world.first
    process.text()
    retention = Retention(process.ledger, 8 * DAY, process.follower.checkpoints.prunable, lambda: None)
    assert asyncio.run(retention.prune()) == 0
    assert len(process.ledger.read(0, 100)) == 8


def test_until_the_correction_can_be_written_now_stands(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the correction can't be written the metrics stay as they are, and they go on once it can."""
    world.restart(off=2 * HOUR)
    world.first.text()
    world.post("new")
    world.true += SECOND
    shown = world.first.text()
    now = world.first.fold.now
    world.off = 0

    def fail(_work: object) -> None:
        raise LedgerUnavailableError("locked")

    with monkeypatch.context() as patch:
        patch.setattr(world.first.ledger, "_run_between_commits", fail)
        assert world.first.text() == shown
        assert world.first.fold.now == now
        assert any("can't be written" in note for note in world.first.follower.clock_notes())
    world.first.text()
    assert world.first.fold.now == world.true
    assert len(world.first.follower.clock_notes()) == 1
    world.true += HOLD
    assert world.first.runs() == world.facts


def test_two_processes_write_one_correction(tmp_path: Path) -> None:
    """Two processes that see one step write one correction, and show the same."""
    with contextlib.closing(World(tmp_path, processes=2)) as world:
        world.post("a")
        for off in (46 * DAY, 0, -46 * DAY, 0):
            texts = [process.text() for process in world.processes]
            world.true += SECOND
            world.off = off
            world.post("b", process=1)
        texts = [process.text() for process in world.processes]
        assert texts[0] == texts[1]
        assert corrections(world.first.ledger) == 4
        assert sum(process.ledger.clock_corrections() for process in world.processes) == 4


steps = st.one_of(
    st.tuples(st.just("post"), st.sampled_from("abc"), st.integers(0, 1)),
    st.tuples(st.just("wait"), st.sampled_from([SECOND, MINUTE, 10 * MINUTE, DAY]), st.just(0)),
    st.tuples(st.just("set"), st.sampled_from([0, 2 * HOUR, 46 * DAY, 400 * DAY, -2 * HOUR, -400 * DAY]), st.just(0)),
    st.tuples(st.just("restart"), st.sampled_from([0, 2 * HOUR, 46 * DAY, 400 * DAY]), st.integers(0, 1)),
    st.tuples(st.just("scrape"), st.just(0), st.integers(0, 1)),
)


@settings(max_examples=600, deadline=None)
@given(st.lists(steps, max_size=14), st.sampled_from([45 * DAY, 45 * DAY, 2 * DAY]))
def test_random_steps_of_the_clock(story: list[tuple[str, int | str, int]], ttl: int) -> None:
    """No counter falls when the clock is set right, processes agree, and in the end the totals equal the facts."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(World(Path(folder), 2, ttl)) as world:
        for action, what, index in [*story, ("set", 0, 0)]:
            match action:
                case "post":
                    world.post(str(what), index)
                case "wait":
                    world.true += int(what)
                case "scrape":
                    world.processes[index].text()
                case "restart" if world.off >= 0:
                    world.restart(index)
                    if what:
                        # The other process sees the step, within a second.
                        world.off = int(what)
                        world.processes[1 - index].text()
                case "set":
                    before = [process.counters() for process in world.processes]
                    world.off = int(what)
                    after = [process.counters() for process in world.processes]
                    if not what:
                        assert all(map(not_less, before, after))
        texts = [process.text() for process in world.processes]
        assert texts[0] == texts[1]
        world.true += HOLD + SECOND
        # With the short TTL a flow can really have been silent for too long.
        assert ttl == 2 * DAY or world.first.runs() == world.facts
        with contextlib.closing(SqliteLedger(world.path, lambda: world.wall)) as ledger:
            fold = Fold(limits(HOLD, ttl))
            with contextlib.closing(Follower(ledger, fold, read)) as follower:
                # Without the checkpoints.
                follower._has_begun = True
                follower.catch_up()
            fold.advance(world.wall)
            scratch = render(fold.series, None, Format.OPENMETRICS, start_timestamps=True).decode()
        assert scratch == world.first.text()


def test_a_correction_is_news_for_a_while(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for what is recent is told of a correction for that time, and again after the next one."""
    world.restart(off=2 * HOUR)
    world.first.text()
    world.post("new")
    world.first.text()
    follower = world.first.follower
    world.off = 0
    world.first.text()
    start = time.monotonic()
    assert len(follower.clock_notes(within=3600)) == 1
    monkeypatch.setattr(time, "monotonic", lambda: start + 3700)
    assert follower.clock_notes(within=3600) == []
    assert len(follower.clock_notes()) == 1
    world.off = 2 * HOUR
    world.post("newer")
    world.first.text()
    world.off = 0
    world.first.text()
    assert len(follower.clock_notes(within=3600)) == 1
