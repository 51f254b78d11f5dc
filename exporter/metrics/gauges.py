"""Computes the gauges of one flow from its state.

Gauges are computed when a scrape needs them, so they cost nothing while facts are folded.
"""

from collections.abc import Iterator, Mapping, Sequence

from exporter.metrics import catalogue
from exporter.metrics.catalogue import Metric
from exporter.metrics.flow_state import FlowState
from exporter.metrics.lines import Labels, Value
from exporter.metrics.run_history import RunHistory
from exporter.model import RECORD_RESULTS, Status

Gauge = tuple[Metric, Mapping[Labels, Value]]
"""A metric and all the series that one flow has of it, in the fold's unit."""


def gauges(flow_id: str, state: FlowState, in_progress: Sequence[int]) -> Iterator[Gauge]:
    """Every gauge of a flow. `in_progress` holds the start times of its runs in progress."""
    if not state.is_known:
        return
    yield catalogue.INFO, {(state.shown_name(flow_id), state.shown_kind.value, state.org.value or ""): 1}
    yield catalogue.ENABLED, _one(None if state.enabled.value is None else int(state.enabled.value))
    if state.has_run:
        yield from _run_gauges(state.run_history)
        yield catalogue.IN_PROGRESS, {(): len(in_progress)}
        yield catalogue.OLDEST_IN_PROGRESS, _one(min(in_progress, default=None))


def _run_gauges(history: RunHistory) -> Iterator[Gauge]:
    last_runs = history.last_run_by_status()
    last_records = history.last_records()
    streak = history.streak()
    yield catalogue.LAST_RUN, {(status.value,): last_runs[status] for status in Status if status in last_runs}
    yield catalogue.LAST_DURATION, _one(history.last_duration())
    yield (
        catalogue.LAST_RECORDS,
        {(result,): last_records[result] for result in RECORD_RESULTS if result in last_records},
    )
    yield catalogue.TYPICAL_DURATION, _one(history.typical_duration())
    yield catalogue.TYPICAL_RECORDS, _one(history.typical_input_records())
    yield catalogue.CONSECUTIVE_FAILURES, {(): streak.failures}
    yield catalogue.FAILING_SINCE, _one(streak.since)
    yield catalogue.FAILING_RUNS, {(code,): runs for code, runs in streak.runs_by_code.items()}
    yield catalogue.FAILING_CAUSE, {} if streak.cause is None else {(streak.cause,): 1}
    yield catalogue.RUN_INTERVAL, _one(history.interval())
    yield catalogue.OVERDUE, _one(history.overdue_at())


def _one(value: Value | None) -> Mapping[Labels, Value]:
    """One series without labels of its own, or none."""
    return {} if value is None else {(): value}
