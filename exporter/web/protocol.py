"""The HTTP protocol of a listener, with bounds on what one connection may take.

uvicorn bounds neither the time that a request may take, nor the size of its head and trailers, nor the answers that
nobody reads. This module adds these bounds:

- A connection is always under a clock. A request must be complete within REQUEST_DEADLINE. Between two requests the
  keep-alive time of uvicorn applies, and only a new request stops it.
- What is not body (request line, headers, trailers, chunk framing) is bounded by MAX_HEAD, however it is cut into
  packets.
- An answer is written in parts of PART bytes, so that a connection holds little of an answer that is not read, also
  over TLS. An answer that is not read within ANSWER_DEADLINE is given up.
- CONNECT is answered with 400. An offer to upgrade is declined once for each connection, which then ends after its
  answer.
- The connections of one listener, and their answers that are not read yet, are bounded together
  (`exporter.web.connection_pool`).

A request that breaks a bound gets no answer: the connection is closed. Adobe waits ten seconds for the whole exchange,
so what has not arrived by then is no delivery. A 408 would be a 4xx, which makes Adobe drop the event
(docs/adobe.md, "Retries").

A client that closes its half of the connection has given up its request. Waiting for the answer to such a request is
rare among HTTP clients, and a scraper that gives up looks the same.

This module overrides private parts of uvicorn. `tests/web/test_protocol.py` lists them.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, Final

import httptools
from starlette.types import Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from exporter.web.connection_pool import ConnectionPool
from exporter.web.headers import SECURITY_HEADERS
from exporter.web.responses import TEXT

REQUEST_DEADLINE: Final = 10.0
"""Seconds from the first byte of a request to its last. A new connection must send its first byte as soon."""
SHUTDOWN_DEADLINE: Final = 4.0
"""Seconds that a request may still take to arrive, and its answer to be read, once the program ends."""
LINGER: Final = 0.5
"""Seconds for which an idle connection stays open once the program ends, for a request that is already on its way."""
MAX_HEAD: Final = 32 * 1024
"""Bytes of a request that are not its body."""
MAX_HEADERS: Final = 100
MAX_PIPELINED: Final = 16
"""Requests of one connection that wait for their turn."""
ANSWER_DEADLINE: Final = 10.0
"""Seconds in which a client must read an answer. Prometheus gives a scrape ten seconds in all."""
PART: Final = 64 * 1024
"""Bytes of an answer that are written at once."""

_SLICE: Final = 16 * 1024
"""Bytes parsed at once, so that a bound on size is noticed before much more was parsed."""
_CHUNK_FRAMING: Final = 32
"""Bytes that one chunk of a body may take besides its data."""
_UPGRADE_HEADERS: Final = frozenset({b"upgrade", b"connection", b"http2-settings"})
_LAST_LOOK: Final = 0.001
"""Seconds after a deadline in which the event loop reads once more. After a stall of the loop, timers fire before it
has read what arrived meanwhile."""
_NO_LINGER: Final = struct.pack("ii", 1, 0)
"""The value of SO_LINGER that makes the kernel drop what was not sent yet."""


class Timer:
    """Calls a function after some seconds, but not before the event loop has read what arrived in time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
        self._loop = loop
        self._function = function
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        """Whether the function will be called."""
        return self._handle is not None

    def start(self, seconds: float) -> None:
        """Call the function in so many seconds, and not at an earlier start's time."""
        self.stop()
        self._handle = self._loop.call_later(seconds, self._look)

    def stop(self) -> None:
        """Do not call the function."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _look(self) -> None:
        self._handle = self._loop.call_later(_LAST_LOOK, self._end)

    def _end(self) -> None:
        self._handle = None
        self._function()


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with the bounds of this module."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        pool: ConnectionPool,
    ) -> None:
        """`pool` is shared by all connections of a listener. The rest is uvicorn's."""
        super().__init__(config, server_state, app_state, _loop)
        self._application = self.app
        self.app = self._serve
        self._pool = pool
        self._request_timer = Timer(self.loop, self.abort)
        self._answer_timer = Timer(self.loop, self.abort)
        self._idle_timer = Timer(self.loop, self._close_idle)
        self.turn = next(pool.turns)
        """Rises with each connection, request and answer. The loop's clock is too coarse to order them."""
        self._running: RequestResponseCycle | None = None
        """The latest request that the application got."""
        self._overhead = 0
        self._header_count = 0
        self._is_arriving = False
        self._is_in_head = True
        self._offers_upgrade = False
        self._has_declined = False
        self._is_ending = False
        self._is_deaf = False
        self._closes = False

    # The connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Start the clock, and make room for the connection."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=PART)
        self._request_timer.start(REQUEST_DEADLINE)
        if self._pool.is_draining:
            self.shutdown()
        self._pool.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks, and tell the application."""
        self._pool.remove(self)
        for timer in (self._request_timer, self._answer_timer, self._idle_timer):
            timer.stop()
        self._unset_keepalive_if_required()
        self._disconnect()
        super().connection_lost(exc)

    @property
    def is_expendable(self) -> bool:
        """Whether the connection may be closed for another one. Not while the application works on a whole POST.

        Strangers can keep the application at work for seconds with scrapes, but not with deliveries.
        """
        running = self._running
        if self.transport.is_closing() or running is None or running.response_complete or self.flow.write_paused:
            return True
        return running.scope["method"] != "POST" or (self._is_arriving and running is self.cycle)

    def abort(self) -> None:
        """Close the connection now, with what was not read of its answers."""
        self._disconnect()
        if self._answer_timer.is_running or self.transport.get_write_buffer_size():
            connection = self.transport.get_extra_info("socket")
            if connection is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()

    def shutdown(self) -> None:
        """Close the connection after what is under way. A request that is still arriving gets SHUTDOWN_DEADLINE."""
        if self._is_ending:
            return
        self._is_ending = True
        if self._answer_timer.is_running:
            self._answer_timer.start(SHUTDOWN_DEADLINE)
        if self._is_arriving:
            self._request_timer.start(SHUTDOWN_DEADLINE)
        elif self._is_idle:
            self._request_timer.stop()
            self._unset_keepalive_if_required()
            self._idle_timer.start(LINGER)

    # What arrives.

    def data_received(self, data: bytes) -> None:
        """Parse what was received, slice by slice, and close the connection where it is too much."""
        for start in range(0, len(data), _SLICE):
            if self._is_deaf or self.transport.is_closing():
                return
            part = data[start : start + _SLICE]
            self._overhead += len(part)
            try:
                self.parser.feed_data(part)
            except httptools.HttpParserUpgrade as offer:
                # CONNECT ends here as well. It has its answer.
                if not self._is_deaf and not self.transport.is_closing():
                    self._parse_without_upgrade(part[offer.args[0] :] + data[start + _SLICE :])
                return
            except httptools.HttpParserError:
                self._refuse("Invalid HTTP request received.")
                return
            if self._overhead > MAX_HEAD:
                self.abort()

    def eof_received(self) -> None:
        """Give up the requests of a client that has left. Over TLS the connection itself may end much later."""
        self._disconnect()
        self._close()

    def on_message_begin(self) -> None:
        """Start the clock of this request, and stop the keep-alive time."""
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._idle_timer.stop()
        self._overhead = 0
        self._header_count = 0
        self._is_arriving = True
        if self._is_idle:
            self.turn = next(self._pool.turns)
        self._request_timer.start(SHUTDOWN_DEADLINE if self._is_ending else REQUEST_DEADLINE)

    def on_url(self, url: bytes) -> None:
        """Collect the request's target, up to MAX_HEAD."""
        super().on_url(url)
        if len(self.url) > MAX_HEAD:
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header, up to MAX_HEADERS. A trailer is not collected."""
        self._header_count += 1
        if self._header_count > MAX_HEADERS:
            self.abort()
        elif self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request to the application, unless it has to be parsed again without an offer to upgrade."""
        if self._is_deaf or self.transport.is_closing():
            return
        if self.parser.get_method() == b"CONNECT":
            self._refuse("This is no proxy.")
            return
        self._is_in_head = False
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD:
            self.abort()
            return
        self._offers_upgrade = self.parser.should_upgrade()
        if self._offers_upgrade:
            return
        super().on_headers_complete()
        if not self.pipeline:
            self._running = self.cycle
        elif len(self.pipeline) > MAX_PIPELINED:
            self.abort()

    def on_chunk_header(self) -> None:
        """Allow for the framing of a chunk."""
        self._overhead = max(0, self._overhead - _CHUNK_FRAMING)

    def on_body(self, body: bytes) -> None:
        """Collect a part of the body."""
        self._overhead = max(0, self._overhead - len(body))
        if not self._offers_upgrade and not self._is_deaf and not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the clock: the request is complete."""
        self._is_in_head = True
        if self._offers_upgrade or self._is_deaf or self.transport.is_closing():
            return
        self._is_arriving = False
        self._request_timer.stop()
        super().on_message_complete()
        if not self._is_idle:
            return
        # It was answered before it was complete.
        if self._closes:
            self._close()
        elif self._is_ending:
            self._idle_timer.start(LINGER)
        else:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _refuse(self, message: str) -> None:
        """Read no more of what can't be read, and answer 400 if nothing else of this connection is to be answered.

        Requests before it get their answers. A 400 before these would be taken for one of them.
        """
        self._is_deaf = True
        self._request_timer.stop()
        if self._is_idle and self._is_in_head:
            self.send_400_response(message)
        elif self._is_in_head:
            self._is_arriving = False
            self._closes = True
        elif self._is_idle:
            self._close()
        elif self._running is self.cycle and not self.cycle.response_started:
            self._disconnect()
            self.send_400_response(message)
        else:
            self.abort()

    def _parse_without_upgrade(self, rest: bytes) -> None:
        """Parse the request again without its offer to upgrade. `rest` is its body and what follows.

        llhttp takes what follows such a head for another protocol, and leaves the body out. The connection ends after
        the answer, so that a client can't make this happen again and again.
        """
        if self._has_declined or not self._offers_upgrade:
            self.abort()
            return
        self._has_declined = True
        lines = [b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url), b"connection: close"]
        lines += [name + b": " + value for name, value in self.headers if name not in _UPGRADE_HEADERS]
        self.parser = httptools.HttpRequestParser(self)
        # What follows the request is ignored then, as in uvicorn's own parser.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._is_in_head = True
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    # What is answered.

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application, and write its answer in parts."""

        async def send_in_parts(message: Message) -> None:
            if self.transport.is_closing():
                # uvloop may take seconds to tell that a connection over TLS has ended.
                self._disconnect()
            if message["type"] == "http.response.start":
                await self._start_answer(message, send)
                return
            body = message.get("body", b"")
            if len(body) <= PART:
                await send(message)
                return
            self._pool.begin_answer(self, body)
            try:
                for start in range(0, len(body), PART):
                    is_last = start + PART >= len(body) and not message.get("more_body", False)
                    await send({**message, "body": body[start : start + PART], "more_body": not is_last})
                    # The event loop may have to tell that the connection broke.
                    await asyncio.sleep(0)
            finally:
                self._pool.end_answer(self)

        await self._application(scope, receive, send_in_parts)

    async def _start_answer(self, message: Message, send: Send) -> None:
        cycle = self._running
        if cycle is None or cycle is not self.cycle:
            # More requests of this connection wait for their turn.
            await send(message)
            return
        if self._is_ending or self._closes:
            cycle.keep_alive = False
        await send(message)
        if not cycle.keep_alive and self._is_arriving:
            # The connection closes once the request is complete. If it closed now, the kernel would reset it because
            # of the bytes that nobody read, and the client might lose the answer.
            cycle.keep_alive = True
            self._closes = True

    def on_response_complete(self) -> None:
        """Start what comes next: another request, the end of the connection, or the keep-alive time."""
        following = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        self.turn = next(self._pool.turns)
        if self.transport.is_closing():
            self._answer_timer.start(SHUTDOWN_DEADLINE if self._is_ending else ANSWER_DEADLINE)
            return
        if not self.flow.write_paused:
            self._answer_timer.stop()
        if following is not None:
            self._running = following
        elif self._is_arriving:
            # The clock of that request runs.
            self._unset_keepalive_if_required()
        elif self._closes:
            self._close()
        elif self._is_ending:
            self._unset_keepalive_if_required()
            self._idle_timer.start(LINGER)

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
        self._close()

    def pause_writing(self) -> None:
        """A part of the answer is not read yet."""
        super().pause_writing()
        if not self._answer_timer.is_running:
            self._answer_timer.start(SHUTDOWN_DEADLINE if self._is_ending else ANSWER_DEADLINE)

    def resume_writing(self) -> None:
        """What was written of the answer was read, but for a few bytes. The clock runs until the end of the answer."""
        super().resume_writing()
        if self._running is None or self._running.response_complete:
            self._answer_timer.stop()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, unless a request has arrived that was not read yet."""
        self._idle_timer.start(0)

    @property
    def _is_idle(self) -> bool:
        """Whether every request that the application got was answered."""
        return self.cycle is None or self.cycle.response_complete

    def _close_idle(self) -> None:
        """Close an idle connection. Closing would wait for ever where the last answer is not read."""
        if self.transport.get_write_buffer_size():
            self.abort()
        else:
            self._close()

    def _close(self) -> None:
        """Close the connection after what was written. Over TLS the client may keep that waiting."""
        self.transport.close()
        self._answer_timer.start(SHUTDOWN_DEADLINE if self._is_ending else ANSWER_DEADLINE)

    def _disconnect(self) -> None:
        """Tell the application that nobody waits for its answers any more."""
        for cycle in (self._running, *(each for each, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
