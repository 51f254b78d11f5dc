import re

import pytest

from exporter.metrics.catalogue import CATALOGUE, EXPORTER, EXPORTER_METRICS, FLOW_METRICS, FLOWS, Metric, MetricType


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_names_are_what_prometheus_users_expect(metric: Metric) -> None:
    """One prefix, base units, `_total` on counters alone, a help that is a sentence, buckets that rise."""
    assert re.fullmatch(r"aep_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.type is MetricType.COUNTER)
    assert not re.search(r"_(ms|milliseconds|minutes|hours|kb|mb|count|sum|bucket)(_|$)", metric.name)
    assert metric.help[0].isupper()
    assert metric.help.endswith(".")
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert bool(metric.buckets) == (metric.type is MetricType.HISTOGRAM)
    assert not {"le", "job", "instance", "__name__"} & set(metric.all_labels)
    assert len(set(metric.all_labels)) == len(metric.all_labels)
    assert (metric.scale == 1000) == (metric.half == FLOWS and metric.unit == "seconds")


def test_each_name_is_there_once() -> None:
    """No metric is listed twice, and each half holds its own."""
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)
    assert {metric.half for metric in FLOW_METRICS} == {FLOWS}
    assert {metric.half for metric in EXPORTER_METRICS} == {EXPORTER}
