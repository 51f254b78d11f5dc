from typing import Any

import pytest

from exporter.metrics.code_labels import MAX_CODES, MAX_CODES_PER_FLOW
from exporter.metrics.fold import Fold
from exporter.model import (
    Activity,
    AlertState,
    Fact,
    Flow,
    FlowAlert,
    FlowKind,
    FlowRun,
    RunError,
    Source,
    Status,
    Unreadable,
    Unsupported,
)
from tests.metrics.facts import DAY, HOUR, MINUTE, SECOND, T0, exposition, folded, recorded, run, samples, value

IN_PROGRESS, SUCCESS, FAILED = Status.IN_PROGRESS, Status.SUCCESS, Status.FAILED
HOLD = 150 * SECOND


def ended(run_id: str, status: Status, at: int, **fields: Any) -> FlowRun:
    """A run that completed at this time."""
    return run(run_id, status, completed_at=at, **fields)


def after(*entries: tuple[int, Fact], now: int | None = None, hold: int = 0) -> Fold:
    """The fold of facts recorded at these times."""
    facts = [recorded(fact, position, at) for position, (at, fact) in enumerate(entries, start=1)]
    return folded(facts, now if now is not None else entries[-1][0], hold)


@pytest.mark.parametrize("status", list(Status))
def test_a_flow_is_there_from_its_first_run(status: Status) -> None:
    """A flow's first run, in any state, creates its outcomes at 0, so that the first failure is an increase."""
    fold = after((T0, run("r1", status)))
    shown = {each.value: value(fold, "aep_flow_runs_total", status=each.value) for each in Status}
    for precreated in (Status.SUCCESS, Status.PARTIAL_SUCCESS, Status.FAILED):
        assert shown[precreated.value] == (1 if precreated is status else 0)
    assert shown["in_progress"] is None
    assert shown["queued"] is None


def test_a_run_changes_every_metric_it_reports() -> None:
    """One run changes runs, errors, records, bytes, files, durations and activities by what it reported."""
    fold = after(
        (
            T0,
            run(
                "r1",
                Status.PARTIAL_SUCCESS,
                started_at=T0 - 27_225,
                completed_at=T0,
                records=(("input", 14), ("output", 0)),
                size=(("input", 2048),),
                files=(("output", 3),),
                errors=(RunError(code="INGEST-1205-400"), RunError(code="INGEST-1205-400", message="again")),
                activities=(
                    Activity(name="copy", started_at=T0 - 20_000, completed_at=T0 - 5_500),
                    Activity(name="promotion", completed_at=T0),
                ),
            ),
        )
    )
    expected = {
        ("aep_flow_runs_total", "status", "partial_success"): 1,
        ("aep_flow_run_errors_total", "error_code", "INGEST-1205-400"): 1,
        ("aep_flow_records_total", "result", "input"): 14,
        ("aep_flow_records_total", "result", "output"): 0,
        ("aep_flow_records_total", "result", "failed"): None,
        ("aep_flow_bytes_total", "result", "input"): 2048,
        ("aep_flow_bytes_total", "result", "output"): None,
        ("aep_flow_files_total", "result", "output"): 3,
        ("aep_flow_run_duration_seconds_sum", "status", "partial_success"): 27.225,
        ("aep_flow_run_input_records_sum", "sandbox", "prod"): 14,
        ("aep_flow_run_input_bytes_count", "sandbox", "prod"): 1,
        ("aep_flow_activity_duration_seconds_sum", "activity", "copy"): 14.5,
        ("aep_flow_activity_duration_seconds_count", "activity", "promotion"): None,
        ("aep_flow_last_run_records", "result", "input"): 14,
        ("aep_flow_last_run_duration_seconds", "sandbox", "prod"): 27.225,
        ("aep_flow_last_run_timestamp_seconds", "status", "partial_success"): T0 / 1000,
        ("aep_notification_delay_seconds_count", "sandbox", "prod"): 1,
    }
    assert {key: value(fold, key[0], **{key[1]: key[2]}) for key in expected} == expected


