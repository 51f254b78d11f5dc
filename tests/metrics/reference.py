"""The exposition in two ways: rendered by this project, and as prometheus_client's families.

The families are computed from the store's values alone, without any rendered line, so that prometheus_client's encoders
give an independent text to compare with.
"""

from collections.abc import Iterator

from prometheus_client import Metric as CollectedFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as FamilyExemplar

from exporter.metrics.catalogue import MetricType
from exporter.metrics.exposition import Format, assemble, render_exporter_half, render_flow_half
from exporter.metrics.families import Family, Series, Variant
from exporter.metrics.lines import EXEMPLAR_LABEL, running
from exporter.metrics.series import SeriesStore


def render(
    store: SeriesStore | None, own: Collector | None, format_: Format, *, start_timestamps: bool = False
) -> bytes:
    """An exposition of the flow half, of the exporter's own half, or of both."""
    pieces: list[bytes] = []
    if store is not None:
        pieces += render_flow_half(store, format_, start_timestamps=start_timestamps)
    if own is not None:
        pieces.append(render_exporter_half(own, format_))
    return assemble(pieces, format_)


class ReferenceCollector(Collector):
    """A store's series as a collector for prometheus_client's encoders."""

    def __init__(self, store: SeriesStore, variant: Variant = Variant.EXEMPLARS) -> None:
        self._store = store
        self._variant = variant

    def collect(self) -> Iterator[CollectedFamily]:
        """Every family that has a series which is shown."""
        for family in self._store._families.values():
            if any(group.shown for group in family.groups.values()):
                yield self._collected(family)

    def _collected(self, family: Family) -> CollectedFamily:
        metric = family.metric
        collected = CollectedFamily(metric.family, metric.help, metric.type, unit=metric.unit)
        for key, group in family.groups.items():
            if group.is_hidden:
                continue
            for labels, value in group.gauges.items():
                pairs = dict(sorted(zip(metric.all_labels, key + labels, strict=True)))
                collected.add_sample(metric.name, pairs, value / metric.scale)
            for labels, series in group.series.items():
                pairs = dict(sorted(zip(metric.all_labels, key + labels, strict=True)))
                self._add_samples(collected, family, pairs, series)
                if self._variant is Variant.START_TIMESTAMPS:
                    collected.add_sample(metric.family + "_created", pairs, series.created_at / 1000)
        return collected

    def _add_samples(self, collected: CollectedFamily, family: Family, pairs: dict[str, str], series: Series) -> None:
        metric = family.metric
        is_held = series.shown_from > self._store._now
        values = [0] * len(series.values) if is_held else series.values

        def exemplar(index: int) -> FamilyExemplar | None:
            found = None if is_held else (series.exemplars or {}).get(index)
            if found is None:
                return None
            return FamilyExemplar({EXEMPLAR_LABEL: found.run_id}, found.value / metric.scale, found.at / 1000)

        match metric.type:
            case MetricType.SUMMARY:
                collected.add_sample(metric.name + "_count", pairs, values[0])
                collected.add_sample(metric.name + "_sum", pairs, values[1] / metric.scale)
            case MetricType.HISTOGRAM:
                counts = zip(family.lines.bucket_names, running(values[:-1]), strict=True)
                for index, (bucket, count) in enumerate(counts):
                    labels = {**pairs, "le": bucket}
                    collected.add_sample(metric.name + "_bucket", labels, count, None, exemplar(index))
                collected.add_sample(metric.name + "_count", pairs, sum(values[:-1]))
                collected.add_sample(metric.name + "_sum", pairs, values[-1] / metric.scale)
            case _:
                collected.add_sample(metric.name, pairs, values[0] / metric.scale, None, exemplar(0))
