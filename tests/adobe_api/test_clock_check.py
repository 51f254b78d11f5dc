"""A known key is requested now and then, so that clocks are compared without deliveries."""

import asyncio
import contextlib
from collections.abc import Callable

import httpx
import pytest
import structlog
from structlog.testing import LogCapture

from exporter.adobe_api import clock_check as module
from exporter.adobe_api.clock_check import INTERVAL, ClockCheck
from exporter.adobe_api.clock_skew import ClockSkew
from exporter.adobe_api.http_client import AdobeClient
from tests.adobe.test_signature import HOST, PATH


def asked(
    path: str | None, answer: Callable[[httpx.Request], httpx.Response] = lambda _request: httpx.Response(200)
) -> list[str]:
    """The requests of one check where this path is trusted."""
    requests: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        requests.append(f"{request.method} {request.url}")
        return answer(request)

    async def ask() -> None:
        client = AdobeClient(HOST, httpx.MockTransport(handle), ClockSkew(lambda: 0.0))
        check = ClockCheck(client, HOST + "/", lambda: path)
        await check.ask()
        await check.close()

    asyncio.run(ask())
    return requests


def test_a_trusted_key_is_requested() -> None:
    """The headers of a key that has verified a delivery are requested."""
    assert asked(PATH) == [f"HEAD {HOST}{PATH}"]


@pytest.mark.parametrize("path", [None, "", "/", "@evil.example/prod/keys/pub-key-a.pem"])
def test_nothing_else_is_requested(path: str | None) -> None:
    """Where no key is trusted, and where the ledger holds something else, nothing is requested."""
    assert asked(path) == []


def test_a_failure_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check without an answer is logged with host and cause, and raises nothing. An answer of any status will do."""
    logged = LogCapture()
    monkeypatch.setattr(module, "_log", structlog.wrap_logger(None, processors=[logged]))

    def fail(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("made up")

    asked(PATH, lambda _request: httpx.Response(404))
    assert logged.entries == []
    asked(PATH, fail)
    assert [(entry["host"], entry["detail"]) for entry in logged.entries] == [
        (HOST.removeprefix("https://") + ":443", "it gave no answer within 4 s")
    ]


def test_every_quarter_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first check is at the start, and each later one a quarter of an hour after the one before."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise asyncio.CancelledError

    requests: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        requests.append(request.method)
        return httpx.Response(200)

    async def run() -> None:
        monkeypatch.setattr(asyncio, "sleep", pause)
        client = AdobeClient(HOST, httpx.MockTransport(handle), ClockSkew(lambda: 0.0))
        with contextlib.suppress(asyncio.CancelledError):
            await ClockCheck(client, HOST, lambda: PATH).run()

    asyncio.run(run())
    assert (pauses, requests) == ([INTERVAL] * 3, ["HEAD"] * 3)
    assert INTERVAL == 15 * 60
