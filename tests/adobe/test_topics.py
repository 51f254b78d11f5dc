"""The reasons for which an event is not understood."""

import pytest

from exporter.adobe.payloads import read
from exporter.adobe.topics import FLOW_CODES, OTHER_CODES
from exporter.metrics.code_labels import EVENT_CODES
from exporter.model import Flow, NotUnderstood, Unreadable, Unsupported
from tests.adobe import NOW, a_run, encoded, failing, opened, read_again
from tests.samples import sample

OTHER_TOPIC = NotUnderstood.OTHER_TOPIC
NO_FLOW_ID = NotUnderstood.NO_FLOW_ID
NO_RUN_ID = NotUnderstood.NO_RUN_ID
NO_STATUS = NotUnderstood.NO_STATUS
UNKNOWN_SHAPE = NotUnderstood.UNKNOWN_SHAPE
UNREADABLE = NotUnderstood.UNREADABLE

NO_METRICS: dict[str, object] = {"id": "r", "flowId": "f", "sandboxName": "prod"}
AUDIT: dict[str, object] = {"id": "a", "payload": {"assetType": "Audience", "action": "Create"}}
NEW_ALERT: dict[str, object] = {"id": "a", "name": "sources_flow_run_delay", "severity": "high", "flowId": "f"}


def under(code: str, **members: object) -> dict[str, object]:
    """An event with Adobe's header and this event code."""
    return {**members, "header": {"_adobeio": {"eventCode": code}}}


def cloud(type_: str, data: object) -> dict[str, object]:
    """A CloudEvent of this type."""
    return {"specversion": "1.0", "id": "i", "source": "urn:x", "type": type_, "data": data}


REASONS: dict[str, tuple[object, NotUnderstood]] = {
    # What a run lacks. Flow id, run id and status, in this order.
    "a run without flow id": (a_run(flowId=None), NO_FLOW_ID),
    "a run with a flow id that is no id": (a_run(flowId=[]), NO_FLOW_ID),
    "a run without run id": (a_run(None), NO_RUN_ID),
    "a run without status": (a_run(metrics={"statusSummary": {}}), NO_STATUS),
    "a run with an empty status": (a_run(metrics={"statusSummary": {"status": ""}}), NO_STATUS),
    "a run with empty metrics": (a_run(metrics={}), NO_STATUS),
    "a run without metrics": (NO_METRICS, NO_STATUS),
    "a run without anything": ({"metrics": {"statusSummary": {}}}, NO_FLOW_ID),
    "a run with neither flow id nor status": ({"id": "r", "metrics": {"statusSummary": {}}}, NO_FLOW_ID),
    "a run with neither run id nor status": ({"flowId": "f", "metrics": {}}, NO_RUN_ID),
    "a run with the id of the run alone": ({"flowRunId": "r"}, NO_FLOW_ID),
    "a prefixed run without status": (
        {"xdm:flowRunId": "r", "xdm:flowId": "f", "xdm:metrics": {"xdm:statusSummary": {}}},
        NO_STATUS,
    ),
    "a run without status in an envelope": ({"event_id": "e", "event": a_run(metrics={})}, NO_STATUS),
    "a run without status in a list": ({"messages": [{"value": a_run(metrics={})}]}, NO_STATUS),
    "a run under the code of another topic": (under("platform_event", **a_run(metrics={})), NO_STATUS),
    # Other topics.
    "a documented code": (under("audit_events_info", hello="sailor"), OTHER_TOPIC),
    "a documented code in capitals": (under("AUDIT_EVENTS_INFO", hello="sailor"), OTHER_TOPIC),
    "a documented code of the old events": ({"xdm:eventCode": "ing_load_failure", "xdm:completed": 1}, OTHER_TOPIC),
    "an audit event without a header": (AUDIT, OTHER_TOPIC),
    "an ingestion event without a code": ({"xdm:ingestionId": "b"}, OTHER_TOPIC),
    "an event of another provider": (cloud("aem.sites.page.published", {"path": "/a"}), OTHER_TOPIC),
    "one whose type has a word like flow": (cloud("aem.workflow.completed", {"workflowId": "w"}), OTHER_TOPIC),
    "one whose type has a word like source": (cloud("aem.resource.removed", {"path": "/a"}), OTHER_TOPIC),
    "one whose type ends like segment": (cloud("com.adobe.mail.changesegment", {"id": 5}), OTHER_TOPIC),
    "one with metrics of its own": (cloud("com.adobe.analytics.spike", {"metrics": {"visits": 5}}), OTHER_TOPIC),
    "a list of other topics": ({"events": [AUDIT, under("audit_events_info", hello="sailor")]}, OTHER_TOPIC),
    # In doubt the form is unknown, because the alert leaves other topics out.
    "no code": ({"hello": "sailor"}, UNKNOWN_SHAPE),
    "an empty object": ({}, UNKNOWN_SHAPE),
    "the code of a run": (under("source_flow_run_info", hello="sailor"), UNKNOWN_SHAPE),
    "the code of a run on an audit event": (under("source_flow_run_info", **AUDIT), UNKNOWN_SHAPE),
    "a code like those of runs": (cloud("destination_info", {"hello": "sailor"}), UNKNOWN_SHAPE),
    "a code that names runs": (cloud("com.adobe.run.finished", {"hello": "sailor"}), UNKNOWN_SHAPE),
    "a run of a new form under a new code": (cloud("com.adobe.x", {"result": {"flowId": "f"}}), UNKNOWN_SHAPE),
    "a run as text under a new code": (cloud("com.adobe.x", '{"flowId": "f"}'), NO_RUN_ID),
    "an alert of a new form under a new code": (cloud("com.adobe.x", {"severity": "high"}), UNKNOWN_SHAPE),
    "a run whose metrics are a list": (NO_METRICS | {"metrics": [{"status": "failed"}]}, UNKNOWN_SHAPE),
    "a run whose status is elsewhere": (NO_METRICS | {"status": "failed"}, UNKNOWN_SHAPE),
    "an alert with an unknown status": (NEW_ALERT | {"status": "QUARANTINED"}, UNKNOWN_SHAPE),
    "an alert without status": (NEW_ALERT, UNKNOWN_SHAPE),
    "an alert without flow and with an unknown status": (
        {"id": "a", "name": "late", "severity": "high", "status": "RESOLVED"},
        UNKNOWN_SHAPE,
    ),
    "a flow without id": ({"name": "Tide tables", "flowSpec": {"id": "s"}}, UNKNOWN_SHAPE),
    "a list of many reasons": ({"items": [AUDIT, {"hello": 1}, 5]}, UNKNOWN_SHAPE),
    "a list with one run that lacks its id": ({"items": [AUDIT, {"hello": 1}, a_run(None)]}, NO_RUN_ID),
    "a list in a list": ({"items": [{"items": [AUDIT]}]}, OTHER_TOPIC),
    "lists that are nested too deep": (
        {"items": [{"items": [{"items": [{"items": [{"items": [{"items": [AUDIT]}]}]}]}]}]},
        UNKNOWN_SHAPE,
    ),
}


