"""Questions of pages to the ledger, on a few threads of their own."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.errors import PagesBusyError, QueryTimeoutError
from exporter.ledger.queries import Queries
from exporter.ledger.sqlite_queries import SqliteQueries
from exporter.pages.asking import AT_ONCE, MAX_WAITING, Asking


class Held:
    """A question that is answered when the test allows it, and how many of it are being answered."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.running = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, _queries: Queries) -> str:
        """Wait for the test."""
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.begun.release()
        self.gate.wait(60)
        with self._lock:
            self.running -= 1
        return "answered"

    async def wait_until_begun(self, count: int) -> None:
        """Wait until so many more are being answered."""
        for _ in range(count):
            assert await asyncio.to_thread(self.begun.acquire, True, 60)


@contextmanager
def asking(folder: Path, *, wait: float = 60) -> Iterator[Asking]:
    """Asks a ledger that no question here looks at."""
    made = Asking(SqliteQueries(folder / "none.db", 1), wait=wait, answer=60)
    yield made
    made.close()


def test_few_questions_at_a_time(tmp_path: Path) -> None:
    """Of many questions a few are answered at a time, and all in the end."""
    held = Held()

    async def many() -> list[str]:
        with asking(tmp_path) as made:
            asked = [asyncio.create_task(made.ask(held)) for _ in range(3 * AT_ONCE)]
            await held.wait_until_begun(AT_ONCE)
            held.gate.set()
            return await asyncio.gather(*asked)

    assert asyncio.run(many()) == ["answered"] * 3 * AT_ONCE
    assert held.most == AT_ONCE


def test_waiting_is_bounded_in_time(tmp_path: Path) -> None:
    """A question that gets no thread in time ends with an error that says what to do."""
    held = Held()

    async def too_late() -> None:
        with asking(tmp_path, wait=0.01) as made:
            asked = [asyncio.create_task(made.ask(held)) for _ in range(AT_ONCE)]
            await held.wait_until_begun(AT_ONCE)
            with pytest.raises(PagesBusyError, match="try again"):
                await made.ask(held)
            held.gate.set()
            await asyncio.gather(*asked)
            assert await made.ask(lambda _: "next") == "next"

    asyncio.run(too_late())


def test_waiting_is_bounded_in_number(tmp_path: Path) -> None:
    """Beyond a number of questions that wait, the next one ends at once."""
    held = Held()

    async def crowd() -> None:
        with asking(tmp_path) as made:
            asked = [asyncio.create_task(made.ask(held)) for _ in range(AT_ONCE + MAX_WAITING)]
            await held.wait_until_begun(AT_ONCE)
            with pytest.raises(PagesBusyError, match="too many"):
                await made.ask(held)
            held.gate.set()
            await asyncio.gather(*asked)

    asyncio.run(crowd())


async def give_up_by_timeout(made: Asking, held: Held) -> None:
    """Questions whose answers take too long."""
    made._answer = 1.0
    results = await asyncio.gather(*(made.ask(held) for _ in range(AT_ONCE)), return_exceptions=True)
    assert {type(result) for result in results} == {QueryTimeoutError}
    made._answer = 60.0


async def give_up_by_leaving(made: Asking, held: Held) -> None:
    """Questions that nobody waits for any more."""
    asked = [asyncio.create_task(made.ask(held)) for _ in range(AT_ONCE)]
    await held.wait_until_begun(AT_ONCE)
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)


@pytest.mark.parametrize("give_up", [give_up_by_timeout, give_up_by_leaving])
def test_a_question_that_was_given_up_keeps_its_thread(
    tmp_path: Path, give_up: Callable[[Asking, Held], Awaitable[None]]
) -> None:
    """Until the ledger has answered, no other question takes the place of one that nobody waits for."""
    held = Held()

    async def impatient() -> None:
        with asking(tmp_path) as made:
            await give_up(made, held)
            another = asyncio.create_task(made.ask(lambda _: "another"))
            done, _ = await asyncio.wait([another], timeout=0.05)
            assert not done
            held.gate.set()
            assert await another == "another"

    asyncio.run(impatient())
    assert held.most <= AT_ONCE


def test_an_error_of_the_question_arrives(tmp_path: Path) -> None:
    """What a question raises is raised to who asked, and its thread is free again."""

    def broken(_: Queries) -> str:
        raise QueryTimeoutError("made up")

    async def all_fail() -> None:
        with asking(tmp_path, wait=5) as made:
            for _ in range(2 * AT_ONCE):
                with pytest.raises(QueryTimeoutError, match="made up"):
                    await made.ask(broken)

    asyncio.run(all_fail())


def test_the_queries_are_closed_after_the_last_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing waits for the questions that are being answered, drops those that wait, and closes the queries last."""
    held = Held()
    running_at_close: list[int] = []
    monkeypatch.setattr(SqliteQueries, "close", lambda _: running_at_close.append(held.running))

    async def close_while_asked() -> None:
        made = Asking(SqliteQueries(tmp_path / "none.db", 1))
        asked = asyncio.create_task(made.ask(held))
        await held.wait_until_begun(1)
        with ThreadPoolExecutor(1) as other:
            closing = other.submit(made.close)
            assert running_at_close == []
            held.gate.set()
            await asyncio.wrap_future(closing)
        assert await asked == "answered"

    asyncio.run(close_while_asked())
    assert running_at_close == [0]
