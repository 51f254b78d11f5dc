import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from exporter.errors import CommitTimeoutError, ExporterError, LedgerUnavailableError, QueueFullError
from exporter.ledger import Cursor, Draft, Receipt
from tests.web.conftest import TOKEN, Application, Make

RUN = {
    "event_id": "event-1",
    "event": {"id": "run-1", "flowId": "flow-1", "metrics": {"statusSummary": {"status": "failed"}}},
}
BODY = json.dumps(RUN).encode()


def received(application: Application) -> dict[str, float]:
    """The values of `aep_exporter_notifications_total` for the webhook that are not 0, by result."""
    samples = application.telemetry.registry.collect()
    return {
        sample.labels["result"]: sample.value
        for family in samples
        for sample in family.samples
        if sample.name == "aep_exporter_notifications_total" and sample.labels["source"] == "webhook" and sample.value
    }


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        pytest.param(
            "?challenge=8ec8d794-e0ab-42df-9017-e3dada8e84f7", 200, "8ec8d794-e0ab-42df-9017-e3dada8e84f7", id="uuid"
        ),
        pytest.param("?challenge=%3Cb%3E%26%20%2B", 200, "<b>& +", id="encoded"),
        pytest.param("?x=1&challenge=a", 200, "a", id="among others"),
        pytest.param("?challenge=" + "a" * 1024, 200, "a" * 1024, id="as long as it may be"),
        pytest.param("?challenge=" + "a" * 1025, 400, None, id="too long"),
        pytest.param("?challenge=", 400, None, id="empty"),
        pytest.param("", 400, None, id="none"),
    ],
)
def test_the_challenge_is_echoed(application: Application, query: str, status: int, text: str | None) -> None:
    """The challenge of a registration is returned unchanged, as plain text."""
    response = application.request("GET", "/webhook" + query)
    assert response.status_code == status
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    if text is not None:
        assert response.text == text


@pytest.mark.parametrize(
    ("body", "results"),
    [
        pytest.param(BODY, {"recorded": 1}, id="a run"),
        pytest.param(b"[" + BODY + b"]", {"recorded": 1}, id="a batch of one"),
        pytest.param(b"[" + BODY + b"," + BODY + b"]", {"recorded": 1, "duplicate": 1}, id="twice in one batch"),
        pytest.param(b'{"hello": "world"}', {"unsupported": 1}, id="another topic"),
        pytest.param(
            b'{"metrics": {"statusSummary": {"status": "failed"}}}', {"unsupported": 1}, id="a run without ids"
        ),
        pytest.param(b"", {"unreadable": 1}, id="nothing"),
        pytest.param(b"\x00\xff\xfe", {"unreadable": 1}, id="no text"),
        pytest.param(b"null", {"unreadable": 1}, id="no object"),
        pytest.param(b"[[]]", {"unreadable": 1}, id="an element that is no object"),
        pytest.param(b"[]", {}, id="an empty batch"),
        pytest.param(b"{" * 20_000, {"unreadable": 1}, id="nested too deep"),
        pytest.param(b'[{"a": }, ' + BODY + b"]", {"unreadable": 1, "recorded": 1}, id="one damaged element"),
    ],
)
def test_what_is_delivered_is_kept_and_acknowledged(
    application: Application, body: bytes, results: dict[str, int]
) -> None:
    """Everything that an authentic sender delivers is acknowledged and kept, and counted by its result."""
    response = application.post(body)
    assert response.status_code == 200
    assert received(application) == results
    assert len(application.bodies()) == sum(count for result, count in results.items() if result != "duplicate")


