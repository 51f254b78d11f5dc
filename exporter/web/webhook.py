"""The webhook: Adobe's registration handshake, and its notifications.

The rule: a 2xx is sent only after every event of the request is on disk. What can't be understood is kept and
acknowledged all the same, because Adobe would send it for a day and then switch the registration off. Answers are in
contract 3.1; this module reads the request, the rest is given to it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Final

import structlog
from starlette.types import Receive, Scope, Send

from exporter.adobe.deliveries import challenge, open_delivery
from exporter.errors import (
    BodyTooLargeError,
    DefectError,
    ExporterError,
    KeyPathError,
    SignatureMissingError,
    SignatureWrongError,
)
from exporter.intake import anomalies
from exporter.logs import LogThrottle
from exporter.metrics.telemetry import Telemetry
from exporter.model import Delivery, Result
from exporter.web.authentication import FAILURES, Authentication, Headers
from exporter.web.body_budget import BodyBudget, Place
from exporter.web.responses import answer, method_not_allowed, refuse
from exporter.web.validation import Validations

_MAY_BE_UNSIGNED: Final = frozenset({SignatureMissingError.reason, SignatureWrongError.reason, KeyPathError.reason})
"""Why the head of a request was not believed, where its body may still be Adobe's request to confirm the webhook."""
_MAX_UNPROVEN: Final = 4096
"""Bytes that are read of such a body."""
_MAX_LENGTH_DIGITS: Final = 18

CLOSED: Final = 0
"""The status of a request that was not answered, because its sender left or was too slow."""
_READ_ELSEWHERE_FROM: Final = 256 * 1024
"""Bytes; a body of this size is read on another thread, so that the others are not kept waiting."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("webhook")


class _ClientGoneError(Exception):
    """The client closed the connection before its request was complete: there is nobody to answer."""


Record = Callable[[list[Delivery]], Awaitable[Mapping[Result, int]]]
"""Makes deliveries durable (exporter.intake.Intake.record)."""


class Webhook:
    """The endpoint as an ASGI application."""

    def __init__(
        self,
        record: Record,
        clock: Callable[[], int],
        telemetry: Telemetry,
        *,
        authentication: Authentication,
        validations: Validations,
        max_body: int,
    ) -> None:
        """Takes what it asks senders for, and where deliveries go; `max_body` in bytes."""
        self._record = record
        self._clock = clock
        self._telemetry = telemetry
        self._max_body = max_body
        self._authentication = authentication
        self._validations = validations
        self._room = BodyBudget()
        self._refusals = LogThrottle(perf_counter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = perf_counter()
        try:
            status = await self._answer(scope, receive, send)
        except ExporterError as error:
            status = await refuse(send, error)
            self._note_refusal(error)
        except _ClientGoneError:
            _log.debug("the connection was closed before its request was complete")
            status = CLOSED
        except Exception:  # noqa: BLE001 - a defect of ours: Adobe sends the delivery again while it is mended
            _log.exception("a delivery failed in a way nobody foresaw")
            status = await refuse(send, DefectError("this delivery could not be taken"))
        self._telemetry.webhook_requests.labels(str(status or "closed")).inc()
        self._telemetry.webhook_duration.observe(perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> int:
        method = scope["method"]
        if method not in {"GET", "POST"}:
            return await method_not_allowed(send, b"GET, POST")
        headers = dict(scope["headers"])
        if method == "GET":
            self._authentication.head(scope, headers)
            await answer(send, 200, challenge(scope["query_string"]).encode(errors="replace"))
            return 200
        with self._room.place() as place:
            body = await self._believed(scope, headers, receive, place)
            if body is not None:
                return await self._deliver(await self._open(headers, body), len(body), send)
        await answer(send, 200, b"ok\n")
        return 200

    async def _deliver(self, delivery: Delivery, size: int, send: Send) -> int:
        self._authentication.delivery(delivery)
        results = await self._recorded(delivery)
        self._telemetry.count_received(delivery.source.value, results, anomalies([delivery]))
        await answer(send, 200, "".join(f"{result} {count}\n" for result, count in sorted(results.items())).encode())
        _log.debug("delivery", **{result.value: count for result, count in results.items()}, bytes=size)
        return 200

    async def _believed(self, scope: Scope, headers: Headers, receive: Receive, place: Place) -> bytes | None:
        """The body of a request that is believed; None for Adobe's request to confirm the webhook, signed or not."""
        try:
            claim = self._authentication.head(scope, headers)
            await self._authentication.room(claim)
            body = await self._body(headers, receive, place, self._max_body)
        except ExporterError as error:
            if error.reason not in _MAY_BE_UNSIGNED:
                raise
            # Only so much is read for it, and whatever else it says is not looked at.
            if not self._validations.try_handle(await self._body(headers, receive, place, _MAX_UNPROVEN, error)):
                raise
            return None
        if self._validations.try_handle(body):
            return None
        await self._authentication.body(claim, body)
        return body

    async def _body(
        self, headers: Headers, receive: Receive, place: Place, most: int, otherwise: ExporterError | None = None
    ) -> bytes:
        """The whole body; raises `otherwise` (or BodyTooLargeError) where it is larger than `most` bytes."""
        too_large = otherwise or BodyTooLargeError(f"a delivery has at most {most} bytes")
        length = headers.get(b"content-length", b"0")
        if len(length) > _MAX_LENGTH_DIGITS or (length.isdigit() and int(length) > most):
            raise too_large
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientGoneError
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > most:
                raise too_large
            place.grow(len(chunk))
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)

    async def _open(self, headers: Headers, body: bytes) -> Delivery:
        now = self._clock()
        if len(body) < _READ_ELSEWHERE_FROM:
            return open_delivery(headers, body, now)
        return await asyncio.to_thread(open_delivery, headers, body, now)

    async def _recorded(self, delivery: Delivery) -> Mapping[Result, int]:
        started = perf_counter()
        try:
            results = await self._record([delivery])
        except ExporterError:
            self._telemetry.ledger_errors.labels("append").inc()
            raise
        self._telemetry.ledger_append_duration.observe(perf_counter() - started)
        return results

    def _note_refusal(self, error: ExporterError) -> None:
        if error.reason in FAILURES:
            self._telemetry.authentication_failures.labels(error.reason).inc()
        kept_back = self._refusals.allow(error.reason)
        if kept_back is not None:
            _log.warning("delivery refused", reason=error.reason, detail=str(error), more_like_it=kept_back)
