"""Wires together what `serve` is made of, without opening a socket, so that tests use the same wiring.

This is the only module that imports many others. It makes the parts and connects them, and contains no rule of its own.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import httpx
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from exporter import __version__
from exporter.adobe.payloads import ANOMALY_FIELDS, read
from exporter.adobe_api.keys import Keys
from exporter.adobe_api.trusted_paths import TrustedPaths
from exporter.commands.base import milliseconds
from exporter.commands.serve_settings import ServeSettings
from exporter.fact_cache import FactCache
from exporter.follower import Follower
from exporter.intake import Intake
from exporter.ledger import KeyPath, Ledger
from exporter.metrics.flows import Limits
from exporter.metrics.fold import Fold
from exporter.metrics.telemetry import Telemetry
from exporter.model import Result, Source
from exporter.pacing import Pacing
from exporter.pages.landing import Landing
from exporter.retention import Retention
from exporter.web import app as routes
from exporter.web.authentication import (
    FAILURES,
    AdobeAuthentication,
    Authentication,
    NoAuthentication,
    TokenAuthentication,
)
from exporter.web.basic_auth import BasicAuth
from exporter.web.config import WebConfig
from exporter.web.headers import ExtraHeaders
from exporter.web.health import Ready
from exporter.web.origin import REFUSALS, OriginCheck, OriginRule
from exporter.web.scrape import Scrape
from exporter.web.unserved import Unserved
from exporter.web.validation import Validations
from exporter.web.webhook import Webhook

_UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What `build_app` makes: the ASGI applications, and the parts that work in the background."""

    main: ASGIApp
    """For `--web.listen-address`: metrics and pages, and the webhook unless that has its own listener."""
    webhook: ASGIApp | None
    """For `--webhook.listen-address`: the webhook alone. None if that is not set."""
    telemetry: Telemetry
    follower: Follower
    keys: Keys
    endpoint: Webhook
    validations: Validations
    retention: Retention
    scrape: Scrape
    unserved: Unserved

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the ledger, save checkpoints and prune. At the end save a last checkpoint and close HTTP clients."""
        work = (self.follower.run(), self.follower.checkpoints.run(), self.retention.run())
        background = [asyncio.create_task(each) for each in work]
        try:
            yield
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self.follower.finish()
            await self.keys.close()
            await self.validations.close()

    def close(self) -> None:
        """End the threads of follower, scrapes and slow reading. Blocking. The ledger stays open."""
        self.endpoint.close()
        self.follower.close()
        self.scrape.close()


def build_app(
    settings: ServeSettings,
    ledger: Ledger,
    web: WebConfig,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
) -> App:
    """Make and connect the parts of the program. The caller opens the ledger and closes it after the app.

    `web` is the content of `--web.config.file`. `transport` replaces the network for requests to Adobe, in tests.
    """
    limits = Limits(
        hold=milliseconds(settings.series_hold),
        ttl=milliseconds(settings.series_ttl),
        max_flows=settings.series_max_flows,
    )
    telemetry = _telemetry(limits)
    fact_cache = FactCache(read)
    follower = Follower(ledger, Fold(limits), fact_cache.read)
    intake = Intake(ledger, ledger.now, cache_fact=fact_cache.put)
    # Each purpose has an HTTP client of its own, so that requests which strangers cause can't delay the others.
    trusted = TrustedPaths(
        ledger.key_paths(),
        lambda used, dropped: ledger.save_key_paths([KeyPath(*each) for each in used], dropped),
        ledger.now,
    )
    keys = Keys(_client(transport), settings.adobe_keys_url, time.monotonic, trusted)
    validations = Validations(
        ledger.now, time.monotonic, _client(transport) if settings.webhook_auto_validate else None
    )
    webhook = Webhook(
        Pacing(follower.is_far_behind, time.monotonic).paced(intake.record),
        ledger.now,
        telemetry,
        authentication=_authentication(settings, keys),
        validations=validations,
        max_body=settings.webhook_max_body,
    )
    webhook_routes = routes.webhook_routes(
        _check_webhook(webhook, settings, telemetry),
        settings.webhook_path,
        takes_token=settings.authentication == "token",
    )
    ready = Ready(follower, intake)
    health_routes = routes.health_routes(ready)
    scrape = Scrape(follower, telemetry, start_timestamps=settings.metrics_start_timestamps)
    inner_routes = routes.inner_routes(
        scrape,
        settings.web_telemetry_path,
        Landing(__version__, settings.web_telemetry_path, settings.webhook_path),
        _inner_check(settings, web, telemetry),
    )
    is_separate = settings.webhook_listen_address is not None
    unserved = Unserved(telemetry, _describe_webhook(settings), settings.webhook_path)
    main = routes.build([*([] if is_separate else webhook_routes), *health_routes, *inner_routes])

    def finish(app: ASGIApp) -> ASGIApp:
        return ready.close_while_not_ready(unserved.watch(app))

    return App(
        main=finish(_protect(main, web, settings.webhook_path)),
        webhook=finish(routes.build([*webhook_routes, *health_routes])) if is_separate else None,
        telemetry=telemetry,
        follower=follower,
        keys=keys,
        endpoint=webhook,
        validations=validations,
        retention=Retention(
            ledger,
            milliseconds(settings.ledger_retention),
            follower.checkpoints.prunable,
            telemetry.ledger_errors.labels("prune").inc,
        ),
        scrape=scrape,
        unserved=unserved,
    )


def find_sandboxes(ledger: Ledger, flow_id: str) -> list[str]:
    """The sandboxes in which the metrics show a flow. Empty if they do not show it. Blocking.

    The limits of a running exporter (`--series.ttl`, `--series.max-flows`) are not applied, because only its own
    settings hold them.
    """
    fold = Fold(Limits(hold=0, ttl=_UNLIMITED, max_flows=_UNLIMITED))
    with contextlib.closing(Follower(ledger, fold, read, saves_checkpoints=False)) as follower:
        follower.catch_up()
        fold.advance(ledger.now())
        return fold.sandboxes_of(flow_id)


def _telemetry(limits: Limits) -> Telemetry:
    telemetry = Telemetry(
        __version__,
        sources=(Source.WEBHOOK,),
        results=(Result.RECORDED, Result.DUPLICATE, Result.UNSUPPORTED, Result.UNREADABLE),
        authentication_failures=FAILURES,
        refusals=REFUSALS,
        anomaly_fields=ANOMALY_FIELDS,
    )
    telemetry.flows_limit.set(limits.max_flows)
    return telemetry


def _client(transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
    return httpx.AsyncClient(follow_redirects=False, transport=transport)


def _authentication(settings: ServeSettings, keys: Keys) -> Authentication:
    match settings.authentication:
        case "adobe":
            return AdobeAuthentication(
                keys,
                settings.webhook_client_id or frozenset(),
                allow_missing_client_id=settings.webhook_allow_missing_client_id,
            )
        case "token":
            return TokenAuthentication(settings.token or "")
        case "none":
            return NoAuthentication()


def _check_webhook(webhook: Webhook, settings: ServeSettings, telemetry: Telemetry) -> ASGIApp:
    """Keep web pages away from a webhook without authentication, which then has a loopback address."""
    if settings.authentication != "none" or settings.webhook_allow_unauthenticated:
        return webhook
    advice = (
        "for deliveries that come another way set --webhook.client-id or --webhook.token, or, behind a proxy that "
        "authenticates, --webhook.allow-unauthenticated"
    )
    return OriginCheck(webhook, _origin_rule(telemetry, advice))


def _inner_check(settings: ServeSettings, web: WebConfig, telemetry: Telemetry) -> list[Middleware]:
    """Keep web pages away from metrics and pages on a loopback address without passwords."""
    if web.users or not settings.web_listen_address.is_loopback:
        return []
    advice = "set users in --web.config.file, or ask for it by the name localhost"
    return [Middleware(OriginCheck, _origin_rule(telemetry, advice))]


def _origin_rule(telemetry: Telemetry, advice: str) -> OriginRule:
    return OriginRule(lambda reason: telemetry.requests_refused.labels(reason).inc(), time.monotonic, advice)


def _describe_webhook(settings: ServeSettings) -> str:
    """Where the webhook is, for a log line. It has no token."""
    address = settings.webhook_listen_address
    path = settings.webhook_path + ("/<token>" if settings.authentication == "token" else "")
    return f"{path} at {address}" if address is not None else path


def _protect(app: ASGIApp, web: WebConfig, webhook_path: str) -> ASGIApp:
    """Ask for the passwords of the web config, and send its headers."""
    protected = BasicAuth(app, web.users, _is_open_path(webhook_path))
    return ExtraHeaders(protected, web.headers) if web.headers else protected


def _is_open_path(webhook_path: str) -> Callable[[str], bool]:
    """Whether a path needs no password. The webhook has its own authentication, and health checks have none."""
    return lambda path: path in {"/-/healthy", "/-/ready", webhook_path} or path.startswith(webhook_path + "/")
