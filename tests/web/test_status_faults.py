"""`/status` while something is wrong, and what it does not show to everybody."""

import re
import threading
import time
from pathlib import Path
from typing import NoReturn

import httpx
import pytest

from exporter.errors import LedgerMissingError, LedgerUnavailableError
from exporter.follower import Follower
from exporter.ledger.sqlite import SqliteLedger
from exporter.ledger.sqlite_queries import SqliteQueries
from exporter.pages.asking import ANSWER
from tests.web.conftest import TOKEN, Application, Make
from tests.web.test_pages import HTML, OPEN, page

CLIENT_ID = "0123456789abcdef0123456789abcdef"
VALIDATION = "https://csm.adobe.io/csm/registrations/validate?id=made-up-id"


def status(application: Application) -> httpx.Response:
    """The answer with the page."""
    return application.request("GET", "/status", headers=HTML)


def test_the_page_is_there_while_metrics_are_busy(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the metrics answer nothing, each question about them is given up in time for the page to be shown."""
    may_go_on = threading.Event()
    catch_up = Follower.catch_up

    def wait(follower: Follower) -> int:
        may_go_on.wait()
        return catch_up(follower)

    monkeypatch.setattr(Follower, "catch_up", wait)
    try:
        started = time.monotonic()
        found = status(application)
        taken = time.monotonic() - started
    finally:
        may_go_on.set()
    assert found.status_code == 200
    assert "the metrics were busy for too long" in found.text
    assert taken < ANSWER


def test_what_is_wrong_with_the_process_is_said_without_the_ledger(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the ledger can't be read, the page still says what is wrong with the process, such as its clock."""

    def unavailable(*_: object) -> NoReturn:
        raise LedgerUnavailableError("the disk is gone")

    for method in ("head", "content", "now"):
        monkeypatch.setattr(SqliteLedger, method, unavailable)
    monkeypatch.setattr(Follower, "skipped", 3)
    found = page(application, "/status").text
    assert "the disk is gone" in found
    assert "3 entries of the ledger can't be read" in found


def test_scrapes(application: Application) -> None:
    """The page says that no scrape came since the start, and when the last one came. The exporter's half is none."""
    application.metrics("?collect[]=exporter")
    assert "none since the start" in page(application, "/status").text
    application.metrics()
    found = page(application, "/status").text
    assert "none since the start" not in found
    assert re.search(r"Last scrape\s*ok, \d{4}-", found)


def test_refused_deliveries_are_counted_by_reason(make: Make) -> None:
    """Each delivery that was refused for good counts, also one that is too large. A refused scrape is no delivery."""
    application = make(f"--webhook.token={TOKEN}", max_body=1000)
    application.post("{}")
    for _ in range(30):
        application.post("x" * 1001, f"/webhook/{TOKEN}")
    assert application.request("GET", "/metrics", headers={"host": "elsewhere.example"}).status_code == 421
    found = status(application).text
    counts = dict(row.split("</code></dt><dd>") for row in found.replace("</dd>", "\n").split("<dt><code>")[1:3])
    assert {reason: count.split()[0] for reason, count in counts.items()} == {"token": "1", "body_too_large": "30"}
    assert "foreign_host" not in found
    assert TOKEN not in found


@pytest.mark.parametrize(("mode", "is_shown"), [("full", True), ("summary", False)])
def test_a_summary_names_no_file_address_or_id(make: Make, tmp_path: Path, mode: str, is_shown: bool) -> None:
    """A page that anybody may open shows no names of files, no addresses and no ids. Numbers and modes are there."""
    application = make(*OPEN[:1], f"--webhook.client-id={CLIENT_ID}", f"--web.pages={mode}", "--series.ttl=20d")
    application.post(f'{{"validationUrl": "{VALIDATION}"}}')
    application.post("{}")
    found = status(application).text
    for private in (str(tmp_path), CLIENT_ID, VALIDATION, ":10464</code>"):
        assert (private in found) == is_shown, private
    assert all(text in found for text in ("20d", "--webhook.client-id", "signature_missing", f">{mode}<"))
    listed = page(application, "/notifications").text
    assert "signature_missing" in listed
    assert ("127.0.0.1" in listed) == is_shown


@pytest.mark.parametrize("mode", ["full", "summary"])
@pytest.mark.parametrize(
    "path",
    ["/runs", "/runs/r1", "/notifications", "/status", "/api/v1/runs", "/api/v1/notifications", "/api/v1/status"],
)
def test_a_ledger_that_was_moved_is_not_described_by_its_neighbours(
    make: Make, monkeypatch: pytest.MonkeyPatch, mode: str, path: str
) -> None:
    """While the ledger's file is missing, no page names files beside it or advises flags, and a summary names none."""
    application = make(f"--web.pages={mode}")

    def missing(*_: object) -> NoReturn:
        raise LedgerMissingError("There is no ledger at /secret/place.db. Ledgers near it: /secret/other.db")

    def unavailable(*_: object) -> NoReturn:
        raise LedgerUnavailableError("the file place.db was moved or deleted")

    for method in ("runs", "run", "not_understood", "oldest_entry_at"):
        monkeypatch.setattr(SqliteQueries, method, missing)
    for method in ("content", "now"):
        monkeypatch.setattr(SqliteLedger, method, unavailable)
    text = application.request("GET", path).text
    assert "other.db" not in text
    assert "/secret" not in text
    assert mode == "full" or "place.db" not in text
