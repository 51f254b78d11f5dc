"""A notice in Adobe's words: the object that a run, an alert or another topic is told as.

The rule: shapes, names of fields and oddities are those of Adobe's samples (adobe.md B2): the same error of a run and
of its activity, errors in each of their places, times as texts in alerts. Moments come from the clock; whatever else a
run says of time keeps its distance from the moment it is told of.

Sans-I/O.
"""

from typing import Final
from urllib.parse import quote

from exporter.model import AlertState, FlowKind, Status
from exporter.simulate.clock import Clock
from exporter.simulate.codes import SKIPPED_CODE, SKIPPED_MESSAGE
from exporter.simulate.legacy_payloads import older_run
from exporter.simulate.organisation import ORGANISATION, Style, identifier
from exporter.simulate.payload_fields import (
    OBSERVABILITY,
    WORDS,
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
from exporter.simulate.timeline import AlertTold, Notice, OtherTold, RunTold

# Ids of activities and their names (adobe.md B2, point 6); the last is one that no document names.
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
_HEADED: Final = frozenset({FlowKind.SOURCE, FlowKind.IDENTITY})
"""Kinds whose samples name an event code in the event itself."""
_DATA_LAKE_SPEC: Final = "9753525b-82c7-4dce-8a9b-5ccfce2b9876"


def told(notice: Notice, clock: Clock) -> Node:
    """The object that stands within Adobe's wrappers."""
    shift = clock.real(notice.at) - notice.at
    match notice:
        case RunTold() if notice.flow.part.style is not Style.EVENT:
            return older_run(notice, shift)
        case RunTold():
            return _run(notice, shift)
        case AlertTold():
            return _alert(notice, clock)
        case OtherTold():
            return _other(notice, notice.at + shift)


def _run(notice: RunTold, shift: int) -> Node:
    run, kind, has_ended = notice.run, notice.flow.part.kind, notice.status.is_outcome
    at = notice.at + shift
    node: Node = {
        "id": run.run_id,
        **catalogue_fields(notice.flow, run.started + shift if has_ended else at, at),
        "providerRefId": _reference(notice, shift),
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
        node["metrics"] = _metrics(notice, shift)
        node["activities"] = [_step(run, step, notice.status, shift) for step in run.steps]
    else:
        node["metrics"] = {"statusSummary": status_summary(run, notice.status)}
        node["activities"] = []
    node["flowName"] = notice.flow.name
    if notice.flow.part.is_streaming:
        node["flowType"] = "streaming"
    if kind in _HEADED:
        node["header"] = header(event_code(notice), OBSERVABILITY)
    return node


def _reference(notice: RunTold, shift: int) -> str:
    """What the service that runs it calls the run (adobe.md B2, point 8)."""
    run, part = notice.run, notice.flow.part
    if part.is_streaming:
        return f"{run.started + shift}-{notice.at + shift}"
    if part.kind is FlowKind.SOURCE:
        return f"M-{run.flow.flow_id}-incremental-0:{identifier(run.run_id, 'pipeline')}"
    if part.kind is FlowKind.DESTINATION:
        return f"segment:{identifier(run.flow.flow_id, 'segment')}"
    return run.run_id.replace("-", "")[:24]


def _metrics(notice: RunTold, shift: int) -> Node:
    """The run's own numbers and errors."""
    run = notice.run
    status = status_summary(run, notice.status)
    counted = summaries(run)
    outer, beneath = errors(run.trouble)
    if run.skipped:
        skipped = {"code": SKIPPED_CODE, "message": SKIPPED_MESSAGE, "count": run.skipped, "type": "skipped"}
        counted["recordSummary"]["skippedInfo"] = [skipped]
    if outer and run.flow.part.is_streaming:
        # Streaming runs say so only beside their records (adobe.md B2, point 4).
        counted["recordSummary"] = {**counted.get("recordSummary", {}), "failedInfo": outer}
    elif outer and notice.status is Status.FAILED:
        status["errors"] = outer
        counted["recordSummary"] = {**counted.get("recordSummary", {}), "failedInfo": beneath or outer}
    elif outer:
        failed = dict(run.records).get("failed", 0)
        status |= {"errors": outer, "extensions": {"errors": [{**each, "recordCount": failed} for each in beneath]}}
    return {
        "durationSummary": {"startedAtUTC": run.started + shift, "completedAtUTC": notice.at + shift},
        **counted,
        "statusSummary": status,
    }


def _step(run: Run, step: Step, status: Status, shift: int) -> Node:
    """An activity; the last one of a run that failed failed, and says why once more."""
    step_id, name = _STEPS[step.name]
    is_culprit = status is Status.FAILED and step is run.steps[-1]
    summary: Node = {"status": WORDS[Status.FAILED if is_culprit else Status.SUCCESS], "extensions": {}}
    if is_culprit and run.trouble is not None and not run.flow.part.is_streaming:
        outer, beneath = errors(run.trouble)
        summary |= {"errors": outer, "extensions": {"errors": beneath, "errorDetail": run.trouble.detail}}
    return {
        "id": step_id,
        "name": name.format(connector=run.flow.part.connector),
        "updatedAtUTC": 0,
        "durationSummary": {"startedAtUTC": step.started + shift, "completedAtUTC": step.ended + shift},
        "latencySummary": {},
        "sizeSummary": sizes(run),
        "recordSummary": records(run),
        "fileSummary": files(run),
        "statusSummary": summary,
    }


def _alert(notice: AlertTold, clock: Clock) -> Node:
    flow = notice.flow
    is_over = notice.state is AlertState.INACTIVE
    node: Node = {
        "id": notice.alert_id,
        "status": notice.state.upper(),
        "name": notice.name,
        "message": f"{'Resolved' if is_over else 'Triggered'} : {notice.message}",
        "createdAt": iso(clock.real(notice.fired_at)),
        "severity": "high",
        "imsOrgId": ORGANISATION,
        "sandboxName": flow.sandbox,
        "sandboxId": flow.sandbox_id,
        "value": notice.value,
        "url": _link(notice),
    }
    if is_over:
        node["resolvedAt"] = iso(clock.real(notice.at))
    if notice.names_flow:
        node["flowId"] = flow.flow_id
    if notice.run_id:
        node["flowRunId"] = notice.run_id
    if flow.part.kind in _HEADED:
        node["header"] = header(event_code(notice), OBSERVABILITY)
    return node


def _link(notice: AlertTold) -> str:
    """Where Experience Platform shows it (adobe.md D)."""
    home = f"https://experience.adobe.com/#/@{ORGANISATION}/sname:{quote(notice.flow.sandbox)}/platform"
    flow_id = notice.flow.flow_id
    if not notice.names_flow:
        return f"{home}/segment/overview"
    if notice.flow.part.kind is FlowKind.SOURCE:
        return f"{home}/source/dataflows/{flow_id}/activity"
    return f"{home}/monitoring/dashboard?pageType=destination&flowId={flow_id}&runId={notice.run_id}&us_redirect=true"


def _other(notice: OtherTold, at: int) -> Node:
    """An event about an audience, or of data that arrived in the lake: authentic, and no run."""
    head = header(event_code(notice), OBSERVABILITY)
    fact_id = identifier(notice.fact_id)
    if notice.is_audit:
        return {
            "id": fact_id,
            "payload": {
                "assetType": "Audience",
                "assetId": identifier(notice.fact_id, "asset"),
                "assetName": "Frequent buyers",
                "timestamp": str(at),
                "action": "Update",
                "imsOrgId": ORGANISATION,
                "sandboxName": notice.flow.sandbox,
                "requestId": fact_id,
            },
            "header": head,
        }
    return {
        "xdm:ingestionId": fact_id,
        "xdm:customerIngestionId": fact_id,
        "xdm:imsOrg": ORGANISATION,
        "xdm:completed": at,
        "xdm:datasetId": identifier(notice.flow.flow_id, "dataset").replace("-", "")[:24],
        "xdm:eventCode": "ing_load_success",
        "xdm:sandboxName": notice.flow.sandbox,
        "sentTime": str(at),
        "header": head,
    }
