"""Wires together what `serve` is made of, without opening a socket, so that tests use the same wiring.

This module and `page_sources`, which does the same for the pages, are the only ones that import many others. They make
the parts and connect them, and contain no rule of their own.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import httpx
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp

from exporter import __version__, garbage
from exporter.adobe.payloads import ANOMALY_FIELDS, read
from exporter.adobe_api.clock_check import ClockCheck
from exporter.adobe_api.clock_skew import ClockSkew
from exporter.adobe_api.http_client import AdobeClients
from exporter.adobe_api.keys import Keys
from exporter.adobe_api.trusted_paths import TrustedPaths
from exporter.commands.base import milliseconds
from exporter.commands.serve_settings import ServeSettings
from exporter.errors import LedgerUnavailableError
from exporter.fact_cache import FactCache
from exporter.follower import Follower
from exporter.intake import Intake
from exporter.ledger import Followed, KeyPath, Ledger
from exporter.ledger.urls import open_queries
from exporter.metrics.catalogue import CLOCK_SKEW, LEDGER_TIME
from exporter.metrics.flows import Limits
from exporter.metrics.fold import Fold
from exporter.metrics.telemetry import Telemetry
from exporter.model import Result, Source
from exporter.not_understood import NotUnderstoodReport
from exporter.pacing import Pacing
from exporter.page_sources import ProcessParts, page_sources
from exporter.pages.api import Api
from exporter.pages.asking import Asking
from exporter.pages.frame import Frame
from exporter.pages.landing import Landing
from exporter.pages.links import host_of_url
from exporter.pages.page_request import Sources
from exporter.pages.site import NAVIGATION, Site
from exporter.pages.views import IN_A_TERMINAL, FlowView, view_of_flow
from exporter.precedence import Precedence
from exporter.refused import RefusedDeliveries
from exporter.retention import Retention
from exporter.web import app as routes
from exporter.web.authentication import (
    FAILURES,
    AdobeAuthentication,
    Authentication,
    NoAuthentication,
    TokenAuthentication,
)
from exporter.web.config import WebConfig
from exporter.web.health import Ready
from exporter.web.origin import REFUSALS, OriginCheck, OriginRule
from exporter.web.protection import Protection
from exporter.web.scrape import Scrape
from exporter.web.unserved import Unserved
from exporter.web.validation import ORIGIN, Validations
from exporter.web.webhook import Refused, Webhook

_UNLIMITED = 1 << 62
_QUERY_SECONDS = 5.0
"""How long the ledger may take for a question of a page. The program's end waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What `build_app` makes: the ASGI applications, and the parts that work in the background."""

    main: ASGIApp
    """For `--web.listen-address`: metrics and pages, and the webhook unless that has its own listener."""
    webhook: ASGIApp | None
    """For `--webhook.listen-address`: the webhook alone. None if that is not set."""
    telemetry: Telemetry
    follower: Follower
    keys: Keys | None
    """None if deliveries are not authenticated by Adobe's signature."""
    clock_check: ClockCheck | None
    endpoint: Webhook
    validations: Validations
    retention: Retention
    scrape: Scrape
    asking: Asking
    unserved: Unserved
    protection: Protection
    tokens: TokenAuthentication | None
    """The authentication of the webhook, if its method is `token`."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the ledger, save checkpoints and prune. At the end save a last checkpoint and close HTTP clients."""
        work = [self.follower.run(), self.follower.checkpoints.run(), self.retention.run()]
        if self.clock_check is not None:
            work.append(self.clock_check.run())
        background = [asyncio.create_task(each) for each in work]
        try:
            async with garbage.set_aside(self.follower.is_at_head):
                yield
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self.follower.finish()
            if self.keys is not None:
                await self.keys.close()
            if self.clock_check is not None:
                await self.clock_check.close()
            await self.validations.close()

    def use_web_config(self, web: WebConfig) -> None:
        """Use another version of `--web.config.file`, but for TLS, from the next request on."""
        self.protection.replace(web)

    def use_tokens(self, tokens: tuple[str, ...]) -> None:
        """Accept these tokens from the next delivery on, and no others. Without the method `token` it does nothing."""
        if self.tokens is not None:
            self.tokens.replace(tokens)

    def close(self) -> None:
        """End the threads of follower, scrapes, pages and slow reading. Blocking. The ledger stays open."""
        self.endpoint.close()
        self.follower.close()
        self.scrape.close()
        # The pages' connections to the ledger end before its own.
        self.asking.close()


def adobe_clients(
    settings: ServeSettings, environment: Mapping[str, str], transport: httpx.AsyncBaseTransport | None = None
) -> AdobeClients:
    """The clients for what these settings request of Adobe. Raises SettingsError for a variable that can't be used.

    `transport` replaces the network, in tests.
    """
    urls = [settings.adobe_keys_url] if settings.authentication == "adobe" else []
    if settings.webhook_auto_validate:
        urls.append(ORIGIN)
    return AdobeClients(environment, urls, ClockSkew(time.monotonic), transport)