def test_every_event_that_is_not_understood_has_a_reason(
    application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    """The reasons add up to the unsupported and unreadable events. A duplicate adds to neither, and none is logged."""
    run = RUN["event"]
    assert isinstance(run, dict)
    for _ in range(2):
        for body in (
            BODY,
            json.dumps([{"hello": "sailor"}, run | {"metrics": {}}, run | {"flowId": ""}]).encode(),
            json.dumps({"header": {"_adobeio": {"eventCode": "audit_events_info"}}, "payload": "secret"}).encode(),
            json.dumps({"id": "f", "name": "Tide tables", "flowSpec": {}}).encode(),
            b"ahoy, secret",
            b'[{"a": }, 5]',
        ):
            assert application.post(body).status_code == 200
    text = application.metrics("?collect[]=exporter")
    reasons = {
        sample.labels["reason"]: sample.value
        for family in application.telemetry.registry.collect()
        for sample in family.samples
        if sample.name == "aep_exporter_not_understood_total"
    }
    assert reasons == {
        "other_topic": 2,
        "no_flow_id": 1,
        "no_run_id": 0,
        "no_status": 1,
        "unknown_shape": 1,
        "unreadable": 3,
    }
    results = received(application)
    assert results["unsupported"] + results["unreadable"] == sum(reasons.values())
    assert 'aep_exporter_not_understood_total{reason="no_run_id"} 0.0' in text
    assert "secret" not in caplog.text


def test_a_redelivery_changes_nothing_else(application: Application) -> None:
    """A repeated delivery does not change the flow half, and counts one duplicate in the exporter half."""
    application.post(BODY)
    before = application.metrics("?collect[]=flows")
    application.post(BODY)
    assert application.metrics("?collect[]=flows") == before
    assert received(application) == {"recorded": 1, "duplicate": 1}


def test_headers_serve_a_single_event_only(application: Application) -> None:
    """The event id in the headers identifies a single event that has none of its own, but not those of a batch."""
    one, two, three = (json.dumps(RUN["event"]).replace("run-1", f"run-{number}") for number in "123")
    first = {"x-adobe-event-id": "header-id"}
    application.request("POST", "/webhook", content=one, headers=first)
    application.request("POST", "/webhook", content=two, headers=first)
    application.request("POST", "/webhook", content=f"[{two}, {three}]", headers=first)
    assert received(application) == {"recorded": 3, "duplicate": 1}


@pytest.mark.parametrize(
    ("body", "counted"),
    [
        pytest.param({"validationUrl": "https://csm.adobe.io/csm/registrations/validate?id=1"}, {}, id="alone"),
        pytest.param({"validationUrl": "x", "more": 1}, {"unsupported": 1}, id="with more"),
        pytest.param([{"validationUrl": "x"}], {"unsupported": 1}, id="in a batch"),
    ],
)
def test_a_lone_validation_url_is_no_event(
    application: Application,
    body: dict[str, Any] | list[Any],
    counted: dict[str, int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A lone validation URL is answered with 200, and is neither recorded nor counted as an event."""
    with caplog.at_level(logging.WARNING):
        assert application.post(json.dumps(body)).status_code == 200
    assert received(application) == counted
    assert len(application.bodies()) == sum(counted.values())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/webhook/{TOKEN}", 200),
        ("/webhook", 401),
        ("/webhook/", 401),
        ("/webhook/wrong-token-of-some-length", 401),
        (f"/webhook/{TOKEN}x", 401),
        (f"/webhook/{TOKEN}/", 401),
        (f"/webhook/x/{TOKEN}", 401),
        (f"/webhook/{TOKEN.upper()}", 401),
        ("/webhook/%ff%00", 401),
    ],
)
def test_the_token_ends_the_path(make: Make, path: str, status: int) -> None:
    """With a token, only the path that ends in it is accepted, for the challenge and for deliveries."""
    application = make(f"--webhook.token={TOKEN}")
    assert application.request("GET", path + "?challenge=x").status_code == status
    assert application.post(BODY, path).status_code == status
    assert len(application.bodies()) == (status == 200)
    failures = application.telemetry.registry.get_sample_value(
        "aep_exporter_authentication_failures_total", {"reason": "token"}
    )
    assert failures == (0 if status == 200 else 2)


@pytest.mark.parametrize("path", ["/webhook/anything", "/webhooks", "/Webhook", "/nowhere"])
def test_other_paths_are_not_the_webhook(application: Application, path: str) -> None:
    """Without a token, only the path itself and the path with a slash take deliveries. No path redirects."""
    assert application.post(BODY, path).status_code == 404
    assert application.post(BODY, "/webhook/").status_code == 200


@pytest.mark.parametrize(
    ("size", "status"), [(1000, 200), (1001, 413)], ids=["as large as it may be", "one byte too large"]
)
@pytest.mark.parametrize("declared", [True, False], ids=["with its length", "in chunks"])
def test_bodies_are_bounded(make: Make, size: int, status: int, declared: bool) -> None:
    """A body over the bound is refused, whether its length is declared or not, and is not recorded."""
    application = make(max_body=1000)

    async def chunks() -> Any:
        for _ in range(size // 10):
            yield b" " * 10
        yield b" " * (size % 10)

    body = b" " * size
    response = application.request("POST", "/webhook", content=body if declared else chunks())
    assert response.status_code == status
    assert len(application.bodies()) == (status == 200)


def test_events_of_one_delivery_are_bounded(make: Make) -> None:
    """A delivery of more than 10,000 events is refused as too large. One of exactly as many is accepted."""
    application = make(max_body=1_000_000)
    assert application.post(b"[" + b",".join([b"{}"] * 10_001) + b"]").status_code == 413
    assert application.post(b'{"items": [' + b",".join([b"{}"] * 10_001) + b"]}").status_code == 413
    assert application.post(b"[" + b",".join([b"{}"] * 10_000) + b"]").status_code == 200
    assert received(application) == {"unsupported": 1, "duplicate": 9_999}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "PATCH"])
def test_other_methods_are_refused(application: Application, method: str) -> None:
    """The webhook accepts GET and POST only."""
    response = application.request(method, "/webhook")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    "error",
    [LedgerUnavailableError("gone"), QueueFullError("full"), CommitTimeoutError("slow")],
    ids=lambda error: error.reason,
)
def test_a_ledger_fault_is_answered_with_503(
    application: Application, error: ExporterError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delivery that can't be made durable is answered with 503 and Retry-After, never with a 4xx."""

    async def append(drafts: list[Draft], cursor: Cursor | None = None) -> list[Receipt]:
        raise error

    monkeypatch.setattr(application.ledger, "append", append)
    response = application.post(BODY)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "60"
    assert received(application) == {}
    assert (
        application.telemetry.registry.get_sample_value("aep_exporter_ledger_errors_total", {"operation": "append"})
        == 1
    )


def test_an_unexpected_exception_is_answered_with_503(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected exception is answered with 503 and counted, and the answer does not hold its text."""

    async def append(drafts: list[Draft], cursor: Cursor | None = None) -> list[Receipt]:
        raise RuntimeError("secret of the implementation")

    monkeypatch.setattr(application.ledger, "append", append)
    response = application.post(BODY)
    assert response.status_code == 503
    assert "secret" not in response.text
    counted = application.telemetry.registry.get_sample_value("aep_exporter_webhook_requests_total", {"code": "503"})
    assert counted == 1


def test_a_ledger_that_was_moved_away(application: Application, tmp_path: Path) -> None:
    """While the ledger's file is gone no delivery is acknowledged, and the readiness probe answers with the reason."""
    application.metrics()
    (tmp_path / "ledger.db").rename(tmp_path / "elsewhere.db")
    assert application.post(BODY).status_code == 503
    application.metrics()
    assert "moved or deleted" in application.request("GET", "/-/ready").text
    (tmp_path / "elsewhere.db").rename(tmp_path / "ledger.db")
    assert application.post(BODY).status_code == 200


def test_nothing_is_acknowledged_before_it_is_committed(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delivery is not answered before the ledger has committed it."""
    append = application.ledger.append

    async def story() -> int:
        gate = asyncio.Event()

        async def slow(drafts: list[Draft], cursor: Cursor | None = None) -> list[Receipt]:
            receipts = await append(drafts, cursor)
            await gate.wait()
            return receipts

        monkeypatch.setattr(application.ledger, "append", slow)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(application.router), base_url="http://localhost"
        ) as client:
            asked = asyncio.create_task(client.post("/webhook", content=BODY))
            done, _ = await asyncio.wait([asked], timeout=0.3)
            assert not done
            gate.set()
            return (await asked).status_code

    assert asyncio.run(story()) == 200


def test_a_client_that_leaves_is_not_answered(application: Application) -> None:
    """A delivery whose client closes the connection within its body is neither recorded nor answered."""
    sent: list[Any] = []
    messages = iter([{"type": "http.request", "body": BODY[:5], "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/webhook", "query_string": b"", "headers": []}
    asyncio.run(application.router(scope, receive, send))
    assert sent == []
    assert application.bodies() == []
    counted = application.telemetry.registry.get_sample_value("aep_exporter_webhook_requests_total", {"code": "closed"})
    assert counted == 1


def test_large_bodies_are_parsed_on_another_thread(make: Make) -> None:
    """A large delivery, which is parsed on another thread, has the same result as a small one."""
    application = make(max_body=1_000_000)
    events = [{**RUN, "event_id": f"e{number}", "padding": "x" * 1000} for number in range(400)]
    assert application.post(json.dumps(events)).status_code == 200
    assert received(application) == {"recorded": 1, "duplicate": 399}


def test_anomalies_are_counted_by_field(application: Application) -> None:
    """A value that makes no sense is dropped and counted by its field."""
    run = json.loads(BODY)
    run["event"]["metrics"]["recordSummary"] = {"inputRecordCount": "many"}
    run["event"]["metrics"]["durationSummary"] = {"startedAtUTC": "yesterday"}
    application.post(json.dumps(run))
    registry = application.telemetry.registry
    counted = {
        field: registry.get_sample_value("aep_exporter_payload_anomalies_total", {"field": field})
        for field in ("records", "started_at", "completed_at")
    }
    assert counted == {"records": 1, "started_at": 1, "completed_at": 0}
