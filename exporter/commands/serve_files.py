"""The files of `serve` that are read again while it runs: `--web.config.file` and what it names, and the tokens' file.

A new version never takes protection away that was there at the start. TLS is neither switched on nor off, as in
exporter-toolkit, because a listener speaks one of the two. Passwords and client certificates can be asked for, and be
changed, but a version that no longer asks for any is refused until a restart: a file that was emptied by mistake
must not open the metrics to everybody.
"""

import ssl
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import structlog
from cryptography import x509

from exporter import parsers
from exporter.commands.serve_settings import ServeSettings
from exporter.errors import SettingsError
from exporter.reloading import Note, Source
from exporter.web.config import WebConfig, load
from exporter.web.tls import read_certificate, why_outdated

_log: structlog.stdlib.BoundLogger = structlog.get_logger("reload")

WEB: Final = "--web.config.file"
TOKENS: Final = "--webhook.token-file"


class Protected(Protocol):
    """What has passwords, headers and tokens that can be replaced."""

    def use_web_config(self, web: WebConfig) -> None:
        """Use another version of the web configuration from the next request on."""
        ...

    def use_tokens(self, tokens: tuple[str, ...]) -> None:
        """Accept these tokens from the next request on, and no others."""
        ...


class _Web(NamedTuple):
    """A version of the web configuration, with the TLS context that was made of its files."""

    config: WebConfig
    context: ssl.SSLContext | None
    certificate: x509.Certificate | None = None

    @property
    def problem(self) -> str | None:
        """Why its certificate is not valid now."""
        return why_outdated(self.certificate, datetime.now(UTC)) if self.certificate is not None else None


class ServeFiles:
    """The versions that are in force."""

    def __init__(self, settings: ServeSettings) -> None:
        """Read the web configuration. The settings have read the tokens. Blocking. Raises SettingsError."""
        self._settings = settings
        self._web = _Web(WebConfig(), None)
        if settings.web_config_file is not None:
            self._web = self._load_web(settings.web_config_file, lambda _label, _path: None)
            if self._web.problem is not None:
                # Prometheus can be told not to verify certificates, so the metrics can still be of use.
                _log.warning("the certificate is not valid", detail=self._web.problem)

    @property
    def web(self) -> WebConfig:
        """The web configuration."""
        return self._web.config

    @property
    def tls(self) -> Callable[[], ssl.SSLContext] | None:
        """Returns the context for the next handshake of the main listener. None if that has no TLS."""
        return self._context if self._web.context is not None else None

    def _context(self) -> ssl.SSLContext:
        assert self._web.context is not None  # noqa: S101 - for mypy: `_check_nothing_is_taken_away` sees to it
        return self._web.context

    def sources(self, app: Protected) -> list[Source[Any]]:
        """What is to be read again. New versions are put in force in `app` and here."""
        sources: list[Source[Any]] = []
        web_file, token_file = self._settings.web_config_file, self._settings.webhook_token_file
        if web_file is not None:
            sources.append(
                Source(WEB, lambda note: self._load_web(web_file, note), lambda web: self._use_web(web, app))
            )
        if token_file is not None:
            path = token_file.path
            sources.append(
                Source(TOKENS, lambda note: _load_tokens(path, note), lambda tokens: _use_tokens(tokens, app))
            )
        return sources

    def _load_web(self, path: Path, note: Note) -> _Web:
        note(WEB, path)
        config = load(path)
        if config.requires_client_certificate and self._settings.webhook_listen_address is None:
            raise SettingsError(
                f"{path} asks every client for a certificate, and Adobe has none: set --webhook.listen-address, so "
                "that the webhook gets a listener without TLS"
            )
        for field, file in config.tls.files.items() if config.tls is not None else ():
            note(field, file)
        context = config.ssl_context()
        return _Web(config, context, read_certificate(config.tls) if config.tls is not None else None)

    def _use_web(self, web: _Web, app: Protected) -> Mapping[str, object]:
        mistakes = list(_taken_away(self._web.config, web.config))
        # The one that is in use may expire, and users can be changed all the same.
        if web.problem is not None and web.certificate != self._web.certificate:
            mistakes.append(f"{web.problem}: put a valid one there")
        if mistakes:
            raise SettingsError("\n".join(f"{web.config.path}: {mistake}" for mistake in mistakes))
        app.use_web_config(web.config)
        self._web = web
        return {"users": len(web.config.users)}


def _taken_away(before: WebConfig, after: WebConfig) -> Iterator[str]:
    """What a new version would change that needs a restart, with what to do."""
    if (before.tls is None) != (after.tls is None):
        change = "is new" if before.tls is None else "is gone"
        yield f"tls_server_config {change}: restart the exporter to switch TLS, or undo this"
    elif before.requires_client_certificate and not after.requires_client_certificate:
        yield "clients would need no certificate any more: restart the exporter if you mean it, or undo this"
    if before.users and not after.users:
        yield "nobody would need a password any more: restart the exporter if you mean it, or put users back"


def _load_tokens(path: Path, note: Note) -> tuple[str, ...]:
    note(TOKENS, path)
    try:
        return parsers.token_file(str(path))
    except ValueError as error:
        raise SettingsError(f"{TOKENS}: {error}") from None


def _use_tokens(tokens: tuple[str, ...], app: Protected) -> Mapping[str, object]:
    app.use_tokens(tokens)
    return {"tokens": len(tokens)}
