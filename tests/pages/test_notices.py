"""The notices for the top of a page."""

import pytest

from exporter.metrics.flow_summaries import CurrentFlows
from exporter.model import FlowKey, RecordedFact, Status
from exporter.pages.notices import ProcessState, last_heard, notices, of_silence
from tests.metrics.facts import DAY, HOUR, MINUTE, T0, folded, recorded, run

END = T0 + 40 * DAY


def every(minutes: int, flow_id: str, until: int = END) -> list[RecordedFact]:
    """The runs of a flow in three weeks or more, so many minutes apart. The last one ended at `until`."""
    ends = [until - n * minutes * MINUTE for n in range(21 * 24 * 60 // minutes)][::-1]
    return [recorded(run(f"{flow_id}-{end}", flow_id=flow_id, completed_at=end), end // 1000, end) for end in ends]


def current(now: int, *flows: list[RecordedFact]) -> CurrentFlows:
    """The flows with these runs."""
    facts = sorted((fact for flow in flows for fact in flow), key=lambda fact: fact.received_at)
    return folded(facts, now).current_flows()


def several(minutes: int, number: int, until: int = END) -> list[list[RecordedFact]]:
    """So many flows of the same rhythm."""
    return [every(minutes, f"{minutes}-min-{index}", until) for index in range(number)]


def overdue_at(minutes: int) -> int:
    """When a flow of this rhythm is overdue."""
    at = current(END, every(minutes, "f")).flows[FlowKey("f", "prod")].overdue_at
    assert at is not None
    return at


@pytest.mark.parametrize(
    ("flows", "heard", "now", "expected"),
    [
        pytest.param([], END, END + DAY, False, id="no flow"),
        pytest.param(several(60, 3), END, END + HOUR, False, id="not late yet"),
        pytest.param(several(60, 3), END, overdue_at(60) + 1, True, id="three of three are overdue"),
        pytest.param(several(60, 2), END, overdue_at(60) + 1, False, id="two of two: not for long enough"),
        pytest.param(several(60, 2), END, END + 2 * (overdue_at(60) - END) + 1, True, id="two of two, for long"),
        pytest.param(several(60, 2), END + 3 * HOUR, END + 3 * HOUR + 2 * HOUR, False, id="something else came"),
        pytest.param(
            [*several(60, 3), *several(1440, 20)], END, overdue_at(60) + 1, True, id="the frequent ones of many stopped"
        ),
        pytest.param(
            [*several(60, 3, END - DAY), *several(1440, 20)],
            END,
            END + 6 * HOUR,
            False,
            id="a few had stopped before, and the others are not late",
        ),
        pytest.param([*several(60, 2), *several(1440, 20)], END, overdue_at(60) + HOUR, False, id="two of many"),
        pytest.param(several(60, 3, END - 10 * DAY), END, END + HOUR, False, id="abandoned flows, others still come"),
        pytest.param(several(60, 3), None, END + DAY, False, id="nothing ever came by itself"),
    ],
)
def test_silence(flows: list[list[RecordedFact]], heard: int | None, now: int, expected: bool) -> None:
    """There is a notice if so many flows are silent at once that notifications have probably stopped."""
    deliveries = {"replay": now} | ({} if heard is None else {"webhook": heard})
    notice = of_silence(current(now, *flows), deliveries)
    assert (notice is not None) is expected
    if notice is not None:
        assert notice.since == heard


def test_one_silent_flow_is_no_silence() -> None:
    """A flow that stopped while another one goes on is overdue, and no reason for a notice."""
    now = overdue_at(60) + DAY
    found = current(now, every(60, "stopped"), every(60, "goes-on", now))
    assert found.flows[FlowKey("stopped", "prod")].is_overdue(now)
    assert of_silence(found, {"webhook": now}) is None


@pytest.mark.parametrize(
    ("deliveries", "expected"),
    [({}, None), ({"replay": 5}, None), ({"replay": 5, "webhook": 3, "journal": 4, "operator": 9}, 4)],
)
def test_what_adobe_sent_last(deliveries: dict[str, int], expected: int | None) -> None:
    """Files that somebody replays do not show that notifications come."""
    assert last_heard(deliveries) == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (ProcessState(), []),
        (ProcessState(unscraped=600.0, clock_skew=-120.0), []),
        (ProcessState(unscraped=601.0), ["scrape"]),
        (ProcessState(clock_skew=121.0), ["clock"]),
        (ProcessState(clock_skew=-121.0), ["clock"]),
        (ProcessState(clock_notes=("the clock was wrong", "still wrong")), ["clock", "clock"]),
        (ProcessState(skipped=1), ["skipped"]),
        (ProcessState(write_error="the ledger is full: raise it"), ["recording"]),
        (
            ProcessState(write_error="x", clock_skew=999.0, unscraped=7200.0, skipped=2000),
            ["recording", "clock", "scrape", "skipped"],
        ),
    ],
)
def test_each_state_has_its_notice(state: ProcessState, expected: list[str]) -> None:
    """What is wrong with this process is a sentence, with what to do, and nothing is said where nothing is wrong."""
    found = notices(state, current(T0), {})
    assert [notice.reason for notice in found] == expected
    for notice in found:
        assert notice.text[0].isupper() or notice.text[0].isdigit()
        assert notice.text.endswith(".")
        assert notice.action.endswith(".")


def test_the_silence_comes_after_what_is_not_recorded() -> None:
    """The gravest notice is first."""
    now = overdue_at(60) + 1
    state = ProcessState(write_error="x", skipped=1)
    found = notices(state, current(now, *several(60, 3)), {"webhook": END})
    assert [notice.reason for notice in found] == ["recording", "silence", "skipped"]


def test_failures_are_no_silence() -> None:
    """Flows whose runs all fail are not silent."""
    failing = [recorded(run(f"r{n}", Status.FAILED, completed_at=T0 + n), n + 1, T0 + n) for n in range(9)]
    assert of_silence(current(T0 + 9, failing), {"webhook": T0 + 9}) is None
