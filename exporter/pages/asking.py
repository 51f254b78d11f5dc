"""Asks the ledger on a few threads of the pages' own, so that pages hold up neither a scrape nor a delivery.

A few questions are answered at a time. Others wait for a bounded time, and only so many of them. Then the answer is
PagesBusyError, which is a 503. A question keeps its thread until it has really ended, also if nobody waits for it any
more: otherwise impatient clients could have any number of questions answered at a time.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from exporter.errors import PagesBusyError, QueryTimeoutError
from exporter.ledger.queries import Queries

AT_ONCE: Final = 1
"""Questions that are answered at a time. More would not be faster, because one thread runs Python at a time. Deliveries
would wait for each of them (benchmarks/results.md, "Pages")."""
MAX_WAITING: Final = 30
"""Questions that wait for a thread, at most."""
WAIT: Final = 3.0
"""Seconds that a question waits for a thread."""
ANSWER: Final = 10.0
"""Seconds until an answer is given up. The ledger itself ends its part earlier."""

_Answer = TypeVar("_Answer")


class Asking:
    """Calls functions with the ledger's queries, on threads of its own."""

    def __init__(
        self, queries: Queries, *, wait: float = WAIT, answer: float = ANSWER, begin: Callable[[], None] = lambda: None
    ) -> None:
        """`wait` and `answer` are in seconds. `begin` is called on the thread of a question, before it.

        The queries are closed by `close`.
        """
        self._queries = queries
        self._wait = wait
        self._answer = answer
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="pages")
        self._begin = begin
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def ask(self, question: Callable[[Queries], _Answer]) -> _Answer:
        """The answer of a blocking function.

        Raises PagesBusyError, QueryTimeoutError, and what the function raises.
        """
        await self._take_slot()
        loop = asyncio.get_running_loop()

        def release(_: "Future[Any]") -> None:
            # The loop is closed if the program ended while a question was being answered.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._slots.release)

        def answer_it() -> _Answer:
            self._begin()
            return question(self._queries)

        try:
            answer = self._pool.submit(answer_it)
        except BaseException:
            self._slots.release()
            raise
        answer.add_done_callback(release)
        try:
            async with asyncio.timeout(self._answer):
                return await asyncio.wrap_future(answer)
        except TimeoutError:
            raise QueryTimeoutError("the page took too long: try again, or ask for less") from None

    async def _take_slot(self) -> None:
        if self._waiting >= MAX_WAITING:
            raise PagesBusyError("too many pages are being made: try again in a few seconds")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait):
                await self._slots.acquire()
        except TimeoutError:
            raise PagesBusyError("other pages are being made: try again in a few seconds") from None
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Wait for the questions that are being answered, and close the queries. Blocking, some seconds at most."""
        self._pool.shutdown(cancel_futures=True)
        self._queries.close()
