"""From a failed run to a page: two Prometheus servers, Alertmanager, a receiver of pages, and faults in between.

The rules are the project's, with all their times divided by `FASTER`, as the scrapes are. What is measured is measured
by the servers' own samples and evaluations, so that a busy machine changes no result.
"""

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.system.alerting import EVALUATIONS, Alertmanager, Paged, fast_rules, paged
from tests.system.processes import JOB, PATIENCE, Exporter, Prometheus, until

FLOWS = 50
BATCH = 20
CODE = "CONNECTOR-2001-500"
HOLD = "--series.hold=15s"
"""Longer than a busy machine needs for a restart and a scrape: the counters' zero is to be scraped before their one."""
RUN_FAILED = "AEPFlowRunFailed"
REPEATEDLY = "AEPFlowFailingRepeatedly"
TOGETHER = "AEPFlowsFailingTogether"
DOWN = "AEPExporterDown"
COUNTERS = [f'{{__name__=~"aep_(flow|notification).*_{kind}"}}' for kind in ("total", "count", "sum", "bucket")]
"""Counters by kind. resets() drops the names, and then `_count` and `_sum` of a histogram would be the same series."""


LONG_AGO = 7 * 3600
"""How many seconds ago runs ended if AEPFlowsFailingTogether must not fire, which inhibits AEPFlowRunFailed."""


def run(flow: int, number: int, status: str, ago: int = LONG_AGO, **fields: str) -> dict[str, object]:
    """A notification of Adobe about a run of a flow, which ended so many seconds ago."""
    errors = [{"code": CODE, "message": "made up"}] if status == "failed" else []
    ended = {"completedAtUTC": int((time.time() - ago) * 1000)}
    event = {
        "id": f"run-{flow}-{number}",
        "flowId": f"flow-{flow}",
        "sandboxName": "prod",
        "metrics": {"statusSummary": {"status": status, "errors": errors}, "durationSummary": ended},
        **fields,
    }
    return {"event_id": f"event-{flow}-{number}-{status}", "event": event}


def post(exporter: Exporter, told: list[dict[str, object]]) -> None:
    """Post these notifications in one delivery."""
    assert exporter.post(json.dumps(told).encode()) == 200


def tell(exporter: Exporter, number: int, status: str, ago: int = LONG_AGO, **fields: str) -> None:
    """Post the run of this number of every flow, in batches."""
    told = [run(flow, number, status, ago, **fields) for flow in range(FLOWS)]
    for first in range(0, FLOWS, BATCH):
        post(exporter, told[first : first + BATCH])


class Site:
    """Two Prometheus servers and an Alertmanager around an exporter."""

    def __init__(self, exporter: Exporter, servers: list[Prometheus], receiver: Paged) -> None:
        self.exporter = exporter
        self.servers = servers
        self.paged = receiver

    def until_all(self, expression: str, expected: float, what: str) -> None:
        """Wait until both servers give this value."""
        for server in self.servers:
            until(lambda: server.value(expression) == expected, what)  # noqa: B023 - used in this round

    def firing(self, alert: str) -> str:
        """An expression for how many of an alert fire."""
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
        """Wait until pages with this status have come about every flow."""
        until(lambda: len(set(self.paged.flows(alert, status))) == FLOWS, f"{FLOWS} pages: {alert} {status}")

    def check_nothing_was_doubled(self) -> None:
        """Check that no counter fell and that every rule can be evaluated."""
        for server in self.servers:
            for counters in COUNTERS:
                assert server.value(f"sum(resets({counters}[10m])) or vector(0)") == 0
            answer = httpx.get(f"http://127.0.0.1:{server.port}/api/v1/rules", timeout=PATIENCE)
            groups = answer.json()["data"]["groups"]
            assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Everything runs, and both servers have scraped."""
    with contextlib.ExitStack() as stack:
        exporter = stack.enter_context(Exporter(tmp_path / "exporter", HOLD))
        receiver = stack.enter_context(paged())
        alertmanager = stack.enter_context(Alertmanager(tmp_path / "alertmanager", receiver.url))
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
        yield Site(exporter, servers, receiver)


def evaluations_until_firing(server: Prometheus, told_at: float) -> int:
    """How many evaluations there were from the first good scrape after a time until the last flow's alert fired."""

    def first(expression: str) -> float:
        """When an expression's series has its first sample."""
        (series,) = server.query(expression)
        return float(series["values"][0][0])

    (scrapes,) = server.query(f'up{{job="{JOB}"}}[1h]')
    seen = min(float(at) for at, up in scrapes["values"] if up == "1" and float(at) > told_at)
    firing = server.query(f'ALERTS{{alertname="{RUN_FAILED}",alertstate="firing"}}[1h]')
    last = max(float(alert["values"][0][0]) for alert in firing)
    (evaluations,) = server.query(f'{EVALUATIONS}{{group="aep-flow-state"}}[1h]')
    return sum(seen <= float(at) <= last for at, _ in evaluations["values"])


