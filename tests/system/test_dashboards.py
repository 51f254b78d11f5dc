"""Every query of every dashboard, sent as Grafana would send it to a Prometheus that scraped a simulated week."""

import math
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.grafana.dashboards import FILES, Target, Window, everything, load, option, panels, targets, variables
from tests.system.alerting import fast_rules
from tests.system.processes import EXPORTER, PATIENCE, Exporter, Process, Prometheus, free_port

FLOWS = 24
SEED = 1
WEEK = 7 * 24 * 3600
SECONDS = 70
"""The time in which the simulated week passes."""
BEFORE = "9d"
"""The history that is posted at once before the week. With this seed, at the week's end one flow has been silent for
days, another fails, one is stuck and one reads nothing."""

DASHBOARDS = {dashboard["title"]: dashboard for dashboard in map(load, FILES)}
OF_ONE_FLOW = "AEP flow"


class Week:
    """A Prometheus that has scraped the week."""

    def __init__(self, prometheus: Prometheus, window: Window) -> None:
        self._url = f"http://127.0.0.1:{prometheus.port}/api/v1"
        self.window = window
        self.flows = sorted({each["metric"]["flow_id"] for each in prometheus.query("aep_flow_runs_total")})

    def ask(self, path: str, **parameters: Any) -> Any:
        """The data of an answer of Prometheus."""
        answer = httpx.get(f"{self._url}/{path}", params=parameters, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def filled(self, target: Target, flow: str = "") -> str:
        """A panel's query in which every variable is set to all, except the flow if one is given."""
        chosen = everything(DASHBOARDS[target.dashboard])
        if flow:
            chosen["flow"] = flow
        return self.window.fill(target.expression, chosen, self.window.step(target.max_data_points))

    def series(self, target: Target, flow: str = "") -> list[dict[str, Any]]:
        """The series in the result of a panel's query that have a value."""
        query = self.filled(target, flow)
        if target.is_instant:
            found = self.ask("query", query=query, time=self.window.end)["result"]
        else:
            step = self.window.step(target.max_data_points)
            found = self.ask("query_range", query=query, start=self.window.start, end=self.window.end, step=step)[
                "result"
            ]
        return [
            each
            for each in found
            if any(not math.isnan(float(value)) for _, value in each.get("values", [each.get("value")]))
        ]

    def choices(self, target: Target) -> list[str]:
        """The flows that can be chosen on the dashboard, or one empty name where all are shown."""
        return self.flows if target.dashboard == OF_ONE_FLOW else [""]


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Week]:
    """The Prometheus after the week. The exporter still runs."""
    folder = tmp_path_factory.mktemp("week")
    keys = f"127.0.0.1:{free_port()}"
    # Signed, because the key host's answers have Adobe's time, which a panel shows.
    authentication = ("--webhook.client-id=ours", f"--adobe.keys-url=http://{keys}")
    with (
        Exporter(folder / "exporter", "--series.hold=3s", *authentication) as exporter,
        # As if two instances exported the same flows: nothing may count twice.
        Prometheus(
            folder / "prometheus",
            f"127.0.0.1:{exporter.port}', 'localhost:{exporter.port}",
            rules=fast_rules(folder / "rules"),
        ) as prometheus,
    ):
        prometheus.until_scraped(targets=2)
        start = time.time()
        with Process(folder / "simulate", "simulate") as simulation:
            simulation.start(
                EXPORTER,
                "simulate",
                f"--url={exporter.url}/webhook",
                *("--sign", "--client-id=ours", f"--keys.listen-address={keys}"),
                f"--seed={SEED}",
                f"--flows={FLOWS}",
                f"--since={BEFORE}",
                "--duration=7d",
                f"--speed={WEEK / SECONDS:.0f}",
            )
            assert simulation.wait(SECONDS + PATIENCE) == 0, simulation.output()
        prometheus.until_scraped(targets=2)
        yield Week(prometheus, Window(start=math.floor(start), end=math.ceil(time.time()), scrape=1))


@pytest.mark.parametrize("target", targets(), ids=str)
def test_every_query_has_data(week: Week, target: Target) -> None:
    """Each panel shows data of the week. On "AEP flow" it shows data of some flow."""
    assert any(week.series(target, flow) for flow in week.choices(target))


