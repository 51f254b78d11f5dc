"""build(settings): the only place where things are wired together and set in motion.

Signals and life belong to this module: uvicorn's own handlers raise the signal again when they are done, and what
stands after its `serve` would not run.
"""

import asyncio
import contextlib
import secrets
import signal
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import BinaryIO, Final

import httpx
import structlog
import uvicorn
from starlette.types import ASGIApp

from exporter import __version__
from exporter.adobe.payloads import ANOMALY_FIELDS, read
from exporter.adobe_api.keys import Keys
from exporter.errors import ExporterError, SettingsError, UnknownFlowError
from exporter.fact_cache import FactCache
from exporter.follower import Follower
from exporter.intake import Intake
from exporter.ledger.urls import open_ledger
from exporter.metrics.flows import Limits
from exporter.metrics.fold import Fold
from exporter.metrics.telemetry import Telemetry
from exporter.model import Result, Source
from exporter.pages.landing import Landing
from exporter.parsers import Address
from exporter.replay import Progress, replay
from exporter.retention import Retention
from exporter.server import Server
from exporter.settings import Settings
from exporter.simulate.program import Account, Plan, run_simulation
from exporter.web import app
from exporter.web.access import BasicAuth, ExtraHeaders
from exporter.web.authentication import (
    FAILURES,
    AdobeAuthentication,
    Authentication,
    NoAuthentication,
    TokenAuthentication,
)
from exporter.web.config import WebConfig, load
from exporter.web.health import Ready
from exporter.web.protocol import BoundedProtocol
from exporter.web.scrape import Scrape
from exporter.web.validation import Validations
from exporter.web.webhook import Webhook

_GRACE: Final = 8
"""Seconds that requests under way get to end after SIGTERM; a commit takes no longer."""
_BACKLOG: Final = 1024
_FOR_EVER: Final = 1 << 62
_SEEDS: Final = 1_000_000
_SWITCH_INTERVAL: Final = 0.0005
"""Seconds for which the fold's thread may keep the event loop waiting; Python's own 5 ms would be in the way of every
delivery while a scrape is worked out (benchmarks/results.md: p99 under scrapes)."""
_LARGEST_BATCH: Final = 2_000_000
"""Bytes of the largest batch that Adobe sends (adobe.md A5)."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("service")


class CannotListenError(ExporterError):
    """The address is taken, or is none of this machine's."""

    reason = "cannot_listen"


