"""The table of all metrics: the one place that defines their names, help texts, labels and buckets.

The registry, the fold, the documentation and the dashboards use this table. Alert rules are written by hand, and a test
compares them with it (tests/prometheus/test_catalogue.py). Names are final: other people's queries depend on them.

The fold keeps values as integers (milliseconds, bytes, records). They are divided by `scale` when they are rendered, so
that the order of additions can't change a sum.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

FLOWS: Final = "flows"
"""The half that is a fold over the ledger, equal in every process."""
EXPORTER: Final = "exporter"
"""The half that is about this process."""


class MetricType(StrEnum):
    """The metric types that are used here, of those that the exposition formats have."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric family. `name` is the name of its samples: that of a counter ends in `_total`."""

    name: str
    type: MetricType
    help: str
    half: str
    group: tuple[str, ...] = ()
    """The labels of the flow, sandbox or source that a series belongs to. A group's series are dropped together."""
    labels: tuple[str, ...] = ()
    """The other labels."""
    buckets: tuple[float, ...] = ()
    """Upper bounds in the metric's unit, without +Inf."""
    scale: int = 1
    """The number of the fold's units in one of the metric's units."""
    has_exemplars: bool = False
    """Whether its samples have an exemplar in OpenMetrics: the run that changed them last."""

    @property
    def family(self) -> str:
        """The family's name in OpenMetrics: that of a counter has no `_total`."""
        return self.name.removesuffix("_total") if self.type is MetricType.COUNTER else self.name

    @property
    def unit(self) -> str:
        """The unit at the end of the family's name, or ""."""
        return next((unit for unit in ("seconds", "bytes") if self.family.endswith("_" + unit)), "")

    @property
    def all_labels(self) -> tuple[str, ...]:
        """Every label of its samples, except a histogram's `le`."""
        return self.group + self.labels


FLOW: Final = ("flow_id", "sandbox")
"""The labels of a flow's series."""
SANDBOX: Final = ("sandbox",)
_MILLISECONDS: Final = 1000
_POWERS_OF_TEN: Final = tuple(float(10**exponent) for exponent in range(10))


def _counter(name: str, help_: str, *labels: str, group: tuple[str, ...] = FLOW, has_exemplars: bool = False) -> Metric:
    return Metric(
        name=name,
        type=MetricType.COUNTER,
        help=help_,
        half=FLOWS,
        group=group,
        labels=labels,
        has_exemplars=has_exemplars,
    )


def _gauge(name: str, help_: str, *labels: str, group: tuple[str, ...] = FLOW, scale: int = 1) -> Metric:
    return Metric(name=name, type=MetricType.GAUGE, help=help_, half=FLOWS, group=group, labels=labels, scale=scale)


