"""GET /metrics: catch up with the ledger, then render.

`collect[]=flows` is the ledger's half, `collect[]=exporter` this process's; both without it. When the ledger can't be
read, the flow half is left out rather than answered with older counters: alone it is 503, with the other half the
scrape goes on and `aep_exporter_ledger_up` says 0.
"""

import asyncio
from collections.abc import Mapping
from time import perf_counter
from typing import Final
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
from exporter.metrics.series import SeriesStore
from exporter.metrics.telemetry import Telemetry
from exporter.web.responses import answer, method_not_allowed, refuse

_HALVES: Final = frozenset({FLOWS, EXPORTER})
_GZIP: Final = ((b"content-encoding", b"gzip"),)
_PATIENCE: Final = 5.0
"""Seconds that a scrape waits for the ledger; half of Prometheus's own default."""


class Scrape:
    """The endpoint as an ASGI application."""

    def __init__(self, follower: Follower, telemetry: Telemetry, *, start_timestamps: bool = False) -> None:
        """Takes what it renders, and whether series say when they were born; renders nothing until it is asked."""
        self._start_timestamps = start_timestamps
        self._follower = follower
        self._telemetry = telemetry
        self._failures: Mapping[str, int] = {}
        self._overflowed = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Answer one scrape."""
        if scope["method"] not in {"GET", "HEAD"}:
            await method_not_allowed(send, b"GET, HEAD")
            return
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        halves = {value for name, value in query if name == "collect[]"} or _HALVES
        if not halves <= _HALVES:
            await answer(send, 400, b"collect[] is flows or exporter\n")
            return
        headers = dict(scope["headers"])
        format_ = negotiate(headers.get(b"accept", b"").decode("latin-1"))
        gzip = accepts_gzip(headers.get(b"accept-encoding", b"").decode("latin-1"))
        started = perf_counter()
        try:
            flows = await self._flows(halves, format_)
        except ExporterError as error:
            await refuse(send, error)
            return
        own = self._telemetry if EXPORTER in halves else None
        # On a thread of its own: megabytes are joined and compressed, and what the process does is read from files.
        body = await asyncio.to_thread(_assembled, flows, own, format_, gzip=gzip)
        self._telemetry.scrape_duration.labels(format_.value).observe(perf_counter() - started)
        await answer(
            send,
            200,
            body,
            format_.content_type.encode(),
            (*(_GZIP if gzip else ()), (b"vary", b"accept, accept-encoding")),
            without_body=scope["method"] == "HEAD",
        )

    async def _flows(self, halves: frozenset[str] | set[str], format_: Format) -> list[bytes]:
        """The flow half in pieces; none where it is not asked for, or can be left out of the other half's scrape."""
        try:
            # Also for the exporter's half alone: it says how far the metrics are and whether the ledger is up.
            flows, status = await self._render_at_head(FLOWS in halves, format_)
        except (LedgerUnavailableError, NotCaughtUpError, DefectError) as error:
            if isinstance(error, LedgerUnavailableError):
                self._telemetry.ledger_errors.labels("read").inc()
                self._telemetry.ledger_up.set(0)
            if EXPORTER not in halves:
                raise
            return []
        self._note(status)
        return flows

    async def _render_at_head(self, with_flows: bool, format_: Format) -> tuple[list[bytes], FollowerStatus]:
        def rendered(series: SeriesStore, status: FollowerStatus) -> tuple[list[bytes], FollowerStatus]:
            if not with_flows:
                return [], status
            return render_flow_half(series, format_, start_timestamps=self._start_timestamps), status

        # The work goes on when we stop waiting for it: the next scrape finds it done.
        work = asyncio.ensure_future(self._follower.render_at_head(rendered))
        try:
            return await asyncio.wait_for(asyncio.shield(work), _PATIENCE)
        except TimeoutError:
            work.add_done_callback(_retrieve)
            raise NotCaughtUpError("the metrics are being brought to the ledger's head") from None

    def _note(self, status: FollowerStatus) -> None:
        telemetry = self._telemetry
        telemetry.ledger_up.set(1)
        for operation, count in status.failures.items():
            telemetry.ledger_errors.labels(operation).inc(count - self._failures.get(operation, 0))
        self._failures = status.failures
        telemetry.ledger_position.set(status.position)
        telemetry.checkpoint_position.set(status.checkpoint_position)
        telemetry.flows.set(status.flows)
        telemetry.flows_overflowed.inc(status.overflowed - self._overflowed)
        self._overflowed = status.overflowed
        telemetry.series.set(status.series)
        telemetry.ledger_bytes.set(status.ledger_bytes)


def _assembled(flows: list[bytes], own: Telemetry | None, format_: Format, *, gzip: bool) -> bytes:
    """The answer's body."""
    body = assemble(flows if own is None else [*flows, render_exporter_half(own.registry, format_)], format_)
    return compress(body) if gzip else body


def _retrieve(work: "asyncio.Future[tuple[list[bytes], FollowerStatus]]") -> None:
    """Take the outcome of abandoned work; what failed was logged where it failed."""
    if not work.cancelled():
        work.exception()
