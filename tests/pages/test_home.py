"""What `/` shows for a state of the metrics, as a page and as values."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from html import unescape
from typing import Any, Final

import pytest

from exporter.errors import BadParameterError
from exporter.ledger.queries import Page, Row, RunFilter
from exporter.model import AlertState, Flow, FlowAlert, FlowKind, FlowRun, RecordedFact, RunError, Status
from exporter.pages import home
from exporter.pages.frame import Frame, NavigationItem
from exporter.pages.links import OwnLinks
from exporter.pages.notices import ProcessState
from exporter.pages.page_request import Addresses, PageRequest, Reading, Sources
from exporter.pages.platform import Platform
from tests.metrics.facts import DAY, HOUR, MINUTE, T0, folded, recorded, run

NOW: Final = T0 + 40 * DAY
FRAME: Final = Frame("1", [NavigationItem("/", "Now")])
SECTIONS: Final = {"causes", "failing", "disabled", "overdue", "stuck", "empty", "alerts", "recovered", "recent"}


class Ledger:
    """Answers as a ledger of these facts does, and counts the questions. The body of an entry is its position."""

    def __init__(self, facts: Sequence[RecordedFact], deliveries: Mapping[str, int]) -> None:
        self.facts = {fact.position: fact for fact in facts}
        self.deliveries = deliveries
        self.asked: list[str] = []
        self.wanted: RunFilter | None = None

    def last_deliveries(self) -> Mapping[str, int]:
        """When each source delivered last."""
        self.asked.append("last_deliveries")
        return self.deliveries

    def entries(self, positions: Sequence[int]) -> tuple[Row, ...]:
        """The entries at these positions."""
        self.asked.append("entries")
        return tuple(map(self.row, positions))

    def runs(self, wanted: RunFilter, limit: int = 100) -> Page:
        """The newest runs."""
        self.asked.append("runs")
        self.wanted = wanted
        ended = [fact for fact in self.facts.values() if isinstance(fact.fact, FlowRun) and fact.counts]
        return Page(tuple(self.row(fact.position) for fact in ended[::-1][:limit]), None)

    def row(self, position: int) -> Row:
        """The row of a fact."""
        fact = self.facts[position]
        assert isinstance(fact.fact, FlowRun)
        return Row(
            position=position,
            received_at=fact.received_at,
            source="webhook",
            kind="run",
            flow_id=fact.fact.flow_id,
            run_id=fact.fact.run_id,
            sandbox=fact.fact.sandbox,
            status=fact.fact.status.value,
            completed_at=fact.ended_at,
            body=str(position).encode(),
        )


def request(
    facts: Iterable[RecordedFact],
    parameters: Mapping[str, str] | None = None,
    *,
    is_full: bool = True,
    state: ProcessState | None = None,
    overflowed: int = 0,
    is_quick: bool = True,
) -> PageRequest:
    """A request for the page after these facts."""
    by_time = sorted(facts, key=lambda fact: (fact.received_at, fact.position))
    ordered = [replace(fact, position=position) for position, fact in enumerate(by_time, 1)]
    deliveries = {"webhook": ordered[-1].received_at} if ordered else {}
    ledger: Any = Ledger(ordered, deliveries)
    by_body = {str(each.position).encode(): each.fact for each in ordered if isinstance(each.fact, FlowRun)}
    flows = replace(folded(ordered, NOW).current_flows(), overflowed=overflowed)
    sources = Sources(
        now=lambda: NOW,
        flows=lambda: flows,
        read=lambda body, *_: by_body[body],
        reading=Reading(find_reason=lambda _: None, is_quick=lambda _: is_quick, event_code_label=lambda _: "other"),
        platform=Platform(read=lambda body, *_: by_body[body], tenant=None),
        process=lambda: state or ProcessState(),
        addresses=Addresses(telemetry_path="/metrics", webhook="/hook"),
        is_full=lambda: is_full,
        refused=_not_asked,
        facts=_not_asked,
        ledger=_not_asked,
        metrics=_not_asked,
    )
    return PageRequest(
        queries=ledger,
        sources=sources,
        item_id="",
        parameters=parameters or {},
        own=OwnLinks("./"),
        is_full=is_full,
    )


def _not_asked() -> Any:
    """What this page does not need."""
    raise AssertionError


def rendered(asked: PageRequest) -> str:
    """The page as HTML."""
    return FRAME.render("home.html", "/", home.page(asked)).decode()


def text(html: str) -> str:
    """The text of a page, on one line."""
    content = html.partition("<main")[2].partition(">")[2]
    return " ".join(unescape(re.sub("<[^>]+>", " ", content)).split())


def sections(html: str) -> set[str]:
    """The lists of a page."""
    return set(re.findall('<h2 id="([a-z]+)"', html)) - {"addresses"}


def section(html: str, id_: str) -> str:
    """One list of a page, as HTML."""
    return html.partition(f'<h2 id="{id_}"')[2].partition("</section>")[0]


def tiles(html: str) -> dict[str, int]:
    """The number in each tile, by what stands under it."""
    found = re.findall(r'<b class="count[^"]*">([0-9,]+)</b> ([^<]+)<', html)
    return {name: int(number.replace(",", "")) for number, name in found}


def failed(flow_id: str, at: int, *codes: str, message: str = "No route.", **fields: Any) -> RecordedFact:
    """A run that failed."""
    errors = tuple(RunError(code=code, message=message) for code in codes)
    fact = run(f"{flow_id}-{at}", Status.FAILED, **{"flow_id": flow_id, "completed_at": at, "errors": errors, **fields})
    return recorded(fact, at // 1000, at)


def good(flow_id: str, at: int, **fields: Any) -> RecordedFact:
    """A run that succeeded."""
    return recorded(run(f"{flow_id}-{at}", **{"flow_id": flow_id, "completed_at": at, **fields}), at // 1000, at)


def described(flow_id: str, *, enabled: bool) -> RecordedFact:
    """What the Flow Service says."""
    return recorded(Flow(flow_id=flow_id, sandbox="prod", enabled=enabled), 1, NOW - HOUR)


def alert(flow_id: str) -> RecordedFact:
    """An alert of Adobe's that is firing."""
    fact = FlowAlert(
        alert_id=f"a-{flow_id}", name="flow_run_delay", state=AlertState.FIRING, sandbox="prod", flow_id=flow_id
    )
    return recorded(fact, 1, NOW - HOUR)


