"""The failures in a row of one flow: how many runs reported each error code, and which code came first.

The codes of a run are label values (`code_labels`), each once, in the order of the report. They are kept as one text,
separated by blanks, so that equal ones share their memory. "" is a run that reported no code.

The cause of a streak is the first code of its first run, by completion and then by run id. It does not depend on the
order in which failures were recorded, and later failures do not change it. It changes only if the streak begins with
another run: if a failure is recorded late that ended before the others, if a late success splits the streak, or if the
first run is corrected.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from exporter.metrics.code_labels import NO_CODE
from exporter.model import OTHER

CODES_SHOWN: Final = 10
"""The codes of a flow that have a series of their own."""
MAX_COMBINATIONS: Final = 200
"""The number of combinations of codes that are told apart among the failures of a flow that are not kept one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streak:
    """The failed runs of a flow since its last success."""

    failures: int = 0
    since: int | None = None
    """The completion of the first of them, in milliseconds since 1970. None without one."""
    cause: str | None = None
    """The first code that the first of them reported, or `none`. None without one."""
    runs_by_code: Mapping[str, int] = field(default_factory=dict)
    """As `count_by_code` returns it."""


def join_codes(codes: Iterable[str]) -> str:
    """The codes of a run as one text. Equal texts are the same object."""
    return sys.intern(" ".join(codes))


def first_code(codes: str | None) -> str:
    """The first code of a run: `none` without one, and `other` if it is not known whether there was one."""
    return OTHER if codes is None else codes.partition(" ")[0] or NO_CODE


def add_runs(counts: dict[str, int], codes: str | None, runs: int = 1) -> None:
    """Count runs by their codes, whose order does not matter here. Beyond MAX_COMBINATIONS they count as `other`."""
    key = OTHER if codes is None else " ".join(sorted(codes.split()))
    if key not in counts and len(counts) >= MAX_COMBINATIONS:
        key = OTHER
    counts[key] = counts.get(key, 0) + runs


def count_by_code(runs: Mapping[str, int]) -> dict[str, int]:
    """How many runs reported each code, from the number of runs with the same codes.

    A run without a code is under `none`. The CODES_SHOWN codes that most runs have are shown, and of equally frequent
    ones the first in alphabetical order. A run that reported any other code is under `other`, once.
    """
    by_code: Counter[str] = Counter()
    for codes, number in runs.items():
        for code in codes.split():
            by_code[code] += number
    by_code.pop(OTHER, None)
    shown = set(sorted(by_code, key=lambda code: (-by_code[code], code))[:CODES_SHOWN])
    found = {code: by_code[code] for code in sorted(shown)}
    found[NO_CODE] = runs.get("", 0)
    found[OTHER] = sum(number for codes, number in runs.items() if not shown.issuperset(codes.split()))
    return {code: number for code, number in found.items() if number}
