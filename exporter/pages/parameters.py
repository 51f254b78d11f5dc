"""Reads the parameters of an address: which runs a list has, how many, and from where on.

Pages are lenient: they ignore parameters that they do not have, because mail tools add their own, and an empty value is
none, because forms send one for each field that is left empty. The API is strict: a parameter that it does not have, or
that comes twice, is an error, because an ignored filter would return other items than were asked for.

All functions raise BadParameterError. Its message names the parameter and says what it takes. It never repeats a value.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from exporter import parsers
from exporter.errors import BadParameterError
from exporter.ledger.queries import MAX_LIMIT, RunFilter
from exporter.metrics.code_labels import NO_CODE
from exporter.model import Status
from exporter.pages.texts import shown

RUN_PARAMETERS: Final = ("flow_id", "sandbox", "status", "error_code", "since", "until", "limit", "cursor")
"""The parameters of lists of runs."""
OUTCOMES: Final = tuple(status for status in Status if status.is_outcome)
"""What `status` takes."""

_TIME: Final = "takes a time like 2026-11-30T22:15:00Z or, back from now, a duration like 24h or 7d"
_TAKES: Final = {
    "flow_id": "takes the id of a flow, as in the label flow_id",
    "sandbox": "takes the name of a sandbox",
    "status": f"takes one of {', '.join(OUTCOMES)}",
    "error_code": "takes an error code like CONNECTOR-2001-500",
    "since": _TIME,
    "until": _TIME,
    "limit": f"takes a whole number from 1 to {MAX_LIMIT}",
    "cursor": "takes the cursor that a list ended with",
}
"""What the parameters that lists share take."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_PLUS_AS_SPACE: Final = re.compile(r"(:[0-9]{2}(?:\.[0-9]+)?) ([0-9]{2}:[0-9]{2})")
"""The end of a time whose `+` was not encoded. In a query a `+` is a space."""

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunParameters:
    """What a list of runs is asked for."""

    wanted: RunFilter
    limit: int
    """From 1 to MAX_LIMIT."""
    cursor: str | None
    """Where the list goes on, unchecked: the ledger raises BadCursorError for one that is not of this list."""


def lenient(parameters: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """The parameters of these names that have a value, without the space around it, as pages read them."""
    return {name: text for name in names if (text := parameters.get(name, "").strip())}


def strict(pairs: Iterable[tuple[str, str]], names: Iterable[str]) -> dict[str, str]:
    """The parameters of an address as the API reads them. `pairs` has all of them, in any order.

    Raises BadParameterError for a name that is not one of `names`, and for one that comes twice.
    """
    allowed = tuple(names)
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in allowed:
            raise BadParameterError(f"{shown(name, 50)!r} is no parameter of this address: it takes {_list(allowed)}")
        if name in found:
            raise BadParameterError(f"the parameter {name} is there twice: give it once")
        found[name] = value
    return found


def run_parameters(parameters: Mapping[str, str], now: int, *, limit: int = 100) -> RunParameters:
    """What the parameters of `lenient` or `strict` ask for. Names other than RUN_PARAMETERS are ignored.

    `now` is in milliseconds since 1970, `limit` is used where no parameter gives one. An empty `sandbox` is that of
    the runs whose sandbox is not known. `lenient` never has one.
    """
    since, until = time(parameters, "since", now), time(parameters, "until", now)
    if since is not None and until is not None and since >= until:
        raise BadParameterError(
            "the parameter since must be before until: of two durations back from now it is the longer one"
        )
    wanted = RunFilter(
        flow_id=text(parameters, "flow_id"),
        sandbox="" if parameters.get("sandbox") == "" else text(parameters, "sandbox"),
        status=value(parameters, "status", _outcome),
        error_code=_error_code(parameters),
        since=since,
        until=until,
    )
    return RunParameters(wanted=wanted, limit=page_limit(parameters, limit), cursor=text(parameters, "cursor"))


def page_limit(parameters: Mapping[str, str], default: int) -> int:
    """The number of items of a list that `limit` asks for."""
    found = value(parameters, "limit", parsers.page_limit)
    return default if found is None else found


def text(parameters: Mapping[str, str], name: str) -> str | None:
    """A text without the space around it. None without the parameter."""
    return value(parameters, name, parsers.stored_text)


def time(parameters: Mapping[str, str], name: str, now: int) -> int | None:
    """A time in milliseconds since 1970. None without the parameter."""
    found = value(parameters, name, lambda text: parsers.moment(_PLUS_AS_SPACE.sub(r"\1+\2", text.strip())))
    if isinstance(found, timedelta):
        return now - found // _MILLISECOND
    return None if found is None else (found - _EPOCH) // _MILLISECOND


def value(
    parameters: Mapping[str, str], name: str, parse: Callable[[str], _Value], takes: str | None = None
) -> _Value | None:
    """The value of a parameter. None without the parameter.

    `parse` raises ValueError for a text that is no such value. `takes` says what the parameter takes, as in
    `takes true or false`. The parameters of lists of runs need none.
    """
    if name not in parameters:
        return None
    try:
        return parse(parameters[name])
    except ValueError:
        raise BadParameterError(f"the parameter {name} {takes or _TAKES[name]}") from None


def _error_code(parameters: Mapping[str, str]) -> str | None:
    code = text(parameters, "error_code")
    if code == NO_CODE:
        raise BadParameterError("the parameter error_code takes a code: runs without one can't be listed apart")
    return code


def _outcome(text: str) -> Status:
    status = Status(text)
    if not status.is_outcome:
        raise ValueError("not an outcome")
    return status


def _list(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names) or "no parameters"
