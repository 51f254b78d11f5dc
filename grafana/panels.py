"""The panel types that the dashboards use, each with one common look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Final, Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, heatmap, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.colours import GREY, OUTCOMES

SUM: Final = (("sum", "Total"),)
MEAN_AND_MAX: Final = (("mean", "Mean"), ("max", "Max"))
"""Calculations in a legend: Grafana's id of each, and the name that the legend shows."""

SOURCE: Final = options.DataSourceRef(type_val="prometheus", uid="${datasource}")
BARS: Final = 100
"""The largest number of bars in a panel. The time range divided by it gives the width of a bar."""
NARROWEST: Final = "5m"
"""The smallest width of a bar.

`$__rate_interval` is at least four scrape intervals. If bars were narrower than that, one run would be in several bars.
"""

_WIDE: Final = 12

_Built = TypeVar("_Built", bound="Panel")


class Panel(Protocol):
    """The methods that all panel builders of the SDK have."""

    def build(self) -> models.Panel: ...
    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def datasource(self, datasource: options.DataSourceRef) -> Self: ...
    def span(self, w: int) -> Self: ...
    def height(self, h: int) -> Self: ...
    def unit(self, unit: str) -> Self: ...
    def decimals(self, decimals: float) -> Self: ...
    def targets(self, targets: list[Builder[Dataquery]]) -> Self: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelSpec:
    """Title, description and size of a panel. Sizes are in Grafana's grid: 24 columns, and rows of 38 pixels."""

    title: str
    description: str
    unit: str = "short"
    width: int = 12
    height: int = 8
    decimals: int | None = None


