"""What is remembered of refused requests."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.reasons import REFUSALS
from exporter.refused import MAX_KEPT, MAX_KEPT_OF_REASON, RefusedDeliveries
from exporter.web import origin, webhook
from exporter.web.authentication import FAILURES


def test_every_reason_has_an_explanation() -> None:
    """Each reason for which a request is refused for good has a sentence of one line without a full stop, no other."""
    assert set(REFUSALS) == {*FAILURES, *origin.REFUSALS, *webhook.TOO_LARGE}
    assert all(text.isprintable() and text[-1] != "." for text in REFUSALS.values())


def test_the_newest_is_first() -> None:
    """Each has its time, its reason and its sender. Several of one millisecond keep their order."""
    times = iter([5, 5, 7])
    refused = RefusedDeliveries(lambda: next(times))
    for reason, peer in (("token", "192.0.2.1"), ("key_path", ""), ("token", "192.0.2.2")):
        refused.add(reason, peer)
    assert [(each.refused_at, each.reason, each.peer) for each in refused.latest()] == [
        (7, "token", "192.0.2.2"),
        (5, "key_path", ""),
        (5, "token", "192.0.2.1"),
    ]


@pytest.mark.parametrize("flood", [1, MAX_KEPT_OF_REASON, 10_000])
def test_a_flood_hides_no_other_reason(flood: int) -> None:
    """However many requests are refused for some reasons, the one that was refused for another is remembered."""
    refused = RefusedDeliveries(lambda: 0)
    refused.add("client_id", "192.0.2.1")
    for _ in range(flood):
        for reason in ("token", "key_path", "body_too_large"):
            refused.add(reason, "192.0.2.2")
    reasons = Counter(each.reason for each in refused.latest())
    assert reasons["client_id"] == 1
    assert reasons["token"] == min(flood, MAX_KEPT_OF_REASON)


@given(st.lists(st.sampled_from(sorted(REFUSALS)), max_size=400))
def test_bounds(reasons: Sequence[str]) -> None:
    """At most so many are remembered in all and of a reason, and of each reason that there was at least the last."""
    numbers = count()
    refused = RefusedDeliveries(lambda: next(numbers))
    for reason in reasons:
        refused.add(reason, "")
    kept = refused.latest()
    by_reason = Counter(each.reason for each in kept)
    assert len(kept) == min(MAX_KEPT, sum(min(n, MAX_KEPT_OF_REASON) for n in Counter(reasons).values()))
    assert all(number <= MAX_KEPT_OF_REASON for number in by_reason.values())
    assert [each.refused_at for each in kept] == sorted((each.refused_at for each in kept), reverse=True)
    last = {reason: number for number, reason in enumerate(reasons)}
    assert last.items() <= {(each.reason, each.refused_at) for each in kept}


def test_threads_can_add_and_read_at_once() -> None:
    """Several threads can add and read at the same time, and the bounds hold at each moment."""
    refused = RefusedDeliveries(lambda: 0)

    def work(reason: str) -> None:
        for _ in range(500):
            refused.add(reason, "")
            assert len(refused.latest()) <= MAX_KEPT

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, sorted(REFUSALS)))
    assert len(refused.latest()) == MAX_KEPT
