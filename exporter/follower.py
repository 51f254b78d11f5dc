"""The read path: applies the ledger's entries to the fold, up to the ledger's head.

Every scrape catches up with the ledger before it renders. Counters therefore do not fall when one scrape goes to one
process and the next to another. Between scrapes a catch-up every CATCH_UP_INTERVAL keeps the distance short. All work
on the fold runs in one thread, so that it needs no lock and the event loop does not wait for it. `exporter.checkpoints`
uses the same thread: a start restores a checkpoint, and a catch-up writes checkpoints as it goes on.

An entry that can't be read or folded is skipped, so that it does not hide the entries after it
(docs/architecture.md, "Entries that can't be read").
"""

import asyncio
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, NoReturn, TypeVar

import structlog

from exporter.checkpoints import Checkpoints
from exporter.errors import DefectError, ExporterError, LedgerUnavailableError, NotCaughtUpError, QueryTimeoutError
from exporter.ledger import DAMAGED, Entry, Followed
from exporter.metrics.fold import Fold
from exporter.metrics.series import SeriesStore
from exporter.model import (
    ClockCorrection,
    EntryKind,
    Fact,
    FlowRun,
    Forgotten,
    Reader,
    RecordedFact,
    SkipReason,
    Source,
    Unreadable,
    Unsupported,
)

_PAGE: Final = 1000
"""The number of entries read at a time. It limits memory, not how far a catch-up goes."""

CATCH_UP_INTERVAL: Final = 1.0
"""Seconds between catch-ups when there is no scrape."""

FAR_BEHIND_AT_START: Final = 2000
"""Entries. A follower that has more to read gets more of the processor (docs/architecture.md, "Checkpoints"). This is
the number until it has been at the head for the first time."""
FAR_BEHIND: Final = 20_000
"""The same for later. A second of deliveries at full speed is much less, and must not be slowed down."""
_SWITCH_INTERVAL: Final = 0.005
"""Seconds for which the fold's thread may keep the event loop waiting while it is far behind: Python's default."""

_ASK_SECONDS: Final = 5.0
"""How long `Follower.ask` waits."""

_KINDS: Final = {kind.value: kind for kind in EntryKind}
_SOURCES: Final = {source.value: source for source in Source}

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
    """Counts of entries that could not be read ("read") or applied ("fold"), and of checkpoints not written or read
    ("checkpoint")."""
    dropped: Mapping[str, int]
    """How much the fold dropped at its bounds, by kind."""


