"""From a failed run to a page: two Prometheus servers, Alertmanager, somebody who is paged, and faults in between.

The rules are the project's, with all their times divided by `FASTER`, as the scrapes are.
"""

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.system.alerting import Alertmanager, Paged, fast_rules, paged
from tests.system.processes import JOB, Exporter, Prometheus, until

FLOWS = 50
BATCH = 20
CODE = "CONNECTOR-2001-500"
HOLD = "--series.hold=5s"
RUN_FAILED = "AEPFlowRunFailed"
COUNTERS = '{__name__=~"aep_(flow|notification).*_(total|count|sum|bucket)"}'


def run(flow: int, number: int, status: str, **fields: str) -> dict[str, object]:
    """A run of a flow, as Adobe tells of it."""
    errors = [{"code": CODE, "message": "made up"}] if status == "failed" else []
    event = {
        "id": f"run-{flow}-{number}",
        "flowId": f"flow-{flow}",
        "sandboxName": "prod",
        "metrics": {"statusSummary": {"status": status, "errors": errors}},
        **fields,
    }
    return {"event_id": f"event-{flow}-{number}-{status}", "event": event}


def tell(exporter: Exporter, number: int, status: str, **fields: str) -> None:
    """Each flow's run of this number ends, and Adobe says so in batches."""
    told = [run(flow, number, status, **fields) for flow in range(FLOWS)]
    for first in range(0, FLOWS, BATCH):
        assert exporter.post(json.dumps(told[first : first + BATCH]).encode()) == 200


class Site:
    """Two Prometheus servers and an Alertmanager around an exporter."""

    def __init__(self, exporter: Exporter, servers: list[Prometheus], somebody: Paged) -> None:
        self.exporter = exporter
        self.servers = servers
        self.paged = somebody

    def until_all(self, expression: str, expected: float, what: str, seconds: float = 60) -> None:
        """Wait until both servers give this value."""
        for server in self.servers:
            until(lambda: server.value(expression) == expected, what, seconds)  # noqa: B023

    def firing(self, alert: str) -> str:
        """How many of an alert fire."""
        return f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'

    def until_firing(self, alert: str, count: int) -> None:
        """Wait until so many of an alert fire on both servers."""
        self.until_all(self.firing(alert), count, f"{count} of {alert}")

    def until_counted(self, count: int) -> None:
        """Wait until both servers count so many failures and so many errors of every flow."""
        for metric in (
            'aep_flow_runs_total{status="failed"}',
            f'aep_flow_run_errors_total{{status="failed",error_code="{CODE}"}}',
        ):
            expression = f"count(round(increase({metric}[10m])) == {count})"
            self.until_all(expression, FLOWS, f"increase of {metric}")

    def until_paged(self, alert: str, status: str) -> None:
        """Wait until somebody was told this of every flow."""
        until(lambda: len(set(self.paged.flows(alert, status))) == FLOWS, f"{FLOWS} pages: {alert} {status}", 60)

    def check_nothing_was_doubled(self) -> None:
        """No counter fell, and no rule is in trouble."""
        for server in self.servers:
            assert server.value(f"sum(resets({COUNTERS}[10m]))") == 0
            groups = httpx.get(f"http://127.0.0.1:{server.port}/api/v1/rules", timeout=5).json()["data"]["groups"]
            assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Everything runs, and both servers have scraped."""
    with contextlib.ExitStack() as stack:
        exporter = stack.enter_context(Exporter(tmp_path / "exporter", HOLD))
        somebody = stack.enter_context(paged())
        alertmanager = stack.enter_context(Alertmanager(tmp_path / "alertmanager", somebody.url))
        rules = fast_rules(tmp_path / "rules")
        servers = [
            stack.enter_context(
                Prometheus(
                    tmp_path / replica,
                    f"127.0.0.1:{exporter.port}",
                    rules=rules,
                    alertmanager=f"127.0.0.1:{alertmanager.port}",
                    replica=replica,
                )
            )
            for replica in ("a", "b")
        ]
        for server in servers:
            server.until_scraped()
        yield Site(exporter, servers, somebody)


def scrapes_until_firing(server: Prometheus, told_at: float) -> int:
    """How many scrapes began from then until the last of the flows' alerts fired."""
    firing = server.query(f'ALERTS{{alertname="{RUN_FAILED}",alertstate="firing"}}[5m]')
    last = max(float(alert["values"][0][0]) for alert in firing)
    (up,) = server.query(f'up{{job="{JOB}"}}[5m]')
    return sum(told_at < float(at) <= last for at, _ in up["values"])


