"""The rules of grafana/dashboard-linter (its docs/index.md and lint/), in our own words, and some of ours."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from promql_parser import Call, Expr, MatrixSelector, SubqueryExpr, VectorSelector

from exporter.metrics.catalogue import CATALOGUE, MetricType
from grafana.build import FOLDER
from tests.grafana.dashboards import FILES, LOOKED_AT, Target, everything, load, panels, targets, variables
from tests.prometheus.promql import copies, name_of, nodes, parse, parts, selectors, unknown

Dashboard = dict[str, Any]

DASHBOARDS = {path.stem: load(path) for path in FILES}
UNITS = {"short", "s", "percentunit", "bytes", "decbytes", "dateTimeAsLocal", "dateTimeFromNow"}
"""Those that are used, all from Grafana's list of units."""
COUNTERS = {metric.name for metric in CATALOGUE if metric.type is MetricType.COUNTER} | {
    metric.name + suffix
    for metric in CATALOGUE
    if metric.type in {MetricType.HISTOGRAM, MetricType.SUMMARY}
    for suffix in ("_sum", "_count", "_bucket")
}

of_each = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)


def parsed(target: Target) -> Expr:
    """The query with something in place of each variable."""
    dashboard = next(each for each in DASHBOARDS.values() if each["title"] == target.dashboard)
    return parse(LOOKED_AT.fill(target.expression, everything(dashboard), 60))


def calls_around(node: Expr, kind: type[Expr], around: str = "") -> Iterator[tuple[str, Expr]]:
    """Each part of a kind, and the function it is an argument of."""
    if isinstance(node, kind):
        yield around, node
    inner = node.func.name if isinstance(node, Call) else around if isinstance(node, MatrixSelector) else ""
    for part in parts(node):
        yield from calls_around(part, kind, inner)


# Rules of targets: what is wrong with one, or nothing.


def job_matcher(target: Target) -> str:
    """Each selector chooses the job."""
    return missing_matcher(target, "job")


def instance_matcher(target: Target) -> str:
    """Each selector chooses the instance."""
    return missing_matcher(target, "instance")


def missing_matcher(target: Target, label: str) -> str:
    """The first selector without the matcher."""
    matcher = f'{label}=~"${label}"'
    for found in re.findall(r"\b(?:aep|process|up)\w*\{[^}]*\}", target.expression):
        if matcher not in found:
            return f"{found} has no {matcher}"
    return ""


def rate_interval(target: Target) -> str:
    """What grows is looked at over `$__rate_interval`."""
    for found in re.findall(r"\b(?:rate|irate|increase)\(\w+\{[^}]*\}\[([^\]]*)\]", target.expression):
        if found != "$__rate_interval":
            return f"a range of {found}"
    return ""


def counter(target: Target) -> str:
    """Counters are only looked at as what they grew by."""
    for around, found in calls_around(parsed(target), VectorSelector):
        assert isinstance(found, VectorSelector)
        if name_of(found) in COUNTERS and around not in {"rate", "increase"}:
            return f"{name_of(found)} within {around or 'nothing'}"
    return ""


RULES: dict[str, Callable[[Target], str]] = {
    "target-job-rule": job_matcher,
    "target-instance-rule": instance_matcher,
    "target-rate-interval-rule": rate_interval,
    "target-counter-agg-rule": counter,
}


@pytest.mark.parametrize("name", RULES)
def test_queries_keep_the_linters_rules(name: str) -> None:
    """Every query keeps the rule, but for those that .lint excludes, each for a reason that still holds."""
    exclusions = yaml.safe_load((FOLDER / ".lint").read_text(encoding="utf-8"))["exclusions"].get(name, {})
    excluded = {(entry["dashboard"], entry["panel"]) for entry in exclusions.get("entries", ())}
    broken = {(target.dashboard, target.panel): RULES[name](target) for target in targets() if RULES[name](target)}
    assert set(broken) == excluded, broken
    assert not excluded or exclusions["reason"]


def test_lint_names_rules_that_there_are() -> None:
    """Nothing is excluded from a rule that nobody looks at."""
    assert set(yaml.safe_load((FOLDER / ".lint").read_text(encoding="utf-8"))["exclusions"]) <= set(RULES)


