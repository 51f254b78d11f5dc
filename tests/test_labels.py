"""Text from payloads in an exposition, through everything but the network."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.adobe import fields
from exporter.adobe.deliveries import read_document
from exporter.adobe.payloads import read
from exporter.follower import Follower
from exporter.intake import Intake
from exporter.ledger.sqlite import SqliteLedger
from exporter.metrics.exposition import Format
from exporter.metrics.fold import Fold
from exporter.model import Source
from exporter.plain_text import clean
from tests.metrics.facts import limits, recorded, samples
from tests.metrics.reference import render

NOON = 1_793_534_400_000
"""2026-11-01 12:00 UTC, when everything is recorded and rendered."""

texts = st.text(
    st.characters() | st.sampled_from('\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029\u202e\u200b\ufeff\ud83d\ufffd"\\,}= a1'),
    max_size=40,
)


def a_run(number: int, text: str) -> Mapping[str, object]:
    """A failed run with this text in every member that can become a label."""
    error = {"code": text, "message": text}
    return {
        "id": f"r{number}{text}",
        "flowId": f"f{text}",
        "sandboxName": f"s{text}",
        "imsOrgId": f"o{text}",
        "flowName": f"n{text}",
        "createdClient": text,
        "providerRefId": text,
        "metrics": {
            "statusSummary": {"status": "failed", "errors": [error, {"code": "42P01"}]},
            "durationSummary": {"startedAtUTC": NOON - 60_000, "completedAtUTC": NOON - 1},
        },
        "activities": [
            {"id": text, "name": text, "durationSummary": {"startedAtUTC": NOON - 9, "completedAtUTC": NOON}}
        ],
        "header": {"_adobeio": {"eventCode": text}},
    }


def bodies(text: str) -> list[Mapping[str, object]]:
    """A run, an alert, a flow and another topic with this text."""
    alert: Mapping[str, object] = {
        "id": f"a{text}",
        "name": f"late{text}",
        "status": "FIRING",
        "flowId": f"g{text}",
        "sandboxName": text,
    }
    flow: Mapping[str, object] = {
        "id": f"h{text}",
        "name": f"n{text}",
        "flowSpec": {"id": "s"},
        "sandboxName": text,
        "imsOrgId": text,
    }
    return [a_run(0, text), alert, flow, {"hello": text, "sandboxName": text, "event_code": text}]


def exposition(text: str, format_: Format) -> str:
    """The flow half of a scrape after events with this text, each of which was read by itself."""
    fold = Fold(limits(0))
    for position, body in enumerate(bodies(text), start=1):
        for event in read_document(json.dumps(body).encode(), Source.REPLAY, NOON).events:
            fold.apply(recorded(event.fact, position, NOON, event_code=event.event_code))
    fold.advance(NOON)
    return render(fold.series, None, format_).decode()


@pytest.mark.parametrize("format_", Format)
@given(text=texts)
def test_no_text_breaks_a_line(format_: Format, text: str) -> None:
    """Whatever text is in a payload, an exposition has no character that ends a line but the newline at its end.

    Nor has it one that PromQL refuses.
    """
    shown = exposition(text, format_)
    assert shown.splitlines() == shown.removesuffix("\n").split("\n")
    assert sum(line.startswith("aep_flow_runs_total{") for line in shown.splitlines()) == 3
    assert [each for each in shown if clean(each) != each] == ["\n"] * shown.count("\n")


SPLITTING = "Tide\u2028tables\u202e of\u2029 the north\ufeff"


def recorded_in(path: Path, body: Mapping[str, object]) -> str:
    """Record a body in the ledger of this file, write a checkpoint, and return the scrape."""
    fold = Fold(limits(0))
    with (
        contextlib.closing(SqliteLedger(path, clock=lambda: NOON)) as ledger,
        contextlib.closing(Follower(ledger, fold, read)) as follower,
    ):
        asyncio.run(Intake(ledger, ledger.now).record([read_document(json.dumps(body).encode(), Source.WEBHOOK, NOON)]))
        follower.catch_up()
        fold.advance(NOON)
        asyncio.run(follower.checkpoints.save(min_age=0))
        return render(fold.series, None, Format.TEXT).decode()


def test_an_upgrade_shows_no_old_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an upgrade a flow goes on under clean labels, with what the earlier version counted and stored."""
    path = tmp_path / "ledger.db"
    other: dict[str, object] = {"hello": "sailor", "sandboxName": SPLITTING}
    with monkeypatch.context() as earlier:
        # An earlier version replaced control characters only.
        earlier.setattr("exporter.adobe.fields.clean", lambda text, _replacement="": text)
        earlier.setattr("exporter.adobe.fields.without_formats", lambda text: text)
        earlier.setattr("exporter.metrics.fold.clean", lambda text: text)
        recorded_in(path, a_run(0, SPLITTING))
        old = recorded_in(path, other)
        assert "\u2028" in old
    shown = recorded_in(path, a_run(1, SPLITTING))
    assert shown.splitlines() == shown.removesuffix("\n").split("\n")
    assert "\u202e" not in shown
    failed = {
        (pairs["flow_id"], pairs["sandbox"]): number
        for (name, labels), number in samples(shown).items()
        if name == "aep_flow_runs_total" and (pairs := dict(labels))["status"] == "failed"
    }
    assert failed == {(fields.identifier(f"f{SPLITTING}"), fields.identifier(f"s{SPLITTING}")): 2}
    shown = recorded_in(path, other | {"hello": "again"})
    counted = [
        number
        for (name, labels), number in samples(shown).items()
        if name == "aep_notifications_total" and dict(labels)["sandbox"] == fields.identifier(SPLITTING)
    ]
    assert counted == [2]


def test_entries_of_an_earlier_version_are_cleaned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries that an earlier version stored, and no checkpoint holds, are read with clean labels."""
    path = tmp_path / "ledger.db"
    with monkeypatch.context() as earlier:
        earlier.setattr("exporter.adobe.fields.clean", lambda text, _replacement="": text)
        earlier.setattr("exporter.adobe.fields.without_formats", lambda text: text)
        with contextlib.closing(SqliteLedger(path, clock=lambda: NOON)) as ledger:
            intake = Intake(ledger, ledger.now)
            old = [a_run(0, SPLITTING), a_run(1, "go\u2028ne"), {"hello": "sailor", "sandboxName": SPLITTING}]
            for body in old:
                asyncio.run(intake.record([read_document(json.dumps(body).encode(), Source.WEBHOOK, NOON)]))
            asyncio.run(intake.forget("fgo\u2028ne"))
    shown = recorded_in(path, {"hello": "again"})
    assert "\u2028" not in shown
    assert "fgo" not in shown
    assert f'sandbox="{fields.identifier(SPLITTING)}"' in shown
