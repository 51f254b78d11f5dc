"""Drafts for the ledger's tests, and appends in an event loop."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from exporter.ledger import Cursor, Draft, Entry, Ledger, Receipt
from exporter.model import EntryKind, Source

Clock = Callable[[], int]

_numbers = itertools.count(1)


class OpenLedger(Protocol):
    """Opens another ledger on the test's database. A clock replaces that of the engine."""

    def __call__(self, clock: Clock | None = None) -> Ledger:  # noqa: D102 - described by the class
        ...


def draft(fact_key: str | None = None, **fields: Any) -> Draft:
    """A draft with values that no other draft has, except for those that are given."""
    number = next(_numbers)
    made: dict[str, Any] = {"source": Source.WEBHOOK, "kind": EntryKind.UNSUPPORTED, "body": b'{"number": %d}' % number}
    return Draft(fact_key=fact_key or f"fact-{number}", **(made | fields))


def outcome(run_id: str, status: str, **fields: Any) -> Draft:
    """A draft of a run that has ended."""
    made = {"kind": EntryKind.RUN, "run_id": run_id, "status": status, "is_outcome": True}
    return draft(f"run:{run_id}:{status}", **(made | fields))


def append(ledger: Ledger, *drafts: Draft, cursor: Cursor | None = None) -> list[Receipt]:
    """The receipts of one append, which runs in an event loop of its own."""

    async def appended() -> list[Receipt]:
        return await ledger.append(drafts, cursor)

    return asyncio.run(appended())


def append_at_once(*appends: tuple[Ledger, Sequence[Draft]]) -> list[list[Receipt]]:
    """The receipts of appends that run at the same time, each in a task of its own."""

    async def appended() -> list[list[Receipt]]:
        return await asyncio.gather(*(ledger.append(drafts) for ledger, drafts in appends))

    return asyncio.run(appended())


def entries(ledger: Ledger, after: int = 0) -> list[Entry]:
    """All entries above a position."""
    return ledger.read(after, 1_000_000)
