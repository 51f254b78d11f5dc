"""`GET /metrics`: read the ledger up to its head, then render.

The flow half (`collect[]=flows`) comes from the ledger, the exporter half (`collect[]=exporter`) from this process.
Without `collect[]` both are rendered. When the ledger can't be read, the flow half is left out, because older counters
would look like current ones. A scrape of the flow half alone is then answered with 503. Any other scrape is answered
without it. `aep_exporter_ledger_up` is then 0. It keeps its value if only the time ran out, or after a defect.

Scrapes that ask for the same at the same time share one rendering (`exporter.web.rendering`). A scrape whose client
has closed the connection is given up.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, perf_counter
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from exporter.errors import DefectError, ExporterError, LedgerUnavailableError, NotCaughtUpError
from exporter.follower import Follower, FollowerStatus
from exporter.metrics.catalogue import EXPORTER, FLOWS
from exporter.metrics.exposition import (
    Format,
    accepts_gzip,
    assemble,
    compress,
    negotiate,
    render_exporter_half,
    render_flow_half,
)
from exporter.metrics.telemetry import Telemetry
from exporter.web.rendering import Renderings
from exporter.web.responses import CLOSE, answer, method_not_allowed, refuse

_HALVES: Final = frozenset({FLOWS, EXPORTER})
_GZIP: Final = ((b"content-encoding", b"gzip"),)
_LEDGER_TIMEOUT: Final = 5.0
"""Seconds that a scrape waits for the flow half. Prometheus waits ten for the whole answer by default."""
_LEAST_LEDGER_TIMEOUT: Final = 1.0
"""Seconds that a scrape waits for the flow half if it had to wait for its turn before."""


class _Kind(NamedTuple):
    """What a scrape asks for."""

    halves: frozenset[str]
    format: Format
    gzip: bool


class Scrape:
    """The endpoint as an ASGI application."""

    def __init__(self, follower: Follower, telemetry: Telemetry, *, start_timestamps: bool = False) -> None:
        """`start_timestamps`: whether OpenMetrics shows when each series began (`--metrics.start-timestamps`)."""
        self._start_timestamps = start_timestamps
        self._follower = follower
        self._telemetry = telemetry
        self._failures: Mapping[str, int] = {}
        self._overflowed = 0
        self._dropped: Mapping[str, int] = {}
        self._renderings = Renderings(self._render)
        # A thread of its own. The event loop's default threads have slow work, such as reading large deliveries.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scrape")
        self._clock_corrections = 0
        self.was_answered = False
        """Whether a scrape that asks for the metrics of flows was answered since the start."""
        self._answered_at = monotonic()

    def seconds_unasked(self) -> float:
        """For how long no scrape that asks for the metrics of flows was answered, or since the start without one."""
        return monotonic() - self._answered_at

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one scrape."""
        if scope["method"] not in {"GET", "HEAD"}:
            await method_not_allowed(send, b"GET, HEAD")
            return
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        halves = frozenset(value for name, value in query if name == "collect[]") or _HALVES
        if not halves <= _HALVES:
            await answer(send, 400, b"collect[] is flows or exporter\n")
            return
        headers = dict(scope["headers"])
        format_ = negotiate(headers.get(b"accept", b"").decode("latin-1"))
        gzip = accepts_gzip(headers.get(b"accept-encoding", b"").decode("latin-1"))
        started = perf_counter()
        try:
            body = await self._body_unless_given_up(_Kind(halves, format_, gzip), receive)
        except ExporterError as error:
            # Prometheus keeps its connection, and would stay with this replica while another one can answer.
            await refuse(send, error, (CLOSE,))
            return
        if body is None:
            return
        if FLOWS in halves and scope["method"] == "GET":
            self._answered_at = monotonic()
            self.was_answered = True
        self._telemetry.scrape_duration.labels(format_.value).observe(perf_counter() - started)
        await answer(
            send,
            200,
            body,
            format_.content_type.encode(),
            (*(_GZIP if gzip else ()), (b"vary", b"accept, accept-encoding")),
            without_body=scope["method"] == "HEAD",
        )

    def close(self) -> None:
        """End the thread. Blocking."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _body_unless_given_up(self, kind: _Kind, receive: Receive) -> bytes | None:
        """Return the body, or None if the client closed the connection before there was one."""
        body = asyncio.ensure_future(self._renderings.get(kind))
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait((body, gone), return_when=asyncio.FIRST_COMPLETED)
            return await body if body.done() else None
        finally:
            body.cancel()
            gone.cancel()

    async def _render(self, kind: _Kind, asked_at: float) -> bytes:
        flows = await self._flows(kind.halves, kind.format, asked_at)
        telemetry = self._telemetry if EXPORTER in kind.halves else None
        # On another thread, because joining and compressing megabytes and reading the process's files in /proc would
        # delay deliveries.
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, _assemble, flows, telemetry, kind.format, kind.gzip
        )

    async def _flows(self, halves: frozenset[str], format_: Format, asked_at: float) -> list[bytes]:
        """Return the flow half in chunks, and set the metrics of the ledger.

        The list is empty where the half was not requested, or where it can't be rendered and the other half was
        requested too. Otherwise raises LedgerUnavailableError, NotCaughtUpError or DefectError.
        """
        try:
            # The exporter half shows the ledger's position and whether it is up, so it needs the follower too.
            flows, status = await self._render_at_head(FLOWS in halves, format_, asked_at)
        except (LedgerUnavailableError, NotCaughtUpError, DefectError) as error:
            if isinstance(error, LedgerUnavailableError):
                self._telemetry.ledger_errors.labels("read").inc()
                self._telemetry.ledger_up.set(0)
            if EXPORTER not in halves:
                raise
            return []
        self._update_telemetry(status)
        return flows

    async def _render_at_head(
        self, with_flows: bool, format_: Format, asked_at: float
    ) -> tuple[list[bytes], FollowerStatus]:
        left = asked_at + _LEDGER_TIMEOUT - asyncio.get_running_loop().time()
        # After a timeout the follower goes on reading, so that the next scrape has less to do.
        try:
            async with asyncio.timeout(max(left, min(_LEDGER_TIMEOUT, _LEAST_LEDGER_TIMEOUT))):
                return await self._follower.render_at_head(
                    lambda series, status: (
                        render_flow_half(series, format_, start_timestamps=self._start_timestamps)
                        if with_flows
                        else [],
                        status,
                    )
                )
        except TimeoutError:
            raise NotCaughtUpError("the metrics are being brought to the ledger's head") from None

    def _update_telemetry(self, status: FollowerStatus) -> None:
        telemetry = self._telemetry
        telemetry.ledger_up.set(1)
        # The follower counts from its start. Counters are moved by what is new since the last scrape.
        for operation, count in status.failures.items():
            telemetry.ledger_errors.labels(operation).inc(count - self._failures.get(operation, 0))
        self._failures = status.failures
        telemetry.ledger_position.set(status.position)
        telemetry.checkpoint_position.set(status.checkpoint_position)
        telemetry.flows.set(status.flows)
        telemetry.flows_overflowed.inc(status.overflowed - self._overflowed)
        self._overflowed = status.overflowed
        for kind, count in status.dropped.items():
            telemetry.dropped_state.labels(kind).inc(count - self._dropped.get(kind, 0))
        self._dropped = status.dropped
        telemetry.clock_corrections.inc(status.clock_corrections - self._clock_corrections)
        self._clock_corrections = status.clock_corrections
        telemetry.series.set(status.series)
        telemetry.ledger_bytes.set(status.ledger_bytes)


async def _until_gone(receive: Receive) -> None:
    """Return when the client has closed the connection. The request's body is thrown away."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _assemble(flows: list[bytes], telemetry: Telemetry | None, format_: Format, gzip: bool) -> bytes:
    """Join the halves to the body of an answer. `telemetry` is None where the exporter half was not requested."""
    chunks = flows if telemetry is None else [*flows, render_exporter_half(telemetry.registry, format_)]
    body = assemble(chunks, format_)
    return compress(body) if gzip else body
