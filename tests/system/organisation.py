"""A made-up organisation with something of everything that pages show, as deliveries of one afternoon.

Its flows fail with one code, with several and without any. Others are overdue, stuck, empty or recovered, are disabled
or soon will be. Names and ids hold what others could write into them.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx

from tests.system.processes import EXPORTER, PATIENCE, Exporter, run

Notice = dict[str, Any]
"""A notification as Adobe's JSON has it."""

HOUR: Final = 3600 * 1000
DAY: Final = 24 * HOUR
MINUTE: Final = 60 * 1000
ORG: Final = "0B7D41C65E2F93A80C1D2E3F@AdobeOrg"
COPY: Final = "CONNECTOR-1001-500"
SCHEMA: Final = "INGEST-1205-400"
MAPPING: Final = "MAPPER-3700-400"
NEW_CODE: Final = "NEWCODE-4711-500"
"""A code that has no explanation of its own."""
TOKEN: Final = "made-up-token-of-the-browser-tests"

HOSTILE_ID: Final = "a/b%20c \"d\" 'e' <f>&g=h?i#j"
HOSTILE_NAME: Final = "\u202eevil \u05e9\u05dc\u05d5\u05dd <b id=injected>bold</b> {{ 7 * 7 }}"
HOSTILE_RUN: Final = "run/of%2Fa <flow>"
HOSTILE_MESSAGE: Final = (
    "<script>alert('message')</script><img src=x onerror=alert(1)> NUL \u0000 bell \u0007 left \u202e over\nsecond line"
)
LONG_ID: Final = "long-message"
LONG_MESSAGE: Final = "beginning " + "x" * 100_000 + " end"
HOSTILE_FLOW_PAGE: Final = f"/flows/{quote(HOSTILE_ID, safe='')}?sandbox=stage"
HOSTILE_RUN_PAGE: Final = f"/runs/{quote(HOSTILE_RUN, safe='')}"
PAGES: Final = {
    "home": "/",
    "flows": "/flows",
    "flow": "/flows/orders?sandbox=prod",
    "flow-good": "/flows/recovered?sandbox=prod",
    "flow-several-codes": "/flows/loyalty?sandbox=prod",
    "flow-hostile": HOSTILE_FLOW_PAGE,
    "flow-long": f"/flows/{LONG_ID}?sandbox=prod",
    "runs": "/runs?limit=25",
    "runs-filtered": "/runs?status=failed&sandbox=prod&limit=25",
    "run": "/runs/orders-failed-3-of-4",
    "run-in-progress": "/runs/stuck-run",
    "run-hostile": HOSTILE_RUN_PAGE,
    "run-long": "/runs/long-run",
    "errors": "/errors",
    "notifications": "/notifications",
    "status": "/status",
    "not-found": "/no-such-page",
}
"""Pages that differ much from each other, by a name."""
QUERY_SQL: Final = "SELECT * FROM orders -- <script>alert('sql')</script>"


def flow_run(
    flow_id: str,
    run_id: str,
    status: str,
    ended_at: int,
    *,
    name: str = "",
    sandbox: str = "prod",
    minutes: float = 4.0,
    read: int | None = 18_204,
    written: int | None = None,
    errors: tuple[tuple[str, str], ...] = (),
    client: str = "",
) -> Notice:
    """A run that ended at a time (milliseconds since 1970). A run that is in progress started then."""
    started_at = ended_at - round(minutes * MINUTE)
    is_running = status == "inProgress"
    times = {"startedAtUTC": ended_at} if is_running else {"startedAtUTC": started_at, "completedAtUTC": ended_at}
    middle = started_at + round(minutes * MINUTE * 0.4)
    failed = [{"code": code, "message": message} for code, message in errors]
    records: dict[str, int] = {}
    if read is not None:
        records = {"inputRecordCount": read, "outputRecordCount": read if written is None else written}
        records["failedRecordCount"] = records["inputRecordCount"] - records["outputRecordCount"]
    activities = [
        {
            "id": "copyActivity",
            "durationSummary": {"startedAtUTC": started_at, "completedAtUTC": middle},
            "statusSummary": {"status": "success"},
        },
        {
            "id": "promotionActivity",
            "durationSummary": {"startedAtUTC": middle, "completedAtUTC": ended_at},
            "statusSummary": {"status": status, "errors": failed},
        },
    ]
    return {
        "event_id": f"event:{flow_id}:{run_id}:{status}",
        "event": {
            "id": run_id,
            "flowId": flow_id,
            "flowName": name,
            "sandboxName": sandbox,
            "createdClient": client,
            "imsOrgId": ORG,
            "metrics": {
                "durationSummary": times,
                "statusSummary": {"status": status, "errors": failed},
                "recordSummary": records,
                "sizeSummary": {"inputBytes": 52_480, "outputBytes": 31_744},
                "fileSummary": {"inputFileCount": 3, "outputFileCount": 2},
            },
            "activities": [] if is_running else activities,
            "header": {"_adobeio": {"imsOrgId": ORG, "eventCode": "" if client else "sources_flow_run_success"}},
        },
    }