RUNS = _counter("aep_flow_runs_total", "Flow runs that ended, by outcome.", "status")
ERRORS = _counter(
    "aep_flow_run_errors_total",
    "Flow runs that reported the error code, by the run's outcome. A code counts once per run.",
    "status",
    "error_code",
    has_exemplars=True,
)
RECORDS = _counter(
    "aep_flow_records_total",
    "Records that runs reported, by result. Results overlap: do not sum over them.",
    "result",
)
BYTES = _counter(
    "aep_flow_bytes_total", "Bytes that runs reported, by result. Results overlap: do not sum over them.", "result"
)
FILES = _counter(
    "aep_flow_files_total", "Files that runs reported, by result. Results overlap: do not sum over them.", "result"
)
RUN_DURATION = Metric(
    name="aep_flow_run_duration_seconds",
    type=MetricType.HISTOGRAM,
    help="Time from a run's start to its completion, by outcome.",
    half=FLOWS,
    group=FLOW,
    labels=("status",),
    buckets=(15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400),
    scale=_MILLISECONDS,
    has_exemplars=True,
)
INPUT_RECORDS = Metric(
    name="aep_flow_run_input_records",
    type=MetricType.HISTOGRAM,
    help="Records read per run that succeeded, wholly or partly.",
    half=FLOWS,
    group=FLOW,
    buckets=(0.0, *_POWERS_OF_TEN),
)
INPUT_BYTES = Metric(
    name="aep_flow_run_input_bytes",
    type=MetricType.HISTOGRAM,
    help="Bytes read per run that succeeded, wholly or partly.",
    half=FLOWS,
    group=FLOW,
    buckets=(0.0, *(1000.0 * power for power in _POWERS_OF_TEN)),
)
ACTIVITY_DURATION = Metric(
    name="aep_flow_activity_duration_seconds",
    type=MetricType.SUMMARY,
    help="Time that the activities of runs took.",
    half=FLOWS,
    group=FLOW,
    labels=("activity",),
    scale=_MILLISECONDS,
)
LAST_RUN = _gauge(
    "aep_flow_last_run_timestamp_seconds",
    "Completion of the latest run with this outcome, in seconds since 1970.",
    "status",
    scale=_MILLISECONDS,
)
LAST_DURATION = _gauge("aep_flow_last_run_duration_seconds", "Duration of the latest run.", scale=_MILLISECONDS)
LAST_RECORDS = _gauge(
    "aep_flow_last_run_records", "Records of the latest run that succeeded, wholly or partly, by result.", "result"
)
TYPICAL_DURATION = _gauge(
    "aep_flow_typical_run_duration_seconds",
    "Median duration of up to 20 latest runs that succeeded, wholly or partly. Absent before the third.",
    scale=_MILLISECONDS,
)
TYPICAL_RECORDS = _gauge(
    "aep_flow_typical_run_input_records",
    "Median of the records read by up to 20 latest runs that succeeded, wholly or partly. Absent before the third.",
)
CONSECUTIVE_FAILURES = _gauge(
    "aep_flow_consecutive_failures", "Failed runs since the last run that succeeded, wholly or partly."
)
FAILING_SINCE = _gauge(
    "aep_flow_failing_since_timestamp_seconds",
    "Completion of the first of the consecutive failures, in seconds since 1970. Absent when there are none.",
    scale=_MILLISECONDS,
)
FAILING_RUNS = _gauge(
    "aep_flow_failing_runs",
    "Failed runs since the last success that reported the error code. A run can report several: do not sum over codes. "
    "Absent when there are none.",
    "error_code",
)
FAILING_CAUSE = _gauge(
    "aep_flow_failing_cause_info",
    "Always 1. Its label is the first error code of the first of the consecutive failures. Absent when there are none.",
    "error_code",
)
RUN_INTERVAL = _gauge(
    "aep_flow_run_interval_seconds",
    "Longest time between completions of runs that is usual for the flow. Absent before three gaps.",
    scale=_MILLISECONDS,
)
OVERDUE = _gauge(
    "aep_flow_overdue_timestamp_seconds",
    "When the flow is overdue if no further run ends, in seconds since 1970. Absent before three gaps.",
    scale=_MILLISECONDS,
)
ENABLED = _gauge(
    "aep_flow_enabled",
    "Whether the flow is enabled, according to an answer of the Flow Service that was replayed. Absent without one.",
)
IN_PROGRESS = _gauge(
    "aep_flow_runs_in_progress",
    "Runs that were reported as in progress and have not ended. A run without an end counts for seven days.",
)
OLDEST_IN_PROGRESS = _gauge(
    "aep_flow_oldest_in_progress_start_timestamp_seconds",
    "Start of the oldest run in progress, in seconds since 1970. Absent when there is none.",
    scale=_MILLISECONDS,
)
INFO = _gauge("aep_flow_info", "Always 1. Its labels describe the flow, for joins.", "flow_name", "kind", "org")
ALERT_FIRING = _gauge("aep_alert_firing", "Whether Adobe's own alert of this name is firing.", "alert")
NOTIFICATION_DELAY = Metric(
    name="aep_notification_delay_seconds",
    type=MetricType.HISTOGRAM,
    help="Time from a run's completion until its notification was recorded here. Replayed runs are left out.",
    half=FLOWS,
    group=SANDBOX,
    buckets=(1, 5, 15, 60, 300, 900, 3600, 21600, 86400),
    scale=_MILLISECONDS,
)
NOTIFICATIONS = _counter(
    "aep_notifications_total", "New notifications, by Adobe's event code.", "event_code", group=SANDBOX
)
LAST_NOTIFICATION = _gauge(
    "aep_last_notification_timestamp_seconds",
    "When the latest new notification was recorded, by source, in seconds since 1970.",
    group=("source",),
    scale=_MILLISECONDS,
)

