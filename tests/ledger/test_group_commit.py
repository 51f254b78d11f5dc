"""Group commit: one writer thread, and many requests that wait for it."""

import asyncio
import threading
from collections.abc import Awaitable, Iterator, Sequence

import pytest

from exporter.errors import CommitTimeoutError, LedgerUnavailableError, QueueFullError
from exporter.ledger import Cursor, Draft, Receipt
from exporter.ledger.group_commit import DataRefusedError, GroupCommit, Request
from exporter.model import EntryKind
from tests.ledger import draft

KEPT = Receipt(kind=EntryKind.RUN, is_new=True)
KEPT_IN_PIECES = Receipt(kind=EntryKind.UNREADABLE, is_new=True)


class Database:
    """Commit functions that can be paused, that raise the errors that were set, and that record what they commit."""

    def __init__(self) -> None:
        self.groups: list[list[bytes]] = []
        self.cursors: list[Cursor | None] = []
        self.troubles: dict[bytes, Exception] = {}
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.go_on.set()

    def commit(self, requests: Sequence[Request]) -> list[list[Receipt]]:
        """Record a group. Raises the error that was set for a body in it."""
        bodies = [draft.body for request in requests for draft in request.drafts]
        self.entered.release()
        self.go_on.wait(10)
        self.groups.append(bodies)
        self.cursors += [request.cursor for request in requests]
        for body in bodies:
            if body in self.troubles:
                raise self.troubles[body]
        return [[KEPT for _ in request.drafts] for request in requests]

    def commit_piecewise(self, requests: Sequence[Request]) -> list[list[Receipt]]:
        """Record one request without the data that is refused. Raises DataRefusedError for a hopeless body."""
        if b"hopeless" in (draft.body for request in requests for draft in request.drafts):
            raise DataRefusedError
        return [[KEPT_IN_PIECES for _ in request.drafts] for request in requests]

    async def hold_up(self, group: GroupCommit) -> "asyncio.Task[list[Receipt]]":
        """Pause the writer in a commit of its own, so that all later requests wait."""
        self.go_on.clear()
        first = asyncio.create_task(group.submit([draft(body=b"first")], None))
        await asyncio.to_thread(self.entered.acquire)
        return first


@pytest.fixture
def database() -> Iterator[Database]:
    """A database that is not paused any more when the test ends."""
    made = Database()
    yield made
    made.go_on.set()


@pytest.fixture
def group(database: Database) -> Iterator[GroupCommit]:
    """The writer thread of that database."""
    made = GroupCommit(database.commit, database.commit_piecewise)
    yield made
    database.go_on.set()
    made.close()


Outcome = list[Receipt] | BaseException


async def settled(*submits: Awaitable[list[Receipt]]) -> list[Outcome]:
    """The result of each submit, or its error."""
    return await asyncio.gather(*submits, return_exceptions=True)


def grouped(database: Database, group: GroupCommit, requests: Sequence[Sequence[Draft]]) -> list[Outcome]:
    """The results of requests that wait together for one commit."""

    async def run() -> list[Outcome]:
        first = await database.hold_up(group)
        waiting = [asyncio.create_task(group.submit(drafts, None)) for drafts in requests]
        await asyncio.sleep(0)
        database.go_on.set()
        assert await first == [KEPT]
        return await settled(*waiting)

    return asyncio.run(run())


def test_all_that_wait_are_committed_together(database: Database, group: GroupCommit) -> None:
    """Requests that arrive during a commit are committed together, in their order, and each gets its own receipts."""
    requests = [[draft(body=b"%d.%d" % (number, part)) for part in range(number)] for number in range(40)]
    assert grouped(database, group, requests) == [[KEPT] * number for number in range(40)]
    assert database.groups == [[b"first"], [each.body for drafts in requests for each in drafts]]


def test_a_cursor_goes_to_the_commit(database: Database, group: GroupCommit) -> None:
    """A request's cursor is committed with its drafts, also if there are no drafts."""
    cursor = Cursor(name="journal", value="position")
    assert asyncio.run(group.submit([], cursor)) == []
    assert database.cursors == [cursor]


def test_no_request_is_answered_before_its_commit(database: Database, group: GroupCommit) -> None:
    """A request is not answered until its commit has returned."""

    async def run() -> None:
        first = await database.hold_up(group)
        await asyncio.sleep(0)
        assert not first.done()
        database.go_on.set()
        assert await first == [KEPT]

    asyncio.run(run())