HOURLY: Final = [good("hourly", NOW - 2 * DAY - n * HOUR) for n in range(24 * 20)]
"""A flow that stopped two days ago."""
FAILING: Final = [failed("f", NOW - 4 * HOUR, "CONNECTOR-1001-500"), failed("f", NOW - HOUR, "CONNECTOR-1001-500")]
OPEN: Final = recorded(run("open", Status.IN_PROGRESS, flow_id="open", started_at=NOW - DAY), 1, NOW - DAY)
EMPTY: Final = [good("e", NOW - n * HOUR, records=(("input", 0 if n == 1 else 900),)) for n in range(1, 9)]
MENDED: Final = [failed("m", NOW - 3 * HOUR, "133"), good("m", NOW - 2 * HOUR)]


@pytest.mark.parametrize(
    ("facts", "shown", "counts"),
    [
        pytest.param([], set(), {}, id="nothing"),
        pytest.param([good("f", NOW - HOUR)], {"recent"}, {}, id="all is well"),
        pytest.param(FAILING, {"causes", "failing", "recent"}, {"failing": 1}, id="failing"),
        pytest.param([failed("f", NOW - HOUR)], {"causes", "failing", "recent"}, {"failing": 1}, id="without a code"),
        pytest.param(
            [failed("f", NOW - 3 * DAY, "133")], {"causes", "failing", "recent"}, {"failing": 1}, id="abandoned"
        ),
        pytest.param([*FAILING, described("f", enabled=False)], {"disabled", "recent"}, {}, id="disabled"),
        pytest.param(
            [failed("f", NOW - 22 * DAY, kind=FlowKind.SOURCE), failed("f", NOW - HOUR, kind=FlowKind.SOURCE)],
            {"causes", "failing", "disabled", "recent"},
            {"failing": 1},
            id="disabled soon",
        ),
        pytest.param(HOURLY, {"overdue", "recent"}, {"overdue": 1}, id="overdue"),
        pytest.param([OPEN], {"stuck"}, {"stuck": 1}, id="stuck"),
        pytest.param(EMPTY, {"empty", "recent"}, {"read nothing": 1}, id="empty"),
        pytest.param(MENDED, {"recovered", "recent"}, {"recovered in 6 h": 1}, id="recovered"),
        pytest.param([alert(""), good("f", NOW - HOUR)], {"alerts", "recent"}, {}, id="an alert without a flow"),
        pytest.param([good("f", NOW - HOUR), alert("f")], {"alerts", "recent"}, {}, id="an alert of a flow"),
        pytest.param(
            [*FAILING, *HOURLY, OPEN, *EMPTY, *MENDED, alert("f")],
            SECTIONS - {"disabled"},
            {"failing": 1, "overdue": 1, "stuck": 1, "read nothing": 1, "recovered in 6 h": 1},
            id="all at once",
        ),
    ],
)
def test_each_condition_has_its_list(facts: list[RecordedFact], shown: set[str], counts: dict[str, int]) -> None:
    """A list is there if a flow is in it. Its tile has the number, and leads to it."""
    html = rendered(request(facts))
    assert sections(html) == shown
    assert {name: count for name, count in tiles(html).items() if count} == counts
    for anchor in re.findall('href="#([^"]+)"', html):
        assert f'id="{anchor}"' in html


