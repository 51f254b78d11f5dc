import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import LogCapture

from exporter.adobe_api.clock_skew import ClockSkew
from exporter.adobe_api.http_client import AdobeClient
from exporter.web import validation
from exporter.web.validation import ORIGIN, ValidationRequest, Validations, is_adobes
from tests.web.cases import failures

URL: Final = "https://csm.adobe.io/csm/registrations/validate"
ADOBES: Final = URL + "?id=0d9e3a6c-1f2b-4c5d-8e7f-a0b1c2d3e4f5&challenge=6b7c8d9e-0f1a-4b2c-9d3e-4f5a6b7c8d9e"
NOW: Final = 1_760_000_000_000

LOOKALIKES: Final = {
    "nothing": "",
    "a word": "validate",
    "a path": "/csm/registrations/validate?id=1",
    "no scheme": "//csm.adobe.io/csm/registrations/validate?id=1",
    "http": "http://csm.adobe.io/csm/registrations/validate?id=1",
    "another scheme": "file://csm.adobe.io/csm/registrations/validate?id=1",
    "no slashes": "https:csm.adobe.io/csm/registrations/validate?id=1",
    "one slash": "https:/csm.adobe.io/csm/registrations/validate?id=1",
    "three slashes": "https:///csm.adobe.io/csm/registrations/validate?id=1",
    "userinfo": "https://csm.adobe.io@evil.com/csm/registrations/validate?id=1",
    "userinfo before Adobe's host": "https://evil.com@csm.adobe.io/csm/registrations/validate?id=1",
    "empty userinfo": "https://@csm.adobe.io/csm/registrations/validate?id=1",
    "a password": "https://csm.adobe.io:443@evil.com/csm/registrations/validate?id=1",
    "a port": "https://csm.adobe.io:8443/csm/registrations/validate?id=1",
    "the usual port": "https://csm.adobe.io:443/csm/registrations/validate?id=1",
    "an empty port": "https://csm.adobe.io:/csm/registrations/validate?id=1",
    "another host": "https://evil.com/csm/registrations/validate?id=1",
    "a longer host": "https://csm.adobe.io.evil.com/csm/registrations/validate?id=1",
    "a host before it": "https://evil.csm.adobe.io/csm/registrations/validate?id=1",
    "a host that ends so": "https://evilcsm.adobe.io/csm/registrations/validate?id=1",
    "another host of Adobe's": "https://events-va6.adobe.io/csm/registrations/validate?id=1",
    "another dot": "https://csm-adobe.io/csm/registrations/validate?id=1",
    "upper case": "https://CSM.ADOBE.IO/csm/registrations/validate?id=1",
    "a dot at the end of the host": "https://csm.adobe.io./csm/registrations/validate?id=1",
    "an encoded host": "https://csm%2eadobe.io/csm/registrations/validate?id=1",
    "no path": "https://csm.adobe.io?id=1",
    "another path": "https://csm.adobe.io/csm/registrations/delete?id=1",
    "a longer path": "https://csm.adobe.io/csm/registrations/validate/x?id=1",
    "a slash more": "https://csm.adobe.io/csm/registrations/validate/?id=1",
    "a path that goes on": "https://csm.adobe.io/csm/registrations/validatex?id=1",
    "two slashes within": "https://csm.adobe.io//csm/registrations/validate?id=1",
    "dots": "https://csm.adobe.io/csm/registrations/../registrations/validate?id=1",
    "dots at the end": "https://csm.adobe.io/csm/registrations/validate/../delete?id=1",
    "a parameter": "https://csm.adobe.io/csm/registrations/validate;x?id=1",
    "upper case in the path": "https://csm.adobe.io/CSM/registrations/validate?id=1",
    "an encoded slash": "https://csm.adobe.io/csm%2fregistrations/validate?id=1",
    "an encoded letter": "https://csm.adobe.io/csm/registrations/%76alidate?id=1",
    "a fragment": "https://csm.adobe.io/csm/registrations/validate?id=1#x",
    "a fragment before the query": "https://csm.adobe.io/csm/registrations/validate#?id=1",
    "a fragment in the host": "https://evil.com#@csm.adobe.io/csm/registrations/validate?id=1",
    "a query in the host": "https://evil.com?@csm.adobe.io/csm/registrations/validate?id=1",
    "a backslash": "https://evil.com\\@csm.adobe.io/csm/registrations/validate?id=1",
    "backslashes": "https:\\\\csm.adobe.io\\csm\\registrations\\validate?id=1",
    "a backslash in the query": "https://csm.adobe.io/csm/registrations/validate?id=\\1",
    "a blank before it": " https://csm.adobe.io/csm/registrations/validate?id=1",
    "a blank after it": "https://csm.adobe.io/csm/registrations/validate?id=1 ",
    "a blank within": "https://csm.adobe.io/csm/registrations/validate?id= 1",
    "a tab": "https://csm.adobe.io/csm/registrations/valid\tate?id=1",
    "a line break": "https://csm.adobe.io/csm/registrations/validate?id=1\r\nHost: evil.com",
    "NUL": "https://csm.adobe.io/csm/registrations/validate?id=1\x00",
    "an escape": "https://csm.adobe.io/csm/registrations/validate?id=\x1b[31m",
    "DEL": "https://csm.adobe.io/csm/registrations/validate?id=\x7f",
    "an accent": "https://csm.adobe.io/csm/registrations/validate?id=\xe9",
    "a full-width letter": "https://\uff43sm.adobe.io/csm/registrations/validate?id=1",
    "a full-width slash": "https://evil.com\uff0fcsm.adobe.io/csm/registrations/validate?id=1",
    "an ideographic dot": "https://csm\u3002adobe.io/csm/registrations/validate?id=1",
    "a Cyrillic letter": "https://csm.\u0430dobe.io/csm/registrations/validate?id=1",
    "no width": "https://csm.adobe.io\u200b/csm/registrations/validate?id=1",
    "the other direction": "https://csm.adobe.io/csm/registrations/validate?id=\u202e1",
    "half an emoji": "https://csm.adobe.io/csm/registrations/validate?id=\ud83d",
    "half an IPv6 address": "https://[csm.adobe.io/csm/registrations/validate?id=1",
    "two addresses": "https://evil.com/?https://csm.adobe.io/csm/registrations/validate?id=1",
    "a script": "javascript:'https://csm.adobe.io/csm/registrations/validate'",
}
"""Addresses that are not Adobe's, by what is wrong with them."""


