"""AEP flows: what is broken now, since when, and the way there."""

from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from exporter.metrics.catalogue import (
    ALERT_FIRING,
    CONSECUTIVE_FAILURES,
    ERRORS,
    FAILING_SINCE,
    IN_PROGRESS,
    LAST_RECORDS,
    LAST_RUN,
    OLDEST_IN_PROGRESS,
    RECORDS,
    RUN_INTERVAL,
    RUNS,
    TYPICAL_DURATION,
    TYPICAL_RECORDS,
)
from grafana import frame, panels
from grafana.frame import EXPORTER_URL, Section, to_flow
from grafana.panels import BLUE, GREEN, GREY, ORANGE, RED, STATUS, Facts, Query
from grafana.queries import FLOW_SCOPE as SCOPE
from grafana.queries import RANGE, STEP, total
from grafana.tables import Column, rows

Panel = Builder[models.Panel]

_BY_FLOW: Final = "max by (flow_id, sandbox)"
_FAILED: Final = 'status="failed"'
_READ: Final = 'result="input"'
_REJECTED: Final = 'result="failed"'
_NONE_IS_GOOD: Final = ((None, GREEN), (1, RED))
_NONE_IS_BETTER: Final = ((None, GREEN), (1, ORANGE))

_PAGE: Final = (
    "Exporter's page",
    f"{EXPORTER_URL}/flows/${{__data.fields.flow_id:percentencode}}?sandbox=${{__data.fields.sandbox:percentencode}}",
)
_FLOW: Final = Column(field="name", title="Flow", links=(("The flow's dashboard", to_flow()), _PAGE))
_SANDBOX: Final = Column(field="sandbox", title="Sandbox", width=110)
_ID: Final = Column(field="flow_id", is_hidden=True)


def _names_of(expression: str) -> str:
    """The names of the flows that an expression holds of."""
    return f"{SCOPE.names()} and on (flow_id, sandbox) ({expression})"


def build(exporter_url: str) -> models.Dashboard:
    """The dashboard; `exporter_url` is where people reach the exporter's pages."""
    return frame.dashboard(
        frame.FLOWS,
        "Which flows of Adobe Experience Platform are broken, since when, and where to look.",
        "now-24h",
        frame.flow_variables(exporter_url, is_one_flow=False),
        [
            Section(panels=[*_now(), *_failing(), *_late()]),
            Section(title="Runs", panels=[*_outcomes(), *_runs()]),
            Section(title="Records", panels=_records()),
        ],
    )


def _now() -> list[Panel]:
    """What is so at the end of the time that is looked at: one number each."""
    empty = _empty()
    return [
        panels.number(
            Facts(
                title="Failing",
                description="Flows whose latest run failed. Flows that the Flow Service calls disabled are left out.",
                width=4,
                height=4,
            ),
            SCOPE.how_many(SCOPE.failing()),
            *_NONE_IS_GOOD,
        ),
        panels.number(
            Facts(
                title="Overdue",
                description="Flows that have been silent for longer than one and a half times the longest silence that "
                "is usual for them, and a quarter of an hour. Flows of which that is not known yet are not counted; "
                "the alert AEPFlowOverdue waits longer for flows that are new.",
                width=4,
                height=4,
            ),
            SCOPE.how_many(f"{SCOPE.lateness()} > 1"),
            *_NONE_IS_GOOD,
        ),
        panels.number(
            Facts(
                title="Stuck",
                description="Flows with a run that has been in progress for three times as long as is typical, and for "
                "at least an hour; for six hours where nothing is typical yet.",
                width=4,
                height=4,
            ),
            SCOPE.how_many(f"{SCOPE.stuckness()} > 1"),
            *_NONE_IS_BETTER,
        ),
        panels.number(
            Facts(
                title="Empty",
                description="Flows whose latest run did not fail, but read no record, which is unusual for them.",
                width=4,
                height=4,
            ),
            SCOPE.how_many(empty),
            *_NONE_IS_BETTER,
        ),
        panels.number(
            Facts(
                title="Adobe's alerts",
                description="Alerts that Experience Platform watches itself and that are firing, by sandbox and flow.",
                width=4,
                height=4,
            ),
            f"count({SCOPE.now(ALERT_FIRING)} == 1) or 0 * max({SCOPE.select(CONSECUTIVE_FAILURES)})",
            *_NONE_IS_BETTER,
        ),
        panels.number(
            Facts(
                title="Flows",
                description="Flows that have run and that the exporter shows one by one.",
                width=4,
                height=4,
            ),
            f"count({SCOPE.now(CONSECUTIVE_FAILURES)})",
            (None, BLUE),
            coloured_background=False,
        ),
    ]


