"""What pages, the API and commands show of runs and flows, and its JSON."""

import json
from typing import Any

import pytest
from hypothesis import given

from exporter.ledger.queries import Row
from exporter.metrics.flow_state import FlowState
from exporter.metrics.flow_summaries import summary_of
from exporter.model import (
    Activity,
    Fact,
    Flow,
    FlowKey,
    FlowKind,
    FlowRun,
    RecordedFact,
    RunError,
    Status,
    Unsupported,
)
from exporter.pages.explanations import explain
from exporter.pages.links import LinkMaker, OwnLinks
from exporter.pages.views import FlowView, Moment, RunView, as_json, rfc3339, view_of_flow, view_of_run
from tests.metrics.facts import DAY, HOUR, MINUTE, T0, fact_lists, folded, recorded, run

RUN_FIELDS = [
    "run_id",
    "flow_id",
    "flow_name",
    "sandbox",
    "org",
    "kind",
    "status",
    "started_at",
    "completed_at",
    "duration_seconds",
    "counted",
    "errors",
    "activities",
    "records",
    "bytes",
    "files",
    "recorded_at",
    "source",
    "links",
]
FLOW_FIELDS = [
    "flow_id",
    "sandbox",
    "flow_name",
    "kind",
    "connector",
    "dataset",
    "enabled",
    "last_run",
    "consecutive_failures",
    "failing_since",
    "failing_errors",
    "interval_seconds",
    "expected_at",
    "overdue_at",
    "disabled_by_adobe_at",
    "not_shown",
    "links",
]
LINKS = LinkMaker(OwnLinks("https://x.example/"), None)
ACTIVITY = "https://experience.adobe.com/#/@o/sname:prod/platform/source/dataflows/f1/activity"
START = "2026-09-21T14:13:20.000Z"
"""T0."""


def row(**fields: Any) -> Row:
    """The row of a run that failed at T0 and was recorded a second later."""
    return Row(
        **{
            "position": 1,
            "received_at": T0 + 1000,
            "source": "webhook",
            "kind": "run",
            "counts": True,
            "flow_id": "f1",
            "run_id": "r1",
            "sandbox": "prod",
            "status": "failed",
            "error_codes": ("133",),
            "completed_at": T0,
            **fields,
        }
    )


def shown(fact: Fact, **fields: Any) -> dict[str, Any]:
    """The JSON of a run whose body holds this fact."""
    found = as_json(view_of_run(row(**fields), lambda *_: fact, LINKS))
    assert isinstance(found, dict)
    return found


def flow(*facts: RecordedFact) -> FlowView:
    """What is shown of flow f1 after these facts."""
    [summary] = folded(facts, T0 + DAY).current_flows().flows.values()
    return view_of_flow(summary, LINKS)


def failures(*ends: int, **fields: Any) -> list[RecordedFact]:
    """Failed runs of a source that ended at these times."""
    made = {"kind": FlowKind.SOURCE, "errors": (RunError(code="133"),), **fields}
    return [
        recorded(run(f"r{number}", Status.FAILED, completed_at=end, **made), number, end + 1)
        for number, end in enumerate(ends, start=1)
    ]


