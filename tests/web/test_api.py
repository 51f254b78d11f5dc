"""The API as its clients get it. Every answer is compared with the schemas of the OpenAPI document."""

import base64
import functools
import json
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urljoin, urlsplit

import bcrypt
import httpx
import pytest
from jsonschema import Draft202012Validator

from exporter.errors import LedgerUnavailableError, NotCaughtUpError, PagesBusyError
from exporter.ledger.sqlite_queries import SqliteQueries
from exporter.pages.api_operations import BASE, OPERATIONS
from exporter.pages.asking import Asking
from exporter.pages.openapi import PROBLEM_TYPE, document
from exporter.web.config import WebConfig
from tests.web.conftest import Application, Make

SAMPLES: Final = sorted((Path(__file__).parents[1] / "samples").glob("*.json"))
LISTS: Final = ("/runs", "/flows", "/errors", "/notifications")
NOW: Final = 1_000 * int(time.time())


@functools.cache
def closed_document() -> Any:
    """The document, with schemas that allow no field that is not listed, so that one without description is found."""
    found: Any = json.loads(json.dumps(document("1", "/api/v1")))
    for schema in found["components"]["schemas"].values():
        schema["additionalProperties"] = False
    return found


def assert_described(response: httpx.Response, path: str) -> Any:
    """The JSON of an answer, which is as the document says. `path` is that of the document."""
    described = closed_document()["paths"][path]["get"]["responses"][str(response.status_code)]
    if "$ref" in described:
        described = closed_document()["components"]["responses"][described["$ref"].rpartition("/")[2]]
    media_type = response.headers["content-type"]
    schema = described["content"][media_type]["schema"]
    value = response.json()
    validator = Draft202012Validator(
        {**schema, "components": closed_document()["components"]}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    validator.validate(value)
    assert response.headers["cache-control"] == "no-store"
    assert ("retry-after" in response.headers) == (response.status_code == 503)
    return value


def get(application: Application, path: str, *, item: str = "", expected: int = 200, **parameters: object) -> Any:
    """The answer of an address of the document."""
    address = BASE + path.partition("{")[0] + quote(item, safe="")
    query = f"?{urlencode(parameters)}" if parameters else ""
    response = application.request("GET", address + query)
    assert response.status_code == expected, response.text
    return assert_described(response, path)


def problem(response: httpx.Response, status: int, reason: str) -> Any:
    """The problem of an answer."""
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM_TYPE)
    found = response.json()
    Draft202012Validator(closed_document()["components"]["schemas"]["Problem"]).validate(found)
    assert (found["status"], found["reason"]) == (status, reason)
    return found


def ended(run_id: str, *codes: str, ago: int = 1_000, **fields: Any) -> str:
    """The body of a run that ended so many milliseconds ago, and failed if there are codes."""
    errors = [{"code": code, "message": f"the secret of {code}"} for code in codes]
    metrics = {
        "statusSummary": {"status": "failed" if codes else "success", "errors": errors},
        "durationSummary": {"startedAtUTC": NOW - ago - 60_000, "completedAtUTC": NOW - ago},
        "recordSummary": {"inputRecordCount": 7},
    }
    return json.dumps({"id": run_id, "flowId": "flow", "sandboxName": "prod", "metrics": metrics, **fields})


@pytest.fixture
def filled(application: Application) -> Application:
    """An application that has received every sample."""
    for path in SAMPLES:
        application.post(path.read_bytes())
    application.post(b"no JSON")
    application.post('{"x": "\\u202e"}', **{"x-adobe-event-code": "some_code"})
    application.post(ended("now", "CONNECTOR-1001-500"))
    return application


def test_the_samples_are_answered_as_described(filled: Application) -> None:
    """Each item of each list is as the document says, and so is the answer of each run and each flow of a list."""
    for path in LISTS:
        assert get(filled, path)["items"], path
    for run in get(filled, "/runs")["items"]:
        detail = get(filled, "/runs/{run_id}", item=run["run_id"])
        assert {name: detail[name] for name in run if name != "links"} == {
            name: run[name] for name in run if name != "links"
        }
        assert [fact["kind"] for fact in detail["facts"]]
        assert isinstance(detail["body"], dict)
    for flow in get(filled, "/flows")["items"]:
        found = get(filled, "/flows/{flow_id}", item=flow["flow_id"], sandbox=flow["sandbox"] or "")
        assert found["flow_name"] == flow["flow_name"]


