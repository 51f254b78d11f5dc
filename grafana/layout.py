"""What surrounds the panels of every dashboard: variables, links between dashboards, time, places and ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from grafana import queries
from grafana.panels import SOURCE

FLOWS: Final = "aep-flows"
FLOW: Final = "aep-flow"
EXPORTER: Final = "aep-exporter"
TITLES: Final = {FLOWS: "AEP flows", FLOW: "AEP flow", EXPORTER: "AEP exporter"}
"""The dashboards by uid, which is also the name of the file and part of its address: links depend on it."""

EXPORTER_URL: Final = "${exporter_url:raw}"
"""Where the exporter's pages are, in links."""

_ANYTHING: Final = ".*"
"""All sandboxes, all flows: also what Adobe names none of."""
_ALL: Final = models.VariableOption(selected=True, text=["All"], value=["$__all"])
_KEPT: Final = {
    FLOWS: ("datasource", "job", "instance", "sandbox"),
    FLOW: ("datasource", "job", "instance", "sandbox"),
    # Its instances are those of processes, not of the flow half.
    EXPORTER: ("datasource", "job"),
}
"""Which variables have the same meaning wherever the link leads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Panels under a heading, or without one."""

    panels: Sequence[Builder[models.Panel]]
    title: str = ""
    is_collapsed: bool = False


def to_flow() -> str:
    """The address of the dashboard of the flow in a table's row, with the time and variables of this one."""
    kept = "&".join(f"${{{name}:queryparam}}" for name in ("datasource", "job", "instance"))
    sandbox, flow = (f"${{__data.fields.{label}:percentencode}}" for label in ("sandbox", "flow_id"))
    return f"/d/{FLOW}?{kept}&var-sandbox={sandbox}&var-flow={flow}&${{__url_time_range}}"


def target_variables(jobs: str, instances: str) -> list[Builder[models.VariableModel]]:
    """Data source, job and instance; the last two as label_values() queries."""
    return [
        dashboards.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _choice("job", "Job", jobs).multi(True).include_all(True).all_value(".+").current(_ALL),
        _choice("instance", "Instance", instances).multi(True).include_all(True).all_value(".+").current(_ALL),
    ]


def flow_variables(exporter_url: str, *, is_one_flow: bool) -> list[Builder[models.VariableModel]]:
    """All variables of a dashboard on flows; `exporter_url` is where people reach the exporter's pages."""
    sandbox = _choice("sandbox", "Sandbox", queries.SANDBOXES).multi(True)
    flow = _choice("flow", "Flow", queries.FLOWS_BY_NAME).regex(queries.FLOW_BY_NAME)
    if not is_one_flow:
        flow.multi(True).include_all(True).all_value(_ANYTHING).current(_ALL)
    return [
        *target_variables(queries.JOBS_OF_FLOWS, queries.INSTANCES_OF_FLOWS),
        sandbox.include_all(True).all_value(_ANYTHING).current(_ALL),
        flow,
        dashboards.ConstantVariable("exporter_url").label("Exporter's address").value(exporter_url),
    ]


def _choice(name: str, label: str, query: str) -> dashboards.QueryVariable:
    return (
        dashboards.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
    )


def dashboard(
    uid: str,
    description: str,
    time_from: str,
    variables: list[Builder[models.VariableModel]],
    sections: Sequence[Section],
) -> models.Dashboard:
    """The dashboard of this uid, with everything in its place."""
    made = (
        dashboards.Dashboard(TITLES[uid])
        .uid(uid)
        .description(description)
        .tags(["aep-flow-exporter", "adobe-experience-platform"])
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .timezone("browser")
        .time(time_from, "now")
        .refresh("1m")
        .variables(variables)
        .links([_link(uid, other) for other in TITLES if other != uid])
    )
    for section in sections:
        if section.title:
            row = dashboards.Row(section.title).collapsed(section.is_collapsed)
            if section.is_collapsed:
                for panel in section.panels:
                    row.with_panel(panel)
            made.with_row(row)
        if not section.is_collapsed:
            for panel in section.panels:
                made.with_panel(panel)
    built = made.build()
    for link in built.links or ():
        # The SDK would put them into a menu; Grafana shows links where nothing is said of their place.
        link.placement = None  # type: ignore[assignment]
    return _with_ids(built)


def _link(here: str, there: str) -> dashboards.DashboardLink:
    kept = "&".join(f"${{{name}:queryparam}}" for name in _KEPT[there] if name in _KEPT[here])
    return (
        dashboards.DashboardLink(TITLES[there])
        .type(models.DashboardLinkType.LINK)
        .icon("dashboard")
        .url(f"/d/{there}?{kept}")
        .keep_time(True)
        .include_vars(False)
        .target_blank(False)
    )


def _with_ids(made: models.Dashboard) -> models.Dashboard:
    """Ids in order: the SDK leaves them empty, and Grafana would give new ones at each load."""
    number = 0
    for panel in made.panels or ():
        for each in (panel, *(panel.panels if isinstance(panel, models.RowPanel) else ())):
            number += 1
            each.id_val = number
    return made
