"""The dashboard AEP flow: outcomes, durations, errors and amounts of the runs of one flow."""

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
from grafana.layout import EXPORTER_URL, Section, to_code
from grafana.panels import PanelSpec, Query
from grafana.queries import FLOW_SCOPE as SCOPE
from grafana.queries import RANGE, STEP, total
from grafana.tables import Column, joined_table

Panel = Builder[models.Panel]

_SUCCEEDED: Final = 'status=~"success|partial_success"'
_FAILED: Final = 'status="failed"'
_SUCCEEDED_OR_FAILED: Final = 'status=~"success|partial_success|failed"'
_READ_OR_WRITTEN: Final = 'result=~"input|output"'


def build(exporter_url: str) -> models.Dashboard:
    """Build the dashboard. `exporter_url` is the public address of the exporter's pages."""
    return layout.dashboard(
        layout.FLOW,
        "One flow of Adobe Experience Platform: outcomes, durations, errors and amounts of its runs.",
        "now-7d",
        layout.flow_variables(exporter_url, is_one_flow=True),
        [
            Section(panels=[*_state(), *_history()]),
            Section(title="Durations", panels=_durations()),
            Section(title="Errors", panels=_errors()),
            Section(title="Records, bytes and files", panels=_amounts()),
        ],
    )


def _state() -> list[Panel]:
    return [
        panels.outcome(
            panels.small_spec("Latest outcome", "How the latest run ended."),
            f"max({SCOPE.latest_outcome(list(STATUS))})",
        ),
        panels.number(
            panels.small_spec("Failures in a row", "Failed runs since the last run that succeeded, wholly or in part."),
            f"max({SCOPE.select(CONSECUTIVE_FAILURES)})",
            (None, GREEN),
            (1, ORANGE),
            (3, RED),
            link=f"{EXPORTER_URL}/flows/${{flow:percentencode}}",
        ),
        panels.number(
            panels.small_spec("Failing since", "When the first of these failed runs ended.", "dateTimeFromNow"),
            f"1000 * max({SCOPE.select(FAILING_SINCE)})",
            (None, RED),
            coloured_background=False,
            no_value="not failing",
        ),
        panels.number(
            panels.small_spec("Latest run", "When the latest run ended, whatever its outcome.", "dateTimeFromNow"),
            f"1000 * max({SCOPE.select(LAST_RUN)})",
            (None, BLUE),
            coloured_background=False,
        ),
        panels.number(
            panels.small_spec(
                "Silence, share of limit",
                "Time since the latest run ended, as a share of the silence limit. The limit is one and a half times "
                "the longest silence that is usual for the flow, plus 15 minutes, and more for a new flow. Above 100 % "
                "the flow is overdue.",
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
                "The share of runs in the time range that succeeded, wholly or in part. Cancelled and unknown runs "
                "are not counted.",
                "percentunit",
                1,
            ),
            f"{SCOPE.rounded_increase(RUNS, RANGE, _SUCCEEDED)}"
            f" / ({SCOPE.rounded_increase(RUNS, RANGE, _SUCCEEDED_OR_FAILED)} > 0)",
            (None, RED),
            (0.9, ORANGE),
            (0.99, GREEN),
            coloured_background=False,
            no_value="no runs",
        ),
    ]


def _history() -> list[Panel]:
    return [
        panels.history(
            PanelSpec(title="Status", description="The outcome of the latest run at each time.", width=24, height=4),
            Query(f"max by (sandbox) ({SCOPE.latest_outcome(list(STATUS))})", "{{sandbox}}"),
            OUTCOMES,
        ),
        panels.bars(
            PanelSpec(title="Runs by outcome", description="Runs that ended, by outcome.", width=16),
            Query(SCOPE.rounded_increase(RUNS, STEP, by="status"), "{{status}}"),
            colors=STATUS,
        ),
        panels.lines(
            PanelSpec(
                title="Runs in progress", description="Runs that Adobe announced and that have not ended.", width=8
            ),
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
                description="How long runs took, whatever their outcome. A dot is a run and leads to its page.",
                unit="s",
                width=24,
                height=9,
            ),
            Query(total(SCOPE.increase(RUN_DURATION, STEP, suffix="_bucket"), "le"), "{{le}}", has_exemplars=True),
        ),
        of(
            "Duration of runs that succeeded",
            _SUCCEEDED,
            "Runs that succeeded, wholly or in part. The percentile is estimated.",
        ),
        of(
            "Duration of runs that failed",
            _FAILED,
            "Runs that fail early often have other causes than runs that fail late.",
        ),
        panels.lines(
            PanelSpec(
                title="Latest and typical duration",
                description="Typical is the median of the latest runs that succeeded, at most 20. The alert "
                "AEPFlowSlow fires if the latest run takes more than twice that plus ten minutes.",
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
                description="The mean time that each activity of a run took. It shows which step makes a run slow.",
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
                description="Runs that reported each error code, partial successes included. A dot is a run and leads "
                "to its page.",
                width=16,
            ),
            Query(f"{SCOPE.rounded_increase(ERRORS, STEP, by='error_code')} > 0", "{{error_code}}", has_exemplars=True),
            no_value="No errors reported",
        ),
        joined_table(
            PanelSpec(
                title="Error codes",
                description="Runs in the time range that reported each error code. A code leads to what it means.",
                width=8,
            ),
            [f"{counted} > 0"],
            [
                Column(field="error_code", title="Code", links=(("What it means", to_code("__value.raw")),)),
                Column(field="status", title="Outcome of the run", width=150),
                Column(field="A", title="Runs", width=80, decimals=0),
            ],
            sorted_by="Runs",
            no_value="No errors reported",
        ),
    ]


def _amounts() -> list[Panel]:
    def moved(title: str, metric: Metric, what: str, unit: str) -> Panel:
        return panels.bars(
            PanelSpec(
                title=title,
                description=f"{what} that runs reported when they ended, by result. Results overlap, so they must not "
                "be added up.",
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
                description="Records that were read and written by the latest run that succeeded. Typical input is "
                "the median of the records read by the latest such runs, at most 20.",
                width=8,
            ),
            Query(f"max by (result) ({SCOPE.select(LAST_RECORDS, _READ_OR_WRITTEN)})", "{{result}}"),
            Query(f"max({SCOPE.select(TYPICAL_RECORDS)})", "typical input"),
            colors={**RESULT, "typical input": GREY},
            dashed="typical input",
        ),
        panels.distribution(
            PanelSpec(title="Records read per run", description="Runs that succeeded, wholly or in part.", width=8),
            Query(total(SCOPE.increase(INPUT_RECORDS, STEP, suffix="_bucket"), "le"), "{{le}}"),
        ),
        panels.distribution(
            PanelSpec(
                title="Bytes read per run",
                description="Runs that succeeded, wholly or in part.",
                unit="decbytes",
                width=8,
            ),
            Query(total(SCOPE.increase(INPUT_BYTES, STEP, suffix="_bucket"), "le"), "{{le}}"),
        ),
        moved("Records", RECORDS, "Records", "short"),
        moved("Bytes", BYTES, "Bytes", "decbytes"),
        moved("Files", FILES, "Files", "short"),
    ]
