"""Checkpoints as bytes: what another version, or a damaged disk, makes of them."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from exporter.metrics.checkpoint import decode, encode
from exporter.metrics.fold import Fold
from exporter.model import RunError, Status
from tests.metrics.facts import DAY, MINUTE, SECOND, T0, exposition, limits, recorded, run, value

WHOLE = [
    run("r1", Status.FAILED, started_at=T0 - MINUTE, completed_at=T0, errors=(RunError(code="INGEST-1205-400"),)),
    run("r2", started_at=T0, completed_at=T0 + SECOND, records=(("input", 5),)),
    run("r3", Status.IN_PROGRESS),
]


def fold() -> Fold:
    """Some state."""
    made = Fold(limits())
    for position, fact in enumerate(WHOLE, start=1):
        made.apply(recorded(fact, position, T0 + position * MINUTE))
    return made


def restored(raw: bytes) -> Fold:
    """A fold that begins from a checkpoint."""
    made = Fold(limits())
    made.restore(decode(raw))
    made.advance(T0 + DAY)
    return made


def opened(raw: bytes) -> dict[str, Any]:
    """A checkpoint as whoever looks into it sees it."""
    found: dict[str, Any] = json.loads(gzip.decompress(raw))
    return found


def changed(change: Callable[[dict[str, Any]], None]) -> bytes:
    """A checkpoint as another version might have written it."""
    document = opened(encode(fold().state()))
    change(document)
    return gzip.compress(json.dumps(document).encode())


def family(document: dict[str, Any], name: str) -> dict[str, Any]:
    """A metric in a checkpoint."""
    found: dict[str, Any] = next(each for each in document["fold"]["series"] if each["name"] == name)
    return found


def test_it_describes_itself() -> None:
    """Each metric stands there with its name, labels and buckets beside its cells, so that others can read them."""
    document = opened(encode(fold().state()))
    assert document["format"] == 2
    assert document["fold"]["limits"] == {"hold": 0, "ttl": 45 * DAY, "max_flows": 2000}
    duration = family(document, "aep_flow_run_duration_seconds")
    assert (duration["labels"], duration["scale"]) == (["flow_id", "sandbox", "status"], 1000)
    assert duration["buckets"][:3] == [15, 30, 60]
    (group, cells), *_ = duration["groups"]
    assert (group, cells[0][0]) == (["f1", "prod"], ["failed"])


def test_what_is_not_known_is_ignored() -> None:
    """Fields and metrics that only a later version knows change nothing."""

    def change(document: dict[str, Any]) -> None:
        document["written_by"] = "9.9"
        document["fold"]["flows"]["novelty"] = [1]
        document["fold"]["series"].append({**family(document, "aep_flow_runs_total"), "name": "aep_flow_new_total"})

    assert exposition(restored(changed(change))) == exposition(restored(encode(fold().state())))


def test_a_metric_that_is_new_begins_at_zero() -> None:
    """A metric that the checkpoint does not hold begins with the next run; the others go on."""

    def change(document: dict[str, Any]) -> None:
        document["fold"]["series"].remove(family(document, "aep_flow_records_total"))

    made = restored(changed(change))
    assert value(made, "aep_flow_records_total") is None
    made.apply(recorded(run("r9", records=(("input", 2),)), 9, T0 + DAY))
    made.advance(T0 + DAY)
    assert value(made, "aep_flow_records_total", result="input") == 2
    assert value(made, "aep_flow_runs_total", status="success") == 2


@pytest.mark.parametrize("field", ["buckets", "labels", "scale", "type"])
def test_a_metric_that_has_changed_begins_anew_alone(field: str) -> None:
    """Where buckets, labels, scale or type are not what they were, that metric restarts, and no other does."""

    def change(document: dict[str, Any]) -> None:
        found = family(document, "aep_flow_run_duration_seconds")
        other = {
            "buckets": [*found["buckets"][:-1], 90000],
            "labels": ["flow_id", "sandbox", "outcome"],
            "scale": 1,
            "type": "summary",
        }
        found[field] = other[field]
        if field == "type":
            found["groups"] = []

    made = restored(changed(change))
    assert "aep_flow_run_duration_seconds" not in exposition(made)
    assert value(made, "aep_flow_runs_total", status="failed") == 1


@pytest.mark.parametrize("path", ["limits", "starts", "ended", "alerts", "series", "flows", "last_notifications"])
def test_what_is_missing_is_as_at_the_beginning(path: str) -> None:
    """A part that an earlier version did not keep begins anew, and the others go on."""

    def change(document: dict[str, Any]) -> None:
        del document["fold"][path]

    made = restored(changed(change))
    assert path == "flows" or 'flow_id="f1"' in exposition(made)


def _too_large(document: dict[str, Any]) -> None:
    document["fold"]["flows"]["flows"][0][1]["run_history"]["cadence"]["completions"] = [2**70]


def _bad_cell(document: dict[str, Any]) -> None:
    family(document, "aep_flow_runs_total")["groups"][0][1][0][1]["values"] = [1, 2]


def _bad_type(document: dict[str, Any]) -> None:
    document["fold"]["now"] = "now"


def _other_format(document: dict[str, Any]) -> None:
    document["format"] = 3


RAW = encode(fold().state())


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"junk", id="junk"),
        pytest.param(RAW[:-9], id="cut-off"),
        pytest.param(RAW[:-8] + bytes(8), id="checksum"),
        pytest.param(RAW[:40] + bytes(20) + RAW[60:], id="overwritten"),
        pytest.param(gzip.compress(b"[]"), id="another-thing"),
        pytest.param(gzip.compress(b'{"format":1,"fold":' + b"[" * 100_000), id="nested-without-end"),
        pytest.param(changed(_too_large), id="a-number-too-large"),
        pytest.param(changed(_bad_cell), id="cells-that-do-not-fit"),
        pytest.param(changed(_bad_type), id="another-type"),
        pytest.param(changed(_other_format), id="another-format"),
    ],
)
def test_what_can_not_be_read_is_refused(raw: bytes) -> None:
    """Bytes that are no checkpoint of a known format never become a state."""
    with pytest.raises(ValueError, match=r".+"):
        decode(raw)


def test_new_limits_apply_from_then_on() -> None:
    """A fold that begins from a checkpoint keeps its flows, and applies its own limits to what comes."""
    made = Fold(limits(max_flows=1, hold=MINUTE))
    made.restore(decode(encode(fold().state())))
    made.apply(recorded(run("r7", Status.FAILED, flow_id="f7"), 7, T0 + DAY))
    made.advance(T0 + DAY)
    assert value(made, "aep_flow_runs_total", flow_id="f1", status="failed") == 1
    assert value(made, "aep_flow_runs_total", flow_id="other", status="failed") == 0
    made.advance(T0 + DAY + MINUTE)
    assert value(made, "aep_flow_runs_total", flow_id="other", status="failed") == 1