@pytest.mark.parametrize(
    ("name", "expression", "said"),
    [
        ("target-job-rule", 'sum(up{instance=~"$instance"})', 'has no job=~"$job"'),
        ("target-job-rule", 'sum(aep_flow_enabled{job="x"})', 'has no job=~"$job"'),
        ("target-instance-rule", 'sum(up{job=~"$job"})', 'has no instance=~"$instance"'),
        ("target-rate-interval-rule", "rate(aep_flow_runs_total{}[5m])", "a range of 5m"),
        ("target-rate-interval-rule", "increase(aep_flow_runs_total{}[$__range])", "a range of $__range"),
        ("target-counter-agg-rule", "max(aep_flow_runs_total)", "aep_flow_runs_total within nothing"),
        ("target-counter-agg-rule", "max_over_time(aep_flow_runs_total[1h])", "within max_over_time"),
        ("target-counter-agg-rule", "round(aep_notification_delay_seconds_bucket)", "within round"),
        ("target-counter-agg-rule", "max(increase(aep_flow_runs_total[1h]))", ""),
    ],
)
def test_the_rules_see_what_is_wrong(name: str, expression: str, said: str) -> None:
    """A rule of the table above finds fault with a query that breaks it."""
    target = Target(
        dashboard="AEP flows",
        panel="made up",
        ref_id="A",
        expression=expression,
        is_instant=True,
        has_exemplars=False,
        max_data_points=100,
    )
    found = RULES[name](target)
    assert said in found
    assert bool(said) == bool(found)


@pytest.mark.parametrize("target", targets(), ids=str)
def test_queries_ask_for_what_the_catalogue_has(target: Target) -> None:
    """Each query is PromQL, and each metric and label in it is exported."""
    dashboard = next(each for each in DASHBOARDS.values() if each["title"] == target.dashboard)
    assert unknown(LOOKED_AT.fill(target.expression, everything(dashboard), 60), {}) == []


@pytest.mark.parametrize("target", targets(), ids=str)
def test_two_instances_do_not_double(target: Target) -> None:
    """Copies of a flow's series become one before anything is added up or counted."""
    for around in copies(parsed(target), (MatrixSelector, VectorSelector)):
        assert around in {"max", "min", "topk"}, f"{around} of all instances' copies"


@pytest.mark.parametrize("target", targets(), ids=str)
def test_results_are_not_summed(target: Target) -> None:
    """Results of records, bytes and files overlap: no sum mixes them."""
    for node in nodes(parsed(target)):
        if str(node).startswith("sum") and {name_of(each) for each in selectors(node)} & OVERLAPPING:
            for each in selectors(node):
                named = "by (result)" in str(node) or 'result="' in str(each)
                assert named, str(node)


OVERLAPPING = {
    metric.name for metric in CATALOGUE if "result" in metric.all_labels and metric.name.startswith("aep_flow")
}
"""Those whose results overlap."""


@of_each
def test_variables_are_those_of_every_good_dashboard(dashboard: Dashboard) -> None:
    """A data source, job and instance, as the linter wants them; all are asked anew when the time changes."""
    found = variables(dashboard)
    source = found["datasource"]
    assert (source["type"], source["query"], source["label"]) == ("datasource", "prometheus", "Data source")
    for name in ("job", "instance"):
        variable = found[name]
        assert (variable["type"], variable["label"]) == ("query", name.title())
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".+")
    for variable in found.values():
        assert variable["type"] in {"query", "datasource", "constant"}
        if variable["type"] == "query":
            assert variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert variable["refresh"] == 2
    wanted = {"AEP exporter": set[str]()}.get(dashboard["title"], {"sandbox", "flow", "exporter_url"})
    assert set(found) == {"datasource", "job", "instance"} | wanted


@of_each
def test_variables_ask_for_what_the_catalogue_has(dashboard: Dashboard) -> None:
    """The expression in each variable's query is PromQL, with metrics and labels that are exported."""
    for variable in variables(dashboard).values():
        if variable["type"] == "query":
            query = LOOKED_AT.fill(variable["query"], everything(dashboard), 60)
            found = re.fullmatch(r"query_result\((.*)\)|label_values\((.*), (\w+)\)", query)
            assert found, query
            assert unknown(found[1] or f"sum by ({found[3]}) ({found[2]})", {}) == []


