"""The order of the steps in which a delivery is verified and recorded, and what is read and counted when one fails."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import nullcontext
from typing import Final

import httpx
import pytest
from starlette.types import Scope

from exporter.adobe.payloads import ANOMALY_FIELDS
from exporter.errors import (
    ClientIdError,
    ExporterError,
    KeyPathError,
    KeyUnavailableError,
    LedgerUnavailableError,
    SignatureMissingError,
    SignatureWrongError,
    WrongTokenError,
)
from exporter.metrics.telemetry import Telemetry
from exporter.model import Delivery, Result
from exporter.web import app, webhook
from exporter.web.authentication import FAILURES, Claim, Headers, Proof
from exporter.web.content_encoding import decoded_size
from exporter.web.validation import Validations
from exporter.web.webhook import Webhook

EVENT: Final = b'{"hello": "world"}'
HANDSHAKE: Final = json.dumps({"validationUrl": "https://csm.adobe.io/csm/registrations/validate?id=1"}).encode()
STEPS: Final = ("verify_headers", "require_key", "read", "verify_body", "verify_recipient", "trust", "record")
MAX_BODY: Final = 10_000
UNSIGNED_LIMIT: Final = 4096


class Steps:
    """A webhook of which one step fails. Lists the steps that were taken."""

    def __init__(self, failing: str = "", error: ExporterError | None = None) -> None:
        self.taken: list[str] = []
        self.read = 0
        self.verified: list[bytes] = []
        self.telemetry = Telemetry(
            "1.2.3",
            sources=("webhook",),
            results=tuple(Result),
            authentication_failures=FAILURES,
            anomaly_fields=ANOMALY_FIELDS,
        )
        self.validations = Validations(lambda: 0, time.monotonic)
        self._failing = failing
        self._error = error
        webhook = Webhook(
            self._record,
            lambda: 0,
            self.telemetry,
            authentication=self,
            validations=self.validations,
            max_body=MAX_BODY,
            refused=lambda reason, peer: self.refused.append((reason, peer)),
            precedence=nullcontext(),
        )
        self.refused: list[tuple[str, str]] = []
        self._app = app.build(app.webhook_routes(webhook, "/webhook", takes_token=False))

    def _take(self, step: str) -> None:
        self.taken.append(step)
        if step == self._failing:
            assert self._error is not None
            raise self._error

    def verify_headers(self, scope: Scope, headers: Headers) -> Claim:  # noqa: ARG002 - the protocol's signature
        """The first step."""
        self._take("verify_headers")
        return ()

    async def require_key(self, claim: Claim) -> None:  # noqa: ARG002 - the protocol's signature
        """The second step."""
        self._take("require_key")

    async def verify_body(self, claim: Claim, body: bytes) -> Proof:  # noqa: ARG002 - the protocol's signature
        """The fourth step, after the body was read."""
        self.verified.append(body)
        self._take("verify_body")
        return None

    def verify_recipient(self, delivery: Delivery) -> None:  # noqa: ARG002 - the protocol's signature
        """The fifth step, after the body was parsed."""
        self._take("verify_recipient")

    async def trust(self, claim: Claim, body: bytes, proof: Proof) -> None:  # noqa: ARG002 - the protocol's signature
        """The sixth step."""
        self._take("trust")

    async def _record(self, deliveries: list[Delivery]) -> Mapping[Result, int]:
        self._take("record")
        return {Result.RECORDED: sum(len(delivery.events) for delivery in deliveries)}

    def post(self, body: bytes, size: int = 500, encoding: str = "identity") -> httpx.Response:
        """Post a body in chunks, without its length."""

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(body), size):
                if not self.read:
                    self.taken.append("read")
                self.read += len(body[start : start + size])
                yield body[start : start + size]

        async def request() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://test") as client:
                return await client.post("/webhook", content=chunks(), headers={"content-encoding": encoding})

        return asyncio.run(request())

    def counted(self, name: str, **labels: str) -> float | None:
        """The value of a metric of the exporter."""
        return self.telemetry.registry.get_sample_value(f"aep_exporter_{name}", labels)


def test_the_steps_of_a_delivery() -> None:
    """A delivery is read only after its headers and key are verified, and recorded after everything else."""
    steps = Steps()
    response = steps.post(EVENT)
    assert (response.status_code, response.text) == (200, "recorded 1\n")
    assert steps.taken == list(STEPS)
    assert steps.counted("webhook_requests_total", code="200") == 1
    assert steps.counted("notifications_total", source="webhook", result="recorded") == 1


@pytest.mark.parametrize(
    ("error", "status"), [(None, 200), (SignatureWrongError("made up"), 401)], ids=["right", "wrong"]
)
def test_a_compressed_delivery_is_verified_first(
    error: ExporterError | None, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signature is verified of the bytes as they came, and what is not verified is not decompressed."""
    steps = Steps("verify_body" if error else "", error)

    def decoded(body: bytes, encodings: tuple[bytes, ...], most: int) -> int:
        steps.taken.append("decode")
        return decoded_size(body, encodings, most)

    monkeypatch.setattr(webhook, "decoded_size", decoded)
    body = gzip.compress(EVENT)
    assert steps.post(body, encoding="gzip").status_code == status
    assert steps.verified == [body]
    expected = ("verify_headers", "require_key", "read", "verify_body", "decode", "verify_recipient", "trust", "record")
    assert steps.taken == list(expected[: 4 if error else None])


