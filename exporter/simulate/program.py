"""The simulation as a program: sends deliveries to a webhook at their times, and counts them.

The rule: no delivery is made before it is due, so that memory does not grow while the receiver is away. What happened
meanwhile is sent in order once the receiver is back.
"""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import httpx
import structlog

from exporter.client_tls import client_context
from exporter.logs import LogThrottle
from exporter.model import Result
from exporter.simulate import envelopes
from exporter.simulate.clock import Clock
from exporter.simulate.deliveries import Item, SimulatedDelivery, deliveries
from exporter.simulate.key_server import KeyServer
from exporter.simulate.organisation import DAY, HOUR, MINUTE, organisation
from exporter.simulate.sender import Answer, Sender, is_set_within
from exporter.simulate.signing import Signer
from exporter.simulate.timeline import AlertNotification, RunNotification, timeline

KEEP_TRYING: Final = 60.0
"""A simulation gives up this many seconds after its end, or after the last success if that is later."""
DROP_AFTER: Final = 24 * 60 * 60.0
"""Seconds after which an undelivered delivery is dropped, as Adobe does (docs/adobe.md, "Retries")."""
_COUNT_FOR: Final = 3.0
"""Seconds for counting what was not delivered. Whoever stops a program should not wait longer than ten."""
_LOG_EVERY: Final = 60.0
_PROGRESS_EVERY: Final = 0.25

