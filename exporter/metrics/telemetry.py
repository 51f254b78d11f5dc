"""The metrics of the exporter's own half: the second part of the catalogue, as prometheus_client's instruments.

They count what this process does and begin at 0 with it. The modules that do the work update them. Where the label
values form a closed list, every series exists at 0 from the start.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from exporter.metrics import catalogue
from exporter.metrics.catalogue import Metric
from exporter.metrics.exposition import Format
from exporter.metrics.fold_state import DROPPED_KINDS
from exporter.model import NotUnderstood, Result

LEDGER_OPERATIONS = ("append", "read", "fold", "checkpoint", "prune")
WEBHOOK_CODES = ("200", "400", "401", "405", "413", "503", "closed")


class Telemetry:
    """The instruments of one process, and their registry."""

    def __init__(
        self,
        version: str,
        *,
        sources: Iterable[str],
        results: Iterable[Result],
        authentication_failures: Iterable[str],
        refusals: Iterable[str] = (),
        anomaly_fields: Iterable[str],
        external_url: str = "",
    ) -> None:
        """The iterables are the closed lists of label values, from the modules that count with them."""
        # Prometheus stores each _created line as one more series, so these instruments have none.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        build_info = self._gauge(catalogue.BUILD_INFO)
        build_info.labels(version, platform.python_version()).set(1)
        self._gauge(catalogue.WEB_INFO).labels(external_url).set(1)
        self.received = self._counter(catalogue.RECEIVED)
        self.not_understood = self._counter(catalogue.NOT_UNDERSTOOD)
        self.webhook_requests = self._counter(catalogue.WEBHOOK_REQUESTS)
        self.webhook_duration = self._histogram(catalogue.WEBHOOK_DURATION)
        self.authentication_failures = self._counter(catalogue.AUTHENTICATION_FAILURES)
        self.requests_refused = self._counter(catalogue.REQUESTS_REFUSED)
        self.anomalies = self._counter(catalogue.ANOMALIES)
        self.ledger_up = self._gauge(catalogue.LEDGER_UP)
        # The ledger was opened a moment ago.
        self.ledger_up.set(1)
        self.ledger_append_duration = self._histogram(catalogue.LEDGER_APPEND_DURATION)
        self.ledger_errors = self._counter(catalogue.LEDGER_ERRORS)
        self.ledger_position = self._gauge(catalogue.LEDGER_POSITION)
        self.checkpoint_position = self._gauge(catalogue.LEDGER_CHECKPOINT_POSITION)
        self.ledger_bytes = self._gauge(catalogue.LEDGER_BYTES)
        self.clock_corrections = self._counter(catalogue.CLOCK_CORRECTIONS)
        self.flows = self._gauge(catalogue.EXPORTED_FLOWS)
        self.flows_limit = self._gauge(catalogue.FLOWS_LIMIT)
        self.flows_overflowed = self._counter(catalogue.FLOWS_OVERFLOWED)
        self.dropped_state = self._counter(catalogue.DROPPED_STATE)
        self.series = self._gauge(catalogue.EXPORTED_SERIES)
        self.scrape_duration = self._histogram(catalogue.SCRAPE_DURATION)
        self.http_not_found = self._counter(catalogue.HTTP_NOT_FOUND)
        self.connections_refused = self._counter(catalogue.CONNECTIONS_REFUSED)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        for source in sources:
            for result in results:
                self.received.labels(source, result.value)
        for each in NotUnderstood:
            self.not_understood.labels(each.value)
        for reason in authentication_failures:
            self.authentication_failures.labels(reason)
        for reason in refusals:
            self.requests_refused.labels(reason)
        for field in anomaly_fields:
            self.anomalies.labels(field)
        for code in WEBHOOK_CODES:
            self.webhook_requests.labels(code)
        for operation in LEDGER_OPERATIONS:
            self.ledger_errors.labels(operation)
        for kind in DROPPED_KINDS:
            self.dropped_state.labels(kind)
        for format_ in Format:
            self.scrape_duration.labels(format_.value)

    def count_received(self, source: str, results: Mapping[Result, int], anomalies: Mapping[str, int]) -> None:
        """Count a recorded delivery: its events by result, and the invalid values that were left out by field."""
        for result, amount in results.items():
            self.received.labels(source, result.value).inc(amount)
        for field, amount in anomalies.items():
            self.anomalies.labels(field).inc(amount)

    @staticmethod
    def counts(counter: Counter) -> dict[str, int]:
        """The values of a counter with one label, by the label's value, without those that are 0."""
        samples = (sample for family in counter.collect() for sample in family.samples)
        return {next(iter(sample.labels.values())): int(sample.value) for sample in samples if sample.value}

    def show(self, metric: Metric, read: Callable[[], float | None]) -> None:
        """Show a gauge without labels whose value is read at each scrape. While `read` returns None it is absent."""
        self.registry.register(_Reading(metric, read))

    def _counter(self, metric: Metric) -> Counter:
        return Counter(metric.name, metric.help, metric.labels, registry=self.registry, unit=metric.unit)

    def _gauge(self, metric: Metric) -> Gauge:
        return Gauge(metric.name, metric.help, metric.labels, registry=self.registry, unit=metric.unit)

    def _histogram(self, metric: Metric) -> Histogram:
        return Histogram(
            metric.name,
            metric.help,
            metric.labels,
            buckets=metric.buckets,
            registry=self.registry,
            unit=metric.unit,
        )


class _Reading(Collector):
    """A gauge whose value is read at each scrape."""

    def __init__(self, metric: Metric, read: Callable[[], float | None]) -> None:
        self._metric = metric
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauge with its value, or nothing if it has none now."""
        value = self._read()
        if value is not None:
            yield GaugeMetricFamily(self._metric.name, self._metric.help, value, unit=self._metric.unit)
