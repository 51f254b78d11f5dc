"""The links that lead into Experience Platform."""

import json
from urllib.parse import quote

import pytest

from tests.web.conftest import Application, Make

HTML = {"accept": "text/html"}
ORG = "0A1B@AdobeOrg"


def body(run_id: str = "run-1", flow_id: str = "flow-1", sandbox: str = "dev emea", **members: object) -> str:
    """A run of a source that has failed."""
    metrics = {"statusSummary": {"status": "failed"}}
    activities = [{"id": "copyActivity"}]
    run = {"id": run_id, "flowId": flow_id, "sandboxName": sandbox, "imsOrgId": ORG, "metrics": metrics}
    return json.dumps({**run, "activities": activities, **members})


def location(application: Application, path: str) -> tuple[int, str]:
    """The status of an answer, and where it leads."""
    answers = [application.request(method, path, headers=HTML) for method in ("GET", "HEAD")]
    assert [answer.status_code for answer in answers] == [answers[0].status_code] * 2
    return answers[0].status_code, answers[0].headers.get("location", "")


def test_a_source(application: Application) -> None:
    """The addresses of a run and of a flow lead to its activity, by the kind, the organisation and the sandbox."""
    application.post(body())
    sandbox = f"https://experience.adobe.com/#/@{quote(ORG, safe='')}/sname:dev%20emea/platform"
    flow = f"{sandbox}/source/dataflows/flow-1/activity"
    assert location(application, "/runs/run-1/platform") == (302, f"{flow}/run-1")
    assert location(application, "/flows/flow-1/platform?sandbox=dev%20emea") == (302, flow)
    assert location(application, "/flows/flow-1/platform") == (302, flow)
    application.post(body("run-2", sandbox="prod"))
    assert location(application, "/flows/flow-1/platform")[0] == 404


def test_another_kind_and_the_tenant(make: Make) -> None:
    """The tenant's name takes the place of the organisation's id. A destination is shown in the monitoring."""
    application = make("--adobe.tenant=acme")
    application.post(body(activities=[{"id": "8816f6a2-2533-4dff-9026-c23a27b38691"}], run_id="query"))
    application.post(body("run-1", "flow-2", createdClient="aep_activation_batch", activities=[]))
    status, address = location(application, "/runs/run-1/platform")
    assert (status, address.partition("?")[0]) == (
        302,
        "https://experience.adobe.com/#/@acme/sname:dev%20emea/platform/monitoring/dashboard",
    )


def test_a_flow_that_only_an_alert_names(application: Application) -> None:
    """A flow that never ran, and whose kind is not known, leads to its sandbox."""
    alert = {"id": "a", "status": "FIRING", "name": "sources_flow_run_delay", "sandboxName": "prod", "imsOrgId": ORG}
    application.post(json.dumps({**alert, "flowId": "flow-9"}))
    status, address = location(application, "/flows/flow-9/platform?sandbox=prod")
    assert (status, address) == (
        302,
        f"https://experience.adobe.com/#/@{quote(ORG, safe='')}/sname:prod/platform/home",
    )


@pytest.mark.parametrize(
    "run_id", ["a/b", "..%2F..", "//evil.example/", "a?b#c", "\u00e9\u2713", '"><script>', "x" * 128]
)
def test_hostile_ids(application: Application, run_id: str) -> None:
    """Whatever an id holds, the address stays on Adobe's host and holds the id in one segment."""
    application.post(body(run_id))
    status, address = location(application, f"/runs/{quote(run_id, safe='')}/platform")
    assert status == 302
    assert address.startswith("https://experience.adobe.com/#/@")
    assert address.endswith(f"/activity/{quote(run_id, safe='')}")


@pytest.mark.parametrize(
    "path",
    [
        "/runs/nothing/platform",
        "/flows/nothing/platform",
        "/flows/flow-1/platform?sandbox=elsewhere",
        "/runs/%ff/platform",
        "/runs//platform",
    ],
)
def test_what_has_no_page(application: Application, path: str) -> None:
    """What the ledger does not have is not found."""
    application.post(body())
    assert location(application, path) == (404, "")


@pytest.mark.parametrize("path", ["/runs/alone/platform", "/flows/flow-2/platform?sandbox=dev%20emea"])
def test_without_an_organisation(application: Application, path: str) -> None:
    """What has no page because the organisation is not known leads to the first page: an alert links to it."""
    application.post(body("alone", "flow-2", imsOrgId=None))
    assert location(application, path) == (302, "https://experience.adobe.com/#/")


def test_with_pages_off(make: Make) -> None:
    """With the pages off there are no such addresses."""
    application = make("--web.pages=off")
    application.post(body())
    assert application.request("GET", "/runs/run-1/platform").status_code == 404
