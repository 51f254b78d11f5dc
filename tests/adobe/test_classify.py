from collections.abc import Sequence

import pytest
from hypothesis import given

from exporter.adobe.classify import activity_name, kind_of_flow, kind_of_run
from exporter.model import ACTIVITIES, FlowKind
from tests.adobe import a_run, trees

COPY: dict[str, object] = {"id": "4f008a00-3a04-11eb-adc1-0242ac120002", "name": "Tide Table Copy Activity"}
PROMOTION: dict[str, object] = {"id": "37b34f84-1ada-11eb-adc1-0242ac120002", "name": "Promotion Activity"}
IDENTITY: dict[str, object] = {"id": "46382888-2f46-11eb-adc1-0242ac120002", "name": "UIS Batch Activity"}
PROFILE: dict[str, object] = {"id": "08e3217c-2f46-11eb-adc1-0242ac120002", "name": "Profile Batch Activity"}
SEGMENTATION: dict[str, object] = {"id": "3c8e49bc-27a6-11ec-9621-0242ac130002", "name": "Profile Batch Segmentation"}
PROCESSOR: dict[str, object] = {
    "id": "c4f238e3-7334-4933-8b56-64d7ea43ea54",
    "name": "Activation Batch XdmProcessor Activity",
}
PUBLISHER: dict[str, object] = {
    "id": "51d82b36-6b8f-11eb-9439-0242ac130002",
    "name": "Activation Batch Publisher Activity",
}
QUERY: dict[str, object] = {"id": "8816f6a2-2533-4dff-9026-c23a27b38691", "name": "Query Activity"}
STREAMING: dict[str, object] = {"id": "076085f8-255a-11ee-be56-0242ac120002"}


ACTIVITY_NAMES: tuple[tuple[dict[str, object], str], ...] = (
    ({"id": "copyActivity"}, "copy"),
    ({"id": "promotionActivity"}, "promotion"),
    (COPY, "copy"),
    (PROMOTION, "promotion"),
    (IDENTITY, "identity"),
    (PROFILE, "profile"),
    (SEGMENTATION, "segmentation"),
    (PROCESSOR, "activation_processing"),
    (PUBLISHER, "activation_publishing"),
    (STREAMING, "activation_streaming"),
    (QUERY, "query"),
    ({"id": COPY["id"]}, "copy"),
    ({"id": PROFILE["id"], "name": "Lighthouse"}, "profile"),
    ({"id": "new", "name": "Tide Table Copy Activity"}, "copy"),
    ({"id": "46382888-2F46-11EB-ADC1-0242AC120002"}, "identity"),
    ({"id": "new", "name": "UIS Batch Activity"}, "identity"),
    ({"id": "new", "name": "Activation Batch XdmProcessor Activity"}, "activation_processing"),
    ({"id": "new", "name": "Activation Batch Publisher Activity"}, "activation_publishing"),
    ({"id": "new", "name": "Requisition Batch"}, "other"),
    ({"id": "new", "name": "Lighthouse"}, "other"),
    ({"id": "new"}, "other"),
    ({}, "other"),
)


def test_activity_names() -> None:
    """An activity's name is decided by its fixed id, else by words in its own name. An unknown one is `other`."""
    assert [(activity, activity_name(activity)) for activity, _ in ACTIVITY_NAMES] == list(ACTIVITY_NAMES)


