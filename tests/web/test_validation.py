import asyncio
import gc
import json
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import LogCapture

from exporter.web import validation
from exporter.web.validation import ValidationRequest, Validations, is_adobes
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
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self._handle))
        self.validations = Validations(lambda: NOW, lambda: self.now, self.client if opens else None)

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        self.opened.append(str(request.url))
        assert request.method == "GET"
        await self.gate.wait()
        return self.answer(request)

    async def request(self, url: str) -> None:
        """Receive a request to open this address."""
        assert self.validations.try_handle(body(url))
        for _ in range(20):
            await asyncio.sleep(0)


def play(story: Callable[[Story], Awaitable[None]], *, opens: bool = True) -> list[str]:
    """Run a story and return the addresses that were opened. Fail on an exception that nobody retrieved."""

    async def main() -> list[str]:
        unnoticed: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unnoticed.append(context))
        made = Story(opens=opens)
        async with made.client:
            await story(made)
            await made.validations.close()
        gc.collect(1)
        assert unnoticed == []
        assert len(asyncio.all_tasks()) == 1
        return made.opened

    return asyncio.run(main())


def body(url: object) -> bytes:
    """The body of a request to open an address."""
    return json.dumps({"validationUrl": url}).encode()


@pytest.fixture(autouse=True)
def logged(monkeypatch: pytest.MonkeyPatch) -> LogCapture:
    """Captures what is logged, whatever other tests configured."""
    capture = LogCapture()
    logger = structlog.wrap_logger(None, processors=[capture], wrapper_class=structlog.BoundLogger)
    monkeypatch.setattr(validation, "_log", logger)
    return capture


def without_client() -> Validations:
    """Validations that open no address."""
    return Validations(lambda: NOW, lambda: 0.0)


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
    assert without_client().latest is None
    validations = without_client()
    assert validations.try_handle(body(ADOBES))
    assert validations.latest == ValidationRequest(ADOBES, NOW)
    assert [(entry["log_level"], entry["url"]) for entry in logged.entries] == [("warning", ADOBES)]


def test_the_latest_is_kept() -> None:
    """The latest of several requests is kept."""
    validations = without_client()
    validations.try_handle(body(ADOBES))
    validations.try_handle(body(URL + "?id=2"))
    assert validations.latest == ValidationRequest(URL + "?id=2", NOW)


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


@pytest.mark.parametrize(
    "other",
    [
        b"",
        b"ahoy",
        b"{}",
        b"[]",
        b"null",
        b'"validationUrl"',
        body(1),
        body(None),
        body([ADOBES]),
        body({"validationUrl": ADOBES}),
        b"[" + body(ADOBES) + b"]",
        b'{"validationUrl": "' + ADOBES.encode() + b'", "event": {}}',
        b'{"ValidationUrl": "' + ADOBES.encode() + b'"}',
        b'{"event": ' + body(ADOBES) + b"}",
        body(URL + "?id=" + "1" * 5000),
    ],
    ids=lambda other: repr(other)[:60],
)
def test_other_bodies(logged: LogCapture, other: bytes) -> None:
    """A body that holds anything else than an address is not a request for validation, and nothing is opened."""

    async def story(made: Story) -> None:
        assert not made.validations.try_handle(other)
        assert made.validations.latest is None

    assert play(story) == []
    assert logged.entries == []


@given(st.binary() | st.text().map(body) | st.text().map(lambda text: body(URL + text)))
def test_any_body(sent: bytes) -> None:
    """Only Adobe's address is kept and opened, whatever the body."""

    async def story(made: Story) -> None:
        made.validations.try_handle(sent)
        for _ in range(10):
            await asyncio.sleep(0)
        if made.validations.latest is not None:
            assert is_adobes(made.validations.latest.url)

    for opened in play(story):
        url = httpx.URL(opened)
        assert (url.scheme, url.netloc, url.path) == ("https", b"csm.adobe.io", "/csm/registrations/validate")


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


def test_at_most_once_a_minute(logged: LogCapture) -> None:
    """One address is opened a minute. Those in between are kept, and the log is not flooded."""

    async def story(made: Story) -> None:
        await made.request(URL + "?id=1")
        for number in range(2, 5):
            await made.request(f"{URL}?id={number}")
            assert made.validations.latest == ValidationRequest(f"{URL}?id={number}", NOW)
        made.now += 59
        await made.request(URL + "?id=5")
        made.now += 1
        await made.request(URL + "?id=6")

    assert play(story) == [URL + "?id=1", URL + "?id=6"]
    assert [entry["url"] for entry in logged.entries if "url" in entry] == [f"{URL}?id={id_}" for id_ in (1, 5)]


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
    """A failure to open the address is logged with the type of httpx's exception, without its text."""

    def answer(_request: httpx.Request) -> httpx.Response:
        raise error("made up")

    async def story(made: Story) -> None:
        made.answer = answer
        await made.request(ADOBES)

    play(story)
    assert (logged.entries[-1]["log_level"], logged.entries[-1]["reason"]) == ("warning", error.__name__)
    assert "made up" not in repr(logged.entries)


def test_close() -> None:
    """Closing does not wait for an address that is being opened, and can be repeated."""

    async def story(made: Story) -> None:
        made.gate.clear()
        await made.request(ADOBES)
        await made.validations.close()
        await made.validations.close()

    assert play(story) == [ADOBES]
