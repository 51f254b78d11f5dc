"""The webhook: Adobe's registration handshakes and its notifications.

A 2xx is sent only after every event of the request is on disk. An event that can't be understood is kept and
acknowledged all the same, because Adobe would send it for a day and then switch the registration off. The answers are
listed in docs/architecture.md, "Answers to Adobe".

`Webhook._post` is the way of one notification through the program. Each of its steps is done by another module, so this
one contains no rule about signatures, payloads or the ledger.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Final

import structlog
from starlette.types import Receive, Scope, Send

from exporter.adobe.deliveries import (
    MAX_VALIDATION,
    Validation,
    challenge,
    is_quick,
    keep_undecoded,
    open_delivery,
    validation,
)
from exporter.errors import (
    BodyTooLargeError,
    DefectError,
    ExporterError,
    KeyPathError,
    KeyUnavailableError,
    SignatureMissingError,
    SignatureWrongError,
    TooManyEventsError,
)
from exporter.intake import Record, anomalies
from exporter.logs import LogThrottle
from exporter.metrics.telemetry import Telemetry
from exporter.model import Delivery, Result
from exporter.web.authentication import FAILURES, Authentication, Claim, Headers, Proof
from exporter.web.body_budget import BodyBudget, ClientGoneError, Reservation, read_body
from exporter.web.content_encoding import (
    QUICK_BODY,
    QUICK_CONTENT,
    UndecodableError,
    content_encodings,
    decode,
    decoded_size,
)
from exporter.web.responses import answer, method_not_allowed, peer_of, refuse
from exporter.web.slow_reading import SlowReading
from exporter.web.validation import Validations

_MAX_UNSIGNED: Final = 4096
"""Bytes that are read of a body without a valid claim to a signature."""

_CONFIRMED: Final = b"ok\n"
"""The answer to Adobe's request to confirm the webhook."""

TOO_LARGE: Final = (BodyTooLargeError.reason, TooManyEventsError.reason)
"""Every reason for which a request is refused with 413."""

Refused = Callable[[str, str], None]
"""Is called with the reason for which a request was refused, and the address of its sender."""

