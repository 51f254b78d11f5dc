"""How long a Prometheus takes to evaluate the alert rules while 1,000 of 2,000 flows fail, with two codes each.

`python -m benchmarks.alerts [PROMETHEUS ...]` serves the metrics of such flows, runs each of these Prometheus programs
with the rules and intervals of `prometheus/`, and prints the longest of three evaluations of each group. It takes two
minutes for each program. A group should take a third of its interval at most.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

import httpx

from exporter.metrics.exposition import Format
from exporter.metrics.flows import Limits
from exporter.metrics.fold import Fold
from exporter.model import DAY, FlowKind, FlowRun, RecordedFact, RunError, Source, Status
from tests.metrics.reference import render
from tests.system.processes import JOB, PATIENCE, Process, free_port, http_server, until

FLOWS: Final = 2_000
FAILING: Final = 1_000
RUNS: Final = 12
"""Runs of each flow, one every 15 minutes."""
EVALUATIONS: Final = 3
SHARE: Final = 1 / 3
"""Of its interval, which an evaluation of a group may take."""
_RULES: Final = Path(__file__).parents[1] / "prometheus"
_STEP: Final = 15 * 60 * 1000
_ERRORS: Final = (RunError(code="CONNECTOR-2001-500"), RunError(code="INGEST-1205-400"))


def facts(now: int) -> Iterator[RecordedFact]:
    """Runs of all flows until this time (milliseconds since 1970). Half of the failing flows fail twice, half often."""
    position = 0
    for number in range(RUNS):
        left = RUNS - 1 - number
        at = now - left * _STEP
        for flow in range(FLOWS):
            position += 1
            is_failed = flow < FAILING and left < (2 if flow % 2 else 5)
            run = FlowRun(
                run_id=f"run-{position}",
                flow_id=f"flow-{flow:031}",
                sandbox="prod",
                status=Status.FAILED if is_failed else Status.SUCCESS,
                org="1234567890ABCDEF@AdobeOrg",
                flow_name=f"Load of table {flow}",
                kind=FlowKind.SOURCE,
                started_at=at - 60_000,
                completed_at=at,
                records=(("input", 500), ("output", 500)),
                errors=_ERRORS if is_failed else (),
            )
            yield RecordedFact(
                position=position, received_at=at, source=Source.WEBHOOK, fact=run, counts=True, ended_at=at
            )


def exposition() -> bytes:
    """The metrics of these flows."""
    now = int(time.time() * 1000)
    fold = Fold(Limits(hold=0, ttl=45 * DAY, max_flows=FLOWS))
    for fact in facts(now):
        fold.apply(fact)
    fold.advance(now)
    return render(fold.series, None, Format.TEXT)


class Served(BaseHTTPRequestHandler):
    """Answers each request with the same metrics."""

    content = b""

    def do_GET(self) -> None:
        """Answer a scrape."""
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Log nothing."""


class Evaluating(Process):
    """A Prometheus with the project's rules and intervals."""

    def __init__(self, folder: Path, path: str, target: str) -> None:
        super().__init__(folder, "prometheus")
        self._url = f"http://127.0.0.1:{(port := free_port())}/api/v1"
        config = folder / "prometheus.yml"
        config.write_text(
            "global:\n  scrape_interval: 30s\n  evaluation_interval: 30s\n"
            "  external_labels: {aep_exporter_url: 'https://aep.example', aep_grafana_url: 'https://grafana.example'}\n"
            f"rule_files: ['{_RULES}/rules.yml', '{_RULES}/alerts.yml']\n"
            f"scrape_configs: [{{job_name: {JOB}, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        data = folder / "data"
        self.start(
            path, f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address=127.0.0.1:{port}"
        )
        self.until_ready(f"http://127.0.0.1:{port}/-/ready")

    def groups(self) -> list[dict[str, Any]]:
        """The groups of the rules, with the times of their last evaluations."""
        found: list[dict[str, Any]] = httpx.get(f"{self._url}/rules", timeout=PATIENCE).json()["data"]["groups"]
        return found

    def firing(self) -> int:
        """The number of alerts that fire."""
        alerts = httpx.get(f"{self._url}/alerts", timeout=PATIENCE).json()["data"]["alerts"]
        return len([each for each in alerts if each["state"] == "firing"])


def measured(prometheus: Evaluating) -> dict[str, tuple[float, float]]:
    """The longest evaluation of each group, and its interval, in seconds. Evaluations without alerts do not count."""
    until(lambda: prometheus.firing() >= FAILING, "all alerts")
    longest: dict[str, tuple[float, float]] = {}
    counted: dict[str, set[str]] = {}

    def note() -> bool:
        for group in prometheus.groups():
            counted.setdefault(group["name"], set()).add(group["lastEvaluation"])
            before, _ = longest.get(group["name"], (0, 0))
            longest[group["name"]] = max(before, group["evaluationTime"]), group["interval"]
        return len(counted["aep-flow-state"]) > EVALUATIONS

    until(note, "evaluations", 600)
    return longest


def slowest(prometheus: Evaluating) -> Iterator[tuple[str, float]]:
    """The rules whose last evaluation took longest, with the seconds."""
    rules = [rule for group in prometheus.groups() for rule in group["rules"]]
    for rule in sorted(rules, key=lambda each: -each["evaluationTime"])[:5]:
        yield rule["name"], rule["evaluationTime"]


def main() -> None:
    """Print a line for each group and program."""
    Served.content = exposition()
    with http_server(Served) as url, tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(sys.argv[1:] or ["prometheus"]):
            with Evaluating(Path(folder) / str(number), path, url.removeprefix("http://")) as prometheus:
                found = measured(prometheus)
                sys.stdout.write(f"{path}: {prometheus.firing():,} alerts fire\n")
                rules = list(slowest(prometheus))
            for group, (seconds, interval) in found.items():
                verdict = "" if seconds <= SHARE * interval else "  TOO LONG"
                sys.stdout.write(f"  {group:20} {seconds:6.2f} s of {interval:.0f} s{verdict}\n")
            for name, seconds in rules:
                sys.stdout.write(f"    {name:40} {seconds:6.2f} s\n")


if __name__ == "__main__":
    main()
