"""Serves the public keys instead of Adobe's host, for `serve --adobe.keys-url`.

The path of a key answers with its PEM, and any other path with 404. The program handles signals, not this server.
"""

import asyncio
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import structlog
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from exporter.server import Server

_log: structlog.stdlib.BoundLogger = structlog.get_logger("simulate")


class KeyServer:
    """Serves public keys on a listening socket while the context is entered."""

    def __init__(self, listening: socket.socket, keys: Mapping[str, bytes]) -> None:
        """`keys`: PEM by path."""
        self._socket = listening
        self._keys = keys
        application = Router([Route("/prod/keys/{name}", self._answer)])
        self._server = Server(
            uvicorn.Config(application, lifespan="off", ws="none", access_log=False, log_config=None, workers=1)
        )

    async def __aenter__(self) -> Self:
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        host, port = self._socket.getsockname()[:2]
        _log.info("serving the public keys", host=host, port=port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        await self._serving

    async def _answer(self, request: Request) -> Response:
        pem = self._keys.get(request.url.path)
        if pem is None:
            return Response(status_code=404)
        return Response(pem, media_type="application/x-pem-file")
