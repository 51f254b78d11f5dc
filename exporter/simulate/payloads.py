"""Makes the JSON object of a notification: a run, an alert, or an event of another topic.

The rule: structure, field names and oddities are those of Adobe's samples (docs/adobe.md, "Payloads"). A run and its
activity report the same error, errors stand in each of their places, alerts have times as texts. The clock converts the
moment of a notification, and every other time of a run keeps its distance from that moment.

No I/O.
"""

from typing import Final
from urllib.parse import quote

from exporter.model import AlertState, FlowKind, Status
from exporter.simulate.clock import Clock
from exporter.simulate.codes import SKIPPED_CODE, SKIPPED_MESSAGE
from exporter.simulate.legacy_payloads import legacy_run
from exporter.simulate.organisation import ORGANISATION, Style, identifier
from exporter.simulate.payload_fields import (
    OBSERVABILITY,
    STATUS_TEXTS,
    Node,
    catalogue_fields,
    errors,
    event_code,
    files,
    header,
    iso,
    records,
    sizes,
    status_summary,
    summaries,
)
from exporter.simulate.runs import Run, Step
from exporter.simulate.timeline import AlertNotification, Notification, OtherNotification, RunNotification

# Ids and names of activities (docs/adobe.md, "Payloads"). The last one is in no document.
_STEPS: Final = {
    "copy": ("4f008a00-3a04-11eb-adc1-0242ac120002", "{connector} Copy Activity"),
    "promotion": ("37b34f84-1ada-11eb-adc1-0242ac120002", "Promotion Activity"),
    "identity": ("46382888-2f46-11eb-adc1-0242ac120002", "UIS Batch Activity"),
    "profile": ("08e3217c-2f46-11eb-adc1-0242ac120002", "Profile Batch Activity"),
    "segmentation": ("3c8e49bc-27a6-11ec-9621-0242ac130002", "Profile Batch Segmentation"),
    "activation_processing": ("c4f238e3-7334-4933-8b56-64d7ea43ea54", "Activation Batch XdmProcessor Activity"),
    "activation_publishing": ("51d82b36-6b8f-11eb-9439-0242ac130002", "Activation Batch Publisher Activity"),
    "activation_streaming": ("076085f8-255a-11ee-be56-0242ac120002", "Activation Streaming Activity"),
    "query": ("8816f6a2-2533-4dff-9026-c23a27b38691", "Query Activity"),
    "other": ("0b6f3c52-8d1e-4a57-9c40-1f2e3d4c5b6a", "Decryption Activity"),
}
_WITH_HEADER: Final = frozenset({FlowKind.SOURCE, FlowKind.IDENTITY})
"""The kinds whose samples have an event code in the event itself."""
_DATA_LAKE_SPEC: Final = "9753525b-82c7-4dce-8a9b-5ccfce2b9876"


def payload(notification: Notification, clock: Clock) -> Node:
    """The object within Adobe's envelopes."""
    shift = clock.real(notification.at) - notification.at
    match notification:
        case RunNotification() if notification.flow.template.style is not Style.EVENT:
            return legacy_run(notification, shift)
        case RunNotification():
            return _run(notification, shift)
        case AlertNotification():
            return _alert(notification, clock)
        case OtherNotification():
            return _other(notification, notification.at + shift)


def _run(notification: RunNotification, shift: int) -> Node:
    run, kind, has_ended = notification.run, notification.flow.template.kind, notification.status.is_outcome
    at = notification.at + shift
    node: Node = {
        "id": run.run_id,
        **catalogue_fields(notification.flow, run.started + shift if has_ended else at, at),
        "providerRefId": _reference(notification, shift),
        "etag": f'"{run.run_id[:8]}-0000-0200-0000-{run.run_id[-12:-4]}0000"',
    }
    if kind in {FlowKind.IDENTITY, FlowKind.PROFILE}:
        node["predecessors"] = [
            {
                "flowId": identifier(run.flow.flow_id, "predecessor"),
                "flowRunId": identifier(run.run_id, "predecessor"),
                "flowSpec": {"id": _DATA_LAKE_SPEC, "version": "1.0"},
            }
        ]
    if has_ended:
        node["metrics"] = _metrics(notification, shift)
        node["activities"] = [_step(run, step, notification.status, shift) for step in run.steps]
    else:
        node["metrics"] = {"statusSummary": status_summary(run, notification.status)}
        node["activities"] = []
    node["flowName"] = notification.flow.name
    if notification.flow.template.is_streaming:
        node["flowType"] = "streaming"
    if kind in _WITH_HEADER:
        node["header"] = header(event_code(notification), OBSERVABILITY)
    return node


def _reference(notification: RunNotification, shift: int) -> str:
    """The run's id in the service that executes it (docs/adobe.md, "Payloads")."""
    run, template = notification.run, notification.flow.template
    if template.is_streaming:
        return f"{run.started + shift}-{notification.at + shift}"
    if template.kind is FlowKind.SOURCE:
        return f"M-{run.flow.flow_id}-incremental-0:{identifier(run.run_id, 'pipeline')}"
    if template.kind is FlowKind.DESTINATION:
        return f"segment:{identifier(run.flow.flow_id, 'segment')}"
    return run.run_id.replace("-", "")[:24]


