"""Basic authentication and headers around an application, as `--web.config.file` asks for them.

The rule: nothing tells which part of a wrong password was wrong, neither words nor time; the event loop never waits for
bcrypt, and nothing else waits for its threads.
"""

import asyncio
import base64
import hmac
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import bcrypt
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.web.responses import answer

_MAX_CHECKS: Final = 8
_MAX_VERDICTS: Final = 128
_MAX_PASSWORD: Final = 72
"""Bytes; bcrypt reads no more."""


class BasicAuth:
    """Asks for a user and a password, but for the open paths; bcrypt runs beside the event loop, a few at a time.

    `is_open` is given the path as the router sees it. Without users nothing is asked.
    """

    def __init__(self, app: ASGIApp, users: Mapping[str, str], is_open: Callable[[str], bool]) -> None:
        self._app = app
        self._users = {name.encode(): text.encode() for name, text in users.items()}
        self._is_open = is_open
        # As dear as the dearest, so that time does not tell whether a user exists. No password has it.
        cost = max((text[4:6] for text in self._users.values()), default=b"10")
        self._nobody = b"$2b$" + cost + b"$" + b"." * 53
        self._key = secrets.token_bytes(32)
        self._verdicts: dict[bytes, bool] = {}
        self._slots = asyncio.Semaphore(_MAX_CHECKS)
        # Threads of its own: whoever guesses passwords must not keep deliveries from being read.
        self._pool = ThreadPoolExecutor(_MAX_CHECKS, thread_name_prefix="bcrypt")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if (
            scope["type"] == "lifespan"
            or not self._users
            or self._is_open(scope["path"])
            or await self._is_known(_credentials(scope))
        ):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            headers = ((b"www-authenticate", b"Basic"),)
            await answer(send, 401, b"unauthorized\n", headers=headers, without_body=scope["method"] == "HEAD")
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _is_known(self, credentials: bytes | None) -> bool:
        if credentials is None:
            return False
        key = hmac.digest(self._key, credentials, "sha256")
        if key not in self._verdicts:
            async with self._slots:
                # While this one waited, another may have brought the same.
                if key not in self._verdicts:
                    loop = asyncio.get_running_loop()
                    verdict = await loop.run_in_executor(self._pool, self._check, credentials)
                    self._remember(key, verdict=verdict)
                    return verdict
        return self._verdicts[key]

    def _check(self, credentials: bytes) -> bool:
        name, _, password = credentials.partition(b":")
        known = self._users.get(name)
        try:
            return bcrypt.checkpw(password, known or self._nobody) and known is not None
        except ValueError:
            return False

    def _remember(self, key: bytes, *, verdict: bool) -> None:
        if len(self._verdicts) >= _MAX_VERDICTS:
            # Bad ones go first: somebody who guesses must not push out those who know.
            oldest = next((each for each, good in self._verdicts.items() if not good), next(iter(self._verdicts)))
            del self._verdicts[oldest]
        self._verdicts[key] = verdict


def _credentials(scope: Scope) -> bytes | None:
    """`user:password` as it was sent; None for what can't be right."""
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(given) != 1:
        return None
    scheme, _, encoded = given[0].partition(b" ")
    try:
        credentials = base64.b64decode(encoded.strip(), validate=True)
        credentials.decode()
    except ValueError:
        return None
    _, colon, password = credentials.partition(b":")
    return credentials if scheme.lower() == b"basic" and colon and len(password) <= _MAX_PASSWORD else None


class ExtraHeaders:
    """Sets headers on every answer, whatever the application says of them."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self._names = {name for name, _ in self._headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and the answer back with the headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [header for header in message.get("headers", ()) if header[0].lower() not in self._names]
                message = {**message, "headers": [*kept, *self._headers]}
            await send(message)

        await self._app(scope, receive, send_with_headers)
