"""Evaluates the expression of a panel with promtool on given series."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.grafana.dashboards import Window
from tests.system.processes import program, run

CHOSEN: Final = {"job": ".+", "instance": ".+", "sandbox": ".*", "flow": ".*"}
HOUR: Final = Window(start=0, end=3600, scrape=60)


def check(
    folder: Path,
    series: Mapping[str, str] | Sequence[str],
    expression: str,
    expected: Sequence[tuple[Mapping[str, str], float]],
) -> None:
    """Check that the expression gives the expected label sets and values at the end of an hour.

    `series` maps series to one value per minute in promtool's notation. Without values they are always 1.
    """
    values = series if isinstance(series, Mapping) else dict.fromkeys(series, "1x60")
    tests = {
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": value} for name, value in values.items()],
                "promql_expr_test": [
                    {
                        "expr": HOUR.fill(expression, CHOSEN, 60),
                        "eval_time": "1h",
                        "exp_samples": [
                            {
                                "labels": "{" + ",".join(f"{k}={json.dumps(v)}" for k, v in labels.items()) + "}",
                                "value": value,
                            }
                            for labels, value in expected
                        ],
                    }
                ],
            }
        ],
    }
    (folder / "test.json").write_text(json.dumps(tests), encoding="utf-8")
    run(program("promtool"), "test", "rules", folder / "test.json", seconds=60)