def _empty() -> str:
    key = "on (job, flow_id, sandbox)"
    read = f"max by (job, flow_id, sandbox) ({SCOPE.select(LAST_RECORDS, _READ)})"
    return SCOPE.unless_disabled(
        f"{read} == 0 and {key} {SCOPE.now(TYPICAL_RECORDS)} > 0 and {key} {SCOPE.now(CONSECUTIVE_FAILURES)} == 0"
    )


def _failing() -> list[Panel]:
    failing = SCOPE.failing()
    good = SCOPE.select(LAST_RUN, 'status=~"success|partial_success"')
    return [
        rows(
            Facts(
                title="Failing now",
                description="Every flow whose latest run failed, with the time of the first of its failures in a row. "
                "A flow's name leads to its dashboard and to the exporter's page, which names the errors; the last "
                "column leads to Experience Platform.",
                width=24,
                height=9,
            ),
            [
                f"{_BY_FLOW} ({failing})",
                f"1000 * {_BY_FLOW} ({SCOPE.select(FAILING_SINCE)} and on (job, flow_id, sandbox) ({failing}))",
                f"1000 * {_BY_FLOW} ({good} and on (job, flow_id, sandbox) ({failing}))",
                f"{SCOPE.places()} and on (flow_id, sandbox) ({failing})",
            ],
            [
                _FLOW,
                _SANDBOX,
                Column(field="kind", title="Kind", width=110),
                Column(field="A", title="Failures in a row", width=140, decimals=0, red_from=3),
                Column(field="B", title="Failing since", width=170, unit="dateTimeAsLocal"),
                Column(field="C", title="Last success", width=170, unit="dateTimeFromNow"),
                Column(
                    field="platform",
                    title="Adobe",
                    width=170,
                    shown_as="Experience Platform",
                    links=(("Experience Platform", "https://experience.adobe.com/#/${__value.raw}"),),
                ),
                _ID,
            ],
            sorted_by="Failing since",
            none="No flow is failing",
        ),
        panels.history(
            Facts(
                title="When flows were failing",
                description="The 20 flows that failed most often in a row in this time: red while the latest run is a "
                "failed one.",
                width=24,
                height=9,
            ),
            Query(
                SCOPE.named(
                    f"{_BY_FLOW} ({SCOPE.select(CONSECUTIVE_FAILURES)}) and on (flow_id, sandbox) topk(20, {_BY_FLOW} "
                    f"(max_over_time({SCOPE.select(CONSECUTIVE_FAILURES)}[{RANGE}] @ end())) > 0)"
                ),
                "{{name}} ({{sandbox}})",
            ),
            panels.FAILURES,
        ),
    ]