@pytest.mark.parametrize("external", ["", "https://monitor.example/aep"])
def test_every_link_leads_somewhere(make: Make, external: str) -> None:
    """Links are resolved against the address that was asked for. With an external URL they are absolute."""
    application = make(*([f"--web.external-url={external}"] if external else []))
    application.post(ended("a/../b?c#d%2f", "133", flowId="..f/ g&h"))
    asked = [f"{BASE}/runs", f"{BASE}/runs/{quote('a/../b?c#d%2f', safe='')}", f"{BASE}/flows"]
    for address in asked:
        answer = application.request("GET", address).json()
        for links in (item["links"] for item in answer.get("items", [answer])):
            for name in {"page", "flow"} & set(links):
                assert links[name].startswith(external)
                target = urljoin(f"http://localhost{address}", links[name])
                raw = urlsplit(target)._replace(scheme="", netloc="").geturl().removeprefix("/aep" if external else "")
                assert application.request("GET", raw).status_code == 200, raw


def test_a_list_goes_on_while_runs_arrive(application: Application) -> None:
    """Pages together have every run once, in order. What arrives after the first page does not show."""
    for number in range(5):
        application.post(ended(f"r{number}", ago=number * 1000))
    found: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = get(application, "/runs", limit=2, **cursor)
        found += [run["run_id"] for run in page["items"]]
        application.post(ended(f"later-{len(found)}", ago=2_500))
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert found == ["r0", "r1", "r2", "r3", "r4"]