@pytest.mark.parametrize(
    ("activities", "code", "members", "kind"),
    [
        pytest.param((), "sources_flow_run_success", {}, FlowKind.SOURCE, id="sources_flow_run"),
        pytest.param((), "source_flow_run_info", {}, FlowKind.SOURCE, id="source_flow_run"),
        pytest.param((), "destination_flow_run_info", {}, FlowKind.DESTINATION, id="destination code"),
        pytest.param((), "identity_ingestion_info", {}, FlowKind.IDENTITY, id="identity code"),
        pytest.param((), "profile_ingestion_info", {}, FlowKind.PROFILE, id="profile code"),
        pytest.param((), "segment_job_info", {}, FlowKind.SEGMENT, id="segment code"),
        pytest.param((), "query_service_info", {}, FlowKind.QUERY, id="query code"),
        pytest.param((COPY,), "", {}, FlowKind.SOURCE, id="copies"),
        pytest.param((COPY, PROMOTION), "", {}, FlowKind.SOURCE, id="copies and promotes"),
        pytest.param((IDENTITY,), "", {}, FlowKind.IDENTITY, id="identities"),
        pytest.param((PROFILE,), "", {}, FlowKind.PROFILE, id="profiles"),
        pytest.param((SEGMENTATION,), "", {}, FlowKind.SEGMENT, id="segments"),
        pytest.param((PROCESSOR, PUBLISHER), "", {}, FlowKind.DESTINATION, id="activates"),
        pytest.param((STREAMING,), "", {}, FlowKind.DESTINATION, id="activates streaming"),
        pytest.param((QUERY, PROMOTION), "", {}, FlowKind.QUERY, id="queries and promotes"),
        pytest.param((QUERY, PROMOTION), "source_flow_run_info", {}, FlowKind.QUERY, id="a query, whatever the code"),
        pytest.param((), "", {"createdClient": "acp_foundation_queryService"}, FlowKind.QUERY, id="query service"),
        pytest.param((), "", {"createdClient": "aep_activation_batch"}, FlowKind.DESTINATION, id="batch activation"),
        pytest.param((), "", {"createdClient": "AepActivationService"}, FlowKind.DESTINATION, id="activation service"),
        pytest.param((), "", {"providerRefId": "M-f-incremental-0:1"}, FlowKind.SOURCE, id="reference of a copy"),
        pytest.param((), "", {"providerRefId": "segment:77aa1b2c"}, FlowKind.DESTINATION, id="reference of a segment"),
        pytest.param(
            (), "", {"providerRefId": "1759920000000-1759923600000"}, FlowKind.UNKNOWN, id="reference of time"
        ),
        pytest.param((), "platform_event", {}, FlowKind.UNKNOWN, id="a code of no kind"),
        pytest.param((), "", {}, FlowKind.UNKNOWN, id="nothing"),
    ],
)
def test_kind_of_run(
    activities: Sequence[dict[str, object]], code: str, members: dict[str, object], kind: FlowKind
) -> None:
    """The kind of a run's flow is concluded from its code, its activities, its service and its reference."""
    assert kind_of_run(a_run(**members), [activity_name(each) for each in activities], code) is kind


@pytest.mark.parametrize(
    ("flow", "kind"),
    [
        ({"inheritedAttributes": {"properties": {"isSourceFlow": True}}}, FlowKind.SOURCE),
        ({"inheritedAttributes": {"properties": {"isDestinationFlow": True}}}, FlowKind.DESTINATION),
        ({"inheritedAttributes": {"properties": {"isDestinationFlow": False}}}, FlowKind.UNKNOWN),
        ({"inheritedAttributes": {"properties": {"isSourceFlow": "false"}}}, FlowKind.UNKNOWN),
        ({"inheritedAttributes": {"properties": []}}, FlowKind.UNKNOWN),
        ({"inheritedAttributes": "x"}, FlowKind.UNKNOWN),
        ({}, FlowKind.UNKNOWN),
    ],
    ids=repr,
)
def test_kind_of_flow(flow: dict[str, object], kind: FlowKind) -> None:
    """A flow's kind is the one of the two properties that is true, or unknown."""
    assert kind_of_flow(flow) is kind


@given(trees, trees)
def test_random_signs(one: object, other: object) -> None:
    """Whatever the members hold, an activity has a name of the list and a run has a kind."""
    assert activity_name({"id": one, "name": other}) in ACTIVITIES
    run = {"createdClient": one, "providerRefId": other, "inheritedAttributes": one}
    assert isinstance(kind_of_run(run, (), ""), FlowKind)
    assert kind_of_flow(run) is kind_of_flow({"inheritedAttributes": {"properties": other}}) is FlowKind.UNKNOWN