class Follower:
    """Applies the entries of a ledger to a fold."""

    def __init__(self, ledger: Followed, fold: Fold, read: Reader, *, saves_checkpoints: bool = True) -> None:
        """`read` turns the body of an entry into a fact. `saves_checkpoints`: whether a catch-up writes checkpoints."""
        self._ledger = ledger
        self._fold = fold
        self._read = read
        self._position = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fold")
        self._saves_checkpoints = saves_checkpoints
        self.checkpoints = Checkpoints(ledger, fold, lambda: self._position, self._readable_fact, self._thread)
        self._error: ExporterError | None = None
        self._has_begun = False
        self._is_caught_up = False
        self._is_closing = False
        self._is_clock_right = True
        self._corrections = 0
        self._corrected_at = 0.0
        """When the last of these corrections of the clock was found, in seconds of the monotonic clock."""
        self._failures: Counter[str] = Counter()
        self._skips: Counter[SkipReason] = Counter()
        """The entries that this process skipped."""
        self._behind = 0

    def check(self) -> None:
        """Raise NotCaughtUpError, LedgerUnavailableError or DefectError if the fold is not at the ledger's head."""
        if self._error is not None:
            raise self._error
        if not self._is_caught_up:
            self._raise_not_caught_up()

    def _raise_not_caught_up(self) -> NoReturn:
        left = f", {self._behind} entries are left" if self._behind else ""
        raise NotCaughtUpError(f"the metrics are being brought to the ledger's head{left}")

    def is_at_head(self) -> bool:
        """Whether the fold has been at the ledger's head, and no error has come since."""
        return self._is_caught_up and self._error is None

    @property
    def skipped(self) -> int:
        """The number of entries that the metrics do not include because they can't be read or folded."""
        return self._fold.skipped.count

    def is_far_behind(self) -> bool:
        """Whether a catch-up is under way that has many entries to read."""
        return self._behind > (FAR_BEHIND if self._is_caught_up else FAR_BEHIND_AT_START)

    def clock_notes(self, within: float | None = None) -> list[str]:
        """What a person should know about the ledger's clock. Empty if it was right since the start.

        `within`: leave out corrections if the last was found more than so many seconds ago.
        """
        notes = []
        if not self._is_clock_right:
            notes.append(
                "the clock is wrong, and the correction can't be written yet: the metrics show an earlier time"
            )
        corrections = self._ledger.clock_corrections()
        is_recent = within is None or time.monotonic() - self._corrected_at <= within
        if corrections and (is_recent or corrections != self._corrections):
            notes.append(
                f"the clock was wrong and was corrected ({corrections} since the start): check the host's clock"
            )
        return notes

    async def render_at_head(self, use: Callable[[SeriesStore, FollowerStatus], _Result]) -> _Result:
        """Catch up, then call `use` with the series before they can change again, and return its result.

        Raises LedgerUnavailableError or DefectError.
        """

        def work() -> _Result:
            fold = self._fold_at_head()
            return use(fold.series, self._status(fold))

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except ExporterError:
            raise
        except Exception as error:
            if self._error is None:
                _log.exception("the metrics could not be computed")
            raise DefectError("the metrics could not be computed") from error

    def ask(self, question: Callable[[Fold], _Result], seconds: float = _ASK_SECONDS) -> _Result:
        """Catch up, and return the answer of a function to which the fold is given. It must not change the fold.

        Blocking: call it on another thread than that of the event loop. Raises LedgerUnavailableError, DefectError,
        NotCaughtUpError, and QueryTimeoutError after so many seconds.
        """
        # During a long catch-up the answer would come after many minutes.
        if self.is_far_behind():
            self._raise_not_caught_up()
        try:
            answer = self._thread.submit(lambda: question(self._fold_at_head()))
            return answer.result(seconds)
        except TimeoutError:
            answer.cancel()
            raise QueryTimeoutError("the metrics were busy for too long: try again in a few seconds") from None
        except (CancelledError, RuntimeError):
            # RuntimeError is what a thread pool raises that was shut down.
            if not self._is_closing:
                raise
            raise NotCaughtUpError("the program is ending") from None
        except ExporterError:
            raise
        except Exception as error:
            # `catch_up` has logged it, if it was raised there.
            raise DefectError(
                "the metrics could not be computed because of a defect, which the log describes"
            ) from error

    def status(self, seconds: float = _ASK_SECONDS) -> FollowerStatus:
        """The fold's position and size, after a catch-up. Blocking. Raises what `ask` raises."""
        return self.ask(self._status, seconds)

    def _status(self, fold: Fold) -> FollowerStatus:
        return FollowerStatus(
            position=self._position,
            checkpoint_position=self.checkpoints.last_position,
            flows=fold.flows,
            overflowed=fold.overflowed,
            series=len(fold.series),
            ledger_bytes=self._ledger.size(),
            clock_corrections=self._ledger.clock_corrections(),
            failures=dict(self._failures + Counter(checkpoint=self.checkpoints.failures)),
            dropped=dict(fold.dropped),
        )

    def _fold_at_head(self) -> Fold:
        """Catch up, and bring the fold to the present. On the fold's thread."""
        self.catch_up()
        # A time of a wrong clock is not used. Until the correction can be written, the last time stands.
        self._fold.advance(self._ledger.now() if self._is_clock_right else self._fold.now)
        return self._fold

    async def run(self) -> None:
        """Catch up now and then every CATCH_UP_INTERVAL seconds, until cancelled. Errors are tried again."""
        while True:
            # `catch_up` has logged the error, once, and `check` raises it.
            with contextlib.suppress(Exception):
                await asyncio.get_running_loop().run_in_executor(self._thread, self.catch_up)
            await asyncio.sleep(CATCH_UP_INTERVAL)

    async def finish(self) -> None:
        """Stop following, and write a checkpoint of the entries applied so far."""
        self._is_closing = True
        await self.checkpoints.save(min_age=0)

    def close(self) -> None:
        """End the threads of the fold and of its checkpoints, also during a catch-up. Blocking."""
        self._is_closing = True
        self._thread.shutdown(wait=True, cancel_futures=True)
        self.checkpoints.close()

    def catch_up(self) -> int:
        """Apply every entry up to the current head and return their number. Blocks.

        If the ledger's clock turns out to be wrong, the correction is written, and applied with the others. Raises
        LedgerUnavailableError. A defect raises what it raises, and `check` raises DefectError from then on.
        """
        count = 0
        try:
            if not self._has_begun:
                self._position = self.checkpoints.restore()
                self._has_begun = True
            self._check_pruned()
            count = self._follow()
            if not self._is_closing and self._correct_clock():
                count += self._follow()
            self._note_corrections()
        except LedgerUnavailableError as error:
            if self._error is None:
                _log.error("the ledger can't be read", reason=error.reason, detail=str(error))
            self._error = error
            raise
        except Exception:
            if self._error is None:
                _log.exception("the ledger can't be followed")
            self._error = DefectError("the ledger can't be followed because of a defect, which the log describes")
            raise
        if self._error is not None:
            _log.info("the ledger can be read again")
        self._error = None
        self._is_caught_up = not self._is_closing
        return count

    def _follow(self) -> int:
        """Apply every entry up to the head, and return their number."""
        count = 0
        interval = sys.getswitchinterval()
        try:
            while not self._is_closing:
                applied = self._apply_up_to(self._ledger.head())
                count += applied
                # What came in during a long catch-up is applied too. Otherwise the next scrape would wait for it.
                if applied <= _PAGE:
                    break
        finally:
            self._behind = 0
            sys.setswitchinterval(interval)
        return count

    def _apply_up_to(self, head: int) -> int:
        """Apply the entries up to a position, and return their number. A request to close ends it early."""
        count = 0
        while self._position < head and not self._is_closing:
            self._behind = head - self._position
            if self.is_far_behind():
                sys.setswitchinterval(_SWITCH_INTERVAL)
            entries = self._ledger.read(self._position, _PAGE)
            if not entries:
                break
            for entry in entries:
                self._apply(entry)
                self._position = entry.position
            count += len(entries)
            if self._saves_checkpoints:
                self.checkpoints.save_during_catch_up()
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

    def _note_corrections(self) -> None:
        """Note when the ledger's clock was corrected, by this object or with a delivery."""
        corrections = self._ledger.clock_corrections()
        if corrections != self._corrections:
            self._corrections, self._corrected_at = corrections, time.monotonic()

    def _check_pruned(self) -> None:
        """Raise LedgerUnavailableError if entries were pruned before they were applied, instead of skipping them."""
        if self._position < self._ledger.pruned():
            raise LedgerUnavailableError("entries were pruned that this process had not read: restart it")

    def _apply(self, entry: Entry) -> None:
        """Apply one entry. One that can't be applied is skipped, because stopping would hide every later entry."""
        try:
            recorded = self._fact(entry)
        except Exception as error:  # noqa: BLE001 - a defect of ours, counted in aep_exporter_ledger_errors_total
            self._skip(entry, SkipReason.UNREADABLE, error)
            return
        if recorded is None:
            self._skip(entry, SkipReason.DAMAGED if entry.kind == DAMAGED else SkipReason.UNKNOWN)
            return
        try:
            self._fold.apply(recorded)
        except Exception as error:  # noqa: BLE001 - likewise
            self._skip(entry, SkipReason.FOLD, error)

    def _skip(self, entry: Entry, reason: SkipReason, error: Exception | None = None) -> None:
        """Count an entry as skipped. Of each reason the first is logged, then the 10th, the 100th and so on."""
        self._fold.skip(entry.position, entry.received_at, reason)
        self._failures["fold" if reason is SkipReason.FOLD else "read"] += 1
        self._skips[reason] += 1
        if str(self._skips[reason]).strip("0") == "1":
            _log.error(
                "an entry of the ledger was skipped, the metrics do not include it",
                position=entry.position,
                why=reason.value,
                kind=entry.kind,
                source=entry.source,
                so_far=self._skips[reason],
                exc_info=error,
            )

    def _readable_fact(self, entry: Entry) -> RecordedFact | None:
        """The fact of an entry, or None if this version can't read it."""
        try:
            return self._fact(entry)
        except Exception:  # noqa: BLE001 - whatever the reader raises, it can't read the entry
            return None

    def _fact(self, entry: Entry) -> RecordedFact | None:
        """The fact of an entry, with what the ledger recorded about it. None if its kind or its source is unknown.

        Raises what the reader of bodies raises.
        """
        kind, source = _KINDS.get(entry.kind), _SOURCES.get(entry.source)
        if kind is None or source is None:
            return None
        fact: Fact | ClockCorrection
        match kind:
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
            source=source,
            fact=fact,
            counts=entry.counts,
            event_code=entry.event_code,
            ended_at=entry.completed_at if has_ended else None,
        )