class Program:
    """The running exporter."""

    def __init__(self, settings: Settings) -> None:
        """Open what is needed and wire it; raises LedgerUnusableError or CannotListenError."""
        self._settings = settings
        self._closing = contextlib.ExitStack()
        web = _web_config(settings)
        tls = web.ssl_context()
        with contextlib.ExitStack() as opened:
            self._socket = opened.enter_context(listen(settings.web_listen_address, "--web.listen-address"))
            own = settings.webhook_listen_address
            self._webhook_socket = (
                opened.enter_context(listen(own, "--webhook.listen-address")) if own is not None else None
            )
            self._ledger = open_ledger(settings.ledger_url, settings.ledger_max_size)
            opened.callback(self._ledger.close)
            limits = _limits(settings)
            fact_cache = FactCache(read)
            self._follower = Follower(self._ledger, Fold(limits), fact_cache.read)
            opened.callback(self._follower.close)
            self._closing = opened.pop_all()
        # One client for each purpose: what a stranger can cause must not crowd out anything else.
        self._keys = Keys(httpx.AsyncClient(follow_redirects=False), settings.adobe_keys_url, time.monotonic)
        clock = self._ledger.now
        self._validations = Validations(
            clock,
            time.monotonic,
            httpx.AsyncClient(follow_redirects=False) if settings.webhook_auto_validate else None,
        )
        telemetry = Telemetry(
            __version__,
            sources=(Source.WEBHOOK, Source.JOURNAL),
            results=(Result.RECORDED, Result.DUPLICATE, Result.UNSUPPORTED, Result.UNREADABLE),
            authentication_failures=FAILURES,
            anomaly_fields=ANOMALY_FIELDS,
        )
        telemetry.flows_limit.set(limits.max_flows)
        self._retention = Retention(
            self._ledger,
            _milliseconds(settings.ledger_retention),
            self._follower.prunable,
            telemetry.ledger_errors.labels("prune").inc,
        )
        intake = Intake(self._ledger, clock, cache_fact=fact_cache.put)
        webhook = app.webhook_routes(
            Webhook(
                intake.record,
                clock,
                telemetry,
                authentication=self._authentication(),
                validations=self._validations,
                max_body=settings.webhook_max_body,
            ),
            settings.webhook_path,
            takes_token=settings.authentication == "token",
        )
        health = app.health_routes(Ready(self._follower, intake))
        inner = app.inner_routes(
            Scrape(self._follower, telemetry, start_timestamps=settings.metrics_start_timestamps),
            settings.web_telemetry_path,
            Landing(__version__, settings.web_telemetry_path, settings.webhook_path),
        )
        shared = [] if self._webhook_socket is not None else webhook
        outer = _open_to_all(settings.webhook_path)
        inside = BasicAuth(app.build([*shared, *health, *inner]), web.users, outer)
        self._servers = {self._socket: server(ExtraHeaders(inside, web.headers) if web.headers else inside, tls)}
        if self._webhook_socket is not None:
            self._servers[self._webhook_socket] = server(app.build([*webhook, *health]))
        if settings.webhook_max_body < _LARGEST_BATCH:
            _log.warning("--webhook.max-body is below the 2 MB of Adobe's largest batch: such a batch would be lost")

    @property
    def address(self) -> Address:
        """Where it listens, with the port that it got where it asked for any."""
        return _address(self._socket)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then answer what was accepted, commit what waits, and let go."""
        sys.setswitchinterval(_SWITCH_INTERVAL)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        background = [
            asyncio.create_task(work)
            for work in (self._follower.run(), self._follower.run_checkpoints(), self._retention.run())
        ]
        _log.info(
            "listening",
            address=str(self.address),
            webhook_address=str(_address(self._webhook_socket or self._socket)),
            telemetry_path=self._settings.web_telemetry_path,
            webhook_path=self._settings.webhook_path,
            authentication=self._settings.authentication,
            version=__version__,
        )
        try:
            await asyncio.gather(*(each.serve(sockets=[socket_]) for socket_, each in self._servers.items()))
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self._follower.finish()
            await self._keys.close()
            await self._validations.close()
            await asyncio.to_thread(self.close)
        _log.info("stopped")

    def close(self) -> None:
        """Let go of everything. Blocking."""
        self._closing.close()

    def _authentication(self) -> Authentication:
        settings = self._settings
        match settings.authentication:
            case "adobe":
                return AdobeAuthentication(
                    self._keys,
                    settings.webhook_client_id or frozenset(),
                    allow_missing_client_id=settings.webhook_allow_missing_client_id,
                )
            case "token":
                return TokenAuthentication(settings.token or "")
            case _:
                return NoAuthentication()

    def _stop(self, number: int) -> None:
        is_again = any(each.should_exit for each in self._servers.values())
        name = signal.Signals(number).name
        _log.warning("stopping at once", signal=name) if is_again else _log.info("stopping", signal=name)
        for each in self._servers.values():
            each.force_exit = is_again
            each.should_exit = True


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _limits(settings: Settings) -> Limits:
    return Limits(
        hold=_milliseconds(settings.series_hold),
        ttl=_milliseconds(settings.series_ttl),
        max_flows=settings.series_max_flows,
    )


def _web_config(settings: Settings) -> WebConfig:
    """What `--web.config.file` asks for; raises SettingsError."""
    if settings.web_config_file is None:
        return WebConfig()
    web = load(settings.web_config_file)
    if web.requires_client_certificate and settings.webhook_listen_address is None:
        raise SettingsError(
            f"{settings.web_config_file} asks every client for a certificate, which Adobe has not: give the webhook "
            "--webhook.listen-address"
        )
    return web


def _open_to_all(webhook_path: str) -> Callable[[str], bool]:
    """Which paths ask for no password: the webhook has its own authentication, and probes have none."""
    return lambda path: path in {"/-/healthy", "/-/ready", webhook_path} or path.startswith(webhook_path + "/")


def server(application: ASGIApp, tls: ssl.SSLContext | None = None) -> Server:
    """The server of one listener."""
    return Server(
        uvicorn.Config(
            application,
            http=BoundedProtocol,
            loop="uvloop",
            lifespan="off",
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=_GRACE,
            ssl_context_factory=(lambda _config, _default: tls) if tls is not None else None,
        )
    )


def _address(socket_: socket.socket) -> Address:
    host, port = socket_.getsockname()[:2]
    return Address(host, port)


def build(settings: Settings) -> Program:
    """Wire the program that these settings describe."""
    return Program(settings)


@contextlib.contextmanager
def replaying(settings: Settings) -> Iterator[Callable[[BinaryIO, Progress], Counter[Result]]]:
    """What records a file of notifications in the ledger, which is open for as long."""
    ledger = open_ledger(settings.ledger_url)
    intake = Intake(ledger, ledger.now, retention=_milliseconds(settings.ledger_retention))
    try:
        with asyncio.Runner() as runner:
            yield lambda file, progress: runner.run(replay(file, intake.record, ledger.now, progress))
    finally:
        ledger.close()


def forget(settings: Settings, flow_id: str) -> list[str]:
    """Record that a flow was deleted on purpose; the sandboxes in which it was shown.

    Raises UnknownFlowError where it is not shown, and what opening and writing a ledger raises.
    """
    ledger = open_ledger(settings.ledger_url, must_exist=True)
    # Without limits: whether the exporter shows a flow depends on its own, which are not known here.
    fold = Fold(Limits(hold=0, ttl=_FOR_EVER, max_flows=_FOR_EVER))
    follower = Follower(ledger, fold, read)
    try:
        follower.catch_up()
        fold.advance(ledger.now())
        sandboxes = fold.sandboxes_of(flow_id)
        if not sandboxes:
            raise UnknownFlowError(
                f"no flow of this id is on /metrics: {flow_id}; it is the flow_id of its series, letter for letter"
            )
        asyncio.run(Intake(ledger, ledger.now).forget(flow_id))
    finally:
        follower.close()
        ledger.close()
    return sandboxes


async def simulate(settings: Settings, url: str, progress: Callable[[str], None]) -> Account:
    """Send what the settings describe until it ends, or until SIGTERM or SIGINT; what was sent.

    Raises NotAWebhookError, and CannotListenError where the keys can't be served.
    """
    plan = Plan(
        seed=settings.seed if settings.seed is not None else secrets.randbelow(_SEEDS),
        flows=settings.flows,
        past=_milliseconds(settings.since) if settings.since is not None else 0,
        duration=_milliseconds(settings.duration) if settings.duration is not None else None,
        speed=settings.speed,
        client_id=settings.client_id,
    )
    keys = listen(settings.keys_listen_address, "--keys.listen-address") if settings.sign else None
    return await run_simulation(plan, url, keys, progress)


def listen(address: Address, flag: str) -> socket.socket:
    """A listening socket; an empty host means every address, of both families where there are two.

    Raises CannotListenError, which names the `flag` that the address came by.
    """
    try:
        if not address.host and socket.has_dualstack_ipv6():
            return socket.create_server(
                ("::", address.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
            )
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise CannotListenError(
            f"can't listen on {address} ({error.strerror}): choose another address with {flag}"
        ) from error
