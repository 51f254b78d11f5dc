"""Finds the page of Experience Platform that belongs to a flow or a run.

Alerts, dashboards and pages link to `/flows/{id}/platform` and `/runs/{id}/platform`, because what the address looks
like depends on the kind of the flow, which only the ledger has. Both answer with a redirect.
"""

from dataclasses import dataclass

from exporter.ledger.queries import Queries, Row
from exporter.model import EntryKind, Flow, FlowAlert, FlowKind, FlowRun, Reader
from exporter.pages.links import PLATFORM, experience_platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What the addresses are made from besides the ledger's answers. The methods block, and raise what queries raise.

    They return None if the ledger does not have the flow or the run, or if Experience Platform has no page for it.
    """

    read: Reader
    """Reads the stored body of an event."""
    tenant: str | None
    """The name in the addresses. Without one it is the organisation's id."""

    def page_of_run(self, queries: Queries, run_id: str) -> str | None:
        """The page of a run."""
        found = queries.run(run_id)
        if found is None:
            return None
        rows = [row for row in (found.standing, *found.facts) if row is not None and row.kind == EntryKind.RUN]
        return self._page(rows[0], run_id) if rows else None

    def page_of_flow(self, queries: Queries, flow_id: str, sandbox: str | None) -> str | None:
        """The page of a flow. Without a sandbox the flow must be in one sandbox only."""
        if sandbox is None:
            sandboxes = queries.sandboxes(flow_id)
            if len(sandboxes) != 1:
                return None
            sandbox = sandboxes[0]
        found = queries.flow(flow_id, sandbox)
        return self._page(found.newest_description or found.newest) if found is not None else None

    def _page(self, row: Row, run_id: str = "") -> str:
        """The page of what a row is about, or else the first page, so that no link of an alert leads nowhere."""
        return self._own_page(row, run_id) or PLATFORM

    def _own_page(self, row: Row, run_id: str) -> str | None:
        fact = row.fact(self.read)
        if isinstance(fact, FlowAlert):
            # Nothing else is known of the flow. Its alerts are seen in its sandbox.
            return experience_platform(FlowKind.UNKNOWN, owner=self.tenant or fact.org, sandbox=fact.sandbox)
        if not isinstance(fact, FlowRun | Flow):
            return None
        return experience_platform(
            fact.kind, owner=self.tenant or fact.org, sandbox=fact.sandbox, flow_id=fact.flow_id, run_id=run_id
        )
