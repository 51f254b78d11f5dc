import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.adobe.deliveries import open_delivery
from exporter.adobe.payloads import read
from exporter.follower import Follower
from exporter.intake import Intake
from exporter.ledger.sqlite import SqliteLedger
from exporter.metrics.catalogue import CATALOGUE, MetricType
from exporter.metrics.checkpoint import decode, encode
from exporter.metrics.exposition import Format
from exporter.metrics.flows import Limits
from exporter.metrics.fold import Fold
from exporter.model import RecordedFact, Status
from tests.metrics.facts import (
    DAY,
    MINUTE,
    SECOND,
    T0,
    exposition,
    fact_lists,
    limits,
    near_limits,
    recorded,
    run,
    samples,
    value,
)

OUTCOMES = [status for status in Status if status.is_outcome]


@given(fact_lists(), near_limits, st.data())
def test_rendering_changes_nothing(facts: list[RecordedFact], near: Limits, data: st.DataObject) -> None:
    """The exposition at the end is the same however often and whenever it is rendered between facts."""
    undisturbed, disturbed = Fold(near), Fold(near)
    for fact in facts:
        undisturbed.apply(fact)
        disturbed.apply(fact)
        if data.draw(st.booleans()):
            disturbed.advance(fact.received_at)
            exposition(disturbed)
    end = T0 + data.draw(st.integers(0, 60 * DAY))
    for fold in (undisturbed, disturbed):
        fold.advance(end)
    for format_ in Format:
        assert exposition(undisturbed, format_) == exposition(disturbed, format_)


