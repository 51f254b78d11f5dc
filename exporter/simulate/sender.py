"""Posts to a webhook as Adobe does: the handshake first, then one delivery after the other, each until it is answered.

The rules (docs/adobe.md, "Registration" and "Retries"): nothing is posted to an address that does not repeat a
challenge, because notifications sent to a wrong address can't be taken back. An answer of 2xx ends a delivery. 429, 5xx
except 505, and no answer within ten seconds are tried again. Any other answer, redirects included, is a refusal, and
the delivery is dropped. Later deliveries wait meanwhile. They are not made before they are sent, so they take no
memory.

Pauses between attempts are seconds, not minutes as Adobe's are, so that a demonstration goes on quickly.
"""

import asyncio
import json
import re
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import structlog

from exporter.errors import NotAWebhookError
from exporter.logs import LogThrottle
from exporter.model import Result

_TIMEOUT: Final = 10.0
PAUSES: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between attempts. The last one repeats."""
_MAX_ANSWER: Final = 16 * 1024
"""The largest number of bytes that are read of an answer."""
_RESULT = re.compile(rf"({'|'.join(Result)}) ([0-9]{{1,9}})")
_LOG_EVERY: Final = 60.0

_log: structlog.stdlib.BoundLogger = structlog.get_logger("simulate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The receiver's answer. Status 0 means that there was none."""

    status: int
    body: bytes = b""

    @property
    def is_good(self) -> bool:
        """Whether the delivery was accepted."""
        return 200 <= self.status < 300

    @property
    def is_retried(self) -> bool:
        """Whether Adobe would send it again."""
        return self.status in {0, 429} or (500 <= self.status < 600 and self.status != 505)

    @property
    def results(self) -> Counter[Result]:
        """The results of the events, if the answer gives them in this exporter's format."""
        found: Counter[Result] = Counter()
        for line in self.body.decode("ascii", errors="replace").splitlines():
            matched = _RESULT.fullmatch(line)
            if matched:
                found[Result(matched[1])] += int(matched[2])
        return found


class Sender:
    """One webhook."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        stopping: asyncio.Event,
        monotonic: Callable[[], float],
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        """`client` must not follow redirects. `stopping` ends waiting. Raises NotAWebhookError for an invalid URL."""
        try:
            _ = httpx.URL(url).host  # httpx would raise at each request, when it is too late
        except (httpx.InvalidURL, UnicodeError):
            raise NotAWebhookError("--url has an invalid host: write it like http://127.0.0.1:10464/webhook") from None
        self._pauses = pauses
        self._client = client
        self._url = url
        self._stopping = stopping
        self._monotonic = monotonic
        self._failure_log = LogThrottle(monotonic, every=_LOG_EVERY)
        self._is_down = False
        self.origin = origin(url)
        """The part of the address that may be logged. The path may contain a secret."""

    async def shake_hands(self, retry_until: Callable[[], float]) -> bool:
        """Challenge the address until it answers. Return False if it did not.

        `retry_until` returns the time of the monotonic clock until which it is tried. Raises NotAWebhookError.
        """
        value = str(uuid.uuid4())

        async def attempt(_number: int) -> Answer:
            return await self._ask("GET", params={"challenge": value})

        answer = await self._until_answered(attempt, retry_until)
        if answer is None:
            return False
        if not answer.is_good or not _repeats(answer.body, value):
            raise NotAWebhookError(
                f"{self.origin} answered a webhook's challenge with {answer.status} and did not repeat it: nothing is "
                "sent there; --url is the webhook's whole address, such as http://127.0.0.1:10464/webhook, with its "
                "token if it has one"
            )
        return True

    async def deliver(
        self, body: bytes, headers: Callable[[int], Mapping[str, str]], retry_until: Callable[[], float]
    ) -> Answer | None:
        """Post until there is an answer that is not retried. Return None if there was none until `retry_until`.

        `headers` gets the number of the attempt, from 0.
        """

        async def attempt(number: int) -> Answer:
            return await self._ask("POST", content=body, headers=headers(number))

        return await self._until_answered(attempt, retry_until)

    async def _until_answered(
        self, attempt: Callable[[int], Awaitable[Answer]], retry_until: Callable[[], float]
    ) -> Answer | None:
        number = 0
        while True:
            answer = await attempt(number)
            if not answer.is_retried:
                if self._is_down:
                    self._is_down = False
                    _log.info("the receiver answers again", receiver=self.origin)
                return answer
            self._note_failure(answer)
            pause = self._pauses[min(number, len(self._pauses) - 1)]
            number += 1
            if self._monotonic() + pause > retry_until() or await is_set_within(self._stopping, pause):
                return None

    async def _ask(self, method: str, **what: Any) -> Answer:  # noqa: ANN401 - httpx's own arguments
        try:
            async with (
                asyncio.timeout(_TIMEOUT),
                self._client.stream(method, self._url, timeout=_TIMEOUT, **what) as response,
            ):
                body = b""
                async for chunk in response.aiter_bytes(_MAX_ANSWER):
                    body += chunk
                    if len(body) > _MAX_ANSWER:
                        break
                return Answer(status=response.status_code, body=body)
        except (httpx.HTTPError, TimeoutError):
            return Answer(status=0)

    def _note_failure(self, answer: Answer) -> None:
        suppressed = self._failure_log.allow("down")
        if suppressed is not None:
            # Log the end of a failure only if its beginning was logged.
            self._is_down = True
            what = f"it answered {answer.status}" if answer.status else "no answer"
            _log.warning(
                "notifications can't be delivered to the receiver, trying again",
                receiver=self.origin,
                why=what,
                attempts=suppressed + 1,
            )


def _repeats(body: bytes, value: str) -> bool:
    """Whether a body is the challenge's value, bare or in JSON. A page that contains the address is not."""
    if body.strip() == value.encode():
        return True
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("challenge") == value


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event for this many seconds, and return whether it was set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def origin(url: str) -> str:
    """Scheme, host and port of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