def _late() -> list[Panel]:
    lateness, stuckness, empty = SCOPE.lateness(), SCOPE.stuckness(), _empty()
    firing = f"max by (flow_id, sandbox, alert) ({SCOPE.select(ALERT_FIRING)}) == 1"
    # Some name no flow, and so no flow's name can be found.
    alerts = f"{SCOPE.named(firing)} or on (alert, flow_id, sandbox) {firing}"
    stalest = f"topk(50, {_BY_FLOW} ({lateness}))"
    return [
        rows(
            Facts(
                title="Freshness",
                description="How long ago the latest run of each flow ended, as a share of the silence that is allowed "
                "for it: at 100 % it is overdue. The 50 stalest.",
            ),
            [
                stalest,
                f"{_BY_FLOW} ({SCOPE.silence()}) and on (flow_id, sandbox) {stalest}",
                f"{_BY_FLOW} ({SCOPE.select(RUN_INTERVAL)}) and on (flow_id, sandbox) {stalest}",
                _names_of(stalest),
            ],
            [
                _FLOW,
                _SANDBOX,
                Column(field="A", title="Of allowed", width=100, unit="percentunit", decimals=0, red_from=1),
                Column(field="B", title="Silent for", width=100, unit="s", decimals=1),
                Column(field="C", title="Usually at most", width=120, unit="s", decimals=1),
                _ID,
            ],
            sorted_by="Of allowed",
            none="No flow's usual silence is known yet",
        ),
        rows(
            Facts(
                title="Runs in progress",
                description="Runs that were announced and have not ended, the oldest of each flow; above 100 % of what "
                "is allowed a run is stuck.",
            ),
            [
                f"{_BY_FLOW} ({stuckness})",
                f"1000 * min by (flow_id, sandbox) ({SCOPE.select(OLDEST_IN_PROGRESS)})",
                f"{_BY_FLOW} ({SCOPE.select(IN_PROGRESS)}) > 0",
                f"{_BY_FLOW} ({SCOPE.select(TYPICAL_DURATION)}) and on (flow_id, sandbox) ({stuckness})",
                _names_of(stuckness),
            ],
            [
                _FLOW,
                _SANDBOX,
                Column(field="A", title="Of allowed", width=100, unit="percentunit", decimals=0, red_from=1),
                Column(field="B", title="Began", width=120, unit="dateTimeFromNow"),
                Column(field="C", title="Runs", width=60, decimals=0),
                Column(field="D", title="Typical", width=90, unit="s", decimals=1),
                _ID,
            ],
            sorted_by="Of allowed",
            none="No run is in progress",
        ),
        rows(
            Facts(
                title="Green but empty",
                description="Flows whose latest run did not fail, but read no record, and what their runs typically "
                "read.",
                height=7,
            ),
            [
                f"{_BY_FLOW} ({SCOPE.select(TYPICAL_RECORDS)}) and on (flow_id, sandbox) ({empty})",
                f"1000 * {_BY_FLOW} ({SCOPE.select(LAST_RUN)} and on (job, flow_id, sandbox) ({empty}))",
                _names_of(empty),
            ],
            [
                _FLOW,
                _SANDBOX,
                Column(field="A", title="Typically read", width=120),
                Column(field="B", title="Latest run", width=130, unit="dateTimeFromNow"),
                _ID,
            ],
            sorted_by="Typically read",
            none="Every flow read what it usually reads",
        ),
        rows(
            Facts(
                title="Adobe's alerts firing",
                description="Alerts that Experience Platform watches itself. Some name no flow.",
                height=7,
            ),
            [alerts],
            [Column(field="alert", title="Alert"), _FLOW, _SANDBOX, _ID],
            sorted_by="Alert",
            is_ascending=True,
            none="No alert of Adobe's is firing",
        ),
    ]


def _outcomes() -> list[Panel]:
    """A number for each state."""
    return [
        *(
            panels.number(
                Facts(title=title, description=f"Runs that ended as {status} in this time.", width=4, height=3),
                SCOPE.counted(RUNS, RANGE, f'status="{status}"'),
                (None, GREY),
                (1, STATUS[status]),
                coloured_background=False,
            )
            for status, title in (
                ("success", "Succeeded"),
                ("partial_success", "Succeeded in part"),
                ("failed", "Failed"),
                ("cancelled", "Cancelled"),
                ("unknown", "Ended unknown"),
            )
        ),
        panels.number(
            Facts(
                title="In progress",
                description="Runs that were announced as in progress and have not ended.",
                width=4,
                height=3,
            ),
            total(SCOPE.now(IN_PROGRESS)),
            (None, GREY),
            (1, BLUE),
            coloured_background=False,
        ),
    ]


