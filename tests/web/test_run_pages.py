"""The list of runs and the page of a run, as a browser gets them."""

import json
import re
import time
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote, urljoin, urlsplit

import pytest

from tests.ledger import append, outcome
from tests.web.conftest import Application, Make
from tests.web.test_pages import OPEN, Page, page

NOW: Final = 1_000 * int(time.time())
"""When the tests were loaded. A test may run many minutes later."""
MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
SECRET: Final = "the path /secret does not exist"


def run(run_id: str, status: str = "failed", ended: int = NOW - 10 * MINUTE, **members: Any) -> dict[str, Any]:
    """The body of a run of flow `f` in sandbox `prod`, which took a minute."""
    metrics = {
        "statusSummary": {"status": status, **members.pop("summary", {})},
        "durationSummary": {"startedAtUTC": ended - MINUTE, "completedAtUTC": ended},
        **members.pop("metrics", {}),
    }
    base = {"id": run_id, "flowId": "f", "sandboxName": "prod", "imsOrgId": "O@AdobeOrg", "flowName": "Nightly orders"}
    return {**base, "metrics": metrics, **members}


def post(application: Application, *bodies: dict[str, Any]) -> None:
    """Deliver these bodies."""
    for body in bodies:
        assert application.post(json.dumps(body)).status_code == 200


def errors(*codes: str, message: str = SECRET) -> dict[str, Any]:
    """The part of a run's metrics that has errors with these codes."""
    return {"errors": [{"code": code, "message": message} for code in codes]}


def address(run_id: str) -> str:
    """The path of a run's page."""
    return f"/runs/{quote(run_id, safe='')}"


def listed(found: Page) -> list[str]:
    """The ids of the runs of a list, in its order."""
    paths = [urlsplit(link).path for link in found.links]
    return [unquote(path.partition("runs/")[2]) for path in paths if "runs/" in path]


def queries_of(found: Page) -> list[dict[str, list[str]]]:
    """The parameters of the links to lists of runs."""
    parts = [urlsplit(link) for link in found.links]
    return [parse_qs(each.query) for each in parts if each.path.endswith("/runs") and each.query]


def text_of(found: Page) -> str:
    """The text of a page, with each space once."""
    return " ".join(found.text.split())


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["d", "c", "b", "a"]),
        ("sandbox=prod", ["c", "b", "a"]),
        ("sandbox=&status=&flow_id=&error_code=&since=", ["d", "c", "b", "a"]),
        ("status=failed", ["c", "a"]),
        ("error_code=CONNECTOR-1001-500", ["a"]),
        ("flow_id=g", ["b"]),
        ("since=90m", ["d", "c", "b"]),
        ("since=150m&until=90m", ["a"]),
        ("status=failed&sandbox=prod&since=90m&utm_source=mail", ["c"]),
        ("limit=2", ["d", "c"]),
        ("sandbox=nowhere", []),
    ],
)
def test_the_list_has_what_the_filters_want(application: Application, query: str, expected: list[str]) -> None:
    """Runs are listed by their end, the latest first. Empty and unknown parameters are none."""
    post(
        application,
        run("a", ended=NOW - 2 * HOUR, summary=errors("CONNECTOR-1001-500")),
        run("b", "success", ended=NOW - HOUR, flowId="g"),
        run("c", ended=NOW - 30 * MINUTE, summary=errors("133")),
        run("d", "success", ended=NOW - 20 * MINUTE, sandboxName="dev"),
    )
    found = page(application, f"/runs?{query}")
    assert listed(found) == expected
    assert ("The ledger holds no such run" in found.text) == (not expected)
    assert SECRET not in found.text


def test_a_row_of_the_list(application: Application) -> None:
    """A row has end, outcome, flow, sandbox, duration, numbers and codes. What was not reported is a dash."""
    records = {"recordSummary": {"inputRecordCount": 18011, "outputRecordCount": 17990, "failedRecordCount": 21}}
    post(application, run("a", metrics=records, summary=errors("133", "2200", "134", "135")))
    row = text_of(page(application, "/runs")).split("Codes", 1)[1]
    for part in (
        "failed",
        "Nightly orders",
        "prod",
        "1 min",
        "18,011",
        "17,990",
        "21",
        "133",
        "2200",
        "134",
        "and 1 more",
    ):
        assert part in row
    post(application, run("b", ended=NOW - MINUTE))
    assert text_of(page(application, "/runs?limit=1")).count("\N{EN DASH}") == 3


