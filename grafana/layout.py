"""What all dashboards have besides panels: variables, links to each other, time range, sections and panel ids."""

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
"""The dashboards by uid. The uid is also the file's name and part of the dashboard's address, so links depend on it."""

EXPORTER_URL: Final = "${exporter_url:raw}"
"""The address of the exporter's pages, as links use it."""

_FIELD: Final = "${{__data.fields.{}:percentencode}}"
"""A field of a table's row in an address. Percent-encoded, because an id can have slashes, blanks and quotes."""

_ANYTHING: Final = ".*"
"""The value of All for sandboxes and flows. It also matches series without this label."""
_ALL: Final = models.VariableOption(selected=True, text=["All"], value=["$__all"])
_SHARED_VARIABLES: Final = {
    FLOWS: ("datasource", "job", "instance", "sandbox"),
    FLOW: ("datasource", "job", "instance", "sandbox"),
    # No instance: here the variable lists processes, elsewhere instances of the flow half.
    EXPORTER: ("datasource", "job"),
}
"""The variables of each dashboard that have the same meaning on the other dashboards. Links keep them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Panels below a heading, or without one."""

    panels: Sequence[Builder[models.Panel]]
    title: str = ""


def to_page() -> str:
    """The address of the exporter's page of the flow in a table's row."""
    return _page_of_flow("")


def to_platform() -> str:
    """The exporter's address that leads on to Experience Platform, for the flow in a table's row."""
    return _page_of_flow("/platform")


def to_code(code: str) -> str:
    """The address of an error code on the exporter's page of errors. `code` is a variable of Grafana without braces."""
    return f"{EXPORTER_URL}/errors#code-${{{code}:percentencode}}"


def to_flow() -> str:
    """The address of the AEP flow dashboard for the flow in a table's row. It keeps time range and variables."""
    kept = "&".join(f"${{{name}:queryparam}}" for name in ("datasource", "job", "instance"))
    sandbox, flow = (_FIELD.format(label) for label in ("sandbox", "flow_id"))
    return f"/d/{FLOW}?{kept}&var-sandbox={sandbox}&var-flow={flow}&${{__url_time_range}}"


def _page_of_flow(last: str) -> str:
    return f"{EXPORTER_URL}/flows/{_FIELD.format('flow_id')}{last}?sandbox={_FIELD.format('sandbox')}"


def target_variables(jobs: str, instances: str) -> list[Builder[models.VariableModel]]:
    """The variables data source, job and instance. `jobs` and `instances` are label_values() queries."""
    return [
        dashboards.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _choice("job", "Job", jobs).multi(True).include_all(True).all_value(".+").current(_ALL),
        _choice("instance", "Instance", instances).multi(True).include_all(True).all_value(".+").current(_ALL),
    ]


def flow_variables(exporter_url: str, *, is_one_flow: bool) -> list[Builder[models.VariableModel]]:
    """All variables of a dashboard about flows. `exporter_url` is the public address of the exporter's pages."""
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
    """Build the dashboard with this uid from its sections. `time_from` is the default start of the time range."""
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
            made.with_row(dashboards.Row(section.title))
        for panel in section.panels:
            made.with_panel(panel)
    built = made.build()
    for link in built.links or ():
        # The SDK sets a placement inside a menu. Without one, Grafana shows the links directly.
        link.placement = None  # type: ignore[assignment]
    return _with_ids(built)


def _link(here: str, there: str) -> dashboards.DashboardLink:
    kept = "&".join(f"${{{name}:queryparam}}" for name in _SHARED_VARIABLES[there] if name in _SHARED_VARIABLES[here])
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
    """Number the panels in order. The SDK leaves ids empty, and Grafana would then assign new ones at each load."""
    number = 0
    for panel in made.panels or ():
        for each in (panel, *(panel.panels if isinstance(panel, models.RowPanel) else ())):
            number += 1
            each.id_val = number
    return made
