"""The guarantees of the port (exporter.ledger.Ledger), tested with every engine."""

import asyncio
import threading
from collections import Counter
from collections.abc import Sequence
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.errors import LedgerUnavailableError
from exporter.ledger import Checkpoint, Cursor, Draft, Entry, KeyPath, Ledger, Receipt
from exporter.model import EntryKind, Source
from tests.ledger import OpenLedger, append, append_at_once, draft, entries, outcome

_examples = count(1)


def test_a_new_ledger_is_empty(ledger: Ledger) -> None:
    """A new ledger holds no entry and no cursor."""
    assert entries(ledger) == []
    assert ledger.cursor("journal") is None


def test_an_entry_is_what_was_appended(open_ledger: OpenLedger) -> None:
    """An entry has the values of its draft, and its body byte for byte."""
    ledger = open_ledger(lambda: 1_234)
    body = bytes(range(256))
    append(
        ledger,
        draft(
            source=Source.JOURNAL,
            kind=EntryKind.RUN,
            event_code="code",
            flow_id="f",
            sandbox="prod",
            completed_at=5,
            body=body,
        ),
        draft(source=Source.REPLAY, kind=EntryKind.ALERT, body=b""),
    )
    first, second = entries(ledger)
    assert first == Entry(
        position=first.position,
        received_at=1_234,
        source=Source.JOURNAL,
        kind=EntryKind.RUN,
        event_code="code",
        counts=False,
        flow_id="f",
        sandbox="prod",
        completed_at=5,
        body=body,
    )
    assert (second.source, second.kind, second.event_code, second.sandbox) == (Source.REPLAY, "alert", None, None)
    assert (second.completed_at, second.body) == (None, b"")


def test_receipts_come_in_the_order_of_the_drafts(ledger: Ledger) -> None:
    """Each draft gets a receipt, in order, with its kind and whether it is new."""
    known = draft(kind=EntryKind.RUN)
    append(ledger, known)
    assert append(ledger, draft(kind=EntryKind.ALERT), known, draft(kind=EntryKind.FLOW)) == [
        Receipt(kind=EntryKind.ALERT, is_new=True),
        Receipt(kind=EntryKind.RUN, is_new=False),
        Receipt(kind=EntryKind.FLOW, is_new=True),
    ]


@pytest.mark.parametrize(
    ("first", "second", "is_new"),
    [
        pytest.param({"fact_key": "a"}, {"fact_key": "a"}, False, id="same-fact"),
        pytest.param(
            {"fact_key": "a", "event_id": "1"},
            {"fact_key": "a", "event_id": "2"},
            False,
            id="same-fact-other-event",
        ),
        pytest.param({"fact_key": "a", "event_id": "1"}, {"fact_key": "b", "event_id": "1"}, True, id="same-event"),
        pytest.param({"fact_key": "a"}, {"fact_key": "b", "former_key": "a"}, False, id="under-its-former-key"),
        pytest.param({"fact_key": "a"}, {"fact_key": "b", "former_key": "c"}, True, id="under-no-former-key"),
        pytest.param({"fact_key": "a", "event_id": "1"}, {"fact_key": "b", "event_id": "2"}, True, id="another"),
        pytest.param({"fact_key": "a"}, {"fact_key": "b"}, True, id="no-event-ids"),
        pytest.param({"fact_key": "a", "event_id": ""}, {"fact_key": "A", "event_id": "b"}, True, id="case-matters"),
    ],
)
@pytest.mark.parametrize("together", [True, False], ids=["one-append", "two-appends"])
def test_fact_keys_alone_are_unique(
    ledger: Ledger, first: dict[str, Any], second: dict[str, Any], is_new: bool, together: bool
) -> None:
    """A draft whose fact key is in the ledger is not new, whatever its event id. The first version of a fact stays."""
    drafts = draft(**first, body=b"first"), draft(**second, body=b"second")
    receipts = append(ledger, *drafts) if together else [receipt for each in drafts for receipt in append(ledger, each)]
    assert [receipt.is_new for receipt in receipts] == [True, is_new]
    assert [entry.body for entry in entries(ledger)] == [b"first", b"second"][: 1 + is_new]


def test_the_first_outcome_of_a_run_counts(ledger: Ledger) -> None:
    """The first outcome that is recorded of a run counts. A start before it and another outcome after it do not."""
    append(
        ledger,
        outcome("run", "in_progress", is_outcome=False),
        outcome("run", "failed"),
        outcome("other", "failed"),
    )
    append(ledger, outcome("run", "success"), outcome("run", "queued", is_outcome=False))
    assert [entry.counts for entry in entries(ledger)] == [False, True, True, False, False]