def test_a_run_without_a_name_has_that_of_its_flow(application: Application) -> None:
    """Some notifications of a flow have no name. The list shows the last that the flow had."""
    nameless = run("b", ended=NOW - MINUTE)
    del nameless["flowName"]
    post(application, run("a"), nameless)
    assert page(application, "/runs").text.count("Nightly orders") == 2
    assert "Run of Nightly orders" in page(application, address("b")).text


def test_the_list_goes_on_and_keeps_its_filters(application: Application) -> None:
    """Each run is on one page, also if runs arrive meanwhile, and each link to a page has the filters."""
    post(application, *(run(f"r{number}", ended=NOW - number * MINUTE) for number in range(7)))
    path, seen = "/runs?status=failed&limit=3&sandbox=prod", []
    for number in range(3):
        found = page(application, path)
        seen += listed(found)
        post(application, run(f"late{number}", ended=NOW - number * MINUTE))
        older = [link for link in found.links if "cursor=" in link]
        for parameters in queries_of(found):
            if "limit" in parameters and len(parameters) > 2:
                assert (parameters["status"], parameters["sandbox"]) == (["failed"], ["prod"])
        assert ("Newest runs" in found.text) == (number > 0)
        path = urljoin("http://localhost/runs", older[0]).removeprefix("http://localhost") if older else ""
    assert seen == [f"r{number}" for number in range(7)]
    assert path == ""


def test_a_filter_can_be_removed(application: Application) -> None:
    """Each filter in force has a link to the list without it, and the form shows what was asked for."""
    response = application.request("GET", "/runs?status=failed&sandbox=a%20%26b&since=24h")
    found = Page(response)
    removals = [each for each in queries_of(found) if len(each) == 2]
    assert {frozenset(each) for each in removals} == {
        frozenset({"sandbox", "since"}),
        frozenset({"status", "since"}),
        frozenset({"status", "sandbox"}),
    }
    assert all(each.get("sandbox", ["a &b"]) == ["a &b"] for each in removals)
    assert '<option value="failed" selected>' in response.text
    assert 'name="sandbox" value="a &amp;b"' in response.text
    labels = re.findall(r'<label for="([^"]+)"', response.text)
    assert labels == re.findall(r'<(?:input|select) id="([^"]+)"', response.text)


def test_links_and_the_form_behind_a_prefix(make: Make) -> None:
    """With an external URL links and the ticket have it. The form asks the address that the page was opened with."""
    application = make("--web.external-url=https://x.example/aep")
    post(application, run("a/b"))
    response = application.request("GET", "/runs?status=failed")
    assert "https://x.example/aep/runs/a%2Fb" in Page(response).links
    assert '<form class="filters" method="get">' in response.text
    assert "Link: https://x.example/aep/runs/a%2Fb" in page(application, address("a/b")).text


@pytest.mark.parametrize(
    ("query", "name"),
    [("limit=0", "limit"), ("since=yesterday", "since"), ("status=running", "status"), ("since=1h&until=2h", "since")],
)
def test_a_wrong_parameter_has_a_page(application: Application, query: str, name: str) -> None:
    """The page names the parameter and says what it takes."""
    assert f"The parameter {name} " in page(application, f"/runs?{query}", 400).text


@pytest.mark.parametrize("cursor", ["x", "%00", "a" * 5000])
def test_a_made_up_cursor_has_a_page(application: Application, cursor: str) -> None:
    """An address that somebody changed is said to be wrong."""
    assert "from its beginning" in page(application, f"/runs?cursor={cursor}", 400).text


