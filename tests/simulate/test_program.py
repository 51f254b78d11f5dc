"""The simulation as a program: what it sends, when, and how it counts."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable

import httpx
import pytest
from structlog.testing import capture_logs

from exporter.adobe.signature import load_key, signatures, verify
from exporter.errors import NotAWebhookError
from exporter.model import Result, Status
from exporter.simulate.organisation import DAY, HOUR, MINUTE
from exporter.simulate.program import Account, Plan, Simulation
from exporter.simulate.sender import Sender
from exporter.simulate.signing import Signer
from exporter.simulate.timeline import RunNotification
from tests.simulate.weeks import delivered

URL = "http://127.0.0.1:10464/webhook"
ONE_DAY = Plan(seed=1, flows=24, past=DAY, duration=0)
AT_ONCE = Plan(seed=1, flows=24, duration=2 * HOUR, speed=1e6)


class Webhook:
    """A webhook that keeps every request and gives prepared answers."""

    def __init__(self, answer: Callable[[int], int] = lambda _number: 200, exaggerated: int = 0) -> None:
        """`answer`: the status of each POST by its number, 0 for none. `exaggerated`: added to the results."""
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

    def simulated(
        self, plan: Plan, signer: Signer | None = None, *, keep_trying: float = 600.0, drop_after: float = 600.0
    ) -> Account:
        """Run a simulation against this webhook. It must end by itself long before the two limits, or set them low."""

        async def run() -> Account:
            self.stopping = asyncio.Event()
            async with httpx.AsyncClient(transport=httpx.MockTransport(self.handle)) as client:
                sender = Sender(client, URL, self.stopping, time.monotonic, (0.001,))
                limits = {"keep_trying": keep_trying, "drop_after": drop_after}
                simulation = Simulation(plan, sender, signer, self.stopping, **limits)
                return await simulation.run(self.shown.append)

        return asyncio.run(run())


def sizes(until: int) -> tuple[int, int]:
    """How many deliveries there are, and how many events in them."""
    due = delivered(1, until=until)
    return len(due), sum(len(delivery.items) for delivery in due)


def test_the_past_is_sent_at_once() -> None:
    """Everything that happened before now is sent as fast as possible and counted by status."""
    webhook = Webhook()
    account = webhook.simulated(ONE_DAY)
    assert (account.deliveries, account.sent) == sizes(DAY) == (len(webhook.taken), account.results[Result.RECORDED])
    sent = Counter(
        str(item.notification.status)
        for delivery in delivered(1, until=DAY)
        for item in delivery.items
        if isinstance(item.notification, RunNotification) and not item.is_copy
    )
    assert {name: account.notifications[name] for name in map(str, Status) if account.notifications[name]} == sent
    assert account.is_complete
    assert webhook.shown
    assert "notifications sent" in webhook.shown[-1]


def test_impossible_results_are_not_counted() -> None:
    """Results of more events than were sent are not counted, which is logged once."""
    webhook = Webhook(exaggerated=1)
    with capture_logs() as logs:
        account = webhook.simulated(ONE_DAY)
    assert account.results == {}
    assert (account.deliveries, account.sent) == sizes(DAY)
    assert [each["event"] for each in logs].count(
        "the receiver reports more results than it was sent events, not counted"
    ) == 1


def test_a_plan_can_be_repeated() -> None:
    """Two simulations of one plan send the same deliveries in the same order, with other times."""
    plan = Plan(seed=1, flows=24, past=3 * HOUR, duration=0)
    first, again = Webhook(), Webhook()
    assert first.simulated(plan) == again.simulated(plan)
    ids = [[post.headers["x-adobe-delivery-id"] for post in webhook.posts] for webhook in (first, again)]
    assert ids[0] == ids[1]
    assert len(ids[0]) > 50


def test_time_is_compressed() -> None:
    """The time after now passes at the speed of the plan, and the simulation ends with it."""
    hours, speed = 6, 36_000.0
    webhook = Webhook()
    began = time.monotonic()
    account = webhook.simulated(Plan(seed=1, flows=24, duration=hours * HOUR, speed=speed))
    assert time.monotonic() - began >= hours * 3600 / speed * 0.9
    assert (account.deliveries, account.sent) == sizes(hours * HOUR)


def test_refusals_are_counted_and_dropped() -> None:
    """Refused deliveries are not sent again, are counted by status, and make the account incomplete."""
    webhook = Webhook(lambda number: 401 if number % 10 == 0 else 200)
    account = webhook.simulated(ONE_DAY)
    assert len(webhook.posts) == sizes(DAY)[0]
    assert account.refused.total() + account.sent == sizes(DAY)[1]
    assert not account.is_complete
    assert ("refused with 401", account.refused[401]) in list(account.rows())


@pytest.mark.parametrize("status", [0, 503], ids=["no-answer", "overloaded"])
def test_a_receiver_that_is_away_for_a_while_loses_nothing(status: int) -> None:
    """A delivery is retried until it is answered while the others wait, and then all are sent in order."""
    webhook, other = Webhook(lambda number: status if 40 <= number < 60 else 200), Webhook()
    account = webhook.simulated(Plan(seed=1, flows=24, past=3 * HOUR, duration=0))
    other.simulated(Plan(seed=1, flows=24, past=3 * HOUR, duration=0))
    assert account.is_complete
    assert len(webhook.posts) == len(webhook.taken) + 20
    events = [[post.headers.get("x-adobe-event-id") for post in each.posts] for each in (webhook, other)]
    assert list(dict.fromkeys(events[0])) == list(dict.fromkeys(events[1]))
    retries = [post.headers.get("x-adobe-retry-count") for post in webhook.posts[39:60]]
    assert retries[1] is not None
    assert int(retries[-1] or 0) >= 20


def test_a_receiver_that_never_answers_is_given_up() -> None:
    """If there is no answer until a while after the plan's end, everything that was due counts as undelivered."""
    webhook = Webhook(lambda number: 200 if number <= 10 else 0)
    account = webhook.simulated(AT_ONCE, keep_trying=0.05)
    assert account.deliveries == 10
    assert account.sent + account.undelivered == sizes(2 * HOUR)[1]
    assert not account.is_complete


