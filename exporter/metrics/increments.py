"""One outcome to the increments it makes: pure.

Counts come from the run's own summaries, never summed from its activities; what the run did not report makes no
increment, and so no series; a reported 0 makes one (contract 4.4).
"""

from collections.abc import Sequence
from typing import Final

from exporter.metrics import catalogue
from exporter.metrics.catalogue import Metric
from exporter.model import RECORD_RESULTS, SIZE_RESULTS, FlowRun, Status

Increment = tuple[Metric, tuple[str, ...], int]
"""Add so much to a counter, or observe it in a histogram or summary: metric, labels, amount in the fold's unit."""

_NONE: Final = ()
_RESULT: Final = {result: (result,) for result in (*RECORD_RESULTS, *SIZE_RESULTS)}
_STATUS: Final = {status: (status.value,) for status in Status}


def increments(run: FlowRun, error_codes: Sequence[str]) -> list[Increment]:
    """What the first outcome of a run adds to its flow; `error_codes` are the codes as labels, each once."""
    status = _STATUS[run.status]
    found: list[Increment] = [(catalogue.RUNS, status, 1)]
    found += [(catalogue.ERRORS, (*status, code), 1) for code in error_codes]
    found += [(catalogue.RECORDS, _RESULT[result], amount) for result, amount in run.records]
    found += [(catalogue.BYTES, _RESULT[result], amount) for result, amount in run.size]
    found += [(catalogue.FILES, _RESULT[result], amount) for result, amount in run.files]
    duration = run.duration
    if duration is not None:
        found.append((catalogue.RUN_DURATION, status, duration))
    if run.status.is_success:
        found += [(catalogue.INPUT_RECORDS, _NONE, amount) for result, amount in run.records if result == "input"]
        found += [(catalogue.INPUT_BYTES, _NONE, amount) for result, amount in run.size if result == "input"]
    for activity in run.activities:
        duration = activity.duration
        if duration is not None:
            found.append((catalogue.ACTIVITY_DURATION, (activity.name,), duration))
    return found
