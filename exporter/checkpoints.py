"""Checkpoints of the fold: saves them, restores one at a start, and finds out which entries they make prunable.

A checkpoint is the fold's whole state with its position. A start restores the newest checkpoint that can be read and
follows the ledger from there. The metrics are the same from any checkpoint, or from none. If entries were pruned and no
checkpoint that includes them can be read, nothing is shown, because counters would fall. Checkpoints are written after
CHECKPOINT_ENTRIES entries, also during a catch-up, so that the next start has few entries to read.

Whatever uses the fold, such as encoding its state, runs on the fold's thread, which the follower owns. Another thread
waits for the ledger to write the checkpoint. This module applies no entry.
"""

import asyncio
import contextlib
import gc
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Final

import structlog

from exporter.earlier_checkpoints import EarlierCheckpoints, FactOf
from exporter.errors import ExporterError, LedgerUnavailableError
from exporter.ledger import Followed
from exporter.metrics.checkpoint import decode, encode
from exporter.metrics.fold import Fold
from exporter.metrics.fold_state import FoldState

CHECKPOINT_INTERVAL: Final = 300.0
"""Seconds between checkpoints while few entries come in."""

CHECKPOINT_ENTRIES: Final = 8000
"""Entries after which a checkpoint is written, whatever the time. A start after a crash reads these again, those of the
last page, and those that had not been followed yet: some 10,000. With 2,000 flows, encoding takes about a fifth of the
time that following so many entries takes."""

_KEPT_CHECKPOINTS: Final = 2

_log: structlog.stdlib.BoundLogger = structlog.get_logger("follow")


