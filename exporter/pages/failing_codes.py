"""How many flows are failing now with each error code, as lists of codes show it."""

from collections import Counter
from collections.abc import Mapping

from exporter.metrics.flow_summaries import CurrentFlows


def flows_failing(current: CurrentFlows) -> Mapping[str, int]:
    """The number of flows by error code. A code that no flow is failing with is not there.

    A flow is counted if a run has failed since its last success, once for each code that such runs reported. The codes
    are label values, as in `aep_flow_failing_runs`: `none` for runs that reported no code, and `other`.
    """
    return Counter(code for flow in current.flows.values() if flow.is_failing for code in flow.streak.runs_by_code)
