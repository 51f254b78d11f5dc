"""uvicorn's HTTP protocol with bounds on time and size. A client that exceeds one is disconnected without an answer.

uvicorn bounds neither the time that a request takes nor the size of its head. Adobe waits ten seconds for the whole
exchange, so a request that is incomplete by then is no delivery. A 408 would be a 4xx, and Adobe would drop the event
for good. The time runs from a request's first byte until the request is complete, even if it was answered before.

An offer to upgrade the protocol is ignored. llhttp takes what follows the head of such a request for another protocol,
and does not parse its body. The head is therefore parsed again without the offer.

Weak point: this class overrides and calls parts of uvicorn that are not documented. pyproject.toml therefore bounds
uvicorn's version from above, and tests/web/test_protocol.py lists these parts.
"""

import asyncio
from typing import Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from exporter.web.headers import SECURITY_HEADERS
from exporter.web.responses import TEXT

REQUEST_DEADLINE: Final = 10.0
"""Seconds from a request's first byte to its last. A new connection must begin a request within the same time."""
SHUTDOWN_DEADLINE: Final = 4.0
"""Seconds that a request may go on arriving once the program shuts down."""
MAX_HEAD: Final = 32 * 1024
"""Bytes of a request's line and headers."""
MAX_HEADERS: Final = 100
"""Headers of a request."""
MAX_CONNECTIONS: Final = 512
"""Connections of one listener. Further ones are closed at once."""
MAX_PIPELINED: Final = 16
"""Requests of one connection that wait for the answer to an earlier one."""

_UPGRADE_HEADERS: Final = frozenset({b"upgrade", b"connection", b"http2-settings"})


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with the bounds of this module."""

    _deadline: asyncio.TimerHandle | None = None
    _head_size = 0
    _header_count = 0
    _is_in_head = True
    _offers_upgrade = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Start the deadline of the first request, or close a connection that is one too many."""
        super().connection_made(transport)
        self._start_deadline(REQUEST_DEADLINE)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the deadline."""
        self._stop_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what was received. Bytes are counted until the head is complete."""
        if self._is_in_head:
            self._head_size += len(data)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._parse_without_upgrade(data[offer.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if self._is_in_head and self._head_size > MAX_HEAD:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answer 400 with the security headers, and close the connection. uvicorn's own answer lacks them."""
        headers = [
            *self.server_state.default_headers,
            *((name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()),
            (b"content-type", TEXT),
            (b"content-length", str(len(msg)).encode()),
            (b"connection", b"close"),
        ]
        lines = [b"HTTP/1.1 400 Bad Request", *(name + b": " + value for name, value in headers), b"", msg.encode()]
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()

    def on_message_begin(self) -> None:
        """Start the deadline of this request."""
        super().on_message_begin()
        self._header_count = 0
        self._start_deadline(REQUEST_DEADLINE)

    def on_headers_complete(self) -> None:
        """Hand the request to the application, unless its head has to be parsed again."""
        self._is_in_head = False
        self._head_size = 0
        self._offers_upgrade = self.parser.should_upgrade()
        if not self._offers_upgrade:
            super().on_headers_complete()
        if len(self.pipeline) > MAX_PIPELINED:
            self.transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header to the request. Trailers, which follow the body, are only counted."""
        self._header_count += 1
        if self._header_count > MAX_HEADERS:
            self.transport.abort()
        elif self._is_in_head:
            super().on_header(name, value)

    def on_message_complete(self) -> None:
        """Stop the deadline: the request is complete."""
        self._is_in_head = True
        if not self._offers_upgrade:
            self._stop_deadline()
            super().on_message_complete()

    def shutdown(self) -> None:
        """Begin to shut down. A request that is still arriving gets SHUTDOWN_DEADLINE seconds to be complete."""
        super().shutdown()
        if self._deadline is not None:
            self._start_deadline(SHUTDOWN_DEADLINE)

    def _parse_without_upgrade(self, rest: bytes) -> None:
        """Parse the request again without its offer to upgrade. `rest`: what was received after its head."""
        lines = [b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url)]
        lines += [name + b": " + value for name, value in self.headers if name not in _UPGRADE_HEADERS]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def _start_deadline(self, seconds: float) -> None:
        self._stop_deadline()
        self._deadline = self.loop.call_later(seconds, self._abort)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _abort(self) -> None:
        self._deadline = None
        self.transport.abort()
