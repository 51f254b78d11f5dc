"""`/flows` and the pages of flows, as a browser gets them from the running application."""

import asyncio
import json
import time
from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit

import pytest

from exporter.adobe.payloads import read
from exporter.errors import BadCursorError
from exporter.intake import Intake
from exporter.ledger.sqlite_queries import SqliteQueries
from exporter.metrics.flow_summaries import CurrentFlows
from exporter.model import Delivery, Event, FlowKey, Forgotten, Source
from exporter.pages import flow_list as flow_lists
from exporter.pages.flow_list import FlowFilter, FlowSources, flow_list
from exporter.pages.views import IN_A_TERMINAL, FlowView
from tests.web.conftest import Application, Make
from tests.web.test_home import body
from tests.web.test_pages import OPEN, page


def post(application: Application, *bodies: str) -> None:
    """Deliver these notifications in one request."""
    assert application.post(f"[{','.join(bodies)}]").status_code == 200


def named(flow_id: str, run_id: str, status: str, name: str, seconds_ago: int = 60) -> str:
    """The notification of a run whose flow has a name."""
    return body(flow_id, run_id, status, seconds_ago=seconds_ago, flowName=name)


def states(application: Application, query: str = "") -> list[tuple[str, str]]:
    """The name and the state of each flow of the list."""
    text = application.request("GET", f"/flows{query}").text
    rows = text.partition("<tbody>")[2].partition("</tbody>")[0].split("</tr>")[:-1]
    return [
        (row.partition('dir="auto">')[2].partition("<")[0], row.partition("<span")[2].partition("State")[2] or row)
        for row in rows
    ]


def names(application: Application, query: str = "") -> list[str]:
    """The names of the list."""
    return [name for name, _ in states(application, query)]


def test_the_list_is_by_name_with_a_state_each(application: Application) -> None:
    """Flows are in the order of their names, whatever their case, each with its state, its last run and its links."""
    post(
        application,
        named("1", "r1", "success", "berth"),
        named("2", "r2", "failed", "Anchor"),
        body("0", "r3", "success"),
    )
    found = page(application, "/flows")
    assert names(application) == ["0", "Anchor", "berth"]
    for expected in ("3 on /metrics", "failing", "CONNECTOR-1001-500", "succeeded", "ok"):
        assert expected in found.text
    assert {"./flows/2?sandbox=prod", "./flows/1?sandbox=prod"} <= set(found.links)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["a", "b", "c"]),
        ("?failing=true", ["a"]),
        ("?failing=false&utm_source=mail", ["b", "c"]),
        ("?sandbox=prod", ["a", "b", "c"]),
        ("?sandbox=dev", []),
        ("?sandbox=&kind=", ["a", "b", "c"]),
        ("?kind=unknown", ["a", "b", "c"]),
        ("?kind=source", []),
        ("?limit=2", ["a", "b"]),
    ],
)
def test_filters(application: Application, query: str, expected: list[str]) -> None:
    """A filter leaves out what it does not cover. Parameters that the page does not have are ignored."""
    post(application, body("a", "r1", "failed"), body("b", "r2", "success"), body("c", "r3", "success"))
    assert names(application, query) == expected


@pytest.mark.parametrize("query", ["kind=ship", "failing=perhaps", "limit=0", "limit=501", "cursor=x"])
def test_a_wrong_filter(application: Application, query: str) -> None:
    """The page says which parameter is wrong and what it takes."""
    found = page(application, f"/flows?{query}", 400)
    name = query.partition("=")[0]
    assert name == "cursor" or f"parameter {name} takes" in found.text


def listed(application: Application, current: CurrentFlows, limit: int) -> list[FlowView]:
    """All flows of the list, read in pages."""
    queries = application_queries(application)
    sources = FlowSources(queries=queries, current=current, read=read, links=IN_A_TERMINAL)
    found: list[FlowView] = []
    cursor: str | None = None
    while True:
        items, cursor = flow_list(sources, FlowFilter(), limit, cursor)
        assert 0 < len(items) <= limit
        found += items
        if cursor is None:
            queries.close()
            return found


def application_queries(application: Application) -> SqliteQueries:
    """Questions to the application's ledger."""
    return SqliteQueries(application.path, 60)


