"""What is told to what is delivered."""

from collections import Counter
from dataclasses import replace
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import Status
from exporter.simulate.deliveries import MAX_BATCH, Item, deliveries
from exporter.simulate.organisation import DAY, HOUR, MINUTE, organisation
from exporter.simulate.timeline import RunTold, timeline
from tests.simulate.weeks import SEEDS, WEEK, delivered, notices


def items(seed: int) -> list[Item]:
    """The events of a week's deliveries."""
    return [item for delivery in delivered(seed) for item in delivery.items]


@given(st.integers(0, 10**6), st.integers(1, 30))
def test_deliveries_are_the_seeds(seed: int, count: int) -> None:
    """Two streams of one seed are the same, and in order; another seed's is another."""

    def stream(of: int) -> list[object]:
        return list(islice(deliveries(timeline(organisation(of, count), of), of), 60))

    assert stream(seed) == stream(seed)
    assert stream(seed) != stream(seed + 1)
    found = list(islice(deliveries(timeline(organisation(seed, count), seed), seed), 60))
    assert all(earlier.at <= later.at for earlier, later in pairwise(found))


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_that_is_told_is_delivered(seed: int) -> None:
    """What was told long enough ago was delivered, after it was told, and once but for copies."""
    originals = Counter(item.notice.fact_id for item in items(seed) if not item.is_copy)
    assert set(originals.values()) == {1}
    due = {told.fact_id for told in notices(seed) if told.at < WEEK - 6 * HOUR}
    assert due <= set(originals)
    assert all(delivery.at > item.notice.at for delivery in delivered(seed) for item in delivery.items)


@pytest.mark.parametrize("seed", SEEDS)
def test_some_are_delivered_twice(seed: int) -> None:
    """A copy comes after its original; some have its event id, and some another."""
    seen: dict[str, set[str]] = {}
    same_id = other_id = 0
    for item in items(seed):
        before = seen.setdefault(item.notice.fact_id, set())
        assert item.is_copy == bool(before)
        same_id += item.event_id in before
        other_id += bool(before) and item.event_id not in before
        before.add(item.event_id)
    assert same_id > 30
    assert other_id > 30


@pytest.mark.parametrize("seed", SEEDS)
def test_some_are_late_and_overtaken(seed: int) -> None:
    """Most are delivered within two minutes, some hours later; runs end in another order than they are told of."""
    delays = [
        delivery.at - item.notice.at for delivery in delivered(seed) for item in delivery.items if not item.is_copy
    ]
    late = [delay for delay in delays if delay > 10 * MINUTE]
    assert 0.005 < len(late) / len(delays) < 0.05
    assert max(delays) > 3 * HOUR
    assert max(delays) < DAY
    last: dict[str, int] = {}
    overtaken = 0
    for item in items(seed):
        if isinstance(item.notice, RunTold) and item.notice.status.is_outcome:
            flow_id = item.notice.flow.flow_id
            overtaken += item.notice.at < last.get(flow_id, 0)
            last[flow_id] = max(last.get(flow_id, 0), item.notice.at)
    assert overtaken > 20


@pytest.mark.parametrize("seed", SEEDS)
def test_starts_that_come_after_the_end(seed: int) -> None:
    """Some runs are told to begin after they were told to have ended."""
    ended: set[str] = set()
    late = 0
    for item in items(seed):
        if isinstance(item.notice, RunTold):
            run_id = item.notice.run.run_id
            late += item.notice.status is Status.IN_PROGRESS and run_id in ended and not item.is_copy
            if item.notice.status.is_outcome:
                ended.add(run_id)
    assert late > 5


@pytest.mark.parametrize("seed", SEEDS)
def test_batches(seed: int) -> None:
    """Some come in batches of two to twenty of one format, others alone."""
    sizes = Counter(len(delivery.items) for delivery in delivered(seed) if delivery.is_batch)
    assert max(sizes) <= MAX_BATCH
    assert sum(count for size, count in sizes.items() if size > 1) > 50
    assert any(not delivery.is_batch for delivery in delivered(seed))
    for delivery in delivered(seed):
        assert delivery.is_batch or len(delivery.items) == 1
        assert len({item.notice.flow.part.wrapper for item in delivery.items}) == 1


def test_a_full_batch_is_followed_by_another() -> None:
    """Where more than twenty events fall into one minute there are several batches, none above twenty."""
    batched = {item.notice.fact_id for delivery in delivered(1) if delivery.is_batch for item in delivery.items}
    at_once = [replace(told, at=0) for told in notices(1) if told.fact_id in batched][:200]
    sizes = [len(delivery.items) for delivery in deliveries(iter(at_once), 1) if delivery.at <= MINUTE]
    assert sum(sizes) > 100
    assert max(sizes) == MAX_BATCH
