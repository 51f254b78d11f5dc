"""The panels of the dashboard AEP exporter about ledger, metrics and process."""

from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from exporter.metrics.catalogue import (
    BUILD_INFO,
    CLOCK_SKEW,
    EXPORTED_FLOWS,
    EXPORTED_SERIES,
    FLOWS_LIMIT,
    FLOWS_OVERFLOWED,
    LEDGER_APPEND_DURATION,
    LEDGER_BYTES,
    LEDGER_CHECKPOINT_POSITION,
    LEDGER_ERRORS,
    LEDGER_POSITION,
    SCRAPE_DURATION,
    Metric,
)
from grafana import panels
from grafana.colours import BLUE, GREY, RED, YELLOW
from grafana.panels import PanelSpec, Query
from grafana.queries import (
    CPU,
    MAX_FILES,
    MEMORY,
    OPEN_FILES,
    STARTED,
    STEP,
)
from grafana.queries import EXPORTER_SCOPE as SCOPE
from grafana.tables import Column, joined_table

Panel = Builder[models.Panel]

QUANTILES: Final = {"median": BLUE, "95th percentile": YELLOW, "99th percentile": RED}
"""The names and colours of the quantiles."""


def quantiles(metric: Metric) -> list[Query]:
    """Queries for the quantiles of a histogram of the exporter half."""
    return [
        Query(SCOPE.process_quantile(share, metric), name)
        for share, name in zip((0.5, 0.95, 0.99), QUANTILES, strict=True)
    ]


def ledger() -> list[Panel]:
    """How fast deliveries are written to the ledger, its errors, position and size, and the clock."""
    by_instance = "max by (instance)"
    return [
        panels.lines(
            PanelSpec(
                title="Time until a delivery is on disk",
                description="Time that deliveries waited for their commit, estimated from buckets. After 8 s the "
                "response is 503.",
                unit="s",
            ),
            *quantiles(LEDGER_APPEND_DURATION),
            colors=QUANTILES,
        ),
        panels.bars(
            PanelSpec(
                title="Ledger errors by operation",
                description="Operations on the ledger that failed.",
            ),
            Query(SCOPE.process_increase(LEDGER_ERRORS, "operation"), "{{operation}}"),
        ),
        panels.lines(
            PanelSpec(
                title="Ledger position",
                description="The position of the last ledger entry that the metrics contain. Instances on one ledger "
                "show the same.",
                width=6,
                height=6,
            ),
            Query(f"{by_instance} ({SCOPE.select(LEDGER_POSITION)})", "{{instance}}"),
        ),
        panels.lines(
            PanelSpec(
                title="Entries since the last checkpoint",
                description="Entries that a restart would read again. It falls to nearly 0 every five minutes.",
                width=6,
                height=6,
            ),
            Query(
                f"{by_instance} ({SCOPE.select(LEDGER_POSITION)} - {SCOPE.select(LEDGER_CHECKPOINT_POSITION)})",
                "{{instance}}",
            ),
        ),
        panels.lines(
            PanelSpec(title="Ledger size", description="Size of the ledger on disk.", unit="bytes", width=6, height=6),
            Query(f"{by_instance} ({SCOPE.select(LEDGER_BYTES)})", "{{instance}}"),
        ),
        panels.lines(
            PanelSpec(
                title="Clock against Adobe's",
                description="This machine's clock less Adobe's, by the dates of Adobe's answers. Above 0 it is ahead. "
                "There is no value where nothing is requested of Adobe.",
                unit="s",
                width=6,
                height=6,
            ),
            Query(f"{by_instance} ({SCOPE.select(CLOCK_SKEW)})", "{{instance}}"),
            is_signed=True,
        ),
    ]


def metrics() -> list[Panel]:
    """How many series and flows are exported, and how long a scrape takes."""
    return [
        panels.lines(
            PanelSpec(title="Series", description="Series in the flow half of /metrics.", width=8, height=6),
            Query(f"max by (instance) ({SCOPE.select(EXPORTED_SERIES)})", "{{instance}}"),
        ),
        panels.lines(
            PanelSpec(
                title="Flows and their limit",
                description="Pairs of flow and sandbox with series of their own. Flows beyond the limit are counted "
                "together as flow_id other.",
                width=8,
                height=6,
            ),
            Query(f"max({SCOPE.select(EXPORTED_FLOWS)})", "flows"),
            Query(f"min({SCOPE.select(FLOWS_LIMIT)})", "limit"),
            Query(SCOPE.process_increase(FLOWS_OVERFLOWED), "new beyond the limit"),
            colors={"flows": BLUE, "limit": GREY, "new beyond the limit": RED},
            dashed="limit",
        ),
        panels.lines(
            PanelSpec(
                title="Scrape duration",
                description="Mean time to catch up with the ledger and to render a scrape, by format.",
                unit="s",
                width=8,
                height=6,
            ),
            Query(
                f"{SCOPE.process_rate(SCRAPE_DURATION, by='format', suffix='_sum')} / "
                f"({SCOPE.process_rate(SCRAPE_DURATION, by='format', suffix='_count')} > 0)",
                "{{format}}",
            ),
        ),
    ]


def process() -> list[Panel]:
    """CPU, memory and files of the process."""
    by_instance = "max by (instance)"
    return [
        panels.lines(
            PanelSpec(title="CPU", description="Share of one processor core.", unit="percentunit", width=6, height=6),
            Query(f"{by_instance} ({SCOPE.only_exporters(f'rate({SCOPE.select(CPU)}[{STEP}])')})", "{{instance}}"),
        ),
        panels.lines(
            PanelSpec(title="Memory", description="Resident memory.", unit="bytes", width=6, height=6),
            Query(f"{by_instance} ({SCOPE.only_exporters(SCOPE.select(MEMORY))})", "{{instance}}"),
        ),
        panels.lines(
            PanelSpec(
                title="Open files",
                description="Open file descriptors, as a share of those allowed.",
                unit="percentunit",
                width=6,
                height=6,
            ),
            Query(
                f"{by_instance} ({SCOPE.only_exporters(f'{SCOPE.select(OPEN_FILES)} / {SCOPE.select(MAX_FILES)}')})",
                "{{instance}}",
            ),
        ),
        joined_table(
            PanelSpec(
                title="Instances", description="Each instance, its version and its start time.", width=6, height=6
            ),
            [
                f"max by (instance, version) ({SCOPE.select(BUILD_INFO)})",
                f"1000 * {by_instance} ({SCOPE.only_exporters(SCOPE.select(STARTED))})",
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