def build_app(
    settings: ServeSettings,
    ledger: Ledger,
    web: WebConfig,
    *,
    clients: AdobeClients | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> App:
    """Make and connect the parts of the program. The caller opens the ledger and closes it after the app.

    `web` is the content of `--web.config.file`. `clients` are those of `adobe_clients` with the same settings. Without
    them they are made here, and `transport` replaces the network for requests to Adobe, in tests.
    """
    clients = clients or adobe_clients(settings, os.environ, transport)
    limits = Limits(
        hold=milliseconds(settings.series_hold),
        ttl=milliseconds(settings.series_ttl),
        max_flows=settings.series_max_flows,
    )
    telemetry = _telemetry(limits, settings.web_external_url or "")
    telemetry.show(CLOCK_SKEW, clients.clock_skew.value)
    telemetry.show(LEDGER_TIME, lambda: _ledger_time(ledger))
    fact_cache = FactCache(read)
    follower = Follower(ledger, Fold(limits), fact_cache.read)
    report = NotUnderstoodReport(telemetry, time.monotonic)
    intake = Intake(ledger, ledger.now, cache_fact=fact_cache.put, report=report)
    keys, clock_check = _keys(settings, ledger, clients)
    validations = Validations(
        ledger.now, time.monotonic, clients.client(ORIGIN) if settings.webhook_auto_validate else None
    )
    authentication = _authentication(settings, keys)
    refused = RefusedDeliveries(lambda: time.time_ns() // 1_000_000)
    precedence = Precedence()
    webhook = Webhook(
        Pacing(follower.is_far_behind, time.monotonic).paced(intake.record),
        ledger.now,
        telemetry,
        authentication=authentication,
        validations=validations,
        max_body=settings.webhook_max_body,
        refused=refused.add,
        precedence=precedence,
    )
    webhook_routes = routes.webhook_routes(
        _check_webhook(webhook, settings, telemetry, refused),
        settings.webhook_path,
        takes_token=settings.authentication == "token",
    )
    ready = Ready(follower, intake)
    health_routes = routes.health_routes(ready)
    scrape = Scrape(follower, telemetry, start_timestamps=settings.metrics_start_timestamps)
    asking = Asking(open_queries(settings.ledger_url, _QUERY_SECONDS), begin=precedence.begin_page)

    inner_routes, not_found = _inner(
        settings,
        scrape,
        asking,
        page_sources(
            ProcessParts(
                settings=settings,
                ledger=ledger,
                follower=follower,
                intake=intake,
                scrape=scrape,
                clock_skew=clients.clock_skew,
                telemetry=telemetry,
                validations=validations,
                refused=refused,
                webhook=_describe_webhook(settings),
                started_at=time.time_ns() // 1_000_000,
                has_passwords=lambda: protection.has_users,
                give_way=precedence.give_way,
            )
        ),
        _inner_check(settings, lambda: not protection.has_users, telemetry),
    )
    is_separate = settings.webhook_listen_address is not None
    unserved = Unserved(telemetry, _describe_webhook(settings), settings.webhook_path)
    main = routes.build([*([] if is_separate else webhook_routes), *health_routes, *inner_routes], not_found)
    protection = Protection(main, web, settings.webhook_path)

    def finish(app: ASGIApp) -> ASGIApp:
        return ready.close_while_not_ready(unserved.watch(app))

    return App(
        main=finish(protection),
        webhook=finish(routes.build([*webhook_routes, *health_routes])) if is_separate else None,
        telemetry=telemetry,
        follower=follower,
        keys=keys,
        clock_check=clock_check,
        endpoint=webhook,
        validations=validations,
        retention=Retention(
            ledger,
            milliseconds(settings.ledger_retention),
            follower.checkpoints.prunable,
            telemetry.ledger_errors.labels("prune").inc,
        ),
        scrape=scrape,
        asking=asking,
        unserved=unserved,
        protection=protection,
        tokens=authentication if isinstance(authentication, TokenAuthentication) else None,
    )


def find_sandboxes(ledger: Followed, flow_id: str) -> list[str]:
    """The sandboxes in which the metrics show a flow. Empty if they do not show it. Blocking.

    The limits of a running exporter (`--series.ttl`, `--series.max-flows`) are not applied, because only its own
    settings hold them.
    """
    return _fold_at_head(ledger).sandboxes_of(flow_id)


def find_flows(ledger: Followed) -> tuple[list[FlowView], int]:
    """The flows that the metrics show one by one, and how many others found no slot. Blocking.

    The limits are those of `find_sandboxes`. Flows that found no slot in the exporter whose checkpoint is read are
    still without one.
    """
    fold = _fold_at_head(ledger)
    return [view_of_flow(flow, IN_A_TERMINAL) for flow in fold.current_flows().flows.values()], fold.overflowed


def _fold_at_head(ledger: Followed) -> Fold:
    """The state of the metrics after the last entry, without limits. No checkpoint is written."""
    fold = Fold(Limits(hold=0, ttl=_UNLIMITED, max_flows=_UNLIMITED))
    with contextlib.closing(Follower(ledger, fold, read, saves_checkpoints=False)) as follower:
        follower.catch_up()
        fold.advance(ledger.now())
        return fold


def _telemetry(limits: Limits, external_url: str) -> Telemetry:
    telemetry = Telemetry(
        __version__,
        sources=(Source.WEBHOOK,),
        results=(Result.RECORDED, Result.DUPLICATE, Result.UNSUPPORTED, Result.UNREADABLE),
        authentication_failures=FAILURES,
        refusals=REFUSALS,
        anomaly_fields=ANOMALY_FIELDS,
        external_url=external_url,
    )
    telemetry.flows_limit.set(limits.max_flows)
    return telemetry


def _ledger_time(ledger: Ledger) -> float | None:
    """The ledger's clock in seconds since 1970, or None if it can't be read."""
    try:
        return ledger.now() / 1000
    except LedgerUnavailableError:
        return None


def _keys(settings: ServeSettings, ledger: Ledger, clients: AdobeClients) -> tuple[Keys | None, ClockCheck | None]:
    """What requests Adobe's keys. None where deliveries are not authenticated by Adobe's signature."""
    if settings.authentication != "adobe":
        return None, None
    trusted = TrustedPaths(
        ledger.key_paths(),
        lambda used, dropped: ledger.save_key_paths([KeyPath(*each) for each in used], dropped),
        ledger.now,
    )
    # Each purpose has an HTTP client of its own, so that requests which strangers cause can't delay the others.
    url = settings.adobe_keys_url
    keys = Keys(clients.client(url), url, time.monotonic, trusted)
    return keys, ClockCheck(clients.client(url), url, lambda: trusted.latest)


def _inner(
    settings: ServeSettings, scrape: Scrape, asking: Asking, sources: Sources, check: list[Middleware]
) -> tuple[list[Route], ASGIApp | None]:
    """The routes that are meant for the operator's own network, and what answers requests to other paths."""
    has_pages = settings.web_pages != "off"
    frame = Frame(__version__, NAVIGATION if has_pages else (), settings.web_external_url, sources.give_way)
    inner_routes = routes.inner_routes(scrape, settings.web_telemetry_path, frame, check)
    if not has_pages:
        landing = Landing(frame, settings.web_telemetry_path, settings.webhook_path)
        return [*inner_routes, routes.landing_route(landing, check)], None
    site = Site(frame, asking, sources)
    api = Api(asking, sources, frame.links, __version__)
    return [*inner_routes, *routes.page_routes(site, check), *routes.api_routes(api, check)], site.not_found


def _authentication(settings: ServeSettings, keys: Keys | None) -> Authentication:
    match settings.authentication:
        case "adobe":
            assert keys is not None  # noqa: S101 - for mypy: `_keys` makes them for this method
            return AdobeAuthentication(
                keys,
                settings.webhook_client_id or frozenset(),
                allow_missing_client_id=settings.webhook_allow_missing_client_id,
            )
        case "token":
            return TokenAuthentication(settings.tokens)
        case "none":
            return NoAuthentication()


def _check_webhook(
    webhook: Webhook, settings: ServeSettings, telemetry: Telemetry, refused: RefusedDeliveries
) -> ASGIApp:
    """Keep web pages away from a webhook without authentication, which then has a loopback address."""
    if settings.authentication != "none" or settings.webhook_allow_unauthenticated:
        return webhook
    advice = (
        "for deliveries that come another way set --webhook.client-id or --webhook.token, or, behind a proxy that "
        "authenticates, --webhook.allow-unauthenticated"
    )
    return OriginCheck(webhook, _origin_rule(settings, telemetry, advice, refused.add))


def _inner_check(settings: ServeSettings, is_needed: Callable[[], bool], telemetry: Telemetry) -> list[Middleware]:
    """Keep web pages away from metrics and pages on a loopback address while there are no passwords."""
    if not settings.web_listen_address.is_loopback:
        return []
    advice = "set users in --web.config.file, ask for it by the name localhost, or set --web.external-url"
    return [Middleware(OriginCheck, _origin_rule(settings, telemetry, advice), is_needed)]


def _origin_rule(
    settings: ServeSettings, telemetry: Telemetry, advice: str, refused: Refused = lambda _reason, _peer: None
) -> OriginRule:
    url = settings.web_external_url

    def count(reason: str, peer: str) -> None:
        telemetry.requests_refused.labels(reason).inc()
        refused(reason, peer)

    return OriginRule(
        count,
        time.monotonic,
        advice,
        also=() if url is None else (host_of_url(url),),
    )


def _describe_webhook(settings: ServeSettings) -> str:
    """Where the webhook is, for a log line. It has no token."""
    address = settings.webhook_listen_address
    path = settings.webhook_path + ("/<token>" if settings.authentication == "token" else "")
    return f"{path} at {address}" if address is not None else path