def test_the_json_of_a_run_has_all_that_its_notification_holds() -> None:
    """Each field has the name and the form that users of the API have."""
    fact = run(
        status=Status.FAILED,
        org="o",
        flow_name="Tides",
        kind=FlowKind.SOURCE,
        started_at=T0 - 90_500,
        completed_at=T0,
        errors=(
            RunError(code="133", message="No files.", count=1),
            RunError(code="133", message="No files.", count=2),
            RunError(code="other"),
        ),
        activities=(Activity(name="copy", started_at=T0 - 1000, completed_at=T0), Activity(name="promotion")),
        records=(("input", 5),),
        size=(("output", 6),),
        files=(("failed", 0),),
    )
    assert shown(fact) == {
        "run_id": "r1",
        "flow_id": "f1",
        "flow_name": "Tides",
        "sandbox": "prod",
        "org": "o",
        "kind": "source",
        "status": "failed",
        "started_at": "2026-09-21T14:11:49.500Z",
        "completed_at": START,
        "duration_seconds": 90.5,
        "counted": True,
        "errors": [
            {"code": "133", "message": "No files.", "explanation": explain("133").text},
            {"code": "other", "message": None, "explanation": explain("other").text},
        ],
        "activities": [
            {
                "name": "copy",
                "started_at": "2026-09-21T14:13:19.000Z",
                "completed_at": START,
                "duration_seconds": 1.0,
            },
            {"name": "promotion", "started_at": None, "completed_at": None, "duration_seconds": None},
        ],
        "records": {"input": 5},
        "bytes": {"output": 6},
        "files": {"failed": 0},
        "recorded_at": "2026-09-21T14:13:21.000Z",
        "source": "webhook",
        "links": {
            "page": "https://x.example/runs/r1",
            "flow": "https://x.example/flows/f1?sandbox=prod",
            "experience_platform": f"{ACTIVITY}/r1",
        },
    }


def test_what_is_not_known_is_null() -> None:
    """No field is missing, empty or zero where Adobe gave no value."""
    found = shown(run(sandbox=""), sandbox=None, completed_at=None)
    assert list(found) == RUN_FIELDS
    unknown = ["flow_name", "sandbox", "org", "started_at", "duration_seconds"]
    assert [name for name, value in found.items() if value is None] == unknown


def test_a_correction_is_not_counted() -> None:
    """An outcome that the metrics do not count says so."""
    assert shown(run(), counts=False)["counted"] is False


def test_the_body_is_read_as_the_metrics_read_it() -> None:
    """The reader gets the body, the time of recording and the event code, empty without one."""
    asked: list[tuple[bytes, int, str]] = []

    def read(body: bytes, recorded_at: int, event_code: str) -> Fact:
        asked.append((body, recorded_at, event_code))
        return run()

    view_of_run(row(body=b"1"), read, LINKS)
    view_of_run(row(body=b"2", event_code="code"), read, LINKS)
    assert asked == [(b"1", T0 + 1000, ""), (b"2", T0 + 1000, "code")]


@pytest.mark.parametrize("fact", [Unsupported(), ValueError("a defect")])
def test_a_body_that_is_no_run_costs_what_only_it_holds(fact: Fact | ValueError) -> None:
    """The columns of the ledger are shown, with its error codes, also words that a newer version wrote."""

    def read(body: bytes, recorded_at: int, event_code: str) -> Fact:
        if isinstance(fact, ValueError):
            raise fact
        return fact

    view = view_of_run(row(status="paused", error_codes=("133", "new-form"), source="pigeon"), read, LINKS)
    assert (view.run_id, view.flow_id, view.status, view.kind) == ("r1", "f1", "paused", "unknown")
    assert [(error.code, error.message) for error in view.errors] == [("133", None), ("new-form", None)]
    assert (view.source, view.completed_at) == ("pigeon", T0)


def test_the_name_of_a_query_is_its_id() -> None:
    """The name of a query can be its SQL, so neither a run nor a flow shows it."""
    fact = run(kind=FlowKind.QUERY, flow_name="SELECT secret", completed_at=T0)
    assert shown(fact)["flow_name"] == "f1"
    assert flow(recorded(fact, 1, T0)).flow_name == "f1"


