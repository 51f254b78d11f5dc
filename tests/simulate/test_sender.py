"""Posting to a webhook, and the meaning of its answers."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import httpx
import pytest
from structlog.testing import capture_logs

from exporter.errors import NotAWebhookError
from exporter.model import Result
from exporter.simulate.sender import PAUSES, Answer, Sender, origin

SECRET = "s3cret-s3cret-s3cret"
URL = f"http://127.0.0.1:10464/webhook/{SECRET}"
FOR_EVER = float("inf")
Step = httpx.Response | type[Exception] | Callable[[httpx.Request], httpx.Response]


class Receiver:
    """A webhook that gives prepared answers and keeps the requests."""

    def __init__(self, *steps: Step, on_request: Callable[[], None] = lambda: None) -> None:
        self._steps = list(steps)
        self._on_request = on_request
        self.requests: list[httpx.Request] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        """The next answer. The last one repeats."""
        self.requests.append(request)
        self._on_request()
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        if isinstance(step, httpx.Response):
            # A response can be read once.
            return httpx.Response(step.status_code, content=step.content, headers=step.headers)
        if isinstance(step, type):
            raise step("made up")
        return step(request)

    def asked(self, what: Callable[[Sender], Awaitable[object]], stopping: asyncio.Event | None = None) -> object:
        """The result of a call of a sender that posts here."""

        async def run() -> object:
            async with httpx.AsyncClient(transport=httpx.MockTransport(self.answer)) as client:
                return await what(Sender(client, URL, stopping or asyncio.Event(), time.monotonic, (0.001,)))

        return asyncio.run(run())


def post(sender: Sender) -> Awaitable[Answer | None]:
    """Post one delivery without a time limit."""
    return sender.deliver(b"{}", lambda attempt: {"x-attempt": str(attempt)}, lambda: FOR_EVER)


@pytest.mark.parametrize(
    ("status", "attempts"),
    [
        *((status, 1) for status in (200, 202, 204, 301, 302, 307, 400, 401, 404, 410, 413, 505)),
        *((status, 4) for status in (429, 500, 502, 503, 504)),
    ],
)
def test_which_statuses_are_retried(status: int, attempts: int) -> None:
    """429 and 5xx except 505 are retried until there is another answer, and other statuses are not."""
    steps = [httpx.Response(status)] if attempts == 1 else [*3 * [httpx.Response(status)], httpx.Response(200)]
    receiver = Receiver(*steps)
    answer = receiver.asked(post)
    assert isinstance(answer, Answer)
    assert answer.status == (status if attempts == 1 else 200)
    assert [request.headers["x-attempt"] for request in receiver.requests] == [str(n) for n in range(attempts)]


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError])
def test_a_missing_answer_is_retried(error: type[Exception]) -> None:
    """Without an answer the same body is sent again until there is one, with one log line at each change."""
    receiver = Receiver(*5 * [error], httpx.Response(200, text="recorded 1\n"))
    with capture_logs() as logs:
        answer = receiver.asked(post)
    assert isinstance(answer, Answer)
    assert answer.results == {Result.RECORDED: 1}
    assert len({request.content for request in receiver.requests}) == 1
    assert [each["event"] for each in logs] == [
        "notifications can't be delivered to the receiver, trying again",
        "the receiver answers again",
    ]
    assert SECRET not in str(logs)


def test_an_unreliable_receiver_is_logged_once() -> None:
    """Of a receiver that fails now and then only the first failure and its end are logged."""
    steps: list[Step] = [httpx.ConnectError, httpx.Response(200)]
    receiver = Receiver(*3 * steps)

    async def post_thrice(sender: Sender) -> None:
        for _ in range(3):
            await post(sender)

    with capture_logs() as logs:
        receiver.asked(post_thrice)
    assert len(receiver.requests) == 6
    assert [each["event"] for each in logs] == [
        "notifications can't be delivered to the receiver, trying again",
        "the receiver answers again",
    ]


def test_it_can_be_stopped_while_it_waits() -> None:
    """Stopping ends the waiting for a receiver that does not answer."""
    stopping = asyncio.Event()
    receiver = Receiver(httpx.ConnectError, on_request=stopping.set)
    assert receiver.asked(post, stopping) is None
    assert len(receiver.requests) == 1


def test_retries_end() -> None:
    """A delivery is not retried when there is no time for another attempt."""
    receiver = Receiver(httpx.ConnectError)
    assert receiver.asked(lambda sender: sender.deliver(b"", lambda _: {}, lambda: 0.0)) is None
    assert len(receiver.requests) == 1


def test_the_handshake() -> None:
    """An address that repeats the challenge, bare or in JSON, is a webhook."""
    receiver = Receiver(
        lambda request: httpx.Response(200, text=request.url.params["challenge"]),
        lambda request: httpx.Response(200, json={"challenge": request.url.params["challenge"]}),
    )
    assert receiver.asked(lambda sender: sender.shake_hands(lambda: FOR_EVER)) is True
    assert receiver.asked(lambda sender: sender.shake_hands(lambda: FOR_EVER)) is True


@pytest.mark.parametrize("status", [200, 301, 400, 401, 404])
def test_an_address_that_is_no_webhook(status: int) -> None:
    """Nothing is posted to an address that does not repeat the challenge, and the error helps without the secret."""
    receiver = Receiver(
        httpx.Response(status, text="<html>welcome</html>", headers={"location": "http://evil.example"})
    )
    with pytest.raises(NotAWebhookError) as refused:
        receiver.asked(lambda sender: sender.shake_hands(lambda: FOR_EVER))
    assert "--url" in str(refused.value)
    assert str(status) in str(refused.value)
    assert SECRET not in str(refused.value)
    assert [request.method for request in receiver.requests] == ["GET"]


def test_a_page_that_repeats_its_address_is_no_webhook() -> None:
    """An answer that contains the challenge is accepted only as the whole body or as the field of that name."""
    for answer in (
        lambda request: httpx.Response(200, text=f"not found: {request.url}"),
        lambda request: httpx.Response(200, json=[request.url.params["challenge"]]),
        lambda _request: httpx.Response(200, text="[" * 16_000),
    ):
        with pytest.raises(NotAWebhookError):
            Receiver(answer).asked(lambda sender: sender.shake_hands(lambda: FOR_EVER))


def test_the_handshake_waits_for_the_webhook() -> None:
    """The handshake is tried again while the webhook does not answer, until there is no more time."""
    receiver = Receiver(httpx.ConnectError, httpx.Response(503), httpx.Response(404))
    with pytest.raises(NotAWebhookError):
        receiver.asked(lambda sender: sender.shake_hands(lambda: FOR_EVER))
    assert len(receiver.requests) == 3
    assert Receiver(httpx.ConnectError).asked(lambda sender: sender.shake_hands(lambda: 0.0)) is False


@pytest.mark.parametrize(
    ("body", "results"),
    [
        (b"recorded 1\n", {Result.RECORDED: 1}),
        (b"duplicate 2\nrecorded 18\n", {Result.DUPLICATE: 2, Result.RECORDED: 18}),
        (b"ok\n", {}),
        (b"", {}),
        (b"recorded many\nrecorded -1\nrecorded\n\xff\xfe 3\n", {}),
        (b"recorded \xb2\n", {}),
        (b"recorded " + b"9" * 10_000 + b"\n", {}),
    ],
)
def test_results_of_an_answer(body: bytes, results: dict[Result, int]) -> None:
    """Results are read from an answer in the exporter's format, and other text gives none."""
    assert Answer(status=200, body=body).results == Counter(results)


@pytest.mark.parametrize("host", ["a%20b", "xn--", "a" * 64 + "..b", "xn--\u00fc"])
def test_an_invalid_host(host: str) -> None:
    """An invalid host name raises NotAWebhookError or gives no answer, and no other exception."""

    async def make() -> bool:
        async with httpx.AsyncClient() as client:
            sender = Sender(client, f"http://{host}/webhook", asyncio.Event(), time.monotonic)
            return await sender.shake_hands(lambda: 0.0)

    with contextlib.suppress(NotAWebhookError):
        assert asyncio.run(make()) is False


def test_a_long_answer_is_cut_off() -> None:
    """Only the beginning of a long answer is read."""
    receiver = Receiver(httpx.Response(200, content=b"recorded 1\n" * 100_000))
    answer = receiver.asked(post)
    assert isinstance(answer, Answer)
    assert len(answer.body) < 200_000


def test_an_origin_holds_no_secret() -> None:
    """The origin of an address is its scheme, host and port."""
    assert origin(URL) == "http://127.0.0.1:10464"
    assert tuple(sorted(PAUSES)) == PAUSES
