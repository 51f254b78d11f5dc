import dataclasses
from typing import Any

import pytest

from exporter.model import Activity, Flow, FlowAlert, FlowRun, RunError, Status, duration_between, is_error_code


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (FlowRun, {"run_id": "", "flow_id": "f", "status": Status.FAILED}),
        (FlowRun, {"run_id": "r", "flow_id": "", "status": Status.FAILED}),
        (RunError, {"code": "free text"}),
        (RunError, {"code": ""}),
        (Activity, {"name": "nobody knows"}),
        (FlowAlert, {"alert_id": "", "name": "n", "state": "firing"}),
        (Flow, {"flow_id": ""}),
    ],
)
def test_what_exists_is_valid(kind: type[Any], fields: dict[str, Any]) -> None:
    """A value that makes no sense can't be made."""
    with pytest.raises(ValueError, match=r"."):
        kind(**fields)


def test_values_are_frozen() -> None:
    """A value never changes once it is made."""
    run = FlowRun(run_id="r", flow_id="f", status=Status.FAILED)
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.status = Status.SUCCESS  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CONNECTOR-2001-500", True),
        ("CTOR-2001-500", True),
        ("ACTIVATION_BATCH-0000-SKIP", True),
        ("ACTIVATION_BATCH-0000-FAILED", True),
        ("UPINGT-007012-400", True),
        ("133", True),
        ("42602", True),
        ("1401-400", True),
        ("1", False),
        ("1234567", False),
        ("1401-40", False),
        ("connector-2001-500", False),
        ("C-2001-500", False),
        ("CONNECTOR-2001", False),
        ("CONNECTOR-2001-500 ", False),
        ("CONNECTOR-2001-500\n", False),
        ("C" * 25 + "-1-500", False),
        ("Unknown error code", False),
        ("١٣٣", False),
        ("", False),
    ],
)
def test_error_codes_are_told_from_text(text: str, expected: bool) -> None:
    """What looks like one of Platform's codes is one; anything else may be free text."""
    assert is_error_code(text) is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"completed_at": 4, "updated_at": 3, "created_at": 2, "envelope_time": 1}, 4),
        ({"updated_at": 3, "created_at": 2, "envelope_time": 1}, 3),
        ({"created_at": 2, "envelope_time": 1}, 2),
        ({"envelope_time": 1}, 1),
        ({}, None),
    ],
)
def test_when_a_run_ended(fields: dict[str, int], expected: int | None) -> None:
    """A run ended at its completion, else when it was updated, created, or told of."""
    assert FlowRun(run_id="r", flow_id="f", status=Status.FAILED, **fields).ended_at == expected  # type: ignore[arg-type]
    assert FlowRun(run_id="r", flow_id="f", status=Status.IN_PROGRESS, **fields).ended_at is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("start", "end", "expected"), [(1, 5, 4), (5, 5, 0), (5, 1, None), (None, 5, None), (1, None, None)]
)
def test_a_duration_needs_both_ends_in_order(start: int | None, end: int | None, expected: int | None) -> None:
    """A duration is never negative and never guessed."""
    assert duration_between(start, end) == expected
