"""PromQL for panels: every name and every label is the catalogue's, and a wrong one is an error when this runs.

What each function here keeps to, so that no panel has to:

- Two instances do not double: each exports every flow, so their copies become one (`max by`) before anything is summed.
- Runs are rare: they are counted by `increase` over the range that is looked at, or over a bar's width.
- Two names of one flow break nothing: names are joined from one series of `aep_flow_info` for each flow.
- Zero is not the same as nothing: `counted` says 0 only where flows are known.
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
    RUN_INTERVAL,
    TYPICAL_DURATION,
    Metric,
    MetricType,
)

RANGE: Final = "$__range"
"""The whole time that is looked at."""
STEP: Final = "$__rate_interval"
"""A bar's width and one scrape, so that no increment falls between two bars."""

_TARGET: Final = ("job", "instance")
_JOB: Final = 'job=~"$job"'
_INSTANCE: Final = 'instance=~"$instance"'
_SANDBOX: Final = 'sandbox=~"$sandbox"'
_ONE_FLOW: Final = "job, flow_id, sandbox"
_MATCHER: Final = re.compile(r'(\w+)(?:=~|!~|!=|=)"[^"]*"')


def _of_process(name: str, type_: MetricType) -> Metric:
    return Metric(name=name, type=type_, help="", half=EXPORTER)