def hourly(flow_id: str, last_at: int, count: int, status: str = "success", **fields: Any) -> Iterator[Notice]:
    """So many runs, one an hour, the last at a time. Durations and records vary a little."""
    for number in range(count):
        minutes = fields.get("minutes", 4.0 + (number * 7 % 11) / 10)
        read = fields.get("read", 18_000 + number * 37 % 500)
        ended_at = last_at - (count - 1 - number) * HOUR
        more = {**fields, "minutes": minutes, "read": read}
        yield flow_run(flow_id, f"{flow_id}-{status}-{number}-of-{count}", status, ended_at, **more)


def failing(now: int) -> Iterator[Notice]:
    """Flows that fail now."""
    path = "Copy from SFTP failed: the path /out/orders/2026-11-27 does not exist."
    orders = {"name": "Nightly orders"}
    yield from hourly("orders", now - 105 * HOUR, 2, "failed", **orders, errors=((COPY, "The host did not answer."),))
    yield from hourly("orders", now - 5 * HOUR, 99, **orders)
    yield from hourly("orders", now - HOUR, 4, "failed", **orders, minutes=0.5, read=0, errors=((COPY, path),))
    contacts = {"name": "CRM contacts"}
    login = "Authentication failed for the user svc_aep on the host sftp.partner.example."
    yield from hourly("crm", now - 3 * HOUR, 30, **contacts)
    yield from hourly("crm", now - HOUR, 2, "failed", **contacts, minutes=0.2, read=0, errors=((COPY, login),))
    yield from hourly("loyalty", now - 12 * HOUR, 20, name="Loyalty events")
    several = ((SCHEMA, "The target schema has no field person.loyalty_tier."), (MAPPING, "31.02.1990 is no date."))
    yield from hourly("loyalty", now - HOUR, 11, "failed", name="Loyalty events", errors=several)
    yield from hourly("suppression", now - 2 * HOUR, 5, sandbox="dev emea", name="Suppression list")
    yield from hourly("suppression", now - HOUR, 1, "failed", sandbox="dev emea", name="Suppression list")
    for day in range(24, -1, -1):
        ended_at = now - day * DAY - HOUR
        yield flow_run("archive", f"archive-{day}", "failed", ended_at, name="Archive", errors=((NEW_CODE, "No."),))
    yield from hourly("retired", now - 2 * HOUR, 3, "failed", name="Retired catalogue", errors=((COPY, path),))


def doubtful(now: int) -> Iterator[Notice]:
    """Flows that do not fail, and of which something else is worth a look."""
    yield from hourly("overdue", now - 30 * HOUR, 120, name="Points of sale")
    yield from hourly("stuck", now - 13 * HOUR, 40, sandbox="stage", name="Web sessions")
    yield flow_run("stuck", "stuck-run", "inProgress", now - 12 * HOUR, sandbox="stage", name="Web sessions")
    yield from hourly("empty", now - 2 * HOUR, 40, name="Price list")
    yield flow_run("empty", "empty-run", "success", now - HOUR, name="Price list", read=0)
    yield from hourly("recovered", now - 4 * HOUR, 10, name="Call centre")
    yield from hourly("recovered", now - 2 * HOUR, 2, "failed", name="Call centre", errors=((COPY, "Try again."),))
    yield flow_run("recovered", "recovered-run", "success", now - HOUR, name="Call centre")
    rejected = ((MAPPING, "The mapping of birthDate failed."),)
    yield from hourly("partial", now - HOUR, 6, "partialSuccess", name="Newsletter", written=17_500, errors=rejected)
    yield flow_run("query", "query-run", "success", now - HOUR, name=QUERY_SQL, client="acp_foundation_queryService")