def _runs() -> list[Panel]:
    return [
        panels.bars(
            Facts(title="Runs by outcome", description="Runs that ended, by outcome, when they were recorded."),
            Query(SCOPE.counted(RUNS, STEP, by="status"), "{{status}}"),
            colors=STATUS,
        ),
        panels.bars(
            Facts(
                title="Errors by code",
                description="Runs that reported each error code, partial successes included. A dot is a run: it leads "
                "to its page.",
            ),
            Query(f"{SCOPE.counted(ERRORS, STEP, by='error_code')} > 0", "{{error_code}}", has_exemplars=True),
            none="No error was reported",
        ),
        panels.ranking(
            Facts(
                title="Most reported error codes",
                description="How many runs reported each error code in this time: the 12 most frequent.",
                height=9,
                decimals=0,
            ),
            Query(f"sort_desc(topk(12, {SCOPE.counted(ERRORS, RANGE, by='error_code')} > 0))", "{{error_code}}"),
            RED,
        ),
        _failed_most(),
    ]


def _failed_most() -> Panel:
    failed = f"topk(50, round({_BY_FLOW} ({SCOPE.grown(RUNS, RANGE, _FAILED)})) > 0)"
    ended = f"sum by (flow_id, sandbox) ({SCOPE.grown(RUNS, RANGE)})"
    return rows(
        Facts(
            title="Most failed runs",
            description="Flows with failed runs in this time, whether or not they recovered. flow_id other stands for "
            "all flows beyond the exporter's limit.",
            height=9,
        ),
        [
            failed,
            f"round({ended}) and on (flow_id, sandbox) {failed}",
            f"{failed} / on (flow_id, sandbox) {ended}",
            _names_of(failed),
        ],
        [
            _FLOW,
            _SANDBOX,
            Column(field="A", title="Failed", width=80, decimals=0),
            Column(field="B", title="Runs", width=80, decimals=0),
            Column(field="C", title="Share", width=80, unit="percentunit", decimals=0),
            _ID,
        ],
        sorted_by="Failed",
        none="No run failed",
    )


def _records() -> list[Panel]:
    rejected = f"{_BY_FLOW} ({SCOPE.grown(RECORDS, RANGE, _REJECTED)}) > 0"
    read = f"{_BY_FLOW} ({SCOPE.grown(RECORDS, RANGE, _READ)})"
    most = f"topk(50, {rejected})"
    return [
        panels.bars(
            Facts(
                title="Records read, written and rejected",
                description="What runs reported when they ended. The three overlap, so they stand side by side and are "
                "not to be added up.",
            ),
            *(
                Query(SCOPE.counted(RECORDS, STEP, f'result="{result}"'), name)
                for result, name in (("input", "read"), ("output", "written"), ("failed", "rejected"))
            ),
            colors={"read": BLUE, "written": GREEN, "rejected": RED},
            is_stacked=False,
        ),
        rows(
            Facts(
                title="Rejected records",
                description="Flows whose runs rejected records in this time, and what share that is of the records "
                "they read. The alert AEPFlowRecordsRejected begins at 5 % of a day.",
            ),
            [most, f"{most} / on (flow_id, sandbox) ({read} > 0)", _names_of(most)],
            [
                _FLOW,
                _SANDBOX,
                Column(field="A", title="Rejected", width=100),
                Column(field="B", title="Of read", width=100, unit="percentunit", decimals=1, red_from=0.05),
                _ID,
            ],
            sorted_by="Rejected",
            none="No record was rejected",
        ),
    ]