def test_an_unknown_status_counts_under_its_label_alone() -> None:
    """An unknown outcome moves the series with its status, and another outcome of the run then counts in full."""
    fields: dict[str, Any] = {
        "records": (("input", 5),),
        "size": (("input", 7),),
        "errors": (RunError(code="133"),),
        "activities": (Activity(name="copy", started_at=T0 - 5, completed_at=T0),),
    }
    unknown = ended("r1", Status.UNKNOWN, T0, **fields)
    alone = after((T0, unknown))
    assert value(alone, "aep_flow_runs_total", status="unknown") == 1
    assert value(alone, "aep_flow_run_errors_total", status="unknown", error_code="133") == 1
    for name in ("aep_flow_records_total", "aep_flow_bytes_total", "aep_flow_activity_duration_seconds_count"):
        assert value(alone, name) is None
    both = after((T0, unknown), (T0, ended("r1", FAILED, T0, **fields)))
    assert value(both, "aep_flow_runs_total", status="unknown") == 1
    assert value(both, "aep_flow_runs_total", status="failed") == 1
    assert value(both, "aep_flow_records_total", result="input") == 5
    assert value(both, "aep_notification_delay_seconds_count") == 1


@pytest.mark.parametrize("status", [FAILED, Status.CANCELLED])
def test_input_is_observed_of_successful_runs_only(status: Status) -> None:
    """The input histograms observe runs that succeeded, wholly or partly, and no others."""
    fold = after((T0, ended("r1", status, T0, records=(("input", 5),), size=(("input", 5),))))
    assert value(fold, "aep_flow_records_total", result="input") == 5
    assert value(fold, "aep_flow_run_input_records_count") is None
    assert value(fold, "aep_flow_run_input_bytes_count") is None


@pytest.mark.parametrize("status", [IN_PROGRESS, Status.QUEUED])
def test_a_run_that_has_not_ended_counts_nothing(status: Status) -> None:
    """A run in progress or queued counts as a notification, and changes no other counter."""
    fold = after((T0, run("r1", status, records=(("input", 5),), errors=(RunError(code="133"),))))
    names = {name for name, _ in samples(exposition(fold))}
    assert not names & {"aep_flow_records_total", "aep_flow_run_errors_total", "aep_flow_last_run_timestamp_seconds"}
    assert value(fold, "aep_notifications_total") == 1


def test_only_the_first_outcome_counts() -> None:
    """A correction changes gauges and no counter."""
    fold = folded(
        [
            recorded(ended("r1", FAILED, T0, updated_at=T0), 1, T0),
            recorded(ended("r1", SUCCESS, T0, updated_at=T0 + 5), 2, T0, counts=False),
        ],
        T0,
    )
    assert value(fold, "aep_flow_runs_total", status="failed") == 1
    assert value(fold, "aep_flow_runs_total", status="success") == 0
    assert value(fold, "aep_flow_consecutive_failures") == 0


HELD = [
    pytest.param(T0, HOLD, [(0, 0), (HOLD - 1, 0), (HOLD, 1)], id="a new run"),
    pytest.param(T0, 0, [(0, 1)], id="hold turned off"),
    pytest.param(T0 - 23 * HOUR, HOLD, [(0, 0), (HOLD, 1)], id="a run of today"),
    pytest.param(T0 - 25 * HOUR, HOLD, [(0, 1)], id="a backdated run"),
]


