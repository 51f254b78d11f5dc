"""Computes the gauges of flows again, where a fact changed them or where time alone changes them.

Time alone changes a gauge when a run whose end never comes stops to count as in progress, and when an alert ends by
itself. `gauges` has what the gauges of one flow are. Times are milliseconds since 1970.
"""

import heapq
from collections.abc import Sequence
from typing import Final

from exporter.metrics import catalogue
from exporter.metrics.alerts import Alerts
from exporter.metrics.flow_summaries import FlowSummaries
from exporter.metrics.flows import Flows, is_shared
from exporter.metrics.gauges import gauges
from exporter.metrics.runs_in_progress import RunsInProgress
from exporter.metrics.series import SeriesStore
from exporter.model import FlowKey

_MIN_GAUGE_CHANGES: Final = 1000


class GaugeChanges:
    """The flows whose gauges have to be computed again, and when those of others have to be."""

    def __init__(
        self, flows: Flows, runs: RunsInProgress, alerts: Alerts, series: SeriesStore, summaries: FlowSummaries
    ) -> None:
        """The gauges are computed from flows, runs and alerts, and set in `series`. `summaries` are told which."""
        self._summaries = summaries
        self._flows = flows
        self._runs = runs
        self._alerts = alerts
        self._series = series
        self._changed: dict[FlowKey, None] = {}
        self._by_time: list[tuple[int, FlowKey]] = []
        """A heap of when a flow's gauges change by time alone."""
        self._limit = _MIN_GAUGE_CHANGES
        """The length of the heap at which it is made again."""

    def __len__(self) -> int:
        """The length of the heap."""
        return len(self._by_time)

    def add(self, key: FlowKey) -> None:
        """Have the gauges of a flow computed again."""
        self._changed[key] = None

    def add_at(self, at: int, key: FlowKey) -> None:
        """Have the gauges of a flow computed again at this time."""
        heapq.heappush(self._by_time, (at, key))
        # Starts that ended and alerts that fired again leave items behind, which would add up for days.
        if len(self._by_time) > self._limit:
            self._changed[key] = None
            self._make_heap()

    def add_all(self) -> None:
        """Have the gauges of all flows computed again, and make the heap from what is remembered now."""
        self._changed = dict.fromkeys(self._flows)
        self._make_heap()

    def compute(self, now: int) -> None:
        """Compute the gauges that have changed until this time."""
        while self._by_time and self._by_time[0][0] <= now:
            self._changed[heapq.heappop(self._by_time)[1]] = None
        if not self._changed:
            return
        self._summaries.note(self._changed)
        in_progress = self._runs.start_times(self._changed, now)
        for key in self._changed:
            self._set_gauges(key, in_progress.get(key, ()), now)
        self._changed.clear()

    def _set_gauges(self, key: FlowKey, in_progress: Sequence[int], now: int) -> None:
        state = self._flows.get(key)
        if state is None or is_shared(key):
            return
        for metric, values in gauges(key.flow_id, state, in_progress):
            self._series.set_gauges(metric, key, values)
        alerts = self._alerts.states(key, now)
        self._series.set_gauges(catalogue.ALERT_FIRING, key, {(name,): int(firing) for name, firing in alerts.items()})

    def _make_heap(self) -> None:
        self._by_time = [*self._runs.ends(), *self._alerts.ends()]
        heapq.heapify(self._by_time)
        self._limit = 2 * len(self._by_time) + _MIN_GAUGE_CHANGES
