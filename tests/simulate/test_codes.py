"""The table of error codes."""

import pytest

from exporter.model import FlowKind, is_error_code
from exporter.simulate.codes import FAILURES, REJECTIONS, SKIPPED_CODE, Trouble

TROUBLES = {trouble for table in (FAILURES, REJECTIONS) for troubles in table.values() for trouble in troubles}


@pytest.mark.parametrize("table", [FAILURES, REJECTIONS], ids=["failures", "rejections"])
def test_every_kind_can_fail(table: dict[FlowKind, tuple[Trouble, ...]]) -> None:
    """Whatever a flow does, there is a reason why its run can fail, wholly or partly."""
    assert set(table) == set(FlowKind)
    assert all(table.values())


def test_codes_look_like_codes() -> None:
    """All codes but the free text that Adobe's own sample has look like one; those beneath come with their text."""
    odd = {trouble.code for trouble in TROUBLES if not is_error_code(trouble.code)}
    assert odd == {"Unknown error code"}
    for trouble in TROUBLES:
        assert trouble.message
        assert (trouble.detail_code is None) == (not trouble.detail)
        assert trouble.detail_code is None or is_error_code(trouble.detail_code)
    assert is_error_code(SKIPPED_CODE)
