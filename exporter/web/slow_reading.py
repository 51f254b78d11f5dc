"""Reads large and damaged bodies on a thread of its own, one at a time.

Such a body takes up to two seconds. On the event loop's default threads, several of them would keep scrapes waiting. A
body whose sender has gone is not read any more, and one that would be read too late is refused, so that the thread does
not work for nobody.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from starlette.types import Message, Receive

from exporter.errors import OverloadedError
from exporter.tasks import discard_outcome
from exporter.web.body_budget import ClientGoneError

TIMEOUT: Final = 8.0
"""Seconds until a delivery is refused that waits to be read. Adobe waits ten for the whole answer."""

_Result = TypeVar("_Result")


class SlowReading:
    """The thread, and the bodies that wait for it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="slow-reading")

    async def run(self, receive: Receive, read: Callable[[], _Result]) -> _Result:
        """Return what `read` returns, which runs on the thread. `receive` is that of a request whose body is complete.

        Raises ClientGoneError where the sender leaves, OverloadedError after TIMEOUT seconds, and what `read` raises.
        """
        reading: asyncio.Future[_Result] = asyncio.get_running_loop().run_in_executor(self._pool, read)
        reading.add_done_callback(discard_outcome)
        # After the body, the next message is that the connection was closed.
        leaving: asyncio.Future[Message] = asyncio.ensure_future(receive())
        leaving.add_done_callback(discard_outcome)
        try:
            waiting: set[asyncio.Future[Any]] = {reading, leaving}
            await asyncio.wait(waiting, timeout=TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                return reading.result()
            if leaving.done():
                raise ClientGoneError
            raise OverloadedError("too many large or damaged deliveries wait to be read")
        finally:
            # This also takes a body out of the queue, unless it is being read.
            reading.cancel()
            leaving.cancel()
            # An error of `read` refers to this frame, and the future to the error. Such a circle would keep all that
            # was read, some 100 MB, until Python looks for circles.
            del reading, leaving, waiting

    def close(self) -> None:
        """End the thread, without waiting for it."""
        self._pool.shutdown(wait=False, cancel_futures=True)
