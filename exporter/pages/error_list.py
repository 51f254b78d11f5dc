"""What `/errors` shows: each error code, what it means, which flows fail with it now, and when runs reported it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from exporter.ledger.queries import MAX_COUNTED, Queries, SeenCode
from exporter.metrics.code_labels import NO_CODE
from exporter.metrics.flow_summaries import CurrentFlows
from exporter.model import DAY, OTHER
from exporter.pages.explanations import Explanation, explain
from exporter.pages.failing_codes import FailingCode, failing_codes
from exporter.pages.links import OwnLinks
from exporter.pages.page_request import PageRequest
from exporter.pages.texts import number

MAX_CODES: Final = 1000
"""Codes of the list. An organisation has some dozens."""
MAX_FLOWS: Final = 5
"""Flows that are named with a code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingFlow:
    """A flow that fails with a code."""

    name: str
    address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorLine:
    """A code in the list. Times are milliseconds since 1970."""

    code: str
    seen: SeenCode | None
    """None if no run in the ledger reported it any more, or where it is not a code."""
    explanation: Explanation
    flows: tuple[FailingFlow, ...]
    """The flows that fail with it now, the one that began last first, at most MAX_FLOWS."""
    failing: int
    """How many flows fail with it now."""
    failing_since: int | None
    """Since when the first of them fails."""

    @property
    def anchor(self) -> str:
        """What other pages lead to: the id of the line."""
        return anchor_of(self.code)

    @property
    def more_flows(self) -> int:
        """How many flows are not in `flows`."""
        return self.failing - len(self.flows)

    @property
    def runs(self) -> str:
        """How many runs of the last 24 hours reported it, in words."""
        recent = 0 if self.seen is None else self.seen.recent_runs
        return number(recent) if recent < MAX_COUNTED else f"{number(recent)} or more"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorList:
    """The list. Times are milliseconds since 1970."""

    lines: tuple[ErrorLine, ...]
    """Those with which most flows fail now are first, then the one that was seen last."""
    now: int
    since: int
    """Runs are counted from here on."""
    left_out: int
    """Codes that are not in the list because it would be too long."""


def anchor_of(code: str) -> str:
    """The id of a code's line in `/errors`."""
    return f"code-{quote(code, safe='')}"


def error_list(queries: Queries, current: CurrentFlows, own: OwnLinks) -> ErrorList:
    """The list at the time of `current`. Blocking. Raises what the queries raise."""
    since = current.now - DAY
    seen = {each.code: each for each in queries.codes(since)}
    failing = failing_codes(current.flows.values())
    # The sort is stable: among equals, the order is that of the queries.
    codes = sorted(
        dict.fromkeys([*seen, *failing]), key=lambda code: -len(failing[code].flows) if code in failing else 0
    )
    lines = _lines(codes[:MAX_CODES], seen, failing, own)
    return ErrorList(lines=tuple(lines), now=current.now, since=since, left_out=max(len(codes) - MAX_CODES, 0))


def page(request: PageRequest) -> Mapping[str, object]:
    """The values of `/errors`."""
    return {"list": error_list(request.queries, request.sources.flows(), request.own), "words": (NO_CODE, OTHER)}


def _lines(
    codes: Iterable[str], seen: Mapping[str, SeenCode], failing: Mapping[str, FailingCode], own: OwnLinks
) -> Iterable[ErrorLine]:
    for code in codes:
        of_code = failing.get(code)
        flows = [] if of_code is None else sorted(of_code.flows, key=lambda flow: (-(flow.streak.since or 0), flow.key))
        yield ErrorLine(
            code=code,
            seen=seen.get(code),
            explanation=explain(code),
            flows=tuple(
                FailingFlow(name=flow.name or flow.key.flow_id, address=own.flow(*flow.key))
                for flow in flows[:MAX_FLOWS]
            ),
            failing=len(flows),
            failing_since=None if of_code is None else of_code.since,
        )
