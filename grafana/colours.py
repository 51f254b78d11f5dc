"""The colour of each status and each result, the same on every panel."""

from typing import Final

from grafana_foundation_sdk.models import dashboard as models

GREEN: Final = "green"
YELLOW: Final = "yellow"
ORANGE: Final = "orange"
RED: Final = "red"
BLUE: Final = "blue"
PURPLE: Final = "purple"
GREY: Final = "#8e8e8e"

STATUS: Final = {
    "success": GREEN,
    "partial_success": YELLOW,
    "failed": RED,
    "cancelled": PURPLE,
    "unknown": GREY,
}
"""The outcomes of a run and their colours. Panels of the latest outcome use the order: an index stands for each."""

RESULT: Final = {
    "input": BLUE,
    "output": GREEN,
    "created": "light-green",
    "updated": "light-blue",
    "deleted": PURPLE,
    "skipped": GREY,
    "failed": RED,
    "warning": YELLOW,
}
"""The results of records, bytes and files, and their colours."""

OUTCOMES: Final[list[models.ValueMapping]] = [
    models.ValueMap(
        {
            str(index): models.ValueMappingResult(text=status, color=color, index=index)
            for index, (status, color) in enumerate(STATUS.items())
        }
    )
]
"""The text and colour for each index into STATUS."""

FAILURES: Final[list[models.ValueMapping]] = [
    models.ValueMap({"0": models.ValueMappingResult(text="ok", color=GREEN, index=0)}),
    models.RangeMap(
        models.DashboardRangeMapOptions(
            from_val=1, result=models.ValueMappingResult(text="failing", color=RED, index=1)
        )
    ),
]
"""The text and colour for numbers of failures in a row."""
