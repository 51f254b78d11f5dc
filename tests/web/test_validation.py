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
from exporter.web.validation import Asked, Validations, is_adobes

URL: Final = "https://csm.adobe.io/csm/registrations/validate"
ASKED: Final = URL + "?id=0d9e3a6c-1f2b-4c5d-8e7f-a0b1c2d3e4f5&challenge=6b7c8d9e-0f1a-4b2c-9d3e-4f5a6b7c8d9e"
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
    """Validations, what they open and when: a clock, and Adobe's answers."""

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

    async def ask(self, url: str) -> None:
        """Adobe, or somebody, asks for this to be opened."""
        assert self.validations.try_handle(body(url))
        for _ in range(20):
            await asyncio.sleep(0)


def play(story: Callable[[Story], Awaitable[None]], *, opens: bool = True) -> list[str]:
    """What was opened; nothing that went wrong on the way may go unnoticed."""

    async def main() -> list[str]:
        unnoticed: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unnoticed.append(context))
        told = Story(opens=opens)
        async with told.client:
            await story(told)
            await told.validations.close()
        gc.collect(1)
        assert unnoticed == []
        assert len(asyncio.all_tasks()) == 1
        return told.opened

    return asyncio.run(main())


def body(url: object) -> bytes:
    """The body in which somebody asks for an address to be opened."""
    return json.dumps({"validationUrl": url}).encode()


@pytest.fixture(autouse=True)
def logged(monkeypatch: pytest.MonkeyPatch) -> LogCapture:
    """What is logged, whatever other tests did to the logs."""
    capture = LogCapture()
    logger = structlog.wrap_logger(None, processors=[capture], wrapper_class=structlog.BoundLogger)
    monkeypatch.setattr(validation, "_log", logger)
    return capture


def noting() -> Validations:
    """Validations that open nothing."""
    return Validations(lambda: NOW, lambda: 0.0)


@pytest.mark.parametrize("url", [ASKED, URL + "?id=1", URL + "?id=1&challenge=%2F%0A&x=https://evil.com/@"])
def test_adobes_address(url: str) -> None:
    """The address at which Adobe confirms webhooks is Adobe's, whatever it asks there."""
    assert is_adobes(url)


@pytest.mark.parametrize("name", LOOKALIKES)
def test_a_lookalike(name: str) -> None:
    """An address that only looks like Adobe's is not Adobe's."""
    assert not is_adobes(LOOKALIKES[name])


@given(st.text())
def test_anything_before_it(text: str) -> None:
    """Nothing before Adobe's address makes another one that is believed."""
    assert is_adobes(text + ASKED) is (text == "")


@given(st.sampled_from(["https://", "https://csm.adobe.io", URL, URL + "?"]), st.text())
def test_anything_after_it(start: str, text: str) -> None:
    """What is believed is of Adobe's host and path for whoever reads it, ours or httpx."""
    if is_adobes(start + text):
        parts = urlsplit(start + text)
        assert (parts.scheme, parts.hostname, parts.path) == ("https", "csm.adobe.io", "/csm/registrations/validate")
        url = httpx.URL(start + text)
        assert (url.scheme, url.host, url.port, url.path) == ("https", parts.hostname, None, parts.path)
        assert url.userinfo == b""


def test_note(logged: LogCapture) -> None:
    """Adobe's request is kept with its time and logged, so that somebody can open the address."""
    assert noting().latest is None
    validations = noting()
    assert validations.try_handle(body(ASKED))
    assert validations.latest == Asked(ASKED, NOW)
    assert [(entry["log_level"], entry["url"]) for entry in logged.entries] == [("warning", ASKED)]


def test_the_latest_is_kept() -> None:
    """Of several requests the latest is kept."""
    validations = noting()
    validations.try_handle(body(ASKED))
    validations.try_handle(body(URL + "?id=2"))
    assert validations.latest == Asked(URL + "?id=2", NOW)


@pytest.mark.parametrize("name", LOOKALIKES)
def test_a_lookalike_is_not_noted(logged: LogCapture, name: str) -> None:
    """An address that is not Adobe's is dealt with, but neither kept nor logged nor opened, and displaces none."""

    async def story(told: Story) -> None:
        await told.ask(LOOKALIKES[name])
        assert told.validations.latest is None
        assert LOOKALIKES[name] == "" or LOOKALIKES[name] not in repr(logged.entries)
        assert "evil" not in repr(logged.entries)
        await told.ask(ASKED)
        await told.ask(LOOKALIKES[name])
        assert told.validations.latest == Asked(ASKED, NOW)

    assert play(story) == [ASKED]


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
        body([ASKED]),
        body({"validationUrl": ASKED}),
        b"[" + body(ASKED) + b"]",
        b'{"validationUrl": "' + ASKED.encode() + b'", "event": {}}',
        b'{"ValidationUrl": "' + ASKED.encode() + b'"}',
        b'{"event": ' + body(ASKED) + b"}",
        body(URL + "?id=" + "1" * 5000),
    ],
    ids=lambda other: repr(other)[:60],
)
def test_what_asks_for_nothing(logged: LogCapture, other: bytes) -> None:
    """A body that holds anything but an address is no such request: it is an event, and nothing is opened."""

    async def story(told: Story) -> None:
        assert not told.validations.try_handle(other)
        assert told.validations.latest is None

    assert play(story) == []
    assert logged.entries == []


