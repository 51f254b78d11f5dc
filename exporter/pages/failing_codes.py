"""How many flows are failing now with each error code, as pages and the API show it.

A flow that is disabled is left out, because nobody expects it to run. The codes are label values, as in
`aep_flow_failing_runs`: `none` for runs that reported no code, and `other`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.metrics.flow_summaries import FlowSummary
from exporter.model import FlowKey


@dataclass(slots=True)
class FailingCode:
    """The flows that fail with an error code: each of them reported it since its last success."""

    flows: list[FlowSummary]

    @property
    def since(self) -> int:
        """Since when the first of them fails, in milliseconds since 1970."""
        return min(flow.streak.since or 0 for flow in self.flows)


def other_flows_failing(flows: Mapping[FlowKey, FlowSummary], but: FlowKey) -> dict[str, int]:
    """How many flows fail with each code, without one flow. A code with which none fails is not there."""
    found = failing_codes(flow for key, flow in flows.items() if key != but)
    return {code: len(each.flows) for code, each in found.items()}


def failing_codes(flows: Iterable[FlowSummary]) -> dict[str, FailingCode]:
    """The flows that fail by error code. A code with which none fails is not there."""
    found: dict[str, FailingCode] = {}
    for flow in flows:
        if flow.needs_repair:
            for code in flow.streak.runs_by_code:
                found.setdefault(code, FailingCode([])).flows.append(flow)
    return found