@pytest.mark.parametrize(
    ("step", "error", "status"),
    [
        ("verify_headers", WrongTokenError("made up"), 401),
        ("require_key", KeyUnavailableError("made up"), 503),
        ("verify_body", SignatureWrongError("made up"), 401),
        ("verify_body", KeyUnavailableError("made up"), 503),
        ("verify_recipient", ClientIdError("made up"), 401),
        ("record", LedgerUnavailableError("made up"), 503),
    ],
    ids=["token", "no key", "wrong signature", "no other key", "recipient", "ledger"],
)
def test_a_step_that_fails_ends_the_delivery(step: str, error: ExporterError, status: int) -> None:
    """After a step that fails no other is taken, and the refusal is counted once."""
    steps = Steps(step, error)
    response = steps.post(EVENT)
    assert (response.status_code, response.text) == (status, "made up\n")
    assert steps.taken == list(STEPS[: STEPS.index(step) + 1])
    assert steps.counted("webhook_requests_total", code=str(status)) == 1
    assert sum(steps.counted("authentication_failures_total", reason=reason) or 0 for reason in FAILURES) == (
        status == 401
    )
    assert steps.counted("ledger_errors_total", operation="append") == (step == "record")
    assert not steps.counted("notifications_total", source="webhook", result="recorded")


def test_a_signed_handshake() -> None:
    """Adobe's request to confirm the webhook is answered even if its signature is wrong, and is not recorded."""
    steps = Steps("verify_body", SignatureWrongError("made up"))
    assert (steps.post(HANDSHAKE).status_code, steps.taken) == (200, list(STEPS[:4]))
    assert steps.validations.latest is not None


@pytest.mark.parametrize("error", [SignatureMissingError("made up"), KeyPathError("made up")], ids=["none", "key path"])
def test_an_unsigned_handshake(error: ExporterError) -> None:
    """Adobe's request to confirm the webhook is answered without a signature, and counts as no failure."""
    steps = Steps("verify_headers", error)
    response = steps.post(HANDSHAKE)
    assert (response.status_code, response.text) == (200, "ok\n")
    assert steps.taken == ["verify_headers", "read"]
    assert steps.validations.latest is not None
    assert steps.counted("authentication_failures_total", reason=error.reason) == 0


@pytest.mark.parametrize("body", [EVENT, b"", b" " * UNSIGNED_LIMIT], ids=["event", "empty", "as large as is read"])
@pytest.mark.parametrize("error", [SignatureMissingError("made up"), KeyPathError("made up")], ids=["none", "key path"])
def test_an_unsigned_delivery(error: ExporterError, body: bytes) -> None:
    """Any other unsigned body is refused for the reason that its headers gave."""
    steps = Steps("verify_headers", error)
    assert (steps.post(body).status_code, steps.post(body).text) == (401, "made up\n")
    assert steps.counted("authentication_failures_total", reason=error.reason) == 2
    assert "record" not in steps.taken


def test_an_unsigned_body_that_is_too_large() -> None:
    """Of an unsigned body little more than 4096 bytes are read, and it is refused as unsigned, not as too large."""
    steps = Steps("verify_headers", SignatureMissingError("made up"))
    assert steps.post(HANDSHAKE + b" " * MAX_BODY).status_code == 401
    assert UNSIGNED_LIMIT < steps.read <= UNSIGNED_LIMIT + 500
    assert steps.validations.latest is None


@pytest.mark.parametrize("step", ["verify_headers", "require_key"])
@pytest.mark.parametrize("error", [WrongTokenError("made up"), KeyUnavailableError("made up")], ids=["token", "key"])
def test_a_handshake_with_another_fault(step: str, error: ExporterError) -> None:
    """A request to confirm the webhook is not read where the token is wrong or the key is unavailable."""
    steps = Steps(step, error)
    assert steps.post(HANDSHAKE).status_code in {401, 503}
    assert steps.read == 0
    assert steps.validations.latest is None
