"""Basic authentication around an application, with the users of `--web.config.file`.

An answer does not reveal which part of a wrong password was wrong, neither by its text nor by the time it takes.
bcrypt runs on threads of its own, so it delays neither the event loop nor the reading of deliveries.
"""

import asyncio
import base64
import hmac
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import bcrypt
from starlette.types import ASGIApp, Receive, Scope, Send

from exporter.web.headers import SECURITY_HEADERS, ExtraHeaders
from exporter.web.responses import answer

_MAX_CHECKS: Final = 8
"""Passwords that are checked at the same time. Others wait."""
_MAX_VERDICTS: Final = 128
"""Pairs of user and password whose result is kept."""
_MAX_PASSWORD: Final = 72
"""Bytes. bcrypt ignores any further ones."""


class BasicAuth:
    """Requires a user and a password on every path that is not open. Without users it passes every request on.

    `users` maps names to bcrypt hashes. `is_open` is called with the path as the router sees it, and returns whether
    that path needs no password.
    """

    def __init__(self, app: ASGIApp, users: Mapping[str, str], is_open: Callable[[str], bool]) -> None:
        self._app = app
        self._users = {name.encode(): text.encode() for name, text in users.items()}
        self._is_open = is_open
        # Use a dummy hash of the highest cost in use, so that unknown users take as long as known ones. No password
        # matches it.
        cost = max((text[4:6] for text in self._users.values()), default=b"10")
        self._dummy_hash = b"$2b$" + cost + b"$" + b"." * 53
        self._digest_key = secrets.token_bytes(32)
        self._verdicts: dict[bytes, bool] = {}
        self._slots = asyncio.Semaphore(_MAX_CHECKS)
        # The event loop's default threads also read large deliveries. A client that guesses passwords must not keep
        # them busy.
        self._pool = ThreadPoolExecutor(_MAX_CHECKS, thread_name_prefix="bcrypt")
        # The refusal does not come from the application, so its security headers are added here.
        self._refuse = ExtraHeaders(_unauthorized, SECURITY_HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401. A websocket is closed with code 1008."""
        if (
            scope["type"] == "lifespan"
            or not self._users
            or self._is_open(scope["path"])
            or await self._is_authorized(_credentials(scope))
        ):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._refuse(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _is_authorized(self, credentials: bytes | None) -> bool:
        if credentials is None:
            return False
        # Keep a keyed digest, so that no password stays in memory.
        digest = hmac.digest(self._digest_key, credentials, "sha256")
        if digest not in self._verdicts:
            async with self._slots:
                # A request that held a slot before may have brought the same credentials.
                if digest not in self._verdicts:
                    loop = asyncio.get_running_loop()
                    is_right = await loop.run_in_executor(self._pool, self._check, credentials)
                    self._put_verdict(digest, is_right=is_right)
                    return is_right
        return self._verdicts[digest]

    def _check(self, credentials: bytes) -> bool:
        """Compare a password with its user's hash. Blocking."""
        name, _, password = credentials.partition(b":")
        known = self._users.get(name)
        try:
            return bcrypt.checkpw(password, known or self._dummy_hash) and known is not None
        except ValueError:
            return False

    def _put_verdict(self, digest: bytes, *, is_right: bool) -> None:
        if len(self._verdicts) >= _MAX_VERDICTS:
            # Drop the oldest wrong one, so that guesses do not displace the verdict on a right password.
            oldest = next((each for each, good in self._verdicts.items() if not good), next(iter(self._verdicts)))
            del self._verdicts[oldest]
        self._verdicts[digest] = is_right


async def _unauthorized(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
    headers = ((b"www-authenticate", b"Basic"),)
    await answer(send, 401, b"unauthorized\n", headers=headers, without_body=scope["method"] == "HEAD")


def _credentials(scope: Scope) -> bytes | None:
    """Return `user:password` as it was sent, or None for a header that can't be right."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1:
        return None
    scheme, _, encoded = values[0].partition(b" ")
    try:
        credentials = base64.b64decode(encoded.strip(), validate=True)
        credentials.decode()
    except ValueError:
        return None
    _, colon, password = credentials.partition(b":")
    return credentials if scheme.lower() == b"basic" and colon and len(password) <= _MAX_PASSWORD else None
