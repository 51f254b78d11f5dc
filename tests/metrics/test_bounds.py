"""What the fold remembers of ids that a sender can make up."""

import pytest

from exporter.metrics.checkpoint import decode, encode
from exporter.metrics.fold import Fold
from exporter.model import AlertState, FlowAlert, Source, Status
from tests.metrics.facts import MINUTE, SECOND, T0, exposition, limits, recorded, run, value


@pytest.fixture(autouse=True)
def low_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a few facts reach."""
    monkeypatch.setattr("exporter.metrics.alerts.MAX_ALERTS", 3)
    monkeypatch.setattr("exporter.metrics.runs_in_progress.MAX_STARTS", 3)
    monkeypatch.setattr("exporter.metrics.runs_in_progress.MAX_ENDED", 3)
    monkeypatch.setattr("exporter.metrics.gauge_changes._MIN_GAUGE_CHANGES", 10)


def firing(number: int, state: AlertState = AlertState.FIRING, name: str = "delay") -> FlowAlert:
    """An alert with an id of its own."""
    return FlowAlert(alert_id=f"a{number}", name=name, state=state, sandbox="prod", flow_id="f1")


def test_starts_are_bounded() -> None:
    """Beyond the bound the start that was recorded first is dropped, and the gauge shows the others."""
    fold = Fold(limits())
    for number in range(5):
        fold.apply(recorded(run(f"r{number}", Status.IN_PROGRESS, started_at=T0 + number), number, T0 + number))
    fold.advance(T0 + MINUTE)
    assert value(fold, "aep_flow_runs_in_progress") == 3
    assert value(fold, "aep_flow_oldest_in_progress_start_timestamp_seconds") == (T0 + 2) / 1000
    assert fold.dropped == {"alert": 0, "start": 2, "ended_run": 0}


def test_a_dropped_start_changes_its_flow_at_once() -> None:
    """The gauges of a flow whose start was dropped for another flow's start are computed again."""
    fold = Fold(limits())
    fold.apply(recorded(run("r0", Status.IN_PROGRESS, flow_id="f0"), 1, T0))
    fold.advance(T0)
    assert value(fold, "aep_flow_runs_in_progress", flow_id="f0") == 1
    for number in range(1, 4):
        fold.apply(recorded(run(f"r{number}", Status.IN_PROGRESS), number + 1, T0 + number))
    fold.advance(T0 + SECOND)
    assert value(fold, "aep_flow_runs_in_progress", flow_id="f0") == 0


def test_alert_ids_are_bounded() -> None:
    """Beyond the bound the alert id that was recorded first is dropped, as if it were over."""
    fold = Fold(limits())
    fold.apply(recorded(firing(0, name="old_one"), 1, T0))
    for number in range(1, 4):
        fold.advance(T0 + number)
        assert value(fold, "aep_alert_firing", alert="old_one") == 1
        fold.apply(recorded(firing(number), number + 1, T0 + number))
    fold.advance(T0 + MINUTE)
    assert value(fold, "aep_alert_firing", alert="old_one") == 0
    assert value(fold, "aep_alert_firing", alert="delay") == 1
    assert fold.dropped == {"alert": 1, "start": 0, "ended_run": 0}


def test_an_alert_that_is_told_again_is_not_the_oldest() -> None:
    """An alert id counts as recorded when its last notification was."""
    fold = Fold(limits())
    for position, number in enumerate((0, 1, 2, 0, 3), start=1):
        fold.apply(recorded(firing(number, name=f"name_{number}"), position, T0 + position))
    fold.advance(T0 + MINUTE)
    assert [value(fold, "aep_alert_firing", alert=f"name_{number}") for number in range(4)] == [1, 0, 1, 1]


def test_ended_runs_are_bounded() -> None:
    """Beyond the bound the run that ended first is dropped, so that its late start would be in progress."""
    fold = Fold(limits())
    for number in range(4):
        fold.apply(recorded(run(f"r{number}"), number, T0))
    fold.apply(recorded(run("r1", Status.IN_PROGRESS), 5, T0))
    fold.advance(T0)
    assert value(fold, "aep_flow_runs_in_progress") == 0
    fold.apply(recorded(run("r0", Status.IN_PROGRESS), 6, T0))
    fold.advance(T0)
    assert value(fold, "aep_flow_runs_in_progress") == 1
    assert fold.dropped == {"alert": 0, "start": 0, "ended_run": 1}


def test_what_was_dropped_survives_a_checkpoint() -> None:
    """A fold that is saved and restored at any fact drops the same and counts the same."""
    facts = [recorded(run(f"r{number}", Status.IN_PROGRESS), number, T0 + number) for number in range(6)]
    facts += [recorded(firing(number), 10 + number, T0 + 10 + number, source=Source.JOURNAL) for number in range(6)]
    facts += [recorded(run(f"e{number}"), 20 + number, T0 + 20 + number) for number in range(6)]
    whole = Fold(limits())
    for fact in facts:
        whole.apply(fact)
    whole.advance(T0 + MINUTE)
    for cut in range(len(facts)):
        fold = Fold(limits())
        for fact in facts[:cut]:
            fold.apply(fact)
        again = Fold(limits())
        again.restore(decode(encode(fold.state())))
        for fact in facts[cut:]:
            again.apply(fact)
        again.advance(T0 + MINUTE)
        assert (again.dropped, exposition(again)) == (whole.dropped, exposition(whole))
    assert whole.dropped == {"alert": 3, "start": 3, "ended_run": 3}


def test_a_checkpoint_of_more_than_the_bounds_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint from before the bounds is cut to them when it is restored."""
    monkeypatch.setattr("exporter.metrics.runs_in_progress.MAX_STARTS", 100)
    monkeypatch.setattr("exporter.metrics.alerts.MAX_ALERTS", 100)
    fold = Fold(limits())
    for number in range(5):
        fold.apply(recorded(run(f"r{number}", Status.IN_PROGRESS), number, T0 + number))
        fold.apply(recorded(firing(number), 10 + number, T0 + number))
    raw = encode(fold.state())
    monkeypatch.setattr("exporter.metrics.runs_in_progress.MAX_STARTS", 2)
    monkeypatch.setattr("exporter.metrics.alerts.MAX_ALERTS", 1)
    restored = Fold(limits())
    restored.restore(decode(raw))
    restored.advance(T0 + MINUTE)
    assert value(restored, "aep_flow_runs_in_progress") == 2
    assert restored.dropped == {"alert": 4, "start": 3, "ended_run": 0}


def test_changes_by_time_are_bounded() -> None:
    """An alert that fires again and again, and runs that start and end, leave no more behind than is remembered."""
    fold = Fold(limits())
    for number in range(500):
        fold.apply(recorded(firing(0), 3 * number, T0 + number))
        fold.apply(recorded(run(f"r{number}", Status.IN_PROGRESS), 3 * number + 1, T0 + number))
        fold.apply(recorded(run(f"r{number}"), 3 * number + 2, T0 + number))
    assert len(fold._gauge_changes) < 20
