from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from exporter.ledger import Ledger
from exporter.ledger.sqlite import SqliteLedger
from exporter.ledger.sqlite_clock import wall_clock
from tests.ledger import Clock, OpenLedger


def _sqlite(folder: Path) -> Callable[[Clock | None], Ledger]:
    return lambda clock: SqliteLedger(folder / "ledger.db", clock or wall_clock)


ENGINES: Final = {"sqlite": _sqlite}
"""The engines by name. Each takes the test's folder and returns a function that opens ledgers on one new database."""


@pytest.fixture(params=ENGINES)
def open_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenLedger]:
    """Opens the test's database, any number of times, and closes what it opened."""
    opener = ENGINES[request.param](tmp_path)
    opened: list[Ledger] = []

    def open_one(clock: Clock | None = None) -> Ledger:
        opened.append(opener(clock))
        return opened[-1]

    yield open_one
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(open_ledger: OpenLedger) -> Ledger:
    """A new ledger."""
    return open_ledger()
