"""Which error codes a failing flow shows, and its cause."""

import gzip
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.metrics.checkpoint import decode, encode
from exporter.metrics.flows import Limits
from exporter.metrics.fold import Fold
from exporter.metrics.missing_codes import MissingCodes
from exporter.model import ClockCorrection, FlowRun, Forgotten, RecordedFact, RunError, Source, Status
from tests.metrics.facts import (
    DAY,
    HOUR,
    MINUTE,
    T0,
    exposition,
    fact_lists,
    folded,
    limits,
    near_limits,
    recorded,
    run,
    samples,
)


def failed(run_id: str, *codes: str, **fields: Any) -> FlowRun:
    """A run that failed with these error codes."""
    return run(run_id, Status.FAILED, errors=tuple(RunError(code=code) for code in codes), **fields)


def shown(fold: Fold, flow_id: str = "f1") -> tuple[dict[str, float], str | None]:
    """How many failed runs of a flow reported each code, and the cause."""
    found = [
        (name, dict(pairs)["error_code"], number)
        for (name, pairs), number in samples(exposition(fold)).items()
        if name.startswith("aep_flow_failing_") and {("flow_id", flow_id)} <= pairs and "error_code" in dict(pairs)
    ]
    causes = [(code, number) for name, code, number in found if name == "aep_flow_failing_cause_info"]
    assert all(number == 1 for _, number in causes)
    assert len(causes) < 2
    runs = {code: number for name, code, number in found if name == "aep_flow_failing_runs"}
    return runs, causes[0][0] if causes else None


def facts_of(*runs: FlowRun) -> list[RecordedFact]:
    """These runs, each recorded and completed a minute after the one before."""
    return [
        recorded(each, position, T0 + position * MINUTE, ended_at=T0 + position * MINUTE)
        for position, each in enumerate(runs, start=1)
    ]


NOTHING: tuple[dict[str, float], str | None] = ({}, None)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        pytest.param([run("a")], NOTHING, id="a success"),
        pytest.param([failed("a", "133")], ({"133": 1}, "133"), id="one code"),
        pytest.param([failed("a")], ({"none": 1}, "none"), id="no code"),
        pytest.param([failed("a", "other")], ({"other": 1}, "other"), id="no code of Adobe's form"),
        pytest.param(
            [failed("a", "133"), failed("b", "2200", "133")], ({"133": 2, "2200": 1}, "133"), id="several failures"
        ),
        pytest.param([failed("a", "2200", "133", "2200")], ({"133": 1, "2200": 1}, "2200"), id="a code once a run"),
        pytest.param([failed("a", "133"), run("b"), failed("c", "99")], ({"99": 1}, "99"), id="since the success"),
        pytest.param([failed("a", "133"), run("b", Status.PARTIAL_SUCCESS)], NOTHING, id="recovered in part"),
        pytest.param([failed("a", "133"), run("b", Status.CANCELLED)], ({"133": 1}, "133"), id="then cancelled"),
        pytest.param(
            [run("a", Status.PARTIAL_SUCCESS, errors=(RunError(code="133"),))], NOTHING, id="errors of a part"
        ),
    ],
)
def test_codes_of_a_failing_flow(runs: list[FlowRun], expected: tuple[dict[str, float], str | None]) -> None:
    """A flow whose latest run failed shows the codes of its failures in a row, and the first as their cause."""
    assert shown(folded(facts_of(*runs), T0 + DAY)) == expected


def test_they_are_not_held() -> None:
    """Codes and cause are on the scrape after the first failure, while counters still show 0."""
    assert shown(folded(facts_of(failed("a", "133")), T0 + MINUTE, hold=5 * MINUTE)) == ({"133": 1}, "133")


def test_a_correction_to_a_failure_shows_its_codes() -> None:
    """A run that counted as a success and is corrected to a failure shows its codes, though they count nowhere."""
    corrected = recorded(failed("a", "133", updated_at=T0 + HOUR), 2, T0 + HOUR, counts=False, ended_at=T0 + MINUTE)
    assert shown(folded([*facts_of(run("a", updated_at=T0)), corrected], T0 + DAY)) == ({"133": 1}, "133")


def test_codes_beyond_the_limit_are_other() -> None:
    """The 21st code of a flow is `other`, in the cause too, and ten codes are shown."""
    codes = [str(number) for number in range(100, 121)]
    runs = [failed(f"r{code}", code) for code in codes]
    assert shown(folded(facts_of(*runs), T0 + DAY)) == ({**dict.fromkeys(codes[:10], 1), "other": 11}, "100")
    fold = folded(facts_of(*runs, run("recovered"), failed("last", "120")), T0 + DAY)
    assert shown(fold) == ({"other": 1}, "other")


def test_flows_that_are_counted_together_show_none() -> None:
    """Flows beyond the limit have counters only."""
    fold = Fold(limits(max_flows=1))
    for fact in facts_of(failed("a", "133"), failed("b", "2200", flow_id="f2")):
        fold.apply(fact)
    fold.advance(T0 + DAY)
    assert shown(fold) == ({"133": 1}, "133")
    assert shown(fold, "other") == shown(fold, "f2") == NOTHING


