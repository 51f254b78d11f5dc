"""AEP flow: one flow, how its runs went and how long they took, what they moved and why they failed."""

from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from exporter.metrics.catalogue import (
    ACTIVITY_DURATION,
    BYTES,
    CONSECUTIVE_FAILURES,
    ERRORS,
    FAILING_SINCE,
    FILES,
    IN_PROGRESS,
    INPUT_BYTES,
    INPUT_RECORDS,
    LAST_DURATION,
    LAST_RECORDS,
    LAST_RUN,
    RECORDS,
    RUN_DURATION,
    RUNS,
    TYPICAL_DURATION,
    TYPICAL_RECORDS,
    Metric,
)
from grafana import layout, panels
from grafana.colours import BLUE, GREEN, GREY, ORANGE, OUTCOMES, RED, RESULT, STATUS, YELLOW
from grafana.layout import EXPORTER_URL, Section
from grafana.panels import PanelSpec, Query
from grafana.queries import FLOW_SCOPE as SCOPE
from grafana.queries import RANGE, STEP, total
from grafana.tables import Column, joined_table

Panel = Builder[models.Panel]

_GOOD: Final = 'status=~"success|partial_success"'
_FAILED: Final = 'status="failed"'
_SAID: Final = 'status=~"success|partial_success|failed"'
_BOTH: Final = 'result=~"input|output"'


def build(exporter_url: str) -> models.Dashboard:
    """The dashboard; `exporter_url` is where people reach the exporter's pages."""
    return layout.dashboard(
        layout.FLOW,
        "One flow of Adobe Experience Platform: its runs, how long they take, what they move and why they fail.",
        "now-7d",
        layout.flow_variables(exporter_url, is_one_flow=True),
        [
            Section(panels=[*_now(), *_history()]),
            Section(title="Durations", panels=_durations()),
            Section(title="Errors", panels=_errors()),
            Section(title="Records, bytes and files", panels=_amounts()),
        ],
    )


def _now() -> list[Panel]:
    return [
        panels.outcome(
            panels.small_spec("Latest outcome", "How the latest run ended."),
            f"max({SCOPE.latest_outcome(list(STATUS))})",
        ),
        panels.number(
            panels.small_spec("Failures in a row", "Failed runs since the last one that succeeded, wholly or in part."),
            f"max({SCOPE.select(CONSECUTIVE_FAILURES)})",
            (None, GREEN),
            (1, ORANGE),
            (3, RED),
            link=f"{EXPORTER_URL}/flows/${{flow:percentencode}}",
        ),
        panels.number(
            panels.small_spec("Failing since", "When the first of these failures ended.", "dateTimeFromNow"),
            f"1000 * max({SCOPE.select(FAILING_SINCE)})",
            (None, RED),
            coloured_background=False,
            none="not failing",
        ),
        panels.number(
            panels.small_spec("Latest run", "When the latest run ended, whatever its outcome.", "dateTimeFromNow"),
            f"1000 * max({SCOPE.select(LAST_RUN)})",
            (None, BLUE),
            coloured_background=False,
        ),
        panels.number(
            panels.small_spec(
                "Silence, of allowed",
                "How long ago the latest run ended, as a share of one and a half times the longest silence that is "
                "usual for the flow, and a quarter of an hour: above 100 % it is overdue. AEPFlowOverdue waits longer "
                "for a flow that is new.",
                "percentunit",
                0,
            ),
            f"max({SCOPE.silence_ratio()})",
            (None, GREEN),
            (0.75, ORANGE),
            (1, RED),
            coloured_background=False,
        ),
        panels.number(
            panels.small_spec(
                "Succeeded",
                "The share of runs in this time that succeeded, wholly or in part; cancelled and unknown ones say "
                "nothing about it.",
                "percentunit",
                1,
            ),
            f"{SCOPE.rounded_increase(RUNS, RANGE, _GOOD)} / ({SCOPE.rounded_increase(RUNS, RANGE, _SAID)} > 0)",
            (None, RED),
            (0.9, ORANGE),
            (0.99, GREEN),
            coloured_background=False,
            none="no run",
        ),
    ]


def _history() -> list[Panel]:
    return [
        panels.history(
            PanelSpec(title="Status", description="How the latest run had ended at each time.", width=24, height=4),
            Query(f"max by (sandbox) ({SCOPE.latest_outcome(list(STATUS))})", "{{sandbox}}"),
            OUTCOMES,
        ),
        panels.bars(
            PanelSpec(title="Runs by outcome", description="Runs that ended, by outcome.", width=16),
            Query(SCOPE.rounded_increase(RUNS, STEP, by="status"), "{{status}}"),
            colors=STATUS,
        ),
        panels.lines(
            PanelSpec(title="Runs in progress", description="Runs that were announced and have not ended.", width=8),
            Query(total(SCOPE.gauge(IN_PROGRESS)), "in progress"),
            colors={"in progress": BLUE},
        ),
    ]


