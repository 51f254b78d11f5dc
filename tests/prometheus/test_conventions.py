"""Conventions that every alert, every recording rule and every section of the runbook follows."""

import re
from collections.abc import Collection

import pytest
from promql_parser import Expr, MatrixSelector, SubqueryExpr, VectorSelector

from tests.prometheus.files import Rule, alerts, load, rules, sections, template_queries
from tests.prometheus.promql import OF_FLOWS, SAMPLES, copies, name_of, parse, parts, recorded, result_labels, selectors

RECORDED = recorded()
SEVERITIES = {
    "AEPFlowRunFailed": "warning",
    "AEPFlowFailingRepeatedly": "critical",
    "AEPFlowsFailingTogether": "critical",
    "AEPFlowDisabledWhileFailing": "warning",
    "AEPFlowFailuresCounted": "warning",
    "AEPFlowErrorCodeSpike": "warning",
    "AEPFlowOverdue": "warning",
    "AEPFlowRunStuck": "warning",
    "AEPFlowRecordsRejected": "warning",
    "AEPFlowZeroRecords": "warning",
    "AEPFlowSlow": "info",
    "AEPAdobeAlertFiring": "warning",
    "AEPNotificationsStopped": "critical",
    "AEPNotificationsNotUnderstood": "warning",
    "AEPWebhookRejecting": "critical",
    "AEPExporterLedgerFailing": "critical",
    "AEPExporterClockWrong": "warning",
    "AEPExporterFlowLimitReached": "warning",
    "AEPExporterDown": "critical",
}
RUNBOOK = "https://github.com/aep-flow-exporter/aep-flow-exporter/blob/main/prometheus/runbook.md"
BASE = (
    '{{ with $externalLabels.aep_exporter_url }}{{ . | reReplaceAll "/+$" "" }}'
    "{{ else }}http://127.0.0.1:10464{{ end }}/"
)
PAGE = 'flows/{{ $labels.flow_id | urlquery | reReplaceAll "[+]" "%20" }}'
SANDBOX = "?sandbox={{ $labels.sandbox | urlquery }}"
HAS_FLOW = "{{ if $labels.flow_id }}"
END = "{{ end }}"
PLATFORM = f"{BASE}{PAGE}/platform{SANDBOX}"
OF_FLOWS_ONLY = {"flow_name", "error_codes", "experience_platform_url", "dashboard_url"}
"""Annotations for programs that an alert has beside page_url if it is about a flow."""
INFO = "aep_flow_info{job=%q,flow_id=%q,sandbox=%q}"


def name_lookup(flow_id: str) -> str:
    """The template of a flow's name: as scraped now, else as scraped last within the past hour, else the id."""
    template = ""
    for query in (INFO, f"topk(1, last_over_time(timestamp({INFO})[1h:15s]))"):
        template += f'{{{{ with printf "{query}" $labels.job {flow_id} $labels.sandbox | query }}}}'
        template += f'{{{{ or (. | first | label "flow_name") {flow_id} }}}}{{{{ else }}}}'
    return template + f"{{{{ {flow_id} }}}}" + 2 * "{{ end }}"


NAME = name_lookup("$labels.flow_id")
READ_LATEST_SCRAPE = {
    "AEPExporterDown": {"aep_last_notification_timestamp_seconds"},
    "flow:aep_flow_failing:cause": {"aep_flow_failing_cause_info"},
}
"""The rules that read metrics without a range. The first must detect missing samples. The second prefers the latest
scrape, and reads a range where that has nothing."""


def test_each_alert_exists_once_with_its_severity() -> None:
    """Each alert exists exactly once, and has its severity."""
    assert sorted((alert.name, alert.labels["severity"]) for alert in alerts()) == sorted(SEVERITIES.items())


def test_alerts_that_inhibit_are_evaluated_first() -> None:
    """An alert that fires at once comes after the alerts of its group that inhibit it, so it is never sent early."""
    group = next(group for group in load("alerts.yml")["groups"] if group["name"] == "aep-flow-state")
    names = [rule["alert"] for rule in group["rules"] if "alert" in rule]
    at_once = [rule["alert"] for rule in group["rules"] if "alert" in rule and "for" not in rule]
    found = []
    for inhibition in load("alertmanager.yml")["inhibit_rules"]:
        (source,), (target,) = (
            [each.split()[-1].strip('"') for each in inhibition[key]] for key in ("source_matchers", "target_matchers")
        )
        found += [
            (before, after)
            for before in names
            for after in at_once
            if re.fullmatch(source, before) and re.fullmatch(target, after)
        ]
    assert set(found) >= {
        (name, "AEPFlowRunFailed") for name in ("AEPFlowsFailingTogether", "AEPFlowFailingRepeatedly")
    }
    assert [each for each in found if names.index(each[0]) > names.index(each[1])] == []


