"""`/status`, `/notifications` and `/errors`: how the exporter is, what it refused, and which flows fail with a code."""

import json
import re
from html import unescape
from pathlib import Path
from typing import NoReturn

import pytest

from exporter.commands.serve_settings import ServeSettings
from exporter.commands.settings import load
from exporter.commands.settings_in_force import settings_in_force
from exporter.errors import LedgerUnavailableError
from exporter.follower import Follower
from exporter.ledger.sqlite import SqliteLedger
from exporter.ledger.sqlite_queries import SqliteQueries
from exporter.reasons import REFUSALS
from exporter.refused import MAX_KEPT, MAX_KEPT_OF_REASON, RefusedDeliveries
from exporter.web.authentication import FAILURES
from exporter.web.origin import REFUSALS as OF_WEB_PAGES
from exporter.web.webhook import TOO_LARGE
from tests.web.conftest import TOKEN, Application, Make
from tests.web.test_home import body
from tests.web.test_pages import OPEN, page

SECRET = "made-up-and-secret"


def words(application: Application, path: str = "/status") -> str:
    """The text of a page, on one line."""
    page(application, path)
    return " ".join(unescape(re.sub("<[^>]+>", " ", application.request("GET", path).text)).split())


def test_the_page_says_how_the_exporter_is(application: Application) -> None:
    """It has a line for each part, with numbers that say since when."""
    application.post(body("f", "r1", "failed"))
    application.post("[1]")
    application.metrics()
    found = words(application)
    for expected in (
        "aep-flow-exporter",
        "Webhook /webhook",
        "Authentication none",
        "Last webhook",
        "State ok",
        "Entries 2, since",
        "Flows ok, 1 of 2,000",
        "Checkpoint none yet",
        "Not understood since the start unreadable 1",
        "No request to the webhook was refused.",
        "Settings in force",
    ):
        assert expected in found, expected


def unavailable(*_: object) -> NoReturn:
    """What a ledger does whose disk is gone."""
    raise LedgerUnavailableError("the ledger can't be read: the disk is gone")


