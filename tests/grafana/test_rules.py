"""Dashboards follow the rules of grafana/dashboard-linter (its docs/index.md and lint/) and some rules of ours."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from promql_parser import AggregateExpr, Call, Expr, MatrixSelector, SubqueryExpr, VectorSelector

from exporter.metrics.catalogue import CATALOGUE, MetricType
from grafana.build import FOLDER
from tests.grafana.dashboards import ANY_TIME, FILES, Target, everything, load, panels, targets, variables
from tests.prometheus.promql import copies, name_of, named_labels, nodes, operator, parse, parts, selectors, unknown

Dashboard = dict[str, Any]

DASHBOARDS = {path.stem: load(path) for path in FILES}
TARGETS = targets()
UNITS = {"short", "s", "percentunit", "bytes", "decbytes", "dateTimeAsLocal", "dateTimeFromNow"}
"""The units that the dashboards use. All of them are in Grafana's list of units."""
COUNTERS = {metric.name for metric in CATALOGUE if metric.type is MetricType.COUNTER} | {
    metric.name + suffix
    for metric in CATALOGUE
    if metric.type in {MetricType.HISTOGRAM, MetricType.SUMMARY}
    for suffix in ("_sum", "_count", "_bucket")
}

of_each = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)


def dashboard_of(target: Target) -> Dashboard:
    """The dashboard of a query."""
    return next(each for each in DASHBOARDS.values() if each["title"] == target.dashboard)


def filled(target: Target) -> str:
    """The query with a value for each variable."""
    return ANY_TIME.fill(target.expression, everything(dashboard_of(target)), 60)


def parsed(target: Target) -> Expr:
    """The parsed query, with a value for each variable."""
    return parse(filled(target))


def calls_around(node: Expr, kind: type[Expr], around: str = "") -> Iterator[tuple[str, Expr]]:
    """Each subexpression of this kind, with the function of which it is an argument."""
    if isinstance(node, kind):
        yield around, node
    inner = node.func.name if isinstance(node, Call) else around if isinstance(node, MatrixSelector) else ""
    for part in parts(node):
        yield from calls_around(part, kind, inner)


# Rules for queries. Each function returns what is wrong with a query, or an empty text.


def job_matcher(target: Target) -> str:
    """Each selector matches the job variable."""
    return missing_matcher(target, "job")


def instance_matcher(target: Target) -> str:
    """Each selector matches the instance variable."""
    return missing_matcher(target, "instance")


def missing_matcher(target: Target, label: str) -> str:
    """The first selector without a matcher of this variable."""
    matcher = f'{label}=~"${label}"'
    for found in re.findall(r"\b(?:aep|process|up)\w*\{[^}]*\}", target.expression):
        if matcher not in found:
            return f"{found} has no {matcher}"
    return ""


def rate_interval(target: Target) -> str:
    """The range of rates and increases is `$__rate_interval`."""
    for found in re.findall(r"\b(?:rate|irate|increase)\(\w+\{[^}]*\}\[([^\]]*)\]", target.expression):
        if found != "$__rate_interval":
            return f"a range of {found}"
    return ""


def counter(target: Target) -> str:
    """Counters are only read with rate() or increase()."""
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
def test_queries_follow_the_linters_rules(name: str) -> None:
    """Every query follows the rule, except the ones in .lint, and every exception in .lint is still needed."""
    exclusions = yaml.safe_load((FOLDER / ".lint").read_text(encoding="utf-8"))["exclusions"].get(name, {})
    excluded = {(entry["dashboard"], entry["panel"]) for entry in exclusions.get("entries", ())}
    broken = {(target.dashboard, target.panel): RULES[name](target) for target in TARGETS if RULES[name](target)}
    assert set(broken) == excluded, broken
    assert not excluded or exclusions["reason"]


def test_lint_only_names_rules_that_are_checked() -> None:
    """.lint only has exceptions from rules that are checked here."""
    assert set(yaml.safe_load((FOLDER / ".lint").read_text(encoding="utf-8"))["exclusions"]) <= set(RULES)


