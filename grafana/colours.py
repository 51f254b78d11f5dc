"""One colour for each status and each result, wherever it is drawn."""

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
"""The outcomes of a run, best known first, and their colours on every panel."""

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
"""What became of records, bytes and files."""

OUTCOMES: Final[list[models.ValueMapping]] = [
    models.ValueMap(
        {
            str(place): models.ValueMappingResult(text=status, color=color, index=place)
            for place, (status, color) in enumerate(STATUS.items())
        }
    )
]
"""Words and colours for numbers that are places in STATUS."""

FAILURES: Final[list[models.ValueMapping]] = [
    models.ValueMap({"0": models.ValueMappingResult(text="well", color=GREEN, index=0)}),
    models.RangeMap(
        models.DashboardRangeMapOptions(
            from_val=1, result=models.ValueMappingResult(text="failing", color=RED, index=1)
        )
    ),
]
"""Words and colours for failures in a row."""