_log: structlog.stdlib.BoundLogger = structlog.get_logger("simulate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to simulate. Durations are simulated milliseconds."""

    seed: int
    flows: int
    past: int = 0
    """How much of it lies before now. This is sent at once."""
    duration: int | None = None
    """How long it goes on after now. None: without an end."""
    speed: float = 1.0
    client_id: str | None = None


@dataclass(slots=True, kw_only=True)
class Account:
    """What was sent, and with which results."""

    results: Counter[Result] = field(default_factory=Counter)
    """Events by the result that the receiver reports."""
    refused: Counter[int] = field(default_factory=Counter)
    """Events by the status of the refusal."""
    notifications: Counter[str] = field(default_factory=Counter)
    """Accepted notifications by the status of their run or the state of their alert. Copies are not counted."""
    deliveries: int = 0
    """Accepted POSTs."""
    sent: int = 0
    """Events in accepted POSTs."""
    undelivered: int = 0
    """Events that were due and got no answer in time."""

    @property
    def is_complete(self) -> bool:
        """Whether everything that was due was accepted."""
        return not self.undelivered and not self.refused

    def rows(self) -> Iterator[tuple[str, int]]:
        """The rows of the table at the end: name and number."""
        yield "deliveries", self.deliveries
        yield "notifications", self.sent
        yield from ((str(result), self.results[result]) for result in Result if self.results[result])
        yield from ((f"refused with {status}", count) for status, count in sorted(self.refused.items()))
        yield "undelivered", self.undelivered
        yield from ((f"sent {label}", count) for label, count in sorted(self.notifications.items()))


Progress = Callable[[str], None]
"""Called with a line of text about the progress a few times a second."""


class Simulation:
    """Sends the deliveries of a plan."""

    def __init__(
        self,
        plan: Plan,
        sender: Sender,
        signer: Signer | None,
        stopping: asyncio.Event,
        *,
        keep_trying: float = KEEP_TRYING,
        drop_after: float = DROP_AFTER,
    ) -> None:
        """Without a `signer` nothing is signed. `stopping` ends the simulation. Other times are seconds."""
        self._drop_after = drop_after
        self._keep_trying = keep_trying
        self._plan = plan
        self._sender = sender
        self._signer = signer
        self._stopping = stopping
        self._began = 0.0
        self._last_success = 0.0
        self._progress_at = self._logged_at = 0.0
        self._excess_log = LogThrottle(time.monotonic, every=_LOG_EVERY)
        self.account = Account()

    async def run(self, progress: Progress) -> Account:
        """Send until the plan's end or until stopped. Raises NotAWebhookError."""
        plan = self._plan
        clock = Clock(present=time.time_ns() // 1_000_000, past=plan.past, speed=plan.speed)
        self._began = self._last_success = self._logged_at = time.monotonic()
        stream = self._stream()
        if not await self._sender.shake_hands(self._retry_until):
            self._count_undelivered(stream)
            return self.account
        _log.info("simulating", receiver=self._sender.origin, seed=plan.seed, flows=plan.flows, speed=plan.speed)
        for delivery in stream:
            if await self._is_stopped_before(delivery.at):
                break
            if not await self._deliver(delivery, clock):
                self._count_undelivered(stream, delivery)
                break
            self._report(delivery.at, progress)
        else:
            # No flow is left, but the plan has not ended.
            if plan.duration is not None:
                await self._is_stopped_before(plan.past + plan.duration)
        return self.account

    def _stream(self) -> Iterator[SimulatedDelivery]:
        plan = self._plan
        flows = organisation(plan.seed, plan.flows)
        stream = deliveries(timeline(flows, plan.seed), plan.seed)
        if plan.duration is None:
            return stream
        return _until(stream, plan.past + plan.duration)

    async def _deliver(self, delivery: SimulatedDelivery, clock: Clock) -> bool:
        """Send a delivery until it is answered or dropped. Return False if the simulation must end."""
        body = envelopes.body(delivery, clock, self._plan.client_id)
        signed = self._signer.headers(body) if self._signer is not None else {}
        dropped_at = time.monotonic() + self._drop_after
        answer = await self._sender.deliver(
            body,
            lambda attempt: envelopes.headers(delivery, attempt) | signed,
            lambda: min(self._retry_until(), dropped_at),
        )
        if answer is None:
            if self._stopping.is_set() or self._retry_until() <= dropped_at:
                return False
            self.account.undelivered += len(delivery.items)
            return True
        self._last_success = time.monotonic()
        self._count(delivery, answer)
        return True

    def _count(self, delivery: SimulatedDelivery, answer: Answer) -> None:
        account = self.account
        if not answer.is_good:
            account.refused[answer.status] += len(delivery.items)
            return
        account.deliveries += 1
        account.sent += len(delivery.items)
        results = answer.results
        if results.total() <= len(delivery.items):
            account.results += results
        elif self._excess_log.allow("results") is not None:
            _log.warning(
                "the receiver reports more results than it was sent events, not counted", receiver=self._sender.origin
            )
        account.notifications.update(label for item in delivery.items if (label := _label(item)))

    def _report(self, moment: int, progress: Progress) -> None:
        now, account = time.monotonic(), self.account
        if now - self._progress_at >= _PROGRESS_EVERY:
            self._progress_at = now
            day, of_day = divmod(moment, DAY)
            progress(
                f"day {day + 1}, {of_day // HOUR:02}:{of_day % HOUR // MINUTE:02}: {account.sent} notifications sent, "
                f"{account.refused.total()} refused"
            )
        if now - self._logged_at >= _LOG_EVERY:
            self._logged_at = now
            _log.info("sent so far", notifications=account.sent, refused=account.refused.total())

    def _retry_until(self) -> float:
        """The time of the monotonic clock until which a delivery is retried, so that a simulation with an end ends."""
        if self._plan.duration is None:
            return float("inf")
        return max(self._due(self._plan.past + self._plan.duration), self._last_success) + self._keep_trying

    def _due(self, moment: int) -> float:
        """The time of the monotonic clock at which a delivery is due. The simulated past is due at once."""
        return self._began + max(0, moment - self._plan.past) / self._plan.speed / 1000

    async def _is_stopped_before(self, moment: int) -> bool:
        pause = self._due(moment) - time.monotonic()
        if pause <= 0:
            # Let other tasks run while there is always more to send.
            await asyncio.sleep(0)
            return self._stopping.is_set()
        return await is_set_within(self._stopping, pause)

    def _count_undelivered(
        self, stream: Iterator[SimulatedDelivery], delivery: SimulatedDelivery | None = None
    ) -> None:
        """Count the events that are due by now and were not delivered."""
        now = time.monotonic()
        if delivery is not None:
            self.account.undelivered += len(delivery.items)
        for later in stream:
            if self._due(later.at) > now:
                break
            if time.monotonic() > now + _COUNT_FOR:
                _log.warning(
                    "counting undelivered events took too long, there are more", counted=self.account.undelivered
                )
                break
            self.account.undelivered += len(later.items)


async def run_simulation(plan: Plan, url: str, keys: socket.socket | None, progress: Progress) -> Account:
    """Send the deliveries of a plan until its end, or until SIGTERM or SIGINT. Raises NotAWebhookError.

    The public keys are served on the listening socket `keys`. Without it nothing is signed.
    """
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    signer = Signer() if keys is not None else None
    async with contextlib.AsyncExitStack() as open_:
        if keys is not None and signer is not None:
            await open_.enter_async_context(KeyServer(keys, signer.public))
        # No proxy of the environment, because the address may contain a token.
        client = httpx.AsyncClient(trust_env=False, verify=tls_for(url))
        await open_.enter_async_context(client)
        sender = Sender(client, url, stopping, time.monotonic)
        return await Simulation(plan, sender, signer, stopping).run(progress)


def tls_for(url: str) -> ssl.SSLContext:
    """The TLS context for the webhook. Without https it is not used, and no variable is read."""
    if urlsplit(url).scheme != "https":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return client_context(os.environ, ssl.SSLContext.load_default_certs)


def _until(stream: Iterator[SimulatedDelivery], end: int) -> Iterator[SimulatedDelivery]:
    for delivery in stream:
        if delivery.at >= end:
            return
        yield delivery


def _label(item: Item) -> str | None:
    """The name under which a notification is counted. None for a copy."""
    if item.is_copy:
        return None
    match item.notification:
        case RunNotification(status=status):
            return str(status)
        case AlertNotification(state=state):
            return f"alert {state}"
        case _:
            return "other"