def test_the_list_says_how_far_back_it_reaches(application: Application) -> None:
    """Older runs were pruned or never received, so the list says since when the ledger has entries."""
    assert "holds entries since" not in page(application, "/runs").text
    assert "No run has ended in the ledger yet." in page(application, "/runs").text
    post(application, run("a"))
    (entry,) = application.ledger.read(0, 10)
    recorded = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(entry.received_at // 1000))
    assert f"The ledger holds entries since {recorded}." in text_of(page(application, "/runs"))


def test_the_page_of_a_failed_run(make: Make) -> None:
    """It has each code once with its whole message, what it means and what to do, and how many flows have it now."""
    application = make(max_body=1_000_000)
    message = f"{SECRET}\n<b>" + "x" * 100_000
    summary = errors("CONNECTOR-1001-500", message=message)
    activity = {"id": "copyActivity", "name": "SFTP Copy Activity", "statusSummary": {"status": "failed", **summary}}
    times = {"startedAtUTC": NOW - 11 * MINUTE, "completedAtUTC": NOW - 10 * MINUTE}
    post(
        application,
        *(run(f"good{number}", "success", NOW - (6 - number) * HOUR) for number in range(3)),
        run("elsewhere", flowId="g", summary=errors("CONNECTOR-1001-500")),
        run(
            "r",
            summary=summary,
            activities=[{**activity, "durationSummary": times}],
            metrics={
                "recordSummary": {
                    "inputRecordCount": 5,
                    "skippedInfo": [{"code": "ACTIVATION_BATCH-0000-SKIP", "message": "skipped text", "count": 4}],
                    "warningInfo": [{"code": "WARN-0001-400", "message": "warning text"}],
                },
                "sizeSummary": {"inputBytes": 2048},
                "fileSummary": {"inputFileCount": 3},
            },
        ),
    )
    found = page(application, "/runs/r")
    text = text_of(found)
    assert found.bodies[0].strip() == message
    assert "Experience Platform could not copy data from the source system." in text
    assert text.count("What to do.") == 1
    assert "1 other flow fails with it now." in text
    assert "after 1 min. Typical is 1 min." in text
    assert "Read52,048 (2 KiB)3" in text
    assert "ACTIVATION_BATCH-0000-SKIP 4 skipped text" in text
    assert "WARN-0001-400 \N{EN DASH} warning text" in text
    assert "SFTP Copy Activity · failed" in text
    assert found.tags.count("svg") == 1
    assert "Run before" in text
    assert address("good2")[1:] in " ".join(found.links)
    assert "Run after" not in text
    assert "Organisation: O@AdobeOrg" in text
    assert "amtool silence add --duration=2h '--comment=run r failed'" in text
    outward = [link for link in found.links if link.startswith("http")]
    assert len(outward) == 2
    assert all(link.startswith("https://experience.adobe.com/#/@O%40AdobeOrg/") for link in outward)
    assert text.count("Body as received") == 1


HOSTILE: Final = (
    "</pre></details><script>alert(1)</script><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }} {% include 'x' %} &lt;b&gt; &#0;",
    "\u202egnirts\u2066 \u200b \x00 \x1b[31m",
    "<" * 90_000,
    "half \ud83d",
)


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts(make: Make, hostile: str) -> None:
    """Texts of a payload become no markup and hide nothing, in whichever place they are."""
    application = make(max_body=2_000_000)
    summary = {
        "errors": [{"code": hostile, "message": hostile}, {"code": "133", "message": hostile}],
        "extensions": {"errorDetail": hostile, "batchStatus": hostile},
    }
    activity = {"name": hostile, "statusSummary": {"status": hostile}, "durationSummary": {"startedAtUTC": NOW - HOUR}}
    post(
        application,
        run(
            "r",
            flowId=hostile,
            sandboxName=hostile,
            flowName=hostile,
            imsOrgId=hostile,
            summary=summary,
            activities=[activity],
            predecessors=[{"flowRunId": hostile}],
            metrics={"recordSummary": {"warningInfo": [{"code": hostile, "message": hostile}]}},
        ),
        {"id": "a", "name": hostile, "status": "FIRING", "flowRunId": "r", "sandboxName": hostile},
    )
    for path in ("/runs/r", "/runs", f"/runs?sandbox={quote(hostile[:200], errors='replace')}"):
        found = page(application, path)
        assert "img" not in found.tags
        assert not set("\x00\x1b\u202e\u2066\u200b") & set(found.text)
        assert ("{{ 7 * 7 }}" in found.text) == hostile.startswith("{{")


@pytest.mark.parametrize(("flags", "is_full"), [((), True), (("--web.pages=summary",), False), (OPEN, False)])
def test_only_full_pages_have_messages(make: Make, flags: tuple[str, ...], is_full: bool) -> None:
    """A page that anybody may open has codes and explanations, but no message, no body and no word of Adobe's."""
    application = make(*flags)
    summary = {**errors("133", "free text"), "extensions": {"errorDetail": SECRET}}
    more = {"skippedInfo": [{"code": "134", "message": SECRET}], "warningInfo": [{"code": "x", "message": SECRET}]}
    activity = {"name": SECRET, "statusSummary": {"status": SECRET}, "durationSummary": {"startedAtUTC": NOW - HOUR}}
    body = run("r", summary=summary, activities=[activity], metrics={"recordSummary": more})
    assert application.post(json.dumps(body), **{"x-adobe-event-code": "private_code"}).status_code == 200
    found = page(application, "/runs/r").text
    assert (SECRET in found) == is_full
    assert ("private_code" in found) == is_full
    assert ("free text" in found) == is_full
    assert ("Body as received" in found) == is_full
    assert "133" in found
    assert "134" in found
    assert "What to do." in found
    assert ("--web.pages=full" in found) != is_full


def test_a_correction_is_marked(application: Application) -> None:
    """The page shows the outcome that stands. All facts are listed, and the one that does not count says so."""
    post(
        application,
        run("r", "inProgress", updatedAt=NOW - 12 * MINUTE),
        run("r", "success", updatedAt=NOW - 9 * MINUTE),
        run("r", updatedAt=NOW - 8 * MINUTE, summary=errors("133")),
    )
    text = text_of(page(application, "/runs/r"))
    facts = text.split("What was received")[1]
    assert text.count("correction: does not count") == 1
    assert re.search(r"in progress.*succeeded.*failed correction: does not count this page shows it", facts)
    assert "This outcome corrects an earlier one." in text
    assert "failed correction" in text_of(page(application, "/runs"))


def test_a_run_in_progress(application: Application) -> None:
    """It has its start and for how long it has been running, and nothing that only a run that ended has."""
    begun = {"durationSummary": {"startedAtUTC": NOW - 2 * HOUR - 5 * MINUTE}}
    post(application, run("r", "inProgress", metrics=begun))
    text = text_of(page(application, "/runs/r"))
    assert re.search(r"in progress since \S+ \S+ UTC, for 2 h \d+ min so far", text)
    assert "The notification reports no numbers." in text
    assert "amtool" not in text
    assert "No end was received" not in text


@pytest.mark.parametrize("status", ["success", "partialSuccess", "cancelled", "something else"])
def test_only_a_failed_run_has_a_silence(application: Application, status: str) -> None:
    """A run that did not fail causes no alert that could be silenced."""
    post(application, run("r", status))
    text = page(application, "/runs/r").text
    assert "For a ticket" in text
    assert "amtool" not in text


def test_a_failed_run_without_a_code(application: Application) -> None:
    """Adobe does not always say why, so the page says that."""
    post(application, run("r"))
    assert "The notification says that the run failed, and not why." in page(application, "/runs/r").text


@pytest.mark.parametrize("word", ["stalled", "Abandoned", "retrying"])
def test_a_state_of_a_batch_is_explained(make: Make, word: str) -> None:
    """Where the body names a state of a batch, the page says what it means, also without messages."""
    application = make("--web.pages=summary")
    post(application, run("r", summary={"extensions": {"batchStatus": word}}), run("s", word))
    for run_id in ("r", "s"):
        text = text_of(page(application, address(run_id)))
        assert re.search(f"{word} [A-Z].*(batch|retried)", text)


def test_a_run_that_only_alerts_name(application: Application) -> None:
    """An alert of Adobe can be all that was received. The page says what the alert means."""
    alert = {"id": "a", "name": "sources_flow_run_delay", "status": "FIRING", "flowRunId": "r", "flowId": "f"}
    post(application, {**alert, "sandboxName": "prod"})
    text = text_of(page(application, "/runs/r"))
    assert "only alerts of Adobe name it" in text
    assert "Alert sources_flow_run_delay is firing" in text
    assert "amtool" not in text


def test_the_runs_that_it_belongs_to(application: Application) -> None:
    """Runs that Adobe names are links where the ledger has them."""
    post(
        application, run("before/1", "success", NOW - HOUR), run("r", parentFlowRunId="before/1", childFlowRunIds=["x"])
    )
    found = page(application, "/runs/r")
    assert re.search(r"Came from \S+ UTC ?succeeded", text_of(found).replace("●", ""))
    assert any(link.endswith("runs/before%2F1") for link in found.links)
    assert "Led to x (not in the ledger)" in text_of(found)
    assert not any(link.endswith("runs/x") for link in found.links)


@pytest.mark.parametrize("body", [b"not JSON", b'{"id": ', b"[" * 20_000, b"{}", b"\x00\xff"])
def test_a_damaged_body_leaves_the_columns(application: Application, body: bytes) -> None:
    """What the ledger holds beside the body is shown: outcome, flow, end and codes with their explanations."""
    columns = {"flow_id": "f", "sandbox": "prod", "completed_at": NOW - HOUR, "error_codes": "133 2200", "body": body}
    append(application.ledger, outcome("r", "failed", **columns))
    text = text_of(page(application, "/runs/r"))
    assert "Flow: f (f)" in text
    assert text.count("What it means.") == 2
    assert "after an unknown time" in text
    assert listed(page(application, "/runs?error_code=133")) == ["r"]


@pytest.mark.parametrize(
    "path", ["/runs/nothing", "/runs/", "/runs/%00", "/runs/%ff", "/runs/a/b", "/runs/" + "x" * 3000]
)
def test_a_run_that_is_not_in_the_ledger(application: Application, path: str) -> None:
    """The answer is 404, with a page that says why it may not be there."""
    found = page(application, path, 404)
    assert "Not found" in found.text


@pytest.mark.parametrize(
    "run_id", ["a/b", "a%2Fb", "%", "a b?c#d", "ü🙂", "platform", "x/platform/y", "..a", "x" * 128, "y" * 300]
)
def test_a_run_with_any_id_has_a_page(application: Application, run_id: str) -> None:
    """Its address encodes the id. The whole id leads there too where the ledger has it cut."""
    post(application, run(run_id, summary=errors("133")))
    (stored,) = listed(page(application, "/runs"))
    for each in {run_id, stored}:
        assert "What it means." in page(application, address(each)).text
    assert (stored == run_id) == (len(run_id) <= 128)


def test_every_list_of_the_page_is_bounded(make: Make) -> None:
    """A run with very much in it has a page of bounded size, which says how much more there is."""
    application = make(max_body=4_000_000)
    found = [{"code": f"A{chr(65 + n // 26)}{chr(65 + n % 26)}-1-100", "message": "m" * 20_000} for n in range(60)]
    found[:0] = [{"code": "133", "message": f"{n} text"} for n in range(100)]
    activities = [{"name": f"a{n}", "durationSummary": {"startedAtUTC": NOW - HOUR + n}} for n in range(150)]
    children = [f"child{n}" for n in range(30)]
    post(application, run("r", summary={"errors": found}, activities=activities, childFlowRunIds=children))
    response = application.request("GET", "/runs/r")
    text = text_of(Page(response))
    assert len(response.content) < 1_000_000
    assert "80 more messages of this code" in text
    assert "11 more error codes are in the body." in text
    assert "50 more activities are in the body." in text
    assert "and 25 more" in text
    assert "The first 64 KiB of" in text


@pytest.mark.parametrize(("times", "is_said"), [({}, True), ({"updatedAt": 1_790_000_000_000}, False)])
def test_an_end_that_adobe_did_not_give_is_said(application: Application, times: dict[str, int], is_said: bool) -> None:
    """Where the notification has no time at all, the page says that the end is the time of recording."""
    run = {"id": "r1", "flowId": "f", "sandboxName": "prod", "metrics": {"statusSummary": {"status": "failed"}}}
    application.post(json.dumps({**run, **times}))
    assert ("the time of recording" in application.request("GET", "/runs/r1").text) is is_said
