"""The first lines of the log of `serve`."""

import contextlib
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.commands.serve_report import report_start
from exporter.commands.serve_settings import ServeSettings
from exporter.commands.settings import load
from exporter.errors import LedgerUnavailableError
from exporter.ledger import Content
from exporter.ledger.sqlite import SqliteLedger
from exporter.web.config import WebConfig
from exporter.web.config import load as load_web
from tests.ledger import append, draft
from tests.web.web_config import HASH, TLS, write

SECRET = "s3cret-s3cret-s3cret"


def report(path: Path, *flags: str, web: WebConfig | None = None) -> list[MutableMapping[str, Any]]:
    """The lines for a ledger and flags. None of them has a secret."""
    settings, _ = load(ServeSettings, flags, {})
    with contextlib.closing(SqliteLedger(path)) as ledger, capture_logs() as logs:
        report_start(settings, ledger, web or WebConfig())
    assert "s3cret" not in repr(logs)
    assert HASH not in repr(logs)
    return logs


def test_which_ledger(folder: Path) -> None:
    """The first line has the absolute path, whether the ledger is new, its entries, its size, and how full it is."""
    path = Path("ledger.db")
    (new, *_) = report(path)
    assert (new["event"], new["ledger"], new["is_new"], new["entries"]) == (
        "using a ledger",
        str(folder / "ledger.db"),
        True,
        0,
    )
    assert "full" not in new
    with contextlib.closing(SqliteLedger(path)) as ledger:
        append(ledger, *(draft(body=b"x" * 10_000) for _ in range(5)))
    (old, *_) = report(path, "--ledger.max-size=1MiB")
    assert (old["is_new"], old["entries"], old["max_bytes"]) == (False, 5, 1024**2)
    assert 50_000 < old["bytes_used"] <= old["bytes_on_disk"]
    assert old["full"] == f"{100 * old['bytes_used'] // 1024**2}%"


def test_a_large_ledger(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the entries were not counted, the field says that the number is a bound."""
    monkeypatch.setattr(SqliteLedger, "content", lambda _: Content(2_000_000, is_exact=False, bytes_used=1))
    (line, *_) = report(folder / "ledger.db")
    assert line["entries_at_most"] == 2_000_000
    assert "entries" not in line


def test_a_ledger_that_can_not_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that can't be read at the start is named all the same, and does not keep `serve` from starting."""

    def fail(_: SqliteLedger) -> Content:
        raise LedgerUnavailableError("the disk fails")

    monkeypatch.setattr(SqliteLedger, "content", fail)
    (line, *_) = report(folder / "ledger.db")
    assert (line["log_level"], line["ledger"], line["detail"]) == (
        "warning",
        str(folder / "ledger.db"),
        "the disk fails",
    )


@pytest.mark.parametrize(
    ("flags", "fields"),
    [
        ([], {"method": "none"}),
        ([f"--webhook.token={SECRET}1,{SECRET}2"], {"method": "token", "tokens": 2}),
        (
            ["--webhook.client-id=s3cret1,s3cret2"],
            {"method": "adobe", "client_ids": 2, "allow_missing_client_id": False},
        ),
    ],
)
def test_who_may_deliver(folder: Path, flags: list[str], fields: dict[str, object]) -> None:
    """The second line says by which method senders are authenticated, and how many ids or tokens there are."""
    _, line, *_ = report(folder / "ledger.db", *flags)
    assert line == {"event": "the webhook authenticates senders", "log_level": "info", **fields}


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("", ("none", False, "none")),
        (f"basic_auth_users: {{s3cret: {HASH}}}", ("of 1 users", False, "none")),
        (TLS, ("none", True, "none")),
        (
            TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n",
            ("none", True, "required"),
        ),
        (
            TLS + "  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.crt\n",
            ("none", True, "verified if given"),
        ),
    ],
    ids=["nothing", "passwords", "tls", "client-certificates", "optional-certificates"],
)
def test_who_may_scrape(folder: Path, text: str, fields: tuple[object, ...]) -> None:
    """The third line says what authenticates who asks for metrics and pages."""
    _, _, line, *_ = report(folder / "ledger.db", web=load_web(write(folder, text)))
    assert (line["passwords"], line["tls"], line["client_certificates"]) == fields


@pytest.mark.parametrize(
    ("flags", "text", "fields"),
    [
        ([], "", ("full", "codes, explanations, messages and bodies", "none")),
        (["--web.listen-address=:0", f"--webhook.token={SECRET}"], "", ("summary", "codes and explanations", "none")),
        (
            ["--web.listen-address=:0", f"--webhook.token={SECRET}", "--web.external-url=https://monitor.example/"],
            f"basic_auth_users: {{s3cret: {HASH}}}",
            ("full", "codes, explanations, messages and bodies", "https://monitor.example"),
        ),
        (["--web.pages=off"], "", ("off", "nothing", "none")),
    ],
    ids=["loopback", "open", "passwords", "off"],
)
def test_what_pages_show(folder: Path, flags: list[str], text: str, fields: tuple[str, ...]) -> None:
    """The last line says what pages show, and where."""
    web = load_web(write(folder, text)) if text else None
    *_, line = report(folder / "ledger.db", *flags, web=web)
    assert (line["event"], line["mode"], line["shows"], line["external_url"]) == ("pages", *fields)
