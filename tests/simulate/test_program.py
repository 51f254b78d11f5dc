"""The simulation as a program: what is sent, when, and what the account says of it."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable

import httpx
import pytest
from structlog.testing import capture_logs

from exporter.adobe.signature import load_key, signatures, verify
from exporter.model import Result, Status
from exporter.simulate.organisation import DAY, HOUR, MINUTE
from exporter.simulate.program import Account, Plan, Simulation
from exporter.simulate.sender import NotAWebhookError, Sender
from exporter.simulate.signing import Signer
from exporter.simulate.timeline import RunTold
from tests.simulate.weeks import delivered

URL = "http://127.0.0.1:10464/webhook"
ONE_DAY = Plan(seed=1, flows=24, history=DAY, duration=0)
AT_ONCE = Plan(seed=1, flows=24, duration=2 * HOUR, speed=1e6)


class Webhook:
    """Records every event, and answers as it is told to."""

    def __init__(self, answer: Callable[[int], int] = lambda _number: 200, exaggerated: int = 0) -> None:
        """`answer`: the status of each POST, by its number; 0 is none. `exaggerated`: recorded beyond what came."""
        self._answer = answer
        self._exaggerated = exaggerated
        self.posts: list[httpx.Request] = []
        self.taken: list[bytes] = []
        self.stopping: asyncio.Event
        self.shown: list[str] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        if request.method == "GET":
            return httpx.Response(200, text=request.url.params["challenge"])
        self.posts.append(request)
        status = self._answer(len(self.posts))
        if not status:
            raise httpx.ConnectError("made up")
        if status != 200:
            return httpx.Response(status)
        self.taken.append(request.content)
        document = json.loads(request.content)
        recorded = len(document) if isinstance(document, list) else 1
        return httpx.Response(200, text=f"recorded {recorded + self._exaggerated}\n")

    def simulated(self, plan: Plan, signer: Signer | None = None, drop_after: float = 60.0) -> Account:
        """What a simulation says it sent here."""

        async def run() -> Account:
            self.stopping = asyncio.Event()
            async with httpx.AsyncClient(transport=httpx.MockTransport(self.handle)) as client:
                sender = Sender(client, URL, self.stopping, time.monotonic, (0.001,))
                simulation = Simulation(plan, sender, signer, self.stopping, keep_trying=0.05, drop_after=drop_after)
                return await simulation.run(self.shown.append)

        return asyncio.run(run())


def sizes(until: int) -> tuple[int, int]:
    """How many deliveries there are, and how many events in them."""
    due = delivered(1, until=until)
    return len(due), sum(len(delivery.items) for delivery in due)


def test_history_is_sent_at_once() -> None:
    """What happened before now is sent as fast as it goes, all of it, and the account says what it was."""
    webhook = Webhook()
    account = webhook.simulated(ONE_DAY)
    assert (account.deliveries, account.sent) == sizes(DAY) == (len(webhook.taken), account.results[Result.RECORDED])
    told = Counter(
        str(item.notice.status)
        for delivery in delivered(1, until=DAY)
        for item in delivery.items
        if isinstance(item.notice, RunTold) and not item.is_copy
    )
    assert {word: account.told[word] for word in map(str, Status) if account.told[word]} == told
    assert account.is_complete
    assert webhook.shown
    assert "notifications sent" in webhook.shown[-1]


def test_what_can_not_be_is_not_counted() -> None:
    """A receiver that tells of more than it was sent is not believed, which is told once."""
    webhook = Webhook(exaggerated=1)
    with capture_logs() as logs:
        account = webhook.simulated(ONE_DAY)
    assert account.results == {}
    assert (account.deliveries, account.sent) == sizes(DAY)
    assert [each["event"] for each in logs].count("the receiver tells of more than it was sent: not counted") == 1


def test_the_same_again_is_the_same_again() -> None:
    """Two simulations of one plan send the same but for the times, in the same order."""
    plan = Plan(seed=1, flows=24, history=3 * HOUR, duration=0)
    first, again = Webhook(), Webhook()
    assert first.simulated(plan) == again.simulated(plan)
    ids = [[post.headers["x-adobe-delivery-id"] for post in webhook.posts] for webhook in (first, again)]
    assert ids[0] == ids[1]
    assert len(ids[0]) > 50


def test_time_is_compressed() -> None:
    """At speed, what comes after now is sent in its time, and the simulation ends with it."""
    hours, speed = 6, 36_000.0
    webhook = Webhook()
    began = time.monotonic()
    account = webhook.simulated(Plan(seed=1, flows=24, duration=hours * HOUR, speed=speed))
    assert time.monotonic() - began >= hours * 3600 / speed * 0.9
    assert (account.deliveries, account.sent) == sizes(hours * HOUR)


def test_refusals_are_counted_and_dropped() -> None:
    """What is refused is not sent again, is counted by its status, and makes the account incomplete."""
    webhook = Webhook(lambda number: 401 if number % 10 == 0 else 200)
    account = webhook.simulated(ONE_DAY)
    assert len(webhook.posts) == sizes(DAY)[0]
    assert account.refused.total() + account.sent == sizes(DAY)[1]
    assert not account.is_complete
    assert ("refused with 401", account.refused[401]) in list(account.rows())


@pytest.mark.parametrize("status", [0, 503], ids=["gone", "overloaded"])
def test_a_receiver_that_is_away_for_a_while_loses_nothing(status: int) -> None:
    """While nobody answers the same delivery is tried again and the others wait; then all are sent in order."""
    webhook, other = Webhook(lambda number: status if 40 <= number < 60 else 200), Webhook()
    account = webhook.simulated(Plan(seed=1, flows=24, history=3 * HOUR, duration=0))
    other.simulated(Plan(seed=1, flows=24, history=3 * HOUR, duration=0))
    assert account.is_complete
    assert len(webhook.posts) == len(webhook.taken) + 20
    events = [[post.headers.get("x-adobe-event-id") for post in each.posts] for each in (webhook, other)]
    assert list(dict.fromkeys(events[0])) == list(dict.fromkeys(events[1]))
    retries = [post.headers.get("x-adobe-retry-count") for post in webhook.posts[39:60]]
    assert retries[1] is not None
    assert int(retries[-1] or 0) >= 20


def test_a_receiver_that_never_answers_is_given_up() -> None:
    """Where nobody answers until the simulation is over, and for a while after, everything that was due is missed."""
    webhook = Webhook(lambda number: 200 if number <= 10 else 0)
    account = webhook.simulated(AT_ONCE)
    assert account.deliveries == 10
    assert account.sent + account.undelivered == sizes(2 * HOUR)[1]
    assert not account.is_complete


def test_a_webhook_that_never_comes_up_is_given_up() -> None:
    """Where not even the handshake comes about, everything that was due is missed."""

    class Nobody(Webhook):
        def handle(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError(str(request.url))

    account = Nobody().simulated(AT_ONCE)
    assert (account.sent, account.undelivered) == (0, sizes(2 * HOUR)[1])


def test_a_delivery_that_is_never_taken_is_dropped() -> None:
    """Where one delivery is answered with 503 for a day it is dropped, and the next ones are sent."""
    refused: set[bytes] = set()

    class Picky(Webhook):
        def handle(self, request: httpx.Request) -> httpx.Response:
            if len(self.taken) == 10:
                refused.add(request.content)
                if len(refused) == 1:
                    return httpx.Response(503)
            return super().handle(request)

    webhook = Picky()
    account = webhook.simulated(Plan(seed=1, flows=24, history=DAY, speed=1e6, duration=DAY), drop_after=0.02)
    assert account.undelivered >= 1
    assert account.sent + account.undelivered == sizes(2 * DAY)[1]
    assert account.deliveries == sizes(2 * DAY)[0] - 1


def test_nothing_is_sent_to_what_is_no_webhook() -> None:
    """An address that does not know the handshake gets no notification."""

    class Website(Webhook):
        def handle(self, request: httpx.Request) -> httpx.Response:
            assert request.method == "GET"
            return httpx.Response(200, text="welcome")

    with pytest.raises(NotAWebhookError):
        Website().simulated(ONE_DAY)


def test_a_stop_is_a_clean_end() -> None:
    """When it is stopped between two deliveries, what was sent is accounted for, and nothing is missing."""

    def stop(number: int) -> int:
        if number == 20:
            webhook.stopping.set()
        return 200

    webhook = Webhook(stop)
    account = webhook.simulated(Plan(seed=1, flows=24, speed=1e6))
    assert account.deliveries == 20
    assert account.is_complete


def test_a_stop_while_nobody_answers() -> None:
    """When it is stopped while a delivery waits to be sent again, what was due by then is missed."""

    def stop(number: int) -> int:
        if number == 20:
            webhook.stopping.set()
        return 200 if number < 20 else 0

    webhook = Webhook(stop)
    account = webhook.simulated(ONE_DAY)
    assert account.deliveries == 19
    assert account.sent + account.undelivered == sizes(DAY)[1]


def test_everything_is_signed() -> None:
    """With a signer every delivery has two signatures of its bytes, and says whom it is for."""
    signer = Signer()
    webhook = Webhook()
    webhook.simulated(Plan(seed=1, flows=24, history=10 * MINUTE, duration=0, client_id="ours"), signer)
    assert webhook.posts
    for post in webhook.posts:
        headers = {name.encode(): value.encode() for name, value in post.headers.items()}
        assert all(verify(post.content, each, load_key(signer.public[each.key_path])) for each in signatures(headers))
        assert post.content.count(b'"recipientclientid": "ours"') >= 1


def test_logs_are_few_and_tell_no_path() -> None:
    """A simulation tells what it simulates, and its seed, so that it can be repeated; no address beyond the host."""
    with capture_logs() as logs:
        Webhook().simulated(ONE_DAY)
    assert [(each["event"], each["seed"], each["receiver"]) for each in logs] == [
        ("simulating", 1, "http://127.0.0.1:10464")
    ]
