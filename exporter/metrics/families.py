"""Families: the series of one metric, and the sample lines rendered from them.

Lines are rendered once per variant and kept until something they show changes. All series of one flow (or sandbox) in
one metric form a group. Groups are joined into chunks, and the lines of a chunk are kept as one piece, so a scrape
renders only the chunks that changed and joins a few thousand pieces.

Nothing here depends on time: `series` decides which values of a series are shown.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from exporter.metrics.catalogue import Metric, MetricType
from exporter.metrics.lines import Exemplar, GroupKey, Labels, Lines, Value
from exporter.model import ClockCorrection


@dataclass(slots=True)
class Series:
    """One counter, histogram or summary. Values are integers in the fold's unit.

    A counter has one value, its sum. A summary has two, its count and its sum. A histogram has the number of
    observations of each bucket (+Inf last) and then the sum. Times are milliseconds since 1970. The field names are
    those of the checkpoint.
    """

    created_at: int
    shown_from: int
    """Until this time the series is shown at 0. 0 means that it was never held."""
    values: list[int]
    exemplars: dict[int, Exemplar] | None = None

    def correct(self, correction: ClockCorrection, hold: int) -> bool:
        """Move its times when the clock is corrected. Return whether that changed anything that can be shown.

        A series that showed its value by the old clock goes on to show it. One that is held is held for `hold` at most
        from then on.
        """
        from_, to = correction.from_, correction.to
        is_held = self.shown_from > from_
        before = self.created_at, self.shown_from
        if to > from_:
            if is_held:
                self.created_at += to - from_
                self.shown_from += to - from_
        else:
            self.created_at = min(self.created_at, to)
            self.shown_from = min(self.shown_from, to + hold if is_held else to)
            if self.exemplars:
                self.exemplars = {index: each._replace(at=min(each.at, to)) for index, each in self.exemplars.items()}
        return (self.created_at, self.shown_from) != before or bool(self.exemplars)

    def add(self, newer: "Series") -> None:
        """Add the values of another series of the same labels, which came after this one."""
        self.values = [old + new for old, new in zip(self.values, newer.values, strict=True)]
        if newer.exemplars:
            self.exemplars = (self.exemplars or {}) | newer.exemplars


@dataclass(slots=True, kw_only=True)
class FamilyState:
    """All series of a metric, with the metric's description at the time they were saved."""

    name: str
    type: MetricType
    labels: tuple[str, ...]
    """The labels of the group first."""
    buckets: tuple[float, ...]
    scale: int
    groups: list[tuple[GroupKey, list[tuple[Labels, Series]]]]

    def __post_init__(self) -> None:
        size = value_count(self.type, len(self.buckets))
        for key, group in self.groups:
            for labels, series in group:
                if len(key) + len(labels) != len(self.labels) or len(series.values) != size:
                    raise ValueError(f"a series of {self.name} does not fit its labels and buckets")


def value_count(type_: MetricType, buckets: int) -> int:
    """The number of values in a series. A histogram has one per bucket, one for +Inf, and the sum."""
    return {MetricType.SUMMARY: 2, MetricType.HISTOGRAM: buckets + 2}.get(type_, 1)


class Variant(IntEnum):
    """What sample lines contain besides values."""

    PLAIN = 0
    EXEMPLARS = 1
    START_TIMESTAMPS = 2
    """Start timestamps and exemplars."""


Rendered = tuple[bytes | None, ...]
"""Sample lines by variant. None where they have to be rendered again."""

UNRENDERED: Final[Rendered] = (None,) * len(Variant)
_EMPTY: Final[Rendered] = (b"",) * len(Variant)
_GROUPS_PER_CHUNK: Final = 16
"""Small enough that one changed group costs little, large enough that there are few chunks to join."""


class RenderChunk:
    """Some groups of one metric, and their lines joined."""

    __slots__ = ("groups", "rendered")

    def __init__(self) -> None:
        self.groups: list[SeriesGroup] = []
        self.rendered: Rendered = UNRENDERED


class SeriesGroup:
    """All series of one group in one metric. A group of a gauge has `gauges` instead of `series`."""

    __slots__ = ("chunk", "gauges", "is_hidden", "key", "rendered", "series")

    def __init__(self, key: GroupKey, chunk: RenderChunk) -> None:
        self.key = key
        self.chunk = chunk
        self.series: dict[Labels, Series] = {}
        self.gauges: Mapping[Labels, Value] = {}
        self.rendered: Rendered = _EMPTY
        self.is_hidden = False
        chunk.groups.append(self)
        chunk.rendered = UNRENDERED

    def invalidate(self) -> None:
        """Discard the rendered lines of the group and of its chunk."""
        self.rendered = self.chunk.rendered = UNRENDERED

    @property
    def shown(self) -> int:
        """The number of label sets that a scrape shows."""
        return 0 if self.is_hidden else len(self.series) + len(self.gauges)


def with_lines(rendered: Rendered, lines: bytes, variants: Collection[Variant]) -> Rendered:
    """A copy of `rendered` in which these variants have these lines."""
    return tuple(lines if each in variants else known for each, known in zip(Variant, rendered, strict=True))


class Family:
    """All groups of one metric."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.lines = Lines(metric)
        self.groups: dict[GroupKey, SeriesGroup] = {}
        self.chunks: list[RenderChunk] = []
        self.bounds = tuple(round(bound * metric.scale) for bound in metric.buckets)
        self.size = value_count(metric.type, len(metric.buckets))
        self.samples = self.size + (metric.type is MetricType.HISTOGRAM)
        """The number of samples of one label set. A histogram also shows its count."""

    def ensure_group(self, key: GroupKey) -> SeriesGroup:
        """Return the group with this key. A new group is added at the end."""
        group = self.groups.get(key)
        if group is None:
            if not self.chunks or len(self.chunks[-1].groups) >= _GROUPS_PER_CHUNK:
                self.chunks.append(RenderChunk())
            group = self.groups[key] = SeriesGroup(key, self.chunks[-1])
        return group

    def drop_group(self, key: GroupKey) -> int:
        """Delete a group, if there is one. Return the number of label sets that were shown of it."""
        group = self.groups.pop(key, None)
        if group is None:
            return 0
        group.invalidate()
        group.chunk.groups.remove(group)
        if not group.chunk.groups:
            self.chunks.remove(group.chunk)
        return group.shown

    def same_lines(self, variant: Variant) -> Collection[Variant]:
        """The variants whose lines equal those of this variant, itself included."""
        if self.metric.type is MetricType.GAUGE:
            return tuple(Variant)
        if variant is Variant.START_TIMESTAMPS or self.metric.has_exemplars:
            return (variant,)
        return (Variant.PLAIN, Variant.EXEMPLARS)

    def state(self, key: GroupKey | None = None) -> FamilyState:
        """All series, or those of one group, for a checkpoint."""
        metric = self.metric
        chosen = self.groups if key is None else {key: self.groups[key]} if key in self.groups else {}
        return FamilyState(
            name=metric.name,
            type=metric.type,
            labels=metric.all_labels,
            buckets=metric.buckets,
            scale=metric.scale,
            groups=[(each, list(group.series.items())) for each, group in chosen.items() if group.series],
        )

    def matches(self, state: FamilyState) -> bool:
        """Whether saved series have this metric's type, labels, buckets and scale, so that they can be restored."""
        mine = self.metric
        return (state.type, state.labels, state.buckets, state.scale) == (
            mine.type,
            mine.all_labels,
            mine.buckets,
            mine.scale,
        )
