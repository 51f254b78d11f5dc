"""build(settings): the only place where things are wired together and set in motion.

Signals and life belong to this module: uvicorn's own handlers raise the signal again when they are done, and what
stands after its `serve` would not run.
"""

import asyncio
import contextlib
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import BinaryIO, Final

import structlog
import uvicorn

from exporter import __version__
from exporter.adobe.payloads import ANOMALY_FIELDS, read
from exporter.errors import ExporterError
from exporter.flowrun import Result, Source
from exporter.follow import Follower
from exporter.intake import Intake
from exporter.ledger.urls import open_ledger
from exporter.metrics.fold import Fold
from exporter.metrics.telemetry import Telemetry
from exporter.notation import Address
from exporter.replay import Progress, replay
from exporter.settings import Settings
from exporter.web.app import routes
from exporter.web.health import Ready
from exporter.web.pages import Landing
from exporter.web.protocol import BoundedProtocol
from exporter.web.scrape import Scrape
from exporter.web.webhook import AUTHENTICATION_FAILURES, Webhook

_GRACE: Final = 8
"""Seconds that requests under way get to end after SIGTERM; a commit takes no longer."""
_BACKLOG: Final = 1024
_LARGEST_BATCH: Final = 2_000_000
"""Bytes of the largest batch that Adobe sends (adobe.md A5)."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("service")


class CannotListenError(ExporterError):
    """The address is taken, or is none of this machine's."""

    reason = "cannot_listen"


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the program."""
        yield


class Program:
    """The running exporter."""

    def __init__(self, settings: Settings) -> None:
        """Open what is needed and wire it; raises LedgerUnusableError or CannotListenError."""
        self._socket = listen(settings.web_listen_address)
        try:
            self._ledger = open_ledger(settings.ledger_url)
        except BaseException:
            self._socket.close()
            raise
        telemetry = Telemetry(
            __version__,
            sources=(Source.WEBHOOK, Source.JOURNAL),
            results=(Result.RECORDED, Result.DUPLICATE, Result.UNSUPPORTED, Result.UNREADABLE),
            authentication_failures=AUTHENTICATION_FAILURES,
            anomaly_fields=ANOMALY_FIELDS,
        )
        self._follower = Follower(self._ledger, Fold(settings.series_hold // timedelta(milliseconds=1)), read)
        clock = self._ledger.now
        token = settings.token
        app = routes(
            webhook=Webhook(
                Intake(self._ledger, clock).record, clock, telemetry, max_body=settings.webhook_max_body, token=token
            ),
            webhook_path=settings.webhook_path,
            takes_token=token is not None,
            scrape=Scrape(self._follower, telemetry),
            telemetry_path=settings.web_telemetry_path,
            ready=Ready(self._follower),
            landing=Landing(__version__, settings.web_telemetry_path, settings.webhook_path),
        )
        self._server = _Server(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                loop="uvloop",
                lifespan="off",
                ws="none",
                access_log=False,
                log_config=None,
                server_header=False,
                backlog=_BACKLOG,
                timeout_graceful_shutdown=_GRACE,
            )
        )
        self._settings = settings
        if settings.webhook_max_body < _LARGEST_BATCH:
            _log.warning("--webhook.max-body is below the 2 MB of Adobe's largest batch: such a batch would be lost")

    @property
    def address(self) -> Address:
        """Where it listens, with the port that it got where it asked for any."""
        host, port = self._socket.getsockname()[:2]
        return Address(host, port)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then answer what was accepted, commit what waits, and let go."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        following = asyncio.create_task(self._follower.keep_up())
        _log.info(
            "listening",
            address=str(self.address),
            telemetry_path=self._settings.web_telemetry_path,
            webhook_path=self._settings.webhook_path,
            version=__version__,
        )
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
            await asyncio.to_thread(self.close)
        _log.info("stopped")

    def close(self) -> None:
        """Let go of everything. Blocking."""
        self._follower.close()
        self._ledger.close()
        self._socket.close()

    def _stop(self, number: int) -> None:
        if self._server.should_exit:
            _log.warning("stopping at once", signal=signal.Signals(number).name)
            self._server.force_exit = True
            return
        _log.info("stopping", signal=signal.Signals(number).name)
        self._server.should_exit = True


def build(settings: Settings) -> Program:
    """Wire the program that these settings describe."""
    return Program(settings)


@contextlib.contextmanager
def replaying(settings: Settings) -> Iterator[Callable[[BinaryIO, Progress], Counter[Result]]]:
    """What records a file of notifications in the ledger, which is open for as long."""
    ledger = open_ledger(settings.ledger_url)
    intake = Intake(ledger, ledger.now, retention=settings.ledger_retention // timedelta(milliseconds=1))
    try:
        with asyncio.Runner() as runner:
            yield lambda file, progress: runner.run(replay(file, intake.record, ledger.now, progress))
    finally:
        ledger.close()


def listen(address: Address) -> socket.socket:
    """A listening socket; an empty host means every address, of both families where there are two."""
    try:
        if not address.host and socket.has_dualstack_ipv6():
            return socket.create_server(
                ("::", address.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
            )
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise CannotListenError(
            f"can't listen on {address} ({error.strerror}): choose another --web.listen-address"
        ) from error
