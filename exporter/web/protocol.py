"""The HTTP protocol with a deadline: a client that trickles is closed without an answer.

uvicorn bounds neither the time a request's head takes nor its body's. Adobe waits ten seconds for the whole exchange,
so what has not arrived by then is no delivery; a 408 would be a 4xx, and drop the event for good. The clock runs from
the connection's (or the next request's) first byte until the request is complete, also when it was answered early.
"""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_DEADLINE: Final = 10.0
"""Seconds from a request's first byte to its last."""
LAST_MOMENT: Final = 4.0
"""Seconds of it that are left when the program is asked to end."""


class DeadlineProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol that gives each request REQUEST_DEADLINE to arrive."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Start the clock: a connection that says nothing is closed as well."""
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Start the clock for the next request of a connection that is kept."""
        super().on_message_begin()
        self._start_clock()

    def on_message_complete(self) -> None:
        """Stop the clock: the request is here."""
        self._stop_clock()
        super().on_message_complete()

    def shutdown(self) -> None:
        """The program ends: a request that is still arriving gets a moment to do so, and is closed after that."""
        super().shutdown()
        if self._deadline is not None:
            self._stop_clock()
            self._deadline = self.loop.call_later(LAST_MOMENT, self._too_late)

    def _start_clock(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_DEADLINE, self._too_late)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        self.transport.abort()
