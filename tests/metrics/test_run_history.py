from dataclasses import replace
from itertools import accumulate
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.metrics.cadence import Cadence
from exporter.metrics.failure_streak import Streak
from exporter.metrics.run_history import LATEST, MAX_FAILURES, Outcome, RunHistory
from exporter.model import Status
from tests.metrics.facts import DAY, HOUR, MINUTE, SECOND, T0

S, P, F, C, U = Status.SUCCESS, Status.PARTIAL_SUCCESS, Status.FAILED, Status.CANCELLED, Status.UNKNOWN


def outcome(ended_at: int, status: Status, position: int = 0, run_id: str = "", **fields: Any) -> Outcome:
    """An outcome this many minutes after T0, recorded at this position."""
    return Outcome(
        ended_at=T0 + ended_at * MINUTE,
        position=position or ended_at,
        run_id=run_id or f"run-{ended_at}-{position}",
        status=status,
        updated_at=T0 + fields.pop("updated_at", ended_at) * MINUTE,
        **fields,
    )


def failures(history: RunHistory) -> tuple[int, int | None]:
    """The number of failures in a row, and when they began."""
    streak = history.streak()
    return streak.failures, streak.since


def history_of(*outcomes: Outcome) -> RunHistory:
    """A history to which these were added in this order."""
    history = RunHistory()
    for each in outcomes:
        history.add(each)
    return history


@pytest.mark.parametrize(
    ("ends", "failed", "since"),
    [
        pytest.param([], 0, None, id="nothing yet"),
        pytest.param([(1, S)], 0, None, id="a success"),
        pytest.param([(1, F)], 1, 1, id="the first failure"),
        pytest.param([(1, S), (2, F), (3, F)], 2, 2, id="failures since a success"),
        pytest.param([(1, F), (2, S)], 0, None, id="a success ends them"),
        pytest.param([(1, F), (2, P)], 0, None, id="a partial success ends them"),
        pytest.param([(1, F), (2, C), (3, U), (4, F)], 2, 1, id="cancelled and unknown neither raise nor end"),
        pytest.param([(3, F), (1, F), (2, F)], 3, 1, id="failures out of order"),
        pytest.param([(1, F), (3, F), (2, S)], 1, 3, id="a late success between two failures"),
        pytest.param([(2, F), (3, F), (1, S)], 2, 2, id="a late success before them all"),
        pytest.param([(3, S), (1, F), (2, F)], 0, None, id="late failures before a success"),
        pytest.param([(2, S), (2, F)], 1, 2, id="at the same time, the one recorded last is later"),
    ],
)
def test_failures_are_counted_by_completion(ends: list[tuple[int, Status]], failed: int, since: int | None) -> None:
    """Consecutive failures are those completed since the last success, in whatever order they were recorded."""
    history = history_of(*(outcome(at, status, position) for position, (at, status) in enumerate(ends, start=1)))
    assert failures(history) == (failed, None if since is None else T0 + since * MINUTE)


@pytest.mark.parametrize(
    ("first", "second", "failed"),
    [
        pytest.param((F, 10), (S, 20), 0, id="a newer correction to success"),
        pytest.param((S, 10), (F, 20), 1, id="a newer correction to failure"),
        pytest.param((F, 20), (S, 10), 1, id="an older outcome recorded late changes nothing"),
        pytest.param((S, 10), (F, 10), 1, id="equally old, the one recorded last applies"),
    ],
)
def test_the_newest_update_applies(first: tuple[Status, int], second: tuple[Status, int], failed: int) -> None:
    """Of several outcomes of one run the one with the newest updatedAt applies."""
    history = history_of(
        *(
            outcome(5, status, position, "run", updated_at=updated_at)
            for position, (status, updated_at) in enumerate((first, second), start=1)
        )
    )
    assert failures(history)[0] == failed
    assert set(history.last_run_by_status()) == {(F if failed else S)}


def test_last_run_by_status_is_by_completion() -> None:
    """A late notification of an older run does not replace the latest run."""
    history = history_of(outcome(10, S, 1, duration=7), outcome(5, S, 2, duration=3), outcome(8, F, 3, duration=4))
    assert history.last_run_by_status() == {S: T0 + 10 * MINUTE, F: T0 + 8 * MINUTE}
    assert history.last_duration() == 7