FLOW_METRICS: Final = (
    RUNS,
    ERRORS,
    RECORDS,
    BYTES,
    FILES,
    RUN_DURATION,
    INPUT_RECORDS,
    INPUT_BYTES,
    ACTIVITY_DURATION,
    LAST_RUN,
    LAST_DURATION,
    LAST_RECORDS,
    TYPICAL_DURATION,
    TYPICAL_RECORDS,
    CONSECUTIVE_FAILURES,
    FAILING_SINCE,
    FAILING_RUNS,
    FAILING_CAUSE,
    RUN_INTERVAL,
    OVERDUE,
    ENABLED,
    IN_PROGRESS,
    OLDEST_IN_PROGRESS,
    INFO,
    ALERT_FIRING,
    NOTIFICATION_DELAY,
    NOTIFICATIONS,
    LAST_NOTIFICATION,
)


def _own(
    name: str, type_: MetricType, help_: str, *labels: str, buckets: tuple[float, ...] = (), scale: int = 1
) -> Metric:
    return Metric(name=name, type=type_, help=help_, half=EXPORTER, labels=labels, buckets=buckets, scale=scale)


_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

BUILD_INFO = _own(
    "aep_exporter_build_info",
    MetricType.GAUGE,
    "Always 1. Its labels hold the versions of the program and of Python.",
    "version",
    "python",
)
WEB_INFO = _own(
    "aep_exporter_web_info",
    MetricType.GAUGE,
    "Always 1. Its label holds the URL of the pages (--web.external-url), or is empty.",
    "url",
)
RECEIVED = _own(
    "aep_exporter_notifications_total",
    MetricType.COUNTER,
    "Notifications that this process received, by source and result.",
    "source",
    "result",
)
NOT_UNDERSTOOD = _own(
    "aep_exporter_not_understood_total",
    MetricType.COUNTER,
    "New notifications that were kept and not understood, by reason. These are the unsupported and unreadable ones.",
    "reason",
)
WEBHOOK_REQUESTS = _own(
    "aep_exporter_webhook_requests_total",
    MetricType.COUNTER,
    "Webhook requests, by the status of the answer. The code closed means that the sender left or was too slow. "
    "Requests that were refused because a web page may have caused them are not counted here.",
    "code",
)
WEBHOOK_DURATION = _own(
    "aep_exporter_webhook_request_duration_seconds",
    MetricType.HISTOGRAM,
    "Time from the start of a webhook request until its answer.",
    buckets=_FAST,
)
AUTHENTICATION_FAILURES = _own(
    "aep_exporter_authentication_failures_total",
    MetricType.COUNTER,
    "Webhook requests that failed authentication, by reason.",
    "reason",
)
REQUESTS_REFUSED = _own(
    "aep_exporter_requests_refused_total",
    MetricType.COUNTER,
    "Requests that were refused because a web page may have caused them, by reason.",
    "reason",
)
ANOMALIES = _own(
    "aep_exporter_payload_anomalies_total",
    MetricType.COUNTER,
    "Invalid values in notifications that were left out, by field.",
    "field",
)
LEDGER_UP = _own("aep_exporter_ledger_up", MetricType.GAUGE, "Whether the last attempt to read the ledger succeeded.")
LEDGER_APPEND_DURATION = _own(
    "aep_exporter_ledger_append_duration_seconds",
    MetricType.HISTOGRAM,
    "Time that a delivery waited until it was on disk.",
    buckets=_FAST,
)
LEDGER_ERRORS = _own(
    "aep_exporter_ledger_errors_total", MetricType.COUNTER, "Ledger operations that failed, by operation.", "operation"
)
LEDGER_POSITION = _own(
    "aep_exporter_ledger_position", MetricType.GAUGE, "Position of the last ledger entry that the metrics include."
)
LEDGER_CHECKPOINT_POSITION = _own(
    "aep_exporter_ledger_checkpoint_position",
    MetricType.GAUGE,
    "Ledger position of the last checkpoint. 0 without one.",
)
CLOCK_CORRECTIONS = _own(
    "aep_exporter_clock_corrections_total",
    MetricType.COUNTER,
    "Corrections of the ledger's clock that this process recorded, because the clock was wrong by over five minutes.",
)
CLOCK_SKEW = _own(
    "aep_exporter_clock_skew_seconds",
    MetricType.GAUGE,
    "This machine's clock less Adobe's, by the dates of Adobe's answers: positive if ours is ahead. Absent before the "
    "first answer and an hour after the last.",
)
LEDGER_TIME = _own(
    "aep_exporter_ledger_time_seconds", MetricType.GAUGE, "The ledger's clock at the scrape, in seconds since 1970."
)
LEDGER_BYTES = _own("aep_exporter_ledger_bytes", MetricType.GAUGE, "Size of the ledger in bytes.")
EXPORTED_FLOWS = _own("aep_exporter_flows", MetricType.GAUGE, "Pairs of flow and sandbox that are exported one by one.")
FLOWS_LIMIT = _own(
    "aep_exporter_flows_limit",
    MetricType.GAUGE,
    "Largest number of pairs of flow and sandbox that are exported one by one.",
)
FLOWS_OVERFLOWED = _own(
    "aep_exporter_flows_overflowed_total",
    MetricType.COUNTER,
    "Flows beyond the limit, which are counted together as other.",
)
DROPPED_STATE = _own(
    "aep_exporter_dropped_state_total",
    MetricType.COUNTER,
    "Alert ids, starts of runs and ended runs that were dropped at a bound, oldest recording first.",
    "kind",
)
EXPORTED_SERIES = _own("aep_exporter_series", MetricType.GAUGE, "Series in the flow half of the exposition.")
SCRAPE_DURATION = _own(
    "aep_exporter_scrape_duration_seconds",
    MetricType.HISTOGRAM,
    "Time to catch up with the ledger and render a scrape, by format.",
    "format",
    buckets=_FAST,
)
HTTP_NOT_FOUND = _own(
    "aep_exporter_http_not_found_total",
    MetricType.COUNTER,
    "Requests to a path that does not exist. A POST counts where it does not go to the webhook.",
)
CONNECTIONS_REFUSED = _own(
    "aep_exporter_connections_refused_total",
    MetricType.COUNTER,
    "Connections that were closed because a listener had too many.",
)

EXPORTER_METRICS: Final = (
    BUILD_INFO,
    WEB_INFO,
    RECEIVED,
    NOT_UNDERSTOOD,
    WEBHOOK_REQUESTS,
    WEBHOOK_DURATION,
    AUTHENTICATION_FAILURES,
    REQUESTS_REFUSED,
    ANOMALIES,
    LEDGER_UP,
    LEDGER_APPEND_DURATION,
    LEDGER_ERRORS,
    LEDGER_POSITION,
    LEDGER_CHECKPOINT_POSITION,
    LEDGER_BYTES,
    LEDGER_TIME,
    CLOCK_CORRECTIONS,
    CLOCK_SKEW,
    EXPORTED_FLOWS,
    FLOWS_LIMIT,
    FLOWS_OVERFLOWED,
    DROPPED_STATE,
    EXPORTED_SERIES,
    SCRAPE_DURATION,
    HTTP_NOT_FOUND,
    CONNECTIONS_REFUSED,
)

CATALOGUE: Final = FLOW_METRICS + EXPORTER_METRICS