class Story:
    """Validations with a clock, the addresses that they opened, and the answers that Adobe gives."""

    def __init__(self, *, opens: bool) -> None:
        self.now = 1000.0
        self.opened: list[str] = []
        self.answer: Callable[[httpx.Request], httpx.Response] = lambda _request: httpx.Response(200)
        self.gate = asyncio.Event()
        self.gate.set()
        self.client = AdobeClient(ORIGIN, httpx.MockTransport(self._handle), ClockSkew(lambda: self.now))
        self.validations = Validations(lambda: NOW, lambda: self.now, self.client if opens else None)

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        self.opened.append(str(request.url))
        assert request.method == "GET"
        await self.gate.wait()
        return self.answer(request)

    async def request(self, url: str, sender: tuple[str, int] | None = None, *, is_signed: bool = False) -> None:
        """Receive a request to open this address."""
        self.validations.handle(url, sender, is_signed=is_signed)
        for _ in range(20):
            await asyncio.sleep(0)

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until a timer has done its work."""
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 - the condition is about timers of the code under test
                await asyncio.sleep(0.01)


def play(story: Callable[[Story], Awaitable[None]], *, opens: bool = True) -> list[str]:
    """Run a story and return the addresses that were opened. Fail on an exception that nobody retrieved."""

    async def main() -> list[str]:
        unnoticed: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unnoticed.append(context))
        made = Story(opens=opens)
        await story(made)
        await made.validations.close()
        gc.collect(1)
        assert unnoticed == []
        assert len(asyncio.all_tasks()) == 1
        return made.opened

    return asyncio.run(main())


@pytest.fixture(autouse=True)
def logged(monkeypatch: pytest.MonkeyPatch) -> LogCapture:
    """Captures what is logged, whatever other tests configured."""
    capture = LogCapture()
    logger = structlog.wrap_logger(None, processors=[capture], wrapper_class=structlog.BoundLogger)
    monkeypatch.setattr(validation, "_log", logger)
    return capture


@pytest.mark.parametrize("url", [ADOBES, URL + "?id=1", URL + "?id=1&challenge=%2F%0A&x=https://evil.com/@"])
def test_adobes_address(url: str) -> None:
    """The address at which Adobe confirms webhooks is Adobe's, with any query."""
    assert is_adobes(url)


def test_lookalikes_are_not_adobes() -> None:
    """An address that only looks like Adobe's is not Adobe's."""
    assert [name for name, url in LOOKALIKES.items() if is_adobes(url)] == []


@given(st.text())
def test_anything_before_it(text: str) -> None:
    """An address with anything before Adobe's is not accepted."""
    assert is_adobes(text + ADOBES) is (text == "")


@given(st.sampled_from(["https://", "https://csm.adobe.io", URL, URL + "?"]), st.text())
def test_anything_after_it(start: str, text: str) -> None:
    """An accepted address has Adobe's host and path, as urllib and as httpx read it."""
    if is_adobes(start + text):
        parts = urlsplit(start + text)
        assert (parts.scheme, parts.hostname, parts.path) == ("https", "csm.adobe.io", "/csm/registrations/validate")
        url = httpx.URL(start + text)
        assert (url.scheme, url.host, url.port, url.path) == ("https", parts.hostname, None, parts.path)
        assert url.userinfo == b""