def test_fifty_first_failures_are_seen_counted_and_resolved(site: Site) -> None:
    """Of flows never seen before each first failure fires on both servers, is paged and counted; a success ends it."""
    tell(site.exporter, 1, "failed")
    told_at = time.time()
    site.until_firing(RUN_FAILED, FLOWS)
    assert max(scrapes_until_firing(server, told_at) for server in site.servers) <= 2
    site.until_paged(RUN_FAILED, "firing")
    site.until_counted(1)
    assert site.paged.flows(RUN_FAILED, "resolved") == []
    tell(site.exporter, 2, "success")
    site.until_firing(RUN_FAILED, 0)
    site.until_paged(RUN_FAILED, "resolved")
    site.check_nothing_was_doubled()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill-9", "sigterm"])
def test_restarts_between_failure_and_scrape_are_not_seen(site: Site, number: signal.Signals) -> None:
    """The exporter ends right after it took each failure; nothing is missed, counted twice or falls."""
    tell(site.exporter, 1, "failed")
    site.exporter.stop(number)
    site.exporter.run()
    site.until_firing(RUN_FAILED, FLOWS)
    site.until_counted(1)
    tell(site.exporter, 2, "failed")
    site.exporter.stop(number)
    site.exporter.run()
    site.until_counted(2)
    site.until_paged(RUN_FAILED, "firing")
    site.until_all("count(aep_flow_consecutive_failures == 2)", FLOWS, "two failures in a row")
    assert site.paged.flows(RUN_FAILED, "resolved") == []
    tell(site.exporter, 3, "success")
    site.until_firing(RUN_FAILED, 0)
    site.check_nothing_was_doubled()


def test_faults_send_neither_resolved_nor_a_new_page(site: Site) -> None:
    """A failed scrape and an exporter that is down page nobody about flows, neither that they are well nor again."""
    down = "AEPExporterDown"
    tell(site.exporter, 1, "failed")
    site.until_firing(RUN_FAILED, FLOWS)
    site.until_paged(RUN_FAILED, "firing")
    settled = until(lambda: _quiet(site.paged), "pages to have settled", 60)

    site.exporter.send(signal.SIGSTOP)
    for server in site.servers:
        until(lambda: server.value(f'up{{job="{JOB}"}}') == 0, "a failed scrape")  # noqa: B023
    site.exporter.send(signal.SIGCONT)
    for server in site.servers:
        server.until_scraped()
    site.until_firing(RUN_FAILED, FLOWS)
    assert site.paged.flows(RUN_FAILED, "resolved") == []

    site.exporter.stop(signal.SIGKILL)
    until(lambda: site.paged.flows(down, "firing"), "somebody to be paged about the exporter", 60)
    site.until_firing(RUN_FAILED, 0)
    site.exporter.run()
    until(lambda: site.paged.flows(down, "resolved"), "somebody to be told that the exporter is back", 60)
    site.until_firing(RUN_FAILED, FLOWS)
    assert site.paged.flows(RUN_FAILED, "resolved") == []
    assert _quiet(site.paged) in {0, settled}
    assert len(site.paged.flows(RUN_FAILED, "firing")) == settled


def _quiet(somebody: Paged) -> int:
    """The pages about flows, once they are about all of them and no more have come for a while; else 0."""
    before = len(somebody.flows(RUN_FAILED, "firing"))
    time.sleep(0.2)
    return before if before == len(somebody.flows(RUN_FAILED, "firing")) else 0


def test_a_rename_and_a_second_instance_break_no_rule(tmp_path: Path) -> None:
    """Two instances that export the same flows, which are renamed while they fail, give one alert a flow."""
    with contextlib.ExitStack() as stack:
        exporters = [stack.enter_context(Exporter(tmp_path / name, HOLD)) for name in ("one", "two")]
        targets = "', '".join(f"127.0.0.1:{exporter.port}" for exporter in exporters)
        rules = fast_rules(tmp_path / "rules")
        server = stack.enter_context(Prometheus(tmp_path / "prometheus", targets, rules=rules))
        site = Site(exporters[0], [server], Paged())
        until(lambda: server.value(f'sum(up{{job="{JOB}"}})') == 2, "both to be scraped", 30)
        for number, name in enumerate(("Orders", "Orders by hour", "Orders")):
            for exporter in exporters:
                tell(exporter, number, "failed", flowName=name)
            site.until_all(f"count(aep_flow_consecutive_failures == {number + 1})", 2 * FLOWS, "both to say so")
            site.until_firing(RUN_FAILED, FLOWS)
        site.until_firing("AEPFlowFailingRepeatedly", FLOWS)
        site.check_nothing_was_doubled()
