"""Every metric of the catalogue has data: from the sample bodies, or after the event that it counts."""

import asyncio
import email.utils
import json
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import httpx
import pytest
from prometheus_client import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from exporter.adobe.deliveries import read_document
from exporter.errors import LedgerUnavailableError
from exporter.intake import Intake
from exporter.ledger.sqlite import SqliteLedger
from exporter.metrics import catalogue
from exporter.metrics.catalogue import EXPORTER_METRICS, FLOW_METRICS, Metric
from exporter.model import Source
from exporter.web.unserved import Unserved
from tests.web.conftest import TOKEN, Application, Make

SAMPLES: Final = Path(__file__).parents[1] / "samples"
MINUTE: Final = 60_000


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def run(number: int, status: str = "success", flow: str = "flow-1") -> str:
    """The body of a run that ended some minutes ago."""
    ended = now() - (10 - number) * MINUTE
    metrics = {
        "statusSummary": {"status": status},
        "recordSummary": {"inputRecordCount": 5},
        "durationSummary": {"startedAtUTC": ended - MINUTE, "completedAtUTC": ended},
    }
    return json.dumps({"id": f"run-{number}", "flowId": flow, "sandboxName": "prod", "metrics": metrics})


def families(application: Application) -> dict[str, Family]:
    """The families of a scrape that have samples, by the catalogue's names."""
    return {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in text_string_to_metric_families(application.metrics())
        if family.samples
    }


def moved(application: Application) -> set[str]:
    """The families of a scrape that have a sample above 0."""
    return {
        name for name, family in families(application).items() if any(sample.value > 0 for sample in family.samples)
    }


@pytest.fixture
def filled(application: Application) -> Application:
    """An application that has received every sample body and a few runs of one flow, and that was scraped once."""
    for path in sorted(SAMPLES.glob("*.json")):
        assert application.post(path.read_bytes()).status_code == 200
    for number in range(5):
        assert application.post(run(number)).status_code == 200
    application.metrics()
    return application


def test_every_flow_metric_has_data(filled: Application) -> None:
    """After every sample, a replayed answer of the Flow Service and a flow's first runs no flow metric is absent."""
    flows = read_document((SAMPLES / "flow-service-flows.json").read_bytes(), Source.REPLAY, now())
    asyncio.run(Intake(filled.ledger, filled.ledger.now).record([flows]))
    found = {name: family.type for name, family in families(filled).items()}
    assert {metric.name: found.get(metric.name) for metric in FLOW_METRICS} == {
        metric.name: metric.type.value for metric in FLOW_METRICS
    }


def test_only_the_flow_service_says_whether_flows_are_enabled(filled: Application) -> None:
    """Without an answer of the Flow Service all flow metrics have data but the one that comes from there alone."""
    assert {metric.name for metric in FLOW_METRICS} - families(filled).keys() == {catalogue.ENABLED.name}


Event = Callable[[Make, pytest.MonkeyPatch, Path], Application]


def _checkpoint(make: Make, *_: object) -> Application:
    ended = make()
    ended.post(run(1))
    ended.metrics()

    async def start_and_end() -> None:
        async with ended.running():
            pass

    asyncio.run(start_and_end())
    return make()


def _wrong_token(make: Make, *_: object) -> Application:
    application = make(f"--webhook.token={TOKEN}")
    assert application.post(run(1), "/webhook/wrong").status_code == 401
    return application


def _foreign_host(make: Make, *_: object) -> Application:
    application = make()
    assert application.post(run(1), host="evil.example").status_code == 421
    return application


def _odd_time(make: Make, *_: object) -> Application:
    application = make()
    body = json.loads(run(1))
    body["metrics"]["durationSummary"]["completedAtUTC"] = "soon"
    application.post(json.dumps(body))
    return application


def _broken_ledger(make: Make, monkeypatch: pytest.MonkeyPatch, _: Path) -> Application:
    application = make()

    def head() -> int:
        raise LedgerUnavailableError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(application.ledger, "head", head)
        application.metrics()
    return application


