"""Whatever rules, their tests, the runbook and the examples ask for is in the catalogue."""

import re
from collections.abc import Iterator

import pytest

from exporter.metrics.catalogue import EXPORTER, FLOWS
from tests.prometheus.files import Rule, actions, alerts, load, rules, runbook_queries, sections, template_queries
from tests.prometheus.promql import LABELS, TARGET, parse, recorded, result_labels, unknown

MATCHERS = ("matchers", "source_matchers", "target_matchers")


RECORDED = recorded()


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression there is, and where it stands."""
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


@pytest.mark.parametrize(("where", "expression"), sorted(set(expressions())))
def test_only_what_is_exported_is_asked_for(where: str, expression: str) -> None:
    """Each metric is in the catalogue or recorded by a rule, and has each label by which it is chosen or grouped."""
    assert unknown(expression, RECORDED) == [], where


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
def test_what_is_not_exported_is_found(expression: str, missing: list[str]) -> None:
    """The test above sees a wrong metric, a wrong label and a wrong group."""
    assert unknown(expression, RECORDED) == missing


@pytest.mark.parametrize("rule", alerts(), ids=str)
def test_descriptions_use_labels_that_the_alert_has(rule: Rule) -> None:
    """A description reads no label that the alert's expression dropped, and no label that nothing has."""
    kept = result_labels(parse(rule.expression), RECORDED)
    for action in actions(rule.annotations["description"]):
        assert set(re.findall(r"\$labels\.(\w+)", action)) <= kept
        assert set(re.findall(r"\.Labels\.(\w+)|[lL]abel \"(\w+)\"", action)) <= {
            pair for label in LABELS for pair in ((label, ""), ("", label))
        }


def test_the_example_scrapes_both_halves() -> None:
    """prometheus.yml names each half once, and no label that Prometheus does not have."""
    config = load("prometheus.yml")
    halves = [scrape["params"]["collect[]"] for scrape in config["scrape_configs"]]
    assert sorted(halves) == [[EXPORTER], [FLOWS]]
    relabelled = [each for scrape in config["scrape_configs"] for each in scrape.get("relabel_configs", ())]
    assert {each["target_label"] for each in relabelled} == TARGET


def test_links_begin_with_a_label_that_the_example_sets_and_drops() -> None:
    """The external label that descriptions read is set in prometheus.yml, and dropped from what is sent."""
    config = load("prometheus.yml")
    read = {name for rule in alerts() for name in re.findall(r"\$externalLabels\.(\w+)", str(rule.annotations))}
    assert read == set(config["global"]["external_labels"])
    assert {each["regex"] for each in config["alerting"]["alert_relabel_configs"]} == read


def test_alertmanager_knows_what_it_routes() -> None:
    """alertmanager.yml names labels, alerts and severities that there are."""
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
        values = {alert.name if label == "alertname" else alert.labels[label] for alert in alerts()}
        for each in value.strip('"').split("|"):
            assert [known for known in values if re.fullmatch(each, known)], matcher
    assert named <= LABELS