def test_the_json_of_a_flow_is_the_state_of_the_metrics() -> None:
    """A flow that fails shows since when, how often, with which codes, and when Adobe disables it."""
    facts = failures(T0, T0 + HOUR, flow_name="Tides", org="o", started_at=T0 - MINUTE)
    assert as_json(flow(*facts)) == {
        "flow_id": "f1",
        "sandbox": "prod",
        "flow_name": "Tides",
        "kind": "source",
        "connector": None,
        "dataset": None,
        "enabled": None,
        "last_run": {
            "run_id": "r2",
            "status": "failed",
            "completed_at": "2026-09-21T15:13:20.000Z",
            "duration_seconds": 3660.0,
        },
        "consecutive_failures": 2,
        "failing_since": START,
        "failing_errors": {"133": 2},
        "interval_seconds": None,
        "expected_at": None,
        "overdue_at": None,
        "disabled_by_adobe_at": "2026-10-21T14:13:20.000Z",
        "not_shown": None,
        "links": {"page": "https://x.example/flows/f1?sandbox=prod", "experience_platform": ACTIVITY},
    }


def test_a_flow_of_which_nothing_is_known_has_null_for_all() -> None:
    """A state without facts has every field."""
    found = as_json(view_of_flow(summary_of(FlowKey("f", ""), FlowState()), LinkMaker(None, None)))
    assert isinstance(found, dict)
    assert list(found) == FLOW_FIELDS
    known = {name: value for name, value in found.items() if value is not None}
    assert known == {
        "flow_id": "f",
        "kind": "unknown",
        "consecutive_failures": 0,
        "failing_errors": {},
        "links": {"page": None, "experience_platform": None},
    }


def test_a_run_is_expected_after_the_usual_silence_and_overdue_later() -> None:
    """expected_at is the last end plus the interval. overdue_at is that of the metric."""
    facts = [recorded(run(f"r{n}", completed_at=T0 + n * HOUR), n + 1, T0 + n * HOUR) for n in range(6)]
    view = flow(*facts)
    assert view.interval_seconds == 3600
    assert view.expected_at == T0 + 6 * HOUR
    assert view.overdue_at is not None
    assert view.overdue_at > view.expected_at


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (failures(T0), T0 + 30 * DAY),
        (failures(T0, kind=FlowKind.DESTINATION), None),
        (failures(T0, kind=FlowKind.UNKNOWN), T0 + 30 * DAY),
        ([*failures(T0), recorded(run("good", completed_at=T0 + 1), 9, T0 + 2)], None),
        ([*failures(T0), recorded(Flow(flow_id="f1", sandbox="prod", enabled=False), 9, T0 + 2)], None),
        ([*failures(T0), recorded(Flow(flow_id="f1", sandbox="prod", enabled=True), 9, T0 + 2)], T0 + 30 * DAY),
    ],
    ids=["source", "destination", "unknown", "recovered", "disabled", "enabled"],
)
def test_adobe_disables_sources_that_fail_for_30_days(facts: list[RecordedFact], expected: int | None) -> None:
    """A source, or a flow that can be one, that fails and is not disabled has a time at which Adobe disables it."""
    assert flow(*facts).disabled_by_adobe_at == expected


@given(fact_lists())
def test_every_state_has_a_json(facts: list[RecordedFact]) -> None:
    """Whatever was recorded, the JSON of runs and flows has all fields and only values that JSON has."""
    fold = folded(facts, T0)
    for summary in fold.current_flows().flows.values():
        found = as_json(view_of_flow(summary, LINKS))
        assert isinstance(found, dict)
        assert list(json.loads(json.dumps(found, allow_nan=False))) == FLOW_FIELDS
    for each in facts:
        if isinstance(each.fact, FlowRun):
            assert list(json.loads(json.dumps(shown(each.fact), allow_nan=False))) == RUN_FIELDS


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (T0 + 7, "2026-09-21T14:13:20.007Z"),
        (1 << 53, None),
    ],
)
def test_times_are_rfc_3339_in_utc(milliseconds: int, expected: str | None) -> None:
    """A time has milliseconds and ends in Z. One that no calendar has is null."""
    assert rfc3339(Moment(milliseconds)) == expected


def test_views_are_frozen() -> None:
    """A view can't be changed by who shows it."""
    view = view_of_run(row(), lambda *_: run(), LINKS)
    assert isinstance(view, RunView)
    with pytest.raises(AttributeError):
        view.status = "success"  # type: ignore[misc]
