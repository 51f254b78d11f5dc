"""Adobe's public keys, fetched when a delivery names one and kept for at most a day.

The rule: a key is fetched from the configured host by a path that `signature.is_key_path` allows, without redirects;
nobody else can make this program ask for anything. Each key is asked for once at a time; what can't be had is
remembered, so that a stranger who makes up paths causes at most MAX_UNKNOWN requests a minute. Keys that have verified
a delivery are trusted: they are refreshed ahead of time and apart from that bound, and are the last to be dropped.

Weak point: while strangers use the bound up, a key of Adobe's that is new waits its turn; deliveries signed with it get
503, and Adobe sends them again.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

import httpx
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from exporter.adobe.signature import MAX_PEM, is_key_path, load_key
from exporter.errors import BadKeyError, KeyPathError, KeyUnavailableError
from exporter.tasks import discard_outcome

MAX_AGE: Final = 24 * 60 * 60.0
"""Seconds a key is believed (adobe.md A3)."""
REFRESH_AFTER: Final = 12 * 60 * 60.0
_REFRESH_AGAIN_AFTER: Final = 5 * 60.0
REMEMBER_FAILURE: Final = 60.0
MAX_UNKNOWN: Final = 10
"""Unknown keys asked for in a minute."""
_MINUTE: Final = 60.0
MAX_KEYS: Final = 64
TIMEOUT: Final = 4.0
"""Seconds for one fetch; Adobe waits ten for the whole answer."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("keys")


@dataclass(slots=True)
class _Kept:
    """A key, or that it could not be had."""

    key: RSAPublicKey | None
    fetched_at: float
    tried_at: float
    is_trusted: bool = False

    @property
    def has_failed(self) -> bool:
        """Whether the last try did not bring the key."""
        return self.key is None or self.tried_at > self.fetched_at


class Keys:
    """Adobe's public keys by their path."""

    def __init__(self, client: httpx.AsyncClient, host: str, monotonic: Callable[[], float]) -> None:
        """`host`: scheme and host the paths are appended to; `client` follows no redirects."""
        self._client = client
        self._host = host.rstrip("/")
        self._monotonic = monotonic
        self._kept: dict[str, _Kept] = {}
        self._fetching: dict[str, asyncio.Task[RSAPublicKey]] = {}
        self._unknown: deque[float] = deque()

    def cached(self, path: str) -> RSAPublicKey | None:
        """The key, if it is here and young enough."""
        kept = self._kept.get(path)
        if kept is None or kept.key is None or self._monotonic() - kept.fetched_at >= MAX_AGE:
            return None
        return kept.key

    async def get(self, path: str) -> RSAPublicKey:
        """The key; raises KeyUnavailableError when it can't be had now, KeyPathError when it is not Adobe's."""
        if not is_key_path(path):
            raise KeyPathError("the path names no key of Adobe's")
        key = self.cached(path)
        if key is not None:
            return key
        return await asyncio.shield(self._fetch_once(path))

    def trust(self, path: str) -> None:
        """The key verified a delivery: keep it, and renew it in good time."""
        kept = self._kept.get(path)
        if kept is None:
            return
        kept.is_trusted = True
        now = self._monotonic()
        if now - kept.fetched_at >= REFRESH_AFTER and now - kept.tried_at >= _REFRESH_AGAIN_AFTER:
            self._fetch_once(path)

    async def close(self) -> None:
        """End what is under way."""
        for task in self._fetching.values():
            task.cancel()
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)
        await self._client.aclose()

    def _fetch_once(self, path: str) -> asyncio.Task[RSAPublicKey]:
        """The fetch of this key that is under way, begun now if there is none; raises KeyUnavailableError."""
        task = self._fetching.get(path)
        if task is None:
            self._admit(path)
            task = self._fetching[path] = asyncio.create_task(self._fetch(path))
            task.add_done_callback(lambda _task: self._fetching.pop(path, None))
            # Whoever waited may have gone.
            task.add_done_callback(discard_outcome)
        return task

    def _admit(self, path: str) -> None:
        """Refuse what was tried a moment ago, and more unknown keys than a minute may bring."""
        now = self._monotonic()
        kept = self._kept.get(path)
        if kept is not None and kept.has_failed and now - kept.tried_at < REMEMBER_FAILURE:
            raise KeyUnavailableError("Adobe's key could not be had a moment ago")
        if kept is not None and kept.is_trusted:
            return
        while self._unknown and now - self._unknown[0] >= _MINUTE:
            self._unknown.popleft()
        if len(self._unknown) >= MAX_UNKNOWN:
            raise KeyUnavailableError("too many unknown keys were asked for")
        self._unknown.append(now)

    async def _fetch(self, path: str) -> RSAPublicKey:
        kept = self._kept.get(path)
        try:
            key = load_key(await self._download(path))
        except (KeyUnavailableError, BadKeyError) as error:
            now = self._monotonic()
            if kept is not None and kept.key is not None:
                kept.tried_at = now
            else:
                self._keep(path, _Kept(None, now, now))
            _log.warning("a public key can't be had", path=path, reason=error.reason, detail=str(error))
            raise KeyUnavailableError(str(error)) from error
        now = self._monotonic()
        self._keep(path, _Kept(key, now, now, is_trusted=kept is not None and kept.is_trusted))
        return key

    async def _download(self, path: str) -> bytes:
        try:
            async with asyncio.timeout(TIMEOUT), self._request(path) as response:
                if response.status_code != httpx.codes.OK:
                    raise KeyUnavailableError(f"Adobe's key host answered {response.status_code}")
                body = b""
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_PEM:
                        raise KeyUnavailableError("Adobe's key file is too large to be one")
                return body
        except (httpx.HTTPError, TimeoutError):
            raise KeyUnavailableError("Adobe's key host can't be reached") from None

    def _request(self, path: str) -> AbstractAsyncContextManager[httpx.Response]:
        # Asked for as they are: a few packed bytes could become many.
        return self._client.stream(
            "GET", self._host + path, headers={"accept-encoding": "identity"}, follow_redirects=False
        )

    def _keep(self, path: str, kept: _Kept) -> None:
        """Keep it, at most MAX_KEYS: what failed goes first, then what was never trusted, the oldest first."""
        self._kept.pop(path, None)
        if len(self._kept) >= MAX_KEYS:
            dropped = min(self._kept, key=lambda other: _worth(self._kept[other]))
            del self._kept[dropped]
        self._kept[path] = kept


def _worth(kept: _Kept) -> tuple[bool, bool, float]:
    return kept.is_trusted, kept.key is not None, kept.tried_at
