"""PromQL for panels.

Metric names and labels come from the catalogue. A name or a label that it does not have raises ValueError when the
dashboards are built.

The functions here follow these rules, so that panels need not:

- Each instance exports every flow. `max by` reduces these copies to one series before anything is summed.
- Runs are rare. They are counted with `increase` over the dashboard's time range, or over the width of a bar.
- A renamed flow has two series of `aep_flow_info` for a while. Names are joined from one of them per flow.
- Zero and no data are different. `rounded_increase` and `count_flows` return 0 only if the exporter exports flows.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from exporter.metrics.catalogue import (
    BUILD_INFO,
    CONSECUTIVE_FAILURES,
    ENABLED,
    EXPORTER,
    FLOWS,
    IN_PROGRESS,
    INFO,
    LAST_RUN,
    OLDEST_IN_PROGRESS,
    OVERDUE,
    TYPICAL_DURATION,
    Metric,
    MetricType,
)

RANGE: Final = "$__range"
"""The time range of the dashboard."""
STEP: Final = "$__rate_interval"
"""The width of a bar plus one scrape interval, so that no increment is lost between two bars."""

_TARGET: Final = ("job", "instance")
_JOB: Final = 'job=~"$job"'
_INSTANCE: Final = 'instance=~"$instance"'
_SANDBOX: Final = 'sandbox=~"$sandbox"'
_FLOW_LABELS: Final = "job, flow_id, sandbox"
_MATCHER: Final = re.compile(r'(\w+)(?:=~|!~|!=|=)"[^"]*"')


def _of_process(name: str, type_: MetricType) -> Metric:
    return Metric(name=name, type=type_, help="", half=EXPORTER)


# Metrics that are not in the catalogue: prometheus_client exports process_*, and Prometheus writes `up`.
CPU: Final = _of_process("process_cpu_seconds_total", MetricType.COUNTER)
MEMORY: Final = _of_process("process_resident_memory_bytes", MetricType.GAUGE)
OPEN_FILES: Final = _of_process("process_open_fds", MetricType.GAUGE)
MAX_FILES: Final = _of_process("process_max_fds", MetricType.GAUGE)
STARTED: Final = _of_process("process_start_time_seconds", MetricType.GAUGE)
UP: Final = _of_process("up", MetricType.GAUGE)


@dataclass(frozen=True, slots=True)
class Scope:
    """The series that a dashboard queries: for each half of /metrics, the matchers of its variables."""

    chosen: Mapping[str, Sequence[str]]

    def select(self, metric: Metric, *matchers: str, suffix: str = "") -> str:
        """Return a selector with the dashboard's matchers and `matchers`, such as `status="failed"`.

        `suffix` selects samples of a histogram or summary: `_sum`, `_count` or `_bucket`. Raises ValueError if the
        metric does not have such a label or such samples.
        """
        labels = {*_TARGET, *metric.all_labels}
        suffixes = {""}
        if metric.type in {MetricType.HISTOGRAM, MetricType.SUMMARY}:
            suffixes = {"_sum", "_count"}
        if metric.type is MetricType.HISTOGRAM:
            suffixes.add("_bucket")
        if suffix not in suffixes:
            raise ValueError(f"{metric.name} has no samples {metric.name}{suffix}")
        for matcher in matchers:
            if _label(matcher) not in labels:
                raise ValueError(f"{metric.name} has no label for {matcher}")
        own = [matcher for matcher in self.chosen[metric.half] if _label(matcher) in labels]
        return f"{metric.name}{suffix}{{{','.join([*own, *matchers])}}}"

    def gauge(self, metric: Metric, *matchers: str) -> str:
        """A gauge of the flow half: one series per label set, however many instances export it."""
        return f"max by ({self._series_labels(metric)}) ({self.select(metric, *matchers)})"

    def increase(self, metric: Metric, window: str, *matchers: str, suffix: str = "") -> str:
        """The increase of a counter of the flow half: one series per label set, however many instances export it."""
        by = self._series_labels(metric) + (", le" if suffix == "_bucket" else "")
        return f"max by ({by}) (increase({self.select(metric, *matchers, suffix=suffix)}[{window}]))"

    def rounded_increase(self, metric: Metric, window: str, *matchers: str, by: str = "") -> str:
        """The increase summed over flows. It is rounded, because `increase` extrapolates to fractions."""
        return f"round({total(self.increase(metric, window, *matchers), by)})"

    def only_exporters(self, expression: str, *others: Metric) -> str:
        """Restrict a metric that every job has, such as `up`, to instances of exporters.

        These are the instances that had `aep_exporter_build_info`, or one of `others`, within the time range. The
        result contains exporters that are down, and no other programs.
        """
        exporters = " or ".join(f"last_over_time({self.select(metric)}[{RANGE}])" for metric in (BUILD_INFO, *others))
        return f"({expression} and on ({', '.join(_TARGET)}) ({exporters}))"

    def process_increase(self, metric: Metric, by: str = "") -> str:
        """The rounded increase of a counter of the exporter half, summed: each process counts only its own work."""
        return f"round({total(f'increase({self.select(metric)}[{STEP}])', by)})"

    def quantile(self, share: float, metric: Metric, window: str, *matchers: str) -> str:
        """The quantile `share` (0 to 1) of a histogram of the flow half."""
        return f"histogram_quantile({share}, {total(self.increase(metric, window, *matchers, suffix='_bucket'), 'le')})"

    def mean(self, metric: Metric, window: str, *matchers: str, by: str = "") -> str:
        """The mean of a histogram or summary of the flow half. It has no value where there were no observations."""
        both = [total(self.increase(metric, window, *matchers, suffix=suffix), by) for suffix in ("_sum", "_count")]
        return f"{both[0]} / ({both[1]} > 0)"

    def process_rate(self, metric: Metric, *, by: str = "", suffix: str = "") -> str:
        """The rate per second of a counter of the exporter half, summed over processes."""
        return total(f"rate({self.select(metric, suffix=suffix)}[{STEP}])", by)

    def process_quantile(self, share: float, metric: Metric) -> str:
        """The quantile `share` (0 to 1) of a histogram of the exporter half, over all processes."""
        return f"histogram_quantile({share}, {self.process_rate(metric, by='le', suffix='_bucket')})"

    def names(self) -> str:
        """One series per flow. The label `name` holds its name, or its id if it has no name."""
        return f"max by (flow_id, sandbox, name) ({self._info()})"

    def names_kinds_and_orgs(self) -> str:
        """The same series with two more labels: `kind`, and `org` if the organisation is known.

        Without an organisation the exporter may not know the address of the flow's page in Experience Platform.
        """
        return f"max by (flow_id, sandbox, name, kind, org) ({self._info()})"

    def _info(self) -> str:
        """aep_flow_info with the label `name`: one series per flow, also while it is being renamed."""
        found = f"topk by (flow_id, sandbox) (1, {self.select(INFO)})"
        found = f'label_join({found}, "name", ";", "flow_name", "flow_id")'
        # Flows without a name first, because a name may itself begin with a semicolon.
        return _label_replace(_label_replace(found, "name", "$1", ";([^;]*)"), "name", "$1", "(.+);[^;]*")

    def with_names(self, expression: str) -> str:
        """Add the flow's name to the expression, as the label `name`."""
        return f"({expression}) * on (flow_id, sandbox) group_left (name) {self.names()}"

    def unless_disabled(self, expression: str) -> str:
        """Leave out flows that are disabled according to the Flow Service, because they are not expected to run."""
        return f"({expression} unless on ({_FLOW_LABELS}) {self.gauge(ENABLED)} == 0)"

    def silence(self) -> str:
        """The seconds since each flow's latest run ended."""
        return f"time() - max by ({_FLOW_LABELS}) ({self.select(LAST_RUN)})"

    def silence_ratio(self) -> str:
        """The silence of each flow as a share of its silence limit. A flow is overdue above 1."""
        latest = f"max by ({_FLOW_LABELS}) ({self.select(LAST_RUN)})"
        limit = f"({self.gauge(OVERDUE)} - on ({_FLOW_LABELS}) {latest})"
        return self.unless_disabled(f"({self.silence()}) / on ({_FLOW_LABELS}) {limit}")

    def overdue(self) -> str:
        """The seconds for which each flow has been overdue, of the flows that are."""
        return self.unless_disabled(f"time() - {self.gauge(OVERDUE)} > 0")

    def run_age_ratio(self) -> str:
        """The age of each flow's oldest run in progress, as a share of the limit of AEPFlowRunStuck."""
        unknown = f"21600 + 0 * {self.gauge(IN_PROGRESS)}"
        limit = f"clamp_min(3 * {self.gauge(TYPICAL_DURATION)} or on ({_FLOW_LABELS}) {unknown}, 3600)"
        oldest = f"min by ({_FLOW_LABELS}) ({self.select(OLDEST_IN_PROGRESS)})"
        return self.unless_disabled(f"(time() - {oldest}) / on ({_FLOW_LABELS}) {limit}")

    def latest_outcome(self, statuses: Sequence[str]) -> str:
        """The outcome of each flow's latest run, as an index into `statuses`.

        If several runs ended at the same time, the highest index counts.
        """
        latest = f"max by ({_FLOW_LABELS}) ({self.select(LAST_RUN)})"
        found = (
            f"{index} + 0 * (max by ({_FLOW_LABELS}) ({self.select(LAST_RUN, _status(status))})"
            f" == on ({_FLOW_LABELS}) {latest})"
            for index, status in enumerate(statuses)
        )
        return " or ".join(reversed(list(found)))

    def failing(self) -> str:
        """The failures in a row of each flow whose latest run failed."""
        return self.unless_disabled(f"{self.gauge(CONSECUTIVE_FAILURES)} > 0")

    def count_flows(self, expression: str) -> str:
        """The number of series of the expression. It is 0 if there are none, and has no value without any flow."""
        return f"count({expression}) or 0 * max({self.select(CONSECUTIVE_FAILURES)})"

    @staticmethod
    def _series_labels(metric: Metric) -> str:
        if metric.half != FLOWS:
            raise ValueError(f"{metric.name} is in the exporter half: its instances are not copies of each other")
        return ", ".join(("job", *metric.all_labels))


