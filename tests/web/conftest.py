"""The application in this process, without a network, on a ledger of its own."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from exporter.commands.serve_settings import ServeSettings
from exporter.commands.settings import load
from exporter.ledger.sqlite import SqliteLedger
from exporter.metrics.flow_summaries import CurrentFlows
from exporter.metrics.fold import Fold
from exporter.service import build_app
from exporter.web.config import WebConfig

TOKEN = "a-token-made-up-for-tests"


class Application:
    """What `serve` is made of: the answer to each request, and what it left behind."""

    def __init__(
        self, folder: Path, *flags: str, max_body: int = 100_000, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.path = path = folder / "ledger.db"
        own = ["--series.hold=0s", f"--webhook.max-body={max_body}", f"--ledger.url=sqlite:///{path}"]
        settings, _ = load(ServeSettings, [*own, *flags], {})
        self.ledger = SqliteLedger(path)
        self._app = build_app(settings, self.ledger, WebConfig(), transport=transport)
        self.telemetry = self._app.telemetry

    async def router(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application of the main listener."""
        await self._app.main(scope, receive, send)

    def running(self) -> AbstractAsyncContextManager[None]:
        """The work in the background, and the last checkpoint at its end."""
        return self._app.running()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer to a request."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.router)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    def post(self, body: bytes | str, path: str = "/webhook", **headers: str) -> httpx.Response:
        """The answer to a delivery."""
        return self.request("POST", path, content=body, headers=headers)

    def metrics(self, query: str = "") -> str:
        """A scrape as text."""
        return self.request("GET", "/metrics" + query).text

    def bodies(self) -> list[bytes]:
        """The bodies of the ledger's entries."""
        return [entry.body for entry in self.ledger.read(0, 10_000)]

    def current_flows(self) -> CurrentFlows:
        """The flows on /metrics."""
        return self._app.follower.ask(Fold.current_flows)

    def close(self) -> None:
        """Close the application and its ledger."""
        self._app.close()
        self.ledger.close()


Make = Callable[..., Application]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes applications from flags of `serve`, and closes them after the test."""
    made: list[Application] = []

    def made_with(*flags: str, **options: Any) -> Application:
        application = Application(tmp_path, *flags, **options)
        made.append(application)
        return application

    yield made_with
    for application in made:
        application.close()


@pytest.fixture
def application(make: Make) -> Application:
    """An application without authentication."""
    return make()