@given(st.binary() | st.text().map(body) | st.text().map(lambda text: body(URL + text)))
def test_any_body(sent: bytes) -> None:
    """Whatever anybody sends, only Adobe's address is kept and opened."""

    async def story(told: Story) -> None:
        told.validations.try_handle(sent)
        for _ in range(10):
            await asyncio.sleep(0)
        if told.validations.latest is not None:
            assert is_adobes(told.validations.latest.url)

    for opened in play(story):
        url = httpx.URL(opened)
        assert (url.scheme, url.netloc, url.path) == ("https", b"csm.adobe.io", "/csm/registrations/validate")


def test_opening(logged: LogCapture) -> None:
    """With a client Adobe's address is opened as it came, once, and that is logged with the answer's status."""

    async def story(told: Story) -> None:
        await told.ask(ASKED)

    assert play(story) == [ASKED]
    assert logged.entries[-1]["status"] == 200


def test_not_opening() -> None:
    """Without a client nothing is opened: the address is kept for people."""

    async def story(told: Story) -> None:
        await told.ask(ASKED)
        assert told.validations.latest == Asked(ASKED, NOW)

    assert play(story, opens=False) == []


def test_at_most_once_a_minute(logged: LogCapture) -> None:
    """One address is opened a minute; those between are kept and left to people, and the log is not flooded."""

    async def story(told: Story) -> None:
        await told.ask(URL + "?id=1")
        for number in range(2, 5):
            await told.ask(f"{URL}?id={number}")
            assert told.validations.latest == Asked(f"{URL}?id={number}", NOW)
        told.now += 59
        await told.ask(URL + "?id=5")
        told.now += 1
        await told.ask(URL + "?id=6")

    assert play(story) == [URL + "?id=1", URL + "?id=6"]
    assert [entry["url"] for entry in logged.entries if "url" in entry] == [f"{URL}?id={id_}" for id_ in (1, 5)]


def test_lookalikes_do_not_use_the_minute_up() -> None:
    """Strangers who ask for other addresses do not keep Adobe's from being opened."""

    async def story(told: Story) -> None:
        for lookalike in LOOKALIKES.values():
            await told.ask(lookalike)
        await told.ask(ASKED)

    assert play(story) == [ASKED]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["https://evil.com/", "http://127.0.0.1/", URL + "?id=2", "//evil.com", ""])
def test_redirects_are_not_followed(location: str, status: int) -> None:
    """Where Adobe's address points elsewhere, nobody goes there."""

    async def story(told: Story) -> None:
        told.answer = lambda _request: httpx.Response(status, headers={"location": location})
        await told.ask(ASKED)

    assert play(story) == [ASKED]


@pytest.mark.parametrize("status", [301, 400, 404, 500])
def test_a_refusal_is_logged(logged: LogCapture, status: int) -> None:
    """An answer that does not confirm is logged as a failure, with its status."""

    async def story(told: Story) -> None:
        told.answer = lambda _request: httpx.Response(status)
        await told.ask(ASKED)

    play(story)
    assert logged.entries[-1]["status"] == status
    assert logged.entries[-1]["log_level"] == "warning"


@pytest.mark.parametrize(
    "error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.ReadError]
)
def test_a_failure_is_logged(logged: LogCapture, error: type[httpx.HTTPError]) -> None:
    """A failure to open the address is logged without the text of somebody else's error, and hurts nobody."""

    def answer(_request: httpx.Request) -> httpx.Response:
        raise error("made up")

    async def story(told: Story) -> None:
        told.answer = answer
        await told.ask(ASKED)

    play(story)
    assert (logged.entries[-1]["log_level"], logged.entries[-1]["reason"]) == ("warning", error.__name__)
    assert "made up" not in repr(logged.entries)


def test_close() -> None:
    """The end does not wait for an address that is being opened."""

    async def story(told: Story) -> None:
        told.gate.clear()
        await told.ask(ASKED)
        await told.validations.close()
        await told.validations.close()

    assert play(story) == [ASKED]
