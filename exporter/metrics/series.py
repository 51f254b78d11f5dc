"""Series: label sets and values, kept so that a scrape costs only what changed.

The rule of the hold: a counter, histogram or summary series is shown at 0 from its birth until birth + hold, then with
its true value; time decides, not scrapes, so that every Prometheus server sees the zero. Gauges are never held. What is
born of history is not held, unless it is still 0 when something happens now. What is shown is a function of the facts
folded and of `now`, nothing else.

Series live in groups (all series of one flow in one family); each group's lines are rendered once and kept until a
value moves or a hold ends. Sample lines are the same in both exposition formats, so one text serves both. The store is
also a prometheus_client Collector, computed from the values alone: the tests hold the text against its encoders.

Knows no facts: what moves a series comes from `fold`.
"""

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from exporter.metrics.catalogue import Metric, MetricType

Group = tuple[str, ...]
Labels = tuple[str, ...]
Value = int | float


class _Cell:
    """One counter, histogram or summary: integers in the fold's unit.

    A counter holds its sum; a summary its count and sum; a histogram the observations of each bucket, +Inf last, and
    their sum.
    """

    __slots__ = ("born_at", "shown_from", "values")

    def __init__(self, size: int, born_at: int, shown_from: int) -> None:
        self.values: list[Value] = [0] * size
        self.born_at = born_at
        self.shown_from = shown_from


class _GroupOfCells:
    __slots__ = ("cells", "text")

    def __init__(self) -> None:
        self.cells: dict[Labels, _Cell] = {}
        self.text: bytes | None = b""


class _Family:
    """All groups of one metric."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.groups: dict[Group, _GroupOfCells] = {}
        self.bounds = tuple(round(bound * metric.scale) for bound in metric.buckets)
        self.bucket_names = (*(_number(bound) for bound in metric.buckets), "+Inf")
        self.size = {MetricType.SUMMARY: 2, MetricType.HISTOGRAM: len(self.bucket_names) + 1}.get(metric.type, 1)
        names = metric.all_labels
        self.order = sorted(range(len(names)), key=names.__getitem__)
        self.names = names
        self.before_le = sum(name < "le" for name in names)

    def pairs(self, group: Group, labels: Labels) -> list[str]:
        """The rendered label pairs, by label name."""
        values = group + labels
        return [f'{self.names[index]}="{_escape(values[index])}"' for index in self.order]

    def lines(self, group: Group, labels: Labels, values: Sequence[Value]) -> str:
        """The sample lines of one label set."""
        name = self.metric.name
        pairs = self.pairs(group, labels)
        inner = ",".join(pairs)
        braces = f"{{{inner}}}" if inner else ""
        match self.metric.type:
            case MetricType.SUMMARY:
                count, total = values
                return f"{name}_count{braces} {_whole(count)}\n{name}_sum{braces} {self.number(total)}\n"
            case MetricType.HISTOGRAM:
                before = "".join(pair + "," for pair in pairs[: self.before_le])
                after = "".join("," + pair for pair in pairs[self.before_le :])
                found = [
                    f'{name}_bucket{{{before}le="{bucket}"{after}}} {_whole(count)}\n'
                    for bucket, count in zip(self.bucket_names, _running(values[:-1]), strict=True)
                ]
                found.append(f"{name}_count{braces} {_whole(sum(values[:-1]))}\n")
                found.append(f"{name}_sum{braces} {self.number(values[-1])}\n")
                return "".join(found)
            case _:
                return f"{name}{braces} {self.number(values[0])}\n"

    def number(self, value: Value) -> str:
        """A value in the metric's unit, as the exposition formats write it."""
        scale = self.metric.scale
        return _whole(value) if scale == 1 else _number(value / scale)