def test_lists_of_flows_and_codes_go_on(application: Application) -> None:
    """Pages of a size of one have every item once, in the order of one page of all."""
    for number, code in enumerate(("133", "CONNECTOR-1001-500", "INGEST-1205-400")):
        application.post(ended(f"r{number}", code, flowId=f"f{number}"))
        application.post(json.dumps({"number": number}))
    for path, key in (("/flows", "flow_id"), ("/errors", "code"), ("/notifications", "position")):
        whole = [item[key] for item in get(application, path)["items"]]
        found: list[Any] = []
        cursor: dict[str, Any] = {}
        while len(found) < 10:
            page = get(application, path, limit=1, **cursor)
            found += [item[key] for item in page["items"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert found == whole
        assert len(whole) == 3


@pytest.mark.parametrize(
    ("parameters", "runs"),
    [
        ({}, ["bad", "good", "old"]),
        ({"status": "failed"}, ["bad"]),
        ({"error_code": "133"}, ["bad"]),
        ({"flow_id": "flow"}, ["bad", "good", "old"]),
        ({"flow_id": "other"}, []),
        ({"sandbox": "dev"}, []),
        ({"since": "1h"}, ["bad", "good"]),
        ({"until": "1h"}, ["old"]),
        ({"limit": "1"}, ["bad"]),
    ],
)
def test_runs_are_filtered(application: Application, parameters: dict[str, Any], runs: list[str]) -> None:
    """Filters have the names of those of the page."""
    application.post(ended("old", ago=7_200_000))
    application.post(ended("good", ago=2_000))
    application.post(ended("bad", "133"))
    assert [run["run_id"] for run in get(application, "/runs", **parameters)["items"]] == runs


def test_a_run_has_the_name_of_its_flow(application: Application) -> None:
    """Where its own notification names none, it is the name on /metrics, as on the page."""
    application.post(ended("named", ago=5_000, flowName="Tides"))
    application.post(ended("nameless"))
    assert [run["flow_name"] for run in get(application, "/runs")["items"]] == ["Tides", "Tides"]
    assert get(application, "/runs/{run_id}", item="nameless")["flow_name"] == "Tides"


@pytest.mark.parametrize(
    ("parameters", "flows"),
    [
        ({}, ["f1", "f2"]),
        ({"failing": "true"}, ["f2"]),
        ({"failing": "false"}, ["f1"]),
        ({"sandbox": "dev"}, ["f1"]),
        ({"kind": "segment"}, []),
    ],
)
def test_flows_are_filtered(application: Application, parameters: dict[str, Any], flows: list[str]) -> None:
    """The same for flows."""
    application.post(ended("r1", flowId="f1", sandboxName="dev"))
    application.post(ended("r2", "133", flowId="f2"))
    assert [flow["flow_id"] for flow in get(application, "/flows", **parameters)["items"]] == flows


@pytest.mark.parametrize(
    ("path", "query", "named"),
    [
        ("/runs", "nothing=1", "'nothing' is no parameter"),
        ("/runs", "limit=1&limit=2", "limit is there twice"),
        ("/runs", "limit=501", "limit takes a whole number from 1 to 500"),
        ("/runs", "limit=", "limit takes"),
        ("/runs", "status=broken", "status takes"),
        ("/runs", "since=yesterday", "since takes"),
        ("/runs", "since=1h&until=2h", "since must be before until"),
        ("/runs", "cursor=x", "cursor is damaged"),
        ("/runs/{run_id}", "limit=1", "takes no parameters"),
        ("/flows", "kind=x", "kind takes"),
        ("/flows", "failing=yes", "failing takes true or false"),
        ("/flows", "cursor=x", "cursor is damaged"),
        ("/flows/{flow_id}", "kind=source", "'kind' is no parameter"),
        ("/errors", "cursor=Y29kZXM6", "cursor is damaged"),
        ("/errors", "cursor=%00", "cursor is damaged"),
        ("/notifications", "cursor=x", "cursor is damaged"),
        ("/notifications", "utm_source=mail", "'utm_source' is no parameter"),
    ],
)
def test_a_wrong_parameter_is_named(application: Application, path: str, query: str, named: str) -> None:
    """An address that could be meant otherwise is refused, and the answer says which parameter is wrong."""
    address = BASE + path.replace("{run_id}", "r").replace("{flow_id}", "f")
    response = application.request("GET", f"{address}?{query}")
    assert named in assert_described(response, path)["detail"]
    assert response.status_code == 400


def test_a_cursor_of_another_list_is_refused(application: Application) -> None:
    """No list goes on from the cursor of another one."""
    for number in range(2):
        application.post(ended(f"r{number}", f"13{number}", flowId=f"f{number}"))
        application.post(json.dumps({"number": number}))
    cursors = {
        path: get(application, path, limit=1)["next"] for path in ("/runs", "/flows", "/errors", "/notifications")
    }
    for path in cursors:
        for other, cursor in cursors.items():
            get(application, path, cursor=cursor, expected=200 if path == other else 400)


@pytest.mark.parametrize(("path", "item"), [("/runs/{run_id}", "r"), ("/flows/{flow_id}", "f"), ("/runs/{run_id}", "")])
def test_an_unknown_id_is_not_found(application: Application, path: str, item: str) -> None:
    """There is a problem that says so."""
    assert get(application, path, item=item, expected=404)["reason"] == "not_in_ledger"


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/v1", "/api/v1/nothing", "/api/v2/runs", "/api/v1/runs.json"])
def test_other_addresses_are_not_found(application: Application, path: str) -> None:
    """Below /api every answer is JSON, also for a browser."""
    response = application.request("GET", path, headers={"accept": "text/html"})
    assert "openapi.json" in problem(response, 404, "not_found")["detail"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_is_changed_through_the_api(application: Application, method: str) -> None:
    """Only GET and HEAD are answered."""
    response = application.request(method, f"{BASE}/runs")
    problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", [f"{BASE}/runs", f"{BASE}/runs/nothing", f"{BASE}/openapi.json", f"{BASE}/errors?x=1"])
def test_head_has_the_headers_of_get(filled: Application, path: str) -> None:
    """A client can ask for the headers alone."""
    answers = [filled.request(method, path) for method in ("GET", "HEAD")]
    assert answers[0].status_code == answers[1].status_code
    assert answers[0].headers == answers[1].headers


@pytest.mark.parametrize("error", [LedgerUnavailableError, PagesBusyError, NotCaughtUpError])
@pytest.mark.parametrize("path", LISTS)
def test_what_can_not_be_answered_now(
    application: Application, monkeypatch: pytest.MonkeyPatch, path: str, error: type[Exception]
) -> None:
    """A client is asked to come back, and learns the reason in the word of the metrics."""

    async def fail(*_: object) -> None:
        raise error("the disk is gone")

    monkeypatch.setattr(Asking, "ask", fail)
    response = application.request("GET", BASE + path)
    assert assert_described(response, path) == problem(response, 503, error.reason)  # type: ignore[attr-defined]
    assert response.headers["retry-after"] == "5"


def test_a_run_with_a_correction(application: Application) -> None:
    """The outcome that stands is shown, and the facts say which one counted."""
    application.post(ended("r", "133", ago=5_000))
    application.post(ended("r", ago=1_000))
    found = get(application, "/runs/{run_id}", item="r")
    assert (found["status"], found["counted"]) == ("success", False)
    assert [(fact["status"], fact["counted"]) for fact in found["facts"]] == [("failed", True), ("success", False)]
    assert found["body"] == json.loads(ended("r", ago=1_000))
    assert found["body_size"] == len(ended("r", ago=1_000))


@pytest.mark.parametrize(
    "value", ["NaN", "1e999", "9" * 400, '"\\ud800"', '"\\u0000"', "[" * 70 + "]" * 70, '"\u202e\x7f"', "-Infinity"]
)
def test_a_hostile_body_breaks_no_client(application: Application, value: str) -> None:
    """Whatever a body holds, the answer is JSON that every client can read."""
    application.post(ended("r", "133")[:-1] + f', "hostile": {value}}}')
    if not get(application, "/runs")["items"]:
        assert get(application, "/notifications")["items"]
        return
    response = application.request("GET", f"{BASE}/runs/r")
    found = assert_described(response, "/runs/{run_id}")
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
    assert not set(response.text[:-1]) & {*map(chr, range(32)), "\x7f", "\u202e"}
    assert response.text.count("hostile") == 1


def test_a_large_body_is_left_out(make: Make) -> None:
    """Its size is there instead."""
    application = make(max_body=4_000_000)
    body = ended("r", "133", padding="x" * 1_100_000)
    application.post(body)
    found = get(application, "/runs/{run_id}", item="r")
    assert (found["body"], found["body_size"]) == (None, len(body))


def test_summaries_have_no_messages(make: Make) -> None:
    """Where anybody may ask, the API has codes and their meaning, no messages, no bodies and no private event code."""
    application = make("--web.pages=summary")
    application.post(ended("r", "133", "133", "CONNECTOR-1001-500"))
    application.post('{"private": "value"}', **{"x-adobe-event-code": "private_code"})
    texts = [application.request("GET", BASE + path).text for path in ("/runs", "/runs/r", "/notifications", "/errors")]
    assert not [text for text in texts if "secret" in text or "private" in text]
    found = get(application, "/runs/{run_id}", item="r")
    assert [(error["code"], error["message"]) for error in found["errors"]] == [
        ("133", None),
        ("CONNECTOR-1001-500", None),
    ]
    assert found["body"] is None
    assert get(application, "/notifications")["items"][0]["event_code"] == "other"


def test_errors_say_what_fails_now(application: Application) -> None:
    """Each code has the flows that are failing with it, the runs of a day that reported it, and since when."""
    application.post(ended("r1", "133", flowId="f1", ago=90_000_000))
    application.post(ended("r2", "133", flowId="f1", ago=5_000))
    application.post(ended("r3", "133", flowId="f2", ago=4_000))
    application.post(ended("r4", "INGEST-1205-400", flowId="f3", ago=3_000))
    application.post(ended("r5", flowId="f3", ago=2_000))
    found = {item["code"]: item for item in get(application, "/errors")["items"]}
    assert [(code, item["flows_failing"], item["runs_24h"]) for code, item in found.items()] == [
        ("133", 2, 2),
        ("INGEST-1205-400", 0, 1),
    ]
    assert found["133"]["first_seen_at"] < found["133"]["last_seen_at"]
    assert found["133"]["explanation"]


def test_notifications_have_their_reasons(application: Application) -> None:
    """Each has what became of it and why, the newest first."""
    application.post('{"x": 1}', **{"x-adobe-event-code": "some_code"})
    application.post("nothing")
    items = get(application, "/notifications")["items"]
    assert [(item["result"], item["reason"], item["event_code"], item["position"]) for item in items] == [
        ("unreadable", "unreadable", None, 2),
        ("unsupported", "other_topic", "some_code", 1),
    ]


def test_refused_notifications_are_in_the_first_page(make: Make) -> None:
    """They are among the others by time, have no position, and nothing of what was sent."""
    application = make("--webhook.token=the-right-token-of-tests", "--webhook.auth=token")
    application.post('{"x": 1}', "/webhook/the-right-token-of-tests")
    application.post('{"x": 2}', "/webhook/the-right-token-of-tests")
    application.post("a secret", "/webhook/a-wrong-token-of-tests")
    first = get(application, "/notifications", limit=1)
    assert [(item["result"], item["reason"], item["position"]) for item in first["items"]] == [
        ("refused", "token", None),
        ("unsupported", "unknown_shape", 2),
    ]
    second = get(application, "/notifications", limit=1, cursor=first["next"])
    assert [item["position"] for item in second["items"]] == [1]
    assert "secret" not in json.dumps(first)


def test_status_is_answered_while_the_ledger_can_not_be_read(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer says what is wrong instead of being a 503."""
    application.post(ended("r", "133"))
    assert (get(application, "/status")["ledger"]["problem"], get(application, "/status")["series"]["flows"]) == (
        None,
        1,
    )

    def fail(*_: object) -> None:
        raise LedgerUnavailableError("the disk is gone")

    monkeypatch.setattr(SqliteQueries, "last_deliveries", fail)
    assert get(application, "/status")["ledger"]["problem"] == "the disk is gone"


def test_a_flow_in_several_sandboxes(application: Application) -> None:
    """One must be named, so that no client takes one for the other."""
    for sandbox in ("dev", "prod"):
        application.post(ended(f"r-{sandbox}", sandboxName=sandbox))
    assert "sandbox" in get(application, "/flows/{flow_id}", item="flow", expected=400)["detail"]
    assert get(application, "/flows/{flow_id}", item="flow", sandbox="dev")["sandbox"] == "dev"
    get(application, "/flows/{flow_id}", item="flow", sandbox="test", expected=404)


def test_the_document_is_served(make: Make) -> None:
    """Its server is the address of the API, relative to its own or below the external URL."""
    for flags, server in (
        ((), "http://localhost/api/v1"),
        (("--web.external-url=https://monitor.example/aep",), "https://monitor.example/aep/api/v1"),
    ):
        found = make(*flags).request("GET", f"{BASE}/openapi.json")
        assert found.headers["content-type"] == "application/json"
        (listed,) = found.json()["servers"]
        assert urljoin(f"http://localhost{BASE}/openapi.json", listed["url"]) == server
        assert list(found.json()["paths"]) == [operation.path for operation in OPERATIONS]


def test_without_pages_there_is_no_api(make: Make) -> None:
    """What holds for pages holds for it."""
    response = make("--web.pages=off").request("GET", f"{BASE}/runs")
    assert (response.status_code, response.text) == (404, "not found\n")


def test_the_api_has_the_pages_protection(application: Application) -> None:
    """It answers no foreign name, and with passwords only who has one."""
    for path in (f"{BASE}/runs", f"{BASE}/openapi.json", f"{BASE}/runs/r", "/api/nothing"):
        assert application.request("GET", path, headers={"host": "evil.example"}).status_code == 421
    users = {"somebody": bcrypt.hashpw(b"made up", bcrypt.gensalt(4)).decode()}
    application._app.use_web_config(WebConfig(users=users))
    credentials = "Basic " + base64.b64encode(b"somebody:made up").decode()
    for path in (f"{BASE}/runs", f"{BASE}/openapi.json"):
        assert application.request("GET", path).status_code == 401
        assert application.request("GET", path, headers={"authorization": credentials}).status_code == 200


def test_a_defect_of_a_query_is_no_answer(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the ledger's query raises is a problem too, with its message."""

    def fail(*_: object) -> None:
        raise LedgerUnavailableError("the disk is gone")

    monkeypatch.setattr(SqliteQueries, "runs", fail)
    assert (
        problem(application.request("GET", f"{BASE}/runs"), 503, "ledger_unavailable")["detail"] == "The disk is gone."
    )