def total(expression: str, by: str = "") -> str:
    """The sum over everything, or by labels."""
    return f"sum by ({by}) ({expression})" if by else f"sum({expression})"


def _label(matcher: str) -> str:
    found = _MATCHER.fullmatch(matcher)
    return found[1] if found else ""


def _status(status: str) -> str:
    return f'status="{status}"'


def _label_replace(expression: str, label: str, replacement: str, pattern: str) -> str:
    return f'label_replace({expression}, "{label}", "{replacement}", "{label}", "{pattern}")'


FLOWS_SCOPE: Final = Scope({FLOWS: (_JOB, _INSTANCE, _SANDBOX, 'flow_id=~"$flow"')})
# Matched with `=`: Grafana writes a value as a regular expression only if several values can be chosen.
FLOW_SCOPE: Final = Scope({FLOWS: (_JOB, _INSTANCE, _SANDBOX, 'flow_id="$flow"')})
# The instance variable lists processes. The flow half has an instance of its own (prometheus.yml), and is the same
# from every process.
EXPORTER_SCOPE: Final = Scope({FLOWS: (_JOB,), EXPORTER: (_JOB, _INSTANCE)})

JOBS_OF_FLOWS: Final = f"label_values({LAST_RUN.name}, job)"
INSTANCES_OF_FLOWS: Final = f'label_values({LAST_RUN.name}{{job=~"$job"}}, instance)'
SANDBOXES: Final = f'label_values({LAST_RUN.name}{{job=~"$job",instance=~"$instance"}}, sandbox)'
FLOWS_BY_NAME: Final = (
    "query_result(max by (flow_id, name) (" + Scope({FLOWS: (_JOB, _INSTANCE, _SANDBOX)}).names() + "))"
)
FLOW_BY_NAME: Final = r'/flow_id="(?<value>.*?)",name="(?<text>.*)"}/'
JOBS_OF_EXPORTERS: Final = f"label_values({BUILD_INFO.name}, job)"
INSTANCES_OF_EXPORTERS: Final = f'label_values({BUILD_INFO.name}{{job=~"$job"}}, instance)'
