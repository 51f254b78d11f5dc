"""Tables: rows joined from instant queries, with links where a row leads."""

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
from grafana.panels import PanelSpec, Query, with_defaults, instant_queries, setting

_TEXT: Final = "text"
"""Grafana's name for the colour that text has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: `field` is a label, or the letter of a query for its values."""

    field: str
    title: str = ""
    unit: str = ""
    width: int = 0
    decimals: int | None = None
    links: tuple[tuple[str, str], ...] = ()
    """Titles and addresses; those within Grafana begin with a slash."""
    red_from: float | None = None
    shown_as: str = ""
    """What to show instead of the value, such as the name of a link."""
    is_hidden: bool = False
    """Only there for links to read."""


def joined_table(
    spec: PanelSpec,
    queries: Sequence[str],
    columns: Sequence[Column],
    *,
    sorted_by: str,
    is_ascending: bool = False,
    none: str = "none",
) -> table.Panel:
    """A table with a row for each label set; the queries have the same labels, but one that brings more of them.

    `none` is shown where there are no rows.
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
                    "indexByName": {name: place for place, name in enumerate(fields)},
                    "renameByName": {},
                },
            )
        )
        .sort_by([common.TableSortByFieldState().display_name(sorted_by).desc(not is_ascending)])
        .cell_height(options.TableCellHeight.SM)
        .show_header(True)
        .no_value(none)
        .color_scheme(dashboards.FieldColor().mode(models.FieldColorModeId.FIXED).fixed_color(_TEXT))
    )
    for column, name in zip(columns, fields, strict=True):
        panel.override_by_name(name, list(_settings(column)))
    return panel


def _value_of(letter: str, queries: int) -> str:
    """What Grafana calls the values of a query, which depends on whether there are others."""
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
        # By the first name until Grafana 12, by the second from then on; either ignores the other.
        yield setting("custom.hidden", True)
        yield setting("custom.hideFrom", {"viz": True, "legend": False, "tooltip": False})
