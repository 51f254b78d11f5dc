import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from exporter.metrics.catalogue import FLOW_METRICS
from exporter.metrics.exposition import Format, accepts_gzip, compress, negotiate
from exporter.metrics.families import Variant
from exporter.metrics.flows import Limits
from exporter.metrics.fold import Fold
from exporter.metrics.series import SeriesStore
from exporter.model import RecordedFact, RunError, Status
from tests.metrics.facts import DAY, T0, fact_lists, folded, near_limits, recorded, run
from tests.metrics.reference import ReferenceCollector, render

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROTOBUF_FIRST = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,"
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@given(fact_lists(), near_limits, st.lists(st.integers(0, 60 * DAY), max_size=3))
def test_equals_the_reference_encoders(facts: list[RecordedFact], near: Limits, times: list[int]) -> None:
    """For any state and time, both formats equal what prometheus_client writes of the same families, byte for byte."""
    fold = Fold(near)
    for fact in facts:
        fold.apply(fact)
    for at in [0, *sorted(times)]:
        fold.advance(T0 + at)
        text = render(fold.series, None, Format.TEXT)
        reference = ReferenceCollector(fold.series)
        assert text == generate_latest(reference)
        assert len(fold.series) == sum(not line.startswith(b"#") for line in text.splitlines())
        assert render(fold.series, None, Format.OPENMETRICS) == generate_openmetrics(reference)  # type: ignore[no-untyped-call]
        started = ReferenceCollector(fold.series, Variant.START_TIMESTAMPS)
        assert render(fold.series, None, Format.OPENMETRICS, start_timestamps=True) == generate_openmetrics(started)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("run_id", "has_exemplar"),
    [("run/1 \u00e9'<", True), ("x" * 64, True), ("x" * 65, False), ('a"b', False), ("a\\b", False), ("a\nb", False)],
)
def test_exemplars_are_read_as_they_are_written(run_id: str, has_exemplar: bool) -> None:
    """A run id is an exemplar unless it is long or is escaped, because Prometheus does not undo that in exemplars."""
    fold = folded([recorded(run(run_id, Status.FAILED, errors=(RunError(code="INGEST-1205-400"),)), 1, T0)], T0)
    text = render(fold.series, None, Format.OPENMETRICS).decode()
    assert (f'# {{flow_run_id="{run_id}"}}' in text) == has_exemplar
    assert ("flow_run_id" in text) == has_exemplar


def test_an_empty_exposition_is_valid() -> None:
    """Without a series text is empty, and OpenMetrics has only its end marker."""
    series = SeriesStore(FLOW_METRICS, 0)
    assert render(series, None, Format.TEXT) == b""
    assert render(series, None, Format.OPENMETRICS) == b"# EOF\n"


def test_one_end_for_both_halves() -> None:
    """An OpenMetrics exposition of both halves has one end marker, at its end."""
    series = folded([], T0).series
    body = render(series, ReferenceCollector(series), Format.OPENMETRICS)
    assert body.count(b"# EOF") == 1
    assert body.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        pytest.param("", Format.TEXT, id="nothing"),
        pytest.param("*/*", Format.TEXT, id="anything"),
        pytest.param("text/html,application/xhtml+xml,*/*;q=0.8", Format.TEXT, id="browser"),
        pytest.param(PROMETHEUS_2, Format.OPENMETRICS, id="Prometheus 2.42"),
        pytest.param(PROMETHEUS_3, Format.OPENMETRICS, id="Prometheus 3"),
        pytest.param(PROTOBUF_FIRST, Format.OPENMETRICS, id="protobuf first"),
        pytest.param("application/openmetrics-text", Format.OPENMETRICS, id="no version"),
        pytest.param("Application/OpenMetrics-Text; Version=1.0.0", Format.OPENMETRICS, id="case"),
        pytest.param("application/openmetrics-text;version=0.0.1", Format.TEXT, id="older OpenMetrics"),
        pytest.param("application/openmetrics-text;version=1.0.0;q=0.1,text/plain", Format.TEXT, id="text is better"),
        pytest.param("application/openmetrics-text;q=0,*/*;q=0.1", Format.TEXT, id="quality 0 refuses"),
        pytest.param("application/openmetrics-text;q=junk", Format.TEXT, id="quality that is none"),
        pytest.param(";;;,,=,;q=1", Format.TEXT, id="junk"),
    ],
)
def test_negotiates(accept: str, expected: Format) -> None:
    """The supported format with the highest quality is chosen, or text if there is none."""
    assert negotiate(accept) is expected


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        ("gzip", True),
        ("gzip, deflate, br", True),
        ("*", True),
        ("GZIP;q=0.5", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("*, gzip;q=0", False),
        ("br", False),
    ],
)
def test_accepts_gzip(accept_encoding: str, expected: bool) -> None:
    """A client accepts gzip if it names gzip or * with a quality above 0."""
    assert accepts_gzip(accept_encoding) is expected


@given(st.binary(max_size=5000))
def test_compresses_to_one_member(body: bytes) -> None:
    """The compressed body is one gzip member that decompresses to the same bytes."""
    compressed = compress(body)
    assert gzip.decompress(compressed) == body
    assert compressed.count(b"\x1f\x8b\x08") >= 1