@pytest.mark.parametrize(("completed_at", "hold", "expected"), HELD)
def test_a_new_series_shows_zero_first(completed_at: int, hold: int, expected: list[tuple[int, int]]) -> None:
    """A counter, histogram or summary is 0 until its creation plus the hold, unless a backdated run created it."""
    fold = after(
        (
            T0,
            ended(
                "r1",
                FAILED,
                completed_at,
                started_at=completed_at - 5 * SECOND,
                errors=(RunError(code="133"),),
                activities=(Activity(name="copy", started_at=completed_at - SECOND, completed_at=completed_at),),
            ),
        ),
        hold=hold,
    )
    for at, shown in expected:
        fold.advance(T0 + at)
        assert value(fold, "aep_flow_runs_total", status="failed") == shown
        assert value(fold, "aep_flow_run_errors_total") == shown
        assert value(fold, "aep_flow_run_duration_seconds_bucket", le="15.0") == shown
        assert value(fold, "aep_flow_run_duration_seconds_sum") == 5 * shown
        assert value(fold, "aep_flow_activity_duration_seconds_sum") == shown
        assert value(fold, "aep_flow_consecutive_failures") == 1


def test_a_held_series_of_an_old_flow_moves_alone() -> None:
    """A series older than the hold changes at once, while a series created later is still held."""
    fold = after(
        (T0, ended("r1", SUCCESS, T0)),
        (T0 + HOUR, ended("r2", FAILED, T0 + HOUR, errors=(RunError(code="133"),))),
        hold=HOLD,
    )
    assert value(fold, "aep_flow_runs_total", status="failed") == 1
    assert value(fold, "aep_flow_run_errors_total") == 0


def test_a_backdated_run_does_not_hide_the_first_failure() -> None:
    """A flow whose first run is backdated and that fails now still shows the step from 0 that increase() needs."""
    fold = after((T0, ended("r1", SUCCESS, T0 - 26 * HOUR)), (T0 + SECOND, ended("r2", FAILED, T0 + SECOND)), hold=HOLD)
    assert value(fold, "aep_flow_runs_total", status="success") == 1
    assert value(fold, "aep_flow_runs_total", status="failed") == 0
    assert value(fold, "aep_flow_consecutive_failures") == 1
    fold.advance(T0 + HOLD)
    assert value(fold, "aep_flow_runs_total", status="failed") == 1


def test_now_never_falls() -> None:
    """A clock that goes back does not hold a series again."""
    fold = after((T0, ended("r1", FAILED, T0)), now=T0 + HOLD, hold=HOLD)
    fold.advance(T0)
    assert value(fold, "aep_flow_runs_total", status="failed") == 1
    assert fold.now == T0 + HOLD


@pytest.mark.parametrize(
    ("entries", "later", "running", "oldest"),
    [
        pytest.param([(0, IN_PROGRESS)], 0, 1, -60, id="a start"),
        pytest.param([(0, IN_PROGRESS), (5, SUCCESS)], 5, 0, None, id="a start and its end"),
        pytest.param([(5, SUCCESS), (6, IN_PROGRESS)], 6, 0, None, id="a start that comes late"),
        pytest.param([(0, IN_PROGRESS)], 7 * DAY - 1, 1, -60, id="still after almost seven days"),
        pytest.param([(0, IN_PROGRESS)], 7 * DAY, 0, None, id="no longer after seven days"),
        pytest.param([(0, Status.QUEUED)], 0, 0, None, id="queued is not in progress"),
    ],
)
def test_runs_in_progress(entries: list[tuple[int, Status]], later: int, running: int, oldest: int | None) -> None:
    """A run is in progress from its start until its end or for seven days, in whichever order these are recorded."""
    fold = after(*((T0 + at, run("r1", status, started_at=T0 - 60)) for at, status in entries), now=T0 + later)
    assert value(fold, "aep_flow_runs_in_progress") == running
    expected = None if oldest is None else (T0 + oldest) / 1000
    assert value(fold, "aep_flow_oldest_in_progress_start_timestamp_seconds") == expected


def test_a_replayed_start_is_never_in_progress() -> None:
    """The start of a run in a replayed file is not in progress now."""
    fold = folded([recorded(run("r1", IN_PROGRESS), 1, T0, source=Source.REPLAY)], T0)
    assert value(fold, "aep_flow_runs_in_progress") == 0