def hostile(now: int) -> Iterator[Notice]:
    """Flows whose ids, names and messages could break a page."""
    message = ((COPY, HOSTILE_MESSAGE),)
    named: dict[str, Any] = {"name": HOSTILE_NAME, "sandbox": "stage"}
    yield from hourly(HOSTILE_ID, now - 3 * HOUR, 6, **named)
    yield flow_run(HOSTILE_ID, HOSTILE_RUN, "failed", now - HOUR, **named, errors=message)
    long_name = "A name without blanks" + "-and-on" * 30
    yield flow_run(LONG_ID, "long-run", "failed", now - HOUR, name=long_name, errors=((SCHEMA, LONG_MESSAGE),))


def alerts(now: int) -> Iterator[Notice]:
    """Adobe's own alerts: one about a flow, and one without a flow."""
    for number, flow_id in enumerate(("orders", "")):
        about = {"flowId": flow_id} if flow_id else {}
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime((now - HOUR) / 1000))
        alert = {"id": f"alert-{number}", "status": "FIRING", "name": "sources_flow_run_delay", "createdAt": created}
        yield {
            "event_id": f"alert-event-{number}",
            "event": {**alert, "imsOrgId": ORG, "sandboxName": "prod", "severity": "high", "value": "181", **about},
        }


NOT_UNDERSTOOD: Final = (
    b'{"event_id": "unsupported-1", "event": {"hello": "<script>alert(2)</script>", "sandboxName": "prod"}}',
    b"this is no JSON <img src=x onerror=alert(3)> \x00\xff",
    b'{"event_id": "unsupported-2", "event": {"flowId": "f", "id": "r", "metrics": {}}}',
)


def flows_of_the_service(now: int) -> bytes:
    """A saved answer of the Flow Service: which flows there are, and which are enabled."""
    disabled = {
        "id": "retired",
        "name": "Retired catalogue",
        "state": "disabled",
        "sandboxName": "prod",
        "updatedAt": now,
        "imsOrgId": ORG,
        "flowSpec": {"id": "s", "version": "1.0"},
        "inheritedAttributes": {"properties": {"isSourceFlow": True}},
    }
    enabled = {**disabled, "id": "orders", "name": "Nightly orders", "state": "enabled"}
    return json.dumps({"items": [disabled, enabled]}).encode()


def post_all(exporter: Exporter, notices: list[Notice]) -> None:
    """Post these notifications in batches of what the webhook takes at once."""
    batch: list[Notice] = []
    size = 0
    for notice in [*notices, None]:
        if notice is None or size > 1_000_000:
            assert exporter.post(json.dumps(batch).encode(), f"/webhook/{TOKEN}") == 200
            batch, size = [], 0
        if notice is not None:
            batch.append(notice)
            size += len(json.dumps(notice))


def fill(exporter: Exporter, folder: Path) -> None:
    """Deliver the whole organisation to an exporter whose webhook has TOKEN, and some deliveries that it refuses."""
    folder.mkdir(parents=True, exist_ok=True)
    now = int(time.time() * 1000)
    url = f"--url={exporter.url}/webhook/{TOKEN}"
    run(EXPORTER, "simulate", url, "--flows=24", "--since=6h", "--duration=0s", "--seed=7", seconds=PATIENCE)
    post_all(exporter, [*failing(now), *doubtful(now), *hostile(now), *alerts(now)])
    for body in NOT_UNDERSTOOD:
        assert exporter.post(body, f"/webhook/{TOKEN}") == 200
    assert exporter.post(b"{}", "/webhook/wrong") == 401
    assert exporter.post(b" " * 5_000_000, f"/webhook/{TOKEN}") == 413
    assert httpx.post(exporter.url + "/wrong-path", content=b"{}", timeout=PATIENCE).status_code == 404
    answer = folder / "flows.json"
    answer.write_bytes(flows_of_the_service(now))
    run(EXPORTER, "replay", f"--ledger.url=sqlite:///{exporter.ledger}", answer, seconds=PATIENCE)
