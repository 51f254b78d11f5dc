"""Fills in the error codes of failed runs in a state that an earlier version saved without them.

The rules are those of the fold: the codes of a run are label values within the limits of `code_labels`, and of several
outcomes of one run the newest applies. A failure that is not found is counted under `other`, because it may have had a
code. That is so if its entry was pruned or can't be read, and for the failures kept as a number of flows that are set
aside.

Nothing here reads the ledger.
"""

from collections.abc import Collection, Sequence

from exporter.metrics.code_labels import ErrorCodes
from exporter.metrics.fact_times import is_too_old
from exporter.metrics.flow_state import FlowState
from exporter.metrics.fold_state import FoldState
from exporter.metrics.run_history import Outcome
from exporter.model import OTHER, FlowKey, FlowRun, RecordedFact, Status


class MissingCodes:
    """The failures of a state whose error codes are missing."""

    def __init__(self, state: FoldState) -> None:
        """Find them in a state that is not restored yet. `fill` changes the state."""
        self._error_codes = ErrorCodes()
        for _, flow in state.flows.flows:
            self._error_codes.add(flow.error_codes)
        silent = [each.flow for each in state.set_aside]
        self._flow_at: dict[int, FlowState] = {
            outcome.position: flow
            for flow in (*(flow for _, flow in state.flows.flows), *silent)
            for outcome in flow.run_history.outcomes
            if outcome.status is Status.FAILED and outcome.codes is None
        }
        self._flows: dict[FlowKey, FlowState] = {
            key: flow for key, flow in state.flows.flows if flow.run_history.lacks_older_codes
        }
        self._codes = dict.fromkeys(self._flow_at, OTHER)
        self._older: dict[FlowKey, dict[str, Outcome]] = {key: {} for key in self._flows}

    @property
    def positions(self) -> Sequence[int]:
        """Where the failures are that are kept one by one, rising."""
        return sorted(self._flow_at)

    @property
    def flows(self) -> Collection[FlowKey]:
        """The flows with failures that are kept as a number. Any of their runs can be one of them."""
        return self._flows.keys()

    def add_kept(self, position: int, recorded: RecordedFact | None) -> None:
        """Note the fact at one of the positions. None if it can't be read."""
        outcome = self._outcome(recorded, self._flow_at[position])
        if outcome is not None and outcome.codes is not None:
            self._codes[position] = outcome.codes

    def add_older(self, recorded: RecordedFact | None) -> None:
        """Note a fact of one of the flows, in the order of the ledger. None if it can't be read."""
        if recorded is None or not isinstance(recorded.fact, FlowRun):
            return
        key = FlowKey(recorded.fact.flow_id, recorded.fact.sandbox)
        outcome = self._outcome(recorded, self._flows[key]) if key in self._flows else None
        if outcome is not None:
            found = self._older[key]
            found[outcome.run_id] = outcome.over(found.get(outcome.run_id))

    def fill(self) -> None:
        """Write what was found into the state."""
        for flow in {id(flow): flow for flow in self._flow_at.values()}.values():
            flow.run_history.set_codes(self._codes)
        for key, flow in self._flows.items():
            flow.run_history.set_older_codes(self._older[key].values())

    def _outcome(self, recorded: RecordedFact | None, flow: FlowState) -> Outcome | None:
        """The outcome of a run as the fold keeps it. None if the fact is another one."""
        if recorded is None or not isinstance(recorded.fact, FlowRun) or is_too_old(recorded):
            return None
        run = recorded.fact
        if not run.status.is_outcome:
            return None
        codes = self._error_codes.labels(run.error_codes, flow.error_codes) if run.status is Status.FAILED else ()
        ended_at = recorded.ended_at if recorded.ended_at is not None else recorded.received_at
        return Outcome.of(run, recorded.position, ended_at, codes)
