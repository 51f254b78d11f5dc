"""Series: label sets and values, kept so that a scrape costs only what changed.

The rule of the hold: a counter, histogram or summary series is shown at 0 from its birth until birth + hold, then with
its true value; time decides, not scrapes, so that every Prometheus server sees the zero. Gauges are never held. What is
born of history is not held, unless it is still 0 when something happens now. What is shown is a function of the facts
folded and of `now`, nothing else. A series that is held shows no exemplar.

Series live in groups (all series of one flow in one metric). A group can be hidden, and dropped with all it holds. The
store is also a prometheus_client Collector, computed from the values alone: the tests hold the text against its
encoders.

Knows no facts: what moves a series, and what lets a group go, comes from `fold`.
"""

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import Metric as CollectedFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as FamilyExemplar

from exporter.metrics.catalogue import Metric, MetricType
from exporter.metrics.families import (
    UNRENDERED,
    Family,
    FamilyState,
    RenderChunk,
    Series,
    SeriesGroup,
    Variant,
    with_text,
)
from exporter.metrics.lines import EXEMPLAR_LABEL, MAX_EXEMPLAR, Exemplar, GroupKey, Labels, Value, running


class SeriesStore(Collector):
    """Every series of the flow half."""

    def __init__(self, metrics: Iterable[Metric], hold: int) -> None:
        """`hold`: milliseconds; 0 turns it off."""
        self._families = {metric.name: Family(metric) for metric in metrics}
        self._by_labels: dict[tuple[str, ...], list[Family]] = {}
        """The families whose series are grouped by these labels."""
        for family in self._families.values():
            self._by_labels.setdefault(family.metric.group, []).append(family)
        self._hold = hold
        self._now = 0
        self._samples = 0
        self._releases: list[tuple[int, str, GroupKey]] = []

    def open(self, labels: tuple[str, ...], group: GroupKey) -> None:
        """Give a group its place in each metric of its labels, whichever of them gets its first series first."""
        for family in self._by_labels[labels]:
            family.group(group)

    def drop(self, labels: tuple[str, ...], group: GroupKey) -> None:
        """Let all series of a group go, in each metric of its labels."""
        for family in self._by_labels[labels]:
            self._samples -= family.drop(group) * family.samples

    def hide(self, labels: tuple[str, ...], group: GroupKey, *, hidden: bool) -> None:
        """Leave a group out of what is shown, or take it in again; its values stay."""
        for family in self._by_labels[labels]:
            cells = family.groups.get(group)
            if cells is not None:
                before = cells.shown
                cells.is_hidden = hidden
                cells.block.rendered = UNRENDERED
                self._samples += (cells.shown - before) * family.samples

    def ensure(self, metric: Metric, group: GroupKey, labels: Labels, created_at: int, *, held: bool) -> Series:
        """Make sure a series exists; one made now is born at `created_at` (milliseconds since 1970)."""
        family = self._families[metric.name]
        cells = family.groups.get(group)
        if cells is None:
            cells = family.group(group)
        cells.rendered = cells.block.rendered = UNRENDERED
        cell = cells.cells.get(labels)
        if cell is None:
            cell = cells.cells[labels] = Series(created_at, 0, [0] * family.size)
            self._samples += family.samples
            if held:
                self._hold_back(metric, group, cell, created_at)
        elif held and not cell.shown_from and not any(cell.values):
            # Born of history and still 0: what happens now must be seen to step up from it.
            self._hold_back(metric, group, cell, created_at)
        return cell

    def _hold_back(self, metric: Metric, group: GroupKey, cell: Series, now: int) -> None:
        """Show a series at 0 until its birth + hold, if that is yet to come."""
        until = cell.created_at + self._hold
        if now < until and cell.shown_from < until:
            cell.shown_from = until
            heapq.heappush(self._releases, (until, metric.name, group))

    def add(
        self, metric: Metric, group: GroupKey, labels: Labels, amount: int, at: int, *, held: bool, run_id: str = ""
    ) -> None:
        """Add to a counter, or observe in a histogram or summary (in the fold's unit), with the run it came of."""
        cell = self.ensure(metric, group, labels, at, held=held)
        values = cell.values
        type_ = metric.type
        index = 0
        # By identity, in the order of how often: this is the hottest place of the fold.
        if type_ is MetricType.COUNTER:
            values[0] += amount
        elif type_ is MetricType.HISTOGRAM:
            index = bisect_left(self._families[metric.name].bounds, amount)
            values[index] += 1
            values[-1] += amount
        elif type_ is MetricType.SUMMARY:
            values[0] += 1
            values[1] += amount
        else:
            raise TypeError("a gauge is put, not added to")
        if metric.has_exemplars and 0 < len(run_id) <= MAX_EXEMPLAR:
            if cell.exemplars is None:
                cell.exemplars = {}
            cell.exemplars[index] = Exemplar(run_id, amount, at)

    def put(self, metric: Metric, group: GroupKey, values: Mapping[Labels, Value]) -> None:
        """Replace all of a group's gauges of one metric (in the fold's unit); none takes them away."""
        family = self._families[metric.name]
        cells = family.group(group)
        before = cells.shown
        cells.gauges = values
        self._samples += cells.shown - before
        text = "".join(family.lines.write(group, labels, (value,)) for labels, value in values.items()).encode()
        if text != cells.rendered[Variant.PLAIN]:
            cells.rendered = (text,) * len(Variant)
            cells.block.rendered = UNRENDERED

    def advance(self, now: int) -> None:
        """Move time on: series whose hold has ended show their true value."""
        self._now = max(self._now, now)
        while self._releases and self._releases[0][0] <= self._now:
            _, name, group = heapq.heappop(self._releases)
            cells = self._families[name].groups.get(group)
            if cells is not None:
                cells.change()

    def rendered(self, variant: Variant) -> Iterator[tuple[Metric, list[bytes]]]:
        """Each metric that has series, with their sample lines in pieces."""
        for family in self._families.values():
            pieces = [
                text if (text := block.rendered[variant]) is not None else self._joined(family, block, variant)
                for block in family.blocks
            ]
            if any(pieces):
                yield family.metric, pieces

    def collect(self) -> Iterator[CollectedFamily]:
        """The same as prometheus_client's families, with exemplars."""
        return self.families(Variant.EXEMPLARS)

    def families(self, variant: Variant) -> Iterator[CollectedFamily]:
        """The same as prometheus_client's families."""
        for family in self._families.values():
            if any(cells.shown for cells in family.groups.values()):
                yield self._collected(family, with_start=variant is Variant.START_TIMESTAMPS)

    def __len__(self) -> int:
        """The samples that a scrape shows now."""
        return self._samples

    def state(self) -> list[FamilyState]:
        """Every cell; gauges are worked out anew by those who put them."""
        return [family.describe() for family in self._families.values() if family.metric.type is not MetricType.GAUGE]

    def restore(self, states: Iterable[FamilyState]) -> None:
        """Take cells back; a metric that is described otherwise by now begins anew, alone."""
        for state in states:
            family = self._families.get(state.name)
            if family is None or not family.is_described_by(state):
                continue
            for group, cells in state.groups:
                found = family.group(group)
                found.cells = dict(cells)
                found.change()
                self._samples += len(cells) * family.samples
                for _, cell in cells:
                    if cell.shown_from > self._now:
                        heapq.heappush(self._releases, (cell.shown_from, state.name, group))

    def _shown(self, cell: Series) -> Sequence[Value]:
        """A cell's values as they are shown now."""
        return cell.values if cell.shown_from <= self._now else [0] * len(cell.values)

    def _exemplars(self, cell: Series) -> Mapping[int, Exemplar]:
        return cell.exemplars if cell.exemplars and cell.shown_from <= self._now else {}

    def _joined(self, family: Family, block: RenderChunk, variant: Variant) -> bytes:
        text = b"".join(
            text if (text := cells.rendered[variant]) is not None else self._text(family, cells, variant)
            for cells in block.groups
            if not cells.is_hidden
        )
        block.rendered = with_text(block.rendered, text, family.same_as(variant))
        return text

    def _text(self, family: Family, cells: SeriesGroup, variant: Variant) -> bytes:
        has_exemplars = family.metric.has_exemplars and variant is not Variant.PLAIN
        text = "".join(
            family.lines.write(
                cells.group,
                labels,
                self._shown(cell),
                self._exemplars(cell) if has_exemplars else None,
                cell.created_at if variant is Variant.START_TIMESTAMPS else None,
            )
            for labels, cell in cells.cells.items()
        ).encode()
        cells.rendered = with_text(cells.rendered, text, family.same_as(variant))
        return text

    def _collected(self, family: Family, *, with_start: bool) -> CollectedFamily:
        metric = family.metric
        scale = metric.scale
        collected = CollectedFamily(metric.family, metric.help, metric.type, unit=metric.unit)

        def exemplar(cell: Series, index: int) -> FamilyExemplar | None:
            found = self._exemplars(cell).get(index)
            return (
                FamilyExemplar({EXEMPLAR_LABEL: found.run_id}, found.value / scale, found.at / 1000) if found else None
            )

        for group, cells in family.groups.items():
            if cells.is_hidden:
                continue
            for labels, value in cells.gauges.items():
                pairs = dict(sorted(zip(metric.all_labels, group + labels, strict=True)))
                collected.add_sample(metric.name, pairs, value / scale)
            for labels, cell in cells.cells.items():
                pairs = dict(sorted(zip(metric.all_labels, group + labels, strict=True)))
                values = self._shown(cell)
                match metric.type:
                    case MetricType.SUMMARY:
                        collected.add_sample(metric.name + "_count", pairs, values[0])
                        collected.add_sample(metric.name + "_sum", pairs, values[1] / scale)
                    case MetricType.HISTOGRAM:
                        counts = zip(family.lines.bucket_names, running(values[:-1]), strict=True)
                        for index, (bucket, count) in enumerate(counts):
                            collected.add_sample(
                                metric.name + "_bucket", {**pairs, "le": bucket}, count, None, exemplar(cell, index)
                            )
                        collected.add_sample(metric.name + "_count", pairs, sum(values[:-1]))
                        collected.add_sample(metric.name + "_sum", pairs, values[-1] / scale)
                    case _:
                        collected.add_sample(metric.name, pairs, values[0] / scale, None, exemplar(cell, 0))
                if with_start:
                    collected.add_sample(metric.family + "_created", pairs, cell.created_at / 1000)
        return collected
