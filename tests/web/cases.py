"""Tables of cases that are checked in one test, which names every case that fails."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import pytest

_Case = TypeVar("_Case")


def failures(cases: Mapping[str, _Case], check: Callable[[_Case], None]) -> dict[str, str]:
    """Check every case. Return what was wrong with each case that failed, by its name."""
    found: dict[str, str] = {}
    for name, case in cases.items():
        try:
            check(case)
        except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - whatever a check raises is its failure
            found[name] = f"{type(error).__name__}: {error}"
    return found
