"""The first lines that `serve` logs: which ledger it uses, and what authenticates whom. They hold no secret."""

from collections.abc import Mapping
from typing import Any

import structlog

from exporter.commands.serve_settings import PagesMode, ServeSettings
from exporter.errors import LedgerUnavailableError
from exporter.ledger import Ledger
from exporter.web.config import WebConfig

_log: structlog.stdlib.BoundLogger = structlog.get_logger("serve")


def report_start(settings: ServeSettings, ledger: Ledger, web: WebConfig) -> None:
    """Log a line about the ledger, one about each kind of client and one about the pages. Blocking."""
    _report_ledger(ledger, settings.ledger_max_size)
    _log.info("the webhook authenticates senders", method=settings.authentication, **_senders(settings))
    _log.info(
        "metrics and pages authenticate clients",
        passwords=f"of {len(web.users)} users" if web.users else "none",
        tls=web.tls is not None,
        client_certificates=_CLIENT_CERTIFICATES[web.tls.client_auth_type if web.tls is not None else "NoClientCert"],
    )
    mode = settings.pages(has_passwords=bool(web.users))
    _log.info("pages", mode=mode, shows=_SHOWN[mode], external_url=settings.web_external_url or "none")


_SHOWN: Mapping[PagesMode, str] = {
    "full": "codes, explanations, messages and bodies",
    "summary": "codes and explanations",
    "off": "nothing",
}


_CLIENT_CERTIFICATES = {
    "NoClientCert": "none",
    "VerifyClientCertIfGiven": "verified if given",
    "RequireAndVerifyClientCert": "required",
}
"""What the log calls Go's names."""


def _report_ledger(ledger: Ledger, max_size: int | None) -> None:
    about: dict[str, Any] = {"ledger": ledger.location, "is_new": ledger.was_created}
    try:
        content = ledger.content()
        about["entries" if content.is_exact else "entries_at_most"] = content.entries
        about["bytes_on_disk"] = ledger.size()
    except LedgerUnavailableError as error:
        _log.warning("using a ledger that can't be read yet", **about, detail=str(error))
        return
    if max_size is not None:
        about["bytes_used"] = content.bytes_used
        about["max_bytes"] = max_size
        about["full"] = f"{100 * content.bytes_used // max(max_size, 1)}%"
    _log.info("using a ledger", **about)


def _senders(settings: ServeSettings) -> dict[str, Any]:
    match settings.authentication:
        case "adobe":
            return {
                "client_ids": len(settings.webhook_client_id or ()),
                "allow_missing_client_id": settings.webhook_allow_missing_client_id,
            }
        case "token":
            return {"tokens": len(settings.tokens)}
        case "none":
            return {}
