"""How fast deliveries are answered while the metrics are far behind."""

import asyncio
from collections.abc import Mapping

import pytest

from exporter.intake import Record
from exporter.model import Delivery, Event, Result, Source, Unreadable
from exporter.pacing import Pacing


@pytest.mark.parametrize(
    ("is_behind", "expected"),
    [(False, []), (True, [0.01, 0.02, 0.03, 0.04])],
    ids=["at-the-head", "far-behind"],
)
def test_answers_are_spaced_out_while_the_metrics_are_far_behind(
    monkeypatch: pytest.MonkeyPatch, is_behind: bool, expected: list[float]
) -> None:
    """Deliveries at the same time are answered one after the other while the metrics are far behind, else at once."""
    waits: list[float] = []

    async def slept(seconds: float) -> None:
        waits.append(round(seconds, 6))

    async def record(_deliveries: list[Delivery]) -> Mapping[Result, int]:
        return {Result.RECORDED: 1}

    monkeypatch.setattr("exporter.pacing.asyncio.sleep", slept)
    paced = Pacing(lambda: is_behind, lambda: 7.0).paced(record)

    async def scenario() -> list[Mapping[Result, int]]:
        return [await paced([]) for _ in range(4)]

    assert asyncio.run(scenario()) == [{Result.RECORDED: 1}] * 4
    assert waits == expected


def test_a_batch_waits_for_each_of_its_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery of many events waits as long as as many deliveries of one."""
    waits: list[float] = []

    async def slept(seconds: float) -> None:
        waits.append(round(seconds, 6))

    async def record(_deliveries: list[Delivery]) -> Mapping[Result, int]:
        return {}

    monkeypatch.setattr("exporter.pacing.asyncio.sleep", slept)
    batch = Delivery(source=Source.WEBHOOK, events=(Event(fact=Unreadable(), body=b"x"),) * 20)
    asyncio.run(_paced_once(record, batch))
    assert waits == [0.2]


async def _paced_once(record: Record, batch: Delivery) -> None:
    await Pacing(lambda: True, lambda: 7.0).paced(record)([batch])


def test_no_answer_waits_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer waits half a second at most, however many wait, and none of the waiting is left over for later."""
    waits: list[float] = []

    async def slept(seconds: float) -> None:
        waits.append(round(seconds, 6))

    async def record(_deliveries: list[Delivery]) -> Mapping[Result, int]:
        return {}

    monkeypatch.setattr("exporter.pacing.asyncio.sleep", slept)
    now = [0.0]
    paced = Pacing(lambda: True, lambda: now[0]).paced(record)

    async def scenario() -> None:
        for _ in range(200):
            await paced([])
        now[0] = 10.0
        await paced([])

    asyncio.run(scenario())
    assert max(waits) == 0.5
    assert waits[-1] == 0.01
