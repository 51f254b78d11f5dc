"""Rules, their tests, the runbook and the example configurations only use metrics and labels that exist."""

import re
from collections.abc import Iterator

import pytest

from exporter.metrics.catalogue import EXPORTER, FLOWS
from tests.prometheus.files import Rule, actions, alerts, load, rules, runbook_queries, sections, template_queries
from tests.prometheus.promql import LABELS, TARGET, parse, recorded, result_labels, unknown

MATCHERS = ("matchers", "source_matchers", "target_matchers")
RECORDED = recorded()


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression in these files, and where it is."""
    for rule in rules():
        yield rule.name, rule.expression
        for name, template in rule.annotations.items():
            yield from ((f"{rule.name}: {name}", expression) for expression, _ in template_queries(template))
    for case in load("alerts.test.yml")["tests"]:
        yield from ((case["name"], series["series"]) for series in case["input_series"])
        for query in case.get("promql_expr_test", ()):
            yield case["name"], query["expr"]
            yield from (
                (case["name"], sample["labels"]) for sample in query.get("exp_samples", ()) if ":" in sample["labels"]
            )
    for alert, section in sections().items():
        yield from ((f"runbook: {alert}", expression) for expression in runbook_queries(section))


def test_expressions_only_use_metrics_and_labels_that_exist() -> None:
    """Every expression only uses metrics of the catalogue or of recording rules, and only labels that these have."""
    found = [(where, expression, unknown(expression, RECORDED)) for where, expression in sorted(set(expressions()))]
    assert len(found) > 300
    assert [each for each in found if each[2]] == []


@pytest.mark.parametrize(
    ("expression", "missing"),
    [
        ("aep_flow_last_run", ["aep_flow_last_run"]),
        ('aep_flow_runs_total{state="failed"}', ["aep_flow_runs_total{state}"]),
        ("sum by (flow) (aep_flow_runs_total)", ["flow"]),
        ("aep_flow_run_duration_seconds", ["aep_flow_run_duration_seconds"]),
        ('aep_flow_runs_total{le="1"}', ["aep_flow_runs_total{le}"]),
        ("flow:aep_flow_silence:ratio * on (error_code) flow:aep_flow_silence:ratio", ["error_code"]),
        ('{__name__="aep_nothing"}', ["aep_nothing"]),
        ('sum by (made) (label_replace(aep_flow_info, "made", "$1", "kind", "(.*)"))', []),
        ('sum by (mad) (label_replace(aep_flow_info, "made", "$1", "kind", "(.*)"))', ["mad"]),
        ('histogram_quantile(0.9, sum by (le) (rate(aep_flow_run_duration_seconds_bucket{status="failed"}[1h])))', []),
    ],
)
def test_unknown_metrics_and_labels_are_found(expression: str, missing: list[str]) -> None:
    """The check of expressions finds an unknown metric, an unknown label and an unknown grouping label."""
    assert unknown(expression, RECORDED) == missing


def missing_labels(alert: Rule) -> set[str]:
    """The labels that an alert's annotations read, but that the alert or the queried metrics do not have."""
    text = "".join(action for each in alert.annotations.values() for action in actions(each))
    of_alert = set(re.findall(r"\$labels\.(\w+)", text)) - result_labels(parse(alert.expression), RECORDED)
    of_queries = {one or other for one, other in re.findall(r"\.Labels\.(\w+)|[lL]abel \"(\w+)\"", text)}
    return of_alert | of_queries - LABELS


def test_annotations_only_read_labels_that_the_alert_has() -> None:
    """An annotation only reads labels that the alert's expression keeps, or that some metric has."""
    assert {alert.name: missing_labels(alert) for alert in alerts() if missing_labels(alert)} == {}


def test_missing_labels_are_found() -> None:
    """The check of descriptions finds a label that the expression drops and a label that no metric has."""
    description = (
        '{{ $labels.job }} {{ $labels.sandbox }} {{ "up" | query | first | label "nothing" }} {{ .Labels.none }}'
    )
    alert = Rule("made up", True, "max by (job) (up)", {}, {"description": description})
    assert missing_labels(alert) == {"sandbox", "nothing", "none"}


def test_the_example_scrapes_both_halves() -> None:
    """The example prometheus.yml scrapes each half of /metrics once, and relabels only job and instance."""
    config = load("prometheus.yml")
    halves = [scrape["params"]["collect[]"] for scrape in config["scrape_configs"]]
    assert sorted(halves) == [[EXPORTER], [FLOWS]]
    relabelled = [each for scrape in config["scrape_configs"] for each in scrape.get("relabel_configs", ())]
    assert {each["target_label"] for each in relabelled} == TARGET


def test_the_example_sets_and_drops_the_labels_of_links() -> None:
    """The example prometheus.yml sets the external labels that annotations read, and drops them from sent alerts."""
    config = load("prometheus.yml")
    read = {name for rule in alerts() for name in re.findall(r"\$externalLabels\.(\w+)", str(rule.annotations))}
    assert read == set(config["global"]["external_labels"])
    (drop,) = config["alerting"]["alert_relabel_configs"]
    assert (drop["action"], set(drop["regex"].split("|"))) == ("labeldrop", read)


def test_the_alertmanager_example_only_names_what_exists() -> None:
    """The example alertmanager.yml only names labels, alerts and severities that exist."""
    config = load("alertmanager.yml")
    routes = [config["route"], *config["route"]["routes"]]
    named = {
        label
        for each in (*routes, *config["inhibit_rules"])
        for key in ("group_by", "equal")
        for label in each.get(key, ())
    }
    matchers = [
        matcher for each in (*routes, *config["inhibit_rules"]) for key in MATCHERS for matcher in each.get(key, ())
    ]
    for matcher in matchers:
        label, _, value = re.split(r"\s*(=~|=)\s*", matcher)
        named.add(label)
        if label == "sandbox":
            continue
        values = {alert.name if label == "alertname" else alert.labels[label] for alert in alerts()}
        for each in value.strip('"').split("|"):
            assert [known for known in values if re.fullmatch(each, known)], matcher
    assert named <= LABELS
