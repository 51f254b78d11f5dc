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
    """What `aep_exporter_notifications_total` says of the webhook, by result."""
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
    """Adobe's registration gets its challenge back as plain text, exactly."""
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
    """Everything an authentic sender delivers is acknowledged and kept, and counted by what it was."""
    response = application.post(body)
    assert response.status_code == 200
    assert received(application) == results
    assert len(application.bodies()) == sum(count for result, count in results.items() if result != "duplicate")


def test_a_redelivery_changes_nothing_else(application: Application) -> None:
    """Posting again changes the flow half by nothing, and the exporter's by one duplicate."""
    application.post(BODY)
    before = application.metrics("?collect[]=flows")
    application.post(BODY)
    assert application.metrics("?collect[]=flows") == before
    assert received(application) == {"recorded": 1, "duplicate": 1}


def test_headers_serve_a_single_event_only(application: Application) -> None:
    """The request's event id makes a single event unique that names none, and no batch."""
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
    """Adobe's request to confirm the webhook is answered with 200 and told to people, and counts as nothing."""
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
    """With a token only the path that ends in it is believed, for the challenge and for deliveries."""
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
    """Without a token nothing but the path itself takes deliveries, and nothing redirects."""
    assert application.post(BODY, path).status_code == 404
    assert application.post(BODY, "/webhook/").status_code == 200


@pytest.mark.parametrize(
    ("size", "status"), [(1000, 200), (1001, 413)], ids=["as large as it may be", "one byte too large"]
)
@pytest.mark.parametrize("declared", [True, False], ids=["with its length", "in chunks"])
def test_bodies_are_bounded(make: Make, size: int, status: int, declared: bool) -> None:
    """A body over the bound is refused, whether it says its length or not, and leaves nothing behind."""
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
    """More than 10,000 events in one delivery are refused as too large; as many are taken."""
    application = make(max_body=1_000_000)
    assert application.post(b"[" + b",".join([b"{}"] * 10_001) + b"]").status_code == 413
    assert application.post(b'{"items": [' + b",".join([b"{}"] * 10_001) + b"]}").status_code == 413
    assert application.post(b"[" + b",".join([b"{}"] * 10_000) + b"]").status_code == 200
    assert received(application) == {"unsupported": 1, "duplicate": 9_999}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "PATCH"])
def test_other_methods_are_refused(application: Application, method: str) -> None:
    """The webhook knows GET and POST."""
    response = application.request(method, "/webhook")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("error", [LedgerUnavailableError("gone"), QueueFullError("full"), CommitTimeoutError("slow")])
def test_a_fault_of_ours_is_retried_by_adobe(
    application: Application, error: ExporterError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a delivery can't be made durable the answer is 503 with Retry-After, never a 4xx."""

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


def test_a_defect_of_ours_is_retried_by_adobe(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails in a way nobody foresaw is answered with 503 and counted, without a word of what it was."""

    async def append(drafts: list[Draft], cursor: Cursor | None = None) -> list[Receipt]:
        raise RuntimeError("secret of the implementation")

    monkeypatch.setattr(application.ledger, "append", append)
    response = application.post(BODY)
    assert response.status_code == 503
    assert "secret" not in response.text
    counted = application.telemetry.registry.get_sample_value("aep_exporter_webhook_requests_total", {"code": "503"})
    assert counted == 1


def test_a_ledger_that_was_moved_away_takes_nothing(application: Application, tmp_path: Path) -> None:
    """When the ledger's file is gone nothing is acknowledged into the void, and the probe says why."""
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
    """While the ledger has not committed there is no answer."""
    append = application.ledger.append

    async def story() -> int:
        gate = asyncio.Event()

        async def slow(drafts: list[Draft], cursor: Cursor | None = None) -> list[Receipt]:
            receipts = await append(drafts, cursor)
            await gate.wait()
            return receipts

        monkeypatch.setattr(application.ledger, "append", slow)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application.router), base_url="http://x") as client:
            asked = asyncio.create_task(client.post("/webhook", content=BODY))
            done, _ = await asyncio.wait([asked], timeout=0.3)
            assert not done
            gate.set()
            return (await asked).status_code

    assert asyncio.run(story()) == 200


def test_a_client_that_leaves_is_not_answered(application: Application) -> None:
    """When the client closes in the middle of its body, nothing is recorded and nothing is said."""
    said: list[Any] = []
    messages = iter([{"type": "http.request", "body": BODY[:5], "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        said.append(message)

    scope = {"type": "http", "method": "POST", "path": "/webhook", "query_string": b"", "headers": []}
    asyncio.run(application.router(scope, receive, send))
    assert said == []
    assert application.bodies() == []
    counted = application.telemetry.registry.get_sample_value("aep_exporter_webhook_requests_total", {"code": "closed"})
    assert counted == 1


def test_large_bodies_are_read_aside(make: Make) -> None:
    """A large delivery is read on another thread, with the same result."""
    application = make(max_body=1_000_000)
    events = [{**RUN, "event_id": f"e{number}", "padding": "x" * 1000} for number in range(400)]
    assert application.post(json.dumps(events)).status_code == 200
    assert received(application) == {"recorded": 1, "duplicate": 399}


def test_anomalies_are_counted_by_field(application: Application) -> None:
    """A value that makes no sense is left out, and counted under its field."""
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
