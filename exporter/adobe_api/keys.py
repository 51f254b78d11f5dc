"""Fetches Adobe's public keys when a delivery names them, and caches them for at most a day.

Keys are fetched only from the configured host, only by paths that `signature.is_key_path` accepts, and without
redirects. So a sender can't make this program send a request anywhere else. One fetch of a key runs at a time. A failed
fetch is not repeated for a minute, and keys that are not trusted are fetched at most MAX_UNKNOWN times a minute, so
that somebody who invents paths causes few requests.

A key is trusted once a delivery to this program was verified with it. Its path is remembered over restarts
(`trusted_paths`). It does not count towards that limit, it is refreshed before it expires, and it is dropped last. The
other key that such a delivery names does not count either, so that a new key of Adobe's is there before it is needed.

Weak point: while somebody uses up the limit, the first delivery ever may have to wait until Adobe has sent it several
times.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import httpx
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from exporter.adobe.signature import MAX_PEM, is_key_path, load_key
from exporter.adobe_api.http_client import AdobeClient
from exporter.adobe_api.trusted_paths import TrustedPaths
from exporter.errors import BadKeyError, KeyPathError, KeyUnavailableError, NoAnswerError
from exporter.tasks import discard_outcome

MAX_AGE: Final = 24 * 60 * 60.0
"""Seconds after which a key is not used any more (docs/adobe.md, "Signatures")."""
REFRESH_AFTER: Final = 12 * 60 * 60.0
"""Seconds after which a trusted key is fetched again."""
_REFRESH_AGAIN_AFTER: Final = 5 * 60.0
"""Seconds between two attempts to refresh a key."""
REMEMBER_FAILURE: Final = 60.0
"""Seconds for which a failed fetch is not repeated."""
REMEMBER_TRUSTED_FAILURE: Final = 5.0
"""The same for a trusted path. Its key exists, so the key host is likely to have it again soon."""
MAX_UNKNOWN: Final = 10
"""Fetches a minute of keys that are not trusted."""
MAX_VOUCHED: Final = 10
"""Fetches a minute of keys that are not trusted and that a verified delivery names."""
_MINUTE: Final = 60.0
MAX_KEYS: Final = 64
"""Keys and failures that are remembered."""
_STORE_TIMEOUT: Final = 1.0
"""Seconds that the first delivery of a key waits until the path of the key is stored."""
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
    is_gone: bool = False
    """Whether Adobe's host answered 404 when the key was last asked for."""

    @property
    def has_failed(self) -> bool:
        """Whether the last attempt to fetch the key failed."""
        return self.key is None or self.tried_at > self.fetched_at


class _KeyNotFoundError(KeyUnavailableError):
    """Adobe's host has no such key."""


