"""Runs as the two older kinds of source notifications have them.

Facts: adobe.md B2, the columns of the notifications. The oldest has milliseconds, prefixed fields in its failures, and
there a start in seconds beside an end in milliseconds. Its successor has seconds; its failures know neither their end
nor their size (-1). Neither names the flow.

Sans-I/O.
"""

from collections.abc import Callable
from typing import Final

from exporter.model import Status
from exporter.simulate.organisation import ORGANISATION, Style
from exporter.simulate.payload_fields import (
    NOTIFICATIONS,
    Node,
    catalogue_fields,
    errors,
    event_code,
    header,
    status_summary,
    summaries,
)
from exporter.simulate.runs import Run, Step
from exporter.simulate.timeline import RunTold

_STEPS: Final = {"copy": "copyActivity", "promotion": "promotionActivity"}
_NONSENSE_TIME: Final = 87473822
"""What one of Adobe's samples has for a time."""


def older_run(notice: RunTold, shift: int) -> Node:
    """A run that ended; `shift` leads from simulated moments to milliseconds since 1970."""
    if notice.status is not Status.FAILED:
        return _success(notice, shift)
    return (_xdm_failure if notice.flow.part.style is Style.XDM else _failure)(notice, shift)


def _seconds(moment: int) -> int:
    return moment // 1000


def _milliseconds(moment: int) -> int:
    return moment


def _success(notice: RunTold, shift: int) -> Node:
    run, started, ended = notice.run, notice.run.started + shift, notice.at + shift
    unit = _milliseconds if notice.flow.part.style is Style.XDM else _seconds
    outer, beneath = errors(run.trouble)
    status = status_summary(run, notice.status)
    if outer:
        status |= {"errors": outer, "extensions": {"errors": beneath}}
    return {
        **catalogue_fields(notice.flow, started, ended),
        "id": run.run_id,
        "providerRefId": run.run_id[:8],
        "metrics": {
            "durationSummary": {"startedAtUTC": unit(started), "completedAtUTC": unit(ended)},
            **summaries(run),
            "statusSummary": status,
        },
        "activities": [_step(step, shift, unit, {"status": "success"}) for step in run.steps],
        "slaCreatedAt": ended,
        "processStartTime": ended,
        "header": header(event_code(notice), NOTIFICATIONS),
    }


def _failure(notice: RunTold, shift: int) -> Node:
    run = notice.run
    outer, beneath = errors(run.trouble)
    failed_step = {**status_summary(run, notice.status), "errors": outer, "extensions": {"errors": beneath}}
    return {
        **catalogue_fields(notice.flow, run.started + shift, notice.at + shift),
        "id": run.run_id,
        "metrics": {
            "durationSummary": {"startedAtUTC": run.started + shift},
            "sizeSummary": {"inputBytes": -1},
            "fileSummary": {"inputFileCount": -1},
            "statusSummary": {**status_summary(run, notice.status), "errors": outer},
        },
        "activities": [_step(step, shift, _milliseconds, failed_step) for step in run.steps[-1:]],
    }


def _step(step: Step, shift: int, unit: Callable[[int], int], status: Node) -> Node:
    return {
        "id": _STEPS[step.name],
        "updatedAtUTC": _NONSENSE_TIME,
        "durationSummary": {"startedAtUTC": unit(step.started + shift), "completedAtUTC": unit(step.ended + shift)},
        "recordSummary": {},
        "statusSummary": status,
    }


def _xdm_failure(notice: RunTold, shift: int) -> Node:
    run: Run = notice.run
    outer, beneath = errors(run.trouble, text="description")
    return {
        "xdm:flowId": notice.flow.flow_id,
        "xdm:flowRunId": run.run_id,
        "xdm:imsOrg": ORGANISATION,
        "xdm:sandboxName": notice.flow.sandbox,
        "xdm:metrics": {
            "durationSummary": {"startedAtUTC": _seconds(run.started + shift), "completedAtUTC": notice.at + shift},
            **summaries(run),
            "statusSummary": {
                **status_summary(run, notice.status),
                "errors": outer,
                # What is wrong with several fields is told once for each.
                "extensions": {"errors": beneath * 2},
            },
        },
    }
