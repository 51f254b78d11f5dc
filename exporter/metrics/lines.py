"""Writes the sample lines of one metric, for both exposition formats.

Sample lines are the same in text 0.0.4 and OpenMetrics 1.0.0, except for exemplars and start timestamps, which only
OpenMetrics has. The lines equal those of prometheus_client's encoders byte for byte, and tests compare the two.

Values are written as they are given. The hold is applied before, in `series`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from prometheus_client.utils import floatToGoString

from exporter.metrics.catalogue import Metric, MetricType

GroupKey = tuple[str, ...]
"""The values of the labels that a metric is grouped by, such as flow and sandbox."""
Labels = tuple[str, ...]
"""The values of a metric's other labels."""
Value = int | float

EXEMPLAR_LABEL: Final = "flow_run_id"
MAX_EXEMPLAR: Final = 64
"""The largest number of characters of a run id in an exemplar. OpenMetrics allows 128 for names and values together."""


_ESCAPED: Final = re.compile(r'[\\"\n]')
"""The characters that both formats escape."""


def can_be_exemplar(run_id: str) -> bool:
    """Whether a run id becomes an exemplar.

    One with a character that is escaped does not. Prometheus 2 and 3 keep the backslash in an exemplar, so that a link
    made from it would lead to no run.
    """
    return 0 < len(run_id) <= MAX_EXEMPLAR and _ESCAPED.search(run_id) is None


class Exemplar(NamedTuple):
    """The run behind the latest observation: its id, the value (in the fold's unit), and when it was recorded."""

    run_id: str
    value: int
    at: int
    """Milliseconds since 1970."""


Exemplars = Mapping[int, Exemplar]
"""Exemplars by the index of their value: the bucket of a histogram, 0 for a counter."""


class Lines:
    """Writes the lines of one metric."""

    def __init__(self, metric: Metric) -> None:
        """Compute once what does not depend on a series."""
        self.metric = metric
        self.bucket_names = (*(number(bound) for bound in metric.buckets), "+Inf")
        names = metric.all_labels
        self._names = names
        self._order = sorted(range(len(names)), key=names.__getitem__)
        self._before_le = sum(name < "le" for name in names)

    def write(
        self,
        key: GroupKey,
        labels: Labels,
        values: Sequence[Value],
        exemplars: Exemplars | None = None,
        created_at: int | None = None,
    ) -> str:
        """The sample lines of one label set.

        `exemplars` and `created_at` (the start timestamp, in milliseconds since 1970) are for OpenMetrics only.
        """
        name = self.metric.name
        pairs = self._pairs(key, labels)
        inner = ",".join(pairs)
        braces = f"{{{inner}}}" if inner else ""
        created = "" if created_at is None else f"{self.metric.family}_created{braces} {number(created_at / 1000)}\n"
        match self.metric.type:
            case MetricType.SUMMARY:
                count, total = values
                return f"{name}_count{braces} {_whole(count)}\n{name}_sum{braces} {self._scaled(total)}\n{created}"
            case MetricType.HISTOGRAM:
                before = "".join(pair + "," for pair in pairs[: self._before_le])
                after = "".join("," + pair for pair in pairs[self._before_le :])
                lines = [
                    f'{name}_bucket{{{before}le="{bucket}"{after}}} {_whole(count)}{self._exemplar(exemplars, index)}\n'
                    for index, (bucket, count) in enumerate(zip(self.bucket_names, running(values[:-1]), strict=True))
                ]
                lines.append(f"{name}_count{braces} {_whole(sum(values[:-1]))}\n")
                lines.append(f"{name}_sum{braces} {self._scaled(values[-1])}\n{created}")
                return "".join(lines)
            case _:
                return f"{name}{braces} {self._scaled(values[0])}{self._exemplar(exemplars, 0)}\n{created}"

    def _pairs(self, key: GroupKey, labels: Labels) -> list[str]:
        """The rendered label pairs, sorted by label name."""
        values = key + labels
        return [f'{self._names[index]}="{_escape(values[index])}"' for index in self._order]

    def _scaled(self, value: Value) -> str:
        """A value in the metric's unit."""
        scale = self.metric.scale
        return _whole(value) if scale == 1 else number(value / scale)

    def _exemplar(self, exemplars: Exemplars | None, index: int) -> str:
        found = exemplars.get(index) if exemplars else None
        if found is None:
            return ""
        return f' # {{{EXEMPLAR_LABEL}="{_escape(found.run_id)}"}} {self._scaled(found.value)} {found.at / 1000}'


def running(counts: Sequence[Value]) -> Iterator[Value]:
    """Cumulative bucket counts: each includes all lower buckets."""
    total: Value = 0
    for count in counts:
        total += count
        yield total


def number(value: Value) -> str:
    """A number as the exposition formats write it."""
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]


def _whole(value: Value) -> str:
    """Write a number like `number`, but faster for small whole ones, which most are."""
    return f"{value}.0" if isinstance(value, int) and 0 <= value < 1_000_000 else number(value)


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
