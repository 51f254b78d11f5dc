"""The simulation as a program: deliveries at their time, to a webhook, and an account of them at the end.

The rule: nothing is made before it is due, so that however long the receiver is away memory stays what it was; what
happened meanwhile is sent in its order once the receiver is back.
"""

import asyncio
import contextlib
import signal
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import httpx
import structlog

from exporter.logs import LogThrottle
from exporter.model import Result
from exporter.simulate import envelopes
from exporter.simulate.clock import Clock
from exporter.simulate.deliveries import Delivery, Item, deliveries
from exporter.simulate.key_server import KeyServer
from exporter.simulate.organisation import DAY, HOUR, MINUTE, organisation
from exporter.simulate.sender import Answer, Sender, is_set_within
from exporter.simulate.signing import Signer
from exporter.simulate.timeline import AlertTold, RunTold, timeline

KEEP_TRYING: Final = 60.0
"""Seconds without a delivery after which a simulation that is over gives up."""
DROP_AFTER: Final = 24 * 60 * 60.0
"""Seconds; Adobe drops an event that could not be delivered for so long (adobe.md A6)."""
_COUNT_FOR: Final = 3.0
"""Seconds in which what was missed is counted: whoever stops a program waits no longer than ten."""
_LOG_EVERY: Final = 60.0
_SHOW_EVERY: Final = 0.25

