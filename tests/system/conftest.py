"""Fixtures of the tests that start processes. All of them get the marker `system`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.processes import Exporter


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, so that `-m 'not system'` leaves them out."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    """A running exporter without a hold."""
    with Exporter(tmp_path / "exporter", "--series.hold=0s") as running:
        yield running
