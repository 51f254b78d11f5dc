"""Deliveries go before pages: a thread that makes a page waits for a moment while a delivery is being taken.

Only one thread runs Python at a time. A delivery takes many short turns of it, and would wait at each of them for a
thread that makes a page. So these threads call `give_way` now and then, which waits while deliveries are under way.
Adobe gives up after ten seconds, and a reader of a page does not notice a tenth of a second.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

LONGEST: Final = 0.02
"""Seconds that `give_way` waits at most."""
ALLOWANCE: Final = 0.1
"""Seconds that one page waits in all, however many deliveries there are."""
_STEP: Final = 0.001
"""Seconds. A delivery takes some milliseconds."""


class Precedence:
    """Counts the deliveries that are being taken. The block of a `with` statement is one of them, on the event loop."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """`clock` is monotonic. `sleep` takes seconds."""
        self._clock = clock
        self._sleep = sleep
        self._deliveries = 0
        self._page = _Page()

    def __enter__(self) -> None:
        self._deliveries += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deliveries -= 1

    def begin_page(self) -> None:
        """Give this thread the allowance for a new page."""
        self._page.allowance = ALLOWANCE

    def give_way(self) -> None:
        """Wait until no delivery is being taken. It is called on the thread of a page, between two short steps."""
        if not self._deliveries or self._page.allowance <= 0:
            return
        started = self._clock()
        until = started + min(LONGEST, self._page.allowance)
        while self._deliveries and self._clock() < until:
            self._sleep(_STEP)
        self._page.allowance -= self._clock() - started


class _Page(threading.local):
    """What belongs to the page that a thread is making."""

    allowance = ALLOWANCE