def test_a_webhook_that_never_comes_up_is_given_up() -> None:
    """If the handshake gets no answer, everything that was due counts as undelivered."""

    class Nobody(Webhook):
        def handle(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError(str(request.url))

    account = Nobody().simulated(AT_ONCE, keep_trying=0.05)
    assert (account.sent, account.undelivered) == (0, sizes(2 * HOUR)[1])


def test_a_delivery_that_is_never_taken_is_dropped() -> None:
    """A delivery that is answered with 503 for too long is dropped, and the next ones are sent."""
    refused: set[bytes] = set()

    class Picky(Webhook):
        def handle(self, request: httpx.Request) -> httpx.Response:
            if len(self.taken) == 10:
                refused.add(request.content)
                if len(refused) == 1:
                    return httpx.Response(503)
            return super().handle(request)

    webhook = Picky()
    account = webhook.simulated(Plan(seed=1, flows=24, past=DAY, speed=1e6, duration=DAY), drop_after=0.02)
    assert account.undelivered >= 1
    assert account.sent + account.undelivered == sizes(2 * DAY)[1]
    assert account.deliveries == sizes(2 * DAY)[0] - 1


def test_nothing_is_sent_without_a_handshake() -> None:
    """An address that does not answer the handshake gets no notification."""

    class Website(Webhook):
        def handle(self, request: httpx.Request) -> httpx.Response:
            assert request.method == "GET"
            return httpx.Response(200, text="welcome")

    with pytest.raises(NotAWebhookError):
        Website().simulated(ONE_DAY)


def test_a_stop_is_a_clean_end() -> None:
    """A simulation that is stopped between two deliveries has counted everything and misses nothing."""

    def stop(number: int) -> int:
        if number == 20:
            webhook.stopping.set()
        return 200

    webhook = Webhook(stop)
    account = webhook.simulated(Plan(seed=1, flows=24, speed=1e6))
    assert account.deliveries == 20
    assert account.is_complete


def test_a_stop_while_nobody_answers() -> None:
    """If a simulation is stopped while it retries, everything that was due counts as undelivered."""

    def stop(number: int) -> int:
        if number == 20:
            webhook.stopping.set()
        return 200 if number < 20 else 0

    webhook = Webhook(stop)
    account = webhook.simulated(ONE_DAY)
    assert account.deliveries == 19
    assert account.sent + account.undelivered == sizes(DAY)[1]


def test_everything_is_signed() -> None:
    """With a signer every delivery has two valid signatures and names its recipient."""
    signer = Signer()
    webhook = Webhook()
    webhook.simulated(Plan(seed=1, flows=24, past=10 * MINUTE, duration=0, client_id="ours"), signer)
    assert webhook.posts
    for post in webhook.posts:
        headers = {name.encode(): value.encode() for name, value in post.headers.items()}
        assert all(verify(post.content, each, load_key(signer.public[each.key_path])) for each in signatures(headers))
        assert post.content.count(b'"recipientclientid": "ours"') >= 1


def test_logs_are_few_and_have_no_path() -> None:
    """A simulation logs its seed once, so that it can be repeated, and never the path of the address."""
    with capture_logs() as logs:
        Webhook().simulated(ONE_DAY)
    assert [(each["event"], each["seed"], each["receiver"]) for each in logs] == [
        ("simulating", 1, "http://127.0.0.1:10464")
    ]
