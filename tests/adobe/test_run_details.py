"""What a run's body holds for people: whole messages, skipped records, warnings, and the runs that it belongs to."""

import json

import pytest
from hypothesis import given

from exporter.adobe.payloads import read
from exporter.adobe.run_details import MAX_MESSAGE, is_readable, read_details
from exporter.model import ActivityDetails, FlowRun, Remark, RunDetails, RunReference
from tests.adobe import GARBAGE, NOW, a_run, encoded, opened, read_again, trees
from tests.samples import NAMES, sample


def of(**members: object) -> RunDetails:
    """The details of the smallest run with more members."""
    return read_details(encoded(a_run(**members)))


def metrics(**sections: object) -> dict[str, object]:
    """The metrics of a failed run with more sections."""
    return {"statusSummary": {"status": "failed"}, **sections}


def of_sample(name: str) -> RunDetails:
    """The details of a sample body."""
    return read_details(sample(name))


def test_a_run_without_details() -> None:
    """The smallest run has its word for the state and nothing else."""
    assert of() == RunDetails(states=("failed",))


def test_skipped_records_and_warnings_are_no_errors() -> None:
    """Each is read from the run and from its activities, and an equal one is there once."""
    assert of_sample("destination-skipped").skipped == (
        Remark(code="ACTSVC-2003-400", message="No address to write to.", count=3),
    )
    details = of_sample("source-failure-every-place")
    assert [each.code for each in details.skipped] == ["SKIP-0001-400"]
    assert [each.code for each in details.warnings] == ["WARN-0001-400"]
    assert not {"SKIP-0001-400", "WARN-0001-400"} & {each.code for each in details.errors}


def test_errors_are_those_of_the_metrics_with_whole_messages() -> None:
    """A message is as Adobe wrote it, with its lines and characters. The metrics read one line of 2,000 characters."""
    message = "first\nsecond \u202e \x00 " + "x" * 100_000
    errors = [{"code": "133", "message": message, "recordCount": 7}]
    run = a_run(metrics=metrics(statusSummary={"status": "failed", "errors": errors}))
    assert read_details(encoded(run)).errors == (Remark(code="133", message=message, count=7),)
    fact = read(encoded(run), NOW)
    assert isinstance(fact, FlowRun)
    assert [error.code for error in fact.errors] == ["133"]


@pytest.mark.parametrize(
    ("entry", "remark"),
    [
        ("a text", Remark(code="other", message="a text")),
        ({"code": "not a code", "message": "m"}, Remark(code="other", written_code="not a code", message="m")),
        ({"code": 2200, "description": "d"}, Remark(code="2200", message="d")),
        ({"code": "133", "message": 5, "count": -7}, Remark(code="133")),
        ({"code": "133", "message": "x" * (MAX_MESSAGE + 1)}, Remark(code="133", message="x" * MAX_MESSAGE)),
        ({}, None),
    ],
)
def test_a_remark_in_each_form(entry: object, remark: Remark | None) -> None:
    """What is not valid costs its field alone, and an empty entry is none."""
    details = of(metrics=metrics(recordSummary={"warningInfo": [entry]}))
    assert details.warnings == (() if remark is None else (remark,))


def test_the_runs_before_and_after() -> None:
    """A run is named by an object or by its id, and one that both name is there once, with its flow."""
    details = of(
        predecessors=[{"flowId": "f1", "flowRunId": "r1"}, {"flowId": "without a run"}, "no object"],
        parentFlowRunId="r1",
        childFlowRunIds=["r2", 3, None, {"not": "an id"}, "r2"],
    )
    assert details.predecessors == (RunReference("r1", "f1"),)
    assert details.successors == (RunReference("r2"), RunReference("3"))
    assert of_sample("identity-success").predecessors == (
        RunReference("a7c93e14-2f6b-4d58-9e01-6b5d8f3a2c41", "1f4e8b2a-7d39-4c65-b0a8-93e5d7c61f02"),
    )


def test_states_and_long_texts() -> None:
    """The words for the state of run, batch and activities, each once, and the long text about a failure."""
    activity = {"id": "copyActivity", "name": "SFTP Copy Activity", "statusSummary": {"status": "stalled"}}
    summary = {"status": "failed", "extensions": {"errorDetail": "long", "batchStatus": "abandoned"}}
    details = of(metrics={"statusSummary": summary}, activities=[activity, {}])
    assert details.states == ("failed", "abandoned", "stalled")
    assert details.explanations == ("long",)
    assert details.activities == (
        ActivityDetails(written_name="SFTP Copy Activity", state="stalled"),
        ActivityDetails(),
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_agrees_with_the_metrics(name: str) -> None:
    """Of each sample the details have the codes and the activities that the metrics have, through any envelope."""
    for event in opened(sample(name)):
        fact, details = read_again(event), read_details(event.body, event.event_code or "")
        if isinstance(fact, FlowRun):
            assert {each.code for each in details.errors} == set(fact.error_codes)
            assert len(details.activities) == len(fact.activities)
            assert details.states
        else:
            assert details == RunDetails()


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_in_any_place_costs_its_field(garbage: bytes) -> None:
    """No value in the place of a field raises an exception."""
    keys = ("predecessors", "childFlowRunIds", "activities", "statusSummary", "recordSummary", "extensions", "errors")
    for key in (*keys, "skippedInfo", "errorDetail", "batchStatus", "code", "message", "count"):
        inner = json.dumps({key: "GARBAGE"}).encode()
        for holder in (
            inner,
            b'{"metrics": %b}' % inner,
            b'{"metrics": {"recordSummary": {"failedInfo": [%b]}}}' % inner,
        ):
            read_details(holder.replace(b'"GARBAGE"', garbage))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"not JSON", True),
        (b"[" * 16_000, True),
        (b"[" * 20_000, False),
        (encoded(a_run(flowName="x" * 2_000_000)), True),
        (encoded(a_run(flowName="x" * 20_000))[:-1], False),
        (encoded({"data": "[" * 20_000}), False),
    ],
    ids=["small", "small and deep", "deep", "large", "cut", "a text"],
)
def test_which_bodies_are_read_in_a_bounded_time(body: bytes, expected: bool) -> None:
    """A large body is read if it is sound, and holds no text that may be damaged. A small one is always read."""
    assert is_readable(body) is expected


@given(trees)
def test_no_tree_raises(tree: object) -> None:
    """Whatever JSON is in the ledger, reading its details raises no exception."""
    read_details(json.dumps(tree).encode(errors="surrogatepass"))