def test_requests_of_several_event_loops(database: Database, group: GroupCommit) -> None:
    """Each request is answered in the event loop that it came from."""
    answers: list[list[Receipt]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(asyncio.run(group.submit([draft()], None)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [[KEPT]] * 4


def test_the_queue_is_bounded_by_requests(
    database: Database, group: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the queue has no place for a request, it is refused at once. Those in the queue are committed."""
    monkeypatch.setattr("exporter.ledger.group_commit.MAX_WAITING_REQUESTS", 3)
    *waited, refused = grouped(database, group, [[draft()] for _ in range(4)])
    assert waited == [[KEPT]] * 3
    assert isinstance(refused, QueueFullError)
    assert asyncio.run(group.submit([draft()], None)) == [KEPT]


def test_the_queue_is_bounded_by_bytes(database: Database, group: GroupCommit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is refused if it would bring the waiting bodies above the limit. A smaller one is accepted."""
    monkeypatch.setattr("exporter.ledger.group_commit.MAX_WAITING_BYTES", 100)
    sizes = [(40,), (30, 30), (61,), (1,), (30, 29), (1,)]
    outcomes = grouped(database, group, [[draft(body=b"x" * size) for size in sizes_] for sizes_ in sizes])
    assert [isinstance(outcome, QueueFullError) for outcome in outcomes] == [False, False, True, True, True, True]


def test_a_request_alone_is_never_too_large(
    database: Database, group: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty queue accepts a request of any size, because it would be refused for ever."""
    monkeypatch.setattr("exporter.ledger.group_commit.MAX_WAITING_BYTES", 100)
    assert grouped(database, group, [[draft(body=b"x" * 101)]]) == [[KEPT]]


def test_a_slow_commit_is_not_waited_for(
    database: Database, group: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a commit takes too long, its request gets CommitTimeoutError. The commit goes on, and so do later ones."""
    monkeypatch.setattr("exporter.ledger.group_commit.COMMIT_TIMEOUT", 0.05)

    async def run() -> Outcome:
        return (await settled(await database.hold_up(group)))[0]

    assert isinstance(asyncio.run(run()), CommitTimeoutError)
    monkeypatch.setattr("exporter.ledger.group_commit.COMMIT_TIMEOUT", 8)
    database.go_on.set()
    assert asyncio.run(group.submit([draft(body=b"second")], None)) == [KEPT]
    assert database.groups == [[b"first"], [b"second"]]


def test_a_cancelled_caller_does_not_affect_the_others(database: Database, group: GroupCommit) -> None:
    """If a caller is cancelled, its drafts are committed all the same, and the other callers are answered."""

    async def run() -> list[Outcome]:
        first = await database.hold_up(group)
        waiting = [asyncio.create_task(group.submit([draft(body=body)], None)) for body in (b"gone", b"here")]
        await asyncio.sleep(0)
        waiting[0].cancel()
        database.go_on.set()
        return await settled(first, *waiting)

    first, gone, here = asyncio.run(run())
    assert first == here == [KEPT]
    assert isinstance(gone, asyncio.CancelledError)
    assert database.groups[1] == [b"gone", b"here"]


troubles = pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(LedgerUnavailableError("the disk is full"), id="unavailable"),
        pytest.param(RuntimeError("a defect"), id="unforeseen"),
    ],
)


@troubles
def test_a_failed_commit_fails_all_its_requests(database: Database, group: GroupCommit, trouble: Exception) -> None:
    """If a commit fails, each of its requests gets LedgerUnavailableError, and the writer thread goes on."""
    database.troubles[b"trouble"] = trouble
    outcomes = grouped(database, group, [[draft()], [draft(body=b"trouble")], [draft()]])
    assert [type(outcome) for outcome in outcomes] == [LedgerUnavailableError] * 3
    assert len(database.groups) == 2
    assert asyncio.run(group.submit([draft()], None)) == [KEPT]


def test_refused_data_costs_only_its_request(database: Database, group: GroupCommit) -> None:
    """If the data of a group is refused, its requests are committed one by one, and only the bad one in pieces."""
    database.troubles = {b"poison": DataRefusedError(), b"hopeless": DataRefusedError()}
    outcomes = grouped(
        database,
        group,
        [[draft()], [draft(), draft(body=b"poison")], [draft(body=b"hopeless")], [draft(), draft()]],
    )
    assert outcomes[0] == [KEPT]
    assert outcomes[1] == [KEPT_IN_PIECES] * 2
    assert isinstance(outcomes[2], LedgerUnavailableError)
    assert outcomes[3] == [KEPT] * 2


@troubles
def test_trouble_while_requests_are_tried_alone(database: Database, group: GroupCommit, trouble: Exception) -> None:
    """If one request of a refused group fails when it is committed alone, only that request gets an error."""
    database.troubles = {b"poison": DataRefusedError(), b"trouble": trouble}
    outcomes = grouped(database, group, [[draft(body=b"poison")], [draft(body=b"trouble")], [draft()]])
    assert outcomes[0] == [KEPT_IN_PIECES]
    assert isinstance(outcomes[1], LedgerUnavailableError)
    assert outcomes[2] == [KEPT]
    assert asyncio.run(group.submit([draft()], None)) == [KEPT]


def test_closing_drains(database: Database, group: GroupCommit) -> None:
    """Closing commits and answers all waiting requests. Later requests are refused."""

    async def run() -> tuple[list[Outcome], Outcome]:
        first = await database.hold_up(group)
        waiting = [asyncio.create_task(group.submit([draft()], None)) for _ in range(5)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(group.close))
        database.go_on.set()
        await closing
        late = (await settled(group.submit([draft()], None)))[0]
        return await settled(first, *waiting), late

    outcomes, late = asyncio.run(run())
    assert outcomes == [[KEPT]] * 6
    assert isinstance(late, LedgerUnavailableError)
    assert sum(len(bodies) for bodies in database.groups) == 6
