"""The one read path: follow the ledger to its head, then render; and checkpoints, so that a start is short.

Every scrape catches up before it renders; reading to the head first is what keeps counters from falling when scrapes go
to one process and then to another. Between scrapes a beat keeps the distance short. The fold belongs to one thread: all
of this module's blocking work runs there, so that nothing of it needs a lock and the event loop never waits for it.

A checkpoint is the fold's whole state with its position. A start takes the newest one that can be read and follows from
there; which one it was, and whether there was one at all, nobody can tell from the metrics. Where entries were pruned
and no checkpoint that holds them can be read, nothing is shown: lower counters would be worse.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from exporter.errors import DefectError, ExporterError, LedgerUnavailableError, NotCaughtUpError
from exporter.ledger import Entry, Ledger
from exporter.metrics.checkpoint import decode, encode
from exporter.metrics.fold import Fold, FoldState
from exporter.metrics.series import SeriesStore
from exporter.model import EntryKind, Fact, FlowRun, Forgotten, Reader, RecordedFact, Unreadable, Unsupported

_PAGE: Final = 1000
"""Entries read at a time: a bound on memory, not on how far a catch-up goes."""

CATCH_UP_INTERVAL: Final = 1.0
"""Seconds between catch-ups that nobody asked for."""

CHECKPOINT_INTERVAL: Final = 300.0
"""Seconds between checkpoints: what a start after a crash may have to read again."""

_Result = TypeVar("_Result")

_log: structlog.stdlib.BoundLogger = structlog.get_logger("follow")


@dataclass(frozen=True, slots=True)
class FollowerStatus:
    """How far the metrics are."""

    position: int
    checkpoint_position: int
    """That of the last checkpoint read or kept; 0 without one."""
    flows: int
    overflowed: int
    series: int
    ledger_bytes: int
    failures: Mapping[str, int]
    """How often an entry could not be folded ("fold"), and a checkpoint not be kept or read ("checkpoint")."""


class Follower:
    """Keeps a fold at the ledger's head."""

    def __init__(self, ledger: Ledger, fold: Fold, read: Reader) -> None:
        """`read` is given the bodies that the ledger keeps."""
        self._ledger = ledger
        self._fold = fold
        self._read = read
        self._position = 0
        self._checkpoint_position = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fold")
        self._error: LedgerUnavailableError | None = None
        self._readable: set[int] = set()
        self._unreadable: set[int] = set()
        self._has_begun = False
        self._is_caught_up = False
        self._is_closing = False
        self._failures: Counter[str] = Counter()

    def check(self) -> None:
        """Raise what keeps the metrics from the ledger's head: NotCaughtUpError or LedgerUnavailableError."""
        if self._error is not None:
            raise self._error
        if not self._is_caught_up:
            raise NotCaughtUpError("the metrics are being brought to the ledger's head")

    async def render_at_head(self, use: Callable[[SeriesStore, FollowerStatus], _Result]) -> _Result:
        """Catch up, then do something with the series before they move again.

        Raises LedgerUnavailableError or DefectError.
        """

        def work() -> _Result:
            self.catch_up()
            fold = self._fold
            fold.advance(self._ledger.now())
            status = FollowerStatus(
                position=self._position,
                checkpoint_position=self._checkpoint_position,
                flows=fold.flows,
                overflowed=fold.overflowed,
                series=len(fold.series),
                ledger_bytes=self._ledger.size(),
                failures=dict(self._failures),
            )
            return use(fold.series, status)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except ExporterError:
            raise
        except Exception as error:
            _log.exception("the metrics could not be worked out")
            raise DefectError("the metrics could not be worked out") from error

    async def run(self) -> None:
        """Catch up at once and then at every beat, until cancelled; a ledger that can't be read is tried again."""
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self.catch_up)
            except LedgerUnavailableError:
                _log.debug("the ledger can't be read; trying again", seconds=CATCH_UP_INTERVAL)
            except Exception:  # noqa: BLE001 - a defect of ours must be seen, and must not end the following
                _log.exception("catching up failed in a way nobody foresaw; trying again")
            await asyncio.sleep(CATCH_UP_INTERVAL)

    async def run_checkpoints(self) -> None:
        """Keep a checkpoint every CHECKPOINT_INTERVAL seconds, until cancelled."""
        while True:
            await asyncio.sleep(CHECKPOINT_INTERVAL)
            await self._save(least_age=CHECKPOINT_INTERVAL / 2)

    async def finish(self) -> None:
        """Follow no more, and keep a checkpoint of what was reached."""
        self._is_closing = True
        await self._save(least_age=0)

    async def prunable(self) -> int:
        """The position up to which entries can be deleted: two checkpoints that can be read contain them; 0 if none.

        Raises LedgerUnavailableError.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._contained_twice)

    async def _save(self, least_age: float) -> None:
        """Keep a checkpoint, unless the ledger has a newer one, or one that is younger than so many seconds."""
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, self._encoded, least_age)
            if found is not None:
                position, state, unreadable = found
                await asyncio.to_thread(self._ledger.save_checkpoint, position, state, unreadable)
                self._checkpoint_position = position
                # What could not be read is gone, also where this one took its position.
                self._unreadable -= unreadable
                self._readable.add(position)
        except ExporterError as error:
            self._failures["checkpoint"] += 1
            _log.error("a checkpoint could not be kept", reason=error.reason, detail=str(error))
        except Exception:  # noqa: BLE001 - a defect of ours must be seen, and must not end the following
            self._failures["checkpoint"] += 1
            _log.exception("a checkpoint could not be kept, in a way nobody foresaw")

    def _encoded(self, least_age: float) -> tuple[int, bytes, frozenset[int]] | None:
        """The position and the state, where they are worth keeping, and the checkpoints that can't be read."""
        if not self._has_begun or not self._position:
            return None
        kept = [each for each in self._ledger.checkpoints() if each.position not in self._unreadable]
        if kept:
            age = self._ledger.now() - kept[0].written_at
            # One from the future was written by a clock that was wrong.
            if kept[0].position > self._position or 0 <= age < least_age * 1000:
                return None
        return self._position, encode(self._fold.state()), frozenset(self._unreadable)

    def _begin(self) -> None:
        """Take up the newest checkpoint that can be read."""
        kept = self._ledger.checkpoints()
        for checkpoint in kept:
            raw = self._ledger.checkpoint(checkpoint.position)
            if raw is None:
                # Another process has replaced it since; there are newer ones.
                self._begin()
                return
            state = self._decoded(checkpoint.position, raw)
            if state is not None:
                self._fold.restore(state)
                self._position = self._checkpoint_position = checkpoint.position
                break
        else:
            if self._ledger.pruned():
                raise LedgerUnavailableError(
                    "no checkpoint can be read, and the entries behind them were pruned: start the version that wrote "
                    "them, or take the ledger from a backup"
                )
        self._has_begun = True

    def _decoded(self, position: int, raw: bytes) -> FoldState | None:
        """The state of a checkpoint; None where it can't be read, which is told once."""
        try:
            state = decode(raw)
        except ValueError as error:
            if position not in self._unreadable:
                self._unreadable.add(position)
                self._failures["checkpoint"] += 1
                _log.error("a checkpoint can't be read", position=position, detail=str(error))
            return None
        self._readable.add(position)
        return state

    def _contained_twice(self) -> int:
        kept = self._ledger.checkpoints()
        self._readable.intersection_update(each.position for each in kept)
        for checkpoint in kept:
            if checkpoint.position not in self._readable:
                raw = self._ledger.checkpoint(checkpoint.position)
                if raw is None or self._decoded(checkpoint.position, raw) is None:
                    return 0
        return kept[-1].position if len(kept) > 1 else 0

    def catch_up(self) -> int:
        """Fold every entry up to the head as it is now; how many there were. Blocking."""
        count = 0
        try:
            if not self._has_begun:
                self._begin()
            self._check_pruned()
            head = self._ledger.head()
            while self._position < head and not self._is_closing:
                entries = self._ledger.read(self._position, _PAGE)
                for entry in entries:
                    self._apply(entry)
                    self._position = entry.position
                count += len(entries)
        except LedgerUnavailableError as error:
            if self._error is None:
                _log.error("the ledger can't be read", reason=error.reason, detail=str(error))
            self._error = error
            raise
        if self._error is not None:
            _log.info("the ledger can be read again")
        self._error = None
        self._is_caught_up = not self._is_closing
        return count

    def _check_pruned(self) -> None:
        """Refuse to go on where entries are gone that were never followed; they must not be skipped in silence."""
        if self._position < self._ledger.pruned():
            raise LedgerUnavailableError("entries that this process has not followed were pruned: start it again")

    def close(self) -> None:
        """End the fold's thread, in the middle of a catch-up if need be. Blocking."""
        self._is_closing = True
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _apply(self, entry: Entry) -> None:
        """Fold one entry; one that fails is told and left out, because status still would hide all that follow."""
        try:
            self._fold.apply(self._recorded(entry))
        except Exception:  # noqa: BLE001 - a defect of ours: seen in the log and in aep_exporter_ledger_errors_total
            self._failures["fold"] += 1
            _log.exception("an entry could not be folded, and is left out of the metrics", position=entry.position)

    def _recorded(self, entry: Entry) -> RecordedFact:
        fact: Fact
        match entry.kind:
            case EntryKind.UNREADABLE:
                fact = Unreadable()
            case EntryKind.UNSUPPORTED:
                fact = Unsupported(sandbox=entry.sandbox or "")
            case EntryKind.FORGOTTEN:
                fact = Forgotten(flow_id=entry.flow_id or "")
            case _:
                fact = self._read(entry.body, entry.received_at, entry.event_code or "")
        has_ended = isinstance(fact, FlowRun) and fact.status.is_outcome
        return RecordedFact(
            position=entry.position,
            received_at=entry.received_at,
            source=entry.source,
            fact=fact,
            counts=entry.counts,
            event_code=entry.event_code,
            ended_at=entry.completed_at if has_ended else None,
        )