def test_last_records_are_of_a_run_that_did_not_fail() -> None:
    """The last records are those of the latest run that did not fail, whatever failed after it."""
    history = RunHistory()
    for ended_at, status, amount in ((1, S, 10), (2, P, 20), (3, F, 0)):
        history.add(
            Outcome(
                ended_at=T0 + ended_at,
                position=ended_at,
                run_id=str(ended_at),
                status=status,
                updated_at=T0,
                records=(("input", amount), ("output", amount - 1)),
            )
        )
    assert history.last_records() == {"input": 20, "output": 19}


@pytest.mark.parametrize(
    ("durations", "expected"),
    [
        ([], None),
        ([5, 7], None),
        ([5, 9, 7], 7),
        ([5, 9, 7, 8], 7.5),
        ([None, 5, None, 9, 7], 7),
        ([1000] * 10 + [5] * 11 + [9] * 9, 5),
    ],
    ids=["none", "two", "three", "four", "some unknown", "the latest twenty only"],
)
def test_typical_duration_is_a_median(durations: list[int | None], expected: float | None) -> None:
    """The typical duration is the median of up to 20 latest runs that did not fail, from the third on."""
    history = RunHistory()
    for at, duration in enumerate(durations):
        history.add(
            Outcome(ended_at=T0 + at, position=at, run_id=str(at), status=S, updated_at=T0 + at, duration=duration)
        )
        history.add(Outcome(ended_at=T0 + at, position=at, run_id=f"f{at}", status=F, updated_at=T0, duration=99999))
    assert history.typical_duration() == expected


_ends = st.lists(st.tuples(st.integers(0, 400), st.sampled_from([S, P, F, F, F, C, U])), max_size=120)


@given(_ends, st.randoms(use_true_random=False))
def test_the_order_of_recording_does_not_matter(ends: list[tuple[int, Status]], random: Random) -> None:
    """Distinct runs give the same gauges in whatever order they are recorded."""
    distinct = [outcome(at, status, index + 1, f"run-{index}") for index, (at, status) in enumerate(ends)]
    shuffled = list(distinct)
    random.shuffle(shuffled)
    one, other = history_of(*distinct), history_of(*shuffled)
    assert one.streak() == other.streak()
    assert one.last_run_by_status() == other.last_run_by_status()
    assert one.interval() == other.interval()
    assert one.typical_duration() == other.typical_duration()


def test_history_is_bounded() -> None:
    """The failures of a flow that always fails are counted exactly in bounded memory, until a success ends them."""
    history = RunHistory()
    total = 5 * MAX_FAILURES
    for at in range(1, total + 1):
        history.add(outcome(at, F))
    assert failures(history) == (total, T0 + MINUTE)
    assert len(history.outcomes) < 2 * MAX_FAILURES
    history.add(outcome(total + 1, S))
    assert failures(history) == (0, None)
    last = total + 2 * MAX_FAILURES
    for at in range(total + 2, last):
        history.add(outcome(at, S))
    history.add(outcome(last, F))
    assert failures(history) == (1, T0 + last * MINUTE)
    assert len(history.outcomes) < 5 * LATEST


def test_codes_are_those_of_the_failures_in_a_row() -> None:
    """The codes are counted over the failures since the last success, and the cause is the first code of the first."""
    history = history_of(
        outcome(1, F, codes="99"),
        outcome(2, S),
        outcome(3, F, codes="133 2200"),
        outcome(4, C),
        outcome(5, F, codes=""),
    )
    assert dict(history.streak().runs_by_code) == {"133": 1, "2200": 1, "none": 1}
    assert history.streak().cause == "133"
    history.add(outcome(6, P))
    assert history.streak() == Streak()


