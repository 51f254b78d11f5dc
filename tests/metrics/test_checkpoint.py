"""Checkpoints as bytes, also those of other versions and damaged ones."""

import copy
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.ledger.sqlite import SqliteLedger
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
    """A fold with three runs."""
    made = Fold(limits())
    for position, fact in enumerate(WHOLE, start=1):
        made.apply(recorded(fact, position, T0 + position * MINUTE))
    return made


def restored(raw: bytes) -> Fold:
    """A fold restored from a checkpoint."""
    made = Fold(limits())
    made.restore(decode(raw))
    made.advance(T0 + DAY)
    return made


def opened(raw: bytes) -> dict[str, Any]:
    """The JSON of a checkpoint."""
    found: dict[str, Any] = json.loads(gzip.decompress(raw))
    return found


def changed(change: Callable[[dict[str, Any]], None]) -> bytes:
    """A checkpoint with changed content."""
    document = opened(encode(fold().state()))
    change(document)
    return gzip.compress(json.dumps(document).encode())


def family(document: dict[str, Any], name: str) -> dict[str, Any]:
    """A metric of a checkpoint."""
    found: dict[str, Any] = next(each for each in document["fold"]["series"] if each["name"] == name)
    return found


def test_it_describes_itself() -> None:
    """A checkpoint has each metric's name, labels, buckets and scale beside its series."""
    document = opened(encode(fold().state()))
    assert document["format"] == 2
    assert document["fold"]["limits"] == {"hold": 0, "ttl": 45 * DAY, "max_flows": 2000}
    duration = family(document, "aep_flow_run_duration_seconds")
    assert (duration["labels"], duration["scale"]) == (["flow_id", "sandbox", "status"], 1000)
    assert duration["buckets"][:3] == [15, 30, 60]
    (key, series), *_ = duration["groups"]
    assert (key, series[0][0]) == (["f1", "prod"], ["failed"])


def test_unknown_fields_are_ignored() -> None:
    """Fields and metrics that only a later version has change nothing."""

    def change(document: dict[str, Any]) -> None:
        document["written_by"] = "9.9"
        document["fold"]["flows"]["novelty"] = [1]
        document["fold"]["series"].append({**family(document, "aep_flow_runs_total"), "name": "aep_flow_new_total"})

    assert exposition(restored(changed(change))) == exposition(restored(encode(fold().state())))


def test_a_metric_that_is_new_begins_at_zero() -> None:
    """A metric that the checkpoint lacks begins with the next run, and the others go on."""

    def change(document: dict[str, Any]) -> None:
        document["fold"]["series"].remove(family(document, "aep_flow_records_total"))

    made = restored(changed(change))
    assert value(made, "aep_flow_records_total") is None
    made.apply(recorded(run("r9", records=(("input", 2),)), 9, T0 + DAY))
    made.advance(T0 + DAY)
    assert value(made, "aep_flow_records_total", result="input") == 2
    assert value(made, "aep_flow_runs_total", status="success") == 2


@pytest.mark.parametrize("field", ["buckets", "labels", "scale", "type"])
def test_only_a_changed_metric_begins_anew(field: str) -> None:
    """A metric whose buckets, labels, scale or type have changed begins anew, and no other does."""

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
def test_a_missing_part_is_empty(path: str) -> None:
    """A part that the checkpoint lacks begins anew, and the others go on."""

    def change(document: dict[str, Any]) -> None:
        del document["fold"][path]

    made = restored(changed(change))
    assert path == "flows" or 'flow_id="f1"' in exposition(made)


def _too_large(document: dict[str, Any]) -> None:
    document["fold"]["flows"]["flows"][0][1]["run_history"]["cadence"]["completions"] = [2**70]


def _bad_series(document: dict[str, Any]) -> None:
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
        pytest.param(changed(_bad_series), id="series-that-do-not-fit"),
        pytest.param(changed(_bad_type), id="another-type"),
        pytest.param(changed(_other_format), id="another-format"),
    ],
)
def test_unreadable_bytes_are_refused(raw: bytes) -> None:
    """Bytes that are no checkpoint of a known format raise ValueError."""
    with pytest.raises(ValueError, match=r".+"):
        decode(raw)


FORMAT_1 = Path(__file__).parents[1] / "samples" / "ledgers" / "0.1.0" / "ledger.db"
JUNK: tuple[Any, ...] = (None, True, -1, 2**70, "junk", [], [[]], {}, {"junk": 1})


def format_1(folder: Path) -> dict[str, Any]:
    """The JSON of a checkpoint that version 0.1.0 wrote, shortened."""
    path = folder / "ledger.db"
    path.write_bytes(FORMAT_1.read_bytes())
    ledger = SqliteLedger(path)
    try:
        raw = ledger.checkpoint(ledger.checkpoints()[0].position)
    finally:
        ledger.close()
    document: dict[str, Any] = opened(raw or b"")
    saved = document["fold"]
    metrics = ("aep_flow_runs_total", "aep_flow_run_duration_seconds")
    saved["series"] = [each for each in saved["series"] if each["name"] in metrics]
    for each in saved["series"]:
        del each["groups"][2:]
        for _, group in each["groups"]:
            del group[1:]
    del saved["flows"]["flows"][1:]
    for _, flow in saved["flows"]["flows"]:
        del flow["history"]["outcomes"][1:]
        del flow["history"]["cadence"]["completions"][2:]
    for pairs in (saved["starts"], saved["ended"], saved["alerts"]["instances"], saved["alerts"]["names"]):
        del pairs[1:]
    return document


