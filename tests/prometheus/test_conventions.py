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
INFO = r"aep_flow_info{job=%q,flow_id=%q,sandbox=%q,flow_name!=\"\"}"


def name_lookup(flow_id: str) -> str:
    """The template of a flow's name: as scraped now, else as scraped last within the past hour, else the id."""
    template = ""
    for query in (INFO, f"topk(1, last_over_time(timestamp({INFO})[1h:15s]))"):
        template += f'{{{{ with printf "{query}" $labels.job {flow_id} $labels.sandbox | query }}}}'
        template += '{{ . | first | label "flow_name" }}{{ else }}'
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
    description = alert.annotations["description"]
    text, base, path = description.partition(BASE)
    wanted = {
        "exactly summary, description and runbook_url": set(alert.annotations)
        == {"summary", "description", "runbook_url"},
        "a summary of one sentence without values": re.fullmatch(r"[A-Z][^.{}]*\.", alert.annotations["summary"]),
        "a link to the exporter": base,
        "what to do first": re.search(r"\. First |\.\{\{ end \}\} First ", text),
        "the flow's name": "flow_id" not in labels or NAME in text,
        "the flow's page": "flow_id" not in labels or PAGE in path,
        "the sandbox": "sandbox" not in labels or "andbox {{ $labels.sandbox }}:" in text,
        "the sandbox in the link": "sandbox" not in labels or path.endswith(SANDBOX),
        "a link to /status": "sandbox" in labels or path == "status",
        "a link to the runbook": alert.annotations["runbook_url"] == f"{RUNBOOK}#{alert.name.lower()}",
    }
    return [part for part, has_it in wanted.items() if not has_it]


def test_annotations_are_complete() -> None:
    """Each alert has a static summary, a description with flow, sandbox, first step and link, and a runbook link."""
    assert {alert.name: missing_parts(alert) for alert in alerts() if missing_parts(alert)} == {}


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
    """A description without the lookups of flows' names."""
    for flow_id in ("$labels.flow_id", "$flow.Labels.flow_id"):
        description = description.replace(name_lookup(flow_id), "NAME")
    return description


def test_every_name_is_looked_up_alike() -> None:
    """Descriptions query aep_flow_info only by the lookup that also works while the exporter is down."""
    descriptions = [alert.annotations["description"] for alert in alerts()]
    assert len([text for text in descriptions if "NAME" in without_names(text)]) >= 10
    assert [text for text in descriptions if "aep_flow_info" in without_names(text)] == []


def queries_without_range(description: str) -> set[str]:
    """The scraped metrics that a description reads without a range, except in the lookups of names."""
    queries = [parse(query) for query, _ in template_queries(without_names(description))]
    return set().union(*(metrics_without_range(query, SAMPLES) for query in queries))


def test_descriptions_do_not_change_while_the_exporter_is_down() -> None:
    """Queries in descriptions read scraped metrics over a range, because an alert outlives the last scrape."""
    found = {alert.name: queries_without_range(alert.annotations["description"]) for alert in alerts()}
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
        for query, _ in template_queries(alert.annotations["description"])
        for each in selectors(parse(query))
    }
    for_people = {"sandbox:aep_flow_runs_failed:ratio1d"}
    assert {rule.name for rule in rules() if not rule.is_alert} - used == for_people
