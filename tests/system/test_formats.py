"""Both formats as real scrapers read them: compressed or not, with exemplars and start timestamps."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.system.processes import JOB, PATIENCE, Exporter, Prometheus, newest_program, program, until
from tests.system.test_alerting import FLOWS, tell

FAILED = 'aep_flow_runs_total{flow_id="flow-1",status="failed"}'


@pytest.mark.parametrize(
    ("tool", "protocols"),
    [
        pytest.param(program, "", id="2-by-its-own-choice"),
        pytest.param(newest_program, "", id="3-by-its-own-choice"),
        pytest.param(newest_program, "scrape_protocols: [PrometheusText0.0.4]", id="3-text"),
        pytest.param(newest_program, "scrape_protocols: [OpenMetricsText1.0.0]", id="3-openmetrics"),
    ],
)
def test_prometheus_reads_both_formats(
    exporter: Exporter, tmp_path: Path, tool: Callable[[str], str], protocols: str
) -> None:
    """Every series that is exposed arrives in Prometheus, and in OpenMetrics the exemplars with it."""
    started = time.time()
    tell(exporter, 1, "failed")
    with Prometheus(
        tmp_path / "prometheus", f"127.0.0.1:{exporter.port}", protocols=protocols, path=tool("prometheus")
    ) as prometheus:
        exposed = sum(not line.startswith("#") for line in exporter.flows().splitlines())
        arrived = f'count({{job="{JOB}",__name__=~"aep_(flow|alert|notification|last).+"}})'
        until(lambda: prometheus.value(arrived) == exposed, "every series to arrive")
        until(lambda: prometheus.value('sum(aep_flow_runs_total{status="failed"})') == FLOWS, "every failure")
        answer = httpx.get(
            f"http://127.0.0.1:{prometheus.port}/api/v1/query_exemplars",
            params={"query": "aep_flow_run_errors_total", "start": started - 60, "end": time.time() + 60},
            timeout=PATIENCE,
        )
        found = {each["labels"]["flow_run_id"] for series in answer.json()["data"] for each in series["exemplars"]}
        assert bool(found) == ("Text0" not in protocols)
        assert found <= {f"run-{flow}-1" for flow in range(FLOWS)}


@pytest.mark.parametrize(("flags", "counted"), [(["--metrics.start-timestamps"], True), ([], False)], ids=str)
def test_start_timestamps_make_a_first_value_an_increase(tmp_path: Path, flags: list[str], counted: bool) -> None:
    """Without a hold, a series first scraped at 1 counts as an increase in Prometheus 3 if it has a start timestamp."""
    with (
        Exporter(tmp_path / "exporter", "--series.hold=0s", *flags) as exporter,
        Prometheus(
            tmp_path / "prometheus",
            f"127.0.0.1:{exporter.port}",
            path=newest_program("prometheus"),
            features="created-timestamp-zero-ingestion",
            protocols="scrape_protocols: [OpenMetricsText1.0.0]",
        ) as prometheus,
    ):
        prometheus.until_scraped()
        tell(exporter, 1, "failed")
        until(lambda: prometheus.value(FAILED) == 1, "the failure to be seen")
        prometheus.until_scraped()
        # Rounded: increase() extrapolates to the moment of the query, by at most a third where there are four samples.
        until(lambda: prometheus.value(f"round(increase({FAILED}[5m]))") == int(counted), "the increase")
        assert prometheus.query('{__name__=~".+_created"}') == []


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["curl", "-sS", "--fail", "{url}"], id="curl"),
        pytest.param(["curl", "-sS", "--fail", "--compressed", "{url}"], id="curl-compressed"),
        pytest.param(["wget", "-q", "-O-", "{url}"], id="wget"),
        pytest.param(["wget", "-q", "-O-", "--compression=gzip", "{url}"], id="wget-compressed"),
    ],
)
@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text"])
def test_others_read_it_whole(exporter: Exporter, command: list[str], accept: str) -> None:
    """Curl and wget read the same bytes as httpx, compressed or not."""
    tell(exporter, 1, "failed")
    path = "/metrics?collect[]=flows"
    words = [word.format(url=exporter.url + path.replace("[]", "%5B%5D")) for word in command]
    words = [program(words[0]), *words[1:], "--header", f"Accept: {accept}"]
    read = subprocess.run(words, capture_output=True, check=True, timeout=PATIENCE).stdout
    plain = exporter.get(path, headers={"accept": accept, "accept-encoding": "identity"})
    packed = exporter.get(path, headers={"accept": accept, "accept-encoding": "gzip"})
    assert ("content-encoding" in plain.headers, packed.headers["content-encoding"]) == (False, "gzip")
    assert read == plain.content == packed.content
    assert len(read) > 30_000
    head = httpx.head(exporter.url + path, headers={"accept": accept, "accept-encoding": "identity"}, timeout=PATIENCE)
    assert (head.content, int(head.headers["content-length"])) == (b"", len(read))
