"""Prometheus and Alertmanager themselves read the files, in each version there is."""

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
    """The path of a program: as the system has it, or the newest one."""
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
    """Rules, their tests and both examples are right in the words of the programs that they are for."""
    name, *arguments = command
    run(tool(name), *arguments, cwd=FOLDER)


_KNOWN_FLOW = """
rule_files: [rules.yml]
evaluation_interval: 6h
tests:
  - interval: 6h
    input_series:
      - {series: 'aep_flow_run_interval_seconds{flow_id="f"}', values: 86400x64}
      - {series: 'aep_flow_runs_total{flow_id="f",status="success"}', values: 15x64}
    promql_expr_test:
      - expr: flow:aep_flow_silence_limit:seconds
        eval_time: 342h
        exp_samples: [{labels: 'flow:aep_flow_silence_limit:seconds{flow_id="f"}', value: 288000}]
      - expr: flow:aep_flow_silence_limit:seconds
        eval_time: 354h
        exp_samples: [{labels: 'flow:aep_flow_silence_limit:seconds{flow_id="f"}', value: 130500}]
"""


def test_a_flow_is_no_longer_new_after_two_weeks(tool: Tool, tmp_path: Path) -> None:
    """A flow of few runs that Prometheus has known for two weeks is overdue by its interval, not by a weekend."""
    # Evaluated every six hours: every thirty seconds would take a minute.
    rules = text("rules.yml").replace("interval: 30s", "interval: 6h")
    (tmp_path / "rules.yml").write_text(rules, encoding="utf-8")
    (tmp_path / "test.yml").write_text(_KNOWN_FLOW, encoding="utf-8")
    run(tool("promtool"), "test", "rules", str(tmp_path / "test.yml"), cwd=FOLDER)


@pytest.mark.parametrize(("severity", "receiver"), [("critical", "pager"), ("warning", "team"), ("info", "team")])
def test_a_page_is_for_what_is_critical(tool: Tool, severity: str, receiver: str) -> None:
    """Alertmanager pages for what is critical and tells the team the rest."""
    routes = ("config", "routes", "test", "--config.file=alertmanager.yml", f"--verify.receivers={receiver}")
    run(tool("amtool"), *routes, f"severity={severity}", "alertname=AEPFlowRunFailed", "sandbox=prod", cwd=FOLDER)


def test_the_example_makes_series_that_the_rules_know(tool: Tool, tmp_path: Path) -> None:
    """Scraped as in the example, both halves have the job that alerts name, and flows an instance that stays."""
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
    """A Prometheus with the example's configuration, for an exporter that listens elsewhere, and in a hurry."""

    def __init__(self, folder: Path, path: str, config: str, exporter: Exporter) -> None:
        Process.__init__(self, folder, "prometheus")
        self.port = free_port()
        for name in RULE_FILES:
            (folder / name).write_text(text(name).replace("interval: 30s", "interval: 1s"), encoding="utf-8")
        hurried = config.replace("127.0.0.1:10464", f"127.0.0.1:{exporter.port}").replace(
            "_interval: 30s", "_interval: 1s"
        )
        (folder / "prometheus.yml").write_text(hurried, encoding="utf-8")
        self.start(
            path,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        )

    def labels(self, expression: str, label: str) -> set[str]:
        """The values of a label in an instant query's result."""
        return {each["metric"][label] for each in self.query(expression)}