_log: structlog.stdlib.BoundLogger = structlog.get_logger("simulate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is simulated: durations in simulated milliseconds."""

    seed: int
    flows: int
    history: int = 0
    duration: int | None = None
    """After history; None: for ever."""
    speed: float = 1.0
    client_id: str | None = None


@dataclass(slots=True, kw_only=True)
class Account:
    """What was sent and what became of it."""

    results: Counter[Result] = field(default_factory=Counter)
    """Events by what the receiver says of them."""
    refused: Counter[int] = field(default_factory=Counter)
    """Events by the status that refused them."""
    told: Counter[str] = field(default_factory=Counter)
    """Runs by the state that was told, each once, and alerts; of deliveries that were taken."""
    deliveries: int = 0
    """POSTs that were taken."""
    sent: int = 0
    """Events of these."""
    undelivered: int = 0
    """Events that were due, and for which nobody answered until they were given up."""

    @property
    def is_complete(self) -> bool:
        """Whether everything that was due was taken."""
        return not self.undelivered and not self.refused

    def rows(self) -> Iterator[tuple[str, int]]:
        """The account as words and numbers."""
        yield "deliveries", self.deliveries
        yield "notifications", self.sent
        yield from ((str(result), self.results[result]) for result in Result if self.results[result])
        yield from ((f"refused with {status}", count) for status, count in sorted(self.refused.items()))
        yield "undelivered", self.undelivered
        yield from ((f"told {word}", count) for word, count in sorted(self.told.items()))


Progress = Callable[[str], None]
"""Is told how far it is, a few times a second."""


class Simulation:
    """Sends what is planned."""

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
        """`signer`: signs deliveries, where they are to be signed; `stopping`: ends it; the others are seconds."""
        self._drop_after = drop_after
        self._keep_trying = keep_trying
        self._plan = plan
        self._sender = sender
        self._signer = signer
        self._stopping = stopping
        self._began = 0.0
        self._last_success = 0.0
        self._shown_at = self._logged_at = 0.0
        self._disbelieved = LogThrottle(time.monotonic, every=_LOG_EVERY)
        self.account = Account()

    async def run(self, progress: Progress) -> Account:
        """Send until the plan's end, or until it is stopped; raises NotAWebhookError."""
        plan = self._plan
        clock = Clock(present=time.time_ns() // 1_000_000, history=plan.history, speed=plan.speed)
        self._began = self._last_success = self._logged_at = time.monotonic()
        stream = self._stream()
        if not await self._sender.shake_hands(self._patience):
            self._give_up(stream)
            return self.account
        _log.info("simulating", receiver=self._sender.origin, seed=plan.seed, flows=plan.flows, speed=plan.speed)
        for delivery in stream:
            if await self._is_stopped_before(delivery.at):
                break
            if not await self._deliver(delivery, clock):
                self._give_up(stream, delivery)
                break
            self._tell(delivery.at, progress)
        else:
            # Nothing is left to tell; the plan's time goes on.
            if plan.duration is not None:
                await self._is_stopped_before(plan.history + plan.duration)
        return self.account

    def _stream(self) -> Iterator[Delivery]:
        plan = self._plan
        flows = organisation(plan.seed, plan.flows)
        stream = deliveries(timeline(flows, plan.seed), plan.seed)
        if plan.duration is None:
            return stream
        return _until(stream, plan.history + plan.duration)

    async def _deliver(self, delivery: Delivery, clock: Clock) -> bool:
        """Whether to go on: the delivery was answered for good, or dropped."""
        body = envelopes.body(delivery, clock, self._plan.client_id)
        signed = self._signer.headers(body) if self._signer is not None else {}
        dropped_at = time.monotonic() + self._drop_after
        answer = await self._sender.deliver(
            body,
            lambda attempt: envelopes.headers(delivery, attempt) | signed,
            lambda: min(self._patience(), dropped_at),
        )
        if answer is None:
            if self._stopping.is_set() or self._patience() <= dropped_at:
                return False
            self.account.undelivered += len(delivery.items)
            return True
        self._last_success = time.monotonic()
        self._note(delivery, answer)
        return True

    def _note(self, delivery: Delivery, answer: Answer) -> None:
        account = self.account
        if not answer.is_good:
            account.refused[answer.status] += len(delivery.items)
            return
        account.deliveries += 1
        account.sent += len(delivery.items)
        results = answer.results
        if results.total() <= len(delivery.items):
            account.results += results
        elif self._disbelieved.allow("results") is not None:
            _log.warning("the receiver tells of more than it was sent: not counted", receiver=self._sender.origin)
        account.told.update(word for item in delivery.items if (word := _word(item)))

    def _tell(self, moment: int, progress: Progress) -> None:
        now, account = time.monotonic(), self.account
        if now - self._shown_at >= _SHOW_EVERY:
            self._shown_at = now
            day, of_day = divmod(moment, DAY)
            progress(
                f"day {day + 1}, {of_day // HOUR:02}:{of_day % HOUR // MINUTE:02}: {account.sent} notifications sent, "
                f"{account.refused.total()} refused"
            )
        if now - self._logged_at >= _LOG_EVERY:
            self._logged_at = now
            _log.info("sent so far", notifications=account.sent, refused=account.refused.total())

    def _patience(self) -> float:
        """Until when a delivery is tried again: a plan that ends, ends, if nothing gets through."""
        if self._plan.duration is None:
            return float("inf")
        return max(self._due(self._plan.history + self._plan.duration), self._last_success) + self._keep_trying

    def _due(self, moment: int) -> float:
        """The moment of the monotonic clock at which it is to be sent; history is, at once."""
        return self._began + max(0, moment - self._plan.history) / self._plan.speed / 1000

    async def _is_stopped_before(self, moment: int) -> bool:
        pause = self._due(moment) - time.monotonic()
        if pause <= 0:
            # Others get a turn, while there is always more to send.
            await asyncio.sleep(0)
            return self._stopping.is_set()
        return await is_set_within(self._stopping, pause)

    def _give_up(self, stream: Iterator[Delivery], delivery: Delivery | None = None) -> None:
        """Account for what was due by now and could not be delivered."""
        now = time.monotonic()
        if delivery is not None:
            self.account.undelivered += len(delivery.items)
        for later in stream:
            if self._due(later.at) > now:
                break
            if time.monotonic() > now + _COUNT_FOR:
                _log.warning("more could not be delivered than was counted", counted=self.account.undelivered)
                break
            self.account.undelivered += len(later.items)


async def run_simulation(plan: Plan, url: str, keys: socket.socket | None, progress: Progress) -> Account:
    """Send what is planned until its end, or until SIGTERM or SIGINT; raises NotAWebhookError.

    `keys`: where the public keys are served; without it nothing is signed.
    """
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    signer = Signer() if keys is not None else None
    async with contextlib.AsyncExitStack() as open_:
        if keys is not None and signer is not None:
            await open_.enter_async_context(KeyServer(keys, signer.public))
        # No proxy of the environment: it would be told of an address that may hold a token.
        client = httpx.AsyncClient(trust_env=False, verify=ssl.create_default_context())
        await open_.enter_async_context(client)
        sender = Sender(client, url, stopping, time.monotonic)
        return await Simulation(plan, sender, signer, stopping).run(progress)


def _until(stream: Iterator[Delivery], end: int) -> Iterator[Delivery]:
    for delivery in stream:
        if delivery.at >= end:
            return
        yield delivery


def _word(item: Item) -> str | None:
    """What the account calls a notice that is no copy."""
    if item.is_copy:
        return None
    match item.notice:
        case RunTold(status=status):
            return str(status)
        case AlertTold(state=state):
            return f"alert {state}"
        case _:
            return "other"
