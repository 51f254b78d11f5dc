"""The host of the public keys, in the place of Adobe's: `serve --adobe.keys-url` is pointed at it.

The rule: a key's path answers with its PEM, anything else with 404. Signals are the program's, not the server's.
"""

import contextlib
import socket
from collections.abc import Iterator, Mapping

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the program."""
        yield


class KeyHost:
    """Serves public keys on a socket that listens."""

    def __init__(self, listening: socket.socket, keys: Mapping[str, bytes]) -> None:
        """`keys`: PEM by path."""
        self._socket = listening
        self._keys = keys
        self.application = Starlette(routes=[Route("/prod/keys/{name}", self._answer)])
        self._server = _Server(
            uvicorn.Config(self.application, lifespan="off", ws="none", access_log=False, log_config=None)
        )

    async def serve(self) -> None:
        """Answer until `stop`."""
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """End soon."""
        self._server.should_exit = True

    async def _answer(self, request: Request) -> Response:
        pem = self._keys.get(request.url.path)
        if pem is None:
            return Response(status_code=404)
        return Response(pem, media_type="application/x-pem-file")
