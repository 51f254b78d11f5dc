"""The read path: applies the ledger's entries to the fold, up to the ledger's head, and writes checkpoints.

Every scrape catches up with the ledger before it renders. Counters therefore do not fall when one scrape goes to one
process and the next to another. Between scrapes a catch-up every CATCH_UP_INTERVAL keeps the distance short. All work
on the fold runs in one thread, so that it needs no lock and the event loop does not wait for it.

A checkpoint is the fold's whole state with its position. A start restores the newest checkpoint that can be read and
follows the ledger from there. The metrics are the same from any checkpoint, or from none. If entries were pruned and no
checkpoint that includes them can be read, nothing is shown, because counters would fall.
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
from exporter.model import (
    ClockCorrection,
    EntryKind,
    Fact,
    FlowRun,
    Forgotten,
    Reader,
    RecordedFact,
    Unreadable,
    Unsupported,
)

_PAGE: Final = 1000
"""The number of entries read at a time. It limits memory, not how far a catch-up goes."""

CATCH_UP_INTERVAL: Final = 1.0
"""Seconds between catch-ups when there is no scrape."""

CHECKPOINT_INTERVAL: Final = 300.0
"""Seconds between checkpoints. A start after a crash may have to read the entries of so long again."""

_Result = TypeVar("_Result")

_log: structlog.stdlib.BoundLogger = structlog.get_logger("follow")


@dataclass(frozen=True, slots=True)
class FollowerStatus:
    """The fold's position and size at a scrape."""

    position: int
    checkpoint_position: int
    """The position of the last checkpoint that was read or written. 0 without one."""
    flows: int
    overflowed: int
    series: int
    ledger_bytes: int
    clock_corrections: int
    """The number of corrections of the clock that this process has written."""
    failures: Mapping[str, int]
    """Counts of entries that could not be applied ("fold"), and of checkpoints not written or read ("checkpoint")."""


