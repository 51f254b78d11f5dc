"""What every alert has, and how every rule is written; contract 5."""

import re

import pytest
from promql_parser import MatrixSelector, VectorSelector

from tests.prometheus.files import Rule, alerts, load, rules, sections, template_queries
from tests.prometheus.promql import OF_FLOWS, copies, name_of, nodes, parse, recorded, result_labels, selectors

RECORDED = recorded()
SEVERITIES = {
    "AEPFlowRunFailed": "warning",
    "AEPFlowFailingRepeatedly": "critical",
    "AEPFlowFailuresCounted": "warning",
    "AEPFlowErrorCodeSpike": "warning",
    "AEPFlowOverdue": "warning",
    "AEPFlowRunStuck": "warning",
    "AEPFlowRecordsRejected": "warning",
    "AEPFlowZeroRecords": "warning",
    "AEPFlowSlow": "info",
    "AEPAdobeAlertFiring": "warning",
    "AEPNotificationsStopped": "critical",
    "AEPWebhookRejecting": "critical",
    "AEPExporterLedgerFailing": "critical",
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
NAME = (
    r'{{ with printf "aep_flow_info{job=%q,flow_id=%q,sandbox=%q,flow_name!=\"\"}"'
    " $labels.job $labels.flow_id $labels.sandbox | query }}"
    '{{ . | first | label "flow_name" }}{{ else }}{{ $labels.flow_id }}{{ end }}'
)
LOOKS_AT_NOW = "AEPExporterDown"
"""The one that asks whether there are samples now, and must not remember them."""


def test_the_alerts_are_those_of_the_contract() -> None:
    """Each alert exists once, as severe as it should be."""
    assert sorted((alert.name, alert.labels["severity"]) for alert in alerts()) == sorted(SEVERITIES.items())


@pytest.mark.parametrize("alert", alerts(), ids=str)
def test_an_alert_says_what_people_need(alert: Rule) -> None:
    """A summary of one sentence without values, a description, the way to the page, the way to the runbook."""
    assert set(alert.annotations) == {"summary", "description", "runbook_url"}
    assert re.fullmatch(r"[A-Z][^.{}]*\.", alert.annotations["summary"])
    description = alert.annotations["description"]
    labels = result_labels(parse(alert.expression), RECORDED)
    _, base, path = description.partition(BASE)
    assert base
    if "flow_id" in labels:
        assert NAME in description
        assert PAGE in path
    if "sandbox" in labels:
        assert "andbox {{ $labels.sandbox }}:" in description
        assert path.endswith(SANDBOX)
    else:
        assert path == "status"
    assert alert.annotations["runbook_url"] == f"{RUNBOOK}#{alert.name.lower()}"


def test_the_runbook_has_a_section_for_each_alert() -> None:
    """Every section is an alert's, in whichever order, and says what to do at night and when not to."""
    found = sections()
    assert sorted(found) == sorted(SEVERITIES)
    for name, section in found.items():
        for part in ("Means", "Look", "Do", "Silence", "False alarm"):
            assert section.count(f"\n**{part}") == 1, f"{name}: {part}"


@pytest.mark.parametrize("alert", alerts(), ids=str)
def test_each_alert_is_seen_to_fire_and_to_be_silent(alert: Rule) -> None:
    """There is a case for promtool in which it fires, and one in which it does not."""
    cases = [
        bool(case.get("exp_alerts"))
        for test in load("alerts.test.yml")["tests"]
        for case in test.get("alert_rule_test", ())
        if case["alertname"] == alert.name
    ]
    assert set(cases) == {True, False}


@pytest.mark.parametrize("rule", rules(), ids=str)
def test_a_failed_scrape_changes_nothing(rule: Rule) -> None:
    """What flows are like is read over a range, so that the last sample stands while a scrape is missing."""
    expression = parse(rule.expression)
    ranged = {name_of(node.vector_selector) for node in nodes(expression) if isinstance(node, MatrixSelector)}
    instant = {name_of(each) for each in selectors(expression)} - ranged
    if rule.name != LOOKS_AT_NOW:
        assert not instant & OF_FLOWS


@pytest.mark.parametrize("rule", rules(), ids=str)
def test_two_instances_do_not_double(rule: Rule) -> None:
    """Copies of a flow's series become one, by max or min, before they are added up, counted or compared."""
    for around in copies(parse(rule.expression), (MatrixSelector,)):
        assert around in {"max", "min", "group"}, f"{around} of all instances' copies"


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
def test_copies_that_are_added_up_are_found(expression: str, found: list[str]) -> None:
    """The test above, and that of the dashboards, see what copies are taken together by."""
    assert copies(parse(expression), (MatrixSelector, VectorSelector)) == found


@pytest.mark.parametrize("rule", rules(), ids=str)
def test_a_rename_breaks_no_rule(rule: Rule) -> None:
    """Names are not in expressions, where two of them would end the rule; descriptions ask for them."""
    assert "aep_flow_info" not in {name_of(each) for each in selectors(parse(rule.expression))}


@pytest.mark.parametrize("rule", [rule for rule in rules() if not rule.is_alert], ids=str)
def test_recorded_names_say_level_metric_and_operation(rule: Rule) -> None:
    """What is recorded is called level:metric:operations, by the labels it has."""
    assert re.fullmatch(r"(flow|sandbox|sandbox_error_code):aep_[a-z_]+:[a-z0-9_]+", rule.name)


def test_everything_recorded_is_used_or_explained() -> None:
    """No recording rule is there for nothing: an alert stands on it, or it is one that people ask for."""
    asked = {name_of(each) for rule in rules() for each in selectors(parse(rule.expression))}
    asked |= {
        name_of(each)
        for alert in alerts()
        for query, _ in template_queries(alert.annotations["description"])
        for each in selectors(parse(query))
    }
    for_people = {"sandbox:aep_flow_runs_failed:ratio1d"}
    assert {rule.name for rule in rules() if not rule.is_alert} - asked == for_people
