"""Listening sockets, uvicorn and signals: serves ASGI applications until SIGTERM or SIGINT.

uvicorn's own signal handlers raise the signal again when its server ends, and then nothing after it would run: no
checkpoint, no closed ledger. So `Server` leaves signals alone and `serve_until_signal` handles them.
"""

import asyncio
import contextlib
import functools
import os
import resource
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
import uvicorn
from starlette.types import ASGIApp

from exporter.errors import CannotListenError
from exporter.logs import LogThrottle
from exporter.parsers import Address
from exporter.web.connection_pool import ConnectionPool
from exporter.web.protocol import (
    ANSWER_DEADLINE,
    REQUEST_DEADLINE,
    SHUTDOWN_DEADLINE,
    BoundedProtocol,
)

_GRACE: Final = 8
"""Seconds that requests in progress have to end after SIGTERM. A commit takes no longer."""
_BACKLOG: Final = 1024
_ACCEPTS_AT_ONCE: Final = 64
"""Connections that are accepted in one turn of the event loop."""
_ACCEPT_PAUSE: Final = 0.5
"""Seconds without accepting after the system had no room for another connection."""
_FILES: Final = 4096
"""Open files that are more than enough for two listeners, handshakes, the ledger and the key host."""
_TICK: Final = 0.1
"""Seconds until a second signal is noticed."""
_MAX_HANDSHAKES: Final = 128
"""TLS handshakes at a time, of one listener. One more takes the place of the oldest."""
_SEND_BUFFER: Final = 256 * 1024
"""Bytes that the kernel is asked to hold of what one connection sends. By itself it would hold some megabytes for each
client that does not read."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("server")


class Server(uvicorn.Server):
    """uvicorn's server without its signal handlers, and with accepting of its own.

    uvicorn lets the event loop accept. That bounds no TLS handshakes, and closes a listening socket with the
    connections in its backlog, whose clients may have sent their requests already.
    """

    def __init__(self, config: uvicorn.Config, tls: Callable[[], ssl.SSLContext] | None = None) -> None:
        """`tls` returns the context for the next handshake of a listener with TLS."""
        super().__init__(config)
        self._tls = tls
        self._opening: dict[asyncio.Task[None], None] = {}
        self._pause: asyncio.TimerHandle | None = None
        self._is_accepting = False
        self._failures = LogThrottle(time.monotonic)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        await super().startup(sockets=[])
        self._is_accepting = True
        for listening in sockets or ():
            listening.setblocking(False)
            listening.listen(_BACKLOG)
            self._watch(listening)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept what has arrived, then stop accepting and wait for the requests in progress."""
        self._is_accepting = False
        if self._pause is not None:
            self._pause.cancel()
        for listening in sockets or ():
            asyncio.get_running_loop().remove_reader(listening)
            while self._accept_one(listening):
                pass
            listening.close()
        deadline = time.monotonic() + SHUTDOWN_DEADLINE
        while self._opening and not self.force_exit and time.monotonic() < deadline:
            await asyncio.wait(tuple(self._opening), timeout=_TICK)
        for task in tuple(self._opening):
            task.cancel()
        await super().shutdown([])

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handlers."""
        yield

    def _watch(self, listening: socket.socket) -> None:
        self._pause = None
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            if not self._accept_one(listening):
                return

    def _accept_one(self, listening: socket.socket) -> bool:
        """Accept a connection. Return whether there may be more."""
        try:
            accepted, _ = listening.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionError:
            return True
        except OSError as error:
            # No room for another connection. It waits in the backlog.
            more = self._failures.allow("accept")
            if more is not None:
                _log.error("a connection can't be accepted", detail=error.strerror, more_like_it=more)
            if self._is_accepting:
                # uvloop's remove_reader does not say whether there was a reader.
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                self._pause = loop.call_later(_ACCEPT_PAUSE, self._watch, listening)
            return False
        accepted.setblocking(False)
        if self._tls is not None and len(self._opening) >= _MAX_HANDSHAKES:
            oldest = next(iter(self._opening))
            del self._opening[oldest]
            oldest.cancel()
        task = asyncio.create_task(self._open(accepted))
        self._opening[task] = None
        task.add_done_callback(functools.partial(self._finish_opening, accepted))
        return True

    async def _open(self, accepted: socket.socket) -> None:
        """Make the protocol of an accepted connection, after the handshake if it is to be TLS."""
        handshake = {"ssl_handshake_timeout": REQUEST_DEADLINE, "ssl_shutdown_timeout": ANSWER_DEADLINE}
        # A client that leaves, or does not speak TLS, is no fault of ours.
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                accepted,
                ssl=self._tls() if self._tls is not None else None,
                **(handshake if self._tls is not None else {}),
            )

    def _finish_opening(self, accepted: socket.socket, task: asyncio.Task[None]) -> None:
        self._opening.pop(task, None)
        if task.cancelled():
            # A task that was cancelled before it began has closed nothing.
            accepted.close()

    def _protocol(self) -> asyncio.Protocol:
        config = self.config
        return config.http_protocol_class(  # type: ignore[call-arg] # as in uvicorn's own startup
            config=config, server_state=self.server_state, app_state=self.lifespan.state
        )


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket and the application that answers there, over TLS if there are contexts for it."""

    socket: socket.socket
    app: ASGIApp
    tls: Callable[[], ssl.SSLContext] | None = None
    """Returns the context for the next handshake. Connections that are open keep theirs."""

    @property
    def address(self) -> Address:
        """Where it listens. For port 0 this is the port that the system chose."""
        host, port = self.socket.getsockname()[:2]
        return Address(host, port)