def test_reasons() -> None:
    """Each event that is not understood has its reason, and the same one when its stored body is read again."""

    def check(case: tuple[object, NotUnderstood]) -> None:
        body, reason = case
        (event,) = opened(encoded(body))
        assert isinstance(event.fact, Unsupported)
        assert event.fact.reason is reason
        again = read_again(event)
        assert isinstance(again, Unsupported)
        assert again.reason is reason

    assert failing(REASONS, check) == {}


@pytest.mark.parametrize(
    ("code", "reason"),
    [("audit_events_info", OTHER_TOPIC), ("source_flow_run_info", UNKNOWN_SHAPE), ("", UNKNOWN_SHAPE)],
)
def test_the_code_in_the_headers(code: str, reason: NotUnderstood) -> None:
    """The event code in a request's headers decides where the body has none, also when the ledger is read."""
    (event,) = opened(b'{"hello": "sailor"}', x_adobe_event_code=code)
    assert event.fact == read_again(event) == Unsupported(reason=reason)


@pytest.mark.parametrize("body", [b"ahoy", b"null", b"[5]", b'{"a":' * 10_000])
def test_unreadable(body: bytes) -> None:
    """What is not a JSON object is unreadable, also when it is read again."""
    (event,) = opened(body)
    assert event.fact == read_again(event) == Unreadable()
    assert Unreadable().reason is UNREADABLE


def test_what_is_nested_too_deep_is_unreadable_again() -> None:
    """An object in which something was nested too deep is unreadable, also when it is read again."""
    (event,) = opened(b'{"hello": ' + b"[" * 10_000 + b"]" * 10_000 + b"}")
    assert event.fact == read_again(event) == Unreadable()


@pytest.mark.parametrize("name", ["audit-event", "ingestion-failure", "cloudevents-other-topic"])
def test_other_topics_of_adobe(name: str) -> None:
    """The samples of other topics are other topics."""
    (event,) = opened(sample(name))
    assert isinstance(event.fact, Unsupported)
    assert event.fact.reason is OTHER_TOPIC


def test_a_flow_is_understood() -> None:
    """The description of a flow is a flow. Where it came from decides later whether it is used."""
    (event,) = opened(encoded({"id": "f", "name": "Tide tables", "flowSpec": {"id": "s"}}))
    assert isinstance(event.fact, Flow)


def test_every_documented_code_is_one_or_the_other() -> None:
    """The documented event codes are those of runs and alerts, and those of other topics."""
    assert FLOW_CODES | OTHER_CODES == EVENT_CODES
    assert not FLOW_CODES & OTHER_CODES


def test_a_long_list_of_large_elements_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of a list is searched once for the words of runs, and not once for each element."""
    searched: list[bytes] = []

    class Pattern:
        def search(self, body: bytes) -> None:
            searched.append(body)

    monkeypatch.setattr("exporter.adobe.topics._FLOW_MEMBERS", Pattern())
    body = encoded({"header": {"_adobeio": {"eventCode": "aem.x"}}, "items": [{"hello": n} for n in range(50)]})
    assert read(body, NOW) == Unsupported(reason=OTHER_TOPIC)
    assert searched == [body]
