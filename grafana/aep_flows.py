"""The dashboard AEP flows: the current state of all flows, and below it their runs and records over time."""

from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from exporter.metrics.catalogue import (
    ERRORS,
    IN_PROGRESS,
    RECORDS,
    RUNS,
)
from grafana import aep_flows_state as state
from grafana import layout, panels
from grafana.aep_flows_state import BY_FLOW, FLOW, ID, SANDBOX, names_of
from grafana.colours import BLUE, GREEN, GREY, RED, STATUS
from grafana.layout import Section, to_code
from grafana.panels import PanelSpec, Query
from grafana.queries import FLOWS_SCOPE as SCOPE
from grafana.queries import RANGE, STEP, total
from grafana.tables import Column, joined_table

Panel = Builder[models.Panel]

_FAILED: Final = 'status="failed"'
_READ: Final = 'result="input"'
_REJECTED: Final = 'result="failed"'


def build(exporter_url: str) -> models.Dashboard:
    """Build the dashboard. `exporter_url` is the public address of the exporter's pages."""
    return layout.dashboard(
        layout.FLOWS,
        "Which flows of Adobe Experience Platform fail or are late, since when, and where to find details.",
        "now-24h",
        layout.flow_variables(exporter_url, is_one_flow=False),
        [
            Section(panels=[*state.counts(), *state.failing(), *state.other_problems()]),
            Section(title="Runs", panels=[*_outcomes(), *_runs()]),
            Section(title="Records", panels=_records()),
        ],
    )


def _outcomes() -> list[Panel]:
    """The number of runs with each outcome, and of runs in progress."""
    return [
        *(
            panels.number(
                PanelSpec(
                    title=title,
                    description=f"Runs in the time range that ended with the status {status}.",
                    width=4,
                    height=3,
                ),
                SCOPE.rounded_increase(RUNS, RANGE, f'status="{status}"'),
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
            PanelSpec(
                title="In progress",
                description="Runs that Adobe announced and that have not ended.",
                width=4,
                height=3,
            ),
            total(SCOPE.gauge(IN_PROGRESS)),
            (None, GREY),
            (1, BLUE),
            coloured_background=False,
        ),
    ]


def _runs() -> list[Panel]:
    return [
        panels.bars(
            PanelSpec(
                title="Runs by outcome", description="Runs that ended, by outcome, at the time when they were recorded."
            ),
            Query(SCOPE.rounded_increase(RUNS, STEP, by="status"), "{{status}}"),
            colors=STATUS,
        ),
        panels.bars(
            PanelSpec(
                title="Errors by code",
                description="Runs that reported each error code, partial successes included. A dot is a run and leads "
                "to its page.",
            ),
            Query(f"{SCOPE.rounded_increase(ERRORS, STEP, by='error_code')} > 0", "{{error_code}}", has_exemplars=True),
            no_value="No errors reported",
        ),
        panels.ranking(
            PanelSpec(
                title="Most reported error codes",
                description="The 12 error codes that were reported by the most runs in the time range. A code leads to "
                "what it means.",
                height=9,
                decimals=0,
            ),
            Query(
                f"sort_desc(topk(12, {SCOPE.rounded_increase(ERRORS, RANGE, by='error_code')} > 0))", "{{error_code}}"
            ),
            RED,
            link=to_code("__field.labels.error_code"),
        ),
        _most_failed(),
    ]


def _most_failed() -> Panel:
    failed = f"topk(50, round({BY_FLOW} ({SCOPE.increase(RUNS, RANGE, _FAILED)})) > 0)"
    ended = f"sum by (flow_id, sandbox) ({SCOPE.increase(RUNS, RANGE)})"
    return joined_table(
        PanelSpec(
            title="Most failed runs",
            description="Flows with failed runs in the time range, also if they have recovered. The flow_id other "
            "stands for all flows beyond the exporter's limit.",
            height=9,
        ),
        [
            failed,
            f"round({ended}) and on (flow_id, sandbox) {failed}",
            f"{failed} / on (flow_id, sandbox) {ended}",
            names_of(failed),
        ],
        [
            FLOW,
            SANDBOX,
            Column(field="A", title="Failed", width=80, decimals=0),
            Column(field="B", title="Runs", width=80, decimals=0),
            Column(field="C", title="Share", width=80, unit="percentunit", decimals=1),
            ID,
        ],
        sorted_by="Failed",
        no_value="No runs failed",
    )


def _records() -> list[Panel]:
    rejected = f"round({BY_FLOW} ({SCOPE.increase(RECORDS, RANGE, _REJECTED)})) > 0"
    read = f"{BY_FLOW} ({SCOPE.increase(RECORDS, RANGE, _READ)})"
    most = f"topk(50, {rejected})"
    return [
        panels.bars(
            PanelSpec(
                title="Records read, written and rejected",
                description="Records that runs reported when they ended. The three counts overlap, so they must not "
                "be added up.",
            ),
            *(
                Query(SCOPE.rounded_increase(RECORDS, STEP, f'result="{result}"'), name)
                for result, name in (("input", "read"), ("output", "written"), ("failed", "rejected"))
            ),
            colors={"read": BLUE, "written": GREEN, "rejected": RED},
            is_stacked=False,
        ),
        joined_table(
            PanelSpec(
                title="Rejected records",
                description="Flows whose runs rejected records in the time range, and the share of the records that "
                "they read. The alert AEPFlowRecordsRejected fires if more than 5 % of a day's records are rejected.",
            ),
            [most, f"{most} / on (flow_id, sandbox) ({read} > 0)", names_of(most)],
            [
                FLOW,
                SANDBOX,
                Column(field="A", title="Rejected", width=100),
                Column(field="B", title="Of read", width=100, unit="percentunit", decimals=1, red_from=0.05),
                ID,
            ],
            sorted_by="Rejected",
            no_value="No records rejected",
        ),
    ]