CLOSED: Final = 0
"""The status of a request that was not answered, because its sender left or was too slow."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("webhook")


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
        refused: Refused,
        precedence: AbstractContextManager[None],
    ) -> None:
        """`record` makes deliveries durable. `clock` returns milliseconds since 1970. `max_body` is in bytes.

        `precedence` is entered while a delivery that has arrived is being taken.

        `refused` is called with each request that is refused for good.
        """
        self._record = record
        self._clock = clock
        self._telemetry = telemetry
        self._max_body = max_body
        self._authentication = authentication
        self._validations = validations
        self._body_budget = BodyBudget(perf_counter, max_body=max_body)
        self._slow_reading = SlowReading()
        self._refused = refused
        self._precedence = precedence
        self._refusals = LogThrottle(perf_counter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and count it by the status of the answer."""
        started = perf_counter()
        try:
            status = await self._answer(scope, receive, send)
        except ExporterError as error:
            status = await refuse(send, error)
            self._report_refusal(error, peer_of(scope))
        except ClientGoneError:
            _log.debug("the connection was closed before its request was complete")
            status = CLOSED
        except Exception:  # noqa: BLE001 - with a 503 Adobe sends the delivery again, until the defect is mended
            _log.exception("an unexpected error kept a delivery from being recorded")
            status = await refuse(send, DefectError("this delivery could not be recorded"))
        self._telemetry.webhook_requests.labels(str(status or "closed")).inc()
        self._telemetry.webhook_duration.observe(perf_counter() - started)

    def close(self) -> None:
        """End the thread for slow reading."""
        self._slow_reading.close()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> int:
        match scope["method"]:
            case "GET":
                body = self._get(scope, dict(scope["headers"]))
            case "POST":
                body = await self._post(scope, dict(scope["headers"]), receive)
            case _:
                return await method_not_allowed(send, b"GET, POST")
        await answer(send, 200, body)
        return 200

    def _get(self, scope: Scope, headers: Headers) -> bytes:
        """Return the challenge of a registration. Raises an error of exporter.errors where the request is refused."""
        self._authentication.verify_headers(scope, headers)
        return challenge(scope["query_string"]).encode(errors="replace")

    async def _post(self, scope: Scope, headers: Headers, receive: Receive) -> bytes:
        """Verify and record one delivery, and return the text of the answer.

        Each step raises the error of exporter.errors with which the request is refused.
        """
        authentication = self._authentication
        async with self._body_budget.reserve(scope.get("client")) as reservation:
            try:
                claim = authentication.verify_headers(scope, headers)
            except (SignatureMissingError, KeyPathError) as error:
                return await self._handle_unsigned_handshake(scope, headers, receive, reservation, error)
            if not claim:
                reservation.accept_sender()
            await authentication.require_key(claim)
            body = await read_body(headers, receive, reservation, self._max_body)
            with self._precedence:
                encodings = content_encodings(scope["headers"])
                if (request := _validation(encodings, body)) is not None:
                    is_signed = await self._is_signed(claim, body)
                    self._validations.handle(request.url, scope.get("client"), is_signed=is_signed)
                    return _CONFIRMED
                proof = await self._verify_body(claim, body, reservation)
                reservation.protect()
                content = await self._decode(encodings, body, receive, reservation)
                delivery = await self._parse(headers, body, content, receive)
                authentication.verify_recipient(delivery)
                await authentication.trust(claim, body, proof)
                reservation.prove_connection()
                results = await self._record_and_count(delivery)
            _log.debug("delivery", **{result.value: count for result, count in results.items()}, bytes=len(body))
            return "".join(f"{result} {count}\n" for result, count in sorted(results.items())).encode()

    async def _verify_body(self, claim: Claim, body: bytes, reservation: Reservation) -> Proof:
        try:
            return await self._authentication.verify_body(claim, body)
        except SignatureWrongError:
            reservation.disprove_connection()
            raise

    async def _is_signed(self, claim: Claim, body: bytes) -> bool:
        """Whether a request for validation, which needs no signature, has one."""
        try:
            return await self._authentication.verify_body(claim, body) is not None
        except (SignatureWrongError, KeyUnavailableError):
            return False

    async def _handle_unsigned_handshake(
        self,
        scope: Scope,
        headers: Headers,
        receive: Receive,
        reservation: Reservation,
        error: SignatureMissingError | KeyPathError,
    ) -> bytes:
        """Return the answer to Adobe's request to confirm the webhook, which may come unsigned.

        Raises `error`, which the headers caused, where the body holds anything else.
        """
        try:
            body = await read_body(headers, receive, reservation, _MAX_UNSIGNED)
        except BodyTooLargeError:
            raise error from None
        request = _validation(content_encodings(scope["headers"]), body)
        if request is None:
            raise error
        self._validations.handle(request.url, scope.get("client"), is_signed=False)
        return _CONFIRMED

    async def _decode(
        self, encodings: tuple[bytes, ...], body: bytes, receive: Receive, reservation: Reservation
    ) -> bytes | None:
        """Return what a verified body holds. None if its encodings can't be undone.

        Raises BodyTooLargeError where the content is too large, and OverloadedError where there is no room for it.
        """
        if not encodings:
            return body
        try:
            if len(body) <= QUICK_BODY and (size := decoded_size(body, encodings, QUICK_CONTENT)) <= QUICK_CONTENT:
                self._reserve_content(reservation, size)
                return decode(body, encodings, QUICK_CONTENT)
            run = self._slow_reading.run
            size = await run(receive, lambda: decoded_size(body, encodings, self._max_body))
            self._reserve_content(reservation, size)
            return await run(receive, lambda: decode(body, encodings, self._max_body))
        except UndecodableError:
            return None

    def _reserve_content(self, reservation: Reservation, size: int) -> None:
        """Raises BodyTooLargeError or OverloadedError."""
        if size > self._max_body:
            raise BodyTooLargeError(f"a delivery has at most {self._max_body} bytes, also after decompression")
        reservation.extend(size)

    async def _parse(self, headers: Headers, body: bytes, content: bytes | None, receive: Receive) -> Delivery:
        """Read the events in the content of a body. Without content the body is kept as it came."""
        now = self._clock()
        if content is None:
            return keep_undecoded(headers, body, now)
        if is_quick(content):
            return open_delivery(headers, content, now)
        return await self._slow_reading.run(receive, lambda: open_delivery(headers, content, now))

    async def _record_and_count(self, delivery: Delivery) -> Mapping[Result, int]:
        """Make a delivery durable. Return its number of events by result. Raises what `record` raises."""
        started = perf_counter()
        try:
            results = await self._record([delivery])
        except ExporterError:
            self._telemetry.ledger_errors.labels("append").inc()
            raise
        self._telemetry.ledger_append_duration.observe(perf_counter() - started)
        self._telemetry.count_received(delivery.source.value, results, anomalies([delivery]))
        return results

    def _report_refusal(self, error: ExporterError, peer: str) -> None:
        """Count a failed authentication, and log the first refusal of each reason and few of those that follow."""
        if error.reason in FAILURES:
            self._telemetry.authentication_failures.labels(error.reason).inc()
        if error.reason in (*FAILURES, *TOO_LARGE):
            self._refused(error.reason, peer)
        suppressed = self._refusals.allow(error.reason)
        if suppressed is not None:
            _log.warning("delivery refused", reason=error.reason, detail=str(error), more_like_it=suppressed)


def _validation(encodings: tuple[bytes, ...], body: bytes) -> Validation | None:
    """The request for validation that a body holds.

    The body is not verified yet, so no more of it is inflated than such a request can have.
    """
    if len(body) > MAX_VALIDATION:
        return None
    try:
        return validation(decode(body, encodings, MAX_VALIDATION))
    except (UndecodableError, BodyTooLargeError):
        return None