def damaged(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The document with each of its parts missing, and with junk in the place of each of them."""

    def paths(node: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for name, child in children:
            yield (*path, name)
            yield from paths(child, (*path, name))

    for path in paths(document, ()):
        for number in range(-1, len(JUNK)):
            made = copy.deepcopy(document)
            node = made
            for name in path[:-1]:
                node = node[name]
            if number < 0:
                del node[path[-1]]
            else:
                node[path[-1]] = JUNK[number]
            yield f"{path}: {'missing' if number < 0 else JUNK[number]!r}", made


def test_a_damaged_checkpoint_of_format_1_is_refused_or_restored(tmp_path: Path) -> None:
    """A checkpoint of 0.1.0 with a missing or damaged part raises ValueError, or restores without that part."""
    document = format_1(tmp_path)
    whole = exposition(restored(gzip.compress(json.dumps(document).encode(), 1)))
    assert "aep_flow_runs_total{" in whole
    refused, accepted, offenders = 0, 0, []
    for name, changed_ in damaged(document):
        try:
            state = decode(gzip.compress(json.dumps(changed_).encode(), 1))
        except ValueError:
            refused += 1
            continue
        except Exception as error:  # noqa: BLE001 - each offender is reported
            offenders.append(f"{name}: decode: {error!r}")
            continue
        accepted += 1
        try:
            made = Fold(limits())
            made.restore(state)
            made.advance(T0 + DAY)
            exposition(made)
        except Exception as error:  # noqa: BLE001 - likewise
            offenders.append(f"{name}: restore: {error!r}")
    assert not offenders, "\n".join(offenders)
    assert refused > 100
    assert accepted > 100


@pytest.mark.parametrize("path", ["limits", "starts", "ended", "alerts", "series", "flows", "last_notifications"])
def test_a_missing_part_of_format_1_is_empty(path: str, tmp_path: Path) -> None:
    """A part that a checkpoint of 0.1.0 lacks begins anew, and the others go on."""
    document = format_1(tmp_path)
    del document["fold"][path]
    made = exposition(restored(gzip.compress(json.dumps(document).encode())))
    assert path == "flows" or 'flow_id="' in made


def test_new_limits_apply_after_a_restore() -> None:
    """A restored fold keeps its flows, and applies its own limits to later facts."""
    made = Fold(limits(max_flows=1, hold=MINUTE))
    made.restore(decode(encode(fold().state())))
    made.apply(recorded(run("r7", Status.FAILED, flow_id="f7"), 7, T0 + DAY))
    made.advance(T0 + DAY)
    assert value(made, "aep_flow_runs_total", flow_id="f1", status="failed") == 1
    assert value(made, "aep_flow_runs_total", flow_id="other", status="failed") == 0
    made.advance(T0 + DAY + MINUTE)
    assert value(made, "aep_flow_runs_total", flow_id="other", status="failed") == 1


def of_an_earlier_version(*keys: tuple[str, str]) -> Fold:
    """A fold whose labels have characters that an earlier version let through: one failed run for each flow."""
    made = Fold(limits())
    with pytest.MonkeyPatch.context() as earlier:
        earlier.setattr("exporter.metrics.fold.clean", lambda text: text)
        for position, (flow_id, sandbox) in enumerate(keys, start=1):
            fact = run(
                f"r{position}",
                Status.FAILED,
                flow_id=flow_id,
                sandbox=sandbox,
                flow_name="Tide\u2028\u202etables",
                org="ORG\u200b",
                completed_at=T0,
            )
            made.apply(recorded(fact, position, T0 + position * MINUTE))
    made.advance(T0 + DAY)
    return made


def test_labels_of_an_earlier_version_are_cleaned() -> None:
    """After an upgrade a flow has only the labels with which its next runs come, and its counters go on."""
    earlier = of_an_earlier_version(("f\u2029", "prod\ufeff"), ("f2", "dev"))
    made = restored(encode(earlier.state()))
    text = exposition(made)
    assert 'flow_name="Tide?tables"' in text
    assert [each for each in ("\u2028", "\u2029", "\u202e", "\u200b", "\ufeff") if each in text] == []
    assert made.flows == 2
    made.apply(recorded(run("new", Status.FAILED, flow_id="f?", sandbox="prod", completed_at=T0), 9, T0 + DAY))
    made.advance(T0 + DAY)
    assert made.flows == 2
    assert value(made, "aep_flow_runs_total", flow_id="f?", sandbox="prod", status="failed") == 2
    assert value(made, "aep_flow_consecutive_failures", flow_id="f?", sandbox="prod") == 2


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param((("f", "prod"), ("f", "prod\ufeff")), id="sandboxes"),
        pytest.param((("f", "prod"), ("f\u200b", "prod")), id="flows"),
        pytest.param((("f\u2028", "prod"), ("f\u2029", "prod")), id="separators"),
    ],
)
def test_flows_that_would_become_one_stay_apart(keys: tuple[tuple[str, str], ...]) -> None:
    """If cleaning made two flows the same, both keep their labels and counters, and none is lost."""
    earlier = of_an_earlier_version(*keys)
    made = restored(encode(earlier.state()))
    assert exposition(made) == exposition(earlier)
    assert made.flows == 2


def test_labels_of_the_first_version_are_cleaned() -> None:
    """A checkpoint of version 0.1.0 is cleaned too."""
    document = opened(encode(of_an_earlier_version(("f\u2029", "prod")).state()))
    document["format"] = 1
    raw = gzip.compress(json.dumps(document, ensure_ascii=False).encode())
    assert [key for key, _ in decode(raw).flows.flows] == [("f?", "prod")]