@pytest.mark.parametrize(
    ("source", "age", "counted"),
    [
        (Source.REPLAY, 7 * DAY, 1),
        (Source.REPLAY, 9 * DAY, None),
        (Source.WEBHOOK, 9 * DAY, 1),
        (Source.JOURNAL, 9 * DAY, 1),
    ],
)
def test_old_runs_from_files_change_no_series(source: Source, age: int, counted: int | None) -> None:
    """A replayed run that ended more than eight days before changes nothing, and a posted one always counts."""
    fold = folded([recorded(ended("r1", FAILED, T0 - age), 1, T0, source=source)], T0)
    assert value(fold, "aep_flow_runs_total", status="failed") == counted
    assert value(fold, "aep_notifications_total") == counted


def test_delay_is_observed_of_what_adobe_delivers() -> None:
    """The delay of a notification is observed for webhook and journal, never below 0, and not for files."""
    fold = folded(
        [
            recorded(ended("r1", SUCCESS, T0 - 90 * SECOND), 1, T0),
            recorded(ended("r2", SUCCESS, T0 + 5 * SECOND), 2, T0, source=Source.JOURNAL),
            recorded(ended("r3", SUCCESS, T0 - HOUR), 3, T0, source=Source.REPLAY),
            recorded(run("r4", SUCCESS, updated_at=T0 - HOUR), 4, T0),
        ],
        T0,
    )
    assert value(fold, "aep_notification_delay_seconds_count") == 2
    assert value(fold, "aep_notification_delay_seconds_sum") == 90


FIRING, INACTIVE = AlertState.FIRING, AlertState.INACTIVE


def alert(state: AlertState, alert_id: str = "a1", **fields: Any) -> FlowAlert:
    """One of Adobe's alerts on flow f1."""
    given: dict[str, Any] = {"name": "flow_run_delay", "sandbox": "prod", "flow_id": "f1", "run_id": "r1", **fields}
    return FlowAlert(alert_id=alert_id, state=state, **given)


@pytest.mark.parametrize(
    ("entries", "later", "firing"),
    [
        pytest.param([(0, alert(FIRING))], 0, 1, id="fires"),
        pytest.param([(0, alert(INACTIVE))], 0, 0, id="inactive"),
        pytest.param([(0, alert(FIRING)), (1, alert(INACTIVE))], 1, 0, id="fires and ends"),
        pytest.param([(0, alert(INACTIVE)), (1, alert(FIRING))], 1, 0, id="in the other order"),
        pytest.param([(0, alert(INACTIVE)), (1, alert(FIRING, "a2"))], 1, 1, id="another id of the same name"),
        pytest.param([(0, alert(FIRING))], DAY - 1, 1, id="almost a day later"),
        pytest.param([(0, alert(FIRING))], DAY, 0, id="a day later"),
        pytest.param([(0, alert(FIRING)), (HOUR, alert(FIRING))], DAY, 1, id="a day after its first firing"),
        pytest.param([(0, alert(FIRING)), (1, ended("r1", SUCCESS, T0))], 1, 0, id="its run ends"),
        pytest.param([(0, alert(FIRING)), (1, ended("r2", SUCCESS, T0))], 1, 1, id="another run ends"),
        pytest.param([(0, ended("r1", SUCCESS, T0)), (1, alert(FIRING))], 1, 0, id="its run had ended"),
        pytest.param(
            [(0, ended("r1", SUCCESS, T0)), (1, alert(FIRING, changed_at=T0 - 5))],
            1,
            0,
            id="recorded after its run ended",
        ),
        pytest.param(
            [(0, ended("r1", SUCCESS, T0)), (1, alert(FIRING, changed_at=T0 + 5))], 1, 1, id="about a run's result"
        ),
        pytest.param([(0, alert(FIRING)), (1, alert(INACTIVE, flow_id=""))], 1, 0, id="ends without naming the flow"),
        pytest.param(
            [(0, alert(FIRING, changed_at=T0 + 5)), (1, ended("r1", SUCCESS, T0))],
            1,
            1,
            id="about a result, recorded first",
        ),
        pytest.param(
            [(0, alert(FIRING)), (1, alert(FIRING, run_id="r2")), (2, ended("r1", SUCCESS, T0))], 2, 1, id="moves on"
        ),
        pytest.param(
            [(0, alert(FIRING)), (1, alert(FIRING, run_id="r2")), (2, ended("r2", SUCCESS, T0))], 2, 0, id="moved on"
        ),
    ],
)
def test_adobes_alerts(entries: list[tuple[int, Fact]], later: int, firing: int) -> None:
    """An alert fires while any of its ids does, until INACTIVE, a day later, or the end of its run, in any order."""
    fold = after(*((T0 + at, fact) for at, fact in entries), now=T0 + later)
    assert value(fold, "aep_alert_firing", alert="flow_run_delay", flow_id="f1") == firing


