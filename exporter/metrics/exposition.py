"""How samples are written down: text 0.0.4 and OpenMetrics 1.0.0, and which of them a scraper wants.

What a scrape costs is in `series`; here its pieces are joined, and the other half is rendered by prometheus_client's
own encoders. Sources: Prometheus's exposition formats, OpenMetrics 1.0.0, RFC 9110 (12.4 and 12.5: quality values).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from isal import igzip
from prometheus_client import generate_latest as encode_text
from prometheus_client.openmetrics.exposition import generate_latest as encode_openmetrics
from prometheus_client.registry import Collector

from exporter.metrics.catalogue import Metric
from exporter.metrics.families import Variant
from exporter.metrics.series import SeriesStore


class Format(StrEnum):
    """The exposition formats."""

    TEXT = "text"
    OPENMETRICS = "openmetrics"

    @property
    def content_type(self) -> str:
        """The media type that Prometheus knows the format by."""
        return _CONTENT_TYPES[self]


_CONTENT_TYPES: Final = {
    Format.TEXT: "text/plain; version=0.0.4; charset=utf-8",
    Format.OPENMETRICS: "application/openmetrics-text; version=1.0.0; charset=utf-8",
}

_EOF: Final = b"# EOF\n"
_GZIP_LEVEL: Final = 1


def render(
    series: SeriesStore | None, own: Collector | None, format_: Format, *, start_timestamps: bool = False
) -> bytes:
    """An exposition of the flow half, of the exporter's own, or of both."""
    pieces: list[bytes] = []
    if series is not None:
        pieces += render_flow_half(series, format_, start_timestamps=start_timestamps)
    if own is not None:
        pieces.append(render_exporter_half(own, format_))
    return assemble(pieces, format_)


def render_flow_half(series: SeriesStore, format_: Format, *, start_timestamps: bool = False) -> list[bytes]:
    """The flow half in pieces, to be made whole elsewhere: it is large, and the fold waits for what is done here.

    `start_timestamps`: in OpenMetrics counters, histograms and summaries say when they were born.
    """
    variant = Variant.PLAIN
    if format_ is Format.OPENMETRICS:
        variant = Variant.START_TIMESTAMPS if start_timestamps else Variant.EXEMPLARS
    pieces: list[bytes] = []
    for metric, lines in series.rendered(variant):
        pieces.append(_head(metric, format_))
        pieces += lines
    return pieces


def render_exporter_half(own: Collector, format_: Format) -> bytes:
    """The exporter's own half, without an end."""
    # The encoders ask only for collect(), which every collector has.
    encode = encode_openmetrics if format_ is Format.OPENMETRICS else encode_text
    return bytes(encode(own)).removesuffix(_EOF)


def assemble(pieces: Sequence[bytes], format_: Format) -> bytes:
    """The exposition that these are the pieces of."""
    return b"".join((*pieces, _EOF) if format_ is Format.OPENMETRICS else pieces)


def compress(body: bytes) -> bytes:
    """One gzip member; some clients read only the first."""
    return igzip.compress(body, compresslevel=_GZIP_LEVEL, mtime=0)


def _head(metric: Metric, format_: Format) -> bytes:
    if format_ is Format.TEXT:
        help_ = metric.help.replace("\\", r"\\").replace("\n", r"\n")
        return f"# HELP {metric.name} {help_}\n# TYPE {metric.name} {metric.type}\n".encode()
    help_ = metric.help.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    unit = f"# UNIT {metric.family} {metric.unit}\n" if metric.unit else ""
    return f"# HELP {metric.family} {help_}\n# TYPE {metric.family} {metric.type}\n{unit}".encode()


@dataclass(frozen=True, slots=True)
class _Range:
    """One element of an Accept header."""

    value: str
    parameters: dict[str, str]
    quality: float


def negotiate(accept: str) -> Format:
    """The format a scraper likes best; text where it names none that is spoken here.

    Prometheus asks for protobuf first when it wants native histograms or start timestamps; OpenMetrics, which it names
    next, is then the richest that is left.
    """
    best: tuple[float, int] = (0.0, 0)
    chosen = Format.TEXT
    for rank, wanted in enumerate(_ranges(accept)):
        format_ = _format_of(wanted)
        if format_ is not None and (wanted.quality, -rank) > best:
            best = (wanted.quality, -rank)
            chosen = format_
    return chosen


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a client takes gzip."""
    qualities = {wanted.value: wanted.quality for wanted in _ranges(accept_encoding)}
    return qualities.get("gzip", qualities.get("*", 0.0)) > 0


def _format_of(wanted: _Range) -> Format | None:
    version = wanted.parameters.get("version", "")
    if wanted.value == "application/openmetrics-text" and version in {"", "1.0.0"}:
        return Format.OPENMETRICS
    if wanted.value in {"text/plain", "text/*", "*/*"} and version in {"", "0.0.4"}:
        return Format.TEXT
    return None


def _ranges(header: str) -> Sequence[_Range]:
    found: list[_Range] = []
    for element in header.split(","):
        value, *rest = (part.strip().lower() for part in element.split(";"))
        if value:
            parameters = dict(_pair(part) for part in rest)
            found.append(_Range(value, parameters, _quality(parameters.get("q", "1"))))
    return found


def _pair(parameter: str) -> tuple[str, str]:
    name, _, value = parameter.partition("=")
    return name.strip(), value.strip().strip('"')


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0