class Checkpoints:
    """The checkpoints of one fold in a ledger."""

    def __init__(
        self,
        ledger: Followed,
        fold: Fold,
        fold_position: Callable[[], int],
        fact_of: FactOf,
        thread: Executor,
    ) -> None:
        """`thread` is the fold's thread, which has one worker. The other two functions are called on it.

        `fold_position` returns the position of the last entry that the fold includes, 0 before the first. `fact_of`
        returns the fact of an entry, or None if this version can't read it.
        """
        self._ledger = ledger
        self._fold = fold
        self._fold_position = fold_position
        self._earlier = EarlierCheckpoints(ledger, fact_of)
        self._thread = thread
        self._saver = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._saving: Future[None] | None = None
        """The last checkpoint that a catch-up wrote, or is writing."""
        self._encoded_position = 0
        """The position of the last checkpoint that was read, or that a catch-up has encoded."""
        self._readable: set[int] = set()
        self._unusable: set[int] = set()
        """Checkpoints that can't be read, or that lack an entry which this version can read."""
        self.last_position = 0
        """The position of the last checkpoint that was read or written. 0 without one."""
        self.failures = 0
        """The number of checkpoints that could not be written or read."""

    # On the event loop.

    async def run(self) -> None:
        """Write a checkpoint every CHECKPOINT_INTERVAL seconds, until cancelled."""
        while True:
            await asyncio.sleep(CHECKPOINT_INTERVAL)
            await self.save(min_age=CHECKPOINT_INTERVAL / 2)

    async def save(self, min_age: float) -> None:
        """Write a checkpoint, unless the ledger has a newer one, or one that is younger than `min_age` seconds.

        An error is logged and counted.
        """
        with self._failures_counted():
            encoded = await asyncio.get_running_loop().run_in_executor(self._thread, self._encode, min_age)
            if encoded is not None:
                await asyncio.to_thread(self._write, *encoded)

    async def prunable(self, skipped_after: int) -> int:
        """The last position that each of two readable checkpoints includes. 0 if there are no two.

        It is below the first entry that was skipped and recorded after `skipped_after` (milliseconds since 1970), so
        that a later version can still read that entry. Raises LedgerUnavailableError.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._prunable, skipped_after)

    # On the fold's thread.

    def restore(self) -> int:
        """Restore the newest usable checkpoint and return its position. 0 if the fold begins without one.

        A checkpoint that lacks an entry which this version can read is used only where the ledger no longer holds the
        entries to begin without it. Raises LedgerUnavailableError if no checkpoint is left and one is needed.
        """
        restored = 0
        incomplete: list[tuple[int, FoldState]] = []
        for checkpoint in self._ledger.checkpoints():
            raw = self._ledger.checkpoint(checkpoint.position)
            if raw is None:
                # Another process has replaced it since, so there are newer ones.
                return self.restore()
            state = self._decode(checkpoint.position, raw)
            if state is None:
                continue
            if self._earlier.can_read_skipped(state):
                incomplete.append((checkpoint.position, state))
                continue
            restored = self._restore(checkpoint.position, state)
            break
        else:
            if self._ledger.pruned():
                if not incomplete:
                    raise LedgerUnavailableError(
                        "no checkpoint can be read, and the entries before them were pruned: start the version that "
                        "wrote them, or restore the ledger from a backup"
                    )
                _log.warning("entries that an earlier version skipped stay out of the metrics, older ones were pruned")
                restored = self._restore(*incomplete[0])
                incomplete.clear()
        if incomplete:
            _log.info("reading entries again, because an earlier version skipped some of them", after=restored)
            # Otherwise they would be newer than the next checkpoint, which would not be written.
            self._unusable.update(position for position, _ in incomplete)
        return restored

    def save_during_catch_up(self) -> None:
        """Begin to write a checkpoint if CHECKPOINT_ENTRIES entries were followed since the last one.

        The ledger's writer may be busy, so another thread waits for it, and the catch-up goes on. An error is logged
        and counted.
        """
        position = self._fold_position()
        if position - self._encoded_position < CHECKPOINT_ENTRIES:
            return
        if self._saving is not None and not self._saving.done():
            return
        with self._failures_counted():
            # Another process on the same ledger may have written one.
            kept = [each.position for each in self._ledger.checkpoints() if each.position not in self._unusable]
            others = [each for each in kept if each <= position]
            self._encoded_position = max([self._encoded_position, *others])
            if position - self._encoded_position < CHECKPOINT_ENTRIES:
                return
            self._encoded_position = position
            encoded = self._encode(0)
            if encoded is not None:
                self._saving = self._saver.submit(self._write_and_count, *encoded)

    def _encode(self, min_age: float) -> tuple[int, bytes, frozenset[int]] | None:
        """The position, the encoded state and the positions of unusable checkpoints. None if none is due."""
        position = self._fold_position()
        if not position:
            return None
        kept = [each for each in self._ledger.checkpoints() if each.position not in self._unusable]
        if kept:
            age = self._ledger.now() - kept[0].written_at
            # A negative age is that of a checkpoint written by a wrong clock, which must not stop later ones.
            if kept[0].position > position or 0 <= age < min_age * 1000:
                return None
        with _without_garbage_collection():
            state = self._fold.state()
        return position, encode(state), frozenset(self._unusable)

    def _restore(self, position: int, state: FoldState) -> int:
        self._earlier.fill_codes(state, position)
        self._fold.restore(state)
        self.last_position = self._encoded_position = position
        return position

    def _decode(self, position: int, raw: bytes) -> FoldState | None:
        """Decode a checkpoint. Return None if it can't be read, which is logged and counted once."""
        try:
            state = decode(raw)
        except ValueError as error:
            if position not in self._unusable:
                self._unusable.add(position)
                self.failures += 1
                _log.error("a checkpoint can't be read", position=position, detail=str(error))
            return None
        self._readable.add(position)
        return state

    def _prunable(self, skipped_after: int) -> int:
        kept = self._ledger.checkpoints()
        self._readable.intersection_update(each.position for each in kept)
        for checkpoint in kept:
            if checkpoint.position in self._unusable:
                return 0
            if checkpoint.position not in self._readable:
                raw = self._ledger.checkpoint(checkpoint.position)
                if raw is None or self._decode(checkpoint.position, raw) is None:
                    return 0
        if len(kept) < _KEPT_CHECKPOINTS:
            return 0
        first_skipped = self._fold.skipped.first_kept(skipped_after)
        return kept[-1].position if first_skipped is None else min(kept[-1].position, first_skipped - 1)

    # On a thread that may wait for the ledger's writer.

    def _write(self, position: int, state: bytes, discard: frozenset[int]) -> None:
        """Write a checkpoint. Blocking. Raises LedgerUnavailableError."""
        self._ledger.save_checkpoint(position, state, discard)
        self.last_position = max(self.last_position, position)
        # The ledger has deleted the unusable ones, also one at the position of this checkpoint.
        self._unusable -= discard
        self._readable.add(position)

    def _write_and_count(self, position: int, state: bytes, discard: frozenset[int]) -> None:
        with self._failures_counted():
            self._write(position, state, discard)

    # On any thread.

    def close(self) -> None:
        """Wait for the checkpoint that is being written. Blocking. The fold's thread must have ended."""
        self._saver.shutdown(wait=True)

    @contextlib.contextmanager
    def _failures_counted(self) -> Iterator[None]:
        """Log and count an error in writing a checkpoint. It must not end the loop or the catch-up."""
        try:
            yield
        except ExporterError as error:
            self.failures += 1
            _log.error("a checkpoint could not be written", reason=error.reason, detail=str(error))
        except Exception:  # noqa: BLE001 - a defect of ours is logged and counted
            self.failures += 1
            _log.exception("a checkpoint could not be written")


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Keep Python from looking for cycles. A state is a hundred thousand new tuples, so it would look at everything."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
