"""Which flows are on /metrics: TTL, slots, sandboxes, alert names, and forgotten flows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from exporter.metrics.flows import Limits
from exporter.metrics.fold import Fold
from exporter.model import (
    AlertState,
    Fact,
    Flow,
    FlowAlert,
    FlowRun,
    Forgotten,
    RunError,
    Source,
    Status,
    Unsupported,
)
from tests.metrics.facts import DAY, HOUR, MINUTE, SECOND, T0, exposition, limits, recorded, run, value

HOLD = 150 * SECOND
TTL = 45 * DAY


def failed(run_id: str, flow_id: str = "f1", sandbox: str = "prod", **fields: Any) -> FlowRun:
    """A run that failed."""
    return run(run_id, Status.FAILED, flow_id=flow_id, sandbox=sandbox, **fields)


def fired(alert_id: str, flow_id: str = "f1", name: str = "run_delay") -> FlowAlert:
    """A FIRING of one of Adobe's alerts."""
    return FlowAlert(alert_id=alert_id, name=name, state=AlertState.FIRING, sandbox="prod", flow_id=flow_id)


def after(*entries: tuple[int, Fact], near: Limits | None = None, now: int | None = None) -> Fold:
    """The fold of facts recorded at these times."""
    fold = Fold(near or limits())
    for position, (at, fact) in enumerate(entries, start=1):
        fold.apply(recorded(fact, position, at))
    fold.advance(entries[-1][0] if now is None else now)
    return fold


def flows_of(fold: Fold, metric: str = "aep_flow_runs_total") -> set[str]:
    """The flows that have series of a metric."""
    lines = [line for line in exposition(fold).splitlines() if line.startswith(metric + "{")]
    return {line.partition('flow_id="')[2].partition('"')[0] for line in lines}


@pytest.mark.parametrize(
    ("silence", "is_shown"), [(0, True), (TTL, True), (TTL + 1, False), (10 * TTL, False)], ids=str
)
def test_a_silent_flow_expires(silence: int, is_shown: bool) -> None:
    """All series of a flow are shown until its TTL has passed, to the millisecond, and none after that."""
    fold = after((T0, failed("r1")), (T0, fired("a1")), now=T0 + silence)
    assert (fold.flows, 'flow_id="f1"' in exposition(fold)) == (int(is_shown), is_shown)
    assert "aep_notifications_total" in exposition(fold)


@pytest.mark.parametrize("fact", [run("r2", Status.QUEUED), fired("a1"), Flow(flow_id="f1", sandbox="prod")], ids=repr)
def test_whatever_is_recorded_for_a_flow_keeps_it(fact: Fact) -> None:
    """A run in any state, an alert, or data of the Flow Service begins the TTL anew."""
    fold = after((T0, failed("r1")), (T0 + TTL, fact), now=T0 + 2 * TTL)
    assert flows_of(fold) == {"f1"}


def test_an_alert_that_names_no_flow_expires_too() -> None:
    """Alerts without a flow expire after the same TTL."""
    fold = after((T0, fired("a1", flow_id="")), now=T0 + TTL)
    assert value(fold, "aep_alert_firing", alert="run_delay") == 0
    fold.advance(T0 + TTL + 1)
    assert "aep_alert_firing" not in exposition(fold)


def test_a_flow_of_long_intervals_stays_for_three() -> None:
    """A flow that runs every 20 days expires after 60 days of silence."""
    entries = [(T0 + number * 20 * DAY, failed(f"r{number}")) for number in range(5)]
    last = entries[-1][0]
    assert flows_of(after(*entries, now=last + 60 * DAY)) == {"f1"}
    assert flows_of(after(*entries, now=last + 60 * DAY + 1)) == set()


def test_a_flow_whose_interval_became_short_expires_by_the_short_one() -> None:
    """When runs come daily again, the old long interval no longer delays the expiry."""
    entries = [(T0 + number * 20 * DAY, failed(f"r{number}")) for number in range(5)]
    last = entries[-1][0]
    fold = after(*entries, now=last + 50 * DAY)
    at = last + 50 * DAY
    for number in range(40):
        at += DAY
        fold.apply(recorded(failed(f"s{number}"), 100 + number, at))
    fold.advance(at + TTL)
    assert flows_of(fold) == {"f1"}
    fold.advance(at + TTL + 1)
    assert flows_of(fold) == set()


