"""Group commit: requests wait in a queue, and one writer thread commits all waiting requests in one transaction.

A request is answered only after the commit that contains it. If a commit fails, all of its requests fail, and Adobe
sends them again. If the database refuses the data of a request, each request is committed alone, so that one bad body
does not make all requests fail for ever. The queue is bounded by requests and by bytes.

Weak point: a commit that takes longer than COMMIT_TIMEOUT may succeed after its request was answered with 503. Nothing
is lost: when Adobe sends the notification again, it is a duplicate.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from exporter.errors import CommitTimeoutError, ExporterError, LedgerUnavailableError, QueueFullError
from exporter.ledger import Cursor, Draft, Receipt

COMMIT_TIMEOUT: Final = 8.0
"""Seconds. Adobe waits ten, including the connection (docs/adobe.md, "Retries")."""

_Result = TypeVar("_Result")

_log: structlog.stdlib.BoundLogger = structlog.get_logger("ledger")

MAX_WAITING_REQUESTS: Final = 1_000
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024


class DataRefusedError(Exception):
    """The database refuses some data of a request. Another attempt would fail in the same way."""


@dataclass(frozen=True, slots=True)
class Request:
    """The drafts and the cursor that one caller submits, and the future that answers the caller."""

    drafts: Sequence[Draft]
    cursor: Cursor | None
    size: int
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[list[Receipt]]


Commit = Callable[[Sequence[Request]], list[list[Receipt]]]
"""Commits requests in one transaction and returns their receipts.

If nothing was committed it raises DataRefusedError, LedgerFullError or LedgerUnavailableError.
"""


class GroupCommit:
    """The writer thread and its bounded queue."""

    def __init__(self, commit: Commit, commit_piecewise: Commit) -> None:
        """`commit_piecewise` commits a request whose data was refused, without the part that was refused."""
        self._commit = commit
        self._commit_piecewise = commit_piecewise
        self._waiting: deque[Request] = deque()
        self._waiting_bytes = 0
        self._work: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    async def submit(self, drafts: Sequence[Draft], cursor: Cursor | None) -> list[Receipt]:
        """Queue the drafts and the cursor, and wait until they are committed.

        Raises QueueFullError, CommitTimeoutError (the commit may still succeed later), LedgerFullError or
        LedgerUnavailableError.
        """
        loop = asyncio.get_running_loop()
        size = sum(len(draft.body) for draft in drafts)
        request = Request(drafts, cursor, size, loop, loop.create_future())
        with self._wake:
            if self._closing:
                raise LedgerUnavailableError("the ledger is closing")
            # An empty queue takes a request of any size. Its size was limited when it was received.
            if self._waiting and (
                len(self._waiting) >= MAX_WAITING_REQUESTS or self._waiting_bytes + size > MAX_WAITING_BYTES
            ):
                raise QueueFullError("too many deliveries wait to be committed")
            self._waiting.append(request)
            self._waiting_bytes += size
            self._wake.notify()
        expiry = loop.call_later(COMMIT_TIMEOUT, _expire, request.answer)
        try:
            return await request.answer
        finally:
            expiry.cancel()

    def run_between_commits(self, work: Callable[[], _Result]) -> _Result:
        """Run some work on the writer's thread between two commits, and return its result. Blocking.

        Raises what the work raises, or LedgerUnavailableError if the ledger is closing.
        """
        answer: Future[_Result] = Future()

        def attempt() -> None:
            try:
                answer.set_result(work())
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for the result
                answer.set_exception(error)

        with self._wake:
            if self._closing:
                raise LedgerUnavailableError("the ledger is closing")
            self._work.append(attempt)
            self._wake.notify()
        return answer.result()

    def close(self) -> None:
        """Commit the waiting requests and end the writer thread. Blocking."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            requests, work = self._take()
            if not requests and work is None:
                return
            if requests:
                self._serve(requests)
            if work is not None:
                work()

    def _serve(self, requests: list[Request]) -> None:
        answers = self._committed(requests)
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Request, list[Receipt] | ExporterError]]] = {}
        for request, answer in zip(requests, answers, strict=True):
            by_loop.setdefault(request.loop, []).append((request, answer))
        for loop, settled in by_loop.items():
            try:
                loop.call_soon_threadsafe(_answer, settled)
            except RuntimeError:
                # The loop was closed, so nobody waits for these answers. The facts are committed all the same.
                continue

    def _take(self) -> tuple[list[Request], Callable[[], None] | None]:
        """Wait for and return all waiting requests and at most one piece of work. Neither if the thread is to end."""
        with self._wake:
            while not self._waiting and not self._work and not self._closing:
                self._wake.wait()
            requests = list(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
            return requests, self._work.popleft() if self._work else None

    def _committed(self, requests: list[Request]) -> Sequence[list[Receipt] | ExporterError]:
        try:
            return self._attempt(self._commit, requests)
        except DataRefusedError:
            return [self._committed_alone(request) for request in requests]

    def _committed_alone(self, request: Request) -> list[Receipt] | ExporterError:
        try:
            return self._attempt(self._commit, [request])[0]
        except DataRefusedError:
            try:
                return self._attempt(self._commit_piecewise, [request])[0]
            except DataRefusedError:
                return LedgerUnavailableError("the database refuses to store a body")

    def _attempt(self, commit: Commit, requests: list[Request]) -> Sequence[list[Receipt] | ExporterError]:
        try:
            return commit(requests)
        except DataRefusedError:
            raise
        except ExporterError as error:
            return [error] * len(requests)
        except Exception:  # noqa: BLE001 - the thread must go on: without it no delivery is answered again
            _log.exception("a commit failed because of a defect in this program")
            return [LedgerUnavailableError("the commit failed")] * len(requests)


def _answer(settled: list[tuple[Request, list[Receipt] | ExporterError]]) -> None:
    for request, answer in settled:
        if request.answer.done():
            continue
        if isinstance(answer, ExporterError):
            request.answer.set_exception(answer)
        else:
            request.answer.set_result(answer)


def _expire(answer: asyncio.Future[list[Receipt]]) -> None:
    if not answer.done():
        answer.set_exception(CommitTimeoutError("the commit took too long"))
