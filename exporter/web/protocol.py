"""The HTTP protocol of a listener, with bounds on what one connection may take.

uvicorn bounds neither the time that a request may take, nor the size of its head and trailers, nor the answers that
nobody reads. This module adds these bounds:

- A connection is always under a clock. A request must be complete within REQUEST_DEADLINE. Between two requests the
  keep-alive time of uvicorn applies, and only a new request stops it.
- What is not body (request line, headers, trailers, chunk framing) is bounded by MAX_HEAD, however it is cut into
  packets.
- An answer that is not read within ANSWER_DEADLINE is given up. The answers of one listener that wait to be read are
  bounded together, and the oldest is given up first.
- CONNECT is answered with 400. An offer to upgrade is declined once for each connection, which then ends after its
  answer.
- A listener has at most MAX_CONNECTIONS. One more takes the place of the connection that has waited longest without a
  request under way.

A request that breaks a bound gets no answer: the connection is closed. Adobe waits ten seconds for the whole exchange,
so what has not arrived by then is no delivery. A 408 would be a 4xx, which makes Adobe drop the event
(docs/adobe.md, "Retries").

This module overrides private parts of uvicorn. `tests/web/test_protocol.py` lists them.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from exporter.web.headers import SECURITY_HEADERS
from exporter.web.responses import TEXT

REQUEST_DEADLINE: Final = 10.0
"""Seconds from the first byte of a request to its last. A new connection must send its first byte as soon."""
SHUTDOWN_DEADLINE: Final = 4.0
"""Seconds that a request may still take to arrive once the program ends."""
LINGER: Final = 0.5
"""Seconds for which an idle connection stays open once the program ends, for a request that is already on its way."""
MAX_HEAD: Final = 32 * 1024
"""Bytes of a request that are not its body."""
MAX_HEADERS: Final = 100
MAX_CONNECTIONS: Final = 512
"""Connections of one listener."""
MAX_PIPELINED: Final = 16
"""Requests of one connection that wait for their turn."""
ANSWER_DEADLINE: Final = 10.0
"""Seconds in which a client must read an answer. Prometheus gives a scrape ten seconds in all."""
MAX_UNREAD: Final = 64 * 1024 * 1024
"""Bytes of all answers of one listener that wait to be read."""

_SLICE: Final = 16 * 1024
"""Bytes parsed at once, so that a bound on size is noticed before much more was parsed."""
_CHUNK_FRAMING: Final = 32
"""Bytes that one chunk of a body may take besides its data."""
_UPGRADE_HEADERS: Final = frozenset({b"upgrade", b"connection", b"http2-settings"})


class ConnectionPool:
    """What the connections of one listener share."""

    def __init__(self, count_refused: Callable[[], None] = lambda: None) -> None:
        """`count_refused` is called for each connection that was closed because there were too many."""
        self.count_refused = count_refused
        self.is_draining = False
        """Whether the program ends. Each answer then closes its connection."""
        self._connections: set[BoundedProtocol] = set()
        self._unread: dict[BoundedProtocol, None] = {}

    def add(self, connection: "BoundedProtocol") -> None:
        """Take a new connection in."""
        self._connections.add(connection)

    def remove(self, connection: "BoundedProtocol") -> None:
        """The connection was closed."""
        self._connections.discard(connection)

    def drain(self) -> None:
        """The program ends: answer what was sent, each answer with `Connection: close`."""
        self.is_draining = True
        for connection in tuple(self._connections):
            connection.shutdown()

    def add_unread(self, connection: "BoundedProtocol") -> None:
        """Take note of an answer that waits to be read. Give up the oldest ones while they are too large together."""
        self._unread[connection] = None
        sizes = {each: each.transport.get_write_buffer_size() for each in self._unread}
        total = sum(sizes.values())
        for each, size in sizes.items():
            if total <= MAX_UNREAD or each is connection:
                break
            total -= size
            self.remove_unread(each)
            each.transport.abort()

    def remove_unread(self, connection: "BoundedProtocol") -> None:
        """The answer was read or given up."""
        self._unread.pop(connection, None)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with the bounds of this module."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        pool: ConnectionPool,
    ) -> None:
        """`pool` is shared by all connections of a listener. The rest is uvicorn's."""
        super().__init__(config, server_state, app_state, _loop)
        self._pool = pool
        self._deadline: asyncio.TimerHandle | None = None
        self._answer_deadline: asyncio.TimerHandle | None = None
        self._waiting_since = time.monotonic()
        self._overhead = 0
        self._header_count = 0
        self._is_arriving = False
        self._is_in_head = True
        self._offers_upgrade = False
        self._has_declined = False
        self._is_ending = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Start the clock, and make room for the connection."""
        super().connection_made(transport)
        self._pool.add(self)
        self._start_deadline(REQUEST_DEADLINE)
        if len(self.connections) > MAX_CONNECTIONS:
            self._pool.count_refused()
            waiting = [each for each in self.connections if isinstance(each, BoundedProtocol) and each.is_waiting]
            min(waiting, key=lambda each: each._waiting_since, default=self).transport.abort()  # noqa: SLF001 - its own kind

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._pool.remove(self)
        self._stop_deadline()
        self._stop_answer_deadline()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    @property
    def is_waiting(self) -> bool:
        """Whether no request is under way that the application has seen."""
        return not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete)

    def data_received(self, data: bytes) -> None:
        """Parse what was received, slice by slice, and close the connection where it is too much."""
        for start in range(0, len(data), _SLICE):
            if self.transport.is_closing():
                return
            part = data[start : start + _SLICE]
            self._overhead += len(part)
            try:
                self.parser.feed_data(part)
            except httptools.HttpParserUpgrade as offer:
                # CONNECT ends here as well. It has its answer.
                if not self.transport.is_closing():
                    self._parse_without_upgrade(part[offer.args[0] :] + data[start + _SLICE :])
                return
            except httptools.HttpParserError:
                self.send_400_response("Invalid HTTP request received.")
                return
            if self._overhead > MAX_HEAD:
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
        """Start the clock of this request, and stop the keep-alive time."""
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._overhead = 0
        self._header_count = 0
        self._is_arriving = True
        self._start_deadline(SHUTDOWN_DEADLINE if self._is_ending else REQUEST_DEADLINE)

    def on_url(self, url: bytes) -> None:
        """Collect the request's target, up to MAX_HEAD."""
        super().on_url(url)
        if len(self.url) > MAX_HEAD:
            self.transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header, up to MAX_HEADERS. A trailer is not collected."""
        self._header_count += 1
        if self._header_count > MAX_HEADERS:
            self.transport.abort()
        elif self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request to the application, unless it has to be parsed again without an offer to upgrade."""
        self._is_in_head = False
        if self.parser.get_method() == b"CONNECT":
            self.send_400_response("This is no proxy.")
            return
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD:
            self.transport.abort()
            return
        self._offers_upgrade = self.parser.should_upgrade()
        if self._offers_upgrade:
            return
        super().on_headers_complete()
        if self._pool.is_draining or self._is_ending:
            self.cycle.keep_alive = False
        if len(self.pipeline) > MAX_PIPELINED:
            self.transport.abort()

    def on_chunk_header(self) -> None:
        """Allow for the framing of a chunk."""
        self._overhead = max(0, self._overhead - _CHUNK_FRAMING)

    def on_body(self, body: bytes) -> None:
        """Collect a part of the body."""
        self._overhead = max(0, self._overhead - len(body))
        if not self._offers_upgrade and not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the clock: the request is complete."""
        self._is_in_head = True
        if self._offers_upgrade or self.transport.is_closing():
            return
        self._is_arriving = False
        self._stop_deadline()
        super().on_message_complete()
        if self.cycle.response_complete:
            self._start_keep_alive()

    def on_response_complete(self) -> None:
        """Make sure that a connection which closes after its answer is closed, also when nobody reads the answer."""
        super().on_response_complete()
        self._waiting_since = time.monotonic()
        if self._is_arriving:
            # The clock of that request runs.
            self._unset_keepalive_if_required()
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._start_answer_deadline()

    def pause_writing(self) -> None:
        """A part of the answer is not read yet."""
        super().pause_writing()
        self._start_answer_deadline()
        self._pool.add_unread(self)

    def resume_writing(self) -> None:
        """The answer was read, but for a few bytes."""
        super().resume_writing()
        self._stop_answer_deadline()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection. Closing would wait for ever where the last answer is not read."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """Close the connection after what is under way. A request that is still arriving gets SHUTDOWN_DEADLINE."""
        if self._is_ending:
            return
        self._is_ending = True
        if not self.is_waiting:
            super().shutdown()
        if self._is_arriving:
            self._start_deadline(SHUTDOWN_DEADLINE)
        elif self.is_waiting:
            self._unset_keepalive_if_required()
            self._start_deadline(LINGER)

    def _parse_without_upgrade(self, rest: bytes) -> None:
        """Parse the request again without its offer to upgrade. `rest` is its body and what follows.

        llhttp takes what follows such a head for another protocol, and leaves the body out. The connection ends after
        the answer, so that a client can't make this happen again and again.
        """
        if self._has_declined or not self._offers_upgrade:
            self.transport.abort()
            return
        self._has_declined = True
        lines = [b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url), b"connection: close"]
        lines += [name + b": " + value for name, value in self.headers if name not in _UPGRADE_HEADERS]
        self.parser = httptools.HttpRequestParser(self)
        self._is_in_head = True
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def _start_keep_alive(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

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

    def _start_answer_deadline(self) -> None:
        if self._answer_deadline is None:
            self._answer_deadline = self.loop.call_later(ANSWER_DEADLINE, self.transport.abort)

    def _stop_answer_deadline(self) -> None:
        self._pool.remove_unread(self)
        if self._answer_deadline is not None:
            self._answer_deadline.cancel()
            self._answer_deadline = None