class Keys:
    """The cache of Adobe's public keys, by path."""

    def __init__(self, client: AdobeClient, host: str, monotonic: Callable[[], float], trusted: TrustedPaths) -> None:
        """`host`: the scheme and the host to which paths are appended. `monotonic`: a clock in seconds."""
        self._client = client
        self._host = host.rstrip("/")
        self._monotonic = monotonic
        self._trusted = trusted
        self._cache: dict[str, _CachedKey] = {}
        self._fetching: dict[str, asyncio.Task[RSAPublicKey]] = {}
        self._unknown: deque[float] = deque()
        self._vouched: deque[float] = deque()

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

    def rank(self, path: str) -> int:
        """The order in which keys are to be tried: cached ones, then trusted ones, then others."""
        if self.cached(path) is not None:
            return 0
        return 1 if path in self._trusted else 2

    def needs_trust(self, path: str) -> bool:
        """Whether a delivery that this key verifies changes what is remembered of it."""
        return self._trusted.is_due(path)

    async def trust(self, path: str) -> None:
        """Trust a key that has verified a delivery to this program. Refresh it in the background if it is due.

        A path that was not trusted before is stored when this returns, unless that takes long.
        """
        entry = self._cache.get(path)
        if entry is None:
            return
        if not entry.is_gone:
            is_new = path not in self._trusted
            self._trusted.use(path)
            if is_new:
                await self._trusted.stored(_STORE_TIMEOUT)
        now = self._monotonic()
        if now - entry.fetched_at >= REFRESH_AFTER and now - entry.tried_at >= _REFRESH_AGAIN_AFTER:
            self._fetch_in_background(path)

    def prepare(self, path: str) -> None:
        """Fetch a key in the background, because a delivery that another key verified names it."""
        if self.cached(path) is None:
            self._fetch_in_background(path)

    async def close(self) -> None:
        """Cancel the fetches that are running, and close the client."""
        for task in self._fetching.values():
            task.cancel()
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)
        await self._trusted.stored()
        await self._client.close()

    def _fetch_in_background(self, path: str) -> None:
        with contextlib.suppress(KeyUnavailableError):
            self._fetch_once(path, self._vouched, MAX_VOUCHED)

    def _fetch_once(
        self, path: str, recent: "deque[float] | None" = None, limit: int = MAX_UNKNOWN
    ) -> asyncio.Task[RSAPublicKey]:
        """The running fetch of a key. Starts one if there is none. Raises KeyUnavailableError if none may start.

        `recent` holds the times of the fetches that count towards `limit`.
        """
        task = self._fetching.get(path)
        if task is None:
            self._check_limits(path, self._unknown if recent is None else recent, limit)
            task = self._fetching[path] = asyncio.create_task(self._fetch(path))
            task.add_done_callback(lambda _task: self._fetching.pop(path, None))
            # All that waited for the fetch may have been cancelled.
            task.add_done_callback(discard_outcome)
        return task

    def _check_limits(self, path: str, recent: "deque[float]", limit: int) -> None:
        """Raise KeyUnavailableError if the key's last fetch failed a moment ago, or if the limit is used up."""
        now = self._monotonic()
        entry = self._cache.get(path)
        pause = REMEMBER_TRUSTED_FAILURE if path in self._trusted else REMEMBER_FAILURE
        if entry is not None and entry.has_failed and now - entry.tried_at < pause:
            raise KeyUnavailableError("Adobe's key could not be fetched a moment ago")
        if path in self._trusted:
            return
        while recent and now - recent[0] >= _MINUTE:
            recent.popleft()
        if len(recent) >= limit:
            raise KeyUnavailableError("too many unknown keys were requested")
        recent.append(now)

    async def _fetch(self, path: str) -> RSAPublicKey:
        try:
            key = load_key(await self._download(path))
        except (KeyUnavailableError, BadKeyError) as error:
            self._remember_failure(path, is_gone=isinstance(error, _KeyNotFoundError))
            _log.warning(
                "a public key can't be fetched",
                path=path,
                reason=error.reason,
                detail=str(error),
                host=self._client.where,
            )
            raise KeyUnavailableError(str(error)) from error
        now = self._monotonic()
        self._store(path, _CachedKey(key, now, now))
        return key

    def _remember_failure(self, path: str, *, is_gone: bool) -> None:
        now = self._monotonic()
        entry = self._cache.get(path)
        if entry is not None and entry.key is not None:
            entry.tried_at = now
            entry.is_gone = is_gone
        else:
            self._store(path, _CachedKey(None, now, now, is_gone=is_gone))
        if is_gone:
            self._trusted.drop(path)

    async def _download(self, path: str) -> bytes:
        try:
            async with self._client.stream(
                "GET", self._host + path, TIMEOUT, headers={"accept-encoding": "identity"}
            ) as response:
                if response.status_code == httpx.codes.NOT_FOUND:
                    raise _KeyNotFoundError("Adobe's key host has no such key")
                if response.is_redirect:
                    raise KeyUnavailableError(
                        f"Adobe's key host answered {response.status_code}, a redirect, which is not followed"
                    )
                if response.status_code != httpx.codes.OK:
                    raise KeyUnavailableError(f"Adobe's key host answered {response.status_code}")
                # A few compressed bytes could become many, so only what is not compressed is read.
                if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
                    raise KeyUnavailableError("Adobe's key host sent a compressed answer")
                body = b""
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_PEM:
                        raise KeyUnavailableError("Adobe's key file is too large to be one")
                return body
        except NoAnswerError as error:
            raise KeyUnavailableError(f"Adobe's key host can't be reached: {error}") from error

    def _store(self, path: str, entry: _CachedKey) -> None:
        """Remember a key or a failure. If there are MAX_KEYS already, drop one of them.

        Failures are dropped first, then keys that are not trusted, then trusted ones, and of these the oldest.
        """
        self._cache.pop(path, None)
        if len(self._cache) >= MAX_KEYS:
            del self._cache[min(self._cache, key=self._drop_order)]
        self._cache[path] = entry

    def _drop_order(self, path: str) -> tuple[bool, bool, float]:
        entry = self._cache[path]
        return path in self._trusted, entry.key is not None, entry.tried_at
