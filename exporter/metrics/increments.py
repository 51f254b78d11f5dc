"""Computes what one outcome adds to counters, histograms and summaries. A pure function.

Counts come from the run's own summaries and are never summed over its activities. A value that the run did not report
makes no increment and so no series. A reported 0 makes one (docs/metrics.md, "Numbers and times").
"""

from collections.abc import Sequence
from typing import Final

from exporter.metrics import catalogue
from exporter.metrics.catalogue import Metric
from exporter.model import RECORD_RESULTS, SIZE_RESULTS, FlowRun, Status

Increment = tuple[Metric, tuple[str, ...], int]
"""A metric, its labels, and the amount to add (counter) or to observe (histogram, summary), in the fold's unit."""

_NO_LABELS: Final = ()
_RESULT_LABELS: Final = {result: (result,) for result in (*RECORD_RESULTS, *SIZE_RESULTS)}
_STATUS_LABELS: Final = {status: (status.value,) for status in Status}


def increments(run: FlowRun, error_codes: Sequence[str]) -> list[Increment]:
    """What the first outcome of a run adds to the series of its flow.

    `error_codes` are the run's codes as label values, each once.
    """
    status = _STATUS_LABELS[run.status]
    found: list[Increment] = [(catalogue.RUNS, status, 1)]
    found += [(catalogue.ERRORS, (*status, code), 1) for code in error_codes]
    duration = run.duration
    if duration is not None:
        found.append((catalogue.RUN_DURATION, status, duration))
    if run.status is Status.UNKNOWN:
        # Another outcome of the run can come later and counts in full. What has no label `status` would count twice.
        return found
    found += [(catalogue.RECORDS, _RESULT_LABELS[result], amount) for result, amount in run.records]
    found += [(catalogue.BYTES, _RESULT_LABELS[result], amount) for result, amount in run.size]
    found += [(catalogue.FILES, _RESULT_LABELS[result], amount) for result, amount in run.files]
    if run.status.is_success:
        found += [(catalogue.INPUT_RECORDS, _NO_LABELS, amount) for result, amount in run.records if result == "input"]
        found += [(catalogue.INPUT_BYTES, _NO_LABELS, amount) for result, amount in run.size if result == "input"]
    for activity in run.activities:
        duration = activity.duration
        if duration is not None:
            found.append((catalogue.ACTIVITY_DURATION, (activity.name,), duration))
    return found
