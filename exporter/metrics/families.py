"""Families: where the cells of one metric are kept, and what was rendered of them.

The rule: lines are rendered once in each variant and kept until something they show changes. Groups are all series of
one flow (or sandbox) in one metric; they stand in blocks, whose lines are kept as one piece, so that a scrape renders
what changed and joins some thousand pieces.

Knows no time and no hold: what is shown of a cell is decided in `series`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from exporter.metrics.catalogue import Metric, MetricType
from exporter.metrics.lines import Exemplar, GroupKey, Labels, Lines, Value


@dataclass(slots=True)
class Series:
    """One counter, histogram or summary: integers in the fold's unit.

    A counter holds its sum; a summary its count and sum; a histogram the observations of each bucket, +Inf last, and
    their sum.
    """

    created_at: int
    shown_from: int
    values: list[int]
    exemplars: dict[int, Exemplar] | None = None


@dataclass(slots=True, kw_only=True)
class FamilyState:
    """All of a metric's cells, with what says how to read them."""

    name: str
    type: MetricType
    labels: tuple[str, ...]
    """Those of the group first."""
    buckets: tuple[float, ...]
    scale: int
    groups: list[tuple[GroupKey, list[tuple[Labels, Series]]]]

    def __post_init__(self) -> None:
        size = values_of(self.type, len(self.buckets))
        for group, cells in self.groups:
            for labels, cell in cells:
                if len(group) + len(labels) != len(self.labels) or len(cell.values) != size:
                    raise ValueError(f"cells of {self.name} don't fit its labels and buckets")


def values_of(type_: MetricType, buckets: int) -> int:
    """How many values a cell has: a histogram those of its buckets, of +Inf, and the sum."""
    return {MetricType.SUMMARY: 2, MetricType.HISTOGRAM: buckets + 2}.get(type_, 1)


class Variant(IntEnum):
    """What the lines of a scrape hold besides values."""

    PLAIN = 0
    EXEMPLARS = 1
    START_TIMESTAMPS = 2
    """And exemplars."""


UNRENDERED: Final = (None,) * len(Variant)
_EMPTY: Final = (b"",) * len(Variant)
_BLOCK: Final = 16
"""Groups of a block: few, so that one that changed costs little; not one, so that most cost nothing."""


class RenderChunk:
    """Some groups, and their lines by variant as far as they are known."""

    __slots__ = ("groups", "rendered")

    def __init__(self) -> None:
        self.groups: list[SeriesGroup] = []
        self.rendered: tuple[bytes | None, ...] = UNRENDERED


class SeriesGroup:
    """All cells of a group in one metric (or its gauges); `rendered` by variant, None where they are to be rendered."""

    __slots__ = ("block", "cells", "gauges", "group", "is_hidden", "rendered")

    def __init__(self, group: GroupKey, block: RenderChunk) -> None:
        self.group = group
        self.block = block
        self.cells: dict[Labels, Series] = {}
        self.gauges: Mapping[Labels, Value] = {}
        self.rendered: tuple[bytes | None, ...] = _EMPTY
        self.is_hidden = False
        block.groups.append(self)
        block.rendered = UNRENDERED

    def change(self) -> None:
        """Its lines are no longer what they were."""
        self.rendered = self.block.rendered = UNRENDERED

    @property
    def shown(self) -> int:
        """Label sets that are shown."""
        return 0 if self.is_hidden else len(self.cells) + len(self.gauges)


def with_text(
    rendered: tuple[bytes | None, ...], text: bytes, variants: Collection[Variant]
) -> tuple[bytes | None, ...]:
    """The rendered with this one in these places."""
    return tuple(text if each in variants else known for each, known in zip(Variant, rendered, strict=True))


class Family:
    """All groups of one metric."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.lines = Lines(metric)
        self.groups: dict[GroupKey, SeriesGroup] = {}
        self.blocks: list[RenderChunk] = []
        self.bounds = tuple(round(bound * metric.scale) for bound in metric.buckets)
        self.size = values_of(metric.type, len(metric.buckets))
        self.samples = self.size + (metric.type is MetricType.HISTOGRAM)
        """Samples of one label set: a histogram's have its count besides."""

    def group(self, group: GroupKey) -> SeriesGroup:
        """A group, made last where there is none."""
        found = self.groups.get(group)
        if found is None:
            if not self.blocks or len(self.blocks[-1].groups) >= _BLOCK:
                self.blocks.append(RenderChunk())
            found = self.groups[group] = SeriesGroup(group, self.blocks[-1])
        return found

    def drop(self, group: GroupKey) -> int:
        """Let a group go; the label sets that were shown of it."""
        found = self.groups.pop(group, None)
        if found is None:
            return 0
        found.change()
        found.block.groups.remove(found)
        if not found.block.groups:
            self.blocks.remove(found.block)
        return found.shown

    def same_as(self, variant: Variant) -> Collection[Variant]:
        """The variants in which its lines are those of this one."""
        if self.metric.type is MetricType.GAUGE:
            return tuple(Variant)
        if variant is Variant.START_TIMESTAMPS or self.metric.has_exemplars:
            return (variant,)
        return (Variant.PLAIN, Variant.EXEMPLARS)

    def describe(self) -> FamilyState:
        """All cells, for a checkpoint."""
        metric = self.metric
        return FamilyState(
            name=metric.name,
            type=metric.type,
            labels=metric.all_labels,
            buckets=metric.buckets,
            scale=metric.scale,
            groups=[(group, list(cells.cells.items())) for group, cells in self.groups.items() if cells.cells],
        )

    def is_described_by(self, state: FamilyState) -> bool:
        """Whether cells that were kept so can be taken back."""
        mine = self.metric
        return (state.type, state.labels, state.buckets, state.scale) == (
            mine.type,
            mine.all_labels,
            mine.buckets,
            mine.scale,
        )
