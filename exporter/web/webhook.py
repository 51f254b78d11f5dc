"""The webhook: Adobe's registration handshake, and its notifications.

The rule: a 2xx is sent only after every event of the request is on disk. What can't be understood is kept and
acknowledged all the same, because Adobe would send it for a day and then switch the registration off. Answers are in
contract 3.1; this module reads the request, the rest is given to it.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Final

import structlog
from starlette.types import Receive, Scope, Send

from exporter.adobe.envelope import Validation, challenge, open_delivery
from exporter.errors import (
    BodyTooLargeError,
    DefectError,
    ExporterError,
    WrongTokenError,
)
from exporter.flowrun import Delivery, Result
from exporter.intake import anomalies
from exporter.metrics.telemetry import Telemetry
from exporter.web.answers import answer, method_not_allowed, refuse

AUTHENTICATION_FAILURES: Final = (WrongTokenError.reason,)

_MAX_LENGTH_DIGITS: Final = 18
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
        max_body: int,
        token: str | None = None,
    ) -> None:
        """`token`: what the path's last segment must be; None when anybody may post (authentication `none`)."""
        self._record = record
        self._clock = clock
        self._telemetry = telemetry
        self._max_body = max_body
        self._token = token.encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = perf_counter()
        try:
            status = await self._answer(scope, receive, send)
        except ExporterError as error:
            status = await refuse(send, error)
            self._note_refusal(error)
        except _ClientGoneError:
            _log.debug("the client closed the connection before its request was complete")
            return
        except Exception:  # noqa: BLE001 - a defect of ours: Adobe sends the delivery again while it is mended
            _log.exception("a delivery failed in a way nobody foresaw")
            status = await refuse(send, DefectError("this delivery could not be taken"))
        self._telemetry.webhook_requests.labels(str(status)).inc()
        self._telemetry.webhook_duration.observe(perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> int:
        method = scope["method"]
        if method not in {"GET", "POST"}:
            return await method_not_allowed(send, b"GET, POST")
        self._authenticate(scope)
        if method == "GET":
            await answer(send, 200, challenge(scope["query_string"]).encode(errors="replace"))
            return 200
        headers = dict(scope["headers"])
        body = await self._body(headers, receive)
        opened = await self._open(headers, body)
        if isinstance(opened, Validation):
            _note_validation(opened)
            await answer(send, 200, b"ok\n")
            return 200
        results = await self._recorded(opened)
        self._telemetry.count_received(opened.source.value, results, anomalies([opened]))
        await answer(send, 200, "".join(f"{result} {count}\n" for result, count in sorted(results.items())).encode())
        _log.debug("delivery", **{result.value: count for result, count in results.items()}, bytes=len(body))
        return 200

    def _authenticate(self, scope: Scope) -> None:
        if self._token is None:
            return
        given = str(scope["path_params"].get("token", "")).encode(errors="replace")
        if not hmac.compare_digest(given, self._token):
            raise WrongTokenError("the path does not end in the token")

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        too_large = BodyTooLargeError(f"a delivery has at most {self._max_body} bytes")
        length = headers.get(b"content-length", b"0")
        if len(length) > _MAX_LENGTH_DIGITS or (length.isdigit() and int(length) > self._max_body):
            raise too_large
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientGoneError
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._max_body:
                raise too_large
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)

    async def _open(self, headers: Mapping[bytes, bytes], body: bytes) -> Delivery | Validation:
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
        if error.reason in AUTHENTICATION_FAILURES:
            self._telemetry.authentication_failures.labels(error.reason).inc()
        _log.warning("delivery refused", reason=error.reason, detail=str(error))


def _note_validation(validation: Validation) -> None:
    _log.warning(
        "Adobe asks for this webhook to be confirmed: open the address within five minutes", url=validation.url
    )
