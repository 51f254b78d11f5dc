"""The dashboard AEP exporter: whether notifications arrive, are authenticated, are recorded and can be scraped."""

from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from exporter.metrics.catalogue import (
    ANOMALIES,
    AUTHENTICATION_FAILURES,
    EXPORTED_FLOWS,
    FLOWS_LIMIT,
    LAST_NOTIFICATION,
    LEDGER_UP,
    NOT_UNDERSTOOD,
    NOTIFICATION_DELAY,
    NOTIFICATIONS,
    RECEIVED,
    WEBHOOK_DURATION,
    WEBHOOK_REQUESTS,
)
from grafana import aep_exporter_internals as internals
from grafana import layout, panels
from grafana.colours import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, YELLOW
from grafana.layout import Section
from grafana.panels import PanelSpec, Query
from grafana.queries import EXPORTER_SCOPE as SCOPE
from grafana.queries import (
    INSTANCES_OF_EXPORTERS,
    JOBS_OF_EXPORTERS,
    RANGE,
    STEP,
    UP,
)

Panel = Builder[models.Panel]

_LIVE: Final = 'source=~"webhook|journal"'
"""What Adobe delivers, as the rules have it. Nothing comes from the journal yet."""
_SOURCES: Final = ("webhook",)
_RESULT: Final = {"recorded": GREEN, "duplicate": BLUE, "unsupported": GREY, "unreadable": ORANGE}
_REASON: Final = {
    "other_topic": GREY,
    "no_flow_id": ORANGE,
    "no_run_id": YELLOW,
    "no_status": PURPLE,
    "unknown_shape": RED,
    "unreadable": BLUE,
}
_CODE: Final = {
    "200": GREEN,
    "400": YELLOW,
    "401": ORANGE,
    "405": YELLOW,
    "413": YELLOW,
    "503": RED,
    "closed": PURPLE,
}


def build() -> models.Dashboard:
    """Build the dashboard."""
    return layout.dashboard(
        layout.EXPORTER,
        "The exporter itself: deliveries from Adobe, the ledger, scrapes and the process.",
        "now-6h",
        layout.target_variables(JOBS_OF_EXPORTERS, INSTANCES_OF_EXPORTERS),
        [
            Section(panels=_state()),
            Section(title="Deliveries", panels=_deliveries()),
            Section(title="Ledger", panels=internals.ledger()),
            Section(title="Metrics", panels=internals.metrics()),
            Section(title="Process", panels=internals.process()),
        ],
    )


def _state() -> list[Panel]:
    refused = SCOPE.select(WEBHOOK_REQUESTS, 'code!="200"')
    return [
        panels.number(
            panels.small_spec(
                "Scraped", "Whether Prometheus can scrape every instance that it scraped in the time range."
            ),
            f"min({SCOPE.only_exporters(SCOPE.select(UP), LAST_NOTIFICATION)})",
            (None, RED),
            (1, GREEN),
            texts={"0": "no", "1": "yes"},
        ),
        panels.number(
            panels.small_spec("Ledger", "Whether every instance could read its ledger at the last attempt."),
            f"min({SCOPE.select(LEDGER_UP)})",
            (None, RED),
            (1, GREEN),
            texts={"0": "down", "1": "up"},
        ),
        panels.number(
            panels.small_spec(
                "Last notification",
                "When the latest new notification from Adobe was recorded. What was replayed does not count. The alert "
                "AEPNotificationsStopped fires if notifications stop.",
                "dateTimeFromNow",
            ),
            f"1000 * max({SCOPE.select(LAST_NOTIFICATION, _LIVE)})",
            (None, BLUE),
            coloured_background=False,
            no_value="none yet",
        ),
        panels.number(
            panels.small_spec(
                "Delay, 95th percentile",
                "Time from a run's completion until its notification was recorded, for notifications in the time "
                "range.",
                "s",
                1,
            ),
            SCOPE.quantile(0.95, NOTIFICATION_DELAY, RANGE),
            (None, GREEN),
            (3600, ORANGE),
            (21600, RED),
            coloured_background=False,
            no_value="none yet",
        ),
        panels.number(
            panels.small_spec(
                "Requests refused",
                "Webhook requests in the time range that were not answered with 200. Adobe sends a delivery again "
                "after 503, and drops it after 4xx.",
                decimals=0,
            ),
            f"round(sum(increase({refused}[{RANGE}])))",
            (None, GREEN),
            (1, ORANGE),
            coloured_background=False,
        ),
        panels.number(
            panels.small_spec(
                "Flows, share of limit",
                "Pairs of flow and sandbox with series of their own, as a share of --series.max-flows.",
                "percentunit",
                1,
            ),
            f"max({SCOPE.select(EXPORTED_FLOWS)} / {SCOPE.select(FLOWS_LIMIT)})",
            (None, GREEN),
            (0.9, ORANGE),
            (1, RED),
            coloured_background=False,
        ),
    ]