def _durations() -> list[Panel]:
    def of(title: str, matcher: str, description: str) -> Panel:
        return panels.lines(
            PanelSpec(title=title, description=description, unit="s", width=8),
            Query(SCOPE.mean(RUN_DURATION, STEP, matcher), "mean"),
            Query(SCOPE.quantile(0.95, RUN_DURATION, STEP, matcher), "95th percentile"),
            colors={"mean": BLUE, "95th percentile": YELLOW},
            has_points=True,
        )

    return [
        panels.distribution(
            PanelSpec(
                title="Duration of runs",
                description="How many runs took how long, whatever their outcome. A dot leads to the run.",
                unit="s",
                width=24,
                height=9,
            ),
            Query(total(SCOPE.increase(RUN_DURATION, STEP, suffix="_bucket"), "le"), "{{le}}", has_exemplars=True),
        ),
        of("Duration of runs that succeeded", _GOOD, "Wholly or in part. The percentile is estimated from buckets."),
        of("Duration of runs that failed", _FAILED, "A run that fails soon fails otherwise than one that fails late."),
        panels.lines(
            PanelSpec(
                title="Latest and typical duration",
                description="Typical is the median of up to 20 latest runs that did not fail. The alert AEPFlowSlow "
                "begins ten minutes above twice that.",
                unit="s",
                width=8,
            ),
            Query(f"max({SCOPE.select(LAST_DURATION)})", "latest"),
            Query(f"max({SCOPE.select(TYPICAL_DURATION)})", "typical"),
            colors={"latest": BLUE, "typical": GREY},
            dashed="typical",
        ),
        panels.bars(
            PanelSpec(
                title="Time by activity",
                description="The mean time that each activity of a run took: which step of a slow run is the slow one.",
                unit="s",
                width=24,
            ),
            Query(SCOPE.mean(ACTIVITY_DURATION, STEP, by="activity"), "{{activity}}"),
            legend_of=panels.MEAN_AND_MAX,
        ),
    ]


def _errors() -> list[Panel]:
    counted = SCOPE.rounded_increase(ERRORS, RANGE, by="error_code, status")
    return [
        panels.bars(
            PanelSpec(
                title="Errors by code",
                description="Runs that reported each error code, partial successes included. A dot is a run: it leads "
                "to its page.",
                width=16,
            ),
            Query(f"{SCOPE.rounded_increase(ERRORS, STEP, by='error_code')} > 0", "{{error_code}}", has_exemplars=True),
            none="No error was reported",
        ),
        joined_table(
            PanelSpec(title="Error codes", description="Runs that reported each error code in this time.", width=8),
            [f"{counted} > 0"],
            [
                Column(field="error_code", title="Code"),
                Column(field="status", title="Outcome of the run", width=150),
                Column(field="A", title="Runs", width=80, decimals=0),
            ],
            sorted_by="Runs",
            none="No error was reported",
        ),
    ]


def _amounts() -> list[Panel]:
    def moved(title: str, metric: Metric, what: str, unit: str) -> Panel:
        return panels.bars(
            PanelSpec(
                title=title,
                description=f"{what} that runs reported when they ended. Results overlap, so they stand side by side "
                "and are not to be added up.",
                unit=unit,
                width=8,
            ),
            Query(SCOPE.rounded_increase(metric, STEP, by="result"), "{{result}}"),
            colors=RESULT,
            is_stacked=False,
        )

    return [
        panels.lines(
            PanelSpec(
                title="Latest and typical records",
                description="Records that the latest run which did not fail read and wrote, and the median of what up "
                "to 20 such runs read.",
                width=8,
            ),
            Query(f"max by (result) ({SCOPE.select(LAST_RECORDS, _BOTH)})", "{{result}}"),
            Query(f"max({SCOPE.select(TYPICAL_RECORDS)})", "typical input"),
            colors={**RESULT, "typical input": GREY},
            dashed="typical input",
        ),
        panels.distribution(
            PanelSpec(title="Records read per run", description="Of runs that succeeded, wholly or in part.", width=8),
            Query(total(SCOPE.increase(INPUT_RECORDS, STEP, suffix="_bucket"), "le"), "{{le}}"),
        ),
        panels.distribution(
            PanelSpec(
                title="Bytes read per run",
                description="Of runs that succeeded, wholly or in part.",
                unit="decbytes",
                width=8,
            ),
            Query(total(SCOPE.increase(INPUT_BYTES, STEP, suffix="_bucket"), "le"), "{{le}}"),
        ),
        moved("Records", RECORDS, "Records", "short"),
        moved("Bytes", BYTES, "Bytes", "decbytes"),
        moved("Files", FILES, "Files", "short"),
    ]