def test_a_flow_that_is_forgotten_shows_none() -> None:
    """`forget` takes the codes off /metrics, and a later failure begins anew."""
    facts = facts_of(failed("a", "133"), failed("b", "2200"))
    gone = recorded(Forgotten(flow_id="f1"), 3, T0 + HOUR, source=Source.OPERATOR)
    assert shown(folded([*facts, gone], T0 + DAY)) == NOTHING
    later = recorded(failed("c", "99"), 4, T0 + 2 * HOUR)
    assert shown(folded([*facts, gone, later], T0 + DAY)) == ({"99": 1}, "99")


def test_they_survive_a_wrong_clock() -> None:
    """A flow that had vanished while the clock was wrong comes back with its codes and those recorded meanwhile."""
    wrong = T0 + 90 * DAY
    facts = [
        *facts_of(failed("a", "133")),
        recorded(failed("b", "2200", flow_id="f2"), 2, wrong, ended_at=T0 + 2 * MINUTE),
        recorded(failed("c", "99"), 3, wrong, ended_at=T0 + 3 * MINUTE),
    ]
    fold = folded(facts, wrong)
    assert shown(fold) == ({"99": 1}, "99")
    correction = ClockCorrection(from_=wrong, to=T0 + HOUR)
    fold.apply(RecordedFact(position=4, received_at=T0 + HOUR, source=Source.OPERATOR, fact=correction, counts=False))
    fold.advance(T0 + HOUR)
    assert shown(fold) == ({"133": 1, "99": 1}, "133")


_failures = st.tuples(
    st.integers(0, 40), st.sampled_from([Status.FAILED, Status.FAILED, Status.CANCELLED]), st.sampled_from([0, 1, 2])
)
_CODES = ((), ("INGEST-1205-400",), ("133", "INGEST-1205-400"))


@given(st.lists(_failures, max_size=70), st.data())
def test_why_a_flow_fails_depends_on_its_runs_alone(ends: list[tuple[int, Status, int]], data: st.DataObject) -> None:
    """The same failures in any order, with restarts and renderings between them, give the same codes and cause."""

    def facts(order: list[int]) -> list[RecordedFact]:
        return [
            recorded(
                replace(
                    failed(f"run-{number}", *_CODES[ends[number][2]], completed_at=T0 + ends[number][0] * MINUTE),
                    status=ends[number][1],
                ),
                position,
                T0 + DAY,
            )
            for position, number in enumerate(order, start=1)
        ]

    in_order, shuffled = Fold(limits()), Fold(limits())
    with pytest.MonkeyPatch.context() as lowered:
        lowered.setattr("exporter.metrics.run_history.LATEST", 2)
        lowered.setattr("exporter.metrics.run_history.MAX_FAILURES", 3)
        for fact in facts(list(range(len(ends)))):
            in_order.apply(fact)
        for fact in facts(data.draw(st.permutations(range(len(ends))))):
            shuffled.apply(fact)
            if data.draw(st.integers(0, 9)) == 0:
                shuffled.advance(fact.received_at)
                checkpoint = encode(shuffled.state())
                shuffled = Fold(limits())
                shuffled.restore(decode(checkpoint))
    for fold in (in_order, shuffled):
        fold.advance(T0 + DAY)
    assert shown(in_order) == shown(shuffled)
    assert (shown(in_order)[1] is not None) == any(status is Status.FAILED for _, status, _ in ends)


def without_codes(checkpoint: bytes) -> bytes:
    """The checkpoint as a version writes it that does not save the error codes of failures."""
    document = json.loads(gzip.decompress(checkpoint))
    saved = document["fold"]
    for flow in (*(flow for _, flow in saved["flows"]["flows"]), *(each["flow"] for each in saved["set_aside"])):
        history = flow["run_history"]
        del history["older_codes"], history["older_cause"]
        for outcome in history["outcomes"]:
            del outcome["codes"]
    return gzip.compress(json.dumps(document).encode())


@given(fact_lists(), near_limits, st.data())
def test_an_upgrade_changes_nothing(facts: list[RecordedFact], near: Limits, data: st.DataObject) -> None:
    """After an upgrade from a version that did not save error codes, the exposition is as if it had saved them."""
    seen: set[tuple[str, Status]] = set()
    undisturbed, upgraded = Fold(near), Fold(near)
    applied: list[RecordedFact] = []
    for fact in facts:
        if isinstance(fact.fact, FlowRun):
            key = fact.fact.run_id, fact.fact.status
            if key in seen:
                # A ledger has each run once in each status.
                continue
            seen.add(key)
        undisturbed.apply(fact)
        upgraded.apply(fact)
        applied.append(fact)
        if data.draw(st.integers(0, 4)) == 0:
            state = decode(without_codes(encode(upgraded.state())))
            missing = MissingCodes(state)
            for each in applied:
                if each.position in missing.positions:
                    missing.add_kept(each.position, each)
            missing.fill()
            upgraded = Fold(near)
            upgraded.restore(state)
    for fold in (undisturbed, upgraded):
        fold.advance(T0 + DAY)
    assert exposition(undisturbed) == exposition(upgraded)
