"""The application in this process, on a ledger of its own."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Router

from exporter.adobe.payloads import ANOMALY_FIELDS, read
from exporter.flowrun import Result
from exporter.follow import Follower
from exporter.intake import Intake
from exporter.ledger.sqlite import SqliteLedger
from exporter.metrics.fold import Fold
from exporter.metrics.telemetry import Telemetry
from exporter.web.app import routes
from exporter.web.health import Ready
from exporter.web.pages import Landing
from exporter.web.scrape import Scrape
from exporter.web.webhook import AUTHENTICATION_FAILURES, Webhook

TOKEN = "a-token-made-up-for-tests"


class Application:
    """An exporter without a network: what each request gets, and what it left behind."""

    def __init__(self, folder: Path, token: str | None = None, max_body: int = 100_000) -> None:
        self.ledger = SqliteLedger(folder / "ledger.db")
        self.follower = Follower(self.ledger, Fold(0), read)
        self.telemetry = Telemetry(
            "1.2.3",
            sources=("webhook", "journal"),
            results=(Result.RECORDED, Result.DUPLICATE, Result.UNSUPPORTED, Result.UNREADABLE),
            authentication_failures=AUTHENTICATION_FAILURES,
            anomaly_fields=ANOMALY_FIELDS,
        )
        self.router: Router = routes(
            webhook=Webhook(
                Intake(self.ledger, self.ledger.now).record,
                self.ledger.now,
                self.telemetry,
                max_body=max_body,
                token=token,
            ),
            webhook_path="/webhook",
            takes_token=token is not None,
            scrape=Scrape(self.follower, self.telemetry),
            telemetry_path="/metrics",
            ready=Ready(self.follower),
            landing=Landing("1.2.3", "/metrics", "/webhook"),
        )

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request, answered."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.router)
            async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    def post(self, body: bytes | str, path: str = "/webhook", **headers: str) -> httpx.Response:
        """One delivery, answered."""
        return self.request("POST", path, content=body, headers=headers)

    def metrics(self, query: str = "") -> str:
        """A scrape as text."""
        return self.request("GET", "/metrics" + query).text

    def bodies(self) -> list[bytes]:
        """What the ledger holds."""
        return [entry.body for entry in self.ledger.read(0, 10_000)]

    def close(self) -> None:
        """Let go of the ledger."""
        self.follower.close()
        self.ledger.close()


Make = Callable[..., Application]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes applications, and closes them when the test is over."""
    made: list[Application] = []

    def build(**options: Any) -> Application:
        application = Application(tmp_path, **options)
        made.append(application)
        return application

    yield build
    for application in made:
        application.close()


@pytest.fixture
def application(make: Make) -> Application:
    """An application that takes anybody's word."""
    return make()