def missing_parts(alert: Rule) -> list[str]:
    """The parts that an alert's annotations should have, but do not have."""
    labels = result_labels(parse(alert.expression), RECORDED)
    given = alert.annotations
    is_about_a_flow = "flow_id" in labels
    text, base, _ = given["description"].partition(BASE)
    wanted = {
        "the right annotations": set(given)
        == {"summary", "description", "page_url", "runbook_url"} | (OF_FLOWS_ONLY if is_about_a_flow else set()),
        "a summary of one sentence without values": re.fullmatch(r"[A-Z][^.{}]*\.", given["summary"]),
        "a link to the exporter": base,
        "what to do first": re.search(r"\. First |\.\{\{ end \}\} First ", text),
        "the flow's name": not is_about_a_flow or NAME in text,
        "the sandbox": "sandbox" not in labels or "andbox {{ $labels.sandbox }}:" in text,
        "a page": given["page_url"].startswith(BASE),
        "the page in the description": is_about_a_flow or given["description"].endswith(f": {given['page_url']}"),
        "the flow's page": not is_about_a_flow or given["page_url"] == f"{BASE}{HAS_FLOW}{PAGE}{END}{SANDBOX}",
        "the ways to the flow": not is_about_a_flow or leads_to_the_flow(given["description"]),
        "the sandbox in the link": "sandbox" not in labels or SANDBOX in given["page_url"],
        "a page of the exporter itself": "sandbox" in labels
        or given["page_url"].removeprefix(BASE) in {"status", "notifications"},
        "a link to the runbook": given["runbook_url"] == f"{RUNBOOK}#{alert.name.lower()}",
    }
    return [part for part, has_it in wanted.items() if not has_it]


def leads_to_the_flow(description: str) -> bool:
    """Whether a description ends with the flow's page here and in Experience Platform. It may name no flow."""
    of_flow = f": {BASE}{PAGE}{SANDBOX} In Experience Platform: {PLATFORM}"
    of_any = f": {BASE}{HAS_FLOW}{PAGE}{END}{SANDBOX}{HAS_FLOW} In Experience Platform: {PLATFORM}{END}"
    return description.endswith((of_flow, of_any))


def test_annotations_are_complete() -> None:
    """Each alert has a static summary, a description with flow, sandbox, first step and links, and a runbook link."""
    assert {alert.name: missing_parts(alert) for alert in alerts() if missing_parts(alert)} == {}


def test_alerts_about_flows_have_the_same_annotations_for_programs() -> None:
    """The annotations for programs are the same templates in all alerts about a flow."""
    about_flows = [alert.annotations for alert in alerts() if "flow_name" in alert.annotations]
    assert len(about_flows) >= 9
    for name in (*OF_FLOWS_ONLY, "page_url"):
        (template,) = {each[name] for each in about_flows}
        assert "$labels" in template
    assert about_flows[0]["flow_name"] == f"{HAS_FLOW}{NAME}{END}"
    assert about_flows[0]["experience_platform_url"] == f"{HAS_FLOW}{PLATFORM}{END}"


def test_no_query_is_slow() -> None:
    """No query of an annotation excludes an empty label, which takes Prometheus milliseconds for each alert."""
    queries = [
        query for alert in alerts() for text in alert.annotations.values() for query, _ in template_queries(text)
    ]
    assert len(queries) >= 20
    assert [query for query in queries if re.search(r'!=\s*""|!~\s*""|=~"\.\+"', query)] == []


def test_the_runbook_has_a_section_for_each_alert() -> None:
    """The runbook has one section for each alert, and each section has the same five parts."""
    found = sections()
    assert sorted(found) == sorted(SEVERITIES)
    for name, section in found.items():
        for part in ("Means", "Look", "Do", "Silence", "False alarm"):
            assert section.count(f"\n**{part}") == 1, f"{name}: {part}"


def test_each_alert_has_a_test_that_fires_and_one_that_does_not() -> None:
    """alerts.test.yml has a case in which each alert fires, and one in which it does not."""
    cases = {
        (case["alertname"], bool(case.get("exp_alerts")))
        for test in load("alerts.test.yml")["tests"]
        for case in test.get("alert_rule_test", ())
    }
    assert cases == {(alert.name, fires) for alert in alerts() for fires in (True, False)}


def metrics_without_range(node: Expr, metrics: Collection[str]) -> set[str]:
    """Those of these metrics that an expression reads without a range."""
    if isinstance(node, MatrixSelector | SubqueryExpr):
        return set()
    if isinstance(node, VectorSelector):
        return {name_of(node)}.intersection(metrics)
    return set().union(*(metrics_without_range(part, metrics) for part in parts(node)))