def test_a_quiet_page_says_since_when() -> None:
    """Without a failure the page says so, and when the last notification came."""
    found = text(rendered(request([good("f", NOW - 7 * MINUTE)])))
    assert found.startswith("No flow is failing 1 flow in 1 sandbox. The last notification came 7 min ago, at ")


def test_an_empty_ledger_says_what_to_do() -> None:
    """The page names the address that Adobe posts to."""
    found = text(rendered(request([])))
    assert found.startswith("Nothing has been recorded yet Adobe posts its notifications to /hook .")


def test_a_failing_flow() -> None:
    """It is there with sandbox, code, since when, how many runs in a row, the message of the last one, and links."""
    facts = [
        failed("f", NOW - 4 * HOUR, "133", flow_name="Orders", kind=FlowKind.SOURCE, org="o"),
        failed("f", NOW - HOUR, "133", flow_name="Orders", kind=FlowKind.SOURCE, org="o", message="First.\nSecond."),
    ]
    html = section(rendered(request(facts)), "failing")
    found = text(f"<main>{html}")
    assert "Orders prod · in Experience Platform" in found
    assert " 133 " in found
    assert " 4 h ago 2 First. " in found
    assert "Second" not in found
    links = set(re.findall('href="([^"]+)"', html))
    assert links == {
        "./flows/f?sandbox=prod",
        f"./runs/f-{NOW - HOUR}",
        "./errors#code-133",
        "https://experience.adobe.com/#/@o/sname:prod/platform/source/dataflows/f/activity",
    }


