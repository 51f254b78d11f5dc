import re
from collections.abc import Iterator

from exporter.metrics.catalogue import CATALOGUE, EXPORTER, EXPORTER_METRICS, FLOW_METRICS, FLOWS, Metric, MetricType


def broken_rules(metric: Metric) -> Iterator[str]:
    """The conventions that a metric does not follow."""
    rules = {
        "the name is aep_ and lower-case words": re.fullmatch(r"aep_[a-z]+(_[a-z]+)*", metric.name),
        "counters alone end in _total": metric.name.endswith("_total") == (metric.type is MetricType.COUNTER),
        "the name has base units and no suffix of a sample": not re.search(
            r"_(ms|milliseconds|minutes|hours|kb|mb|count|sum|bucket)(_|$)", metric.name
        ),
        "the help text is a sentence": metric.help[0].isupper() and metric.help.endswith("."),
        "buckets rise": list(metric.buckets) == sorted(set(metric.buckets)),
        "histograms alone have buckets": bool(metric.buckets) == (metric.type is MetricType.HISTOGRAM),
        "no label is reserved": not {"le", "job", "instance", "__name__"} & set(metric.all_labels),
        "each label is there once": len(set(metric.all_labels)) == len(metric.all_labels),
        "the fold counts milliseconds, and nothing else is scaled": (
            (metric.scale == 1000) == (metric.half == FLOWS and metric.unit == "seconds")
        ),
    }
    return (rule for rule, is_kept in rules.items() if not is_kept)


def test_names_are_what_prometheus_users_expect() -> None:
    """Every metric follows Prometheus's conventions for names, units, help texts, labels and buckets."""
    assert not {metric.name: rules for metric in CATALOGUE if (rules := list(broken_rules(metric)))}


def test_each_name_occurs_once() -> None:
    """No metric is listed twice, and each half lists only its own metrics."""
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)
    assert {metric.half for metric in FLOW_METRICS} == {FLOWS}
    assert {metric.half for metric in EXPORTER_METRICS} == {EXPORTER}
