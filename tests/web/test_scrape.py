import asyncio
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.errors import LedgerUnavailableError
from exporter.metrics.catalogue import CLOCK_SKEW, EXPORTER_METRICS
from exporter.metrics.exposition import Format
from tests.web.conftest import Application

SAMPLES = Path(__file__).parents[1] / "samples"
OPENMETRICS = {"accept": "application/openmetrics-text; version=1.0.0"}


@pytest.fixture
def filled(application: Application) -> Application:
    """An application that has received every sample body."""
    for path in sorted(SAMPLES.glob("*.json")):
        assert application.post(path.read_bytes()).status_code == 200
    return application


def names(text: str) -> set[str]:
    """The families of an exposition. A counter's name ends in _total."""
    return {family.name + ("_total" if family.type == "counter" else "") for family in parse_text(text)}


def test_both_halves_by_default(filled: Application) -> None:
    """A plain scrape shows the flows and the exporter itself, in text 0.0.4."""
    response = filled.request("GET", "/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert {"aep_flow_runs_total", "aep_exporter_ledger_up", "process_cpu_seconds_total"} <= names(response.text)


@pytest.mark.parametrize(
    ("query", "present", "absent"),
    [
        ("?collect[]=flows", "aep_flow_runs_total", "aep_exporter_ledger_up"),
        ("?collect[]=exporter", "aep_exporter_ledger_up", "aep_flow_runs_total"),
        ("?collect%5B%5D=flows", "aep_flow_runs_total", "aep_exporter_ledger_up"),
    ],
)
def test_one_half_when_asked(filled: Application, query: str, present: str, absent: str) -> None:
    """`collect[]` selects a half."""
    found = names(filled.metrics(query))
    assert present in found
    assert absent not in found


def test_both_halves_when_asked(filled: Application) -> None:
    """`collect[]` may be repeated."""
    assert names(filled.metrics("?collect[]=flows&collect[]=exporter")) == names(filled.metrics())


@pytest.mark.parametrize("query", ["?collect[]=everything", "?collect[]=", "?collect[]=flows&collect[]=x"])
def test_an_unknown_half_is_refused(application: Application, query: str) -> None:
    """An unknown half is answered with 400 and the names of those that exist."""
    response = application.request("GET", "/metrics" + query)
    assert response.status_code == 400
    assert "flows or exporter" in response.text


def test_openmetrics_when_asked(filled: Application) -> None:
    """OpenMetrics of both halves is one exposition that a strict parser accepts, without start timestamps."""
    response = filled.request("GET", "/metrics", headers=OPENMETRICS)
    assert response.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = {family.name for family in parse_openmetrics(response.text)}  # type: ignore[no-untyped-call]
    assert {"aep_flow_runs", "aep_exporter_notifications"} <= families
    assert response.text.endswith("# EOF\n")
    assert response.text.count("# EOF") == 1
    assert "_created" not in response.text


def test_compressed_when_asked(filled: Application) -> None:
    """A scraper that accepts gzip gets it, with the same content."""
    plain = filled.request("GET", "/metrics?collect[]=flows", headers={"accept-encoding": "identity"})
    packed = filled.request("GET", "/metrics?collect[]=flows", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < len(plain.content) / 3


def test_head_is_a_scrape_without_its_body(filled: Application) -> None:
    """HEAD is answered as GET is, without the body. POST is refused."""
    response = filled.request("HEAD", "/metrics")
    assert response.status_code == 200
    assert response.content == b""
    assert filled.request("POST", "/metrics").status_code == 405


def test_the_exporter_half_is_the_catalogues(application: Application) -> None:
    """Every exporter metric of the catalogue exists from the start, with the catalogue's type and help."""
    families = {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in parse_text(application.metrics())
        if family.name.startswith("aep_exporter_")
    }
    # The clock's skew has no value before an answer of Adobe's.
    listed = {metric.name: metric for metric in EXPORTER_METRICS if metric is not CLOCK_SKEW}
    assert families.keys() == listed.keys()
    for name, metric in listed.items():
        assert families[name].type == metric.type.value
        assert families[name].documentation == metric.help


def test_closed_label_values_exist_from_the_start(application: Application) -> None:
    """Every result, reason, field and outcome exists at 0, so that alert rules and panels find it."""
    text = application.metrics("?collect[]=exporter")
    for line in (
        'aep_exporter_notifications_total{result="duplicate",source="webhook"} 0.0',
        'aep_exporter_authentication_failures_total{reason="token"} 0.0',
        'aep_exporter_payload_anomalies_total{field="status"} 0.0',
        'aep_exporter_ledger_errors_total{operation="append"} 0.0',
        'aep_exporter_dropped_state_total{kind="start"} 0.0',
    ):
        assert line in text


def test_units(filled: Application) -> None:
    """OpenMetrics has a UNIT line for a family whose name ends in a unit."""
    text = filled.request("GET", "/metrics", headers=OPENMETRICS).text
    assert "# UNIT aep_flow_run_duration_seconds seconds\n" in text
    assert "# UNIT aep_flow_bytes bytes\n" in text


class TestWithoutALedger:
    """A ledger that can't be read."""

    @pytest.fixture
    def broken(self, filled: Application, monkeypatch: pytest.MonkeyPatch) -> Application:
        """An application whose ledger can't be read any more."""
        assert "aep_exporter_ledger_up 1.0" in filled.metrics()

        def head() -> int:
            raise LedgerUnavailableError("the disk is gone")

        monkeypatch.setattr(filled.ledger, "head", head)
        return filled

    def test_flows_alone_are_503(self, broken: Application) -> None:
        """The flow half alone is answered with 503, because older counters would look like current ones."""
        response = broken.request("GET", "/metrics?collect[]=flows")
        assert response.status_code == 503
        assert response.headers["retry-after"]

    @pytest.mark.parametrize("format_", list(Format))
    def test_the_exporter_half_remains(self, broken: Application, format_: Format) -> None:
        """A scrape of both halves is answered without the flows, and shows that the ledger is down."""
        headers = OPENMETRICS if format_ is Format.OPENMETRICS else {}
        response = broken.request("GET", "/metrics", headers=headers)
        assert response.status_code == 200
        assert "aep_exporter_ledger_up 0.0" in response.text
        assert "aep_flow_runs" not in response.text

    def test_the_exporter_half_alone(self, broken: Application, monkeypatch: pytest.MonkeyPatch) -> None:
        """The exporter half alone shows whether the ledger is up."""
        assert "aep_exporter_ledger_up 0.0" in broken.metrics("?collect[]=exporter")
        monkeypatch.undo()
        assert "aep_exporter_ledger_up 1.0" in broken.metrics("?collect[]=exporter")

    def test_it_is_not_ready(self, broken: Application) -> None:
        """The readiness probe answers 503 with the reason. The liveness probe still answers 200."""
        broken.metrics()
        response = broken.request("GET", "/-/ready")
        assert response.status_code == 503
        assert "the disk is gone" in response.text
        assert broken.request("GET", "/-/healthy").status_code == 200

    def test_it_recovers(self, broken: Application, monkeypatch: pytest.MonkeyPatch) -> None:
        """When the ledger is readable again the flows are shown again, without a restart."""
        broken.metrics()
        monkeypatch.undo()
        assert "aep_flow_runs_total" in broken.metrics()
        assert "aep_exporter_ledger_up 1.0" in broken.metrics()
        assert broken.request("GET", "/-/ready").status_code == 200


def test_ready_only_when_caught_up(application: Application) -> None:
    """Before the follower has read the ledger the exporter is not ready."""
    assert application.request("GET", "/-/ready").status_code == 503
    application.metrics()
    assert application.request("GET", "/-/ready").status_code == 200


def test_a_scrape_waits_a_bounded_time(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape is answered with 503 if reading the ledger takes too long. The reading goes on."""
    monkeypatch.setattr("exporter.web.scrape._LEDGER_TIMEOUT", 0.05)
    gate, head = threading.Event(), application.ledger.head

    def slow() -> int:
        gate.wait()
        return head()

    monkeypatch.setattr(application.ledger, "head", slow)
    response = application.request("GET", "/metrics?collect[]=flows")
    assert response.status_code == 503
    gate.set()
    monkeypatch.undo()
    assert application.request("GET", "/metrics?collect[]=flows").status_code == 200


def test_the_landing_page(application: Application) -> None:
    """The landing page links to the routes, relative to itself, in plain HTML."""
    response = application.request("GET", "/")
    assert response.status_code == 200
    assert 'href="./metrics"' in response.text
    assert response.headers["content-security-policy"].startswith("default-src 'none'")


def test_the_exporter_counts_itself(filled: Application) -> None:
    """Position, flows, series and bytes are those of the scrape that shows them."""
    text = filled.metrics()
    shown = {
        family.name: family.samples[0].value
        for family in parse_text(text)
        if family.name.startswith("aep_exporter_") and family.samples
    }
    flow_samples = [line for line in filled.metrics("?collect[]=flows").splitlines() if not line.startswith("#")]
    assert shown["aep_exporter_ledger_position"] == len(filled.bodies())
    assert shown["aep_exporter_series"] == len(flow_samples)
    assert shown["aep_exporter_flows"] >= 5
    assert shown["aep_exporter_ledger_bytes"] > 10_000


async def scrape(application: Application, gone: asyncio.Event | None = None) -> bytes:
    """The body of a scrape of the flow half, empty where there was no answer."""
    scope = {"type": "http", "method": "GET", "path": "/metrics", "query_string": b"collect[]=flows", "headers": []}
    never = asyncio.Event()
    messages: list[Any] = []

    async def receive() -> dict[str, Any]:
        await (gone or never).wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        messages.append(message)

    await application.router(scope, receive, send)
    return b"".join(message.get("body", b"") for message in messages)


class Held:
    """A ledger whose head is read when the test allows it."""

    def __init__(self, application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = threading.Event()
        self.asked = 0
        self._was_asked = threading.Event()
        self._head = application.ledger.head
        monkeypatch.setattr(application.ledger, "head", self._wait)

    def _wait(self) -> int:
        self.asked += 1
        self._was_asked.set()
        self.gate.wait(60)
        return self._head()

    async def until_asked(self) -> None:
        """Wait until the head was asked for."""
        await asyncio.to_thread(self._was_asked.wait, 60)


def test_scrapes_at_the_same_time_read_the_ledger_twice(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scrapes that come while one runs share the next, and show what was recorded before they came."""
    held = Held(application, monkeypatch)

    async def story() -> tuple[bytes, list[bytes]]:
        first = asyncio.create_task(scrape(application))
        await held.until_asked()
        others = [asyncio.create_task(scrape(application)) for _ in range(100)]
        await asyncio.sleep(0)
        held.gate.set()
        return await first, await asyncio.gather(*others)

    application.post((SAMPLES / "source-success.json").read_bytes())
    first, others = asyncio.run(story())
    assert b"aep_flow_runs_total" in first
    assert set(others) == {first}
    assert held.asked == 2


def test_scrapes_that_were_given_up_cost_nothing(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrapes whose clients have left do not read the ledger, and the next scrape does not wait for them."""
    held = Held(application, monkeypatch)

    async def story() -> bytes:
        first = asyncio.create_task(scrape(application))
        await held.until_asked()
        for _ in range(300):
            gone = asyncio.Event()
            given_up = asyncio.create_task(scrape(application, gone))
            await asyncio.sleep(0)
            gone.set()
            assert await given_up == b""
        last = asyncio.create_task(scrape(application))
        await asyncio.sleep(0)
        held.gate.set()
        await first
        return await last

    application.post((SAMPLES / "source-success.json").read_bytes())
    assert b"aep_flow_runs_total" in asyncio.run(story())
    assert held.asked == 2


def test_slow_work_elsewhere_does_not_delay_a_scrape(application: Application) -> None:
    """A scrape needs none of the event loop's default threads."""

    async def story() -> bytes:
        gate = threading.Event()
        busy = [asyncio.get_running_loop().run_in_executor(None, gate.wait, 60) for _ in range(100)]
        try:
            return await scrape(application)
        finally:
            gate.set()
            await asyncio.gather(*busy)

    application.post((SAMPLES / "source-success.json").read_bytes())
    assert b"aep_flow_runs_total" in asyncio.run(story())


def test_the_exporter_half_does_not_wait_for_the_flows(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the flow half waits for a ledger that stands still, the exporter half is answered in its own time."""
    monkeypatch.setattr("exporter.web.scrape._LEDGER_TIMEOUT", 0.2)
    held = Held(application, monkeypatch)

    async def story() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(application.router), base_url="http://localhost"
        ) as client:
            flows = asyncio.create_task(client.get("/metrics?collect[]=flows"))
            await held.until_asked()
            exporter = await client.get("/metrics?collect[]=exporter")
            assert (await flows).status_code == 503
            return exporter

    response = asyncio.run(story())
    held.gate.set()
    assert response.status_code == 200
    assert "aep_exporter_build_info" in response.text


@pytest.mark.parametrize("path", ["/metrics", "/webhook?challenge=a", "/-/healthy", "/-/ready", "/", "/nowhere"])
def test_answers_close_the_connection_while_not_ready(application: Application, path: str) -> None:
    """Every answer of a process that is not ready ends its connection, and none does when it is ready."""
    # A scrape and this page read the ledger, which makes it ready, and their answers come after that.
    if path not in {"/metrics", "/"}:
        assert application.request("GET", path).headers["connection"] == "close"
    application.metrics()
    assert "connection" not in application.request("GET", path).headers


def test_answers_close_the_connection_while_writing_fails(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process whose last write failed is not ready, so its answers end their connections."""
    application.metrics()

    async def append(*_: object) -> None:
        raise LedgerUnavailableError("the disk is full")

    monkeypatch.setattr(application.ledger, "append", append)
    assert application.post(b"{}").headers["connection"] == "close"
    assert application.request("GET", "/-/healthy").headers["connection"] == "close"
    monkeypatch.undo()
    assert "connection" not in application.post(b"{}").headers


def test_a_503_closes_the_connection(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape that is refused while the process is ready ends its connection as well."""
    application.metrics()
    monkeypatch.setattr("exporter.web.scrape._LEDGER_TIMEOUT", 0.05)
    held = Held(application, monkeypatch)
    response = application.request("GET", "/metrics?collect[]=flows")
    held.gate.set()
    assert (response.status_code, response.headers["connection"]) == (503, "close")
