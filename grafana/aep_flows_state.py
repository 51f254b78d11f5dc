"""The panels of the dashboard AEP flows that show the state of flows at the end of the time range."""

from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from exporter.metrics.catalogue import (
    ALERT_FIRING,
    CONSECUTIVE_FAILURES,
    FAILING_RUNS,
    FAILING_SINCE,
    IN_PROGRESS,
    LAST_RECORDS,
    LAST_RUN,
    OLDEST_IN_PROGRESS,
    RUN_INTERVAL,
    TYPICAL_DURATION,
    TYPICAL_RECORDS,
)
from grafana import panels
from grafana.colours import BLUE, FAILURES, GREEN, ORANGE, RED
from grafana.layout import to_code, to_flow, to_page, to_platform
from grafana.panels import PanelSpec, Query
from grafana.queries import FLOWS_SCOPE as SCOPE
from grafana.queries import RANGE
from grafana.tables import Column, joined_table

Panel = Builder[models.Panel]

BY_FLOW: Final = "max by (flow_id, sandbox)"
"""The aggregation for rows of tables: one row per flow, whichever jobs export it."""
_READ: Final = 'result="input"'
_RED_ABOVE_ZERO: Final = ((None, GREEN), (1, RED))
_ORANGE_ABOVE_ZERO: Final = ((None, GREEN), (1, ORANGE))

FLOW: Final = Column(
    field="name", title="Flow", links=(("The flow's dashboard", to_flow()), ("The exporter's page", to_page()))
)
SANDBOX: Final = Column(field="sandbox", title="Sandbox", width=110)
ID: Final = Column(field="flow_id", is_hidden=True)


def names_of(expression: str) -> str:
    """The names of the flows for which an expression has a series."""
    return f"{SCOPE.names()} and on (flow_id, sandbox) ({expression})"


def counts() -> list[Panel]:
    """The number of flows in each state."""
    empty = _empty()
    return [
        panels.number(
            panels.small_spec(
                "Failing", "Flows whose latest run failed. Flows that are disabled in the Flow Service are left out."
            ),
            SCOPE.count_flows(SCOPE.failing()),
            *_RED_ABOVE_ZERO,
        ),
        panels.number(
            panels.small_spec(
                "Overdue",
                "Flows that have been silent for longer than their limit. The limit is one and a half times the "
                "longest silence that is usual for the flow, plus 15 minutes, and more for a new flow. Flows whose "
                "usual silence is not known yet are not counted.",
            ),
            SCOPE.count_flows(SCOPE.overdue()),
            *_RED_ABOVE_ZERO,
        ),
        panels.number(
            panels.small_spec(
                "Stuck",
                "Flows with a run that has been in progress for three times its typical duration, and for at least an "
                "hour. If no typical duration is known yet, the limit is six hours.",
            ),
            SCOPE.count_flows(f"{SCOPE.run_age_ratio()} > 1"),
            *_ORANGE_ABOVE_ZERO,
        ),
        panels.number(
            panels.small_spec(
                "Empty", "Flows whose latest run did not fail but read no records, although their runs typically do."
            ),
            SCOPE.count_flows(empty),
            *_ORANGE_ABOVE_ZERO,
        ),
        panels.number(
            panels.small_spec(
                "Adobe's alerts",
                "Experience Platform's own alerts that are firing, by sandbox and flow.",
            ),
            f"count({SCOPE.gauge(ALERT_FIRING)} == 1) or 0 * max({SCOPE.select(CONSECUTIVE_FAILURES)})",
            *_ORANGE_ABOVE_ZERO,
        ),
        panels.number(
            panels.small_spec("Flows", "Flows that have run and that have series of their own."),
            f"count({SCOPE.gauge(CONSECUTIVE_FAILURES)})",
            (None, BLUE),
            coloured_background=False,
        ),
    ]


def _empty() -> str:
    key = "on (job, flow_id, sandbox)"
    read = f"max by (job, flow_id, sandbox) ({SCOPE.select(LAST_RECORDS, _READ)})"
    return SCOPE.unless_disabled(
        f"{read} == 0 and {key} {SCOPE.gauge(TYPICAL_RECORDS)} > 0 and {key} {SCOPE.gauge(CONSECUTIVE_FAILURES)} == 0"
    )


