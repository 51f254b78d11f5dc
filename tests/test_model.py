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
        (Activity, {"name": "unknown"}),
        (FlowAlert, {"alert_id": "", "name": "n", "state": "firing"}),
        (Flow, {"flow_id": ""}),
    ],
)
def test_what_exists_is_valid(kind: type[Any], fields: dict[str, Any]) -> None:
    """A value that is not valid raises ValueError when it is made."""
    with pytest.raises(ValueError, match=r"."):
        kind(**fields)


def test_values_are_frozen() -> None:
    """A value can't be changed."""
    run = FlowRun(run_id="r", flow_id="f", status=Status.FAILED)
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.status = Status.SUCCESS  # type: ignore[misc]


ERROR_CODES = (
    "CONNECTOR-2001-500",
    "CTOR-2001-500",
    "ACTIVATION_BATCH-0000-SKIP",
    "ACTIVATION_BATCH-0000-FAILED",
    "UPINGT-007012-400",
    "133",
    "42602",
    "1401-400",
    *("42P01", "0A000", "08P01", "28P01", "42P07", "42P12", "01000", "3RDAY"),
)
NO_ERROR_CODES = (
    "1",
    "1234567",
    "1401-40",
    "connector-2001-500",
    "C-2001-500",
    "CONNECTOR-2001",
    "CONNECTOR-2001-500 ",
    "CONNECTOR-2001-500\n",
    "C" * 25 + "-1-500",
    "Unknown error code",
    "١٣٣",
    *("42p01", "P4201", "42P0", "42P011", " 42P01", "42P01\n", "42P-1", "4\u0391000"),
    "",
)


def test_error_codes_are_told_from_text() -> None:
    """A text of the form of Platform's codes or of an SQLSTATE is an error code. Any other may be free text."""
    assert [text for text in ERROR_CODES if not is_error_code(text)] == []
    assert [text for text in NO_ERROR_CODES if is_error_code(text)] == []


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
    """A run ended when it was completed, else updated, else created, else when its envelope was written."""
    assert FlowRun(run_id="r", flow_id="f", status=Status.FAILED, **fields).ended_at == expected  # type: ignore[arg-type]
    assert FlowRun(run_id="r", flow_id="f", status=Status.IN_PROGRESS, **fields).ended_at is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("start", "end", "expected"), [(1, 5, 4), (5, 5, 0), (5, 1, None), (None, 5, None), (1, None, None)]
)
def test_a_duration_needs_both_ends_in_order(start: int | None, end: int | None, expected: int | None) -> None:
    """A duration is never negative, and unknown unless start and end are known."""
    assert duration_between(start, end) == expected
