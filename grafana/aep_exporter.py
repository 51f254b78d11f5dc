"""AEP exporter: whether notifications arrive, are believed, are kept and can be scraped."""

from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from exporter.metrics.catalogue import (
    ANOMALIES,
    AUTHENTICATION_FAILURES,
    BUILD_INFO,
    EXPORTED_FLOWS,
    EXPORTED_SERIES,
    FLOW_NAMES_REFRESH,
    FLOWS_LIMIT,
    FLOWS_OVERFLOWED,
    JOURNAL_LAG,
    JOURNAL_POLLS,
    LAST_NOTIFICATION,
    LEDGER_APPEND_DURATION,
    LEDGER_BYTES,
    LEDGER_CHECKPOINT_POSITION,
    LEDGER_ERRORS,
    LEDGER_POSITION,
    LEDGER_UP,
    NOTIFICATION_DELAY,
    NOTIFICATIONS,
    RECEIVED,
    SCRAPE_DURATION,
    WEBHOOK_DURATION,
    WEBHOOK_REQUESTS,
    Metric,
)
from grafana import frame, panels
from grafana.frame import Section
from grafana.panels import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, YELLOW, Facts, Query
from grafana.queries import (
    CPU,
    INSTANCES_OF_EXPORTERS,
    JOBS_OF_EXPORTERS,
    MAX_FILES,
    MEMORY,
    OPEN_FILES,
    RANGE,
    STARTED,
    STEP,
    UP,
)
from grafana.queries import EXPORTER_SCOPE as SCOPE
from grafana.tables import Column, rows

Panel = Builder[models.Panel]

_LIVE: Final = 'source=~"webhook|journal"'
_SOURCES: Final = ("webhook", "journal")
_RESULT: Final = {"recorded": GREEN, "duplicate": BLUE, "unsupported": GREY, "unreadable": ORANGE}
_CODE: Final = {
    "200": GREEN,
    "400": YELLOW,
    "401": ORANGE,
    "405": YELLOW,
    "413": YELLOW,
    "503": RED,
    "closed": PURPLE,
}
_QUANTILES: Final = {"median": BLUE, "95th percentile": YELLOW, "99th percentile": RED}


def build() -> models.Dashboard:
    """The dashboard."""
    return frame.dashboard(
        frame.EXPORTER,
        "aep-flow-exporter itself: deliveries from Adobe, the ledger, scrapes and the process.",
        "now-6h",
        frame.target_variables(JOBS_OF_EXPORTERS, INSTANCES_OF_EXPORTERS),
        [
            Section(panels=_now()),
            Section(title="Deliveries", panels=_deliveries()),
            Section(title="Ledger", panels=_ledger()),
            Section(title="Metrics", panels=_metrics()),
            Section(title="Process", panels=_process()),
            Section(title="Journal and Flow Service", panels=_pulled(), is_collapsed=True),
        ],
    )


def _fact(title: str, description: str, unit: str = "short", decimals: int | None = None) -> Facts:
    return Facts(title=title, description=description, unit=unit, decimals=decimals, width=4, height=4)


