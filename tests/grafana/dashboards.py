"""The committed dashboards as the tests look at them, and queries as Grafana would send them."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from grafana.build import FOLDER

FILES: Final = sorted(FOLDER.glob("*.json"))
SHORTEST: Final = 4
"""Grafana's `$__rate_interval` is never less than this many scrapes."""


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
    """The time that is looked at, in seconds since 1970, and how often Prometheus scrapes, in seconds."""

    start: float
    end: float
    scrape: float

    def step(self, max_data_points: int) -> int:
        """A point's width in whole seconds: as many points as the panel has room for."""
        return max(math.ceil((self.end - self.start) / max_data_points), math.ceil(self.scrape))

    def fill(self, expression: str, variables: Mapping[str, str], step: int) -> str:
        """The query with everything in place of its variables.

        As in Grafana's pkg/promlib/models/query.go, for a panel without a step of its own in the query.
        """
        rate = max(step + self.scrape, SHORTEST * self.scrape)
        times = {
            "__range": f"{round(self.end - self.start)}s",
            "__rate_interval": f"{math.ceil(rate)}s",
            "__interval": f"{step}s",
        }
        # $1 and the like are of label_replace.
        return re.sub(r"\$([a-z_]\w*)", lambda found: {**variables, **times}[found[1]], expression)


LOOKED_AT: Final = Window(start=0, end=86400, scrape=30)
"""Any time, for tests that only read queries."""


def load(path: Path) -> dict[str, Any]:
    """A dashboard."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every panel but the rows, also those of closed rows."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def targets() -> list[Target]:
    """Every query of every panel."""
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
    """The `value` and `text` that Grafana's query_result reads, by the variable's expression, of a series of an answer.

    It writes the series as text first, and escapes nothing in it.
    """
    labels = ",".join(f'{name}="{value}"' for name, value in series["metric"].items())
    moment, value = series["value"]
    text = f"{{{labels}}} {value} {moment * 1000:.0f}"
    return re.search(variable["regex"].strip("/").replace("(?<", "(?P<"), text)


def everything(dashboard: Mapping[str, Any]) -> dict[str, str]:
    """What Grafana puts for each variable when all is chosen; for one that has no All, something that it never is."""
    return {name: variable.get("allValue", "x") for name, variable in variables(dashboard).items()}