def nothing_shown(without_slot: Sequence[FlowKey] = ()) -> CurrentFlows:
    """Metrics without flows."""
    return CurrentFlows(now=0, flows={}, without_slot=frozenset(without_slot), overflowed=len(without_slot))


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_have_every_flow_once(application: Application, limit: int) -> None:
    """However long a page is, the flows on /metrics come first, by name, and then those that only the ledger has."""
    post(application, *(named(f"{number}", f"r{number}", "success", f"name {9 - number}") for number in range(5)))
    application.request("GET", "/metrics")
    hidden = [view.flow_id for view in listed(application, nothing_shown(), limit)]
    assert hidden == ["0", "1", "2", "3", "4"]
    shown = application.current_flows()
    assert [view.flow_id for view in listed(application, shown, limit)] == ["4", "3", "2", "1", "0"]
    some = CurrentFlows(
        now=shown.now,
        flows={key: flow for key, flow in shown.flows.items() if key.flow_id in "13"},
        without_slot=frozenset(),
        overflowed=0,
    )
    assert [view.flow_id for view in listed(application, some, limit)] == ["3", "1", "0", "2", "4"]


def test_a_cursor_of_another_list(application: Application) -> None:
    """Any other text than a cursor of this list is an error, also one that is nearly right."""
    post(application, body("a", "r1", "success"), body("b", "r2", "success"))
    sources = FlowSources(
        queries=application_queries(application), current=nothing_shown(), read=read, links=IN_A_TERMINAL
    )
    right = flow_list(sources, FlowFilter(), 1, None).next
    assert right is not None
    for wrong in ("", "x", right[:-1], right + "=", "bnVsbA", "WzEsMiwzLDRd", right.swapcase(), "é", "\ud800"):
        with pytest.raises(BadCursorError):
            flow_list(sources, FlowFilter(), 1, wrong)
    sources.queries.close()


def forget(application: Application, flow_id: str) -> None:
    """Mark a flow as deleted on purpose."""
    content = json.dumps({"forgotten": {"flow_id": flow_id, "at": time.time()}}).encode()
    event = Event(fact=Forgotten(flow_id=flow_id), body=content)
    asyncio.run(
        Intake(application.ledger, application.ledger.now).record([Delivery(source=Source.OPERATOR, events=(event,))])
    )


def test_why_a_flow_is_not_on_metrics(make: Make) -> None:
    """The list and the flow's page say why a flow has no state: it was forgotten, or there is no room for it."""
    application = make("--series.max-flows=2")
    post(application, *(body(flow_id, f"r-{flow_id}", "failed") for flow_id in ("a", "b", "c")))
    application.request("GET", "/metrics")
    forget(application, "b")
    shown = page(application, "/flows").text
    assert "not on /metrics: forgotten" in shown
    assert "not on /metrics: limit" in shown
    assert "1 more are" in shown
    assert "marked as deleted on purpose" in page(application, "/flows/b?sandbox=prod").text
    limited = page(application, "/flows/c?sandbox=prod").text
    assert "--series.max-flows" in limited
    # Its runs are in the ledger all the same.
    assert "CONNECTOR-1001-500" in limited
    assert names(application, "?failing=true") == ["a"]


def test_the_page_of_a_failing_flow(application: Application) -> None:
    """It opens with the code, the message, what it means and what to do, and with how many others have the code."""
    post(
        application,
        named("f", "r0", "success", "Tides", seconds_ago=7200),
        named("f", "r1", "failed", "Tides", seconds_ago=3600),
        named("f", "r2", "failed", "Tides"),
        body("other-one", "r3", "failed"),
    )
    found = page(application, "/flows/f?sandbox=prod")
    for expected in (
        "Tides",
        "2 runs in a row",
        "1 h ago",
        "CONNECTOR-1001-500",
        "the secret of the source",
        "could not copy data",
        "What to do.",
        "one other flow fails with it",
        "The last 3 runs",
        "the ledger holds none of this flow",
        "Last good run",
    ):
        assert expected in found.text, expected
    assert {"../runs/r2", "../runs/r0", "../errors#code-CONNECTOR-1001-500"} <= set(found.links)


