"""One outcome to the increments it makes: pure.

Counts come from the run's own summaries, never summed from its activities; what the run did not report makes no
increment, and so no series; a reported 0 makes one (contract 4.4).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from exporter.flowrun import FlowRun
from exporter.metrics import catalogue
from exporter.metrics.catalogue import Metric


class Increment(NamedTuple):
    """Add `amount` to a counter, or observe it in a histogram or summary, in the fold's unit."""

    metric: Metric
    labels: tuple[str, ...]
    amount: int


def increments(run: FlowRun, error_codes: Sequence[str]) -> Iterator[Increment]:
    """What the first outcome of a run adds to its flow; `error_codes` are the codes as labels, each once."""
    status = run.status.value
    yield Increment(catalogue.RUNS, (status,), 1)
    for code in error_codes:
        yield Increment(catalogue.ERRORS, (status, code), 1)
    for metric, counts in ((catalogue.RECORDS, run.records), (catalogue.BYTES, run.size), (catalogue.FILES, run.files)):
        for result, amount in counts:
            yield Increment(metric, (result,), amount)
    if run.duration is not None:
        yield Increment(catalogue.RUN_DURATION, (status,), run.duration)
    if run.status.is_success:
        for metric, counts in ((catalogue.INPUT_RECORDS, run.records), (catalogue.INPUT_BYTES, run.size)):
            for result, amount in counts:
                if result == "input":
                    yield Increment(metric, (), amount)
    for activity in run.activities:
        if activity.duration is not None:
            yield Increment(catalogue.ACTIVITY_DURATION, (activity.name,), activity.duration)
