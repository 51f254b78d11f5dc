"""The guarantees of the port (exporter.ledger.queries.Queries), tested with every engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.errors import BadCursorError
from exporter.intake import draft as intake_draft
from exporter.ledger import Draft, Ledger
from exporter.ledger.queries import MAX_LIMIT, FlowFacts, Page, Queries, Row, RunFilter, SeenCode, SeenFlow
from exporter.model import Event, FlowRun, Forgotten, RunError, Source, Status
from tests.ledger import OpenLedger, append, draft, outcome

ALL = 1 << 60
_examples = count(1)

Add = Callable[..., int]


@pytest.fixture
def add(open_ledger: OpenLedger) -> Add:
    """Appends a draft at a time of recording (`received_at`, else 1,000), and returns its position."""
    clock = [1_000]
    ledger = open_ledger(lambda: clock[0])

    def add_one(made: Draft, received_at: int = 1_000) -> int:
        clock[0] = received_at
        append(ledger, made)
        return ledger.head()

    return add_one


def run(run_id: str, status: str = "success", at: int | None = 100, **fields: Any) -> Draft:
    """An outcome of a run of flow `f` in sandbox `prod`, which ended at this time."""
    return outcome(run_id, status, **{"flow_id": "f", "sandbox": "prod", "completed_at": at, **fields})


def ids(rows: Sequence[Row]) -> list[str | None]:
    """The run ids of rows."""
    return [row.run_id for row in rows]


def pages(queries: Queries, wanted: RunFilter, limit: int) -> list[Row]:
    """All rows of a list that is read in pages."""
    page = queries.runs(wanted, limit)
    rows = list(page.items)
    while page.next is not None:
        page = queries.runs(wanted, limit, page.next)
        rows += page.items
    return rows


def test_an_empty_ledger_has_no_answers(ledger: Ledger, queries: Queries) -> None:
    """Each question to a new ledger has an empty answer."""
    assert queries.runs(RunFilter()) == queries.not_understood() == Page((), None)
    assert queries.run("r") is None
    assert queries.last_good_run("f", "prod") is None
    assert queries.flow("f", "prod") is None
    assert not any((queries.last_runs("f", "prod"), queries.codes(0), queries.flows(), queries.sandboxes("f")))
    assert queries.last_deliveries() == {}
    assert queries.oldest_entry_at() is None


def test_a_row_is_what_was_recorded(add: Add, queries: Queries) -> None:
    """A row has all values of the draft that intake makes of a run, and the body byte for byte."""
    body = bytes(range(256))
    fact = FlowRun(
        run_id="r",
        flow_id="f",
        sandbox="prod",
        status=Status.FAILED,
        completed_at=50,
        updated_at=60,
        errors=(RunError(code="133"), RunError(code="other")),
    )
    event = Event(fact=fact, body=body, event_id="event", event_code="code")
    position = add(intake_draft(Source.WEBHOOK, event), 70)
    expected = Row(
        position=position,
        received_at=70,
        source="webhook",
        kind="run",
        event_code="code",
        counts=True,
        flow_id="f",
        run_id="r",
        sandbox="prod",
        status="failed",
        error_codes=("133", "other"),
        completed_at=50,
        updated_at=60,
        event_id="event",
        body=body,
    )
    assert queries.runs(RunFilter()).items == (expected,)
    assert expected.ended_at == 50
    assert expected.is_outcome
    assert not expected.is_good


def test_what_is_committed_is_found_at_once(add: Add, queries: Queries) -> None:
    """A question finds what was committed before it, each time that it is asked."""
    for number in range(5):
        add(run(f"r{number}", at=number))
        assert len(queries.runs(RunFilter()).items) == number + 1


def test_the_latest_end_is_first(add: Add, queries: Queries) -> None:
    """Runs are in order of their end, then of position. A run whose end is not known ended when it was recorded."""
    for run_id, at, received_at in (("a", 10, 100), ("b", 30, 101), ("c", None, 102), ("d", 10, 103)):
        add(run(run_id, at=at), received_at)
    assert ids(queries.runs(RunFilter()).items) == ["c", "b", "d", "a"]


def test_a_start_is_in_no_list(add: Add, queries: Queries) -> None:
    """Lists hold runs that have ended alone: no starts, alerts, descriptions or what is not understood."""
    add(run("r", "in_progress", is_outcome=False))
    add(run("r", "queued", is_outcome=False))
    add(draft(kind="alert", flow_id="f", run_id="r", status="firing", sandbox="prod"))
    add(draft(kind="flow", flow_id="f", sandbox="prod"))
    add(draft())
    assert queries.runs(RunFilter()).items == ()
    assert queries.last_runs("f", "prod") == ()


FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["e", "d", "c", "b", "a"]),
    ({"flow_id": "f"}, ["c", "b", "a"]),
    ({"flow_id": "g"}, ["e", "d"]),
    ({"flow_id": "h"}, []),
    ({"sandbox": "prod"}, ["d", "b", "a"]),
    ({"sandbox": ""}, ["e"]),
    ({"sandbox": "other"}, []),
    ({"flow_id": "g", "sandbox": "prod"}, ["d"]),
    ({"status": Status.FAILED}, ["e", "b"]),
    ({"status": Status.CANCELLED}, []),
    ({"flow_id": "f", "status": Status.FAILED}, ["b"]),
    ({"error_code": "133"}, ["e", "c", "b"]),
    ({"error_code": "13"}, []),
    ({"error_code": "133 other"}, []),
    ({"error_code": ""}, []),
    ({"error_code": "other"}, ["b"]),
    ({"error_code": "133", "flow_id": "f"}, ["c", "b"]),
    ({"error_code": "133", "sandbox": ""}, ["e"]),
    ({"error_code": "133", "status": Status.PARTIAL_SUCCESS}, ["c"]),
    ({"since": 20}, ["e", "d", "c", "b"]),
    ({"until": 20}, ["a"]),
    ({"since": 20, "until": 40}, ["c", "b"]),
    ({"since": 40, "until": 20}, []),
    ({"error_code": "133", "since": 30, "until": 31}, ["c"]),
]


@pytest.mark.parametrize(("wanted", "expected"), FILTERS, ids=str)
def test_a_list_has_what_the_filter_wants(
    add: Add, queries: Queries, wanted: dict[str, Any], expected: list[str]
) -> None:
    """Each part of a filter is compared exactly. `since` is part of the time and `until` is not."""
    add(run("a", at=10))
    add(run("b", "failed", at=20, error_codes="133 other"))
    add(run("c", "partial_success", at=30, error_codes="133", sandbox="dev"))
    add(run("d", at=40, flow_id="g"))
    add(run("e", "failed", at=50, flow_id="g", sandbox=None, error_codes="133"))
    assert ids(queries.runs(RunFilter(**wanted)).items) == expected
    assert ids(pages(queries, RunFilter(**wanted), 1)) == expected


@pytest.mark.parametrize(
    "wanted",
    [
        {"status": Status.IN_PROGRESS},
        {"since": 1 << 60},
        {"until": -(1 << 60)},
        {"flow_id": "\ud800"},
        {"error_code": "\ud800"},
    ],
)
def test_a_filter_has_values_that_a_run_can_have(wanted: dict[str, Any]) -> None:
    """A status that is no outcome, a time out of range and a text that is not Unicode raise ValueError."""
    with pytest.raises(ValueError, match=r".+"):
        RunFilter(**wanted)


@pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT + 1, 1 << 70])
def test_a_limit_is_bounded(ledger: Ledger, queries: Queries, limit: int) -> None:
    """A limit outside 1 to MAX_LIMIT raises ValueError in every list."""
    for ask in (
        lambda: queries.runs(RunFilter(), limit),
        lambda: queries.last_runs("f", "prod", limit),
        lambda: queries.not_understood(limit),
        lambda: queries.flows(limit=limit),
    ):
        with pytest.raises(ValueError, match="limit"):
            ask()


# The outcomes of one run in the order of recording: status, end, updated at. Then which of them stands.
CORRECTED: dict[str, tuple[list[tuple[str, int | None, int | None]], int]] = {
    "a later correction": ([("failed", 10, 11), ("success", 10, 12)], 1),
    "a correction that arrived too late": ([("failed", 10, 12), ("success", 10, 11)], 0),
    "the same time": ([("failed", 10, 11), ("success", 10, 11)], 1),
    "the end stands for a missing time": ([("failed", 10, None), ("success", 9, None)], 0),
    "an end against a time": ([("failed", 12, None), ("success", 10, 11)], 0),
    "three": ([("unknown", 10, 11), ("failed", 10, 13), ("success", 10, 12)], 1),
    "no time at all": ([("failed", None, None), ("success", 10, 11)], 0),
}


@pytest.mark.parametrize(("outcomes", "standing"), CORRECTED.values(), ids=CORRECTED)
def test_the_newest_outcome_stands(
    add: Add, queries: Queries, outcomes: list[tuple[str, int | None, int | None]], standing: int
) -> None:
    """A run is listed once, with the outcome that was updated last. The filter is compared with that one alone."""
    for status, at, updated_at in outcomes:
        add(run("r", status, at, updated_at=updated_at, error_codes="133" if status == "failed" else None))
    (row,) = queries.runs(RunFilter()).items
    assert row.status == outcomes[standing][0]
    facts = queries.run("r")
    assert facts is not None
    assert facts.standing == row
    assert [fact.status for fact in facts.facts] == [status for status, _, _ in outcomes]
    for status, _, _ in outcomes:
        stands = status == row.status
        assert bool(queries.runs(RunFilter(status=Status(status))).items) == stands
        assert bool(queries.runs(RunFilter(flow_id="f", status=Status(status))).items) == stands
    assert bool(queries.runs(RunFilter(error_code="133")).items) == (row.status == "failed")


def test_runs_whose_ids_begin_alike_are_apart(add: Add, queries: Queries) -> None:
    """An id with a colon, or with the beginning of another id, is another run."""
    names = ["a", "a:success", "a:", "a;", "ab", "A", ""]
    for number, run_id in enumerate(names):
        add(run(run_id, "failed", at=number))
        add(run(run_id, at=number, updated_at=number + 1))
    assert ids(queries.runs(RunFilter()).items) == names[::-1]
    for run_id in names:
        facts = queries.run(run_id)
        assert facts is not None
        assert ids(facts.facts) == [run_id, run_id]


def test_later_arrivals_do_not_show_while_paging(add: Add, queries: Queries) -> None:
    """Later pages have no run, and no correction, that was recorded after the first page. A new list has them."""
    for number in range(6):
        add(run(f"r{number}", "failed", at=number))
    first = queries.runs(RunFilter(), 2)
    add(run("late", at=1))
    add(run("r0", "success", at=0, updated_at=99))
    add(run("r5", "success", at=0, updated_at=99))
    second = queries.runs(RunFilter(), 10, first.next)
    assert ids(first.items + second.items) == ["r5", "r4", "r3", "r2", "r1", "r0"]
    assert {row.status for row in second.items} == {"failed"}
    assert second.next is None
    assert ids(queries.runs(RunFilter()).items) == ["r4", "r3", "r2", "late", "r1", "r5", "r0"]


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-1], lambda text: text[:9] + text[10:] + "A", lambda text: text + "A"]
)
def test_a_damaged_cursor_is_an_error(add: Add, queries: Queries, damage: Callable[[str], str]) -> None:
    """A cursor that was cut off, mistyped or made longer raises BadCursorError."""
    for number in range(3):
        add(run(f"r{number}"))
        add(draft())
    asks: tuple[Callable[[str | None], Page], ...] = (
        lambda text: queries.runs(RunFilter(), 1, text),
        lambda text: queries.not_understood(1, text),
    )
    for ask in asks:
        page = ask(None)
        assert page.next is not None
        assert len(ask(page.next).items) == 1
        with pytest.raises(BadCursorError, match="begin again"):
            ask(damage(page.next))


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_other_text_is_a_damaged_cursor(ledger: Ledger, queries: Queries, text: str) -> None:
    """No text that was made up is a cursor, and none raises anything but BadCursorError."""
    with pytest.raises(BadCursorError):
        queries.runs(RunFilter(), 1, text)


def test_a_cursor_belongs_to_its_list(add: Add, queries: Queries) -> None:
    """The cursor of one list is damaged for another."""
    for _ in range(2):
        add(draft())
    with pytest.raises(BadCursorError):
        queries.runs(RunFilter(), 1, queries.not_understood(1).next)


def test_a_page_of_large_bodies_is_short(add: Add, queries: Queries) -> None:
    """A page ends early where bodies are large, and the next page goes on after it."""
    for number in range(5):
        add(run(f"r{number}", at=number, body=bytes(3_000_000)))
    page = queries.runs(RunFilter(), 5)
    assert ids(page.items) == ["r4", "r3", "r2"]
    assert ids(queries.runs(RunFilter(), 5, page.next).items) == ["r1", "r0"]
    assert ids(queries.last_runs("f", "prod")) == ["r4", "r3", "r2"]


def test_entries_by_their_positions(add: Add, queries: Queries) -> None:
    """Entries come in the order that was asked for, without those that are not there."""
    first, second = add(run("a")), add(run("b"))
    assert ids(queries.entries([second, second + 7, first, -1])) == ["b", "a"]
    assert queries.entries([]) == ()
    with pytest.raises(ValueError, match="at most"):
        queries.entries(range(MAX_LIMIT + 1))


def test_all_facts_of_a_run(add: Add, queries: Queries) -> None:
    """A run's facts are its starts, outcomes and corrections and the alerts that name it, in order of position."""
    add(run("r", "in_progress", at=None, is_outcome=False))
    add(draft(kind="alert", run_id="r", flow_id="f", sandbox="prod", status="firing"))
    add(draft(kind="alert", run_id="other", status="firing"))
    add(run("r", "failed", at=20))
    add(run("other", at=21))
    add(run("r", "success", at=22))
    facts = queries.run("r")
    assert facts is not None
    assert [fact.status for fact in facts.facts] == ["in_progress", "firing", "failed", "success"]
    assert [fact.counts for fact in facts.facts] == [False, False, True, False]
    assert facts.standing is not None
    assert facts.standing.status == "success"
    assert queries.run("never") is None


