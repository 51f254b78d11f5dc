"""Listening sockets, uvicorn and signals: serves ASGI applications until SIGTERM or SIGINT.

uvicorn's own signal handlers raise the signal again when its server ends, and then nothing after it would run: no
checkpoint, no closed ledger. So `Server` leaves signals alone and `serve_until_signal` handles them.
"""

import asyncio
import contextlib
import functools
import signal
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
import uvicorn
from starlette.types import ASGIApp

from exporter.errors import CannotListenError
from exporter.parsers import Address
from exporter.web.protocol import BoundedProtocol, ConnectionPool

_GRACE: Final = 8
"""Seconds that requests in progress have to end after SIGTERM. A commit takes no longer."""
_BACKLOG: Final = 1024
_LAST_ACCEPTS: Final = 0.1
"""Seconds in which connections are still accepted after a signal to end."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("server")


class Server(uvicorn.Server):
    """uvicorn's server without its signal handlers.

    At its end it still accepts connections for a moment: the kernel may have completed some that it has not seen yet.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept what has arrived, then stop accepting and wait for the requests in progress."""
        await asyncio.sleep(_LAST_ACCEPTS)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handlers."""
        yield


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket and the application that answers there, over TLS if a context is given."""

    socket: socket.socket
    app: ASGIApp
    tls: ssl.SSLContext | None = None

    @property
    def address(self) -> Address:
        """Where it listens. For port 0 this is the port that the system chose."""
        host, port = self.socket.getsockname()[:2]
        return Address(host, port)


def listen(address: Address, flag: str) -> socket.socket:
    """Open a listening socket. An empty host means every address, of IPv4 and IPv6 if the machine has both.

    Raises CannotListenError, which names the `flag` that gave the address.
    """
    try:
        if not address.host and socket.has_dualstack_ipv6():
            return socket.create_server(
                ("::", address.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
            )
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise CannotListenError(
            f"can't listen on {address} ({error.strerror}): choose another address with {flag}"
        ) from error


async def serve_until_signal(listeners: Sequence[Listener]) -> None:
    """Serve until SIGTERM or SIGINT, then answer the requests in progress. A second signal ends these at once.

    The signal handlers stay, so that a signal during what the caller does afterwards does not interrupt that.
    """
    pools = [ConnectionPool() for _ in listeners]
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
    tls = listener.tls
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
            backlog=_BACKLOG,
            timeout_graceful_shutdown=_GRACE,
            ssl_context_factory=(lambda _config, _default: tls) if tls is not None else None,
        )
    )