class Series(Collector):
    """Every series of the flow half."""

    def __init__(self, metrics: Iterable[Metric], hold: int) -> None:
        """`hold`: milliseconds; 0 turns it off."""
        self._families = {metric.name: _Family(metric) for metric in metrics}
        self._hold = hold
        self._now = 0
        self._releases: list[tuple[int, str, Group]] = []

    def open(self, metrics: Iterable[Metric], group: Group) -> None:
        """Give a group its place in each metric's order, whichever of them gets its first series first."""
        for metric in metrics:
            self._families[metric.name].groups.setdefault(group, _GroupOfCells())

    def touch(self, metric: Metric, group: Group, labels: Labels, born_at: int, *, held: bool) -> list[Value]:
        """Make sure a series exists; one made now is born at `born_at` (milliseconds since 1970). Its values."""
        cells = self._families[metric.name].groups.setdefault(group, _GroupOfCells())
        cell = cells.cells.get(labels)
        if cell is None:
            cell = cells.cells[labels] = _Cell(self._families[metric.name].size, born_at, 0)
            if held:
                self._hold_back(metric, group, cell, born_at)
        elif held and not any(cell.values):
            # Born of history and still 0: what happens now must be seen to step up from it.
            self._hold_back(metric, group, cell, born_at)
        cells.text = None
        return cell.values

    def _hold_back(self, metric: Metric, group: Group, cell: _Cell, now: int) -> None:
        """Show a series at 0 until its birth + hold, if that is yet to come."""
        until = cell.born_at + self._hold
        if now < until and cell.shown_from < until:
            cell.shown_from = until
            heapq.heappush(self._releases, (until, metric.name, group))

    def add(self, metric: Metric, group: Group, labels: Labels, amount: int, born_at: int, *, held: bool) -> None:
        """Add to a counter, or observe in a histogram or summary (in the fold's unit)."""
        values = self.touch(metric, group, labels, born_at, held=held)
        match metric.type:
            case MetricType.COUNTER:
                values[0] += amount
            case MetricType.SUMMARY:
                values[0] += 1
                values[1] += amount
            case MetricType.HISTOGRAM:
                values[bisect_left(self._families[metric.name].bounds, amount)] += 1
                values[-1] += amount
            case MetricType.GAUGE:
                raise TypeError("a gauge is put, not added to")

    def put(self, metric: Metric, group: Group, values: Mapping[Labels, Value]) -> None:
        """Replace all of a group's gauges of one metric (in the fold's unit); none takes them away."""
        family = self._families[metric.name]
        cells = family.groups.setdefault(group, _GroupOfCells())
        cells.text = "".join(family.lines(group, labels, (value,)) for labels, value in values.items()).encode()
        cells.cells = {labels: _gauge(value) for labels, value in values.items()}

    def advance(self, now: int) -> None:
        """Move time on: series whose hold has ended show their true value."""
        self._now = max(self._now, now)
        while self._releases and self._releases[0][0] <= self._now:
            _, name, group = heapq.heappop(self._releases)
            cells = self._families[name].groups.get(group)
            if cells is not None:
                cells.text = None

    def texts(self) -> Iterator[tuple[Metric, list[bytes]]]:
        """Each metric that has series, with their sample lines in pieces."""
        for family in self._families.values():
            pieces = [
                cells.text if cells.text is not None else self._text(family, group, cells)
                for group, cells in family.groups.items()
            ]
            if any(pieces):
                yield family.metric, pieces

    def collect(self) -> Iterator[Family]:
        """The same as prometheus_client's families."""
        for family in self._families.values():
            if any(cells.cells for cells in family.groups.values()):
                yield self._collected(family)

    def __len__(self) -> int:
        """The samples that a scrape shows now."""
        return sum(
            len(cells.cells) * _samples_of(family)
            for family in self._families.values()
            for cells in family.groups.values()
        )

    def _shown(self, cell: _Cell) -> Sequence[Value]:
        return cell.values if self._now >= cell.shown_from else (0,) * len(cell.values)

    def _text(self, family: _Family, group: Group, cells: _GroupOfCells) -> bytes:
        cells.text = "".join(
            family.lines(group, labels, self._shown(cell)) for labels, cell in cells.cells.items()
        ).encode()
        return cells.text

    def _collected(self, family: _Family) -> Family:
        metric = family.metric
        collected = Family(metric.family, metric.help, metric.type.value, metric.unit)
        name, scale = metric.name, metric.scale
        for group, cells in family.groups.items():
            for labels, cell in cells.cells.items():
                pairs = dict(zip(family.names, group + labels, strict=True))
                values = self._shown(cell)
                match metric.type:
                    case MetricType.SUMMARY:
                        collected.add_sample(name + "_count", pairs, values[0])
                        collected.add_sample(name + "_sum", pairs, values[1] / scale)
                    case MetricType.HISTOGRAM:
                        for bucket, count in zip(family.bucket_names, _running(values[:-1]), strict=True):
                            collected.add_sample(name + "_bucket", {**pairs, "le": bucket}, count)
                        collected.add_sample(name + "_count", pairs, sum(values[:-1]))
                        collected.add_sample(name + "_sum", pairs, values[-1] / scale)
                    case _:
                        collected.add_sample(name, pairs, values[0] / scale)
        return collected


def _gauge(value: Value) -> _Cell:
    cell = _Cell(1, 0, 0)
    cell.values[0] = value
    return cell


def _samples_of(family: _Family) -> int:
    """Samples of one label set: a histogram's buckets, count and sum."""
    return {MetricType.SUMMARY: 2, MetricType.HISTOGRAM: len(family.bucket_names) + 2}.get(family.metric.type, 1)


def _running(counts: Sequence[Value]) -> Iterator[Value]:
    """Buckets as they are exposed: each holds all below it."""
    total: Value = 0
    for count in counts:
        total += count
        yield total


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _whole(value: Value) -> str:
    """A number as floatToGoString writes it, faster for the small whole ones that most are."""
    return f"{value}.0" if isinstance(value, int) and 0 <= value < 1_000_000 else _number(value)


def _number(value: Value) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]
