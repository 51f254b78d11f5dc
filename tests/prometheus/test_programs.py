"""Prometheus and Alertmanager accept the files, in the installed and in the newest version."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.prometheus.files import FOLDER, RULE_FILES, text
from tests.system.alerting import Alertmanager
from tests.system.processes import (
    JOB,
    PATIENCE,
    Exporter,
    Process,
    Prometheus,
    free_port,
    newest_program,
    program,
    run,
    until,
)
from tests.system.test_serve import delivery

pytestmark = pytest.mark.system

Tool = Callable[[str], str]
UNREACHABLE = "http://127.0.0.1:1/"
"""The receiver of Alertmanagers whose messages no test reads."""


@pytest.fixture(params=["installed", "newest"])
def tool(request: pytest.FixtureRequest) -> Tool:
    """Returns the path of a program: the installed one, or the newest one."""
    return program if request.param == "installed" else newest_program


@pytest.mark.parametrize(
    "command",
    [
        ("promtool", "check", "rules", *RULE_FILES),
        ("promtool", "check", "config", "prometheus.yml"),
        ("promtool", "test", "rules", "alerts.test.yml"),
        ("amtool", "check-config", "alertmanager.yml"),
    ],
    ids=" ".join,
)
def test_the_programs_accept_the_files(tool: Tool, command: tuple[str, ...]) -> None:
    """The programs accept the rules and both example configurations, and the tests of the rules pass."""
    name, *arguments = command
    run(tool(name), *arguments, cwd=FOLDER)


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ({"severity": "critical", "sandbox": "prod"}, "pager"),
        ({"severity": "critical"}, "pager"),
        ({"severity": "critical", "sandbox": "dev"}, "team"),
        ({"severity": "critical", "sandbox": "prod-copy"}, "team"),
        ({"severity": "warning", "sandbox": "prod"}, "team"),
        ({"severity": "warning"}, "team"),
        ({"severity": "info", "sandbox": "prod"}, "team"),
    ],
    ids=str,
)
def test_only_critical_alerts_of_production_page(tool: Tool, labels: dict[str, str], receiver: str) -> None:
    """Critical alerts of production sandboxes, or without a sandbox, go to the pager, and all others to the team."""
    routes = ("config", "routes", "test", "--config.file=alertmanager.yml", f"--verify.receivers={receiver}")
    given = [f"{name}={value}" for name, value in labels.items()]
    run(tool("amtool"), *routes, "alertname=AEPFlowRunFailed", *given, cwd=FOLDER)


def failing(alertname: str, flow: str, error_code: str, sandbox: str = "prod") -> dict[str, str]:
    """The labels of an alert about a failing flow."""
    severity = "warning" if alertname == "AEPFlowRunFailed" else "critical"
    labels = {"alertname": alertname, "severity": severity, "job": JOB, "flow_id": flow, "sandbox": sandbox}
    return {**labels, "error_code": error_code}


def groups(alertmanager: Alertmanager, alerts: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The groups into which Alertmanager puts these alerts, as its API returns them."""
    api = f"http://127.0.0.1:{alertmanager.port}/api/v2/alerts"
    assert httpx.post(api, json=[{"labels": labels} for labels in alerts], timeout=PATIENCE).status_code == 200

    def complete() -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = httpx.get(f"{api}/groups", timeout=PATIENCE).json()
        return found if sum(len(group["alerts"]) for group in found) == len(alerts) else None

    return until(complete, "all alerts in groups")


def test_a_second_cause_in_a_sandbox_is_a_group_of_its_own(tool: Tool, tmp_path: Path) -> None:
    """Flows of a sandbox that fail with the same cause are one group, and those with another cause are another one."""
    page = "AEPFlowFailingRepeatedly"
    alerts = [
        failing(page, "a", "E-1-500"),
        failing(page, "b", "E-1-500"),
        failing(page, "c", "E-2-400"),
        failing(page, "d", "E-1-500", "dev"),
    ]
    with Alertmanager(tmp_path, UNREACHABLE, path=tool("prometheus-alertmanager")) as alertmanager:
        found = [
            (group["receiver"]["name"], sorted(alert["labels"]["flow_id"] for alert in group["alerts"]))
            for group in groups(alertmanager, alerts)
        ]
    assert sorted(found) == [("pager", ["a", "b"]), ("pager", ["c"]), ("team", ["d"])]


