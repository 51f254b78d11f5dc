"""A real Prometheus scrapes the exporter."""

import subprocess
from pathlib import Path

import pytest

from tests.system.processes import Exporter, Prometheus, program, until
from tests.system.test_serve import delivery

SAMPLES = Path(__file__).parents[1] / "samples"


def test_promtool_finds_no_fault(exporter: Exporter) -> None:
    """After all samples were posted, promtool's linter finds no fault in the metrics."""
    promtool = program("promtool")
    for path in sorted(SAMPLES.glob("*.json")):
        assert exporter.post(path.read_bytes()) == 200
    exposition = exporter.get("/metrics", headers={"accept": "text/plain"}).content
    assert b"aep_flow_runs_total" in exposition
    checked = subprocess.run([promtool, "check", "metrics"], input=exposition, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


@pytest.mark.parametrize("path", ["/metrics", "/metrics?collect[]=flows"])
def test_a_first_failure_is_seen_by_prometheus(exporter: Exporter, tmp_path: Path, path: str) -> None:
    """Prometheus scrapes OpenMetrics without being configured to, and the next scrape has a flow's first failure."""
    params = "params: {'collect[]': [flows]}" if "collect" in path else ""
    with Prometheus(tmp_path / "prometheus", f"127.0.0.1:{exporter.port}", protocols=params) as prometheus:
        prometheus.until_scraped()
        assert exporter.post(delivery(1)[1]) == 200
        until(
            lambda: prometheus.value('aep_flow_consecutive_failures{flow_id="flow-1"} > 0') == 1,
            "the failure to be seen",
        )
        until(
            lambda: prometheus.value('aep_flow_runs_total{flow_id="flow-1",status="failed"}') == 1,
            "the failure to be counted",
        )
        until(lambda: prometheus.value('up{job="aep-flow-exporter"}') == 1, "a good scrape")
        if "collect" not in path:
            formats = exporter.get("/metrics?collect[]=exporter").text
            assert 'aep_exporter_scrape_duration_seconds_count{format="openmetrics"} 0.0' not in formats


def test_the_hold_makes_the_first_increment_countable(tmp_path: Path) -> None:
    """With the hold a flow's first failure counts in increase(), and the gauge of its state does not wait."""
    with (
        Exporter(tmp_path / "exporter", "--series.hold=10s") as exporter,
        Prometheus(tmp_path / "prometheus", f"127.0.0.1:{exporter.port}") as prometheus,
    ):
        prometheus.until_scraped()
        assert exporter.post(delivery(1)[1]) == 200
        until(lambda: prometheus.value('aep_flow_consecutive_failures{flow_id="flow-1"}') == 1, "the state")
        failed = 'aep_flow_runs_total{flow_id="flow-1",status="failed"}'
        until(lambda: prometheus.value(f"round(increase({failed}[5m]))") == 1, "the increase")
        # By the samples, not by when this test asks: the scrape that first has the counter at 0 has the state already.
        (state,) = prometheus.query('aep_flow_consecutive_failures{flow_id="flow-1"}[5m]')
        (counter,) = prometheus.query(f"{failed}[5m]")
        assert state["values"][0][1] == "1"
        assert counter["values"][0] == [state["values"][0][0], "0"]