@pytest.mark.parametrize(
    ("later", "cause"),
    [
        pytest.param(outcome(9, F, 9, codes="99"), "133", id="a later failure"),
        pytest.param(outcome(9, C, 9), "133", id="a run that was cancelled"),
        pytest.param(outcome(3, F, 9, codes="99"), "99", id="a failure recorded late that ended earlier"),
        pytest.param(outcome(5, F, 9, "a", codes="99"), "99", id="at the same time, with a lower run id"),
        pytest.param(outcome(5, F, 9, "z", codes="99"), "133", id="at the same time, with a higher run id"),
        pytest.param(outcome(6, S, 9), "2200", id="a success recorded late that ended between them"),
        pytest.param(outcome(4, S, 9), "133", id="a success recorded late that ended before them"),
        pytest.param(outcome(5, S, 9, "first", updated_at=20), "2200", id="the first was corrected"),
        pytest.param(outcome(5, F, 9, "first", updated_at=20, codes="99"), "133", id="the first was updated"),
    ],
)
def test_the_cause_is_of_the_first_failure(later: Outcome, cause: str) -> None:
    """The cause changes only if the failures in a row begin with another run."""
    history = history_of(outcome(5, F, 1, "first", codes="133"), outcome(7, F, 2, "second", codes="2200"), later)
    assert history.streak().cause == cause


_failures = st.tuples(st.integers(1, 60), st.sampled_from([F, F, F, C, U]), st.sampled_from(["", "133", "133 2200"]))


@given(st.lists(_failures, max_size=60), st.data())
def test_codes_and_cause_do_not_depend_on_the_order(ends: list[tuple[int, Status, str]], data: st.DataObject) -> None:
    """The same failures give the same codes, cause and beginning, in whatever order they are recorded."""

    def in_order(order: list[int]) -> RunHistory:
        return history_of(
            *(
                outcome(ends[run][0], ends[run][1], position, f"run-{run}", codes=ends[run][2])
                for position, run in enumerate(order, start=1)
            )
        )

    with pytest.MonkeyPatch.context() as lowered:
        lowered.setattr("exporter.metrics.run_history.MAX_FAILURES", 5)
        lowered.setattr("exporter.metrics.run_history.LATEST", 2)
        one = in_order(list(range(len(ends))))
        other = in_order(data.draw(st.permutations(range(len(ends)))))
    assert one.streak() == other.streak()
    failed = [(at, f"run-{run}", codes) for run, (at, status, codes) in enumerate(ends) if status is F]
    assert one.streak().failures == len(failed)
    assert one.streak().cause == (min(failed)[2].partition(" ")[0] or "none" if failed else None)
    assert one.streak().runs_by_code.get("2200", 0) == sum("2200" in codes for _, _, codes in failed)