def _metrics(notification: RunNotification, shift: int) -> Node:
    """The run's numbers and errors."""
    run = notification.run
    status = status_summary(run, notification.status)
    counted = summaries(run)
    outer, nested = errors(run.cause)
    if run.skipped:
        skipped = {"code": SKIPPED_CODE, "message": SKIPPED_MESSAGE, "count": run.skipped, "type": "skipped"}
        counted["recordSummary"]["skippedInfo"] = [skipped]
    if outer and run.flow.template.is_streaming:
        # Streaming runs report errors only beside their records (docs/adobe.md, "Payloads").
        counted["recordSummary"] = {**counted.get("recordSummary", {}), "failedInfo": outer}
    elif outer and notification.status is Status.FAILED:
        status["errors"] = outer
        counted["recordSummary"] = {**counted.get("recordSummary", {}), "failedInfo": nested or outer}
    elif outer:
        failed = dict(run.records).get("failed", 0)
        status |= {"errors": outer, "extensions": {"errors": [{**each, "recordCount": failed} for each in nested]}}
    return {
        "durationSummary": {"startedAtUTC": run.started + shift, "completedAtUTC": notification.at + shift},
        **counted,
        "statusSummary": status,
    }


def _step(run: Run, step: Step, status: Status, shift: int) -> Node:
    """An activity. The last activity of a failed run has failed, and repeats the run's error."""
    step_id, name = _STEPS[step.name]
    is_failed = status is Status.FAILED and step is run.steps[-1]
    summary: Node = {"status": STATUS_TEXTS[Status.FAILED if is_failed else Status.SUCCESS], "extensions": {}}
    if is_failed and run.cause is not None and not run.flow.template.is_streaming:
        outer, nested = errors(run.cause)
        summary |= {"errors": outer, "extensions": {"errors": nested, "errorDetail": run.cause.detail}}
    return {
        "id": step_id,
        "name": name.format(connector=run.flow.template.connector),
        "updatedAtUTC": 0,
        "durationSummary": {"startedAtUTC": step.started + shift, "completedAtUTC": step.ended + shift},
        "latencySummary": {},
        "sizeSummary": sizes(run),
        "recordSummary": records(run),
        "fileSummary": files(run),
        "statusSummary": summary,
    }


def _alert(notification: AlertNotification, clock: Clock) -> Node:
    flow = notification.flow
    is_over = notification.state is AlertState.INACTIVE
    node: Node = {
        "id": notification.alert_id,
        "status": notification.state.upper(),
        "name": notification.name,
        "message": f"{'Resolved' if is_over else 'Triggered'} : {notification.message}",
        "createdAt": iso(clock.real(notification.fired_at)),
        "severity": "high",
        "imsOrgId": ORGANISATION,
        "sandboxName": flow.sandbox,
        "sandboxId": flow.sandbox_id,
        "value": notification.value,
        "url": _link(notification),
    }
    if is_over:
        node["resolvedAt"] = iso(clock.real(notification.at))
    if notification.names_flow:
        node["flowId"] = flow.flow_id
    if notification.run_id:
        node["flowRunId"] = notification.run_id
    if flow.template.kind in _WITH_HEADER:
        node["header"] = header(event_code(notification), OBSERVABILITY)
    return node


def _link(notification: AlertNotification) -> str:
    """The page of Experience Platform about the alert (docs/adobe.md, "Error codes")."""
    home = f"https://experience.adobe.com/#/@{ORGANISATION}/sname:{quote(notification.flow.sandbox)}/platform"
    flow_id = notification.flow.flow_id
    if not notification.names_flow:
        return f"{home}/segment/overview"
    if notification.flow.template.kind is FlowKind.SOURCE:
        return f"{home}/source/dataflows/{flow_id}/activity"
    query = f"pageType=destination&flowId={flow_id}&runId={notification.run_id}&us_redirect=true"
    return f"{home}/monitoring/dashboard?{query}"


def _other(notification: OtherNotification, at: int) -> Node:
    """An event of another topic: about an audience, or about data that arrived in the data lake."""
    head = header(event_code(notification), OBSERVABILITY)
    fact_id = identifier(notification.fact_id)
    if notification.is_audit:
        return {
            "id": fact_id,
            "payload": {
                "assetType": "Audience",
                "assetId": identifier(notification.fact_id, "asset"),
                "assetName": "Frequent buyers",
                "timestamp": str(at),
                "action": "Update",
                "imsOrgId": ORGANISATION,
                "sandboxName": notification.flow.sandbox,
                "requestId": fact_id,
            },
            "header": head,
        }
    return {
        "xdm:ingestionId": fact_id,
        "xdm:customerIngestionId": fact_id,
        "xdm:imsOrg": ORGANISATION,
        "xdm:completed": at,
        "xdm:datasetId": identifier(notification.flow.flow_id, "dataset").replace("-", "")[:24],
        "xdm:eventCode": "ing_load_success",
        "xdm:sandboxName": notification.flow.sandbox,
        "sentTime": str(at),
        "header": head,
    }