@of_each
def test_panels_say_what_they_show(dashboard: Dashboard) -> None:
    """Each has a title of its own, a description that is a sentence, a unit, a query, and the chosen data source."""
    found = list(panels(dashboard))
    assert len({panel["title"] for panel in found}) == len(found)
    for panel in found:
        assert re.fullmatch(r"[A-Z].*\.", panel["description"]), panel["title"]
        units = [panel["fieldConfig"]["defaults"]["unit"]] + [
            setting["value"]
            for override in panel["fieldConfig"].get("overrides", ())
            for setting in override["properties"]
            if setting["id"] == "unit"
        ]
        assert set(units) <= UNITS, panel["title"]
        assert panel["targets"]
        for each in (panel, *panel["targets"]):
            assert each["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@of_each
def test_a_dashboard_is_where_links_expect_it(dashboard: Dashboard) -> None:
    """Its uid is its file's name; it is not editable, shares its crosshair, and its links keep time and variables."""
    assert DASHBOARDS[dashboard["uid"]] is dashboard
    assert (dashboard["editable"], dashboard["graphTooltip"], dashboard["timezone"]) == (False, 1, "browser")
    assert dashboard["title"]
    assert dashboard["tags"]
    assert {link["title"] for link in dashboard["links"]} == {
        each["title"] for each in DASHBOARDS.values() if each is not dashboard
    }
    for link in dashboard["links"]:
        uid, _, kept = link["url"].removeprefix("/d/").partition("?")
        assert DASHBOARDS[uid]["title"] == link["title"]
        assert link["keepTime"]
        names = set(re.findall(r"\$\{(\w+):queryparam\}", kept))
        assert {"datasource", "job"} <= names <= set(variables(dashboard)) & set(variables(DASHBOARDS[uid]))


@of_each
def test_links_of_rows_keep_time_and_variables(dashboard: Dashboard) -> None:
    """A link to a flow's dashboard names variables that it has, and fields that the row has."""
    text = [
        (panel, link["url"])
        for panel in panels(dashboard)
        for override in panel["fieldConfig"].get("overrides", ())
        for setting in override["properties"]
        if setting["id"] == "links"
        for link in setting["value"]
    ]
    assert bool(text) == (dashboard["title"] == "AEP flows")
    for panel, url in text:
        columns = panel["transformations"][1]["options"]["indexByName"]
        assert set(re.findall(r"__data\.fields\.(\w+)", url)) <= set(columns), panel["title"]
        if url.startswith("/d/"):
            there = variables(DASHBOARDS[url.removeprefix("/d/").partition("?")[0]])
            named = re.findall(r"\$\{(\w+):queryparam\}", url) + re.findall(r"var-(\w+)=", url)
            assert set(named) == set(there) - {"exporter_url"}
            assert url.endswith("${__url_time_range}")
        else:
            assert re.match(r"\$\{exporter_url:raw\}/|https://experience\.adobe\.com/", url)


@of_each
def test_panels_fill_the_grid(dashboard: Dashboard) -> None:
    """Ids are 1, 2, 3 and so on; panels lie side by side over the whole width and do not overlap."""
    ids = [each["id"] for panel in dashboard["panels"] for each in (panel, *panel.get("panels", ()))]
    assert ids == list(range(1, len(ids) + 1))
    for group in ([*dashboard["panels"]], *(panel["panels"] for panel in dashboard["panels"] if panel.get("panels"))):
        taken: set[tuple[int, int]] = set()
        for place in (panel["gridPos"] for panel in group):
            cells = {
                (place["x"] + right, place["y"] + down) for right in range(place["w"]) for down in range(place["h"])
            }
            assert not cells & taken
            taken |= cells
        rows = {y for _, y in taken}
        assert taken == {(x, y) for x in range(24) for y in rows}


def test_a_status_has_one_colour() -> None:
    """Wherever a status is drawn by its name, it is drawn in the same colour."""
    colours: dict[str, set[str]] = {}
    for dashboard in DASHBOARDS.values():
        for panel in panels(dashboard):
            for override in panel["fieldConfig"].get("overrides", ()):
                for setting in override["properties"]:
                    if setting["id"] == "color" and "fixedColor" in setting["value"]:
                        colours.setdefault(override["matcher"]["options"], set()).add(setting["value"]["fixedColor"])
    assert {"success", "failed"} <= set(colours)
    assert {name: found for name, found in colours.items() if len(found) > 1} == {}


@pytest.mark.parametrize("target", targets(), ids=str)
def test_what_is_chosen_is_matched_as_grafana_writes_it(target: Target) -> None:
    """A variable is matched as an expression where several values can be chosen, which Grafana escapes, else as is."""
    dashboard = next(each for each in DASHBOARDS.values() if each["title"] == target.dashboard)
    found = re.findall(r'(=~|!~|!=|=)"\$(\w+)"', target.expression)
    assert found
    for operator, name in found:
        assert operator == ("=~" if variables(dashboard)[name].get("multi") else "="), name


def test_no_range_is_a_fixed_one() -> None:
    """Nothing looks at a span that the reader has not chosen."""
    for target in targets():
        assert re.findall(r"\}\[(?!\$__range\]|\$__rate_interval\])", target.expression) == [], str(target)
        assert not [node for node in nodes(parsed(target)) if isinstance(node, SubqueryExpr)]
