"""What is remembered of one flow, and the gauges that follow from it.

Gauges are worked out when somebody looks, from what the facts left behind; so they cost nothing while facts are folded.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.flowrun import RECORD_RESULTS, Kind, Status
from exporter.metrics import catalogue
from exporter.metrics.catalogue import Metric
from exporter.metrics.history import History
from exporter.metrics.lines import Labels, Value

Gauge = tuple[Metric, Mapping[Labels, Value]]
"""A metric and all the series one flow has of it, in the fold's unit."""


@dataclass(slots=True)
class Latest:
    """The latest thing that was said, by the time it was true of, then by position."""

    value: str = ""
    said: tuple[int, int] = (0, 0)

    def hear(self, value: str, said: tuple[int, int]) -> None:
        """Take it, unless it is nothing or something later was said."""
        if value and said >= self.said:
            self.value, self.said = value, said


@dataclass(slots=True)
class FlowState:
    """What is remembered of one flow in one sandbox; the fields are what a checkpoint keeps."""

    name: Latest = field(default_factory=Latest)
    kind: Latest = field(default_factory=Latest)
    org: Latest = field(default_factory=Latest)
    enabled: Latest = field(default_factory=Latest)
    history: History = field(default_factory=History)
    error_codes: set[str] = field(default_factory=set)
    recorded_at: int = 0
    """When anything was recorded for it last: milliseconds since 1970."""
    has_run: bool = False
    is_query: bool = False
    is_known: bool = False
    """Whether anything was heard of the flow itself, and not of Adobe's alerts alone."""

    def hear(self, name: str, kind: Kind, org: str, said: tuple[int, int]) -> None:
        """Take what was said of the flow itself; what was once a query's stays one."""
        self.is_known = True
        self.name.hear(name, said)
        self.kind.hear("" if kind is Kind.UNKNOWN else kind.value, said)
        self.org.hear(org, said)
        self.is_query |= kind is Kind.QUERY


def gauges(flow_id: str, state: FlowState, in_progress: Sequence[int]) -> Iterator[Gauge]:
    """Every gauge of a flow; `in_progress` holds when its runs in progress started."""
    if not state.is_known:
        return
    # A query's name can be its SQL, and free text is no label.
    name, kind = (flow_id, Kind.QUERY.value) if state.is_query else (state.name.value, state.kind.value)
    yield catalogue.INFO, {(name, kind or Kind.UNKNOWN.value, state.org.value): 1}
    yield catalogue.ENABLED, _one({"True": 1, "False": 0}.get(state.enabled.value))
    if state.has_run:
        yield from _of_history(state.history)
        yield catalogue.IN_PROGRESS, {(): len(in_progress)}
        yield catalogue.OLDEST_IN_PROGRESS, _one(min(in_progress, default=None))


def _of_history(history: History) -> Iterator[Gauge]:
    last_runs = history.last_run_by_status()
    last_records = history.last_records()
    failures, failing_since = history.failures()
    yield catalogue.LAST_RUN, {(status.value,): last_runs[status] for status in Status if status in last_runs}
    yield catalogue.LAST_DURATION, _one(history.last_duration())
    yield (
        catalogue.LAST_RECORDS,
        {(result,): last_records[result] for result in RECORD_RESULTS if result in last_records},
    )
    yield catalogue.TYPICAL_DURATION, _one(history.typical_duration())
    yield catalogue.TYPICAL_RECORDS, _one(history.typical_input_records())
    yield catalogue.CONSECUTIVE_FAILURES, {(): failures}
    yield catalogue.FAILING_SINCE, _one(failing_since)
    yield catalogue.RUN_INTERVAL, _one(history.interval())


def _one(value: Value | None) -> Mapping[Labels, Value]:
    """A gauge without labels of its own, or its absence."""
    return {} if value is None else {(): value}
