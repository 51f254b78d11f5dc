"""Shares the work of scrapes: those that ask for the same at the same time get one rendered body.

A scrape joins a rendering that has not begun. It never joins one that has: that one may have read the ledger before
another process showed more, and counters would fall for a client that saw more. So of each kind at most one rendering
runs and one waits, however many scrapes there are. A rendering that nobody waits for is dropped. If it has begun, its
result is.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from exporter.errors import NotCaughtUpError
from exporter.tasks import discard_outcome

WAIT: Final = 8.0
"""Seconds that a scrape waits for its body. Prometheus waits ten for the whole answer by default."""

_Kind = TypeVar("_Kind", bound=Hashable)


class _Rendering:
    """A body that is being made, or will be."""

    def __init__(self) -> None:
        self.waiting = 0
        self.task: asyncio.Task[bytes]


class Renderings(Generic[_Kind]):
    """Makes bodies of a few kinds for any number of scrapes."""

    def __init__(self, render: Callable[[_Kind, float], Awaitable[bytes]]) -> None:
        """`render` makes a body of a kind. It reads the ledger's head after it was called.

        Its second argument is the event loop's time at which the body was first asked for. The kinds must be few.
        """
        self._render = render
        self._turns: defaultdict[_Kind, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._joinable: dict[_Kind, _Rendering] = {}

    async def get(self, kind: _Kind) -> bytes:
        """Return a body that was begun after this call.

        Raises NotCaughtUpError if that takes longer than WAIT, and what `render` raises.
        """
        rendering = self._joinable.get(kind)
        if rendering is None:
            rendering = self._joinable[kind] = _Rendering()
            rendering.task = asyncio.create_task(self._run(kind, rendering))
            rendering.task.add_done_callback(discard_outcome)
        rendering.waiting += 1
        try:
            async with asyncio.timeout(WAIT):
                return await asyncio.shield(rendering.task)
        except TimeoutError:
            raise NotCaughtUpError("the metrics could not be rendered in time") from None
        finally:
            rendering.waiting -= 1
            if not rendering.waiting:
                self._leave(kind, rendering)
                rendering.task.cancel()

    async def _run(self, kind: _Kind, rendering: _Rendering) -> bytes:
        asked_at = asyncio.get_running_loop().time()
        async with self._turns[kind]:
            self._leave(kind, rendering)
            return await self._render(kind, asked_at)

    def _leave(self, kind: _Kind, rendering: _Rendering) -> None:
        """From now on no scrape joins this rendering."""
        if self._joinable.get(kind) is rendering:
            del self._joinable[kind]
