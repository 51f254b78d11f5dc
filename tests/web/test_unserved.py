"""What no endpoint sees is counted, and logged so that a wrong registration can be found."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import bcrypt
import httpx
import pytest
import structlog

from exporter.ledger import Ledger
from exporter.web.config import WebConfig
from tests.test_service import built, ledger
from tests.web.conftest import TOKEN, Application, Make

__all__ = ["ledger"]


def counted(application: Application) -> float:
    """How many requests came to paths that do not exist."""
    line = next(
        line
        for line in application.metrics("?collect[]=exporter").splitlines()
        if line.startswith("aep_exporter_http_not_found_total ")
    )
    return float(line.split()[1])


def logged(logs: list[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    """The lines about paths that do not exist."""
    return [each for each in logs if "path that does not exist" in each["event"]]


@pytest.mark.parametrize(
    "path", ["/", "/adobe", "/Webhook", "/webhook2", "//webhook", "/metrics", "/-/ready", "/webhook/x"]
)
def test_a_delivery_to_a_wrong_path(application: Application, path: str) -> None:
    """A POST that does not go to the webhook is counted, and the log names the webhook's path."""
    with structlog.testing.capture_logs() as logs:
        assert application.post(b"{}", path).status_code in {404, 405}
        (line,) = logged(logs)
    assert (line["log_level"], line["method"], line["webhook"]) == ("warning", "POST", "/webhook")
    assert counted(application) == 1


def test_the_webhook_itself_is_not_counted(make: Make) -> None:
    """Neither a delivery nor a wrong token is a wrong path."""
    application = make(f"--webhook.token={TOKEN}")
    with structlog.testing.capture_logs() as logs:
        assert application.post(b"{}", f"/webhook/{TOKEN}").status_code == 200
        assert application.post(b"{}", "/webhook/wrong").status_code == 401
        assert application.post(b"{}", "/webhook").status_code == 401
        assert application.request("PUT", f"/webhook/{TOKEN}").status_code == 405
    assert logged(logs) == []
    assert counted(application) == 0


@pytest.mark.parametrize("path", [f"/webhok/{TOKEN}", f"/{TOKEN}", f"/a?token={TOKEN}", f"/a?challenge={TOKEN}"])
def test_the_log_holds_nothing_of_the_path(make: Make, path: str) -> None:
    """A path that was mistyped may hold the token, and so may the query."""
    application = make(f"--webhook.token={TOKEN}")
    with structlog.testing.capture_logs() as logs:
        application.post(b"{}", path)
        application.request("GET", path)
    assert TOKEN not in str(logs)
    assert "/webhook/<token>" in str(logged(logs))


def test_a_challenge_to_a_wrong_path(application: Application) -> None:
    """A registration's challenge to a page is counted, though the page is there."""
    with structlog.testing.capture_logs() as logs:
        assert application.request("GET", "/?challenge=abc").status_code == 200
        assert len(logged(logs)) == 1
        assert application.request("GET", "/webhook?challenge=abc").text == "abc"
        assert application.request("GET", "/").status_code == 200
    assert counted(application) == 1


def test_logged_sparingly(application: Application) -> None:
    """Many requests to wrong paths are counted one by one and leave one line of each kind."""
    with structlog.testing.capture_logs() as logs:
        for number in range(50):
            application.request("GET", f"/{number}")
            application.post(b"{}", f"/{number}")
    assert [line["log_level"] for line in logged(logs)] == ["info", "warning"]
    assert counted(application) == 100


def test_passwords_hide_no_delivery(ledger: Ledger) -> None:
    """A delivery to a wrong path is counted where passwords protect that path, too."""
    users = {"prometheus": bcrypt.hashpw(b"made up", bcrypt.gensalt(4)).decode()}
    with built(ledger, web=WebConfig(users=users)) as app, structlog.testing.capture_logs() as logs:

        async def post() -> int:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app.main), base_url="http://x") as client:
                return (await client.post("/adobe", content=b"{}")).status_code

        assert asyncio.run(post()) == 401
        assert len(logged(logs)) == 1


def test_both_listeners_count(ledger: Ledger) -> None:
    """With a listener of the webhook's own, each counts, and the log says which one has the webhook."""
    with built(ledger, "--webhook.listen-address=127.0.0.1:1") as app, structlog.testing.capture_logs() as logs:

        async def post() -> None:
            for listener, path in ((app.main, "/webhook"), (app.webhook, "/adobe"), (app.webhook, "/webhook")):
                assert listener is not None
                async with httpx.AsyncClient(transport=httpx.ASGITransport(listener), base_url="http://x") as client:
                    await client.post(path, content=b"{}")

        asyncio.run(post())
        samples = next(iter(app.telemetry.http_not_found.collect())).samples
        assert [each.value for each in samples if each.name.endswith("_total")] == [2]
        assert logged(logs)[0]["webhook"] == "/webhook at 127.0.0.1:1"


def test_refused_connections(ledger: Ledger) -> None:
    """Each closed connection is counted, and few are logged."""
    with built(ledger) as app, structlog.testing.capture_logs() as logs:
        for _ in range(3):
            app.unserved.count_refused_connection()
        samples = next(iter(app.telemetry.connections_refused.collect())).samples
        assert [each.value for each in samples if each.name.endswith("_total")] == [3]
    assert len(logs) == 1
