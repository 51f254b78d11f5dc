"""The exposition formats, text 0.0.4 and OpenMetrics 1.0.0, and the negotiation of format and compression.

The flow half is rendered by `series`, and its pieces are joined here. The exporter's half is rendered by
prometheus_client's own encoders. Sources: Prometheus's exposition formats, OpenMetrics 1.0.0, RFC 9110 (12.4 and 12.5:
quality values).
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
        """The media type of the format, as Prometheus expects it."""
        return _CONTENT_TYPES[self]


_CONTENT_TYPES: Final = {
    Format.TEXT: "text/plain; version=0.0.4; charset=utf-8",
    Format.OPENMETRICS: "application/openmetrics-text; version=1.0.0; charset=utf-8",
}

_EOF: Final = b"# EOF\n"
_GZIP_LEVEL: Final = 1


def render_flow_half(store: SeriesStore, format_: Format, *, start_timestamps: bool = False) -> list[bytes]:
    """Render the flow half in pieces. Call it where the fold can't change meanwhile, and join the pieces elsewhere.

    With `start_timestamps`, OpenMetrics has the creation time of each counter, histogram and summary.
    """
    variant = Variant.PLAIN
    if format_ is Format.OPENMETRICS:
        variant = Variant.START_TIMESTAMPS if start_timestamps else Variant.EXEMPLARS
    pieces: list[bytes] = []
    for metric, lines in store.render(variant):
        pieces.append(_head(metric, format_))
        pieces += lines
    return pieces


def render_exporter_half(own: Collector, format_: Format) -> bytes:
    """Render the exporter's own half, without the end marker of OpenMetrics."""
    # The encoders call only collect(), which every collector has.
    encode = encode_openmetrics if format_ is Format.OPENMETRICS else encode_text
    return bytes(encode(own)).removesuffix(_EOF)


def assemble(pieces: Sequence[bytes], format_: Format) -> bytes:
    """Join pieces to an exposition, with the end marker of OpenMetrics."""
    return b"".join((*pieces, _EOF) if format_ is Format.OPENMETRICS else pieces)


def compress(body: bytes) -> bytes:
    """Compress to one gzip member, because some clients read only the first."""
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
    """The format with the highest quality in an Accept header. Text if the header names no supported format.

    Prometheus asks for protobuf first when it wants native histograms or start timestamps, and for OpenMetrics next.
    OpenMetrics is then the richest format that is supported.
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
    """Whether a client accepts gzip, by its Accept-Encoding header."""
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