def test_a_flow_that_returns_begins_anew() -> None:
    """After its TTL a flow starts again at 0, with a hold and without its earlier failures."""
    near = limits(hold=HOLD)
    back = T0 + TTL + 1
    fold = after((T0, failed("r1")), (T0, failed("r2")), (back, failed("r3")), near=near)
    assert value(fold, "aep_flow_runs_total", status="failed") == 0
    assert value(fold, "aep_flow_consecutive_failures") == 1
    fold.advance(back + HOLD)
    assert value(fold, "aep_flow_runs_total", status="failed") == 1


def test_a_clock_that_goes_back_drops_no_flow() -> None:
    """A flow that a wrong clock had hidden is shown again, with its counters as they were."""
    fold = after((T0, failed("r1")), now=T0 + TTL + HOUR)
    assert flows_of(fold) == set()
    fold.apply(recorded(failed("r2"), 2, T0 + DAY))
    fold.advance(T0 + DAY)
    assert value(fold, "aep_flow_runs_total", status="failed") == 2


def test_beyond_the_limit_flows_are_counted_together() -> None:
    """Flows that find no slot are counted as `other`, with counters alone, and their number is reported."""
    codes = (RunError(code="CONNECTOR-2001-500"),)
    entries: list[tuple[int, Fact]] = [
        (T0, failed("r1", "f1")),
        *((T0, failed(f"r{n}", f"f{n}", errors=codes, started_at=T0 - 9, completed_at=T0)) for n in (2, 3)),
        (T0, failed("r4", "f2")),
        (T0, fired("a1", "f3")),
    ]
    fold = after(*entries, near=limits(max_flows=1))
    assert value(fold, "aep_flow_runs_total", flow_id="other", status="failed") == 3
    assert value(fold, "aep_flow_runs_total", flow_id="other", status="success") == 0
    assert value(fold, "aep_flow_run_errors_total", flow_id="other") == 2
    assert {line.split("{")[0] for line in exposition(fold).splitlines() if 'flow_id="other"' in line} == {
        "aep_flow_runs_total",
        "aep_flow_run_errors_total",
    }
    assert (fold.flows, fold.overflowed) == (1, 2)


def test_flows_counted_together_are_held() -> None:
    """The first failure that is counted as `other` is shown as a step from 0."""
    fold = after((T0, failed("r1", "f1")), (T0, failed("r2", "f2")), near=limits(hold=HOLD, max_flows=1))
    assert value(fold, "aep_flow_runs_total", flow_id="other", status="failed") == 0
    fold.advance(T0 + HOLD)
    assert value(fold, "aep_flow_runs_total", flow_id="other", status="failed") == 1


def test_a_slot_is_free_when_its_flow_has_expired() -> None:
    """The next flow that needs a slot gets the one of an expired flow."""
    near = limits(max_flows=1)
    fold = after((T0, failed("r1", "f1")), (T0 + 1, failed("r2", "f2")), (T0 + TTL + 1, failed("r3", "f2")), near=near)
    assert flows_of(fold) == {"f2", "other"}
    assert value(fold, "aep_flow_runs_total", flow_id="f2", status="failed") == 1
    assert (fold.flows, fold.overflowed) == (1, 1)


def test_one_flow_in_two_sandboxes_takes_two_slots() -> None:
    """The limit counts pairs of flow and sandbox."""
    fold = after((T0, failed("r1", "f", "a")), (T0, failed("r2", "f", "b")), near=limits(max_flows=1))
    assert value(fold, "aep_flow_runs_total", flow_id="f", sandbox="a", status="failed") == 1
    assert value(fold, "aep_flow_runs_total", flow_id="other", sandbox="b", status="failed") == 1