def _deliveries() -> list[Panel]:
    return [
        panels.bars(
            PanelSpec(
                title="Notifications by result",
                description="What became of the notifications that arrived. The ledger keeps unsupported and "
                "unreadable ones.",
                width=8,
            ),
            Query(f"{SCOPE.process_increase(RECEIVED, 'source, result')} > 0", "{{result}} ({{source}})"),
            colors={f"{result} ({source})": color for result, color in _RESULT.items() for source in _SOURCES},
        ),
        panels.bars(
            PanelSpec(
                title="Not understood by reason",
                description="New notifications that were kept and not understood. Another topic is harmless. With "
                "any other reason a run or an alert may be missing.",
                width=8,
            ),
            Query(f"{SCOPE.process_increase(NOT_UNDERSTOOD, 'reason')} > 0", "{{reason}}"),
            colors=_REASON,
            no_value="All were understood",
        ),
        panels.bars(
            PanelSpec(
                title="Webhook requests by response",
                description="Adobe sends a delivery again after 503, for a day, and drops it after 4xx. The code "
                "closed means that the sender disconnected or was too slow.",
                width=8,
            ),
            Query(SCOPE.process_increase(WEBHOOK_REQUESTS, "code"), "{{code}}"),
            colors=_CODE,
        ),
        panels.bars(
            PanelSpec(
                title="Authentication failures by reason",
                description="Requests without a valid signature, client id or token. Requests of strangers have the "
                "reasons signature_missing and token. Other reasons mean that the keys or the client ids are wrong.",
                width=8,
            ),
            Query(SCOPE.process_increase(AUTHENTICATION_FAILURES, "reason"), "{{reason}}"),
        ),
        panels.bars(
            PanelSpec(
                title="Anomalies by field",
                description="Invalid values in notifications. They were left out.",
                width=8,
            ),
            Query(f"{SCOPE.process_increase(ANOMALIES, 'field')} > 0", "{{field}}"),
            no_value="No invalid values",
        ),
        panels.bars(
            PanelSpec(
                title="Notifications by event code",
                description="New notifications by Adobe's event code, of all processes together.",
                width=8,
            ),
            Query(f"{SCOPE.rounded_increase(NOTIFICATIONS, STEP, by='event_code')} > 0", "{{event_code}}"),
        ),
        panels.lines(
            PanelSpec(
                title="Delay from completion to record",
                description="The 95th percentile of the delay of notifications, by sandbox, estimated from buckets. "
                "Deliveries that Adobe sends again raise it, for up to a day.",
                unit="s",
            ),
            Query(
                "histogram_quantile(0.95, sum by (sandbox, le) "
                f"({SCOPE.increase(NOTIFICATION_DELAY, STEP, suffix='_bucket')}))",
                "{{sandbox}}",
            ),
            has_points=True,
        ),
        panels.lines(
            PanelSpec(
                title="Response time",
                description="Time until webhook requests were answered, estimated from buckets.",
                unit="s",
            ),
            *internals.quantiles(WEBHOOK_DURATION),
            colors=internals.QUANTILES,
        ),
    ]
