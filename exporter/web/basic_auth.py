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
        self._passwords = Passwords(users)
        self._is_open = is_open
        self._slots = asyncio.Semaphore(_MAX_CHECKS)
        # The event loop's default threads also read large deliveries. A client that guesses passwords must not keep
        # them busy.
        self._pool = ThreadPoolExecutor(_MAX_CHECKS, thread_name_prefix="bcrypt")
        # The refusal does not come from the application, so its security headers are added here.
        self._refuse = ExtraHeaders(_unauthorized, SECURITY_HEADERS)

    @property
    def has_users(self) -> bool:
        """Whether any path requires a password."""
        return bool(self._passwords.users)

    def replace(self, users: Mapping[str, str]) -> None:
        """Take these users from now on, and no others, also for requests whose password is being checked."""
        if users != self._passwords.users:
            self._passwords = Passwords(users)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401. A websocket is closed with code 1008."""
        if (
            scope["type"] == "lifespan"
            or not self.has_users
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
        while True:
            passwords = self._passwords
            is_right = await self._verdict(passwords, credentials)
            if passwords is self._passwords:
                return is_right

    async def _verdict(self, passwords: "Passwords", credentials: bytes) -> bool:
        known = passwords.verdict(credentials)
        if known is not None:
            return known
        async with self._slots:
            # A request that held a slot before may have brought the same credentials.
            known = passwords.verdict(credentials)
            if known is not None:
                return known
            loop = asyncio.get_running_loop()
            is_right = await loop.run_in_executor(self._pool, passwords.check, credentials)
            passwords.put_verdict(credentials, is_right=is_right)
            return is_right


class Passwords:
    """The users of one version of the file, and which credentials were right."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self.users = dict(users)
        self._hashes = {name.encode(): text.encode() for name, text in users.items()}
        # Use a dummy hash of the highest cost in use, so that unknown users take as long as known ones. No password
        # matches it.
        cost = max((text[4:6] for text in self._hashes.values()), default=b"10")
        self._dummy_hash = b"$2b$" + cost + b"$" + b"." * 53
        self._digest_key = secrets.token_bytes(32)
        self._verdicts: dict[bytes, bool] = {}

    def check(self, credentials: bytes) -> bool:
        """Compare a password with its user's hash. Blocking."""
        name, _, password = credentials.partition(b":")
        known = self._hashes.get(name)
        try:
            return bcrypt.checkpw(password, known or self._dummy_hash) and known is not None
        except ValueError:
            return False

    def verdict(self, credentials: bytes) -> bool | None:
        """Whether these credentials were right when they were checked. None if they were not, or are forgotten."""
        return self._verdicts.get(self._digest(credentials))

    def put_verdict(self, credentials: bytes, *, is_right: bool) -> None:
        """Remember whether these credentials are right."""
        if len(self._verdicts) >= _MAX_VERDICTS:
            # Drop the oldest wrong one, so that guesses do not displace the verdict on a right password.
            oldest = next((each for each, good in self._verdicts.items() if not good), next(iter(self._verdicts)))
            del self._verdicts[oldest]
        self._verdicts[self._digest(credentials)] = is_right

    def _digest(self, credentials: bytes) -> bytes:
        """A keyed digest, so that no password stays in memory."""
        return hmac.digest(self._digest_key, credentials, "sha256")


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