# What prometheus_client and Prometheus add to the catalogue.
CPU: Final = _of_process("process_cpu_seconds_total", MetricType.COUNTER)
MEMORY: Final = _of_process("process_resident_memory_bytes", MetricType.GAUGE)
OPEN_FILES: Final = _of_process("process_open_fds", MetricType.GAUGE)
MAX_FILES: Final = _of_process("process_max_fds", MetricType.GAUGE)
STARTED: Final = _of_process("process_start_time_seconds", MetricType.GAUGE)
UP: Final = _of_process("up", MetricType.GAUGE)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which series a dashboard looks at: for each half, what its variables choose, as matchers."""

    chosen: Mapping[str, Sequence[str]]

    def select(self, metric: Metric, *matchers: str, suffix: str = "") -> str:
        """A selector; `matchers` are such as `status="failed"`, `suffix` a histogram's or summary's.

        Raises ValueError where the metric has no such label or no such samples.
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
        """A gauge of the flow half, once for each flow (or sandbox, or source) and label, whatever exports it."""
        return f"max by ({self._identity(metric)}) ({self.select(metric, *matchers)})"

    def increase(self, metric: Metric, window: str, *matchers: str, suffix: str = "") -> str:
        """How much a counter of the flow half grew, once, whatever exports it."""
        by = self._identity(metric) + (", le" if suffix == "_bucket" else "")
        return f"max by ({by}) (increase({self.select(metric, *matchers, suffix=suffix)}[{window}]))"

    def rounded_increase(self, metric: Metric, window: str, *matchers: str, by: str = "") -> str:
        """What grew, added up over flows and rounded: the estimate of `increase` is no whole number."""
        return f"round({total(self.increase(metric, window, *matchers), by)})"

    def only_exporters(self, expression: str, *others: Metric) -> str:
        """What every job has, kept to instances that had `aep_exporter_build_info` or one of the others in this time.

        So it shows an exporter that is down, and no other program.
        """
        seen = " or ".join(f"last_over_time({self.select(metric)}[{RANGE}])" for metric in (BUILD_INFO, *others))
        return f"({expression} and on ({', '.join(_TARGET)}) ({seen}))"

    def process_increase(self, metric: Metric, by: str = "") -> str:
        """The same of the processes' own counter: each counts what it did itself, so these are added up."""
        return f"round({total(f'increase({self.select(metric)}[{STEP}])', by)})"

    def quantile(self, share: float, metric: Metric, window: str, *matchers: str) -> str:
        """A quantile of a histogram of the flow half."""
        return f"histogram_quantile({share}, {total(self.increase(metric, window, *matchers, suffix='_bucket'), 'le')})"

    def mean(self, metric: Metric, window: str, *matchers: str, by: str = "") -> str:
        """The mean of a histogram or summary of the flow half, where there was anything."""
        both = [total(self.increase(metric, window, *matchers, suffix=suffix), by) for suffix in ("_sum", "_count")]
        return f"{both[0]} / ({both[1]} > 0)"

    def process_rate(self, metric: Metric, *, by: str = "", suffix: str = "") -> str:
        """How much it grew per second."""
        return total(f"rate({self.select(metric, suffix=suffix)}[{STEP}])", by)

    def process_quantile(self, share: float, metric: Metric) -> str:
        """A quantile of the processes' own histogram."""
        return f"histogram_quantile({share}, {self.process_rate(metric, by='le', suffix='_bucket')})"

    def names(self) -> str:
        """One series a flow: its name as the label `name`, or its id where it has none."""
        return f"max by (flow_id, sandbox, name) ({self._info()})"

    def platform_links(self) -> str:
        """The same with its `kind`, and with `platform`: the way to it in Experience Platform's UI.

        Links as in adobe.md D: a source has a page of its own, others stand on the monitoring dashboard.
        """
        found = f'label_join({self._info()}, "platform", ";", "org", "sandbox", "kind", "flow_id")'
        base = "@$1/sname:$2/platform"
        monitoring = f"{base}/monitoring/dashboard?pageType=$3&flowId=$4&us_redirect=true"
        found = _replaced(found, "platform", f"{base}/source/dataflows/$3/activity", "([^;]+);([^;]+);source;(.+)")
        found = _replaced(found, "platform", monitoring, "([^;]+);([^;]+);(destination|profile|identity);(.+)")
        # What has no page that is known, and what does not say whose it is: no link, rather than one that is wrong.
        found = _replaced(found, "platform", "", ".*;.*")
        return f"max by (flow_id, sandbox, name, kind, platform) ({found})"

    def _info(self) -> str:
        """aep_flow_info, once for each flow however often it was renamed, with `name`."""
        found = f"topk by (flow_id, sandbox) (1, {self.select(INFO)})"
        found = f'label_join({found}, "name", ";", "flow_name", "flow_id")'
        # First what has no name: a name may begin with a semicolon itself.
        return _replaced(_replaced(found, "name", "$1", ";([^;]*)"), "name", "$1", "(.+);[^;]*")

    def with_names(self, expression: str) -> str:
        """The same with the flow's name as the label `name`."""
        return f"({expression}) * on (flow_id, sandbox) group_left (name) {self.names()}"

    def unless_disabled(self, expression: str) -> str:
        """Without flows that the Flow Service calls disabled: nobody waits for these."""
        return f"({expression} unless on ({_ONE_FLOW}) {self.gauge(ENABLED)} == 0)"

    def silence(self) -> str:
        """How long ago each flow's latest run ended: seconds."""
        return f"time() - max by ({_ONE_FLOW}) ({self.select(LAST_RUN)})"

    def silence_ratio(self) -> str:
        """That as a share of what is usual for the flow, with AEPFlowOverdue's tolerance: above 1 it is overdue."""
        limit = f"(1.5 * {self.gauge(RUN_INTERVAL)} + 900)"
        return self.unless_disabled(f"({self.silence()}) / on ({_ONE_FLOW}) {limit}")

    def run_age_ratio(self) -> str:
        """How long the oldest run in progress has gone on, as a share of what AEPFlowRunStuck allows."""
        unknown = f"21600 + 0 * {self.gauge(IN_PROGRESS)}"
        limit = f"clamp_min(3 * {self.gauge(TYPICAL_DURATION)} or on ({_ONE_FLOW}) {unknown}, 3600)"
        oldest = f"min by ({_ONE_FLOW}) ({self.select(OLDEST_IN_PROGRESS)})"
        return self.unless_disabled(f"(time() - {oldest}) / on ({_ONE_FLOW}) {limit}")

    def latest_outcome(self, statuses: Sequence[str]) -> str:
        """The outcome of each flow's latest run, as its place among these; of several at one time the last of these."""
        latest = f"max by ({_ONE_FLOW}) ({self.select(LAST_RUN)})"
        found = (
            f"{place} + 0 * (max by ({_ONE_FLOW}) ({self.select(LAST_RUN, _status(status))})"
            f" == on ({_ONE_FLOW}) {latest})"
            for place, status in enumerate(statuses)
        )
        return " or ".join(reversed(list(found)))

    def failing(self) -> str:
        """Failures in a row of the flows that fail now."""
        return self.unless_disabled(f"{self.gauge(CONSECUTIVE_FAILURES)} > 0")

    def count_flows(self, expression: str) -> str:
        """How many flows it holds of; 0 where flows are known, and nothing where none is."""
        return f"count({expression}) or 0 * max({self.select(CONSECUTIVE_FAILURES)})"

    @staticmethod
    def _identity(metric: Metric) -> str:
        if metric.half != FLOWS:
            raise ValueError(f"{metric.name} is each process's own: copies of it are none")
        return ", ".join(("job", *metric.all_labels))


def total(expression: str, by: str = "") -> str:
    """A sum, over everything or by labels."""
    return f"sum by ({by}) ({expression})" if by else f"sum({expression})"


def _label(matcher: str) -> str:
    found = _MATCHER.fullmatch(matcher)
    return found[1] if found else ""


def _status(status: str) -> str:
    return f'status="{status}"'


def _replaced(expression: str, label: str, replacement: str, pattern: str) -> str:
    return f'label_replace({expression}, "{label}", "{replacement}", "{label}", "{pattern}")'


FLOWS_SCOPE: Final = Scope({FLOWS: (_JOB, _INSTANCE, _SANDBOX, 'flow_id=~"$flow"')})
# One flow is chosen by what it is: Grafana makes an expression of what is chosen only where several can be.
FLOW_SCOPE: Final = Scope({FLOWS: (_JOB, _INSTANCE, _SANDBOX, 'flow_id="$flow"')})
# The flow half has an instance of its own (prometheus.yml), and every process says the same of it.
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