def test_a_free_text_alert_name_is_other() -> None:
    """The name of an alert becomes a label value only if it is lower-case letters, digits and underscores."""
    fold = after((T0, alert(FIRING, name="Flow «run» delay")))
    assert value(fold, "aep_alert_firing", alert="other") == 1


@pytest.mark.parametrize(
    ("code", "label"),
    [
        (None, "none"),
        ("sources_flow_run_failed", "sources_flow_run_failed"),
        ("ing_load_failure", "ing_load_failure"),
        ("something_new", "other"),
    ],
)
@pytest.mark.parametrize("fact", [run(), alert(FIRING), Unsupported(sandbox="prod"), Unreadable()])
def test_notifications_by_event_code(fact: Fact, code: str | None, label: str) -> None:
    """Every new notification counts by Adobe's event code: a documented one, none, or other."""
    fold = folded([recorded(fact, 1, T0, event_code=code)], T0)
    sandbox = "" if isinstance(fact, Unreadable) else "prod"
    shown = {key: number for key, number in samples(exposition(fold)).items() if key[0] == "aep_notifications_total"}
    assert shown == {("aep_notifications_total", frozenset({("sandbox", sandbox), ("event_code", label)})): 1}


def test_error_codes_are_bounded_per_flow() -> None:
    """Codes beyond the limit per flow count as other, once per run."""
    codes = [RunError(code=f"CODE-{number}-500") for number in range(MAX_CODES_PER_FLOW + 5)]
    fold = after((T0, run("r1", FAILED, errors=tuple(codes))), (T0, run("r2", FAILED, errors=tuple(codes[-2:]))))
    shown = {key: number for key, number in samples(exposition(fold)).items() if key[0] == "aep_flow_run_errors_total"}
    assert len(shown) == MAX_CODES_PER_FLOW + 1
    assert value(fold, "aep_flow_run_errors_total", error_code="other") == 2
    assert value(fold, "aep_flow_run_errors_total", error_code="CODE-0-500") == 1


