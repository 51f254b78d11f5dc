from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from exporter.ledger import Ledger
from exporter.ledger.queries import Queries
from exporter.ledger.sqlite import SqliteLedger
from exporter.ledger.sqlite_clock import wall_clock
from exporter.ledger.sqlite_queries import SqliteQueries
from tests.ledger import Clock, OpenLedger


def _sqlite(folder: Path) -> Callable[[Clock | None], Ledger]:
    return lambda clock: SqliteLedger(folder / "ledger.db", clock or wall_clock)


ENGINES: Final = {"sqlite": _sqlite}
"""The engines by name. Each takes the test's folder and returns a function that opens ledgers on one new database."""
QUERIES: Final[dict[str, Callable[[Path], Queries]]] = {
    "sqlite": lambda folder: SqliteQueries(folder / "ledger.db", seconds=60)
}
"""Opens the queries of each engine on the same database."""


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of the engine that a test is run with."""
    name: str = request.param
    return name


@pytest.fixture
def open_ledger(engine: str, tmp_path: Path) -> Iterator[OpenLedger]:
    """Opens the test's database, any number of times, and closes what it opened."""
    opener = ENGINES[engine](tmp_path)
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


@pytest.fixture
def queries(engine: str, tmp_path: Path) -> Iterator[Queries]:
    """Questions to the test's database."""
    opened = QUERIES[engine](tmp_path)
    yield opened
    opened.close()
