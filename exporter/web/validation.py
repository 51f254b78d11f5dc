"""Adobe's asynchronous validation: a POST whose body holds only an address to be opened within five minutes.

Anybody may send one. Whether Adobe signs them is not documented (docs/adobe.md, "Registration"), so no signature is
required. An address is kept and logged only when it is Adobe's own, but a stranger can make up the rest of it. So the
latest _MAX_KEPT addresses are kept, and among those that came in a short while signed ones are preferred, and then
those of senders that sent few.

Each kept address is logged once: signed ones and the first of a window at once, the others at the end of the window.
With `--webhook.auto-validate` this program opens one address in _OPEN_INTERVAL seconds, the best of those that are
kept, reads no body and follows no redirect.

Weak point: strangers with many connections can hide an unsigned address of Adobe's.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import structlog

from exporter.adobe_api.http_client import AdobeClient
from exporter.errors import NoAnswerError
from exporter.logs import LogThrottle

_HOST: Final = "csm.adobe.io"
ORIGIN: Final = f"https://{_HOST}"
"""Where addresses are opened."""
_PATH: Final = "/csm/registrations/validate"
_OPEN_INTERVAL: Final = 60.0
"""Seconds between two addresses that are opened."""
_EXPIRES: Final = 5 * 60 * 1000
"""Milliseconds for which an address can be opened."""
_TIMEOUT: Final = 10.0
"""Seconds that opening an address may take."""
_WINDOW: Final = 20.0
"""Seconds of a window of the log."""
_AT_ONCE: Final = {True: 20, False: 5}
"""Addresses that are logged at once in a window, if they are signed and if they are not."""
_MAX_KEPT: Final = 8
_MAX_COUNTED: Final = 4096
"""Connections that are told apart in a window."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("validation")

Sender = tuple[str, int] | None
"""Address and port of the peer."""


@dataclass(frozen=True, slots=True)
class ValidationRequest:
    """An address that Adobe asked to be opened, and when it asked (milliseconds since 1970)."""

    url: str
    received_at: int
    is_signed: bool = False
    sender: Sender = field(default=None, compare=False)
    window: int = field(default=0, compare=False)
    """In which window of the log it came."""