@pytest.mark.parametrize("target", [each for each in targets() if each.has_exemplars], ids=str)
def test_dots_lead_to_runs(week: Week, target: Target) -> None:
    """Where a panel shows exemplars, Prometheus has some, and each has a run's id."""
    runs = set()
    for flow in week.choices(target):
        query = week.filled(target, flow)
        found = week.ask("query_exemplars", query=query, start=week.window.start, end=week.window.end)
        runs |= {exemplar["labels"]["flow_run_id"] for series in found for exemplar in series["exemplars"]}
    assert len(runs) > FLOWS


@pytest.mark.parametrize("title", DASHBOARDS)
def test_every_variable_has_something_to_choose(week: Week, title: str) -> None:
    """Each variable's query gives values, and flows are shown by their names."""
    chosen = everything(DASHBOARDS[title])
    for variable in variables(DASHBOARDS[title]).values():
        if variable["type"] != "query":
            continue
        query = week.window.fill(variable["query"], chosen, 1)
        function, _, inner = query.removesuffix(")").partition("(")
        if function == "label_values":
            selector, label = re.fullmatch(r"(.*), (\w+)", inner).groups()  # type: ignore[union-attr]
            assert week.ask(f"label/{label}/values", **{"match[]": selector}), variable["name"]
        else:
            assert function == "query_result"
            options = [option(variable, each) for each in week.ask("query", query=inner)["result"]]
            assert {each["value"] for each in options if each} == set(week.flows)
            assert {each["text"] for each in options if each} >= {"POS transactions"}


def test_numbers_say_what_tables_show(week: Week) -> None:
    """Each number at the top of "AEP flows" is the number of rows in the table below it."""

    def values(panel: str) -> list[float]:
        (target,) = [
            each for each in targets() if (each.dashboard, each.panel, each.ref_id) == ("AEP flows", panel, "A")
        ]
        return [float(each["value"][1]) for each in week.series(target)]

    late, in_progress = values("Freshness"), values("Runs in progress")
    assert 0 < sum(each > 1 for each in late) < len(late)
    assert 0 < sum(each > 1 for each in in_progress) < len(in_progress)
    assert values("Overdue") == [sum(each > 1 for each in late)]
    assert values("Stuck") == [sum(each > 1 for each in in_progress)]
    assert values("Failing") == [len(values("Failing now"))]
    assert values("Empty") == [len(values("Runs without records"))]
    assert values("Adobe's alerts") == [len(values("Adobe's alerts firing"))]
    assert values("Flows") == [FLOWS]


def test_rows_of_tables_have_names(week: Week) -> None:
    """The queries that make up a table's rows have the same flows, and each flow has a name."""
    tables: dict[str, list[Target]] = {}
    for target in targets():
        if target.dashboard == "AEP flows" and target.is_instant and target.ref_id != "A":
            tables.setdefault(target.panel, []).append(target)
    first = {(target.dashboard, target.panel): target for target in targets() if target.ref_id == "A"}
    assert tables
    for panel, others in tables.items():
        rows = {_flow(each) for each in week.series(first["AEP flows", panel])}
        *_, names = others
        assert rows == {_flow(each) for each in week.series(names)}, panel
        assert all(each["metric"]["name"] for each in week.series(names))


TABLES = [
    (title, panel["title"], set(panel["transformations"][1]["options"]["indexByName"]))
    for title, dashboard in DASHBOARDS.items()
    for panel in panels(dashboard)
    if panel["type"] == "table"
]


@pytest.mark.parametrize(("dashboard", "panel", "columns"), TABLES, ids=[panel for _, panel, _ in TABLES])
def test_every_column_has_a_value(week: Week, dashboard: str, panel: str, columns: set[str]) -> None:
    """In each table, each column has a value in some row."""
    queries = [each for each in targets() if (each.dashboard, each.panel) == (dashboard, panel)]
    filled = {
        name
        for target in queries
        for flow in week.choices(target)
        for series in week.series(target, flow)
        for name in (f"Value #{target.ref_id}", "Value", *(label for label, text in series["metric"].items() if text))
    }
    assert columns <= filled


def _flow(series: dict[str, Any]) -> tuple[str, str]:
    return series["metric"]["flow_id"], series["metric"]["sandbox"]


def test_failing_flows_say_whose_they_are(week: Week) -> None:
    """In the table of failing flows, each row has the flow's kind and organisation, by which it leads to Adobe."""
    (target,) = [each for each in targets() if each.panel == "Failing now" and "org" in each.expression]
    rows = [each["metric"] for each in week.series(target)]
    assert rows
    assert {each["org"] for each in rows} == {"SIMULATED000000000000000@AdobeOrg"}
    assert all(each["kind"] for each in rows)