def _clock_was_ahead(make: Make, _: pytest.MonkeyPatch, folder: Path) -> Application:
    with closing(SqliteLedger(folder / "ledger.db", lambda: now() + 60 * MINUTE)) as ahead:
        document = read_document(run(1).encode(), Source.WEBHOOK, ahead.now())
        asyncio.run(Intake(ahead, ahead.now).record([document]))
    application = make()
    application.post(run(2))
    return application


def _too_many_flows(make: Make, *_: object) -> Application:
    application = make("--series.max-flows=1")
    for number in (1, 2):
        application.post(run(number, flow=f"flow-{number}"))
    return application


def _too_many_starts(make: Make, monkeypatch: pytest.MonkeyPatch, _: Path) -> Application:
    monkeypatch.setattr("exporter.metrics.runs_in_progress.MAX_STARTS", 1)
    application = make()
    for number in (1, 2):
        application.post(run(number, "inprogress"))
    return application


def _wrong_path(make: Make, *_: object) -> Application:
    application = make()
    assert application.request("GET", "/nothing").status_code == 404
    return application


def _too_many_connections(make: Make, *_: object) -> Application:
    application = make()
    # What the listener calls (tests/web/test_connections.py). There is no listener in this process.
    Unserved(application.telemetry, "/webhook", "/webhook").count_refused_connection()
    return application


def _key_host_answers(make: Make, *_: object) -> Application:
    an_hour_ago = time.time() - 3600
    date = email.utils.formatdate(an_hour_ago, usegmt=True)
    key_host = httpx.MockTransport(lambda _request: httpx.Response(404, headers={"date": date}))
    application = make("--webhook.client-id=ours", transport=key_host)
    signed = {"x-adobe-digital-signature-1": "QUFB" * 100, "x-adobe-public-key1-path": "/prod/keys/pub-key-a.pem"}
    assert application.post(run(1), **signed).status_code == 503
    return application


EVENTS: Final[dict[Metric, Event]] = {
    catalogue.LEDGER_CHECKPOINT_POSITION: _checkpoint,
    catalogue.AUTHENTICATION_FAILURES: _wrong_token,
    catalogue.REQUESTS_REFUSED: _foreign_host,
    catalogue.ANOMALIES: _odd_time,
    catalogue.LEDGER_ERRORS: _broken_ledger,
    catalogue.CLOCK_CORRECTIONS: _clock_was_ahead,
    catalogue.FLOWS_OVERFLOWED: _too_many_flows,
    catalogue.DROPPED_STATE: _too_many_starts,
    catalogue.HTTP_NOT_FOUND: _wrong_path,
    catalogue.CONNECTIONS_REFUSED: _too_many_connections,
    catalogue.CLOCK_SKEW: _key_host_answers,
}
"""The metrics that are 0 or absent until something happens, each with what must happen."""


def test_every_exporter_metric_has_data(filled: Application) -> None:
    """After the samples and a scrape every exporter metric is above 0, except those that wait for an event."""
    without = {metric.name for metric in EXPORTER_METRICS} - moved(filled)
    assert without <= {metric.name for metric in EVENTS}


def test_nothing_has_happened_at_first(application: Application) -> None:
    """No metric that waits for an event is above 0 at the start."""
    assert not {metric.name for metric in EVENTS} & moved(application)


@pytest.mark.parametrize("metric", EVENTS, ids=lambda metric: metric.name)
def test_an_event_moves_its_metric(metric: Metric, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A metric that waits for an event is above 0 after it."""
    application = EVENTS[metric](make, monkeypatch, tmp_path)
    assert metric.name in moved(application)


def test_every_source_and_result_has_data(filled: Application) -> None:
    """Each source that is exported from the start is one by which notifications come."""
    received = families(filled)[catalogue.RECEIVED.name]
    sources = {sample.labels["source"] for sample in received.samples}
    assert sources == {sample.labels["source"] for sample in received.samples if sample.value > 0}