class Follower:
    """Applies the entries of a ledger to a fold."""

    def __init__(self, ledger: Ledger, fold: Fold, read: Reader) -> None:
        """`read` turns the body of an entry into a fact."""
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
        self._is_clock_right = True
        self._failures: Counter[str] = Counter()

    def check(self) -> None:
        """Raise NotCaughtUpError or LedgerUnavailableError if the fold is not at the ledger's head."""
        if self._error is not None:
            raise self._error
        if not self._is_caught_up:
            raise NotCaughtUpError("the metrics are being brought to the ledger's head")

    def clock_notes(self) -> list[str]:
        """What a person should know about the ledger's clock. Empty if it was right since the start."""
        notes = []
        if not self._is_clock_right:
            notes.append(
                "the clock is wrong, and the correction can't be written yet: the metrics show an earlier time"
            )
        if corrections := self._ledger.clock_corrections():
            notes.append(
                f"the clock was wrong and was corrected ({corrections} since the start): check the host's clock"
            )
        return notes

    async def render_at_head(self, use: Callable[[SeriesStore, FollowerStatus], _Result]) -> _Result:
        """Catch up, then call `use` with the series before they can change again, and return its result.

        Raises LedgerUnavailableError or DefectError.
        """

        def work() -> _Result:
            self.catch_up()
            fold = self._fold
            # A time of a wrong clock is not used. Until the correction can be written, the last time stands.
            if self._is_clock_right:
                fold.advance(self._ledger.now())
            else:
                fold.advance(fold.now)
            status = FollowerStatus(
                position=self._position,
                checkpoint_position=self._checkpoint_position,
                flows=fold.flows,
                overflowed=fold.overflowed,
                series=len(fold.series),
                ledger_bytes=self._ledger.size(),
                clock_corrections=self._ledger.clock_corrections(),
                failures=dict(self._failures),
            )
            return use(fold.series, status)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except ExporterError:
            raise
        except Exception as error:
            _log.exception("the metrics could not be computed")
            raise DefectError("the metrics could not be computed") from error

    async def run(self) -> None:
        """Catch up now and then every CATCH_UP_INTERVAL seconds, until cancelled. Errors are logged and tried again."""
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self.catch_up)
            except LedgerUnavailableError:
                _log.debug("the ledger can't be read, trying again", seconds=CATCH_UP_INTERVAL)
            except Exception:  # noqa: BLE001 - a defect of ours is logged, and must not end the loop
                _log.exception("catching up failed, trying again")
            await asyncio.sleep(CATCH_UP_INTERVAL)

    async def run_checkpoints(self) -> None:
        """Write a checkpoint every CHECKPOINT_INTERVAL seconds, until cancelled."""
        while True:
            await asyncio.sleep(CHECKPOINT_INTERVAL)
            await self._save_checkpoint(min_age=CHECKPOINT_INTERVAL / 2)

    async def finish(self) -> None:
        """Stop following, and write a checkpoint of the entries applied so far."""
        self._is_closing = True
        await self._save_checkpoint(min_age=0)

    async def prunable(self) -> int:
        """The position up to which two readable checkpoints include every entry, so that it can be deleted. Or 0.

        Raises LedgerUnavailableError.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._prunable)

    async def _save_checkpoint(self, min_age: float) -> None:
        """Write a checkpoint, unless the ledger has a newer one, or one that is younger than `min_age` seconds."""
        try:
            encoded = await asyncio.get_running_loop().run_in_executor(self._thread, self._encode, min_age)
            if encoded is not None:
                position, state, unreadable = encoded
                await asyncio.to_thread(self._ledger.save_checkpoint, position, state, unreadable)
                self._checkpoint_position = position
                # The ledger has deleted the unreadable ones, also one at the position of this checkpoint.
                self._unreadable -= unreadable
                self._readable.add(position)
        except ExporterError as error:
            self._failures["checkpoint"] += 1
            _log.error("a checkpoint could not be written", reason=error.reason, detail=str(error))
        except Exception:  # noqa: BLE001 - a defect of ours is logged and counted, and must not end the loop
            self._failures["checkpoint"] += 1
            _log.exception("a checkpoint could not be written")

    def _encode(self, min_age: float) -> tuple[int, bytes, frozenset[int]] | None:
        """The position, the encoded state and the positions of unreadable checkpoints. None if none is due."""
        if not self._has_begun or not self._position:
            return None
        kept = [each for each in self._ledger.checkpoints() if each.position not in self._unreadable]
        if kept:
            age = self._ledger.now() - kept[0].written_at
            # A negative age is that of a checkpoint written by a wrong clock, which must not stop later ones.
            if kept[0].position > self._position or 0 <= age < min_age * 1000:
                return None
        return self._position, encode(self._fold.state()), frozenset(self._unreadable)

    def _begin(self) -> None:
        """Restore the newest readable checkpoint. Raises LedgerUnavailableError if none is left and it is needed."""
        kept = self._ledger.checkpoints()
        for checkpoint in kept:
            raw = self._ledger.checkpoint(checkpoint.position)
            if raw is None:
                # Another process has replaced it since, so there are newer ones.
                self._begin()
                return
            state = self._decode(checkpoint.position, raw)
            if state is not None:
                self._fold.restore(state)
                self._position = self._checkpoint_position = checkpoint.position
                break
        else:
            if self._ledger.pruned():
                raise LedgerUnavailableError(
                    "no checkpoint can be read, and the entries before them were pruned: start the version that wrote "
                    "them, or restore the ledger from a backup"
                )
        self._has_begun = True

    def _decode(self, position: int, raw: bytes) -> FoldState | None:
        """Decode a checkpoint. Return None if it can't be read, which is logged and counted once."""
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

    def _prunable(self) -> int:
        kept = self._ledger.checkpoints()
        self._readable.intersection_update(each.position for each in kept)
        for checkpoint in kept:
            if checkpoint.position not in self._readable:
                raw = self._ledger.checkpoint(checkpoint.position)
                if raw is None or self._decode(checkpoint.position, raw) is None:
                    return 0
        return kept[-1].position if len(kept) > 1 else 0

    def catch_up(self) -> int:
        """Apply every entry up to the current head and return their number. Blocks. Raises LedgerUnavailableError.

        If the ledger's clock turns out to be wrong, the correction is written, and applied with the others.
        """
        count = 0
        try:
            if not self._has_begun:
                self._begin()
            self._check_pruned()
            count = self._read_to_head()
            if not self._is_closing and self._correct_clock():
                count += self._read_to_head()
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

    def _read_to_head(self) -> int:
        count = 0
        head = self._ledger.head()
        while self._position < head and not self._is_closing:
            entries = self._ledger.read(self._position, _PAGE)
            for entry in entries:
                self._apply(entry)
                self._position = entry.position
            count += len(entries)
        return count

    def _correct_clock(self) -> bool:
        """Have the ledger's clock corrected if it is wrong. Return whether a correction was written."""
        try:
            was_wrong = self._ledger.correct_clock(self._position, self._fold.now)
        except LedgerUnavailableError as error:
            if self._is_clock_right:
                _log.warning("the clock is wrong, and the correction can't be written yet", detail=str(error))
            self._is_clock_right = False
            return False
        self._is_clock_right = True
        return was_wrong

    def _check_pruned(self) -> None:
        """Raise LedgerUnavailableError if entries were pruned before they were applied, instead of skipping them."""
        if self._position < self._ledger.pruned():
            raise LedgerUnavailableError("entries were pruned that this process had not read: restart it")

    def close(self) -> None:
        """End the fold's thread, also during a catch-up. Blocking."""
        self._is_closing = True
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _apply(self, entry: Entry) -> None:
        """Apply one entry. If that raises, log it and skip the entry, because stopping would hide every later entry."""
        try:
            self._fold.apply(self._fact(entry))
        except Exception:  # noqa: BLE001 - a defect of ours, counted in aep_exporter_ledger_errors_total
            self._failures["fold"] += 1
            _log.exception("an entry could not be applied, the metrics do not include it", position=entry.position)

    def _fact(self, entry: Entry) -> RecordedFact:
        """The fact of an entry, with what the ledger recorded about it."""
        fact: Fact | ClockCorrection
        match entry.kind:
            case EntryKind.UNREADABLE:
                fact = Unreadable()
            case EntryKind.UNSUPPORTED:
                fact = Unsupported(sandbox=entry.sandbox or "")
            case EntryKind.CLOCK:
                fact = entry.correction()
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
