"""Group commit: many requests wait for one writer, which commits all that wait at once.

The rule: a request's future is done only after the commit that holds it. A commit that fails takes all its requests
with it, and Adobe sends them again; one that fails on data is tried again request by request, so that a poisonous body
can't answer everybody with 503 for ever. The queue is bounded by requests and by bytes.

Weak point: a commit that is slower than COMMIT_TIMEOUT may succeed after its request was answered with 503. Nothing is
lost by that; the redelivery is a duplicate.
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
"""Seconds; Adobe waits ten, connection included (adobe.md A6)."""

_Result = TypeVar("_Result")

_log: structlog.stdlib.BoundLogger = structlog.get_logger("ledger")

MAX_WAITING_REQUESTS: Final = 1_000
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024


class DataRefusedError(Exception):
    """The database refuses something in a request as data; another try would fail the same way."""


@dataclass(frozen=True, slots=True)
class Request:
    """What one caller wants committed."""

    drafts: Sequence[Draft]
    cursor: Cursor | None
    size: int
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[list[Receipt]]


Commit = Callable[[Sequence[Request]], list[list[Receipt]]]
"""Commits requests in one transaction; raises DataRefusedError or LedgerUnavailableError when none of it was kept."""


class GroupCommit:
    """One writer thread and the bounded queue before it."""

    def __init__(self, commit: Commit, commit_piecewise: Commit) -> None:
        """`commit_piecewise` commits one request whose data is refused, without the part that is."""
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
        """Wait until these drafts are committed, with whatever else waits."""
        loop = asyncio.get_running_loop()
        size = sum(len(draft.body) for draft in drafts)
        request = Request(drafts, cursor, size, loop, loop.create_future())
        with self._wake:
            if self._closing:
                raise LedgerUnavailableError("the ledger is closing")
            # A request alone is always taken: its size was bounded where it came in.
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
        """Do something on the writer's thread between two commits, and wait for its result. Blocking.

        Raises what the work raises, or LedgerUnavailableError when the ledger is closing.
        """
        answer: Future[_Result] = Future()

        def attempt() -> None:
            try:
                answer.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                answer.set_exception(error)

        with self._wake:
            if self._closing:
                raise LedgerUnavailableError("the ledger is closing")
            self._work.append(attempt)
            self._wake.notify()
        return answer.result()

    def close(self) -> None:
        """Commit what waits and end the writer."""
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
                # The loop was closed: nobody waits any more, and the facts are kept all the same.
                continue

    def _take(self) -> tuple[list[Request], Callable[[], None] | None]:
        """All requests that wait, and one piece of other work; neither when it is time to end."""
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
                return LedgerUnavailableError("the database refuses even plain bytes")

    def _attempt(self, commit: Commit, requests: list[Request]) -> Sequence[list[Receipt] | ExporterError]:
        try:
            return commit(requests)
        except DataRefusedError:
            raise
        except ExporterError as error:
            return [error] * len(requests)
        except Exception:  # noqa: BLE001 - the writer lives on: without it nothing would be acknowledged again
            _log.exception("commit failed in a way nobody foresaw")
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