class Validations:
    """Handles requests for validation, and keeps the latest ones."""

    def __init__(
        self, clock: Callable[[], int], monotonic: Callable[[], float], client: AdobeClient | None = None
    ) -> None:
        """`clock` returns milliseconds since 1970, `monotonic` seconds.

        `client` opens the addresses (`--webhook.auto-validate`). With None, people open them.
        """
        self._clock = clock
        self._monotonic = monotonic
        self._client = client
        self._kept: list[ValidationRequest] = []
        self._opened_at: float | None = None
        self._opened: set[str] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._open_timer: asyncio.TimerHandle | None = None
        self._log_throttle = LogThrottle(monotonic)
        self._window = _Window(0)
        self._reported: set[str] = set()
        self._window_timer: asyncio.TimerHandle | None = None

    @property
    def kept(self) -> tuple[ValidationRequest, ...]:
        """The addresses that are kept, the oldest first."""
        return tuple(self._kept)

    @property
    def latest(self) -> ValidationRequest | None:
        """The latest address, a signed one if there is one that can still be opened."""
        fresh = [each for each in self._kept if each.is_signed and self._clock() - each.received_at < _EXPIRES]
        candidates = fresh or self._kept
        return candidates[-1] if candidates else None

    def handle(self, url: str, sender: Sender, *, is_signed: bool) -> None:
        """Handle the address of a request for validation, within a running event loop."""
        if not is_adobes(url):
            # The address is not logged: it is a stranger's, and a reader of the log might open it.
            if self._log_throttle.allow("foreign") is not None:
                _log.warning("ignored a request to open an address that is not Adobe's")
            return
        known = next((each for each in self._kept if each.url == url), None)
        is_signed = is_signed or (known is not None and known.is_signed)
        request = ValidationRequest(url, self._clock(), is_signed, sender, self._window.number)
        if self._window_timer is None:
            self._window_timer = asyncio.get_running_loop().call_later(_WINDOW, self._end_window)
        self._window.count(sender)
        self._keep(request)
        if url not in self._reported:
            self._window.unreported += 1
            if self._window.reported[is_signed] < _AT_ONCE[is_signed]:
                self._report(request)
        self._open_best()

    async def close(self) -> None:
        """Cancel timers and requests that are under way, and close the client."""
        for timer in (self._window_timer, self._open_timer):
            if timer is not None:
                timer.cancel()
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    def _keep(self, request: ValidationRequest) -> None:
        """Keep a request. Beyond _MAX_KEPT drop one of the least use: unsigned, of a sender of many, old."""
        self._kept = [each for each in self._kept if each.url != request.url] + [request]
        if len(self._kept) > _MAX_KEPT:
            # The first of several equal ones is the oldest.
            self._kept.remove(max(self._kept, key=self._window.weight))
        kept = {each.url for each in self._kept}
        self._reported &= kept
        self._opened &= kept

    def _report(self, request: ValidationRequest) -> None:
        self._window.unreported -= 1
        self._window.reported[request.is_signed] += 1
        self._reported.add(request.url)
        _log.warning(
            "Adobe asks for this webhook to be confirmed: open the address within five minutes",
            url=request.url,
            signed=request.is_signed,
        )

    def _end_window(self) -> None:
        """Log the addresses that were kept of this window, and how many were not."""
        self._window_timer = None
        for request in self._kept:
            if request.url not in self._reported:
                self._report(request)
        if self._window.unreported > 0:
            _log.warning(
                "more addresses came than are logged: strangers may have made them up",
                left_out=self._window.unreported,
            )
        self._window = _Window(self._window.number + 1)

    def _open_best(self) -> None:
        """Open the best address that was not opened, now or as soon as _OPEN_INTERVAL allows it."""
        unopened = [
            each for each in self._kept if each.url not in self._opened and self._clock() - each.received_at < _EXPIRES
        ]
        if self._client is None or not unopened or self._open_timer is not None:
            return
        wait = 0.0 if self._opened_at is None else self._opened_at + _OPEN_INTERVAL - self._monotonic()
        if wait > 0:
            self._open_timer = asyncio.get_running_loop().call_later(wait, self._open_later)
            return
        best = min(reversed(unopened), key=self._window.weight)
        self._opened_at = self._monotonic()
        self._opened.add(best.url)
        task = asyncio.create_task(_request(self._client, best.url))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _open_later(self) -> None:
        self._open_timer = None
        self._open_best()


class _Window:
    """What came in one window of the log."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.unreported = 0
        """Requests that were not logged."""
        self.reported = {True: 0, False: 0}
        """Requests that were logged, signed ones and others."""
        self._by_host: Counter[str] = Counter()
        self._by_connection: Counter[Sender] = Counter()

    def count(self, sender: Sender) -> None:
        """Count a request of a sender."""
        if sender is not None and len(self._by_connection) < _MAX_COUNTED:
            self._by_host[sender[0]] += 1
            self._by_connection[sender] += 1

    def weight(self, request: ValidationRequest) -> tuple[bool, bool, int, int]:
        """What makes a request worth less than others: no signature, an earlier window, a sender of many."""
        sender = request.sender
        is_old = request.window < self.number
        return not request.is_signed, is_old, self._by_host[sender[0]] if sender else 0, self._by_connection[sender]


def is_adobes(url: str) -> bool:
    """Return whether a URL is exactly the one at which Adobe confirms webhooks, with any query."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return (parts.scheme, parts.netloc, parts.path) == ("https", _HOST, _PATH) and not parts.fragment


async def _request(client: AdobeClient, url: str) -> None:
    """Open an address, and log the outcome. The body of the answer is not read."""
    try:
        async with client.stream("GET", url, _TIMEOUT) as response:
            status, is_success = response.status_code, response.is_success
    except NoAnswerError as error:
        _log.warning(
            "Adobe's address could not be opened: open it yourself",
            reason=error.reason,
            detail=str(error),
            host=client.where,
        )
        return
    if not is_success:
        _log.warning("Adobe's address did not confirm the webhook: open it yourself", status=status)
        return
    _log.info("Adobe's address was opened: the webhook should be active now", status=status)