def test_a_run_that_has_not_ended(add: Add, queries: Queries) -> None:
    """Nothing stands of a run without an outcome. The run before it ended before its last fact was recorded."""
    add(run("before", at=900))
    add(run("r", "in_progress", at=None, is_outcome=False), 1_000)
    facts = queries.run("r")
    assert facts is not None
    assert facts.standing is facts.next is None
    assert ids([facts.previous] if facts.previous else []) == ["before"]


def test_the_runs_before_and_after(add: Add, queries: Queries) -> None:
    """The neighbours of a run ended before and after it, in the same flow and sandbox, and are outcomes that stand."""
    add(run("a", at=10))
    add(run("b", at=20))
    add(run("b2", at=20))
    add(run("c", "failed", at=30))
    add(run("c", "success", at=5, updated_at=40))
    add(run("d", at=50))
    add(run("elsewhere", at=25, sandbox="dev"))
    add(run("another", at=26, flow_id="g"))
    found = {}
    for run_id in ("c", "a", "b", "b2", "d", "elsewhere"):
        facts = queries.run(run_id)
        assert facts is not None
        found[run_id] = [row.run_id if row else None for row in (facts.previous, facts.next)]
    assert found == {
        "c": [None, "a"],
        "a": ["c", "b"],
        "b": ["a", "b2"],
        "b2": ["b", "d"],
        "d": ["b2", None],
        "elsewhere": [None, None],
    }


