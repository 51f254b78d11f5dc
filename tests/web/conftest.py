"""The application in this process, on a ledger of its own."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Router

from exporter.adobe.payloads import ANOMALY_FIELDS, read
from exporter.follower import Follower
from exporter.intake import Intake
from exporter.ledger.sqlite import SqliteLedger
from exporter.metrics.fold import Fold
from exporter.metrics.telemetry import Telemetry
from exporter.model import Result
from exporter.pages.landing import Landing
from exporter.web.app import build, health_routes, inner_routes, webhook_routes
from exporter.web.authentication import FAILURES, Authentication, NoAuthentication
from exporter.web.health import Ready
from exporter.web.scrape import Scrape
from exporter.web.validation import Validations
from exporter.web.webhook import Webhook
from tests.metrics.facts import limits

TOKEN = "a-token-made-up-for-tests"


class Application:
    """An exporter without a network: what each request gets, and what it left behind."""

    def __init__(
        self,
        folder: Path,
        authentication: Authentication | None = None,
        *,
        max_body: int = 100_000,
        takes_token: bool = False,
    ) -> None:
        self.ledger = SqliteLedger(folder / "ledger.db")
        self.follower = Follower(self.ledger, Fold(limits(0)), read)
        self.telemetry = Telemetry(
            "1.2.3",
            sources=("webhook", "journal"),
            results=(Result.RECORDED, Result.DUPLICATE, Result.UNSUPPORTED, Result.UNREADABLE),
            authentication_failures=FAILURES,
            anomaly_fields=ANOMALY_FIELDS,
        )
        intake = Intake(self.ledger, self.ledger.now)
        self.validations = Validations(self.ledger.now, time.monotonic)
        self.webhook = Webhook(
            intake.record,
            self.ledger.now,
            self.telemetry,
            authentication=authentication or NoAuthentication(),
            validations=self.validations,
            max_body=max_body,
        )
        self.router: Router = build(
            [
                *webhook_routes(self.webhook, "/webhook", takes_token=takes_token),
                *health_routes(Ready(self.follower, intake)),
                *inner_routes(
                    Scrape(self.follower, self.telemetry), "/metrics", Landing("1.2.3", "/metrics", "/webhook")
                ),
            ]
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

    def made_with(**options: Any) -> Application:
        application = Application(tmp_path, **options)
        made.append(application)
        return application

    yield made_with
    for application in made:
        application.close()


@pytest.fixture
def application(make: Make) -> Application:
    """An application that takes anybody's word."""
    return make()
