"""The store of every series of the flow half. A scrape costs only what changed since the last one.

The hold: a new counter, histogram or summary series is shown at 0 until its creation time plus the hold, then with its
true value. Time ends the hold, not scrapes, so that every Prometheus server sees the 0. Gauges are never held. A series
that a backdated run creates is not held. If it is still 0 when a current run uses it, it is held then (`ensure`).
A series that is held shows no exemplar. What is shown depends only on the facts folded and on `now`.

When the clock is corrected, the times of all series are moved (`correct`), and no value that was shown falls.

Series live in groups (all series of one flow in one metric). A group can be hidden, and it can be dropped with all its
series. Tests compare the rendered text with the output of prometheus_client's encoders.

Facts do not occur here: `fold` decides what changes a series and when a group is dropped.
"""

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

from exporter.metrics.catalogue import Metric, MetricType
from exporter.metrics.families import (
    UNRENDERED,
    Family,
    FamilyState,
    RenderChunk,
    Series,
    SeriesGroup,
    Variant,
    with_lines,
)
from exporter.metrics.lines import Exemplar, GroupKey, Labels, Value, can_be_exemplar
from exporter.model import ClockCorrection

_SavedGroup = tuple[Family, GroupKey, list[tuple[Labels, Series]]]


class SeriesStore:
    """Every series of the flow half."""

    def __init__(self, metrics: Iterable[Metric], hold: int) -> None:
        """`hold` is in milliseconds. 0 turns the hold off."""
        self._families = {metric.name: Family(metric) for metric in metrics}
        self._by_labels: dict[tuple[str, ...], list[Family]] = {}
        """The families whose series are grouped by these labels."""
        for family in self._families.values():
            self._by_labels.setdefault(family.metric.group, []).append(family)
        self._hold = hold
        self._now = 0
        self._samples = 0
        self._holds: list[tuple[int, str, GroupKey]] = []
        """A heap of when holds end, with the metric's name and the group."""

    def create_groups(self, labels: tuple[str, ...], key: GroupKey) -> None:
        """Create a group in each metric that is grouped by these labels.

        Groups are rendered in the order of creation, so this order does not depend on which metric has a series first.
        """
        for family in self._by_labels[labels]:
            family.ensure_group(key)

    def take_groups(self, labels: tuple[str, ...], key: GroupKey) -> list[FamilyState]:
        """Delete a group like `drop_groups`, and return its series, so that `add_older` can put them back."""
        states = [family.state(key) for family in self._by_labels[labels] if family.metric.type is not MetricType.GAUGE]
        self.drop_groups(labels, key)
        return [state for state in states if state.groups]

    def add_older(self, states: Iterable[FamilyState]) -> None:
        """Put back series that `take_groups` returned. What was counted since then is added to them."""
        for family, key, saved in self._matching(states):
            group = family.ensure_group(key)
            before = group.shown
            for labels, series in saved:
                newer = group.series.get(labels)
                if newer is not None:
                    series.add(newer)
            group.series = dict(saved) | {
                labels: series for labels, series in group.series.items() if labels not in dict(saved)
            }
            group.invalidate()
            self._samples += (group.shown - before) * family.samples
            self._note_holds(family, key, group.series.values())

    def correct(self, correction: ClockCorrection) -> None:
        """Move all times when the clock is corrected."""
        # The groups whose hold ends with this step are rendered again, and so are those whose times change.
        self.advance(max(self._now, correction.to))
        self._now = max(self._now, correction.to) if correction.to > correction.from_ else correction.to
        self._holds.clear()
        for family in self._families.values():
            for key, group in family.groups.items():
                changed = [series.correct(correction, self._hold) for series in group.series.values()]
                if any(changed):
                    group.invalidate()
                self._note_holds(family, key, group.series.values())

    def drop_groups(self, labels: tuple[str, ...], key: GroupKey) -> None:
        """Delete a group and all its series in each metric that is grouped by these labels."""
        for family in self._by_labels[labels]:
            self._samples -= family.drop_group(key) * family.samples

    def set_hidden(self, labels: tuple[str, ...], key: GroupKey, *, hidden: bool) -> None:
        """Hide a group from scrapes, or show it again. Its values stay."""
        for family in self._by_labels[labels]:
            group = family.groups.get(key)
            if group is not None:
                before = group.shown
                group.is_hidden = hidden
                group.chunk.rendered = UNRENDERED
                self._samples += (group.shown - before) * family.samples

    def ensure(self, metric: Metric, key: GroupKey, labels: Labels, created_at: int, *, held: bool) -> Series:
        """Return a series. A new one gets `created_at` (milliseconds since 1970) and, if `held`, the hold."""
        family = self._families[metric.name]
        group = family.groups.get(key)
        if group is None:
            group = family.ensure_group(key)
        group.rendered = group.chunk.rendered = UNRENDERED
        series = group.series.get(labels)
        if series is None:
            series = group.series[labels] = Series(created_at, 0, [0] * family.size)
            self._samples += family.samples
            if held:
                self._start_hold(metric, key, series, created_at)
        elif held and not series.shown_from and not any(series.values):
            # A backdated run created it and it is still 0: a step that happens now must be seen to start from 0.
            self._start_hold(metric, key, series, created_at)
        return series

    def _start_hold(self, metric: Metric, key: GroupKey, series: Series, now: int) -> None:
        """Show a series at 0 until its creation time plus the hold, unless that has passed."""
        until = series.created_at + self._hold
        if now < until and series.shown_from < until:
            series.shown_from = until
            heapq.heappush(self._holds, (until, metric.name, key))

    def add(
        self, metric: Metric, key: GroupKey, labels: Labels, amount: int, at: int, *, held: bool, run_id: str = ""
    ) -> None:
        """Add to a counter, or observe in a histogram or summary. `amount` is in the fold's unit.

        `run_id` becomes the exemplar of a metric that has exemplars. Raises TypeError for a gauge.
        """
        series = self.ensure(metric, key, labels, at, held=held)
        values = series.values
        type_ = metric.type
        index = 0
        # Compared by identity, the most frequent type first: this is the hottest place of the fold.
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
            raise TypeError("a gauge is set, not added to")
        if metric.has_exemplars and can_be_exemplar(run_id):
            if series.exemplars is None:
                series.exemplars = {}
            series.exemplars[index] = Exemplar(run_id, amount, at)

    def set_gauges(self, metric: Metric, key: GroupKey, values: Mapping[Labels, Value]) -> None:
        """Replace all of a group's gauges of one metric (in the fold's unit). An empty mapping deletes them."""
        family = self._families[metric.name]
        group = family.ensure_group(key)
        before = group.shown
        group.gauges = values
        self._samples += group.shown - before
        lines = "".join(family.lines.write(key, labels, (value,)) for labels, value in values.items()).encode()
        if lines != group.rendered[Variant.PLAIN]:
            group.rendered = (lines,) * len(Variant)
            group.chunk.rendered = UNRENDERED

    def values(self, metric: Metric, key: GroupKey, labels: Labels) -> Sequence[int]:
        """The values of a series, as `Series` has them, also while it is held. Empty if there is no such series."""
        group = self._families[metric.name].groups.get(key)
        series = None if group is None else group.series.get(labels)
        return () if series is None else series.values

    def advance(self, now: int) -> None:
        """Set the time (milliseconds since 1970). Series whose hold has ended are shown with their true value.

        A time before the last one has no effect.
        """
        self._now = max(self._now, now)
        while self._holds and self._holds[0][0] <= self._now:
            _, name, key = heapq.heappop(self._holds)
            group = self._families[name].groups.get(key)
            if group is not None:
                group.invalidate()

    def render(self, variant: Variant) -> Iterator[tuple[Metric, list[bytes]]]:
        """Each metric that has series, with its sample lines in pieces."""
        for family in self._families.values():
            pieces = [
                lines if (lines := chunk.rendered[variant]) is not None else self._render_chunk(family, chunk, variant)
                for chunk in family.chunks
            ]
            if any(pieces):
                yield family.metric, pieces

    def __len__(self) -> int:
        """The number of samples that a scrape shows now."""
        return self._samples

    def state(self) -> list[FamilyState]:
        """Every series that is not a gauge. The fold works gauges out again after a restore."""
        return [family.state() for family in self._families.values() if family.metric.type is not MetricType.GAUGE]

    def restore(self, states: Iterable[FamilyState]) -> None:
        """Restore saved series. A metric whose description has changed since begins at nothing."""
        for family, key, saved in self._matching(states):
            group = family.ensure_group(key)
            group.series = dict(saved)
            group.invalidate()
            self._samples += len(saved) * family.samples
            self._note_holds(family, key, group.series.values())

    def _matching(self, states: Iterable[FamilyState]) -> Iterator[_SavedGroup]:
        """The saved groups of the metrics whose description has not changed since."""
        for state in states:
            family = self._families.get(state.name)
            if family is not None and family.matches(state):
                for key, saved in state.groups:
                    yield family, key, saved

    def _note_holds(self, family: Family, key: GroupKey, series: Iterable[Series]) -> None:
        """Note when the holds of these series end."""
        for each in series:
            if each.shown_from > self._now:
                heapq.heappush(self._holds, (each.shown_from, family.metric.name, key))

    def _shown_values(self, series: Series) -> Sequence[Value]:
        """The values as a scrape shows them now."""
        return series.values if series.shown_from <= self._now else [0] * len(series.values)

    def _shown_exemplars(self, series: Series) -> Mapping[int, Exemplar]:
        return series.exemplars if series.exemplars and series.shown_from <= self._now else {}

    def _render_chunk(self, family: Family, chunk: RenderChunk, variant: Variant) -> bytes:
        lines = b"".join(
            known if (known := group.rendered[variant]) is not None else self._render_group(family, group, variant)
            for group in chunk.groups
            if not group.is_hidden
        )
        chunk.rendered = with_lines(chunk.rendered, lines, family.same_lines(variant))
        return lines

    def _render_group(self, family: Family, group: SeriesGroup, variant: Variant) -> bytes:
        has_exemplars = family.metric.has_exemplars and variant is not Variant.PLAIN
        lines = "".join(
            family.lines.write(
                group.key,
                labels,
                self._shown_values(series),
                self._shown_exemplars(series) if has_exemplars else None,
                series.created_at if variant is Variant.START_TIMESTAMPS else None,
            )
            for labels, series in group.series.items()
        ).encode()
        group.rendered = with_lines(group.rendered, lines, family.same_lines(variant))
        return lines