def _now() -> list[Panel]:
    refused = SCOPE.select(WEBHOOK_REQUESTS, 'code!="200"')
    return [
        panels.number(
            _fact("Scraped", "Whether Prometheus can scrape every instance."),
            f"min({SCOPE.select(UP)})",
            (None, RED),
            (1, GREEN),
            texts={"0": "no", "1": "yes"},
        ),
        panels.number(
            _fact("Ledger", "Whether every instance could read its ledger at the last try."),
            f"min({SCOPE.select(LEDGER_UP)})",
            (None, RED),
            (1, GREEN),
            texts={"0": "down", "1": "up"},
        ),
        panels.number(
            _fact(
                "Last notification",
                "When a new notification was recorded last, from the webhook or the journal. Nothing here says how "
                "often there should be one; the alert AEPNotificationsStopped knows.",
                "dateTimeFromNow",
            ),
            f"1000 * max({SCOPE.select(LAST_NOTIFICATION, _LIVE)})",
            (None, BLUE),
            coloured_background=False,
            none="none yet",
        ),
        panels.number(
            _fact(
                "Delay, 95th percentile",
                "Time from a run's completion until its notification was recorded here, of the notifications in this "
                "time.",
                "s",
                1,
            ),
            SCOPE.quantile(0.95, NOTIFICATION_DELAY, RANGE),
            (None, GREEN),
            (3600, ORANGE),
            (21600, RED),
            coloured_background=False,
            none="none yet",
        ),
        panels.number(
            _fact(
                "Requests refused",
                "Webhook requests in this time that were not answered with 200. Adobe repeats what got 503, and drops "
                "what got 4xx.",
                decimals=0,
            ),
            f"round(sum(increase({refused}[{RANGE}])))",
            (None, GREEN),
            (1, ORANGE),
            coloured_background=False,
        ),
        panels.number(
            _fact(
                "Flows, of the limit",
                "Pairs of flow and sandbox that are shown one by one, of --series.max-flows.",
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


def _quantiles(metric: Metric) -> list[Query]:
    return [
        Query(SCOPE.own_quantile(share, metric), name)
        for share, name in zip((0.5, 0.95, 0.99), _QUANTILES, strict=True)
    ]


def _deliveries() -> list[Panel]:
    return [
        panels.bars(
            Facts(
                title="Notifications by result",
                description="What became of the notifications that came. Unsupported and unreadable ones are kept.",
            ),
            Query(f"{SCOPE.own_counted(RECEIVED, 'source, result')} > 0", "{{result}} ({{source}})"),
            colors={f"{result} ({source})": color for result, color in _RESULT.items() for source in _SOURCES},
        ),
        panels.bars(
            Facts(
                title="Webhook requests by answer",
                description="After 503 Adobe sends again, for a day; after 4xx it drops it for good. closed: the "
                "sender left or was too slow.",
            ),
            Query(SCOPE.own_counted(WEBHOOK_REQUESTS, "code"), "{{code}}"),
            colors=_CODE,
        ),
        panels.bars(
            Facts(
                title="Refused as not Adobe's, by reason",
                description="Requests without a right signature, client id or token. signature_missing and token are "
                "what strangers get; the others mean that something is wrong with the keys or the client ids.",
                width=8,
            ),
            Query(SCOPE.own_counted(AUTHENTICATION_FAILURES, "reason"), "{{reason}}"),
        ),
        panels.bars(
            Facts(
                title="Anomalies by field",
                description="Values in notifications that made no sense and were left out.",
                width=8,
            ),
            Query(SCOPE.own_counted(ANOMALIES, "field"), "{{field}}"),
        ),
        panels.bars(
            Facts(
                title="Notifications by event code",
                description="New notifications by Adobe's event code, over all processes.",
                width=8,
            ),
            Query(f"{SCOPE.counted(NOTIFICATIONS, STEP, by='event_code')} > 0", "{{event_code}}"),
        ),
        panels.lines(
            Facts(
                title="Delay from completion to record",
                description="How late notifications are, by sandbox: the 95th percentile, estimated from buckets. What "
                "Adobe sends again raises it, for up to a day.",
                unit="s",
            ),
            Query(
                "histogram_quantile(0.95, sum by (sandbox, le) "
                f"({SCOPE.grown(NOTIFICATION_DELAY, STEP, suffix='_bucket')}))",
                "{{sandbox}}",
            ),
            has_points=True,
        ),
        panels.lines(
            Facts(
                title="Time to answer",
                description="How long webhook requests waited for their answer, estimated from buckets.",
                unit="s",
            ),
            *_quantiles(WEBHOOK_DURATION),
            colors=_QUANTILES,
        ),
    ]


def _ledger() -> list[Panel]:
    by_instance = "max by (instance)"
    return [
        panels.lines(
            Facts(
                title="Time until a delivery is on disk",
                description="How long deliveries waited for their commit, estimated from buckets. At 8 s the answer is "
                "503.",
                unit="s",
            ),
            *_quantiles(LEDGER_APPEND_DURATION),
            colors=_QUANTILES,
        ),
        panels.bars(
            Facts(
                title="Errors by operation",
                description="Operations on the ledger that failed.",
            ),
            Query(SCOPE.own_counted(LEDGER_ERRORS, "operation"), "{{operation}}"),
        ),
        panels.lines(
            Facts(
                title="Entries that the metrics contain",
                description="The ledger's position. Instances on one ledger show the same.",
                width=8,
            ),
            Query(f"{by_instance} ({SCOPE.select(LEDGER_POSITION)})", "{{instance}}"),
        ),
        panels.lines(
            Facts(
                title="Entries since the last checkpoint",
                description="What a start would have to read again. It falls to nearly 0 every five minutes.",
                width=8,
            ),
            Query(
                f"{by_instance} ({SCOPE.select(LEDGER_POSITION)} - {SCOPE.select(LEDGER_CHECKPOINT_POSITION)})",
                "{{instance}}",
            ),
        ),
        panels.lines(
            Facts(title="Size", description="Bytes the ledger takes.", unit="bytes", width=8),
            Query(f"{by_instance} ({SCOPE.select(LEDGER_BYTES)})", "{{instance}}"),
        ),
    ]


def _metrics() -> list[Panel]:
    return [
        panels.lines(
            Facts(title="Series", description="Series on the flow half.", width=8),
            Query(f"max by (instance) ({SCOPE.select(EXPORTED_SERIES)})", "{{instance}}"),
        ),
        panels.lines(
            Facts(
                title="Flows and their limit",
                description="Pairs of flow and sandbox that are shown one by one. Beyond the limit flows are counted "
                "together, as flow_id other.",
                width=8,
            ),
            Query(f"max({SCOPE.select(EXPORTED_FLOWS)})", "flows"),
            Query(f"min({SCOPE.select(FLOWS_LIMIT)})", "limit"),
            Query(SCOPE.own_counted(FLOWS_OVERFLOWED), "new beyond the limit"),
            colors={"flows": BLUE, "limit": GREY, "new beyond the limit": RED},
            dashed="limit",
        ),
        panels.lines(
            Facts(
                title="Time of a scrape",
                description="Mean time to catch up with the ledger and render a scrape, by format.",
                unit="s",
                width=8,
            ),
            Query(
                f"{SCOPE.own_rate(SCRAPE_DURATION, by='format', suffix='_sum')} / "
                f"({SCOPE.own_rate(SCRAPE_DURATION, by='format', suffix='_count')} > 0)",
                "{{format}}",
            ),
        ),
    ]


def _process() -> list[Panel]:
    by_instance = "max by (instance)"
    return [
        panels.lines(
            Facts(title="CPU", description="Share of one processor.", unit="percentunit", width=6),
            Query(SCOPE.own_rate(CPU, by="instance"), "{{instance}}"),
        ),
        panels.lines(
            Facts(title="Memory", description="Resident memory.", unit="bytes", width=6),
            Query(f"{by_instance} ({SCOPE.select(MEMORY)})", "{{instance}}"),
        ),
        panels.lines(
            Facts(title="Open files", description="File descriptors, of those allowed.", unit="percentunit", width=6),
            Query(f"{by_instance} ({SCOPE.select(OPEN_FILES)} / {SCOPE.select(MAX_FILES)})", "{{instance}}"),
        ),
        rows(
            Facts(title="Instances", description="Each instance, its version and when it was started.", width=6),
            [
                f"max by (instance, version) ({SCOPE.select(BUILD_INFO)})",
                f"1000 * {by_instance} ({SCOPE.select(STARTED)})",
            ],
            [
                Column(field="instance", title="Instance"),
                Column(field="version", title="Version", width=90),
                Column(field="B", title="Started", width=120, unit="dateTimeFromNow"),
            ],
            sorted_by="Instance",
            is_ascending=True,
        ),
    ]


def _pulled() -> list[Panel]:
    """What the exporter fetches itself, where it is configured to."""
    return [
        panels.bars(
            Facts(title="Polls of the journal", description="Polls of Adobe's journal by outcome.", width=8),
            Query(SCOPE.own_counted(JOURNAL_POLLS, "outcome"), "{{outcome}}"),
        ),
        panels.lines(
            Facts(
                title="Age of the journal's last entry",
                description="How old the journal entry was that was read last. It rises where the poller falls behind.",
                unit="s",
                width=8,
            ),
            Query(f"max by (instance) ({SCOPE.select(JOURNAL_LAG)})", "{{instance}}"),
        ),
        panels.bars(
            Facts(
                title="Refreshes from the Flow Service",
                description="Refreshes of flows' names and states by outcome.",
                width=8,
            ),
            Query(SCOPE.own_counted(FLOW_NAMES_REFRESH, "outcome"), "{{outcome}}"),
        ),
    ]
