"""Tables whose rows are joined from several instant queries, with links in their cells."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Final

from grafana_foundation_sdk.builders import common, table
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.colours import RED
from grafana.panels import PanelSpec, Query, instant_queries, setting, with_defaults

_TEXT: Final = "text"
"""Grafana's name for the colour of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column. `field` is the name of a label, or the letter of a query whose values it shows."""

    field: str
    title: str = ""
    unit: str = ""
    width: int = 0
    decimals: int | None = None
    links: tuple[tuple[str, str], ...] = ()
    """Titles and addresses. An address within Grafana begins with a slash."""
    red_from: float | None = None
    """The value from which the text is red."""
    shown_as: str = ""
    """A text to show instead of the value, such as the name of a link."""
    is_hidden: bool = False
    """Whether the column only holds a value for links."""


def joined_table(
    spec: PanelSpec,
    queries: Sequence[str],
    columns: Sequence[Column],
    *,
    sorted_by: str,
    is_ascending: bool = False,
    no_value: str = "none",
) -> table.Panel:
    """A table with a row for each label set.

    All queries must have the same labels. One of them may have more. `no_value` is shown if there are no rows.
    """
    fields = [_field(column, len(queries)) for column in columns]
    values = {_value_of(letter, len(queries)) for letter, _ in zip(ascii_uppercase, queries, strict=False)}
    panel = (
        with_defaults(table.Panel(), spec, instant_queries([Query(query) for query in queries], PromQueryFormat.TABLE))
        .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": dict.fromkeys(("Time", *sorted(values - set(fields))), True),
                    "indexByName": {name: index for index, name in enumerate(fields)},
                    "renameByName": {},
                },
            )
        )
        .sort_by([common.TableSortByFieldState().display_name(sorted_by).desc(not is_ascending)])
        .cell_height(options.TableCellHeight.SM)
        .show_header(True)
        .no_value(no_value)
        .color_scheme(dashboards.FieldColor().mode(models.FieldColorModeId.FIXED).fixed_color(_TEXT))
    )
    for column, name in zip(columns, fields, strict=True):
        panel.override_by_name(name, list(_settings(column)))
    return panel


def _value_of(letter: str, queries: int) -> str:
    """Grafana's name for the values of a query, which depends on whether the table has several queries."""
    return f"Value #{letter}" if queries > 1 else "Value"


def _field(column: Column, queries: int) -> str:
    return _value_of(column.field, queries) if len(column.field) == 1 else column.field


def _settings(column: Column) -> Iterator[models.DynamicConfigValue]:
    if column.title:
        yield setting("displayName", column.title)
    if column.unit:
        yield setting("unit", column.unit)
    if column.decimals is not None:
        yield setting("decimals", column.decimals)
    if column.width:
        yield setting("custom.width", column.width)
    if column.links:
        links = [{"title": title, "url": url, "targetBlank": url[0] != "/"} for title, url in column.links]
        yield setting("links", links)
    if column.red_from is not None:
        thresholds = [{"value": None, "color": _TEXT}, {"value": column.red_from, "color": RED}]
        yield setting("custom.cellOptions", {"type": "color-text"})
        yield setting("color", {"mode": "thresholds"})
        yield setting("thresholds", {"mode": "absolute", "steps": thresholds})
    if column.shown_as:
        result = {"text": column.shown_as, "index": 0}
        yield setting("mappings", [{"type": "regex", "options": {"pattern": ".+", "result": result}}])
    if column.is_hidden:
        # Until Grafana 12 the first property hides the column, later the second one. Each version ignores the other.
        yield setting("custom.hidden", True)
        yield setting("custom.hideFrom", {"viz": True, "legend": False, "tooltip": False})
