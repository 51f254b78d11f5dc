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
from exporter.follow import Follower, Standing
from exporter.metrics.catalogue import EXPORTER, FLOWS
from exporter.metrics.exposition import Format, accepts_gzip, compress, flow_half, negotiate, own_half, whole
from exporter.metrics.series import Series
from exporter.metrics.telemetry import Telemetry
from exporter.web.answers import answer, method_not_allowed, refuse

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
        is_packed = accepts_gzip(headers.get(b"accept-encoding", b"").decode("latin-1"))
        started = perf_counter()
        try:
            flows = await self._flows(halves, format_)
        except ExporterError as error:
            await refuse(send, error)
            return
        own = self._telemetry if EXPORTER in halves else None
        # On a thread of its own: megabytes are joined and compressed, and what the process does is read from files.
        body = await asyncio.to_thread(_whole, flows, own, format_, is_packed=is_packed)
        self._telemetry.scrape_duration.labels(format_.value).observe(perf_counter() - started)
        await answer(
            send,
            200,
            body,
            format_.content_type.encode(),
            (*(_GZIP if is_packed else ()), (b"vary", b"accept, accept-encoding")),
            without_body=scope["method"] == "HEAD",
        )

    async def _flows(self, halves: frozenset[str] | set[str], format_: Format) -> list[bytes]:
        """The flow half in pieces; none where it is not asked for, or can be left out of the other half's scrape."""
        try:
            # Also for the exporter's half alone: it says how far the metrics are and whether the ledger is up.
            flows, standing = await self._at_head(FLOWS in halves, format_)
        except (LedgerUnavailableError, NotCaughtUpError, DefectError) as error:
            if isinstance(error, LedgerUnavailableError):
                self._telemetry.ledger_errors.labels("read").inc()
                self._telemetry.ledger_up.set(0)
            if EXPORTER not in halves:
                raise
            return []
        self._note(standing)
        return flows

    async def _at_head(self, with_flows: bool, format_: Format) -> tuple[list[bytes], Standing]:
        def rendered(series: Series, standing: Standing) -> tuple[list[bytes], Standing]:
            if not with_flows:
                return [], standing
            return flow_half(series, format_, start_timestamps=self._start_timestamps), standing

        # The work goes on when we stop waiting for it: the next scrape finds it done.
        work = asyncio.ensure_future(self._follower.at_head(rendered))
        try:
            return await asyncio.wait_for(asyncio.shield(work), _PATIENCE)
        except TimeoutError:
            work.add_done_callback(_retrieve)
            raise NotCaughtUpError("the metrics are being brought to the ledger's head") from None

    def _note(self, standing: Standing) -> None:
        telemetry = self._telemetry
        telemetry.ledger_up.set(1)
        for operation, count in standing.failures.items():
            telemetry.ledger_errors.labels(operation).inc(count - self._failures.get(operation, 0))
        self._failures = standing.failures
        telemetry.ledger_position.set(standing.position)
        telemetry.checkpoint_position.set(standing.checkpoint_position)
        telemetry.flows.set(standing.flows)
        telemetry.flows_overflowed.inc(standing.overflowed - self._overflowed)
        self._overflowed = standing.overflowed
        telemetry.series.set(standing.series)
        telemetry.ledger_bytes.set(standing.ledger_bytes)


def _whole(flows: list[bytes], own: Telemetry | None, format_: Format, *, is_packed: bool) -> bytes:
    """The answer's body."""
    body = whole(flows if own is None else [*flows, own_half(own.registry, format_)], format_)
    return compress(body) if is_packed else body


def _retrieve(work: "asyncio.Future[tuple[list[bytes], Standing]]") -> None:
    """Take the outcome of abandoned work; what failed was logged where it failed."""
    if not work.cancelled():
        work.exception()
