"""What is counted and logged of events that are not understood."""

from collections.abc import Iterator

import pytest
import structlog

from exporter.metrics.telemetry import Telemetry
from exporter.model import NotUnderstood
from exporter.not_understood import NotUnderstoodReport
from exporter.reasons import EXPLANATIONS


@pytest.fixture
def telemetry() -> Telemetry:
    """Instruments that nothing was counted with."""
    return Telemetry("1", sources=(), results=(), authentication_failures=(), anomaly_fields=())


def counts(telemetry: Telemetry) -> dict[str, float]:
    """The values of the counter by reason."""
    return {
        sample.labels["reason"]: sample.value
        for family in telemetry.not_understood.collect()
        for sample in family.samples
        if sample.name == "aep_exporter_not_understood_total"
    }


@pytest.fixture
def lines() -> Iterator[list[structlog.typing.EventDict]]:
    """What is logged, as structlog has it."""
    with structlog.testing.capture_logs() as captured:
        yield captured


def test_every_reason_has_an_explanation() -> None:
    """Each reason has a sentence that explains it, of one line and without a full stop."""
    assert set(EXPLANATIONS) == set(NotUnderstood)
    assert all(text.startswith("it is ") and text.isprintable() and text[-1] != "." for text in EXPLANATIONS.values())


def test_every_reason_exists_from_the_start(telemetry: Telemetry) -> None:
    """The six reasons are at 0 before anything was received."""
    assert counts(telemetry) == {
        "other_topic": 0,
        "no_flow_id": 0,
        "no_run_id": 0,
        "no_status": 0,
        "unknown_shape": 0,
        "unreadable": 0,
    }


def test_each_event_is_counted(telemetry: Telemetry) -> None:
    """Each event is counted by its reason, whether it is logged or not."""
    report = NotUnderstoodReport(telemetry, lambda: 0.0)
    for reason in (NotUnderstood.NO_STATUS, NotUnderstood.UNREADABLE, NotUnderstood.NO_STATUS):
        report(reason, None)
    assert {reason: count for reason, count in counts(telemetry).items() if count} == {"no_status": 2, "unreadable": 1}


def test_the_log_is_sparing(telemetry: Telemetry, lines: list[structlog.typing.EventDict]) -> None:
    """The first of each reason is logged, and one a minute of those that follow, with the number of the others."""
    now = [0.0]
    report = NotUnderstoodReport(telemetry, lambda: now[0])
    for at in (0.0, 1.0, 59.0, 61.0):
        now[0] = at
        report(NotUnderstood.NO_STATUS, None)
        report(NotUnderstood.OTHER_TOPIC, None)
    found = [(line["log_level"], line["reason"], line["more_like_it"]) for line in lines]
    assert found == [
        ("warning", "no_status", 0),
        ("info", "other_topic", 0),
        ("warning", "no_status", 2),
        ("info", "other_topic", 2),
    ]
    assert lines[0]["why"] == EXPLANATIONS[NotUnderstood.NO_STATUS]


@pytest.mark.parametrize(
    ("code", "shown"),
    [("source_flow_run_info", "source_flow_run_info"), ("secret\n42", "other"), (None, "none"), ("", "none")],
)
def test_the_log_has_documented_codes_only(
    telemetry: Telemetry, lines: list[structlog.typing.EventDict], code: str | None, shown: str
) -> None:
    """An event code that Adobe does not document is a value of a payload, and is not logged."""
    NotUnderstoodReport(telemetry, lambda: 0.0)(NotUnderstood.UNKNOWN_SHAPE, code)
    assert [line["event_code"] for line in lines] == [shown]
