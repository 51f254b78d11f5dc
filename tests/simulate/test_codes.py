"""The table of error codes."""

import pytest

from exporter.model import FlowKind, is_error_code
from exporter.simulate.codes import FAILURES, REJECTIONS, SKIPPED_CODE, ErrorCause

CAUSES = {cause for table in (FAILURES, REJECTIONS) for causes in table.values() for cause in causes}


@pytest.mark.parametrize("table", [FAILURES, REJECTIONS], ids=["failures", "rejections"])
def test_every_kind_can_fail(table: dict[FlowKind, tuple[ErrorCause, ...]]) -> None:
    """Every kind of flow has errors for failed and for partly successful runs."""
    assert set(table) == set(FlowKind)
    assert all(table.values())


def test_codes_look_like_codes() -> None:
    """Every code except the free text of Adobe's own sample looks like a code, and nested ones have a text."""
    unusual = {cause.code for cause in CAUSES if not is_error_code(cause.code)}
    assert unusual == {"Unknown error code"}
    for cause in CAUSES:
        assert cause.message
        assert (cause.detail_code is None) == (not cause.detail)
        assert cause.detail_code is None or is_error_code(cause.detail_code)
    assert is_error_code(SKIPPED_CODE)