def test_a_run_without_a_slot_is_not_in_progress() -> None:
    """The start of a run of a flow without a slot is not in progress anywhere."""
    fold = after((T0, failed("r1", "f1")), (T0, run("r2", Status.IN_PROGRESS, flow_id="f2")), near=limits(max_flows=1))
    assert flows_of(fold, "aep_flow_runs_in_progress") == {"f1"}


def sandboxes_of(fold: Fold) -> set[str]:
    """The sandboxes whose notifications are counted."""
    lines = [line for line in exposition(fold).splitlines() if line.startswith("aep_notifications_total{")]
    return {line.partition('sandbox="')[2].partition('"')[0] for line in lines}


@pytest.mark.parametrize(
    ("later", "facts", "expected"),
    [
        pytest.param(0, [Unsupported(sandbox="c")], {"a", "b", "other"}, id="no-place"),
        pytest.param(TTL, [Unsupported(sandbox="c")], {"a", "b", "other"}, id="not-yet"),
        pytest.param(TTL + 1, [Unsupported(sandbox="c")], {"c"}, id="silent-ones-are-dropped"),
        pytest.param(TTL + 1, [Unsupported(sandbox="a")], {"a", "b"}, id="no-place-is-needed"),
        pytest.param(TTL + 1, [failed("r", "f", "a"), Unsupported(sandbox="c")], {"a", "c"}, id="one-is-not-silent"),
    ],
)
def test_sandboxes_are_bounded(
    later: int, facts: Sequence[Fact], expected: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit a sandbox is `other`, unless a silent one without flows can be dropped for it."""
    monkeypatch.setattr("exporter.metrics.flows.MAX_SANDBOXES", 2)
    entries = [(T0, Unsupported(sandbox="a")), (T0, Unsupported(sandbox="b"))]
    fold = after(*entries, *((T0 + later, fact) for fact in facts))
    assert sandboxes_of(fold) == expected


def test_a_sandbox_with_a_flow_left_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox is not dropped while it has a flow, however long that flow's intervals are."""
    monkeypatch.setattr("exporter.metrics.flows.MAX_SANDBOXES", 1)
    entries = [(T0 + number * 20 * DAY, failed(f"r{number}", "f", "a")) for number in range(5)]
    fold = after(*entries, (entries[-1][0] + 50 * DAY, Unsupported(sandbox="b")))
    assert sandboxes_of(fold) == {"a", "other"}


def test_flows_beyond_the_limit_of_sandboxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flows of a sandbox beyond the limit are shown one by one in the sandbox `other`."""
    monkeypatch.setattr("exporter.metrics.flows.MAX_SANDBOXES", 1)
    fold = after((T0, failed("r1", "f1", "a")), (T0, failed("r2", "f2", "b")))
    assert value(fold, "aep_flow_consecutive_failures", flow_id="f2", sandbox="other") == 1


def test_alert_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the name of an alert is `other`, unless another flow already has this name."""
    monkeypatch.setattr("exporter.metrics.alerts.MAX_NAMES", 2)
    entries = [
        (T0, fired(f"a{n}", flow, name))
        for n, (flow, name) in enumerate([("f", "x"), ("f", "y"), ("f", "z"), ("g", "x")])
    ]
    fold = after(*entries)
    shown = {(flow, name): value(fold, "aep_alert_firing", flow_id=flow, alert=name) for flow in "fg" for name in "xyz"}
    assert [key for key, firing in shown.items() if firing] == [("f", "x"), ("f", "y"), ("g", "x")]
    assert value(fold, "aep_alert_firing", flow_id="f", alert="other") == 1


def test_an_expired_flow_frees_its_codes_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Error codes and alert names of an expired flow no longer count against the limits."""
    monkeypatch.setattr("exporter.metrics.alerts.MAX_NAMES", 1)
    monkeypatch.setattr("exporter.metrics.code_labels.MAX_CODES", 1)
    first, second = (RunError(code="CONNECTOR-2001-500"),), (RunError(code="INGEST-1205-400"),)
    entries: list[tuple[int, Fact]] = [(T0, failed("r1", "f1", errors=first)), (T0, fired("a1", "f1", "x"))]
    later: list[tuple[int, Fact]] = [(0, failed("r2", "f2", errors=second)), (0, fired("a2", "f2", "y"))]
    crowded = after(*entries, *((T0 + at, fact) for at, fact in later))
    assert value(crowded, "aep_flow_run_errors_total", flow_id="f2", error_code="other") == 1
    assert value(crowded, "aep_alert_firing", flow_id="f2", alert="other") == 1
    roomy = after(*entries, *((T0 + TTL + 1 + at, fact) for at, fact in later))
    assert value(roomy, "aep_flow_run_errors_total", flow_id="f2", error_code="INGEST-1205-400") == 1
    assert value(roomy, "aep_alert_firing", flow_id="f2", alert="y") == 1


def test_a_forgotten_flow_is_dropped_at_once() -> None:
    """A forgotten flow is dropped with all its series in every sandbox, and other flows do not change."""
    entries: list[tuple[int, Fact]] = [
        (T0, failed("r1", "f1", "a")),
        (T0, run("r2", Status.IN_PROGRESS, flow_id="f1", sandbox="b")),
        (T0, fired("a1", "f1")),
        (T0, failed("r3", "f2", "a")),
        (T0 + MINUTE, Forgotten(flow_id="f1")),
    ]
    fold = after(*entries)
    assert 'flow_id="f1"' not in exposition(fold)
    assert value(fold, "aep_flow_consecutive_failures", flow_id="f2") == 1
    assert fold.sandboxes_of("f1") == []
    assert fold.sandboxes_of("f2") == ["a"]


def test_forgetting_is_no_notification() -> None:
    """Forgetting a flow changes neither the counts nor the time of notifications."""
    fold = after((T0, failed("r1")), (T0 + HOUR, Forgotten(flow_id="f1")))
    assert value(fold, "aep_notifications_total", sandbox="prod") == 1
    assert value(fold, "aep_last_notification_timestamp_seconds", source="webhook") == T0 / 1000
    assert value(fold, "aep_last_notification_timestamp_seconds", source="operator") is None


def test_a_forgotten_flow_that_runs_again_begins_anew() -> None:
    """The next run of a forgotten flow starts at 0 with a hold, even if that run began before."""
    fold = after(
        (T0, failed("r1")),
        (T0, run("r2", Status.IN_PROGRESS)),
        (T0 + HOUR, Forgotten(flow_id="f1")),
        (T0 + 2 * HOUR, failed("r2")),
        near=limits(hold=HOLD),
    )
    assert value(fold, "aep_flow_runs_total", status="failed") == 0
    assert value(fold, "aep_flow_consecutive_failures") == 1
    assert value(fold, "aep_flow_runs_in_progress") == 0
    fold.advance(T0 + 2 * HOUR + HOLD)
    assert value(fold, "aep_flow_runs_total", status="failed") == 1


def test_flows_without_a_slot_are_distinguished_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow without a slot counts again when it was deleted from the limited list of such flows."""
    monkeypatch.setattr("exporter.metrics.flows._MAX_OVERFLOWED", 2)
    names = ["own", "a", "b", "a", "c", "a"]
    entries = [(T0, failed(f"r{number}", name)) for number, name in enumerate(names)]
    assert after(*entries, near=limits(max_flows=1)).overflowed == 4


@pytest.mark.parametrize(
    ("source", "age", "expected"),
    [
        pytest.param(Source.WEBHOOK, 40 * DAY, 1, id="a-delivery-counts-however-old"),
        pytest.param(Source.REPLAY, HOUR, 1, id="a-file-of-today"),
        pytest.param(Source.REPLAY, DAY, 0, id="a-file-of-yesterday"),
        pytest.param(Source.REPLAY, 9 * DAY, None, id="a-file-of-long-ago"),
    ],
)
def test_a_replayed_alert_ends_a_day_after_it_fired(source: Source, age: int, expected: int | None) -> None:
    """A replayed FIRING of yesterday is over, and one of more than eight days ago changes nothing."""
    fold = Fold(limits())
    fold.apply(recorded(replace(fired("a1"), changed_at=T0 - age), 1, T0, source=source))
    fold.advance(T0)
    assert value(fold, "aep_alert_firing", alert="run_delay") == expected