def test_fifty_first_failures_are_seen_counted_and_resolved(site: Site) -> None:
    """Each first failure of a new flow fires on both servers, is paged and counted, and a success resolves it."""
    tell(site.exporter, 1, "failed")
    told_at = time.time()
    site.until_firing(RUN_FAILED, FLOWS)
    # At most one evaluation that began before the scrape had ended, and the next one, which fires.
    assert max(evaluations_until_firing(server, told_at) for server in site.servers) <= 2
    site.until_paged(RUN_FAILED, "firing")
    site.until_counted(1)
    assert site.paged.flows(RUN_FAILED, "resolved") == []
    tell(site.exporter, 2, "success")
    site.until_firing(RUN_FAILED, 0)
    site.until_paged(RUN_FAILED, "resolved")
    site.check_nothing_was_doubled()


def test_an_incident_is_paged_once(site: Site) -> None:
    """If many flows fail at once, one page about it is sent, and none about a flow before its third failure."""
    tell(site.exporter, 1, "failed", ago=0)
    site.until_firing(RUN_FAILED, FLOWS)
    site.until_firing(TOGETHER, 1)
    until(lambda: site.paged.flows(TOGETHER, "firing"), "a page about the incident")
    tell(site.exporter, 2, "failed", ago=0)
    tell(site.exporter, 3, "failed", ago=0)
    site.until_paged(REPEATEDLY, "firing")
    tell(site.exporter, 4, "success", ago=0)
    site.until_paged(REPEATEDLY, "resolved")
    until(lambda: site.paged.flows(TOGETHER, "resolved"), "a page about the end of the incident")
    assert site.paged.flows(RUN_FAILED, "firing") == []
    site.check_nothing_was_doubled()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill-9", "sigterm"])
def test_restarts_between_failure_and_scrape_are_not_seen(site: Site, number: signal.Signals) -> None:
    """Where the exporter restarts right after each failure, no failure is missed or counted twice."""
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
    """While a scrape fails, and while the exporter is down, no page about a flow is sent."""
    tell(site.exporter, 1, "failed")
    site.until_firing(RUN_FAILED, FLOWS)
    site.until_paged(RUN_FAILED, "firing")
    # Each page names all flows whose alerts fire, so no page follows the first that names all of them.
    paged_before = len(site.paged.flows(RUN_FAILED, "firing"))

    site.exporter.send(signal.SIGSTOP)
    site.until_all(f'up{{job="{JOB}"}}', 0, "a failed scrape")
    site.exporter.send(signal.SIGCONT)
    for server in site.servers:
        server.until_scraped()
    site.until_firing(RUN_FAILED, FLOWS)
    # On a very busy machine the scrapes may have failed for so long that it fires.
    site.until_firing(DOWN, 0)
    assert site.paged.flows(RUN_FAILED, "resolved") == []

    site.exporter.stop(signal.SIGKILL)
    site.until_firing(DOWN, 1)
    until(lambda: site.paged.flows(DOWN, "firing"), "a page about the exporter")
    site.until_firing(RUN_FAILED, 0)
    site.exporter.run()
    site.until_firing(DOWN, 0)
    until(lambda: site.paged.flows(DOWN, "resolved"), "a page that the exporter is back")
    site.until_firing(RUN_FAILED, FLOWS)

    # The failure of another flow makes the next page. If there was one before it, the counts below differ.
    post(site.exporter, [run(FLOWS, 1, "failed")])
    another = f"flow-{FLOWS}"
    until(lambda: another in site.paged.flows(RUN_FAILED, "firing"), "a page about another flow")
    assert site.paged.flows(RUN_FAILED, "resolved") == []
    assert len(site.paged.flows(RUN_FAILED, "firing")) == paged_before + FLOWS + 1


def test_a_rename_and_a_second_instance_break_no_rule(tmp_path: Path) -> None:
    """Where two instances export the same flows and these are renamed while they fail, each flow has one alert."""
    with contextlib.ExitStack() as stack:
        exporters = [stack.enter_context(Exporter(tmp_path / name, HOLD)) for name in ("one", "two")]
        targets = "', '".join(f"127.0.0.1:{exporter.port}" for exporter in exporters)
        rules = fast_rules(tmp_path / "rules")
        server = stack.enter_context(Prometheus(tmp_path / "prometheus", targets, rules=rules))
        site = Site(exporters[0], [server], Paged())
        server.until_scraped(targets=2)
        for number, name in enumerate(("Orders", "Orders by hour", "Orders")):
            for exporter in exporters:
                tell(exporter, number, "failed", flowName=name)
            site.until_all(f"count(aep_flow_consecutive_failures == {number + 1})", 2 * FLOWS, "both to count it")
            site.until_firing(REPEATEDLY if number == 2 else RUN_FAILED, FLOWS)
        site.until_firing(RUN_FAILED, 0)
        site.check_nothing_was_doubled()
