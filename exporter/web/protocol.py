"""The HTTP protocol with bounds: a client that trickles, or that sends without end, is closed without an answer.

uvicorn bounds neither the time a request takes nor the size of its head. Adobe waits ten seconds for the whole
exchange, so what has not arrived by then is no delivery; a 408 would be a 4xx, and drop the event for good. The clock
runs from a request's first byte until the request is complete, also when it was answered early.

An offer to upgrade is not taken up, and must not cost the request: llhttp treats what follows the head of such a
request as another protocol and leaves its body out, so the head is parsed again without the offer.
"""

import asyncio
from typing import Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_DEADLINE: Final = 10.0
"""Seconds from a request's first byte to its last; also how long a new connection may be silent."""
LAST_MOMENT: Final = 4.0
"""Seconds of it that are left when the program is asked to end."""
MAX_HEAD: Final = 32 * 1024
"""Bytes of a request's line and headers."""
MAX_HEADERS: Final = 100
MAX_CONNECTIONS: Final = 512
"""Connections of one listener; more are closed at once."""
MAX_PIPELINED: Final = 16
"""Requests of one connection that wait for their turn."""

_OFFERS: Final = frozenset({b"upgrade", b"connection", b"http2-settings"})


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with REQUEST_DEADLINE and MAX_HEAD."""

    _deadline: asyncio.TimerHandle | None = None
    _head_size = 0
    _headers = 0
    _is_in_head = True
    _is_offer = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Start the clock: a connection that says nothing is closed as well."""
        super().connection_made(transport)
        self._start_clock(REQUEST_DEADLINE)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what is received before a head is complete."""
        if self._is_in_head:
            self._head_size += len(data)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if self._is_in_head and self._head_size > MAX_HEAD:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Start the clock for this request."""
        super().on_message_begin()
        self._headers = 0
        self._start_clock(REQUEST_DEADLINE)

    def on_headers_complete(self) -> None:
        """The head is here; the application sees the request unless it has to be parsed again."""
        self._is_in_head = False
        self._head_size = 0
        self._is_offer = self.parser.should_upgrade()
        if not self._is_offer:
            super().on_headers_complete()
        if len(self.pipeline) > MAX_PIPELINED:
            self.transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header, of not too many; what comes after the body is no header, and is not collected."""
        self._headers += 1
        if self._headers > MAX_HEADERS:
            self.transport.abort()
        elif self._is_in_head:
            super().on_header(name, value)

    def on_message_complete(self) -> None:
        """Stop the clock: the request is here."""
        self._is_in_head = True
        if not self._is_offer:
            self._stop_clock()
            super().on_message_complete()

    def shutdown(self) -> None:
        """The program ends: a request that is still arriving gets a moment to do so, and is closed after that."""
        super().shutdown()
        if self._deadline is not None:
            self._start_clock(LAST_MOMENT)

    def _decline(self, rest: bytes) -> None:
        """Parse the request again without its offer, and what follows as its body."""
        lines = [b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url)]
        lines += [name + b": " + value for name, value in self.headers if name not in _OFFERS]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def _start_clock(self, seconds: float) -> None:
        self._stop_clock()
        self._deadline = self.loop.call_later(seconds, self._too_late)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        self.transport.abort()