def test_causes() -> None:
    """A code is there once, with the number of flows that fail with it, since when, and what it means."""
    facts = [
        failed("a", NOW - 5 * HOUR, "CONNECTOR-1001-500", "133"),
        failed("b", NOW - 3 * HOUR, "CONNECTOR-1001-500"),
        failed("c", NOW - 2 * HOUR),
        failed("d", NOW - HOUR, "133"),
        good("d", NOW - MINUTE),
    ]
    causes = home.page(request(facts))["causes"]
    assert isinstance(causes, list)
    assert [(cause.code.code, cause.flows, cause.since) for cause in causes] == [
        ("CONNECTOR-1001-500", 2, NOW - 5 * HOUR),
        ("", 1, NOW - 2 * HOUR),
        ("133", 1, NOW - 5 * HOUR),
    ]
    assert all(cause.meaning for cause in causes)


def test_the_newest_failure_is_first() -> None:
    """Who was called for a failure finds it at the top of the list."""
    facts = [failed(flow_id, NOW - hours * HOUR) for flow_id, hours in (("a", 3), ("b", 1), ("c", 2))]
    failing: Any = home.page(request(facts))["failing"]
    assert [line.name for line in failing.lines] == ["b", "c", "a"]


SANDBOXED: Final = [
    failed("f", NOW - HOUR, "133", sandbox="prod", kind=FlowKind.SOURCE),
    failed("g", NOW - HOUR, "133", sandbox="dev emea", kind=FlowKind.DESTINATION),
    failed("h", NOW - HOUR, "133", sandbox="", kind=FlowKind.SOURCE),
    good("i", NOW - HOUR, sandbox="dev emea", kind=FlowKind.SOURCE),
]


@pytest.mark.parametrize(
    ("parameters", "failing", "flows"),
    [
        ({}, ["f", "g", "h"], 4),
        ({"sandbox": "prod"}, ["f"], 1),
        ({"sandbox": "dev emea"}, ["g"], 2),
        ({"sandbox": ""}, ["h"], 1),
        ({"sandbox": "unheard of"}, [], 0),
        ({"kind": "source"}, ["f", "h"], 3),
        ({"kind": ""}, ["f", "g", "h"], 4),
        ({"sandbox": "dev emea", "kind": "source"}, [], 1),
        ({"utm_source": "mail"}, ["f", "g", "h"], 4),
    ],
)
def test_filters(parameters: dict[str, str], failing: list[str], flows: int) -> None:
    """A sandbox and a kind choose the flows of all lists. Others' parameters are ignored."""
    asked = request(SANDBOXED, parameters)
    values: Any = home.page(asked)
    assert sorted(line.name for line in values["failing"].lines) == failing
    assert values["flows"] == flows
    ledger: Any = asked.queries
    assert ledger.wanted == RunFilter(sandbox=parameters.get("sandbox"))
    rendered(asked)


def test_filters_are_links() -> None:
    """Each sandbox and each kind has a link that keeps the other choice. The chosen one is marked."""
    values: Any = home.page(request(SANDBOXED, {"sandbox": "prod"}))
    assert [(choice.text, choice.address, choice.is_chosen) for choice in values["sandbox_choices"]] == [
        ("All sandboxes", "./", False),
        ("sandbox not known", "./?sandbox=", False),
        ("dev emea", "./?sandbox=dev%20emea", False),
        ("prod", "./?sandbox=prod", True),
    ]
    assert [(choice.text, choice.address, choice.is_chosen) for choice in values["kind_choices"]] == [
        ("All kinds", "./?sandbox=prod", True),
        ("source", "./?sandbox=prod&kind=source", False),
        ("destination", "./?sandbox=prod&kind=destination", False),
    ]
    assert 'aria-current="true"' in rendered(request(SANDBOXED, {"sandbox": "prod"}))


def test_one_sandbox_needs_no_filter() -> None:
    """Where there is nothing to choose, nothing is offered."""
    values: Any = home.page(request(FAILING))
    assert values["sandbox_choices"] == values["kind_choices"] == ()


def test_an_unknown_kind_is_refused() -> None:
    """The message names the parameter and what it can be."""
    with pytest.raises(BadParameterError, match=r"^kind is one of source, .*unknown"):
        home.page(request([], {"kind": "pipeline"}))