def test_an_earlier_failure_with_the_same_code(application: Application) -> None:
    """The page says when the flow failed like this before, for how long, and which run ended it."""
    post(
        application,
        body("f", "r0", "success", seconds_ago=8 * 3600),
        body("f", "r1", "failed", seconds_ago=7 * 3600),
        body("f", "r2", "failed", seconds_ago=6 * 3600),
        body("f", "r3", "success", seconds_ago=5 * 3600),
        body("f", "r4", "failed"),
    )
    found = page(application, "/flows/f?sandbox=prod")
    assert "for 2 h, 2 runs. A run that succeeded ended it." in " ".join(found.text.split())
    assert "../runs/r3" in found.links


def test_messages_are_left_out_of_a_summary(make: Make) -> None:
    """On an open port codes and explanations are shown, and no message."""
    application = make(*OPEN)
    post(application, body("f", "r1", "failed"))
    found = application.request("GET", "http://monitor.example/flows/f?sandbox=prod")
    assert "CONNECTOR-1001-500" in found.text
    assert "What to do." in found.text
    assert "the secret" not in found.text


@pytest.mark.parametrize(
    "flow_id",
    ["a/b", "../x", "a%2Fb", "a b", '"><script>alert(1)</script>', "\u202eevil", "?x=1#y", "platform", "é" * 60],
)
def test_any_id_has_a_page(application: Application, flow_id: str) -> None:
    """An id that Adobe sent leads to the flow's page, and is shown as text there."""
    post(application, json.dumps({**json.loads(body("f", "r1", "failed")), "flowId": flow_id}))
    links = [link for link in page(application, "/flows").links if link.startswith("./flows/")]
    assert len(links) == 1
    target = urlsplit(urljoin("http://localhost/flows", links[0]))
    found = page(application, f"{target.path}?{target.query}")
    assert "Failing since" in found.text


def test_a_flow_in_several_sandboxes(application: Application) -> None:
    """Without a sandbox in the address the page shows the only one, or lets the reader choose."""
    post(application, body("f", "r1", "failed"))
    assert "Failing since" in page(application, "/flows/f").text
    post(application, json.dumps({**json.loads(body("f", "r2", "success")), "sandboxName": "dev"}))
    found = page(application, "/flows/f")
    assert "several sandboxes" in found.text
    choices = [link for link in found.links if "sandbox=" in link]
    assert choices == ["../flows/f?sandbox=prod", "../flows/f?sandbox=dev"]


@pytest.mark.parametrize("path", ["/flows/never", "/flows/never?sandbox=prod", "/flows/f?sandbox=other", "/flows/%FF"])
def test_a_flow_that_nobody_knows(application: Application, path: str) -> None:
    """The page says that neither the metrics nor the ledger have it."""
    post(application, body("f", "r1", "failed"))
    assert "Not found" in page(application, path, 404).text


def test_flows_that_are_counted_together(make: Make) -> None:
    """`other` has a page that names the flows that it stands for."""
    application = make("--series.max-flows=1")
    post(application, *(body(flow_id, f"r-{flow_id}", "failed") for flow_id in ("a", "b", "c")))
    application.request("GET", "/metrics")
    found = page(application, "/flows/other?sandbox=prod")
    assert "2 flows found no slot" in found.text
    assert {"../flows/b?sandbox=prod", "../flows/c?sandbox=prod"} <= set(found.links)


def test_a_long_message_is_cut(application: Application) -> None:
    """A message of 100 kB does not make the page long. The page of the run has the whole."""
    errors = [{"code": "133", "message": "x" * 90_000}]
    made = json.loads(body("f", "r1", "failed"))
    made["metrics"]["statusSummary"]["errors"] = errors
    post(application, json.dumps(made))
    response = application.request("GET", "/flows/f?sandbox=prod")
    assert len(response.text) < 20_000
    assert "xxxx" in response.text
    assert "../runs/r1" in response.text


def with_codes(run_id: str, *codes: str, seconds_ago: int = 60) -> str:
    """The notification of a failed run of the flow f that reported these codes."""
    made = json.loads(body("f", run_id, "failed", seconds_ago=seconds_ago))
    made["metrics"]["statusSummary"]["errors"] = [{"code": code, "message": "made up"} for code in codes]
    return json.dumps(made)


def said_before(application: Application) -> bool:
    """Whether the page of the flow f says that it failed like this before."""
    found = page(application, "/flows/f?sandbox=prod").text
    before, never = "failed like this before" in found, "the ledger holds none of this flow" in found
    assert before != never
    return before