@pytest.mark.parametrize("together", [True, False], ids=["one-append", "several-appends"])
@pytest.mark.parametrize(
    ("statuses", "counts"),
    [
        (("unknown", "success", "failed"), [True, True, False]),
        (("success", "unknown", "failed"), [True, False, False]),
        (("in_progress", "unknown", "in_progress"), [False, True]),
        (("unknown", "unknown", "cancelled"), [True, True]),
    ],
    ids=["first", "second", "alone", "twice"],
)
def test_an_unknown_outcome_takes_no_place(
    ledger: Ledger, statuses: Sequence[str], counts: list[bool], together: bool
) -> None:
    """An unknown outcome counts if it is the first one, and then the first known outcome counts as well."""
    drafts = [
        outcome("run", status, is_outcome=status != "in_progress", is_provisional=status == "unknown")
        for status in statuses
    ]
    for each in [drafts] if together else [[each] for each in drafts]:
        append(ledger, *each)
    assert [entry.counts for entry in entries(ledger)] == counts


def test_of_outcomes_appended_at_once_one_counts(open_ledger: OpenLedger) -> None:
    """When different outcomes of runs are appended to two ledgers at once, the first entry of each run counts."""
    ledgers = open_ledger(), open_ledger()
    statuses = ("success", "failed", "cancelled", "partial_success")
    append_at_once(
        *(
            (ledgers[(run + number) % 2], [outcome(f"run-{run}", status, body=b"%d" % run)])
            for run in range(25)
            for number, status in enumerate(statuses)
        )
    )
    by_run: dict[bytes, list[bool]] = {}
    for entry in entries(ledgers[0]):
        by_run.setdefault(entry.body, []).append(entry.counts)
    assert len(by_run) == 25
    assert all(counts == [True, False, False, False] for counts in by_run.values())


def test_appends_from_many_tasks_land_exactly_once(open_ledger: OpenLedger) -> None:
    """A draft that many tasks append to two ledgers is stored once, and one of its receipts shows that it is new."""
    ledgers = open_ledger(), open_ledger()
    drafts = [draft(event_id=f"event-{number}") for number in range(120)]
    batches = [drafts[start : start + 6] for start in range(0, 120, 3)] * 2
    answers = append_at_once(*((ledgers[number % 2], batch) for number, batch in enumerate(batches)))
    news = Counter(
        each.fact_key
        for batch, receipts in zip(batches, answers, strict=True)
        for each, receipt in zip(batch, receipts, strict=True)
        if receipt.is_new
    )
    assert news == {each.fact_key: 1 for each in drafts}
    assert sorted(entry.body for entry in entries(ledgers[1])) == sorted(each.body for each in drafts)