def raise_file_limit() -> None:
    """Allow the open files that a process needs with all connections of its listeners, as far as the system lets it.

    Many systems start a process with 1,024. Where they run out, the ledger can't be opened either.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def listen(address: Address, flag: str) -> socket.socket:
    """Open a listening socket.

    An empty host and `::` mean every address, of IPv4 and IPv6 if the machine has both. `0.0.0.0` means every address
    of IPv4. Of a name's addresses the first of IPv4 is used, else the first.

    Raises CannotListenError, which names the `flag` that gave the address.
    """
    try:
        if address.host in {"", "::"}:
            is_dual = socket.has_dualstack_ipv6()
            listening = socket.create_server(
                ("::" if is_dual else "", address.port),
                family=socket.AF_INET6 if is_dual else socket.AF_INET,
                dualstack_ipv6=is_dual,
                backlog=_BACKLOG,
            )
        else:
            family, place = _resolve(address)
            listening = socket.create_server(place, family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        raise CannotListenError(
            f"can't listen on {address} ({_reason(error)}): choose another address with {flag}"
        ) from error
    # Accepted connections inherit it.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    return listening


def _reason(error: OSError | UnicodeError) -> str:
    if not isinstance(error, OSError):
        return "this is no host name"
    # Python adds the socket address to the system's words. A name that is not found has its own, without a number.
    if error.errno is not None and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return error.strerror or "it can not be used"


def _resolve(address: Address) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """The family and the socket address of a host. Raises OSError or UnicodeError."""
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, place = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, place


async def serve_until_signal(listeners: Sequence[Listener], count_refused: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGTERM or SIGINT, then answer the requests in progress. A second signal ends these at once.

    `count_refused` is called for each connection that is closed because a listener has too many. The signal
    handlers stay, so that a signal during what the caller does afterwards does not interrupt that.
    """
    pools = [ConnectionPool(count_refused) for _ in listeners]
    servers = [_server(listener, pool) for listener, pool in zip(listeners, pools, strict=True)]

    def stop(number: int) -> None:
        is_second = any(server.should_exit for server in servers)
        name = signal.Signals(number).name
        _log.warning("stopping at once", signal=name) if is_second else _log.info("stopping", signal=name)
        for server in servers:
            server.force_exit = is_second
            server.should_exit = True
        for pool in pools:
            pool.drain()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    await asyncio.gather(
        *(server.serve(sockets=[listener.socket]) for server, listener in zip(servers, listeners, strict=True))
    )


def _server(listener: Listener, pool: ConnectionPool) -> Server:
    return Server(
        uvicorn.Config(
            listener.app,
            http=functools.partial(BoundedProtocol, pool=pool),  # type: ignore[arg-type] # anything that makes protocols
            loop="uvloop",
            lifespan="off",
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            # A peer is who it is, not who its X-Forwarded-For says it is: body_budget.py and validation.py tell peers
            # apart.
            proxy_headers=False,
            # uvicorn would read WEB_CONCURRENCY and FORWARDED_ALLOW_IPS.
            workers=1,
            forwarded_allow_ips="",
            timeout_graceful_shutdown=_GRACE,
        ),
        listener.tls,
    )