def test_a_long_failure_is_no_earlier_one(application: Application) -> None:
    """A failure that began before the runs of the charts did not happen before itself."""
    failures = [body("f", f"r{number}", "failed", seconds_ago=60 * (200 - number)) for number in range(150)]
    post(application, body("f", "good", "success", seconds_ago=86_400), *failures)
    assert not said_before(application)
    post(application, body("f", "older", "failed", seconds_ago=2 * 86_400))
    assert said_before(application)


def test_any_code_of_the_failure_is_looked_for(application: Application) -> None:
    """An earlier failure with the second code of the failure is found, also before the runs of the charts."""
    good = [body("f", f"r{number}", "success", seconds_ago=3600 * (150 - number)) for number in range(120)]
    post(application, with_codes("old", "133", seconds_ago=200 * 3600), *good)
    post(application, with_codes("new", "CONNECTOR-1001-500", "133"))
    assert said_before(application)


def test_large_runs_do_not_hide_an_earlier_failure(application: Application) -> None:
    """Where bodies are so large that the charts have fewer runs, the page still finds what was before these."""
    post(application, body("f", "old", "failed", seconds_ago=86_400))
    for number in range(100):
        made = json.loads(body("f", f"r{number}", "success", seconds_ago=60 * (200 - number)))
        assert application.post(json.dumps({**made, "made_up": "x" * 90_000})).status_code == 200
    post(application, body("f", "new", "failed"))
    assert said_before(application)


def test_a_flow_that_only_an_alert_names(application: Application) -> None:
    """Its page shows Adobe's alert and what it means, and says why there is nothing else."""
    alert = {"id": "a", "status": "FIRING", "name": "sources_flow_run_delay", "sandboxName": "prod", "value": "1"}
    post(application, json.dumps({**alert, "flowId": "only"}))
    found = page(application, "/flows/only?sandbox=prod").text
    assert "sources_flow_run_delay" in found
    assert "Only Adobe's alerts name it." in found


def test_a_run_that_is_stuck_is_said_first(application: Application) -> None:
    """What an alert besides a failure leads here for is said before all else."""
    made = json.loads(body("f", "r", "success"))
    started = (int(time.time()) - 20 * 3600) * 1000
    made["metrics"] = {"statusSummary": {"status": "inProgress"}, "durationSummary": {"startedAtUTC": started}}
    post(application, json.dumps(made))
    found = page(application, "/flows/f?sandbox=prod").text
    assert 0 < found.index("A run has been in progress since") < found.index("Cadence")


def test_a_flow_of_an_unknown_kind_can_be_disabled(application: Application) -> None:
    """The page says when Adobe disables a flow for all flows for which the alert fires."""
    post(application, body("f", "r0", "failed", seconds_ago=25 * 86_400), body("f", "r1", "failed"))
    assert "this one, if it is a source" in page(application, "/flows/f?sandbox=prod").text


def test_each_bar_leads_to_its_run(application: Application) -> None:
    """A bar of the strip is a link whose name says how the run ended, and one that failed has another shape."""
    post(application, body("f", "r/1", "success", seconds_ago=3600), body("f", "r2", "failed"))
    text = application.request("GET", "/flows/f?sandbox=prod").text
    strip = text.partition('class="strip"')[2].partition("</svg>")[0]
    assert strip.count('<a href="../runs/r%2F1" aria-label="succeeded, ') == 1
    assert strip.count('<a href="../runs/r2" aria-label="failed, ') == 1
    assert (strip.count("<rect"), strip.count("<polygon")) == (1, 1)


def test_a_long_search_goes_on(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many flows of the ledger are passed over, the list goes on from there instead of ending."""
    monkeypatch.setattr(flow_lists, "_PAGE", 2)
    monkeypatch.setattr(flow_lists, "_MAX_PAGES", 2)
    post(application, *(body(f"f{number}", f"r{number}", "success") for number in range(9)))
    post(application, json.dumps({**json.loads(body("last", "r", "success")), "sandboxName": "dev"}))
    sources = FlowSources(
        queries=application_queries(application), current=nothing_shown(), read=read, links=IN_A_TERMINAL
    )
    found: list[str] = []
    asked, cursor = 0, None
    while asked == 0 or cursor is not None:
        items, cursor = flow_list(sources, FlowFilter(sandbox="dev"), 100, cursor)
        found += [view.flow_id for view in items]
        asked += 1
    sources.queries.close()
    assert (found, asked) == (["last"], 3)