def test_a_request_is_kept_and_logged(logged: LogCapture) -> None:
    """Adobe's request is kept with its time and logged, so that somebody can open the address."""

    async def story(made: Story) -> None:
        assert made.validations.latest is None
        await made.request(ADOBES)
        assert made.validations.latest == ValidationRequest(ADOBES, NOW)

    assert play(story, opens=False) == []
    assert [(entry["log_level"], entry["url"]) for entry in logged.entries] == [("warning", ADOBES)]


def numbered(*numbers: int) -> list[str]:
    """Addresses that are told apart by a number."""
    return [f"{URL}?id={number}" for number in numbers]


def test_the_latest_eight_are_kept() -> None:
    """The latest eight of many requests are kept, each address once."""

    async def story(made: Story) -> None:
        for url in numbered(*range(1, 11), 5, 10):
            await made.request(url)
        assert [each.url for each in made.validations.kept] == numbered(3, 4, 6, 7, 8, 9, 5, 10)
        assert made.validations.latest == ValidationRequest(numbered(10)[0], NOW)

    play(story, opens=False)


def test_signed_requests_are_kept(logged: LogCapture) -> None:
    """Signed requests are kept and logged at once, whatever unsigned ones come before and after."""

    async def story(made: Story) -> None:
        for number in range(200):
            await made.request(f"{URL}?id=made-up-{number}")
            if number % 25 == 12:
                await made.request(numbered(number)[0], is_signed=True)
        await made.request(numbered(12)[0])
        assert {each.url for each in made.validations.kept} == set(numbered(*range(12, 200, 25)))
        assert made.validations.latest == ValidationRequest(numbered(12)[0], NOW, is_signed=True)

    play(story, opens=False)
    urls = [entry["url"] for entry in logged.entries if "url" in entry]
    assert set(numbered(*range(12, 200, 25))) <= set(urls)
    assert len(urls) == 8 + 5


def test_senders_of_few_requests_are_kept(monkeypatch: pytest.MonkeyPatch, logged: LogCapture) -> None:
    """An unsigned request is logged although others flood the webhook, from few addresses or on few connections."""
    monkeypatch.setattr(validation, "_WINDOW", 0.05)

    def urls() -> set[str]:
        return {entry["url"] for entry in logged.entries if "url" in entry}

    async def story(made: Story) -> None:
        for number in range(1000):
            await made.request(f"{URL}?id=made-up-{number}", ("192.0.2.1", number % 4))
            if number == 500:
                await made.request(ADOBES, ("192.0.2.1", 9))
                await made.request(numbered(1)[0], ("192.0.2.2", 1))
        await made.wait_for(lambda: {ADOBES, *numbered(1)} <= urls())
        for number in range(1000):
            await made.request(f"{URL}?id=more-{number}", ("192.0.2.1", number % 4))
            if number == 500:
                await made.request(numbered(2)[0], ("192.0.2.2", 1))
        await made.wait_for(lambda: {ADOBES, *numbered(1, 2)} <= urls())

    play(story, opens=False)


def test_the_log_is_not_flooded(monkeypatch: pytest.MonkeyPatch, logged: LogCapture) -> None:
    """In a window few addresses are logged, each once, and the number of the others."""
    monkeypatch.setattr(validation, "_WINDOW", 0.05)

    async def story(made: Story) -> None:
        for number in range(500):
            made.validations.handle(f"{URL}?id={number}", ("192.0.2.1", number), is_signed=False)
        await made.wait_for(lambda: any("left_out" in entry for entry in logged.entries))

    play(story, opens=False)
    urls = [entry["url"] for entry in logged.entries if "url" in entry]
    assert len(urls) == len(set(urls)) == 5 + 8
    assert [entry["left_out"] for entry in logged.entries if "left_out" in entry] == [500 - 13]


def test_lookalikes_are_ignored(logged: LogCapture) -> None:
    """A request with a foreign address is handled, but the address is neither kept nor logged nor opened."""

    def check(url: str) -> None:
        logged.entries.clear()

        async def story(made: Story) -> None:
            await made.request(url)
            assert made.validations.latest is None
            assert url == "" or url not in repr(logged.entries)
            assert "evil" not in repr(logged.entries)
            await made.request(ADOBES)
            await made.request(url)
            assert made.validations.latest == ValidationRequest(ADOBES, NOW)

        assert play(story) == [ADOBES]

    assert failures(LOOKALIKES, check) == {}