def test_a_failed_scrape_changes_nothing() -> None:
    """Rules read metrics of the flow half over a range, so that one failed scrape does not change their results."""
    found = {rule.name: metrics_without_range(parse(rule.expression), OF_FLOWS) for rule in rules()}
    assert {name: metrics for name, metrics in found.items() if metrics} == READ_LATEST_SCRAPE


def without_names(description: str) -> str:
    """An annotation without the lookups of flows' names."""
    for flow_id in ("$labels.flow_id", "$flow.Labels.flow_id"):
        description = description.replace(name_lookup(flow_id), "NAME")
    return description


def test_every_name_is_looked_up_alike() -> None:
    """Annotations query aep_flow_info only by the lookup that also works while the exporter is down."""
    texts = [text for alert in alerts() for text in alert.annotations.values()]
    assert len([text for text in texts if "NAME" in without_names(text)]) >= 20
    assert [text for text in texts if "aep_flow_info" in without_names(text)] == []


def queries_without_range(description: str) -> set[str]:
    """The scraped metrics that an annotation reads without a range, except in the lookups of names."""
    queries = [parse(query) for query, _ in template_queries(without_names(description))]
    return set().union(*(metrics_without_range(query, SAMPLES) for query in queries))


def test_annotations_do_not_change_while_the_exporter_is_down() -> None:
    """Queries in annotations read scraped metrics over a range, because an alert outlives the last scrape."""
    found = {alert.name: set().union(*map(queries_without_range, alert.annotations.values())) for alert in alerts()}
    assert {name: metrics for name, metrics in found.items() if metrics} == {}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("max(aep_flow_failing_since_timestamp_seconds)", {"aep_flow_failing_since_timestamp_seconds"}),
        ("up == 0", {"up"}),
        ("max(last_over_time(up[10m]))", set()),
        ("last_over_time((up - timestamp(up))[10m:30s])", set()),
        ("flow:aep_flow_enabled:max", set()),
    ],
)
def test_queries_without_a_range_are_found(query: str, found: set[str]) -> None:
    """The check of descriptions finds a scraped metric that is read without a range or a subquery."""
    assert queries_without_range(f'{{{{ with "{query}" | query }}}}{{{{ end }}}}') == found


def test_two_instances_do_not_double() -> None:
    """Rules reduce the copies of a flow's series with max or min before they sum, count or compare them."""
    found = {rule.name: set(copies(parse(rule.expression), (MatrixSelector,))) for rule in rules()}
    assert set().union(*found.values()) >= {"max", "min", "group"}
    assert {name: around for name, around in found.items() if not around <= {"max", "min", "group"}} == {}


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("sum(increase(aep_flow_runs_total[1h]))", ["sum"]),
        ("sum(max by (job) (increase(aep_flow_runs_total[1h])))", ["max"]),
        ("aep_flow_enabled == 0", ["nothing"]),
        ("count(aep_flow_enabled) / max(aep_flow_runs_in_progress)", ["count", "max"]),
        ("sum(aep_exporter_ledger_up)", []),
    ],
)
def test_the_aggregation_of_copies_is_found(expression: str, found: list[str]) -> None:
    """The check for copies, here and for dashboards, returns the aggregation around each metric of the flow half."""
    assert copies(parse(expression), (MatrixSelector, VectorSelector)) == found


def test_a_rename_breaks_no_rule() -> None:
    """No rule reads aep_flow_info, because a flow that is being renamed has two such series."""
    named = [rule.name for rule in rules() if "aep_flow_info" in map(name_of, selectors(parse(rule.expression)))]
    assert named == []


def test_recorded_names_have_level_metric_and_operation() -> None:
    """Each recorded series is named level:metric:operation."""
    pattern = r"(flow|error_code|sandbox|sandbox_error_code|job_reason):aep_[a-z_]+:[a-z0-9_]+"
    recording = [rule.name for rule in rules() if not rule.is_alert]
    assert recording
    assert [name for name in recording if not re.fullmatch(pattern, name)] == []


def test_every_recording_rule_is_used() -> None:
    """Each recorded series is used by another rule or a description, or is listed here as one for people."""
    used = {name_of(each) for rule in rules() for each in selectors(parse(rule.expression))}
    used |= {
        name_of(each)
        for alert in alerts()
        for text in alert.annotations.values()
        for query, _ in template_queries(text)
        for each in selectors(parse(query))
    }
    for_people = {"sandbox:aep_flow_runs_failed:ratio1d"}
    assert {rule.name for rule in rules() if not rule.is_alert} - used == for_people
