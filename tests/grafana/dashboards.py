"""Reads the committed dashboards for tests, and fills in their variables as Grafana does."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from grafana.build import FOLDER

PROVISIONING: Final = FOLDER.parent / "provisioning"
FILES: Final = sorted(FOLDER.glob("*.json"))
SHORTEST: Final = 4
"""Grafana's `$__rate_interval` is at least this many scrape intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One query of a panel."""

    dashboard: str
    panel: str
    ref_id: str
    expression: str
    is_instant: bool
    has_exemplars: bool
    max_data_points: int

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel}: {self.ref_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The time range of a dashboard in seconds since 1970, and the scrape interval in seconds."""

    start: float
    end: float
    scrape: float

    def step(self, max_data_points: int) -> int:
        """The width of a point in whole seconds, so that there are at most `max_data_points`."""
        return max(math.ceil((self.end - self.start) / max_data_points), math.ceil(self.scrape))

    def fill(self, expression: str, variables: Mapping[str, str], step: int) -> str:
        """Replace the variables in a query.

        This follows Grafana's pkg/promlib/models/query.go for a panel whose query has no step of its own.
        """
        rate = max(step + self.scrape, SHORTEST * self.scrape)
        times = {
            "__range": f"{round(self.end - self.start)}s",
            "__rate_interval": f"{math.ceil(rate)}s",
            "__interval": f"{step}s",
        }
        # $1 and the like belong to label_replace.
        return re.sub(r"\$([a-z_]\w*)", lambda found: {**variables, **times}[found[1]], expression)


ANY_TIME: Final = Window(start=0, end=86400, scrape=30)
"""An arbitrary time range, for tests that do not send queries."""


def load(path: Path) -> dict[str, Any]:
    """Load a dashboard."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels except rows, including the panels in collapsed rows."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def links_of(panel: Mapping[str, Any]) -> list[str]:
    """The addresses to which a panel's values and the cells of its tables lead."""
    config = panel["fieldConfig"]
    settings = [setting for override in config.get("overrides", ()) for setting in override["properties"]]
    of_cells = [link for setting in settings if setting["id"] == "links" for link in setting["value"]]
    return [link["url"] for link in (*config["defaults"].get("links", ()), *of_cells)]


def targets() -> list[Target]:
    """All queries of all panels."""
    return [
        Target(
            dashboard=dashboard["title"],
            panel=panel["title"],
            ref_id=target["refId"],
            expression=target["expr"],
            is_instant=target["instant"],
            has_exemplars=target.get("exemplar", False),
            max_data_points=panel.get("maxDataPoints", 1000),
        )
        for dashboard in map(load, FILES)
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]


def variables(dashboard: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The dashboard's variables by name."""
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


def option(variable: Mapping[str, Any], series: Mapping[str, Any]) -> re.Match[str] | None:
    """Match a series of a query result with the variable's regular expression, as Grafana's query_result does.

    The groups `value` and `text` are the option. Grafana first writes the series as text without escaping anything.
    """
    labels = ",".join(f'{name}="{value}"' for name, value in series["metric"].items())
    moment, value = series["value"]
    text = f"{{{labels}}} {value} {moment * 1000:.0f}"
    return re.search(variable["regex"].strip("/").replace("(?<", "(?P<"), text)


def everything(dashboard: Mapping[str, Any]) -> dict[str, str]:
    """The value of each variable if All is chosen. Variables without All have a value that does not occur."""
    return {name: variable.get("allValue", "x") for name, variable in variables(dashboard).items()}
