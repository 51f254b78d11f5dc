"""One webhook, and what its answers mean."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import httpx
import pytest
from structlog.testing import capture_logs

from exporter.model import Result
from exporter.simulate.sender import PAUSES, Answer, NotAWebhookError, Sender, origin

SECRET = "s3cret-s3cret-s3cret"
URL = f"http://127.0.0.1:10464/webhook/{SECRET}"
FOR_EVER = float("inf")
Step = httpx.Response | type[Exception] | Callable[[httpx.Request], httpx.Response]


class Receiver:
    """A webhook that answers as it is told to, and notes what it was asked."""

    def __init__(self, *steps: Step, on_request: Callable[[], None] = lambda: None) -> None:
        self._steps = list(steps)
        self._on_request = on_request
        self.requests: list[httpx.Request] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        """The next step; the last one again and again."""
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
        """What a sender makes of it."""

        async def run() -> object:
            async with httpx.AsyncClient(transport=httpx.MockTransport(self.answer)) as client:
                return await what(Sender(client, URL, stopping or asyncio.Event(), time.monotonic, (0.001,)))

        return asyncio.run(run())


def post(sender: Sender) -> Awaitable[Answer | None]:
    """One delivery, however long it takes."""
    return sender.deliver(b"{}", lambda attempt: {"x-attempt": str(attempt)}, lambda: FOR_EVER)


@pytest.mark.parametrize(
    ("status", "attempts"),
    [
        *((status, 1) for status in (200, 202, 204, 301, 302, 307, 400, 401, 404, 410, 413, 505)),
        *((status, 4) for status in (429, 500, 502, 503, 504)),
    ],
)
def test_what_is_sent_again(status: int, attempts: int) -> None:
    """429 and 5xx but 505 are tried again until there is another answer; everything else is an answer."""
    steps = [httpx.Response(status)] if attempts == 1 else [*3 * [httpx.Response(status)], httpx.Response(200)]
    receiver = Receiver(*steps)
    answer = receiver.asked(post)
    assert isinstance(answer, Answer)
    assert answer.status == (status if attempts == 1 else 200)
    assert [request.headers["x-attempt"] for request in receiver.requests] == [str(n) for n in range(attempts)]


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError])
def test_no_answer_is_sent_again(error: type[Exception]) -> None:
    """Where nobody answers the same is sent again until somebody does; that is told once, and when it is over."""
    receiver = Receiver(*5 * [error], httpx.Response(200, text="recorded 1\n"))
    with capture_logs() as logs:
        answer = receiver.asked(post)
    assert isinstance(answer, Answer)
    assert answer.results == {Result.RECORDED: 1}
    assert len({request.content for request in receiver.requests}) == 1
    assert [each["event"] for each in logs] == [
        "the receiver can't be delivered to: trying again",
        "the receiver answers again",
    ]
    assert SECRET not in str(logs)


def test_a_receiver_that_comes_and_goes_is_told_of_once() -> None:
    """Of a receiver that fails now and then the first failure is told and its end, and no other for a while."""
    steps: list[Step] = [httpx.ConnectError, httpx.Response(200)]
    receiver = Receiver(*3 * steps)

    async def post_thrice(sender: Sender) -> None:
        for _ in range(3):
            await post(sender)

    with capture_logs() as logs:
        receiver.asked(post_thrice)
    assert len(receiver.requests) == 6
    assert [each["event"] for each in logs] == [
        "the receiver can't be delivered to: trying again",
        "the receiver answers again",
    ]


def test_it_can_be_stopped_while_it_waits() -> None:
    """A stop ends the waiting for a receiver that is away."""
    stopping = asyncio.Event()
    receiver = Receiver(httpx.ConnectError, on_request=stopping.set)
    assert receiver.asked(post, stopping) is None
    assert len(receiver.requests) == 1


def test_patience_ends() -> None:
    """A delivery is given up when there is no time for another attempt."""
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
def test_what_is_no_webhook(status: int) -> None:
    """Nothing is sent to an address that does not repeat the challenge; the message says what to do, and no secret."""
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
    """The challenge is the whole answer, or what its JSON calls so: a page that tells what was asked is neither."""
    for answer in (
        lambda request: httpx.Response(200, text=f"not found: {request.url}"),
        lambda request: httpx.Response(200, json=[request.url.params["challenge"]]),
        lambda _request: httpx.Response(200, text="[" * 16_000),
    ):
        with pytest.raises(NotAWebhookError):
            Receiver(answer).asked(lambda sender: sender.shake_hands(lambda: FOR_EVER))


def test_the_handshake_waits_for_the_webhook() -> None:
    """A webhook that is not up yet is asked again, and given up when there is no more time."""
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
def test_what_an_answer_says(body: bytes, results: dict[Result, int]) -> None:
    """Results are read where a receiver gives them in the exporter's words; another receiver's words are none."""
    assert Answer(status=200, body=body).results == Counter(results)


@pytest.mark.parametrize("host", ["a%20b", "xn--", "a" * 64 + "..b", "xn--\u00fc"])
def test_a_host_that_cannot_be(host: str) -> None:
    """A name that no host can have is refused in words, before or when it is asked; there is no third way."""

    async def make() -> bool:
        async with httpx.AsyncClient() as client:
            sender = Sender(client, f"http://{host}/webhook", asyncio.Event(), time.monotonic)
            return await sender.shake_hands(lambda: 0.0)

    with contextlib.suppress(NotAWebhookError):
        assert asyncio.run(make()) is False


def test_a_long_answer_is_not_read() -> None:
    """A receiver that says a lot is not listened to for long."""
    receiver = Receiver(httpx.Response(200, content=b"recorded 1\n" * 100_000))
    answer = receiver.asked(post)
    assert isinstance(answer, Answer)
    assert len(answer.body) < 200_000


def test_an_origin_holds_no_secret() -> None:
    """Of an address only scheme, host and port are told."""
    assert origin(URL) == "http://127.0.0.1:10464"
    assert tuple(sorted(PAUSES)) == PAUSES
