"""`/` as a browser gets it from the running application."""

import json
import time
from urllib.parse import urljoin, urlsplit

import pytest

from exporter.errors import LedgerUnavailableError
from exporter.ledger.sqlite_queries import SqliteQueries
from exporter.web import scrape
from tests.web.conftest import Application, Make
from tests.web.test_pages import OPEN, page

ADOBE = "https://experience.adobe.com/#/"


def body(flow_id: str, run_id: str, status: str, *, seconds_ago: int = 60, **fields: object) -> str:
    """The notification of a run of a source."""
    ended = 1_000 * (int(time.time()) - seconds_ago)
    errors = [{"code": "CONNECTOR-1001-500", "message": "the secret of the source"}] if status == "failed" else []
    metrics = {
        "statusSummary": {"status": status, "errors": errors},
        "durationSummary": {"startedAtUTC": ended - 60_000, "completedAtUTC": ended},
    }
    return json.dumps(
        {"id": run_id, "flowId": flow_id, "sandboxName": "prod", "imsOrgId": "o@Org", "metrics": metrics, **fields}
    )


def test_the_page_follows_what_is_recorded(application: Application) -> None:
    """A failure is on the page with the first request after it, and leaves it with the next success."""
    assert "Nothing has been recorded yet" in page(application, "/").text
    application.post(body("f", "r1", "failed", seconds_ago=180))
    found = page(application, "/").text
    for expected in ("1 flow is failing", "CONNECTOR-1001-500", "the secret of the source", "3 min ago"):
        assert expected in found
    application.post(body("f", "r2", "success"))
    found = page(application, "/").text
    for expected in ("No flow is failing", "Recovered in the last 6 hours", "The last notification came"):
        assert expected in found
    assert "the secret of the source" not in found


@pytest.mark.parametrize("query", ["?sandbox=typo", "?kind=segment"])
def test_a_choice_that_no_flow_has(application: Application, query: str) -> None:
    """Where no flow is of the sandbox or the kind, the page does not say that none is failing."""
    application.post(body("f", "r1", "failed"))
    found = page(application, "/" + query).text
    assert "No such flow is on the metrics" in found
    assert "No flow is failing" not in found


def test_the_page_leads_on(application: Application) -> None:
    """It links to the flow, to the run, to the code, to Experience Platform, and to what the program serves besides."""
    application.post(body("a/b", "r/1", "failed", flowSpec={"name": "SourceFlow"}))
    links = set(page(application, "/").links)
    assert {
        "./flows/a%2Fb?sandbox=prod",
        "./runs/r%2F1",
        "./errors#code-CONNECTOR-1001-500",
        "./metrics",
        "./metrics?collect[]=flows",
        "./metrics?collect[]=exporter",
        "./-/healthy",
        "./-/ready",
    } <= links
    assert all(
        urlsplit(urljoin("http://localhost/", link)).netloc == "localhost" for link in links if ADOBE not in link
    )


@pytest.mark.parametrize(
    ("flags", "has_message"),
    [((), True), (OPEN, False), (("--web.pages=summary",), False)],
    ids=["full", "open", "summary"],
)
def test_messages_are_for_full_pages(make: Make, flags: tuple[str, ...], has_message: bool) -> None:
    """On an open port the page has codes and what they mean, and no message."""
    application = make(*flags)
    application.post(body("f", "r1", "failed"))
    found = page(application, "/").text
    assert "CONNECTOR-1001-500" in found
    assert ("the secret" in found) is has_message


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("sandbox=prod&kind=source", 200),
        ("sandbox=", 200),
        ("sandbox=%00%ff%f0%9f%98%80&utm_source=<script>", 200),
        ("sandbox=" + "x" * 3000, 200),
        ("sandbox=prod&sandbox=dev", 200),
        ("kind=", 200),
        ("kind=nothing", 400),
        ("kind=<script>", 400),
    ],
)
def test_parameters(application: Application, query: str, status: int) -> None:
    """A sandbox can be any text. A kind that does not exist is refused, with the kinds that do."""
    application.post(body("f", "r1", "failed"))
    found = page(application, f"/?{query}", status).text
    assert ("Kind is one of source, destination" in found) is (status == 400)
    assert "<script>" not in found


def test_the_webhook_is_named_without_its_token(make: Make) -> None:
    """An empty page says where Adobe posts to, and never with which secret."""
    application = make("--webhook.token=a-secret-for-tests-alone", "--webhook.path=/hook")
    found = page(application, "/").text
    assert "/hook/<token>" in found
    assert "a-secret" not in found


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the clock for scrapes is ahead, in a list of one."""
    ahead = [0.0]
    monkeypatch.setattr(scrape, "monotonic", lambda: time.monotonic() + ahead[0])
    return ahead


def test_a_missing_scrape_is_said(make: Make, later: list[float]) -> None:
    """Ten minutes after the start, and after the last scrape of flows, the page says that nobody scrapes."""
    application = make()
    text = "Nobody has asked this process for the metrics of flows"
    later[0] = 590
    assert text not in page(application, "/").text
    later[0] = 601
    assert text in page(application, "/").text
    for query, helps in (("?collect[]=exporter", False), ("?collect[]=flows", True)):
        application.metrics(query)
        assert (text not in page(application, "/").text) is helps
    later[0] = 1203
    assert text in page(application, "/").text
    application.request("HEAD", "/metrics")
    assert text in page(application, "/").text
    application.metrics()
    assert text not in page(application, "/").text


def test_a_ledger_that_can_not_be_read(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is a 503 that says why."""

    def fail(*_: object) -> None:
        raise LedgerUnavailableError("the disk is gone")

    monkeypatch.setattr(SqliteQueries, "runs", fail)
    assert "The disk is gone." in page(application, "/", 503).text


def test_a_write_that_failed_is_said(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """While notifications can't be recorded, the page says so and why."""
    with monkeypatch.context() as patched:

        async def fail(*_: object) -> None:
            raise LedgerUnavailableError("the disk is full: make room")

        patched.setattr(type(application.ledger), "append", fail)
        assert application.post(body("f", "r1", "failed")).status_code == 503
        assert "could not be recorded: the disk is full: make room." in page(application, "/").text
    assert application.post(body("f", "r1", "failed")).status_code == 200
    assert "could not be recorded" not in page(application, "/").text


def test_without_pages_the_landing_page_stays(make: Make) -> None:
    """With --web.pages=off the address names the routes, and nothing of a flow."""
    application = make("--web.pages=off")
    application.post(body("f", "r1", "failed"))
    found = page(application, "/")
    assert "./metrics" in found.links
    assert "failing" not in found.text