@pytest.mark.parametrize(
    ("name", "expression", "fault"),
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
def test_the_rules_find_faults(name: str, expression: str, fault: str) -> None:
    """A rule returns the fault of a query that breaks it, and nothing for a query that follows it."""
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
    assert fault in found
    assert bool(fault) == bool(found)


def offenders(check: Callable[[Target], object]) -> dict[str, object]:
    """What a check finds in the queries of all panels, by query. Queries without a finding are left out."""
    return {str(target): found for target in TARGETS if (found := check(target))}


def test_queries_only_use_metrics_and_labels_that_exist() -> None:
    """Every query is valid PromQL, and each of its metrics and labels is exported."""
    assert offenders(lambda target: unknown(filled(target), {})) == {}


def test_two_instances_do_not_double() -> None:
    """Queries reduce the copies of a flow's series to one before they sum or count them."""

    def wrong_aggregations(target: Target) -> set[str]:
        return set(copies(parsed(target), (MatrixSelector, VectorSelector))) - {"max", "min", "topk"}

    assert offenders(wrong_aggregations) == {}


OVERLAPPING = {
    metric.name for metric in CATALOGUE if "result" in metric.all_labels and metric.name.startswith("aep_flow")
}
"""Metrics whose results overlap, so that their sum has no meaning."""


def sums_of_results(expression: Expr) -> list[str]:
    """The sums in an expression that mix several results of an overlapping metric."""
    return [
        str(node)
        for node in nodes(expression)
        if isinstance(node, AggregateExpr) and operator(node) == "sum" and "result" not in named_labels(node)
        for each in selectors(node)
        if name_of(each) in OVERLAPPING and 'result="' not in str(each)
    ]


def test_results_are_not_summed() -> None:
    """No query sums different results of records, bytes or files, because results overlap."""
    assert offenders(lambda target: sums_of_results(parsed(target))) == {}


def test_sums_of_results_are_found() -> None:
    """The check of sums finds a sum over results, and accepts a sum by result and a sum of one result."""
    assert sums_of_results(parse("sum(max by (result) (aep_flow_records_total))"))
    assert not sums_of_results(parse("sum by (result) (aep_flow_records_total)"))
    assert not sums_of_results(parse('sum(aep_flow_records_total{result="input"})'))


@of_each
def test_dashboards_have_the_usual_variables(dashboard: Dashboard) -> None:
    """Each dashboard has the variables that the linter requires, and updates them when the time range changes."""
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
def test_variables_only_use_metrics_and_labels_that_exist(dashboard: Dashboard) -> None:
    """The query of each variable is valid PromQL, and each of its metrics and labels is exported."""
    for variable in variables(dashboard).values():
        if variable["type"] == "query":
            query = ANY_TIME.fill(variable["query"], everything(dashboard), 60)
            found = re.fullmatch(r"query_result\((.*)\)|label_values\((.*), (\w+)\)", query)
            assert found, query
            assert unknown(found[1] or f"sum by ({found[3]}) ({found[2]})", {}) == []


@of_each
def test_panels_are_complete(dashboard: Dashboard) -> None:
    """Each panel has a unique title, a description in sentences, a unit, a query and the chosen data source."""
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
def test_dashboards_link_to_each_other(dashboard: Dashboard) -> None:
    """Each dashboard has its file's name as uid, is read-only, and has links that keep time range and variables."""
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


def links_of(panel: dict[str, Any]) -> list[str]:
    """The addresses to which a panel's values and the cells of its tables lead."""
    config = panel["fieldConfig"]
    settings = [setting for each in config.get("overrides", ()) for setting in each["properties"]]
    found = [
        *config["defaults"].get("links", ()),
        *(link for each in settings if each["id"] == "links" for link in each["value"]),
    ]
    return [link["url"] for link in found]


@of_each
def test_links_of_values_keep_time_and_variables(dashboard: Dashboard) -> None:
    """Links in rows only use fields of the row, and set all variables of the dashboard to which they lead."""
    found = [(panel, url) for panel in panels(dashboard) for url in links_of(panel)]
    assert bool(found) == (dashboard["title"] != "AEP exporter")
    for panel, url in found:
        fields = re.findall(r"__data\.fields\.(\w+)", url)
        if fields:
            assert set(fields) <= set(panel["transformations"][1]["options"]["indexByName"]), panel["title"]
        for label in re.findall(r"__field\.labels\.(\w+)", url):
            assert f"{{{{{label}}}}}" in panel["targets"][0]["legendFormat"], panel["title"]
        if url.startswith("/d/"):
            there = variables(DASHBOARDS[url.removeprefix("/d/").partition("?")[0]])
            named = re.findall(r"\$\{(\w+):queryparam\}", url) + re.findall(r"var-(\w+)=", url)
            assert set(named) == set(there) - {"exporter_url"}
            assert url.endswith("${__url_time_range}")
        else:
            assert url.startswith("${exporter_url:raw}/"), url


@of_each
def test_what_is_put_into_links_is_encoded(dashboard: Dashboard) -> None:
    """Ids, names and codes in links are percent-encoded, so that slashes, blanks and quotes in them do no harm."""
    as_they_are = {"exporter_url:raw", "__url_time_range"}
    for panel in panels(dashboard):
        for url in links_of(panel):
            put_in = set(re.findall(r"\$\{([^}]*)\}", url)) - as_they_are
            assert [each for each in put_in if not each.endswith((":percentencode", ":queryparam"))] == [], url


def test_values_lead_to_the_pages_of_the_exporter() -> None:
    """Failing flows lead to their pages and into Experience Platform, and error codes to what they mean."""
    found: dict[str, set[str]] = {}
    for dashboard in DASHBOARDS.values():
        for panel in panels(dashboard):
            found.setdefault(panel["title"], set()).update(re.sub(r"\$\{.*?\}", "X", url) for url in links_of(panel))
    own = "X/flows/X?sandbox=X"
    assert {own, "X/flows/X/platform?sandbox=X"} < found["Failing now"]
    for title in ("Freshness", "Runs in progress", "Runs without records", "Most failed runs", "Rejected records"):
        assert own in found[title], title
    for title in ("Failing now, by code", "Most reported error codes", "Error codes"):
        assert found[title] == {"X/errors#code-X"}, title


@of_each
def test_panels_fill_the_grid(dashboard: Dashboard) -> None:
    """Panel ids are consecutive from 1, and panels fill the whole width without overlapping."""
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
    """Each status has the same colour in all panels."""
    colours: dict[str, set[str]] = {}
    for dashboard in DASHBOARDS.values():
        for panel in panels(dashboard):
            for override in panel["fieldConfig"].get("overrides", ()):
                for setting in override["properties"]:
                    if setting["id"] == "color" and "fixedColor" in setting["value"]:
                        colours.setdefault(override["matcher"]["options"], set()).add(setting["value"]["fixedColor"])
    assert {"success", "failed"} <= set(colours)
    assert {name: found for name, found in colours.items() if len(found) > 1} == {}


def wrong_operators(target: Target) -> list[str]:
    """The variables that a query matches with the wrong operator."""
    chosen = variables(dashboard_of(target))
    found = re.findall(r'(=~|!~|!=|=)"\$(\w+)"', target.expression)
    if not found:
        return ["no variable"]
    return [name for operator, name in found if operator != ("=~" if chosen[name].get("multi") else "=")]


def test_variables_are_matched_as_grafana_writes_them() -> None:
    """Queries match a variable with `=~` if several values can be chosen, and with `=` otherwise."""
    assert offenders(wrong_operators) == {}


def test_no_range_is_fixed() -> None:
    """All ranges in queries depend on the time range of the dashboard."""
    for target in TARGETS:
        assert re.findall(r"\}\[(?!\$__range\]|\$__rate_interval\])", target.expression) == [], str(target)
        assert not [node for node in nodes(parsed(target)) if isinstance(node, SubqueryExpr)]