def test_one_alert_is_sent_for_each_failure(tool: Tool, tmp_path: Path) -> None:
    """While flows of a sandbox fail together, warnings about its flows are held back, and pages about them are not."""
    together = {"alertname": "AEPFlowsFailingTogether", "severity": "critical", "job": JOB, "sandbox": "prod"}
    alerts = [
        together,
        failing("AEPFlowRunFailed", "a", "E-1-500"),
        failing("AEPFlowFailingRepeatedly", "b", "E-1-500"),
        # The flow has failed a third time, and the warning has not ended yet.
        failing("AEPFlowRunFailed", "c", "E-1-500", "dev"),
        failing("AEPFlowFailingRepeatedly", "c", "E-1-500", "dev"),
        failing("AEPFlowRunFailed", "d", "E-1-500", "dev"),
    ]
    with Alertmanager(tmp_path, UNREACHABLE, path=tool("prometheus-alertmanager")) as alertmanager:

        def inhibited() -> list[tuple[str, str]]:
            return sorted(
                (alert["labels"]["alertname"], alert["labels"]["flow_id"])
                for group in groups(alertmanager, alerts)
                for alert in group["alerts"]
                if alert["status"]["inhibitedBy"]
            )

        until(lambda: len(inhibited()) >= 2, "two alerts to be inhibited")
        assert inhibited() == [("AEPFlowRunFailed", "a"), ("AEPFlowRunFailed", "c")]


def test_the_example_scrape_has_the_labels_that_the_rules_need(tool: Tool, tmp_path: Path) -> None:
    """With the example prometheus.yml both halves have the job that alerts name, and flows have a fixed instance."""
    config = text("prometheus.yml")
    with Exporter(tmp_path / "exporter", "--series.hold=0s") as exporter:
        assert exporter.post(delivery(1)[1]) == 200
        with Example(tmp_path / "prometheus", tool("prometheus"), config, exporter) as prometheus:
            halves = {"aep-flows", f"127.0.0.1:{exporter.port}"}
            until(
                lambda: prometheus.labels('up{job="aep-flow-exporter"} == 1', "instance") == halves, "both halves", 40
            )
            until(lambda: prometheus.query('ALERTS{alertname="AEPFlowRunFailed"}'), "the alert")
            assert prometheus.labels('ALERTS{alertname="AEPFlowRunFailed"}', "job") == {"aep-flow-exporter"}
            assert prometheus.labels('{__name__=~"aep_flow_.+"}', "instance") == {"aep-flows"}
            assert prometheus.query('ALERTS{alertname="AEPExporterDown",alertstate="firing"}') == []


class Example(Prometheus):
    """A Prometheus with the example configuration, but with the exporter's real port and intervals of one second."""

    def __init__(self, folder: Path, path: str, config: str, exporter: Exporter) -> None:
        Process.__init__(self, folder, "prometheus")
        self.port = free_port()
        for name in RULE_FILES:
            (folder / name).write_text(text(name).replace("interval: 30s", "interval: 1s"), encoding="utf-8")
        faster = config.replace("127.0.0.1:10464", f"127.0.0.1:{exporter.port}").replace(
            "_interval: 30s", "_interval: 1s"
        )
        (folder / "prometheus.yml").write_text(faster, encoding="utf-8")
        self.start(
            path,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        )

    def labels(self, expression: str, label: str) -> set[str]:
        """The values of a label in the result of an instant query."""
        return {each["metric"][label] for each in self.query(expression)}
