"""Makes runs in the two older formats of source notifications.

The formats are documented in docs/adobe.md, "Payloads". The oldest has milliseconds. Its failures have prefixed fields,
with a start in seconds beside an end in milliseconds. Its successor has seconds, and its failures have no end and a
size of -1. Neither has the flow's name.

No I/O.
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
from exporter.simulate.timeline import RunNotification

_STEPS: Final = {"copy": "copyActivity", "promotion": "promotionActivity"}
_INVALID_TIME: Final = 87473822
"""The value of this time in one of Adobe's samples, which is no valid time."""


def legacy_run(notification: RunNotification, shift: int) -> Node:
    """A run that ended. `shift` added to a simulated moment gives milliseconds since 1970."""
    if notification.status is not Status.FAILED:
        return _success(notification, shift)
    return (_xdm_failure if notification.flow.template.style is Style.XDM else _failure)(notification, shift)


def _seconds(moment: int) -> int:
    return moment // 1000


def _milliseconds(moment: int) -> int:
    return moment


def _success(notification: RunNotification, shift: int) -> Node:
    run, started, ended = notification.run, notification.run.started + shift, notification.at + shift
    unit = _milliseconds if notification.flow.template.style is Style.XDM else _seconds
    outer, nested = errors(run.cause)
    status = status_summary(run, notification.status)
    if outer:
        status |= {"errors": outer, "extensions": {"errors": nested}}
    return {
        **catalogue_fields(notification.flow, started, ended),
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
        "header": header(event_code(notification), NOTIFICATIONS),
    }


def _failure(notification: RunNotification, shift: int) -> Node:
    run = notification.run
    outer, nested = errors(run.cause)
    failed_step = {**status_summary(run, notification.status), "errors": outer, "extensions": {"errors": nested}}
    return {
        **catalogue_fields(notification.flow, run.started + shift, notification.at + shift),
        "id": run.run_id,
        "metrics": {
            "durationSummary": {"startedAtUTC": run.started + shift},
            "sizeSummary": {"inputBytes": -1},
            "fileSummary": {"inputFileCount": -1},
            "statusSummary": {**status_summary(run, notification.status), "errors": outer},
        },
        "activities": [_step(step, shift, _milliseconds, failed_step) for step in run.steps[-1:]],
    }


def _step(step: Step, shift: int, unit: Callable[[int], int], status: Node) -> Node:
    return {
        "id": _STEPS[step.name],
        "updatedAtUTC": _INVALID_TIME,
        "durationSummary": {"startedAtUTC": unit(step.started + shift), "completedAtUTC": unit(step.ended + shift)},
        "recordSummary": {},
        "statusSummary": status,
    }


def _xdm_failure(notification: RunNotification, shift: int) -> Node:
    run: Run = notification.run
    outer, nested = errors(run.cause, text="description")
    return {
        "xdm:flowId": notification.flow.flow_id,
        "xdm:flowRunId": run.run_id,
        "xdm:imsOrg": ORGANISATION,
        "xdm:sandboxName": notification.flow.sandbox,
        "xdm:metrics": {
            "durationSummary": {
                "startedAtUTC": _seconds(run.started + shift),
                "completedAtUTC": notification.at + shift,
            },
            **summaries(run),
            "statusSummary": {
                **status_summary(run, notification.status),
                "errors": outer,
                # Adobe repeats the error for each field that it concerns.
                "extensions": {"errors": nested * 2},
            },
        },
    }