def test_error_codes_are_bounded_in_all() -> None:
    """Codes beyond the limit of all flows count as other, unless another flow already has the code."""
    per_flow = 10
    facts: list[tuple[int, Fact]] = [
        (
            T0,
            run(
                f"r{flow}",
                FAILED,
                flow_id=f"f{flow}",
                errors=tuple(RunError(code=f"CODE-{flow * per_flow + number}-500") for number in range(per_flow)),
            ),
        )
        for flow in range(MAX_CODES // per_flow + 1)
    ]
    fold = after(*facts, (T0, run("last", FAILED, flow_id="last", errors=(RunError(code="CODE-0-500"),))))
    codes = {
        dict(labels)["error_code"] for name, labels in samples(exposition(fold)) if name == "aep_flow_run_errors_total"
    }
    assert len(codes) == MAX_CODES + 1
    assert "other" in codes
    assert value(fold, "aep_flow_run_errors_total", flow_id="last", error_code="CODE-0-500") == 1


@pytest.mark.parametrize(
    ("names", "name"),
    [
        pytest.param([(T0, "old"), (T0 + HOUR, "new")], "new", id="a rename"),
        pytest.param([(T0 + HOUR, "new"), (T0, "old")], "new", id="a late notification of an older run"),
        pytest.param([(T0, "name"), (T0 + HOUR, "")], "name", id="a run without a name"),
    ],
)
def test_one_info_series_per_flow(names: list[tuple[int, str]], name: str) -> None:
    """A flow has one info series, with the latest name that was not empty."""
    fold = after(*((T0, ended(f"r{at}", SUCCESS, at, flow_name=given, org="o")) for at, given in names))
    assert value(fold, "aep_flow_info") == 1
    assert value(fold, "aep_flow_info", flow_name=name, kind="unknown", org="o") == 1


def test_a_query_is_named_by_its_id() -> None:
    """The name of a query can be its SQL, so its label is the flow id."""
    fold = after((T0, run(flow_name="SELECT secret FROM people", kind=FlowKind.QUERY)))
    assert value(fold, "aep_flow_info", flow_name="f1", kind="query") == 1
    assert "SELECT" not in exposition(fold)


@pytest.mark.parametrize(
    "later",
    [run("r2", IN_PROGRESS, flow_name="SELECT a FROM b"), run("r2", FAILED, flow_name="SELECT a FROM b")],
    ids=["a start", "a failure without activities"],
)
def test_once_a_query_always_a_query(later: FlowRun) -> None:
    """The SQL of a flow that was once a query stays out of labels, even if a later run does not say that it is one."""
    fold = after((T0, run(flow_name="SELECT a FROM b", kind=FlowKind.QUERY)), (T0 + 1, later))
    assert "SELECT" not in exposition(fold)
    assert value(fold, "aep_flow_info", flow_name="f1", kind="query") == 1


def test_an_alert_about_two_runs_is_deleted_whole() -> None:
    """The end of a run does not fail after an alert about this run and another was deleted."""
    fold = after(
        (T0, alert(FIRING, run_id="r1")),
        (T0 + 1, alert(FIRING, run_id="r2")),
        (T0 + 9 * DAY, alert(FIRING, "a2", run_id="")),
        (T0 + 9 * DAY + 1, ended("r1", SUCCESS, T0 + 9 * DAY)),
    )
    assert value(fold, "aep_flow_runs_total", status="success") == 1
    assert value(fold, "aep_alert_firing") == 1


@pytest.mark.parametrize(("enabled", "shown"), [(True, 1), (False, 0), (None, None)])
def test_a_flow_of_the_flow_service(enabled: bool | None, shown: int | None) -> None:
    """The Flow Service gives a flow's name and whether it is enabled, and does not count as a notification."""
    fold = after((T0, Flow(flow_id="f1", sandbox="prod", flow_name="Orders", enabled=enabled)))
    assert value(fold, "aep_flow_enabled") == shown
    assert value(fold, "aep_flow_info", flow_name="Orders") == 1
    assert value(fold, "aep_flow_runs_total", status="failed") is None
    assert value(fold, "aep_notifications_total") is None


def test_the_last_notification_by_source() -> None:
    """The time of the latest new notification is shown for each source."""
    fold = folded([recorded(run("r1"), 1, T0), recorded(run("r2"), 2, T0 + MINUTE, source=Source.JOURNAL)], T0 + HOUR)
    assert value(fold, "aep_last_notification_timestamp_seconds", source="webhook") == T0 / 1000
    assert value(fold, "aep_last_notification_timestamp_seconds", source="journal") == T0 / 1000 + 60
