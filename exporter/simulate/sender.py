"""Posting to a webhook as Adobe does: the handshake, then one delivery after the other, each until it is answered.

The rule (adobe.md A1, A6): nothing is posted to an address that does not echo a challenge, which keeps notifications
that nobody can take back away from what is no webhook. An answer of 2xx is the end of a delivery; 429, 5xx but 505, and
no answer within ten seconds are tried again; anything else, a redirect included, is a refusal, and the delivery is
dropped. Later deliveries wait their turn meanwhile: they are not made before they are sent, so they take no memory.

Pauses are seconds where Adobe's are minutes: whoever watches a demonstration has less time.
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

from exporter.errors import ExporterError
from exporter.logs import LogThrottle
from exporter.model import Result

_TIMEOUT: Final = 10.0
PAUSES: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between attempts; the last again and again."""
_MAX_ANSWER: Final = 16 * 1024
"""Bytes that are read of an answer."""
_RESULT = re.compile(rf"({'|'.join(Result)}) ([0-9]{{1,9}})")
_TELL_EVERY: Final = 60.0

_log: structlog.stdlib.BoundLogger = structlog.get_logger("simulate")


class NotAWebhookError(ExporterError):
    """The address does not answer a challenge: nothing is posted to it."""

    reason = "not_a_webhook"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the receiver said; a status of 0 means nothing."""

    status: int
    body: bytes = b""

    @property
    def is_good(self) -> bool:
        """Whether the delivery is done."""
        return 200 <= self.status < 300

    @property
    def is_to_be_repeated(self) -> bool:
        """Whether Adobe would send it again."""
        return self.status in {0, 429} or (500 <= self.status < 600 and self.status != 505)

    @property
    def results(self) -> Counter[Result]:
        """What became of the events, where the receiver says so in this exporter's words."""
        found: Counter[Result] = Counter()
        for line in self.body.decode("ascii", errors="replace").splitlines():
            told = _RESULT.fullmatch(line)
            if told:
                found[Result(told[1])] += int(told[2])
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
        """`client` follows no redirects; `stopping` ends all waiting. Raises NotAWebhookError for what is no URL."""
        try:
            _ = httpx.URL(url).host  # read at each request, and then too late to be told of
        except (httpx.InvalidURL, UnicodeError):
            raise NotAWebhookError(
                "--url names a host that can't be: write it like http://127.0.0.1:10464/webhook"
            ) from None
        self._pauses = pauses
        self._client = client
        self._url = url
        self._stopping = stopping
        self._monotonic = monotonic
        self._told = LogThrottle(monotonic, every=_TELL_EVERY)
        self._is_down = False
        self.origin = origin(url)
        """What may be told of the address: its path may hold a secret."""

    async def shake_hands(self, patience: Callable[[], float]) -> bool:
        """Challenge the address until it answers; False where that was given up.

        `patience` gives the moment (of the monotonic clock) until which it is tried. Raises NotAWebhookError.
        """
        value = str(uuid.uuid4())

        async def attempt(_number: int) -> Answer:
            return await self._ask("GET", params={"challenge": value})

        answer = await self._until_answered(attempt, patience)
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
        self, body: bytes, headers: Callable[[int], Mapping[str, str]], patience: Callable[[], float]
    ) -> Answer | None:
        """Post until it is answered for good; None where that was given up. `headers` takes the attempt, from 0."""

        async def attempt(number: int) -> Answer:
            return await self._ask("POST", content=body, headers=headers(number))

        return await self._until_answered(attempt, patience)

    async def _until_answered(
        self, attempt: Callable[[int], Awaitable[Answer]], patience: Callable[[], float]
    ) -> Answer | None:
        number = 0
        while True:
            answer = await attempt(number)
            if not answer.is_to_be_repeated:
                if self._is_down:
                    self._is_down = False
                    _log.info("the receiver answers again", receiver=self.origin)
                return answer
            self._note_failure(answer)
            pause = self._pauses[min(number, len(self._pauses) - 1)]
            number += 1
            if self._monotonic() + pause > patience() or await is_set_within(self._stopping, pause):
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
        kept_back = self._told.allow("down")
        if kept_back is not None:
            # What was not told of is not told to be over either.
            self._is_down = True
            what = f"it answered {answer.status}" if answer.status else "no answer"
            _log.warning(
                "the receiver can't be delivered to: trying again",
                receiver=self.origin,
                why=what,
                attempts=kept_back + 1,
            )


def _repeats(body: bytes, value: str) -> bool:
    """Whether it is a challenge's value, bare or in JSON, and no page that has the address in it."""
    if body.strip() == value.encode():
        return True
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("challenge") == value


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event for so long; whether it came."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def origin(url: str) -> str:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