@given(
    st.lists(
        st.lists(
            st.builds(
                lambda run, status, event: {"run": run, "status": status, "event": event},
                st.integers(0, 2),
                st.sampled_from(["success", "failed", "in_progress"]),
                st.none() | st.integers(0, 4),
            ),
            max_size=5,
        ),
        max_size=6,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_ledger_is_a_list_without_repetition(ledger: Ledger, batches: list[list[dict[str, Any]]]) -> None:
    """Receipts and entries are those of a list that refuses fact keys that it holds."""
    example = next(_examples)
    start = entries(ledger)[-1].position if entries(ledger) else 0
    known: set[str] = set()
    counted: set[int] = set()
    kept: list[tuple[bytes, bool]] = []
    for batch in batches:
        drafts: list[Draft] = []
        expected: list[bool] = []
        for each in batch:
            event_id = None if each["event"] is None else f"{example}:event:{each['event']}"
            is_outcome = each["status"] != "in_progress"
            made = outcome(f"{example}:{each['run']}", each["status"], event_id=event_id, is_outcome=is_outcome)
            drafts.append(made)
            expected.append(made.fact_key not in known)
            if expected[-1]:
                known.add(made.fact_key)
                kept.append((made.body, is_outcome and each["run"] not in counted))
                counted |= {each["run"]} if is_outcome else set()
        assert [receipt.is_new for receipt in append(ledger, *drafts)] == expected
    assert [(entry.body, entry.counts) for entry in entries(ledger, start)] == kept


def test_the_time_of_recording_never_falls(open_ledger: OpenLedger) -> None:
    """`received_at` is the ledger's clock. If the clock goes back, also over a restart, it stays at the last value."""
    times = iter([1_000, 3_000, 2_000, 500, 3_001])
    ledger = open_ledger(lambda: next(times))
    for _ in range(4):
        append(ledger, draft())
    ledger.close()
    later = iter([900, 4_000])
    ledger = open_ledger(lambda: next(later))
    append(ledger, draft(), draft())
    append(ledger, draft())
    assert [entry.received_at for entry in entries(ledger)] == [1_000, 3_000, 3_000, 3_000, 3_000, 3_000, 4_000]


def test_now_is_the_clock_of_received_at(ledger: Ledger) -> None:
    """The ledger's `now` and the times of recording come from one clock."""
    before = ledger.now()
    append(ledger, draft())
    assert before <= entries(ledger)[0].received_at <= ledger.now()


def test_pages_are_ordered_and_complete(ledger: Ledger) -> None:
    """Pages of any size, each read after the last position of the one before, give every entry once and in order."""
    drafts = [draft() for _ in range(25)]
    append(ledger, *drafts[:13])
    append(ledger, *drafts[13:])
    for size in (1, 4, 25, 26):
        found: list[Entry] = []
        while page := ledger.read(found[-1].position if found else 0, size):
            assert len(page) <= size
            found += page
        assert [entry.body for entry in found] == [each.body for each in drafts]
        assert all(before.position < after.position for before, after in pairwise(found))


def test_a_reader_that_follows_misses_nothing(open_ledger: OpenLedger) -> None:
    """A reader that reads only above its last position sees all entries of two writers, and each append as a whole."""
    writers = open_ledger(), open_ledger()
    reader = open_ledger()
    batches = [[draft() for _ in range(3)] for _ in range(80)]
    done = threading.Event()
    followed: list[Entry] = []

    def follow() -> None:
        last_look = False
        while not last_look:
            last_look = done.is_set()
            page = entries(reader, followed[-1].position if followed else 0)
            assert len(page) % 3 == 0
            followed.extend(page)

    async def write() -> None:
        following = asyncio.create_task(asyncio.to_thread(follow))
        await asyncio.gather(*(writers[number % 2].append(batch) for number, batch in enumerate(batches)))
        done.set()
        await following

    asyncio.run(write())
    assert followed == entries(reader)
    assert len(followed) == 240


def test_a_cursor_is_kept_with_its_entries(open_ledger: OpenLedger) -> None:
    """A cursor is stored when its append returns, also over a restart. Each name has a value of its own."""
    ledger = open_ledger()
    append(ledger, draft(), cursor=Cursor(name="journal", value="first"))
    assert ledger.cursor("journal") == "first"
    append(ledger, cursor=Cursor(name="journal", value="second"))
    append(ledger, cursor=Cursor(name="other", value="third"))
    ledger.close()
    ledger = open_ledger()
    assert (ledger.cursor("journal"), ledger.cursor("other"), ledger.cursor("none")) == ("second", "third", None)
    assert len(entries(ledger)) == 1


def test_all_of_an_append_or_nothing(ledger: Ledger) -> None:
    """If the cursor can't be written, the entries of its append are not stored, and later appends succeed."""
    lost = draft(), draft()
    with pytest.raises(LedgerUnavailableError):
        append(ledger, *lost, cursor=Cursor(name="journal", value="half an emoji \ud83d"))
    assert entries(ledger) == []
    assert ledger.cursor("journal") is None
    assert [receipt.is_new for receipt in append(ledger, *lost)] == [True, True]


def test_what_the_database_refuses_is_kept_as_unreadable(ledger: Ledger) -> None:
    """A draft that the database refuses is stored once as unreadable, and the other drafts are stored as they are."""
    poison = outcome("run", "failed", sandbox="\ud83d", event_id="event", body=b"poison")
    assert append(ledger, draft(kind=EntryKind.ALERT), poison, draft(kind=EntryKind.FLOW)) == [
        Receipt(kind=EntryKind.ALERT, is_new=True),
        Receipt(kind=EntryKind.UNREADABLE, is_new=True),
        Receipt(kind=EntryKind.FLOW, is_new=True),
    ]
    assert append(ledger, poison) == [Receipt(kind=EntryKind.UNREADABLE, is_new=False)]
    kept = entries(ledger)[1]
    assert (kept.kind, kept.body, kept.counts, kept.sandbox) == ("unreadable", b"poison", False, None)


def test_reopening_keeps_everything(open_ledger: OpenLedger) -> None:
    """A ledger that is opened again has the same entries, fact keys and counted runs."""
    ledger = open_ledger()
    known = outcome("run", "failed", event_id="event")
    append(ledger, known, draft())
    before = entries(ledger)
    ledger.close()
    ledger = open_ledger()
    assert entries(ledger) == before
    assert append(ledger, known, outcome("run", "success"))[0].is_new is False
    assert [entry.counts for entry in entries(ledger)] == [True, False, False]


def test_positions_rise_over_restarts(open_ledger: OpenLedger) -> None:
    """Positions rise from entry to entry, also over restarts and failed appends."""
    for _ in range(3):
        ledger = open_ledger()
        append(ledger, draft(), draft())
        with pytest.raises(LedgerUnavailableError):
            append(ledger, draft(), cursor=Cursor(name="journal", value="\ud83d"))
        positions = [entry.position for entry in entries(ledger)]
        assert positions == sorted(set(positions))
        ledger.close()
    assert len(positions) == 6


def test_closing_commits_waiting_appends(open_ledger: OpenLedger) -> None:
    """Appends that were submitted before the ledger was closed are answered and stored."""
    ledger = open_ledger()
    drafts = [draft() for _ in range(50)]

    async def close_amid() -> list[list[Receipt]]:
        appends = [asyncio.create_task(ledger.append([each])) for each in drafts]
        await asyncio.sleep(0)
        await asyncio.to_thread(ledger.close)
        return await asyncio.gather(*appends)

    assert asyncio.run(close_amid()) == [[Receipt(kind=EntryKind.UNSUPPORTED, is_new=True)]] * 50
    assert sorted(entry.body for entry in entries(open_ledger())) == sorted(each.body for each in drafts)


def test_a_closed_ledger_takes_nothing(ledger: Ledger) -> None:
    """After the ledger was closed, an append raises LedgerUnavailableError and does not wait."""
    ledger.close()
    with pytest.raises(LedgerUnavailableError):
        append(ledger, draft())


def test_a_ledger_that_can_be_written(ledger: Ledger) -> None:
    """The write check can be repeated, and changes no entry, no position and no cursor of others."""
    append(ledger, draft(), cursor=Cursor(name="journal", value="position"))
    before = entries(ledger), ledger.head(), ledger.cursor("journal")
    for _ in range(3):
        asyncio.run(ledger.check_writable())
    assert (entries(ledger), ledger.head(), ledger.cursor("journal")) == before


def test_the_write_check_needs_the_space_of_a_notification(ledger: Ledger) -> None:
    """The write check needs as much space as a notification, because a few bytes may fit on a full disk."""
    before = ledger.size()
    asyncio.run(ledger.check_writable())
    assert ledger.size() >= before + 64 * 1024


def test_a_closed_ledger_can_not_be_written(ledger: Ledger) -> None:
    """The write check raises what an append would raise."""
    ledger.close()
    with pytest.raises(LedgerUnavailableError):
        asyncio.run(ledger.check_writable())


def test_size_includes_the_bodies(ledger: Ledger) -> None:
    """The size includes at least the bodies."""
    before = ledger.size()
    append(ledger, draft(body=b"x" * 300_000))
    assert ledger.size() >= before + 300_000


def test_two_checkpoints_are_kept(ledger: Ledger) -> None:
    """The newest two checkpoints are kept, and their states are returned byte for byte."""
    assert ledger.checkpoints() == []
    assert ledger.checkpoint(1) is None
    for position in (3, 7, 5, 9):
        ledger.save_checkpoint(position, b"state %d" % position)
    assert [each.position for each in ledger.checkpoints()] == [9, 7]
    assert (ledger.checkpoint(9), ledger.checkpoint(7)) == (b"state 9", b"state 7")
    assert (ledger.checkpoint(5), ledger.checkpoint(3)) == (None, None)


def test_a_checkpoint_says_when_it_was_written(open_ledger: OpenLedger) -> None:
    """A checkpoint has the time of the ledger's clock, and is replaced by one at the same position."""
    now = [5_000]
    ledger = open_ledger(lambda: now[0])
    ledger.save_checkpoint(3, b"old")
    now[0] = 6_000
    ledger.save_checkpoint(3, b"new")
    assert ledger.checkpoints() == [Checkpoint(3, 6_000)]
    assert ledger.checkpoint(3) == b"new"


def test_another_process_sees_checkpoints(open_ledger: OpenLedger) -> None:
    """A checkpoint that one process stores can be read by another."""
    open_ledger().save_checkpoint(3, bytes(range(256)))
    assert open_ledger().checkpoint(3) == bytes(range(256))


@pytest.mark.parametrize(
    ("checkpoints", "before", "left"),
    [
        pytest.param([], 10_000, [1, 2, 3, 4, 5, 6], id="no-checkpoint"),
        pytest.param([6], 10_000, [1, 2, 3, 4, 5, 6], id="one-checkpoint"),
        pytest.param([4, 6], 10_000, [5, 6], id="behind-the-older"),
        pytest.param([6, 4], 10_000, [5, 6], id="whichever-was-written-first"),
        pytest.param([6, 9], 3_000, [3, 4, 5, 6], id="too-old"),
        pytest.param([6, 9], 10_000, [], id="all"),
        pytest.param([6, 9], 0, [1, 2, 3, 4, 5, 6], id="none"),
    ],
)
def test_pruning(open_ledger: OpenLedger, checkpoints: list[int], before: int, left: list[int]) -> None:
    """Entries that were recorded before a time are deleted, the oldest first, if the older checkpoint contains them."""
    now = [0]
    ledger = open_ledger(lambda: now[0])
    for number in range(1, 7):
        now[0] = number * 1_000
        append(ledger, draft())
    for position in checkpoints:
        ledger.save_checkpoint(position, b"state")
    deleted = 0
    while count_ := ledger.prune(before, 2**60, 2):
        assert count_ <= 2
        deleted += count_
    assert [entry.position for entry in entries(ledger)] == left
    assert deleted == 6 - len(left)


def test_positions_go_on_after_pruning(ledger: Ledger) -> None:
    """After all entries were pruned, the next one has a position above theirs."""
    append(ledger, draft(), draft())
    for position in (2, 3):
        ledger.save_checkpoint(position, b"state")
    assert ledger.prune(2**60, 2**60, 100) == 2
    assert ledger.head() == 0
    append(ledger, draft())
    assert [entry.position for entry in entries(ledger)] == [3]


def test_the_number_of_entries(ledger: Ledger) -> None:
    """A small ledger's entries are counted: duplicates and pruned entries are none."""
    assert ledger.content()[:2] == (0, True)
    known = draft()
    append(ledger, known, draft())
    append(ledger, known, draft(), known, draft())
    append(ledger, known)
    assert ledger.content()[:2] == (4, True)
    head = ledger.head()
    for position in (head, head + 1):
        ledger.save_checkpoint(position, b"state")
    assert ledger.prune(2**60, 2**60, 3) == 3
    assert ledger.content()[:2] == (1, True)


def test_what_is_used(ledger: Ledger) -> None:
    """The bytes in use grow with what is appended, and are not more than the bytes on the disk."""
    before = ledger.content().bytes_used
    append(ledger, *(draft(body=b"x" * 100_000) for _ in range(5)))
    assert before + 500_000 <= ledger.content().bytes_used <= ledger.size()


def test_where_a_ledger_is(open_ledger: OpenLedger) -> None:
    """A ledger has a place that is the same each time it is opened. It is new the first time only."""
    first = open_ledger()
    append(first, draft())
    second = open_ledger()
    assert (first.was_created, second.was_created) == (True, False)
    assert first.location == second.location


def test_pruning_stops_at_a_position(ledger: Ledger) -> None:
    """No entry above a position is deleted, and the last deleted position is stored."""
    append(ledger, *(draft() for _ in range(5)))
    for position in (5, 6):
        ledger.save_checkpoint(position, b"state")
    assert ledger.pruned() == 0
    assert ledger.prune(2**60, 3, 100) == 3
    assert (ledger.pruned(), [entry.position for entry in entries(ledger)]) == (3, [4, 5])


def test_a_checkpoint_discards_others(ledger: Ledger) -> None:
    """When a checkpoint is stored, those to discard are deleted, and the newest of the others is kept."""
    for position in (3, 7):
        ledger.save_checkpoint(position, b"state")
    ledger.save_checkpoint(8, b"state", discard={7, 99})
    assert [each.position for each in ledger.checkpoints()] == [8, 3]


def test_key_paths(open_ledger: OpenLedger) -> None:
    """Paths of keys are stored with the time of their last use, replaced and deleted, and another process sees them."""
    ledger = open_ledger()
    assert ledger.key_paths() == []
    ledger.save_key_paths([KeyPath("/one", 1_000), KeyPath("/two", 2_000)])
    ledger.save_key_paths([KeyPath("/one", 3_000)], ["/none"])
    assert open_ledger().key_paths() == [KeyPath("/one", 3_000), KeyPath("/two", 2_000)]
    ledger.save_key_paths([], ["/one"])
    assert open_ledger().key_paths() == [KeyPath("/two", 2_000)]


def test_few_key_paths_are_kept(ledger: Ledger) -> None:
    """Of all paths, the 64 that were used last are kept."""
    for number in range(100):
        ledger.save_key_paths([KeyPath(f"/{number}", number)])
    assert [path.last_used_at for path in ledger.key_paths()] == list(range(99, 35, -1))
