"""Notifications to deliveries."""

from collections import Counter
from dataclasses import replace
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import Status
from exporter.simulate.deliveries import MAX_BATCH, Item, deliveries
from exporter.simulate.organisation import DAY, HOUR, MINUTE, organisation
from exporter.simulate.timeline import RunNotification, timeline
from tests.simulate.weeks import SEEDS, WEEK, delivered, notifications


def items(seed: int) -> list[Item]:
    """The events of a week's deliveries."""
    return [item for delivery in delivered(seed) for item in delivery.items]


@given(st.integers(0, 10**6), st.integers(1, 30))
def test_deliveries_depend_on_the_seed(seed: int, count: int) -> None:
    """Two streams of one seed are equal and in order, and that of another seed differs."""

    def stream(of: int) -> list[object]:
        return list(islice(deliveries(timeline(organisation(of, count), of), of), 60))

    assert stream(seed) == stream(seed)
    assert stream(seed) != stream(seed + 1)
    found = list(islice(deliveries(timeline(organisation(seed, count), seed), seed), 60))
    assert all(earlier.at <= later.at for earlier, later in pairwise(found))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_notification_is_delivered(seed: int) -> None:
    """Every notification is delivered once within six hours after its moment, apart from copies."""
    originals = Counter(item.notification.fact_id for item in items(seed) if not item.is_copy)
    assert set(originals.values()) == {1}
    due = {each.fact_id for each in notifications(seed) if each.at < WEEK - 6 * HOUR}
    assert due <= set(originals)
    assert all(delivery.at > item.notification.at for delivery in delivered(seed) for item in delivery.items)


@pytest.mark.parametrize("seed", SEEDS)
def test_some_are_delivered_twice(seed: int) -> None:
    """A copy comes after its original, and some copies have the same event id and some another."""
    seen: dict[str, set[str]] = {}
    same_id = other_id = 0
    for item in items(seed):
        before = seen.setdefault(item.notification.fact_id, set())
        assert item.is_copy == bool(before)
        same_id += item.event_id in before
        other_id += bool(before) and item.event_id not in before
        before.add(item.event_id)
    assert same_id > 30
    assert other_id > 30


@pytest.mark.parametrize("seed", SEEDS)
def test_some_are_late_and_overtaken(seed: int) -> None:
    """Most deliveries follow within two minutes and some hours later, so that outcomes of a flow change their order."""
    delays = [
        delivery.at - item.notification.at
        for delivery in delivered(seed)
        for item in delivery.items
        if not item.is_copy
    ]
    late = [delay for delay in delays if delay > 10 * MINUTE]
    assert 0.005 < len(late) / len(delays) < 0.05
    assert max(delays) > 3 * HOUR
    assert max(delays) < DAY
    last: dict[str, int] = {}
    overtaken = 0
    for item in items(seed):
        if isinstance(item.notification, RunNotification) and item.notification.status.is_outcome:
            flow_id = item.notification.flow.flow_id
            overtaken += item.notification.at < last.get(flow_id, 0)
            last[flow_id] = max(last.get(flow_id, 0), item.notification.at)
    assert overtaken > 20


@pytest.mark.parametrize("seed", SEEDS)
def test_starts_that_come_after_the_end(seed: int) -> None:
    """The start of some runs is delivered after their end."""
    ended: set[str] = set()
    late = 0
    for item in items(seed):
        if isinstance(item.notification, RunNotification):
            run_id = item.notification.run.run_id
            late += item.notification.status is Status.IN_PROGRESS and run_id in ended and not item.is_copy
            if item.notification.status.is_outcome:
                ended.add(run_id)
    assert late > 5


@pytest.mark.parametrize("seed", SEEDS)
def test_batches(seed: int) -> None:
    """Some events come in batches of two to twenty of one format, and others alone."""
    sizes = Counter(len(delivery.items) for delivery in delivered(seed) if delivery.is_batch)
    assert max(sizes) <= MAX_BATCH
    assert sum(count for size, count in sizes.items() if size > 1) > 50
    assert any(not delivery.is_batch for delivery in delivered(seed))
    for delivery in delivered(seed):
        assert delivery.is_batch or len(delivery.items) == 1
        assert len({item.notification.flow.template.envelope for item in delivery.items}) == 1


def test_a_full_batch_is_followed_by_another() -> None:
    """More than twenty events within one minute give several batches of at most twenty."""
    batched = {item.notification.fact_id for delivery in delivered(1) if delivery.is_batch for item in delivery.items}
    at_once = [replace(each, at=0) for each in notifications(1) if each.fact_id in batched][:200]
    sizes = [len(delivery.items) for delivery in deliveries(iter(at_once), 1) if delivery.at <= MINUTE]
    assert sum(sizes) > 100
    assert max(sizes) == MAX_BATCH
