"""The settings of `serve`, and the rules between them.

They are not in `serve.py`, because the service and the health check read them as well: neither may import a command.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, SecretStr

from exporter import parsers
from exporter.commands.base import Boolean, Count, Duration, ListenAddress, RetentionSettings
from exporter.commands.settings import Rule, setting

ClientIds = Annotated[frozenset[str], BeforeValidator(parsers.client_ids)]
ExternalUrl = Annotated[str, BeforeValidator(parsers.external_url)]
ExistingFile = Annotated[Path, BeforeValidator(parsers.existing_file)]
KeysUrl = Annotated[str, BeforeValidator(parsers.keys_url)]
Size = Annotated[int, BeforeValidator(parsers.size)]
Tenant = Annotated[str, BeforeValidator(parsers.tenant)]
Tokens = Annotated[tuple[SecretStr, ...], BeforeValidator(parsers.tokens)]
UrlPath = Annotated[str, BeforeValidator(parsers.url_path)]
PagesMode = Literal["full", "summary", "off"]


@dataclass(frozen=True, slots=True)
class TokenFile:
    """A file of tokens, and what it held at the start."""

    path: Path
    tokens: tuple[SecretStr, ...]

    @classmethod
    def read(cls, text: str) -> "TokenFile":
        """Read the file that a person named. Raises ValueError."""
        return cls(Path(text), tuple(SecretStr(token) for token in parsers.token_file(text)))


PAGE_PATHS: Final = ("/api", "/errors", "/flows", "/notifications", "/runs", "/static", "/status")
"""The paths of pages, and of what they are made of. No password is asked for at and below the webhook's path, so that
one must be another, also on a listener of its own."""


class ServeSettings(RetentionSettings):
    """What `serve` is configured by."""

    web_listen_address: ListenAddress = setting(
        "web.listen-address",
        "127.0.0.1:10464",
        "Address for metrics, pages and the webhook. :10464 listens on every address of the machine.",
    )
    web_telemetry_path: UrlPath = setting("web.telemetry-path", "/metrics", "Path of the metrics.")
    web_config_file: ExistingFile | None = setting(
        "web.config.file",
        None,
        "File with TLS and basic authentication, in the format of Prometheus's exporters. It "
        "and the files it names are read again when they change.",
    )
    web_external_url: ExternalUrl | None = setting(
        "web.external-url",
        None,
        "URL under which people open the pages, where a proxy is in front of them. It can have a path, which the proxy "
        "takes off.",
    )
    web_pages: PagesMode | None = setting(
        "web.pages",
        None,
        "What pages show: full, summary (no messages and no bodies) or off (default: full on a loopback address or "
        "with passwords, else summary).",
    )
    webhook_listen_address: ListenAddress | None = setting(
        "webhook.listen-address", None, "Address of a separate listener for the webhook and the health checks."
    )
    webhook_path: UrlPath = setting("webhook.path", "/webhook", "Path that Adobe posts to.")
    webhook_auth: Literal["adobe", "token", "none"] | None = setting(
        "webhook.auth",
        None,
        "How senders are authenticated: adobe (by Adobe's signature), token or none (default: adobe with a client id, "
        "token with a token, else none).",
    )
    webhook_client_id: ClientIds | None = setting(
        "webhook.client-id", None, "Client ids of your registrations, separated by commas."
    )
    webhook_allow_missing_client_id: Boolean = setting(
        "webhook.allow-missing-client-id", "false", "Accept signed deliveries that name no client id."
    )
    webhook_token: Tokens | None = setting(
        "webhook.token",
        None,
        "Secret that the path must end in: /webhook/<token>. Several are separated by commas.",
        is_secret=True,
    )
    webhook_token_file: Annotated[TokenFile, BeforeValidator(TokenFile.read)] | None = setting(
        "webhook.token-file",
        None,
        "File that holds the tokens, one a line, instead of the flag. It is read again when it changes.",
        is_secret=True,
    )
    webhook_max_body: Size = setting(
        "webhook.max-body", "4MiB", "Size of the largest delivery that is accepted, before and after decompression."
    )
    webhook_auto_validate: Boolean = setting(
        "webhook.auto-validate", "false", "Open the address that Adobe sends to have the webhook confirmed."
    )
    webhook_allow_unauthenticated: Boolean = setting(
        "webhook.allow-unauthenticated",
        "false",
        "Accept deliveries without authentication on an address that other machines can reach. For use behind a proxy "
        "that authenticates.",
    )
    adobe_keys_url: KeysUrl = setting(
        "adobe.keys-url",
        "https://static.adobeioevents.com",
        "Where Adobe's public keys are fetched from. Change it for a private mirror.",
        is_secret=True,
    )
    adobe_tenant: Tenant | None = setting(
        "adobe.tenant",
        None,
        "Name behind @ in the addresses of Experience Platform's pages, for links to them (default: the organisation's "
        "id).",
    )
    ledger_max_size: Size | None = setting(
        "ledger.max-size", None, "Size of the ledger above which deliveries are refused with 503."
    )
    series_hold: Duration = setting(
        "series.hold",
        "150s",
        "How long a new series shows 0 before it shows its value. At least two scrape intervals and 30 s; 0s turns it "
        "off.",
    )
    series_ttl: Duration = setting(
        "series.ttl",
        "45d",
        "How long a flow stays on /metrics after its last entry in the ledger, or three of its intervals if that is "
        "longer.",
    )
    series_max_flows: Count = setting(
        "series.max-flows",
        "2000",
        "Number of pairs of flow and sandbox that have series of their own. Further pairs are counted as other.",
    )
    metrics_start_timestamps: Boolean = setting(
        "metrics.start-timestamps",
        "false",
        "Add the start time of each series to OpenMetrics. For Prometheus with created-timestamp-zero-ingestion.",
    )

    @property
    def authentication(self) -> Literal["adobe", "token", "none"]:
        """How senders are authenticated, from `--webhook.auth` or from what else is set."""
        if self.webhook_auth is not None:
            return self.webhook_auth
        if self.webhook_client_id:
            return "adobe"
        return "token" if self.tokens else "none"

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens, from the flag or from the file as it was at the start. Empty if neither is set."""
        of_file = self.webhook_token_file
        secrets = self.webhook_token or (of_file.tokens if of_file is not None else ())
        return tuple(secret.get_secret_value() for secret in secrets)

    def pages(self, *, has_passwords: bool) -> PagesMode:
        """What pages show: as `--web.pages` says, or without it by who can open them."""
        if self.web_pages is not None:
            return self.web_pages
        return "full" if has_passwords or self.web_listen_address.is_loopback else "summary"

    def rules(self) -> list[Rule]:
        """What must hold between the settings."""
        return [
            *super().rules(),
            self._check_token_is_given_once,
            self._check_authentication_has_its_secret,
            self._check_nothing_is_ignored,
            self._check_open_webhook,
            self._check_addresses_differ,
            self._check_sizes,
            self._check_ttl,
            self._check_paths,
            self._check_pages_keep_their_paths,
        ]

    def _check_token_is_given_once(self) -> Iterator[str]:
        if self.webhook_token is not None and self.webhook_token_file is not None:
            yield "--webhook.token and --webhook.token-file both give the token: keep one"

    def _check_authentication_has_its_secret(self) -> Iterator[str]:
        if self.webhook_auth == "token" and not self.tokens:
            yield "--webhook.auth=token needs --webhook.token or --webhook.token-file"
        if self.webhook_auth == "adobe" and not self.webhook_client_id:
            yield (
                "--webhook.auth=adobe needs --webhook.client-id: Adobe signs for all its customers, so its signature "
                "alone does not show that a delivery is meant for you"
            )

    def _check_nothing_is_ignored(self) -> Iterator[str]:
        authentication = self.authentication
        if self.tokens and authentication != "token":
            yield f"--webhook.auth={authentication} ignores the token that is set: remove one of the two"
        if self.webhook_client_id and authentication != "adobe":
            yield f"--webhook.auth={authentication} ignores --webhook.client-id: remove one of the two"

    def _check_open_webhook(self) -> Iterator[str]:
        if self.authentication != "none" or self.webhook_allow_unauthenticated:
            return
        if self.webhook_listen_address is not None:
            flag, address = "--webhook.listen-address", self.webhook_listen_address
        else:
            flag, address = "--web.listen-address", self.web_listen_address
        if not address.is_loopback:
            yield (
                f"other machines can reach {flag}={address}, and --webhook.auth=none accepts deliveries from anybody: "
                "set --webhook.client-id or --webhook.token, listen on 127.0.0.1, or, behind a proxy that "
                "authenticates, add --webhook.allow-unauthenticated"
            )

    def _check_addresses_differ(self) -> Iterator[str]:
        own = self.webhook_listen_address
        if own is not None and own.overlaps(self.web_listen_address):
            yield (
                "--webhook.listen-address is the same as --web.listen-address, or one of them is every address with "
                "that port: change one, or leave it out"
            )

    def _check_sizes(self) -> Iterator[str]:
        if self.ledger_max_size == 0:
            yield "--ledger.max-size=0 refuses every delivery: leave it out for a ledger without a limit"
        if self.webhook_max_body == 0:
            yield "--webhook.max-body=0 refuses every delivery: Adobe's largest batch has 2 MB"

    def _check_ttl(self) -> Iterator[str]:
        if not self.series_ttl:
            yield "--series.ttl must be more than 0s: otherwise no flow would stay on /metrics"
        if self.ledger_retention < self.series_ttl:
            yield (
                "--ledger.retention must be at least --series.ttl: the ledger must hold the entries that /metrics is "
                "computed from"
            )

    def _check_paths(self) -> Iterator[str]:
        if f"{self.web_telemetry_path}/".startswith(f"{self.webhook_path}/"):
            yield "--web.telemetry-path is the same as --webhook.path or below it: change one"

    def _check_pages_keep_their_paths(self) -> Iterator[str]:
        # The stylesheet is there also without pages, and holds nothing.
        if self.web_pages == "off":
            return
        for flag, path in (("--web.telemetry-path", self.web_telemetry_path), ("--webhook.path", self.webhook_path)):
            page = next((page for page in PAGE_PATHS if f"{path}/".startswith(f"{page}/")), None)
            if page is not None:
                yield f"{flag}={path} is at or below a page's path ({page}): choose another, or set --web.pages=off"