@given(st.text().map(lambda text: URL + text) | st.text())
def test_any_address(url: str) -> None:
    """Only Adobe's address is kept and opened, whatever the address."""

    async def story(made: Story) -> None:
        await made.request(url)
        if made.validations.latest is not None:
            assert is_adobes(made.validations.latest.url)

    for opened in play(story):
        found = httpx.URL(opened)
        assert (found.scheme, found.netloc, found.path) == ("https", b"csm.adobe.io", "/csm/registrations/validate")


def test_opening(logged: LogCapture) -> None:
    """With a client, Adobe's address is opened unchanged, once, and the status of the answer is logged."""

    async def story(made: Story) -> None:
        await made.request(ADOBES)

    assert play(story) == [ADOBES]
    assert logged.entries[-1]["status"] == 200


def test_not_opening() -> None:
    """Without a client nothing is opened, and the address is kept."""

    async def story(made: Story) -> None:
        await made.request(ADOBES)
        assert made.validations.latest == ValidationRequest(ADOBES, NOW)

    assert play(story, opens=False) == []


def test_at_most_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """One address is opened a minute. Then the latest of those in between is opened, without another request."""
    monkeypatch.setattr(validation, "_OPEN_INTERVAL", 0.05)

    async def story(made: Story) -> None:
        for url in numbered(1, 2, 3):
            await made.request(url)
        assert made.opened == numbered(1)
        made.now += 1
        await made.wait_for(lambda: len(made.opened) > 1)
        assert made.opened == numbered(1, 3)

    play(story)


def test_signed_addresses_are_opened_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next address that is opened is a signed one, however many strangers send before and after it."""
    monkeypatch.setattr(validation, "_OPEN_INTERVAL", 0.05)

    async def story(made: Story) -> None:
        for number in range(50):
            await made.request(f"{URL}?id=made-up-{number}", ("192.0.2.1", number))
            if number == 25:
                await made.request(ADOBES, ("192.0.2.1", 1), is_signed=True)
        made.now += 1
        await made.wait_for(lambda: len(made.opened) > 1)
        assert made.opened == [f"{URL}?id=made-up-0", ADOBES]

    play(story)


def test_the_answer_is_not_read() -> None:
    """The body of Adobe's answer is not read, so a compressed one can't become large."""

    class Unread(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b""
            raise AssertionError("the body was read")

    async def story(made: Story) -> None:
        made.answer = lambda _request: httpx.Response(200, stream=Unread(), headers={"content-encoding": "gzip"})
        await made.request(ADOBES)

    assert play(story) == [ADOBES]


def test_lookalikes_do_not_use_the_minute_up() -> None:
    """Requests with foreign addresses do not use up the minute."""

    async def story(made: Story) -> None:
        for lookalike in LOOKALIKES.values():
            await made.request(lookalike)
        await made.request(ADOBES)

    assert play(story) == [ADOBES]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    """A redirect from Adobe's address is not followed, wherever it leads."""

    def check(location: str) -> None:
        async def story(made: Story) -> None:
            made.answer = lambda _request: httpx.Response(status, headers={"location": location})
            await made.request(ADOBES)

        assert play(story) == [ADOBES]

    locations = ("https://evil.com/", "http://127.0.0.1/", URL + "?id=2", "//evil.com", "")
    assert failures({location: location for location in locations}, check) == {}


@pytest.mark.parametrize("status", [301, 400, 404, 500])
def test_a_refusal_is_logged(logged: LogCapture, status: int) -> None:
    """An answer that is not a 2xx is logged as a warning, with its status."""

    async def story(made: Story) -> None:
        made.answer = lambda _request: httpx.Response(status)
        await made.request(ADOBES)

    play(story)
    assert logged.entries[-1]["status"] == status
    assert logged.entries[-1]["log_level"] == "warning"


@pytest.mark.parametrize(
    "error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.ReadError]
)
def test_a_failure_is_logged(logged: LogCapture, error: type[httpx.HTTPError]) -> None:
    """A failure to open the address is logged with the host and the cause, without the text of httpx's exception."""

    def answer(_request: httpx.Request) -> httpx.Response:
        raise error("made up")

    async def story(made: Story) -> None:
        made.answer = answer
        await made.request(ADOBES)

    play(story)
    entry = logged.entries[-1]
    assert (entry["log_level"], entry["reason"], entry["host"]) == ("warning", "no_answer", "csm.adobe.io:443")
    assert entry["detail"]
    assert "made up" not in repr(logged.entries)


def test_close() -> None:
    """Closing does not wait for an address that is being opened, and can be repeated."""

    async def story(made: Story) -> None:
        made.gate.clear()
        await made.request(ADOBES)
        await made.validations.close()
        await made.validations.close()

    assert play(story) == [ADOBES]