def test_the_last_good_run(add: Add, queries: Queries) -> None:
    """The last run that succeeded, wholly or partly, of this flow in this sandbox. A corrected success is none."""
    add(run("a", at=10))
    add(run("b", "partial_success", at=20))
    add(run("c", "success", at=30))
    add(run("c", "failed", at=30, updated_at=31))
    add(run("d", "unknown", at=40))
    add(run("elsewhere", at=50, sandbox="dev"))
    good = queries.last_good_run("f", "prod")
    assert good is not None
    assert good.run_id == "b"
    assert good.is_good
    assert ids(queries.last_runs("f", "prod", 3)) == ["d", "c", "b"]


def test_error_codes(add: Add, queries: Queries) -> None:
    """A code has its first and its last end, and the runs since a time whose outcome that stands reports it."""
    add(run("a", "failed", at=10, error_codes="133"))
    add(run("b", "failed", at=20, error_codes="133 other"))
    add(run("c", "failed", at=30, error_codes="other"))
    add(run("c", "success", at=30, updated_at=31))
    add(run("d", "partial_success", at=40, error_codes="133"))
    add(run("e", "in_progress", is_outcome=False, error_codes="Z-1-X"))
    assert queries.codes(20) == (
        SeenCode(code="133", recent_runs=2, first_seen_at=10, last_seen_at=40),
        SeenCode(code="other", recent_runs=1, first_seen_at=20, last_seen_at=30),
    )
    assert [(code.code, code.recent_runs) for code in queries.codes(0)] == [("133", 3), ("other", 1)]
    assert [code.recent_runs for code in queries.codes(41)] == [0, 0]