@pytest.fixture(scope="module")
def lowered_limits() -> Iterator[None]:
    """Limits of the modules that a few facts reach."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("exporter.metrics.flows.MAX_SANDBOXES", 3)
        patch.setattr("exporter.metrics.alerts.MAX_NAMES", 1)
        patch.setattr("exporter.metrics.code_labels.MAX_CODES_PER_FLOW", 2)
        patch.setattr("exporter.metrics.code_labels.MAX_CODES", 2)
        patch.setattr("exporter.metrics.failure_streak.CODES_SHOWN", 1)
        patch.setattr("exporter.metrics.failure_streak.MAX_COMBINATIONS", 2)
        patch.setattr("exporter.metrics.runs_in_progress.MAX_STARTS", 2)
        patch.setattr("exporter.metrics.runs_in_progress.MAX_ENDED", 3)
        patch.setattr("exporter.metrics.gauge_changes._MIN_GAUGE_CHANGES", 1)
        patch.setattr("exporter.metrics.alerts.MAX_ALERTS", 1)
        yield


@pytest.mark.usefixtures("lowered_limits")
@given(fact_lists(), near_limits, st.data())
def test_restarts_change_nothing(facts: list[RecordedFact], near: Limits, data: st.DataObject) -> None:
    """The exposition is the same when a fold is saved and restored after any of its facts."""
    undisturbed, restarted = Fold(near), Fold(near)
    for fact in facts:
        undisturbed.apply(fact)
        restarted.apply(fact)
        at = fact.received_at + data.draw(st.sampled_from([0, SECOND, 3 * MINUTE, 50 * DAY]))
        if data.draw(st.booleans()):
            undisturbed.advance(at)
            restarted.advance(at)
        if data.draw(st.booleans()):
            checkpoint = encode(restarted.state())
            restarted = Fold(near)
            restarted.restore(decode(checkpoint))
    for end in sorted(data.draw(st.lists(st.integers(0, 60 * DAY), min_size=1, max_size=3))):
        for fold in (undisturbed, restarted):
            fold.advance(T0 + end)
        for format_ in Format:
            assert exposition(undisturbed, format_) == exposition(restarted, format_)
    assert (undisturbed.now, undisturbed.flows, undisturbed.overflowed, undisturbed.dropped) == (
        restarted.now,
        restarted.flows,
        restarted.overflowed,
        restarted.dropped,
    )


@given(fact_lists(with_forgotten=False), st.lists(st.integers(0, 30 * DAY), min_size=2, max_size=5))
def test_counters_never_fall(facts: list[RecordedFact], times: list[int]) -> None:
    """No counter, bucket or sum falls, whatever fact comes next and however time advances."""
    counters = tuple(metric.name for metric in CATALOGUE if metric.type is not MetricType.GAUGE)
    fold = Fold(limits(90 * SECOND))
    before: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for fact in facts:
        fold.apply(fact)
        fold.advance(fact.received_at)
        now = {key: number for key, number in samples(exposition(fold)).items() if key[0].startswith(counters)}
        assert before.keys() <= now.keys()
        assert all(now[key] >= number for key, number in before.items())
        before = now
    for at in sorted(times):
        fold.advance(T0 + at)
        now = {key: number for key, number in samples(exposition(fold)).items() if key[0].startswith(counters)}
        assert all(now[key] >= number for key, number in before.items())


@given(
    st.lists(st.tuples(st.integers(0, 6 * DAY), st.sampled_from(OUTCOMES)), min_size=4, max_size=120, unique=True),
    st.data(),
)
def test_when_a_flow_is_overdue_depends_on_its_runs_alone(runs: list[tuple[int, Status]], data: st.DataObject) -> None:
    """The same runs in any order, with restarts and renderings between them, give the same time."""

    def facts(of: list[tuple[int, Status]]) -> list[RecordedFact]:
        return [
            recorded(run(f"{ended_at}-{status}", status, completed_at=T0 + ended_at), position, T0 + 7 * DAY)
            for position, (ended_at, status) in enumerate(of, start=1)
        ]

    in_order, shuffled = Fold(limits()), Fold(limits())
    for fact in facts(sorted(runs)):
        in_order.apply(fact)
    for fact in facts(data.draw(st.permutations(runs))):
        shuffled.apply(fact)
        if data.draw(st.integers(0, 9)) == 0:
            shuffled.advance(fact.received_at)
            checkpoint = encode(shuffled.state())
            shuffled = Fold(limits())
            shuffled.restore(decode(checkpoint))
    for fold in (in_order, shuffled):
        fold.advance(T0 + 40 * DAY)
    overdue_at = value(in_order, "aep_flow_overdue_timestamp_seconds")
    assert overdue_at is not None
    assert value(shuffled, "aep_flow_overdue_timestamp_seconds") == overdue_at
    assert overdue_at * 1000 - T0 > max(ended_at for ended_at, _ in runs) + 15 * MINUTE - 1


def _body(run: int, status: str, flow: int, code: str | None, records: int) -> dict[str, Any]:
    errors = {"errors": [{"code": code, "message": "made up"}]} if code else {}
    return {
        "event_id": f"event-{run}-{status}",
        "event": {
            "id": f"run-{run}",
            "flowId": f"flow-{flow}",
            "sandboxName": "prod",
            "metrics": {
                "statusSummary": {"status": status, **errors},
                "recordSummary": {"inputRecordCount": records},
                "durationSummary": {"startedAtUTC": T0 - 60 * MINUTE, "completedAtUTC": T0 - run * MINUTE},
            },
        },
    }


_bodies = st.builds(
    _body,
    run=st.integers(1, 8),
    status=st.sampled_from(["success", "failed", "partialSuccess"]),
    flow=st.integers(1, 2),
    code=st.sampled_from([None, "CONNECTOR-2001-500", "odd"]),
    records=st.integers(0, 10**6),
)


def _counters(deliveries: list[list[dict[str, Any]]]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every counter, bucket and sum after these deliveries were recorded in a ledger and followed."""
    counters = tuple(metric.name for metric in CATALOGUE if metric.type is not MetricType.GAUGE)
    with tempfile.TemporaryDirectory() as folder:
        ledger = SqliteLedger(Path(folder) / "ledger.db", clock=lambda: T0)
        fold = Fold(limits(0))
        follower = Follower(ledger, fold, read)
        try:
            for events in deliveries:
                opened = open_delivery({}, json.dumps(events).encode(), T0)
                asyncio.run(Intake(ledger, ledger.now).record([opened]))
            follower.catch_up()
        finally:
            follower.close()
            ledger.close()
    fold.advance(T0)
    return {key: number for key, number in samples(exposition(fold)).items() if key[0].startswith(counters)}


@settings(max_examples=40, deadline=None)
@given(st.lists(_bodies, min_size=1, max_size=8, unique_by=lambda body: body["event"]["id"]), st.data())
def test_order_and_duplicates_change_no_counter(bodies: list[dict[str, Any]], data: st.DataObject) -> None:
    """The same notifications in any order, in any batches and any number of times give the same counters."""
    again = data.draw(st.lists(st.sampled_from(bodies), max_size=8))
    shuffled = data.draw(st.permutations([*bodies, *again]))
    cut = data.draw(st.integers(0, len(shuffled)))
    assert _counters([[body] for body in bodies]) == _counters([shuffled[:cut], shuffled[cut:]])
