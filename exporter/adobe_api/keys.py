"""Fetches Adobe's public keys when a delivery names them, and caches them for at most a day.

Keys are fetched only from the configured host, only by paths that `signature.is_key_path` accepts, and without
redirects. So a sender can't make this program send a request anywhere else. One fetch of a key runs at a time. A failed
fetch is not repeated for a minute, and keys that are not trusted are fetched at most MAX_UNKNOWN times a minute, so
that somebody who invents paths causes few requests. A key that has verified a delivery is trusted: it is refreshed
before it expires, it does not count towards that limit, and it is dropped last.

Weak point: while somebody uses up the limit, a new key of Adobe's can't be fetched. Deliveries signed with it get 503,
and Adobe sends them again.
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
"""Seconds after which a key is not used any more (docs/adobe.md, "Signatures")."""
REFRESH_AFTER: Final = 12 * 60 * 60.0
"""Seconds after which a trusted key is fetched again."""
_REFRESH_AGAIN_AFTER: Final = 5 * 60.0
"""Seconds between two attempts to refresh a key."""
REMEMBER_FAILURE: Final = 60.0
"""Seconds for which a failed fetch is not repeated."""
MAX_UNKNOWN: Final = 10
"""Fetches a minute of keys that are not trusted."""
_MINUTE: Final = 60.0
MAX_KEYS: Final = 64
"""Keys and failures that are remembered."""
TIMEOUT: Final = 4.0
"""Seconds for one fetch. Adobe waits ten for the whole answer."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("keys")


@dataclass(slots=True)
class _CachedKey:
    """What is remembered of a key path. Times are seconds of the monotonic clock."""

    key: RSAPublicKey | None
    """None if the key could not be fetched."""
    fetched_at: float
    tried_at: float
    is_trusted: bool = False

    @property
    def has_failed(self) -> bool:
        """Whether the last attempt to fetch the key failed."""
        return self.key is None or self.tried_at > self.fetched_at


class Keys:
    """The cache of Adobe's public keys, by path."""

    def __init__(self, client: httpx.AsyncClient, host: str, monotonic: Callable[[], float]) -> None:
        """`host`: the scheme and the host to which paths are appended. `monotonic`: a clock in seconds."""
        self._client = client
        self._host = host.rstrip("/")
        self._monotonic = monotonic
        self._cache: dict[str, _CachedKey] = {}
        self._fetching: dict[str, asyncio.Task[RSAPublicKey]] = {}
        self._unknown: deque[float] = deque()

    def cached(self, path: str) -> RSAPublicKey | None:
        """The key, or None if it is not in the cache or too old."""
        entry = self._cache.get(path)
        if entry is None or entry.key is None or self._monotonic() - entry.fetched_at >= MAX_AGE:
            return None
        return entry.key

    async def get(self, path: str) -> RSAPublicKey:
        """The key, from the cache or from Adobe.

        Raises KeyPathError if the path does not have the form of Adobe's, and KeyUnavailableError if the key can't be
        fetched now.
        """
        if not is_key_path(path):
            raise KeyPathError("the path names no key of Adobe's")
        key = self.cached(path)
        if key is not None:
            return key
        return await asyncio.shield(self._fetch_once(path))

    def trust(self, path: str) -> None:
        """Mark a key as trusted, because it has verified a delivery. Refresh it in the background if it is due."""
        entry = self._cache.get(path)
        if entry is None:
            return
        entry.is_trusted = True
        now = self._monotonic()
        if now - entry.fetched_at >= REFRESH_AFTER and now - entry.tried_at >= _REFRESH_AGAIN_AFTER:
            self._fetch_once(path)

    async def close(self) -> None:
        """Cancel the fetches that are running, and close the client."""
        for task in self._fetching.values():
            task.cancel()
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)
        await self._client.aclose()

    def _fetch_once(self, path: str) -> asyncio.Task[RSAPublicKey]:
        """The running fetch of a key. Starts one if there is none. Raises KeyUnavailableError if none may start."""
        task = self._fetching.get(path)
        if task is None:
            self._check_limits(path)
            task = self._fetching[path] = asyncio.create_task(self._fetch(path))
            task.add_done_callback(lambda _task: self._fetching.pop(path, None))
            # All that waited for the fetch may have been cancelled.
            task.add_done_callback(discard_outcome)
        return task

    def _check_limits(self, path: str) -> None:
        """Raise KeyUnavailableError if the key's last fetch failed a moment ago, or if the limit is used up."""
        now = self._monotonic()
        entry = self._cache.get(path)
        if entry is not None and entry.has_failed and now - entry.tried_at < REMEMBER_FAILURE:
            raise KeyUnavailableError("Adobe's key could not be fetched a moment ago")
        if entry is not None and entry.is_trusted:
            return
        while self._unknown and now - self._unknown[0] >= _MINUTE:
            self._unknown.popleft()
        if len(self._unknown) >= MAX_UNKNOWN:
            raise KeyUnavailableError("too many unknown keys were requested")
        self._unknown.append(now)

    async def _fetch(self, path: str) -> RSAPublicKey:
        entry = self._cache.get(path)
        try:
            key = load_key(await self._download(path))
        except (KeyUnavailableError, BadKeyError) as error:
            now = self._monotonic()
            if entry is not None and entry.key is not None:
                entry.tried_at = now
            else:
                self._store(path, _CachedKey(None, now, now))
            _log.warning("a public key can't be fetched", path=path, reason=error.reason, detail=str(error))
            raise KeyUnavailableError(str(error)) from error
        now = self._monotonic()
        self._store(path, _CachedKey(key, now, now, is_trusted=entry is not None and entry.is_trusted))
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
        # Without compression, because a few compressed bytes could become many.
        return self._client.stream(
            "GET", self._host + path, headers={"accept-encoding": "identity"}, follow_redirects=False
        )

    def _store(self, path: str, entry: _CachedKey) -> None:
        """Remember a key or a failure. If there are MAX_KEYS already, drop one of them.

        Failures are dropped first, then keys that are not trusted, then trusted ones, and of these the oldest.
        """
        self._cache.pop(path, None)
        if len(self._cache) >= MAX_KEYS:
            dropped = min(self._cache, key=lambda other: _drop_order(self._cache[other]))
            del self._cache[dropped]
        self._cache[path] = entry


def _drop_order(entry: _CachedKey) -> tuple[bool, bool, float]:
    return entry.is_trusted, entry.key is not None, entry.tried_at
