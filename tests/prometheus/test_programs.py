"""Prometheus and Alertmanager accept the files, in the installed and in the newest version."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.prometheus.files import FOLDER, RULE_FILES, text
from tests.system.processes import Exporter, Process, Prometheus, free_port, newest_program, program, run, until
from tests.system.test_serve import delivery

pytestmark = pytest.mark.system

Tool = Callable[[str], str]


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


@pytest.mark.parametrize(("severity", "receiver"), [("critical", "pager"), ("warning", "team"), ("info", "team")])
def test_only_critical_alerts_page(tool: Tool, severity: str, receiver: str) -> None:
    """Alertmanager sends critical alerts to the pager, and all others to the team."""
    routes = ("config", "routes", "test", "--config.file=alertmanager.yml", f"--verify.receivers={receiver}")
    run(tool("amtool"), *routes, f"severity={severity}", "alertname=AEPFlowRunFailed", "sandbox=prod", cwd=FOLDER)


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