def test_codes_are_bounded() -> None:
    """Failures that are kept as a number keep their codes and the cause, until a success ends them."""
    history = RunHistory()
    total = 5 * MAX_FAILURES
    for at in range(1, total + 1):
        history.add(outcome(at, F, codes="99" if at == 1 else "133" if at % 2 else "133 2200"))
    assert history.older_failures > 0
    assert dict(history.streak().runs_by_code) == {"99": 1, "133": total - 1, "2200": total // 2}
    assert history.streak().cause == "99"
    assert history.older_codes.keys() == {"99", "133", "133 2200"}
    history.add(outcome(total + 1, S))
    history.add(outcome(total + 2, F, codes=""))
    assert history.streak().cause == "none"
    assert dict(history.streak().runs_by_code) == {"none": 1}
    for at in range(total + 3, total + 2 * MAX_FAILURES):
        history.add(outcome(at, S))
    assert (history.older_codes, history.older_cause) == ({}, "")


def many(first: int, count: int, codes: str) -> list[Outcome]:
    """So many failures, one a minute."""
    return [outcome(at, F, codes=codes) for at in range(first, first + count)]


@pytest.mark.parametrize(
    ("older", "newer", "failed", "cause"),
    [
        pytest.param(many(1, 50, "133"), many(51, 50, "99"), {"133": 50, "99": 50}, "133", id="one streak"),
        pytest.param(many(1, 50, "133"), [outcome(51, S), *many(52, 50, "99")], {"99": 50}, "99", id="ended between"),
        pytest.param([*many(1, 50, "133"), outcome(51, S)], many(52, 50, "99"), {"99": 50}, "99", id="ended before"),
        pytest.param(many(51, 50, "133"), many(1, 50, "99"), {"133": 50, "99": 50}, "99", id="older runs came later"),
    ],
)
def test_histories_are_added_with_their_codes(
    older: list[Outcome],
    newer: list[Outcome],
    failed: dict[str, int],
    cause: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If a flow that was set aside is put back, its failures and those since then are one series of failures."""
    monkeypatch.setattr("exporter.metrics.run_history.MAX_FAILURES", 10)
    monkeypatch.setattr("exporter.metrics.run_history.LATEST", 2)
    history = history_of(*older)
    history.add_all(history_of(*newer))
    streak = history.streak()
    assert (streak.failures, dict(streak.runs_by_code)) == (sum(failed.values()), failed)
    assert streak.cause == cause


DAY_START = T0 // DAY * DAY


@pytest.mark.parametrize(
    ("completions", "expected"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([0, HOUR, 2 * HOUR], None, id="two gaps are too few"),
        pytest.param([0, HOUR, 2 * HOUR, 4 * HOUR], 2 * HOUR, id="one day: its longest"),
        pytest.param([day * DAY for day in range(4)], DAY, id="daily"),
        pytest.param([day * DAY for day in (0, 1, 2, 9, 10)], DAY, id="one long silence is not usual"),
        pytest.param([day * DAY for day in (0, 1, 2, 9, 10, 17, 18)], 7 * DAY, id="two long silences are usual"),
        pytest.param([week * 7 * DAY for week in range(12)], 7 * DAY, id="weekly, beyond 35 days"),
        pytest.param(
            [day * DAY + audience * SECOND for day in range(10) for audience in range(5)],
            DAY - 4 * SECOND,
            id="daily with five audiences at once",
        ),
        pytest.param(
            [day * DAY + (9 + hour) * HOUR for day in range(10) for hour in range(9)],
            16 * HOUR,
            id="hourly in office hours",
        ),
        pytest.param(
            [0, 20 * DAY, *(21 * DAY + day * DAY for day in range(60))],
            DAY,
            id="days older than 35 days do not count",
        ),
    ],
)
def test_the_usual_silence(completions: list[int], expected: int | None) -> None:
    """The interval is the second longest of the days' longest gaps, over 35 days and at least eight with a gap."""
    cadence = Cadence()
    for completed_at in completions:
        cadence.add(DAY_START + completed_at)
    assert cadence.interval() == expected


def completed(*completions: int) -> Cadence:
    """A flow with runs that ended at these times after the start of a day."""
    cadence = Cadence()
    for completed_at in completions:
        cadence.add(DAY_START + completed_at)
    return cadence


NEW_FOR = 15 * DAY + 12 * HOUR


@pytest.mark.parametrize(
    ("completions", "expected"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([0, HOUR, 2 * HOUR], None, id="two gaps are too few"),
        pytest.param([0, 1, 2, 3 * MINUTE], 28 * HOUR, id="new, seldom silent: a night"),
        pytest.param([0, 1, 2, 50 * MINUTE - 1 + 2], 28 * HOUR, id="new, just under 50 minutes: a night"),
        pytest.param([0, 1, 2, 50 * MINUTE + 2], 80 * HOUR, id="new, 50 minutes: a weekend"),
        pytest.param([day * DAY for day in range(4)], 80 * HOUR, id="new, daily: a weekend"),
        pytest.param([week * 7 * DAY for week in range(4)], 10 * DAY + 12 * HOUR + 15 * MINUTE, id="new, weekly"),
        pytest.param([hour * HOUR for hour in range(99)], 80 * HOUR, id="99 runs: new"),
        pytest.param([hour * HOUR for hour in range(100)], 105 * MINUTE, id="100 runs: not new"),
        pytest.param([day * DAY for day in range(30)], 36 * HOUR + 15 * MINUTE, id="after two weeks: not new"),
        pytest.param(
            [*range(3), *(day * DAY for day in range(1, 15))],
            # The first gap ended on the first day.
            DAY + NEW_FOR - 14 * DAY,
            id="no longer new during the silence",
        ),
        pytest.param(
            [day * DAY for day in range(16)],
            # The first gap ended on the second day.
            2 * DAY + NEW_FOR - 15 * DAY,
            id="no longer new during the silence, by the first gap",
        ),
        pytest.param([-900 * DAY, *(day * DAY for day in range(4))], 80 * HOUR, id="new after an old sample"),
        pytest.param(
            [*(day * DAY for day in range(20)), 59 * DAY, 60 * DAY],
            36 * HOUR + 15 * MINUTE,
            id="not new after a long pause",
        ),
    ],
)
def test_when_a_flow_is_overdue(completions: list[int], expected: int | None) -> None:
    """A flow is overdue after 1.5 intervals and 15 minutes, and a new flow not before a night or a weekend."""
    overdue_at = completed(*completions).overdue_at()
    assert (None if overdue_at is None else overdue_at - DAY_START - completions[-1]) == expected


@pytest.mark.parametrize("status", [S, P, F, C, U])
def test_any_outcome_ends_a_silence(status: Status) -> None:
    """The silence of a flow begins with its latest completion, whatever the outcome and the order of recording."""
    history = history_of(outcome(1, S), outcome(2, S), outcome(3, S), outcome(9, status), outcome(8, S))
    assert history.overdue_at() == T0 + 9 * MINUTE + 28 * HOUR


def test_a_correction_moves_when_a_flow_is_overdue() -> None:
    """If a correction changes when the latest run ended, the silence begins then."""
    runs = [outcome(minute, S) for minute in range(1, 6)]
    corrected = replace(outcome(30, F), run_id=runs[-1].run_id)
    assert history_of(*runs, corrected).overdue_at() == T0 + 30 * MINUTE + 28 * HOUR


@given(st.lists(st.integers(0, 6 * DAY), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_late_completions_split_gaps(completions: list[int], random: Random) -> None:
    """Completions give the same interval, and the same time at which the flow is overdue, in any order."""
    one, other = Cadence(), Cadence()
    for completed_at in sorted(completions):
        one.add(T0 + completed_at)
    random.shuffle(completions)
    for completed_at in completions:
        other.add(T0 + completed_at)
    assert one.interval() == other.interval()
    assert one.overdue_at() == other.overdue_at()


@given(st.lists(st.integers(0, 6 * DAY), min_size=5, max_size=40, unique=True), st.data())
def test_a_correction_leaves_no_trace(completions: list[int], data: st.DataObject) -> None:
    """After a completion is removed, everything is as if it had never been added."""
    wrong = data.draw(st.sampled_from(completions))
    one, other = Cadence(), Cadence()
    for completed_at in completions:
        one.add(T0 + completed_at)
        if completed_at != wrong:
            other.add(T0 + completed_at)
    one.remove(T0 + wrong)
    assert one.interval() == other.interval()
    assert one.overdue_at() == other.overdue_at()


@given(st.lists(st.integers(1, 3 * DAY), min_size=4, max_size=150))
def test_the_limit_of_a_silence_has_bounds(gaps: list[int]) -> None:
    """A flow is never overdue before 1.5 intervals and 15 minutes, and a new flow never later than a weekend."""
    cadence = Cadence()
    for completed_at in accumulate(gaps):
        cadence.add(T0 + completed_at)
        interval, overdue_at = cadence.interval(), cadence.overdue_at()
        assert (interval is None) == (overdue_at is None)
        if interval is not None and overdue_at is not None:
            limit = interval * 3 // 2 + 15 * MINUTE
            assert limit <= overdue_at - T0 - completed_at <= max(limit, 80 * HOUR)


def test_cadence_is_bounded() -> None:
    """A flow that runs every minute for months takes bounded memory."""
    cadence = Cadence()
    for minute in range(60 * 24 * 60):
        cadence.add(T0 + minute * MINUTE)
    assert cadence.interval() == MINUTE
    assert len(cadence.completions) <= 2001
    assert len(cadence.days) <= 40


_corrected = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from([S, F, C]), st.integers(-120, 0), st.integers(0, 3)), max_size=40
)


@given(_corrected)
def test_any_corrections_are_applied(corrections: list[tuple[int, Status, int, int]]) -> None:
    """Corrections may move completions by any distance, and the gauges still follow later runs."""
    history = RunHistory()
    for position, (run_, status, days, updated_at) in enumerate(corrections):
        history.add(
            Outcome(
                ended_at=T0 + days * DAY,
                position=position,
                run_id=str(run_),
                status=status,
                updated_at=updated_at,
            )
        )
        failures(history)
        history.interval()
    for hour in range(5):
        history.add(outcome(hour * 60 + 1, S, 100 + hour))
    assert history.interval() is not None
    assert failures(history) == (0, None)