def test_runs_with_a_code_are_counted_up_to_a_bound(
    add: Add, queries: Queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than MAX_COUNTED runs are counted for a code, also if several sets of codes hold it."""
    monkeypatch.setattr("exporter.ledger.sqlite_queries.MAX_COUNTED", 3)
    for number in range(8):
        add(run(f"r{number}", "failed", error_codes=("133", "133 other")[number % 2]))
    assert [code.recent_runs for code in queries.codes(0)] == [3, 3]


def test_what_is_not_understood(add: Add, queries: Queries) -> None:
    """Unsupported and unreadable entries are listed newest first. What arrives while paging does not show."""
    first = add(draft(kind="unsupported", body=b"1"))
    add(run("r"))
    second = add(draft(kind="unreadable", body=b"2"))
    third = add(draft(kind="unsupported", body=b"3"))
    page = queries.not_understood(2)
    add(draft())
    rest = queries.not_understood(2, page.next)
    assert [row.position for row in page.items + rest.items] == [third, second, first]
    assert [row.body for row in page.items + rest.items] == [b"3", b"2", b"1"]
    assert rest.next is None


def test_flows(add: Add, queries: Queries) -> None:
    """Flows of runs, starts, alerts and descriptions are listed by id and sandbox. A forgotten flow alone is none."""
    add(run("a", flow_id="f", sandbox="prod"))
    add(run("b", flow_id="f", sandbox="dev"))
    add(run("c", flow_id="f", sandbox="prod"))
    add(run("d", "in_progress", is_outcome=False, flow_id="g", sandbox=None))
    add(draft(kind="alert", flow_id="", sandbox="prod", status="firing"))
    add(draft(kind="flow", flow_id="é", sandbox="prod"))
    add(intake_draft(Source.OPERATOR, Event(fact=Forgotten(flow_id="gone"), body=b"{}")))
    expected = [("", "prod"), ("f", "dev"), ("f", "prod"), ("g", ""), ("é", "prod")]
    assert queries.flows() == tuple(SeenFlow(*each) for each in expected)
    paged: list[SeenFlow] = []
    while found := queries.flows(paged[-1] if paged else None, 2):
        paged += found
    assert paged == expected
    assert queries.flows(SeenFlow("f", "e")) == tuple(expected[2:])
    assert queries.sandboxes("f") == ("dev", "prod")
    assert queries.sandboxes("gone") == ()


def test_what_shows_a_flow(add: Add, queries: Queries) -> None:
    """A flow has its newest entry, and the newest that is a run or a description, of its sandbox alone."""
    add(run("a", at=10))
    description = add(draft(kind="flow", flow_id="f", sandbox="prod", completed_at=20))
    alert = add(draft(kind="alert", flow_id="f", sandbox="prod", status="firing", completed_at=30))
    add(run("b", at=15))
    add(run("c", at=40, sandbox="dev"))
    add(draft(kind="alert", flow_id="silent", sandbox="prod", status="inactive"))
    found = queries.flow("f", "prod")
    assert found is not None
    assert found.newest.position == alert
    assert found.newest_description is not None
    assert found.newest_description.position == description
    silent = queries.flow("silent", "prod")
    assert silent is not None
    assert silent.newest_description is None
    assert queries.flow("f", "other") is None


def test_how_far_back_the_ledger_reaches(open_ledger: OpenLedger, add: Add, queries: Queries) -> None:
    """The oldest entry is the first that is not pruned. Its time is that of recording, whenever the run ended."""
    for number in range(3):
        add(run(f"r{number}", at=7_000 - number), 1_000 + number)
    assert queries.oldest_entry_at() == 1_000
    ledger = open_ledger()
    for position in (ALL, ALL + 1):
        ledger.save_checkpoint(position, b"state")
    ledger.prune(ALL, ALL, 2)
    assert queries.oldest_entry_at() == 1_002


def test_a_flow_that_was_forgotten(add: Add, queries: Queries) -> None:
    """The newest statement that a flow was forgotten is given with the flow, in each of its sandboxes."""
    add(run("a"))
    add(run("b", sandbox="dev"))
    assert [found.forgotten for found in map_flows(queries, "prod", "dev")] == [None, None]
    positions = [add(forgotten("f", number)) for number in range(2)]
    add(forgotten("other", 9))
    assert [found.forgotten for found in map_flows(queries, "prod", "dev")] == [positions[1]] * 2


def map_flows(queries: Queries, *sandboxes: str) -> list[FlowFacts]:
    """What shows flow `f` in these sandboxes."""
    found = [queries.flow("f", sandbox) for sandbox in sandboxes]
    return [facts for facts in found if facts is not None]


def forgotten(flow_id: str, number: int) -> Draft:
    """The statement that a flow was forgotten."""
    event = Event(fact=Forgotten(flow_id=flow_id), body=b"%d" % number)
    return intake_draft(Source.OPERATOR, event)


def test_the_last_delivery_of_each_source(add: Add, queries: Queries) -> None:
    """A source has the time of its last delivery, also if that held known facts alone."""
    add(run("a", source=Source.WEBHOOK), 1_000)
    add(run("b", source=Source.JOURNAL), 2_000)
    add(run("b", source=Source.WEBHOOK), 3_000)
    assert queries.last_deliveries() == {"webhook": 3_000, "journal": 2_000}


@dataclass(frozen=True)
class Made:
    """An outcome in the model."""

    position: int
    received_at: int
    made: Draft

    @property
    def ended_at(self) -> int:
        """When the run ended, else when it was recorded."""
        return self.received_at if self.made.completed_at is None else self.made.completed_at

    @property
    def standing(self) -> tuple[int, int]:
        """The greatest of a run stands."""
        return self.ended_at if self.made.updated_at is None else self.made.updated_at, self.position

    def is_wanted(self, wanted: RunFilter) -> bool:
        """Whether a filter wants it."""
        made = self.made
        return (
            wanted.flow_id in (None, made.flow_id)
            and wanted.sandbox in (None, made.sandbox or "")
            and (wanted.status is None or wanted.status.value == made.status)
            and (wanted.error_code is None or wanted.error_code in (made.error_codes or "").split())
            and (wanted.since is None or self.ended_at >= wanted.since)
            and (wanted.until is None or self.ended_at < wanted.until)
        )


def listed(outcomes: Sequence[Made], wanted: RunFilter, head: int) -> list[Made]:
    """The list that a plain program makes of the outcomes in a ledger, up to a head."""
    standing: dict[str | None, Made] = {}
    for each in outcomes:
        known = standing.get(each.made.run_id)
        if each.position <= head and (known is None or each.standing > known.standing):
            standing[each.made.run_id] = each
    found = [each for each in standing.values() if each.is_wanted(wanted)]
    return sorted(found, key=lambda each: (each.ended_at, each.position), reverse=True)


_flows = st.sampled_from(["f", "g"])
_sandboxes = st.sampled_from(["prod", "dev", None])
_statuses = st.sampled_from([status.value for status in Status])
_times = st.integers(0, 12)
_outcome = st.fixed_dictionaries(
    {
        "run": st.integers(0, 8),
        "status": _statuses,
        "flow_id": _flows,
        "sandbox": _sandboxes,
        "completed_at": _times | st.none(),
        "updated_at": _times | st.none(),
        "error_codes": st.sampled_from([None, "133", "other", "133 other", "13"]),
    }
)
_batches = st.lists(_outcome, max_size=6)
_filters = st.builds(
    RunFilter,
    flow_id=_flows | st.none(),
    sandbox=st.sampled_from([None, None, "prod", "dev", ""]),
    status=st.sampled_from([None, None, Status.FAILED, Status.SUCCESS, Status.UNKNOWN]),
    error_code=st.sampled_from([None, None, None, "133", "other"]),
    since=_times | st.none(),
    until=_times | st.none(),
)
_turns = st.lists(st.tuples(st.integers(1, 4), _batches, st.integers(0, 3)), max_size=8)


@given(first=st.lists(_outcome, min_size=4, max_size=25), wanted=_filters, turns=_turns)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=150
)
def test_lists_are_those_of_a_plain_program(
    open_ledger: OpenLedger,
    queries: Queries,
    first: list[dict[str, Any]],
    wanted: RunFilter,
    turns: list[tuple[int, list[dict[str, Any]], int]],
) -> None:
    """Each page is what a plain program makes of the same outcomes, up to the head of the first page.

    Between the pages runs and corrections are recorded, and the oldest entries are pruned. Without pruning the pages
    together are the list at the first page. A run that lost no outcome is shown exactly once.
    """
    example = next(_examples)
    ledger = open_ledger(lambda: 7)
    for position in (ALL, ALL + 1):
        ledger.save_checkpoint(position, b"state")
    ledger.prune(ALL, ALL, 1_000)
    model: list[Made] = []

    def record(batch: Sequence[dict[str, Any]]) -> None:
        for fields in batch:
            values = {**fields, "run_id": f"{example}:{fields['run']}"}
            del values["run"]
            is_outcome = Status(values["status"]).is_outcome
            made = outcome(**values, is_outcome=is_outcome, is_provisional=values["status"] == "unknown")
            (receipt,) = append(ledger, made)
            if receipt.is_new and is_outcome:
                model.append(Made(ledger.head(), 7, made))

    try:
        record(first)
        head = ledger.head()
        at_first = listed(model, wanted, head)
        shown: list[int] = []
        cursor: str | None = None
        place: tuple[int, int] | None = None
        touched: set[str | None] = set()
        for limit, batch, pruned in [*turns, (500, [], 0)]:
            expected = [
                each for each in listed(model, wanted, head) if place is None or (each.ended_at, each.position) < place
            ]
            page = queries.runs(wanted, limit, cursor)
            positions = [row.position for row in page.items]
            assert positions == [each.position for each in expected[:limit]]
            assert (page.next is not None) == (len(expected) > limit)
            shown += positions
            if page.next is None:
                break
            cursor, place = page.next, (page.items[-1].ended_at, page.items[-1].position)
            record(batch)
            ledger.prune(ALL, ALL, pruned)
            lost = [each for each in model if each.position <= ledger.pruned()]
            touched |= {each.made.run_id for each in lost}
            model[:] = [each for each in model if each.position > ledger.pruned()]
        whole = [each.position for each in at_first if each.made.run_id not in touched]
        assert [position for position in shown if position in whole] == whole
    finally:
        ledger.close()