def failing() -> list[Panel]:
    """The flows that fail, since when, and links to details."""
    failing = SCOPE.failing()
    good = SCOPE.select(LAST_RUN, 'status=~"success|partial_success"')
    return [
        joined_table(
            PanelSpec(
                title="Failing now",
                description="Every flow whose latest run failed, and when the first of its failures in a row ended. A "
                "flow's name leads to its dashboard and to the exporter's page with its errors. The last column leads "
                "to Experience Platform.",
                width=24,
                height=9,
            ),
            [
                f"{BY_FLOW} ({failing})",
                f"1000 * {BY_FLOW} ({SCOPE.select(FAILING_SINCE)} and on (job, flow_id, sandbox) ({failing}))",
                f"1000 * {BY_FLOW} ({good} and on (job, flow_id, sandbox) ({failing}))",
                f"{SCOPE.names_kinds_and_orgs()} and on (flow_id, sandbox) ({failing})",
            ],
            [
                FLOW,
                SANDBOX,
                Column(field="kind", title="Kind", width=110),
                Column(field="A", title="Failures in a row", width=140, decimals=0, red_from=3),
                Column(field="B", title="Failing since", width=170, unit="dateTimeAsLocal"),
                Column(field="C", title="Last success", width=170, unit="dateTimeFromNow"),
                Column(
                    field="org",
                    title="Adobe",
                    width=170,
                    shown_as="Experience Platform",
                    links=(("Experience Platform", to_platform()),),
                ),
                ID,
            ],
            sorted_by="Failing since",
            no_value="No flows are failing",
        ),
        panels.ranking(
            PanelSpec(
                title="Failing now, by code",
                description="The number of failing flows whose failures in a row reported each error code. A flow with "
                "several codes counts under each of them. The panel has the 12 codes with the most flows. A code leads "
                "to what it means.",
                width=8,
                height=9,
                decimals=0,
            ),
            Query(
                f"sort_desc(topk(12, count by (error_code) ({SCOPE.unless_disabled(SCOPE.gauge(FAILING_RUNS))})))",
                "{{error_code}}",
            ),
            RED,
            link=to_code("__field.labels.error_code"),
        ),
        panels.history(
            PanelSpec(
                title="When flows were failing",
                description="The 20 flows with the most failures in a row in the time range. A flow is red while its "
                "latest run is a failed one.",
                width=16,
                height=9,
            ),
            Query(
                SCOPE.with_names(
                    f"{BY_FLOW} ({SCOPE.select(CONSECUTIVE_FAILURES)}) and on (flow_id, sandbox) topk(20, {BY_FLOW} "
                    f"(max_over_time({SCOPE.select(CONSECUTIVE_FAILURES)}[{RANGE}] @ end())) > 0)"
                ),
                "{{name}} ({{sandbox}})",
            ),
            FAILURES,
        ),
    ]


def other_problems() -> list[Panel]:
    """The flows that do not fail but have another problem: late, stuck, empty, or with an alert of Adobe's."""
    lateness, stuckness, empty = SCOPE.silence_ratio(), SCOPE.run_age_ratio(), _empty()
    firing = f"max by (flow_id, sandbox, alert) ({SCOPE.select(ALERT_FIRING)}) == 1"
    # Some of these alerts name no flow, so they have no flow name to join.
    alerts = f"{SCOPE.with_names(firing)} or on (alert, flow_id, sandbox) {firing}"
    stalest = f"topk(50, {BY_FLOW} ({lateness}))"
    return [
        joined_table(
            PanelSpec(
                title="Freshness",
                description="Time since the latest run of each flow ended, as a share of its silence limit. Above 100 "
                "% a flow is overdue. The table has the 50 stalest flows.",
            ),
            [
                stalest,
                f"{BY_FLOW} ({SCOPE.silence()}) and on (flow_id, sandbox) {stalest}",
                f"{BY_FLOW} ({SCOPE.select(RUN_INTERVAL)}) and on (flow_id, sandbox) {stalest}",
                names_of(stalest),
            ],
            [
                FLOW,
                SANDBOX,
                Column(field="A", title="Of limit", width=100, unit="percentunit", decimals=0, red_from=1),
                Column(field="B", title="Silent for", width=100, unit="s", decimals=1),
                Column(field="C", title="Usual maximum", width=120, unit="s", decimals=1),
                ID,
            ],
            sorted_by="Of limit",
            no_value="The usual silence of flows is not known yet",
        ),
        joined_table(
            PanelSpec(
                title="Runs in progress",
                description="The oldest run of each flow that Adobe announced and that has not ended. Above 100 % of "
                "the limit it is stuck.",
            ),
            [
                f"{BY_FLOW} ({stuckness})",
                f"1000 * min by (flow_id, sandbox) ({SCOPE.select(OLDEST_IN_PROGRESS)})",
                f"{BY_FLOW} ({SCOPE.select(IN_PROGRESS)}) > 0",
                f"{BY_FLOW} ({SCOPE.select(TYPICAL_DURATION)}) and on (flow_id, sandbox) ({stuckness})",
                names_of(stuckness),
            ],
            [
                FLOW,
                SANDBOX,
                Column(field="A", title="Of limit", width=100, unit="percentunit", decimals=0, red_from=1),
                Column(field="B", title="Started", width=120, unit="dateTimeFromNow"),
                Column(field="C", title="Runs", width=60, decimals=0),
                Column(field="D", title="Typical", width=90, unit="s", decimals=1),
                ID,
            ],
            sorted_by="Of limit",
            no_value="No runs in progress",
        ),
        joined_table(
            PanelSpec(
                title="Runs without records",
                description="Flows whose latest run did not fail but read no records, and how many their runs "
                "typically read.",
                height=7,
            ),
            [
                f"{BY_FLOW} ({SCOPE.select(TYPICAL_RECORDS)}) and on (flow_id, sandbox) ({empty})",
                f"1000 * {BY_FLOW} ({SCOPE.select(LAST_RUN)} and on (job, flow_id, sandbox) ({empty}))",
                names_of(empty),
            ],
            [
                FLOW,
                SANDBOX,
                Column(field="A", title="Typically read", width=120),
                Column(field="B", title="Latest run", width=130, unit="dateTimeFromNow"),
                ID,
            ],
            sorted_by="Typically read",
            no_value="Every flow read records, or usually reads none",
        ),
        joined_table(
            PanelSpec(
                title="Adobe's alerts firing",
                description="Experience Platform's own alerts that are firing. Some name no flow.",
                height=7,
            ),
            [alerts],
            [Column(field="alert", title="Alert"), FLOW, SANDBOX, ID],
            sorted_by="Alert",
            is_ascending=True,
            no_value="No alerts are firing",
        ),
    ]
