"""`serve`: receives notifications and serves metrics until a signal stops it."""

import asyncio
import contextlib
import os
import sys
from typing import Final

import structlog
import uvloop

from exporter import __version__, signals
from exporter.commands.base import Command
from exporter.commands.serve_files import ServeFiles
from exporter.commands.serve_report import report_start
from exporter.commands.serve_settings import ServeSettings
from exporter.ignored_signals import ignore
from exporter.ledger.urls import open_ledger
from exporter.reloading import Reloading
from exporter.server import Listener, listen, raise_file_limit, serve_until_signal
from exporter.service import adobe_clients, build_app

_SWITCH_INTERVAL: Final = 0.0005
"""Seconds for which another thread may keep the event loop waiting. With Python's default, 5 ms, deliveries that arrive
while the fold's thread computes a scrape would wait that long (benchmarks/results.md, p99 under scrapes)."""
_LARGEST_BATCH: Final = 2_000_000
"""Bytes of the largest batch that Adobe sends (docs/adobe.md, "Bodies")."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("serve")


def run(settings: ServeSettings, _arguments: list[str]) -> int:
    """Serve until SIGTERM or SIGINT.

    Raises SettingsError, CannotListenError and LedgerUnusableError.
    """
    ignore()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))
    return 0


async def _serve(settings: ServeSettings) -> None:
    files = ServeFiles(settings)
    clients = adobe_clients(settings, os.environ)
    raise_file_limit()
    with contextlib.ExitStack() as open_:
        # The sockets come before the ledger, so that an address in use leaves no new ledger behind.
        main = open_.enter_context(listen(settings.web_listen_address, "--web.listen-address"))
        own = settings.webhook_listen_address
        webhook = open_.enter_context(listen(own, "--webhook.listen-address")) if own is not None else None
        ledger = open_.enter_context(contextlib.closing(open_ledger(settings.ledger_url, settings.ledger_max_size)))
        report_start(settings, ledger, files.web)
        app = open_.enter_context(contextlib.closing(build_app(settings, ledger, files.web, clients=clients)))
        listeners = [Listener(main, app.main, files.tls)]
        if webhook is not None and app.webhook is not None:
            listeners.append(Listener(webhook, app.webhook))
        if settings.webhook_max_body < _LARGEST_BATCH:
            _log.warning("--webhook.max-body is below the 2 MB of Adobe's largest batch: such a batch would be lost")
        if ledger.write_error is not None:
            _log.warning("deliveries can't be recorded yet", detail=str(ledger.write_error))
        sys.setswitchinterval(_SWITCH_INTERVAL)
        reloading = Reloading(files.sources(app))
        with signals.handled(reloading.ask):
            async with app.running(), reloading.running():
                _log.info(
                    "listening",
                    address=str(listeners[0].address),
                    webhook_address=str(listeners[-1].address),
                    telemetry_path=settings.web_telemetry_path,
                    webhook_path=settings.webhook_path,
                    authentication=settings.authentication,
                    version=__version__,
                )
                await serve_until_signal(listeners, app.unserved.count_refused_connection)
    _log.info("stopped")


COMMAND: Final = Command(
    summary="receive notifications and serve metrics",
    details="Runs until SIGTERM or SIGINT. A second signal stops it without waiting for requests in progress. After "
    "SIGHUP it reads certificates, passwords and tokens again.",
    settings=ServeSettings,
    run=run,
)
