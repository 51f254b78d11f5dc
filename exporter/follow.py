"""The one read path: follow the ledger to its head, then render.

Every scrape catches up before it renders; reading to the head first is what keeps counters from falling when scrapes go
to one process and then to another. Between scrapes a beat keeps the distance short. The fold belongs to one thread: all
of this module's blocking work runs there, so that nothing of it needs a lock and the event loop never waits for it.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from exporter.errors import DefectError, ExporterError, LedgerUnavailableError, NotCaughtUpError
from exporter.flowrun import Fact, FlowRun, RecordedFact, Unreadable, Unsupported
from exporter.ledger import Entry, Ledger
from exporter.metrics.fold import Fold
from exporter.metrics.series import Series

_PAGE: Final = 1000
"""Entries read at a time: a bound on memory, not on how far a catch-up goes."""

BEAT: Final = 1.0
"""Seconds between catch-ups that nobody asked for."""

_Result = TypeVar("_Result")
Reader = Callable[[bytes, int, str], Fact]
"""Reads a body as it was kept; given the time of recording and the event code that was known of it."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("follow")


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the metrics are."""

    position: int
    flows: int
    series: int
    ledger_bytes: int
    skipped: int
    """Entries that could not be folded."""


class Follower:
    """Keeps a fold at the ledger's head."""

    def __init__(self, ledger: Ledger, fold: Fold, read: Reader) -> None:
        """`read` is given the bodies that the ledger keeps."""
        self._ledger = ledger
        self._fold = fold
        self._read = read
        self._position = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fold")
        self._error: LedgerUnavailableError | None = None
        self._is_caught_up = False
        self._is_closing = False
        self._skipped = 0

    def check(self) -> None:
        """Raise what keeps the metrics from the ledger's head: NotCaughtUpError or LedgerUnavailableError."""
        if self._error is not None:
            raise self._error
        if not self._is_caught_up:
            raise NotCaughtUpError("the metrics are being brought to the ledger's head")

    async def at_head(self, use: Callable[[Series, Standing], _Result]) -> _Result:
        """Catch up, then do something with the series before they move again.

        Raises LedgerUnavailableError or DefectError.
        """

        def work() -> _Result:
            self.catch_up()
            fold = self._fold
            fold.advance(self._ledger.now())
            standing = Standing(self._position, fold.flows, len(fold.series), self._ledger.size(), self._skipped)
            return use(fold.series, standing)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except ExporterError:
            raise
        except Exception as error:
            _log.exception("the metrics could not be worked out")
            raise DefectError("the metrics could not be worked out") from error

    async def keep_up(self) -> None:
        """Catch up at once and then at every beat, until cancelled; a ledger that can't be read is tried again."""
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self.catch_up)
            except LedgerUnavailableError:
                _log.debug("the ledger can't be read; trying again", seconds=BEAT)
            except Exception:  # noqa: BLE001 - a defect of ours must be seen, and must not end the following
                _log.exception("catching up failed in a way nobody foresaw; trying again")
            await asyncio.sleep(BEAT)

    def catch_up(self) -> int:
        """Fold every entry up to the head as it is now; how many there were. Blocking."""
        count = 0
        try:
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

    def close(self) -> None:
        """End the fold's thread, in the middle of a catch-up if need be. Blocking."""
        self._is_closing = True
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _apply(self, entry: Entry) -> None:
        """Fold one entry; one that fails is told and left out, because standing still would hide all that follow."""
        try:
            self._fold.apply(self._recorded(entry))
        except Exception:  # noqa: BLE001 - a defect of ours: seen in the log and in aep_exporter_ledger_errors_total
            self._skipped += 1
            _log.exception("an entry could not be folded, and is left out of the metrics", position=entry.position)

    def _recorded(self, entry: Entry) -> RecordedFact:
        fact: Fact
        match entry.kind:
            case "unreadable":
                fact = Unreadable()
            case "unsupported":
                fact = Unsupported(sandbox=entry.sandbox or "")
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
