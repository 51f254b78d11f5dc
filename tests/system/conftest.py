"""Fixtures of the tests that start processes. All of them get the marker `system`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.system.browser import chromium
from tests.system.organisation import TOKEN, fill
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A running Chromium. It ends with the module, because other tests run event loops in this thread."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def organisation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """An exporter that holds something of everything. Tests must not change what it holds."""
    folder = tmp_path_factory.mktemp("organisation")
    with Exporter(folder / "exporter", "--series.hold=0s", f"--webhook.token={TOKEN}") as running:
        fill(running, folder)
        yield running
