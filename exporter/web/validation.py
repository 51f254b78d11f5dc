"""Adobe's asynchronous validation: a POST whose body holds only an address to be opened within five minutes.

Anybody may send one. Whether Adobe signs them is not documented (docs/adobe.md, "Registration"), so no signature is
required. An address is kept and logged only when it is Adobe's own. This program opens it only with
`--webhook.auto-validate`, at most once in _OPEN_INTERVAL seconds, and follows no redirect.

Weak point: a stranger who sends made-up addresses of Adobe's own host replaces the latest one and uses up the interval.
The log still holds Adobe's own address.
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
_OPEN_INTERVAL: Final = 60.0
"""Seconds between two addresses that are opened."""
_TIMEOUT: Final = 10.0
"""Seconds that opening an address may take."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("validation")


@dataclass(frozen=True, slots=True)
class ValidationRequest:
    """An address that Adobe asked to be opened, and when it asked (milliseconds since 1970)."""

    url: str
    received_at: int


class Validations:
    """Handles requests for validation, and keeps the latest one."""

    def __init__(
        self, clock: Callable[[], int], monotonic: Callable[[], float], client: httpx.AsyncClient | None = None
    ) -> None:
        """`clock` returns milliseconds since 1970, `monotonic` seconds.

        `client` opens the addresses (`--webhook.auto-validate`). With None, people open them.
        """
        self._clock = clock
        self._monotonic = monotonic
        self._client = client
        self._opened_at: float | None = None
        self._opening: set[asyncio.Task[None]] = set()
        self._log_throttle = LogThrottle(monotonic)
        self.latest: ValidationRequest | None = None

    def try_handle(self, body: bytes) -> bool:
        """Handle a body that is a request for validation. Return whether it was one."""
        request = validation(body)
        if request is None:
            return False
        if not is_adobes(request.url):
            # The address is not logged: it is a stranger's, and a reader of the log might open it.
            if self._log_throttle.allow("foreign") is not None:
                _log.warning("ignored a request to open an address that is not Adobe's")
            return True
        self.latest = ValidationRequest(request.url, self._clock())
        if self._log_throttle.allow("adobe") is not None:
            _log.warning(
                "Adobe asks for this webhook to be confirmed: open the address within five minutes", url=request.url
            )
        if self._client is not None:
            self._open(self._client, request.url)
        return True

    async def close(self) -> None:
        """Cancel requests that are under way, and close the client."""
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def _open(self, client: httpx.AsyncClient, url: str) -> None:
        """Start to open an address, unless another one was opened less than _OPEN_INTERVAL seconds ago."""
        now = self._monotonic()
        if self._opened_at is not None and now - self._opened_at < _OPEN_INTERVAL:
            _log.warning("an address was opened less than a minute ago: open this one yourself")
            return
        self._opened_at = now
        task = asyncio.create_task(_request(client, url))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)


def is_adobes(url: str) -> bool:
    """Return whether a URL is exactly the one at which Adobe confirms webhooks, with any query."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return (parts.scheme, parts.netloc, parts.path) == ("https", _HOST, _PATH) and not parts.fragment


async def _request(client: httpx.AsyncClient, url: str) -> None:
    """Open an address, and log the outcome."""
    try:
        response = await client.get(url, timeout=_TIMEOUT, follow_redirects=False)
    except httpx.HTTPError as error:
        _log.warning("Adobe's address could not be opened: open it yourself", reason=type(error).__name__)
        return
    if not response.is_success:
        _log.warning("Adobe's address did not confirm the webhook: open it yourself", status=response.status_code)
        return
    _log.info("Adobe's address was opened: the webhook should be active now", status=response.status_code)