def test_recent_runs_of_a_kind() -> None:
    """With a kind only its runs are listed."""
    values: Any = home.page(request(SANDBOXED, {"kind": "destination"}))
    assert [each.flow_id for each in values["recent"]] == ["g"]


def test_a_summary_has_no_messages() -> None:
    """Without full pages codes and meanings are there, and nothing is read for messages."""
    facts = [failed("f", NOW - HOUR, "133", message="the secret")]
    asked = request(facts, is_full=False)
    html = rendered(asked)
    assert "the secret" not in html
    assert "133" in html
    ledger: Any = asked.queries
    assert "entries" not in ledger.asked
    assert "the secret" in rendered(request(facts))


def test_a_body_that_takes_long_is_not_read() -> None:
    """A message in a very large body is left to the page of the run, to which a link leads."""
    html = section(rendered(request([failed("f", NOW - HOUR, message="slow")], is_quick=False)), "failing")
    assert "slow" not in html
    assert "./runs/f-" in html


def test_a_thousand_failing_flows() -> None:
    """Each list is bounded, says how many more there are and where, and asks the ledger as little as a short one."""
    facts = [
        failed(f"f{n}", NOW - HOUR - n * 1000, f"CONNECTOR-{n % 100:04}-500", sandbox=f"s{n % 150}")
        for n in range(1000)
    ]
    asked = request(facts)
    html = rendered(asked)
    ledger: Any = asked.queries
    assert sorted(ledger.asked) == ["entries", "last_deliveries", "runs"]
    assert "1,000 flows are failing" in text(html)
    assert section(html, "failing").count("<tr>") == 1 + home.SHOWN
    assert '<a href="./flows?failing=true">975 more</a>' in html
    assert section(html, "causes").count("<tr>") == 1 + home.CAUSES
    assert "85 more" in section(html, "causes")
    assert 10 <= html.count("./?sandbox=s") <= 20
    assert len(html) < 100_000
    one = rendered(request(facts, {"sandbox": "s3"}))
    assert "7 flows are failing" in text(one)
    assert 'href="./?sandbox=s3" aria-current="true"' in one


def test_flows_without_a_slot_are_said() -> None:
    """The page says that flows beyond the limit are not in its lists."""
    assert "3 more flows are beyond --series.max-flows" in text(rendered(request(FAILING, overflowed=3)))
    assert "max-flows" not in rendered(request(FAILING))


HOSTILE: Final = (
    "</td><script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "{{ 7 * 7 }}",
    "\u202egnirts\u2066",
    "nul \x00 and \x1b[31m",
    "x" * 3000,
    "../../flows/other?sandbox=x#y",
    ".",
    "%2e%2e/",
)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names(name: str) -> None:
    """Names, ids, sandboxes and messages are text: they become no markup, no other address, and hide nothing."""
    facts = [
        failed(name, NOW - HOUR, "133", flow_name=name, sandbox=name, message=name, kind=FlowKind.SOURCE, org=name),
        recorded(run(name, Status.IN_PROGRESS, flow_id="s", sandbox=name, started_at=NOW - DAY), 1, NOW - DAY),
        good("other", NOW - HOUR),
    ]
    html = rendered(request(facts, {"sandbox": name}))
    assert html.count("<script") == 1
    assert not re.search(r"<[^>]*\son[a-z]+=", html)
    assert not set("\x00\x1b\u202e\u2066") & set(html)
    assert "x" * 300 not in re.sub(r'href="[^"]*"', "", html)
    for link in re.findall(r'href="([^"]+)"', html):
        assert link.startswith(("./", "#", "data:", "https://experience.adobe.com/#/"))
    assert len(html) < 100_000


def test_notices_come_first() -> None:
    """What makes the page doubtful stands before all else."""
    html = rendered(request(FAILING, state=ProcessState(unscraped=3600.0)))
    assert text(html).startswith("Nobody has asked this process for the metrics of flows for 1 h.")