def test_the_page_explains_faults_instead_of_failing(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the ledger can't be read, or the metrics are not at its head, the page is there and says why."""
    application.post(body("f", "r1", "failed"))
    monkeypatch.setattr(Follower, "is_far_behind", lambda _: True)
    found = words(application)
    assert "attention: the metrics are being brought to the ledger's head" in found
    assert "Entries 1, since" in found
    for method in ("head", "content", "now"):
        monkeypatch.setattr(SqliteLedger, method, unavailable)
    for method in ("oldest_entry_at", "last_deliveries"):
        monkeypatch.setattr(SqliteQueries, method, unavailable)
    found = words(application)
    assert "attention: the ledger can't be read: the disk is gone" in found
    assert "Entries not known" in found
    assert "Settings in force" in found


def test_a_defect_while_following_is_said(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the metrics can't be computed because of a defect, the page says that the log describes it."""

    def fail(_: object) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(Follower, "catch_up", fail)
    assert "because of a defect, which the log describes" in words(application)


def test_no_secret_is_shown(tmp_path: Path, make: Make) -> None:
    """Of a setting that is a secret the page says that it is set. Others are shown as people write them."""
    application = make(
        f"--webhook.token={TOKEN}",
        f"--adobe.keys-url=https://{SECRET}.example",
        "--ledger.retention=400d",
        "--series.ttl=36h",
        "--ledger.max-size=3GiB",
    )
    found = words(application)
    given, _, others = found.partition("settings have their defaults")
    assert "--webhook.token (set)" in given
    assert "--adobe.keys-url (set)" in given
    assert "--series.ttl 36h" in given
    assert "--ledger.retention 400d" in given
    assert "--ledger.max-size 3GiB" in given
    assert "--web.telemetry-path /metrics" in others
    assert "/webhook/<token>" in found
    for path in ("/status", "/api/v1/status"):
        text = application.request("GET", path).text
        assert TOKEN not in text
        assert SECRET not in text


def test_settings_are_written_as_they_are_given(tmp_path: Path) -> None:
    """What the page shows of each setting can be given to the flag again, and means the same."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{SECRET}-1-long-enough\n{SECRET}-2-long-enough\n")
    given = [
        f"--webhook.token-file={tokens}",
        "--webhook.allow-unauthenticated",
        "--web.listen-address=[::1]:1",
        "--series.hold=1500ms",
        "--web.external-url=https://monitor.example/aep",
        "--log.level=debug",
    ]
    settings, _ = load(ServeSettings, given, {})
    shown = settings_in_force(settings)
    assert all(SECRET not in (each.value or "") for each in shown)
    again = [f"{each.flag}={each.value}" for each in shown if each.value is not None and each.value != "(set)"]
    found, _ = load(ServeSettings, [*again, given[0]], {})
    assert found == settings
    assert {each.flag for each in shown if not each.is_default} == {flag.partition("=")[0] for flag in given}


def test_every_refusal_is_explained() -> None:
    """Each reason for which a request to the webhook is refused for good has a sentence."""
    assert set(REFUSALS) == {*FAILURES, *OF_WEB_PAGES, *TOO_LARGE}


def test_refused_notifications_are_listed(make: Make) -> None:
    """The list has what was refused, with the reason and the sender, between what was not understood."""
    application = make(f"--webhook.token={TOKEN}", max_body=1000)
    assert application.post(SECRET, path=f"/webhook/{SECRET}").status_code == 401
    assert application.post("[1]", path=f"/webhook/{TOKEN}").status_code == 200
    assert application.post(" " * 2000, path=f"/webhook/{TOKEN}").status_code == 413
    found = words(application, "/notifications")
    for expected in (
        "Refused: its path does not end in a token",
        "127.0.0.1",
        "Refused: it is larger than",
        "unreadable",
    ):
        assert expected in found, expected
    assert found.index("body_too_large") < found.index("unreadable") < found.index("Refused: its path")
    assert SECRET not in found
    assert TOKEN not in found
    status = words(application)
    assert "Refused since the start token 1" in status


def test_requests_of_web_pages_are_listed(application: Application) -> None:
    """A delivery that a page of another site caused is in the list, too."""
    assert application.post("{}", origin="https://evil.example").status_code == 403
    assert "a page of another site sent it" in words(application, "/notifications")


def test_a_flood_hides_no_other_reason() -> None:
    """Of each reason some are remembered, and of all a bounded number: the newest."""
    now = [0]
    refused = RefusedDeliveries(lambda: now[0])
    refused.add("client_id", "10.0.0.1")
    for number in range(1000):
        now[0] = number + 1
        refused.add("token", f"10.1.{number // 256}.{number % 256}")
    latest = refused.latest()
    assert len(latest) == MAX_KEPT_OF_REASON + 1
    assert [each.reason for each in latest] == ["token"] * MAX_KEPT_OF_REASON + ["client_id"]
    assert [each.refused_at for each in latest[:2]] == [1000, 999]
    for reason in range(50):
        for _ in range(MAX_KEPT_OF_REASON):
            refused.add(f"reason-{reason}", "")
    assert len(refused.latest()) == MAX_KEPT


def test_errors_name_the_flows_that_fail(application: Application) -> None:
    """Each code has the flows that fail with it now, with links, and others lead to its line."""
    application.post(f"[{','.join(body(f'flow-{number}', f'r{number}', 'failed') for number in range(7))}]")
    application.post(body("flow-0", "r-good", "success"))
    found = page(application, "/errors")
    text = " ".join(found.text.split())
    assert "6 flows since" in text
    assert "and 1 more" in text
    assert len([link for link in found.links if link.startswith("./flows/flow-")]) == 5
    assert 'id="code-CONNECTOR-1001-500"' in application.request("GET", "/errors").text


def test_a_code_that_only_the_metrics_know(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure without a code, and a code whose runs were pruned, are listed as long as a flow fails with them."""
    application.post(body("f", "r1", "failed"))
    made = json.loads(body("g", "r2", "failed"))
    made["metrics"]["statusSummary"]["errors"] = []
    application.post(json.dumps(made))
    monkeypatch.setattr(SqliteQueries, "codes", lambda *_: ())
    text = words(application, "/errors")
    assert "no code The run failed" in text
    assert "not in the ledger" in text


def test_a_summary_says_so(make: Make) -> None:
    """On an open port the status page says what pages leave out."""
    application = make(*OPEN)
    text = application.request("GET", "http://monitor.example/status").text
    assert "but no messages and no bodies" in " ".join(text.split())
