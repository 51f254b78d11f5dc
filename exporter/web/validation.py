"""Adobe's asynchronous validation: a POST that holds nothing but an address to be opened within five minutes.

The rule: anybody may send one (whether Adobe signs them is not documented, adobe.md A1), so nothing is believed of it
but that somebody may open the address: it is kept and logged only when it is Adobe's own, and opened by this program
only when that is asked for, at that one address, once in a while.

Weak point: a stranger who sends made-up addresses of Adobe's can take that place; the log still has Adobe's own.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx
import structlog

from exporter.adobe.deliveries import validation
from exporter.logs import LogThrottle

_HOST: Final = "csm.adobe.io"
_PATH: Final = "/csm/registrations/validate"
_FOLLOW_EVERY: Final = 60.0
"""Seconds between addresses that are opened."""
_TIMEOUT: Final = 10.0

_log: structlog.stdlib.BoundLogger = structlog.get_logger("validation")


@dataclass(frozen=True, slots=True)
class Asked:
    """The latest address that was asked for, and when (milliseconds since 1970)."""

    url: str
    asked_at: int


class Validations:
    """Keeps the latest address; see the module's rule."""

    def __init__(
        self, clock: Callable[[], int], monotonic: Callable[[], float], client: httpx.AsyncClient | None = None
    ) -> None:
        """`client`: opens addresses (`--webhook.auto-validate`); None when that is left to people."""
        self._clock = clock
        self._monotonic = monotonic
        self._client = client
        self._opened_at: float | None = None
        self._opening: set[asyncio.Task[None]] = set()
        self._told = LogThrottle(monotonic)
        self.latest: Asked | None = None

    def try_handle(self, body: bytes) -> bool:
        """Whether a body is such a request; if it is, it is dealt with."""
        asked = validation(body)
        if asked is None:
            return False
        if not is_adobes(asked.url):
            if self._told.allow("foreign") is not None:
                _log.warning("somebody asks for an address to be opened that is not Adobe's: ignored")
            return True
        self.latest = Asked(asked.url, self._clock())
        if self._told.allow("adobe") is not None:
            _log.warning(
                "Adobe asks for this webhook to be confirmed: open the address within five minutes", url=asked.url
            )
        if self._client is not None:
            self._open(self._client, asked.url)
        return True

    async def close(self) -> None:
        """End what is under way."""
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def _open(self, client: httpx.AsyncClient, url: str) -> None:
        now = self._monotonic()
        if self._opened_at is not None and now - self._opened_at < _FOLLOW_EVERY:
            _log.warning("an address was opened less than a minute ago: this one is left to people")
            return
        self._opened_at = now
        task = asyncio.create_task(_opened(client, url))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)


def is_adobes(url: str) -> bool:
    """Whether an address is the one at which Adobe confirms webhooks, and nothing that only looks like it."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return (parts.scheme, parts.netloc, parts.path) == ("https", _HOST, _PATH) and not parts.fragment


async def _opened(client: httpx.AsyncClient, url: str) -> None:
    try:
        answered = await client.get(url, timeout=_TIMEOUT, follow_redirects=False)
    except httpx.HTTPError as error:
        _log.warning("Adobe's address could not be opened: open it yourself", reason=type(error).__name__)
        return
    if not answered.is_success:
        _log.warning("Adobe's address did not confirm the webhook: open it yourself", status=answered.status_code)
        return
    _log.info("Adobe's address was opened: the webhook should be active now", status=answered.status_code)