def small_spec(title: str, description: str, unit: str = "short", decimals: int | None = None) -> PanelSpec:
    """The spec of one of six numbers that share a row."""
    return PanelSpec(title=title, description=description, unit=unit, decimals=decimals, width=4, height=4)


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and the name of its series in the legend."""

    expression: str
    legend: str = ""
    has_exemplars: bool = False


def with_defaults(panel: _Built, spec: PanelSpec, queries: list[Builder[Dataquery]]) -> _Built:
    """Set what every panel has: title, description, data source, size, unit and queries."""
    panel.title(spec.title).description(spec.description).datasource(SOURCE)
    panel.span(spec.width).height(spec.height).unit(spec.unit).targets(queries)
    if spec.decimals is not None:
        panel.decimals(spec.decimals)
    return panel


def _data_queries(queries: Sequence[Query], format_: PromQueryFormat) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery()
        .ref_id(letter)
        .datasource(SOURCE)
        .expr(query.expression)
        .legend_format(query.legend)
        .format(format_)
        .exemplar(query.has_exemplars)
        for letter, query in zip(ascii_uppercase, queries, strict=False)
    ]


def instant_queries(queries: Sequence[Query], format_: PromQueryFormat) -> list[Builder[Dataquery]]:
    """Queries at the end of the time range."""
    return [each.instant() for each in _data_queries(queries, format_)]


def _range_queries(
    queries: Sequence[Query], format_: PromQueryFormat = PromQueryFormat.TIME_SERIES
) -> list[Builder[Dataquery]]:
    return [each.range() for each in _data_queries(queries, format_)]


def threshold_steps(*found: tuple[float | None, str]) -> dashboards.ThresholdsConfig:
    """Each colour applies from its value on. The first value is None: no lower bound."""
    return (
        dashboards.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=color) for value, color in found])
    )


def setting(id_: str, value: object) -> models.DynamicConfigValue:
    """A property of a field override."""
    return models.DynamicConfigValue(id_val=id_, value=value)


def _fixed(color: str) -> list[models.DynamicConfigValue]:
    return [setting("color", {"mode": "fixed", "fixedColor": color})]


def number(
    spec: PanelSpec,
    query: str,
    *thresholds: tuple[float | None, str],
    texts: Mapping[str, str] | None = None,
    link: str = "",
    coloured_background: bool = True,
    no_value: str = "unknown",
) -> stat.Panel:
    """One number.

    `texts` maps values to words. `link` is an address that a click opens. `no_value` is shown if there is no value.
    """
    panel = (
        with_defaults(stat.Panel(), spec, instant_queries([Query(query)], PromQueryFormat.TIME_SERIES))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .graph_mode(options.BigValueGraphMode.NONE)
        .color_mode(
            options.BigValueColorMode.BACKGROUND_SOLID if coloured_background else options.BigValueColorMode.VALUE
        )
        .color_scheme(dashboards.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .thresholds(threshold_steps(*thresholds))
        .no_value(no_value)
    )
    if texts:
        panel.mappings([models.ValueMap({key: models.ValueMappingResult(text=text) for key, text in texts.items()})])
    if link:
        panel.data_links([dashboards.DashboardLink("Show").url(link)])
    return panel


def outcome(spec: PanelSpec, query: str) -> stat.Panel:
    """The latest outcome. The query gives an index into STATUS, and the panel shows the status on its colour."""
    return number(spec, query, (None, GREY)).mappings(OUTCOMES)


def lines(
    spec: PanelSpec,
    *queries: Query,
    colors: Mapping[str, str] | None = None,
    dashed: str = "",
    has_points: bool = False,
    is_signed: bool = False,
) -> timeseries.Panel:
    """Values over time.

    `dashed` names a series with a dashed line. With `has_points` values are dots without lines, for rare events.
    `is_signed`: whether values can be negative. Otherwise the axis begins at 0.
    """
    panel = (
        with_defaults(timeseries.Panel(), spec, _range_queries(queries))
        .legend(_legend(spec))
        .tooltip(_tooltip())
        .color_scheme(dashboards.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .draw_style(options.GraphDrawStyle.POINTS if has_points else options.GraphDrawStyle.LINE)
        .line_width(1)
        .fill_opacity(0 if has_points else 10)
        .point_size(6 if has_points else 4)
        .show_points(options.VisibilityMode.ALWAYS if has_points else options.VisibilityMode.NEVER)
    )
    if not is_signed:
        panel.min(0)
    if has_points:
        panel.max_data_points(BARS).interval(NARROWEST)
    for name, color in (colors or {}).items():
        panel.override_by_name(name, _fixed(color))
    if dashed:
        panel.override_by_name(
            dashed, [setting("custom.lineStyle", {"fill": "dash", "dash": [8, 6]}), setting("custom.fillOpacity", 0)]
        )
    return panel


def bars(
    spec: PanelSpec,
    *queries: Query,
    colors: Mapping[str, str] | None = None,
    is_stacked: bool = True,
    legend_of: Sequence[tuple[str, str]] = SUM,
    no_value: str = "nothing",
) -> timeseries.Panel:
    """The number of events in each interval. `no_value` is shown if there is no series."""
    panel = (
        with_defaults(timeseries.Panel(), spec, _range_queries(queries))
        .legend(_legend(spec, legend_of))
        .tooltip(_tooltip())
        .color_scheme(dashboards.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .draw_style(options.GraphDrawStyle.BARS)
        .bar_alignment(options.BarAlignment.BEFORE)
        .line_width(0)
        .fill_opacity(85 if is_stacked else 50)
        .show_points(options.VisibilityMode.NEVER)
        .stacking(
            common.StackingConfig()
            .group("A")
            .mode(options.StackingMode.NORMAL if is_stacked else options.StackingMode.NONE)
        )
        .min(0)
        .max_data_points(BARS)
        .interval(NARROWEST)
        .no_value(no_value)
    )
    for name, color in (colors or {}).items():
        panel.override_by_name(name, _fixed(color))
    return panel


def distribution(spec: PanelSpec, query: Query) -> heatmap.Panel:
    """The buckets of a histogram over time, as a heat map."""
    return (
        with_defaults(heatmap.Panel(), spec, _range_queries([query], PromQueryFormat.HEATMAP))
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(64).exponent(0.5))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .rows_frame(heatmap.RowsHeatmapOptions().layout(options.HeatmapCellLayout.AUTO).value("runs"))
        .y_axis(heatmap.YAxisConfig().unit(spec.unit).axis_placement(options.AxisPlacement.LEFT))
        .cell_values(heatmap.CellValues().unit("short").decimals(0))
        .tooltip(heatmap.HeatmapTooltip().mode(options.TooltipDisplayMode.SINGLE).y_histogram(True))
        .exemplars_color("rgba(255, 120, 10, 0.9)")
        .cell_gap(1)
        .show_legend()
        .max_data_points(BARS // 2)
        .interval(NARROWEST)
    )


def history(spec: PanelSpec, query: Query, mappings: list[models.ValueMapping]) -> statetimeline.Panel:
    """States over time, with a row for each series."""
    return (
        with_defaults(statetimeline.Panel(), spec, _range_queries([query]))
        .mappings(mappings)
        .color_scheme(dashboards.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .thresholds(threshold_steps((None, GREY)))
        .show_value(options.VisibilityMode.NEVER)
        .merge_values(True)
        .row_height(0.85)
        .fill_opacity(85)
        .line_width(0)
        .legend(_legend(spec))
        .tooltip(_tooltip())
        .max_data_points(BARS * 3)
        .interval("1m")
    )


def ranking(spec: PanelSpec, query: Query, color: str, *, link: str = "") -> bargauge.Panel:
    """The series with the largest values, as horizontal bars. `link` is an address that a click on a bar opens."""
    panel = (
        with_defaults(bargauge.Panel(), spec, instant_queries([query], PromQueryFormat.TIME_SERIES))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .orientation(options.VizOrientation.HORIZONTAL)
        .display_mode(options.BarGaugeDisplayMode.BASIC)
        .show_unfilled(False)
        .color_scheme(dashboards.FieldColor().mode(models.FieldColorModeId.FIXED).fixed_color(color))
        .min(0)
        .no_value("none")
    )
    if link:
        panel.data_links([dashboards.DashboardLink("Show").url(link).target_blank(True)])
    return panel


def _legend(spec: PanelSpec, calculations: Sequence[tuple[str, str]] = ()) -> common.VizLegendOptions:
    """A table with calculations beside a wide panel, or a list of names below a narrow one."""
    found = common.VizLegendOptions().show_legend(True)
    if not calculations or spec.width < _WIDE:
        return found.display_mode(options.LegendDisplayMode.LIST).placement(options.LegendPlacement.BOTTOM).calcs([])
    found.display_mode(options.LegendDisplayMode.TABLE).placement(options.LegendPlacement.RIGHT)
    return found.calcs([calculation for calculation, _ in calculations]).sort_by(calculations[0][1]).sort_desc(True)


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI).sort(options.SortOrder.DESCENDING)
