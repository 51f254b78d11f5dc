"""Which flows `/` is about: the parameters of its address, and the links that choose others."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from exporter.errors import BadParameterError
from exporter.metrics.flow_summaries import CurrentFlows, FlowSummary
from exporter.model import FlowKind
from exporter.pages.choices import Choice, list_address
from exporter.pages.links import OwnLinks

SANDBOXES: Final = 20
"""Sandboxes that the page offers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which flows the page is about. None is any."""

    sandbox: str | None = None
    """Empty for flows whose sandbox is not known."""
    kind: FlowKind | None = None

    def __contains__(self, flow: FlowSummary) -> bool:
        return (self.sandbox is None or flow.key.sandbox == self.sandbox) and self.kind in {None, flow.kind}

    def address(self, page: str, **more: str) -> str:
        """The address of a page with parameters that choose the same."""
        chosen = {"sandbox": self.sandbox, "kind": None if self.kind is None else self.kind.value}
        return list_address(page, {**more, **chosen})


def chosen_by(parameters: Mapping[str, str]) -> Chosen:
    """What the address chooses. Raises BadParameterError."""
    kind = parameters.get("kind") or None
    if kind is not None and kind not in set(FlowKind):
        raise BadParameterError(f"kind is one of {', '.join(FlowKind)}: choose one of these, or leave it out")
    return Chosen(sandbox=parameters.get("sandbox"), kind=None if kind is None else FlowKind(kind))


def sandbox_choices(current: CurrentFlows, chosen: Chosen, own: OwnLinks) -> tuple[Choice, ...]:
    """The sandboxes that can be chosen. Empty if there is only one.

    Of more than SANDBOXES those are offered in which most flows need repair.
    """
    flows = Counter(key.sandbox for key in current.flows)
    failing = Counter(flow.key.sandbox for flow in current.flows.values() if flow.needs_repair)
    known = sorted(flows, key=lambda sandbox: (-failing[sandbox], -flows[sandbox], sandbox))[:SANDBOXES]
    if chosen.sandbox is not None and chosen.sandbox not in known:
        known.append(chosen.sandbox)
    if len(known) < 2 and chosen.sandbox is None:
        return ()
    every = Choice(text="All sandboxes", address=_home(own, Chosen(kind=chosen.kind)), is_chosen=chosen.sandbox is None)
    return (
        every,
        *(
            Choice(
                text=sandbox or "sandbox not known",
                address=_home(own, Chosen(sandbox=sandbox, kind=chosen.kind)),
                is_chosen=sandbox == chosen.sandbox,
            )
            for sandbox in sorted(known)
        ),
    )


def kind_choices(current: CurrentFlows, chosen: Chosen, own: OwnLinks) -> tuple[Choice, ...]:
    """The kinds that can be chosen. Empty if there is only one."""
    known = {flow.kind for flow in current.flows.values()} | ({chosen.kind} - {None})
    if len(known) < 2 and chosen.kind is None:
        return ()
    kinds: list[FlowKind | None] = [None, *(kind for kind in FlowKind if kind in known)]
    return tuple(
        Choice(
            text="All kinds" if kind is None else "kind not known" if kind is FlowKind.UNKNOWN else kind.value,
            address=_home(own, Chosen(sandbox=chosen.sandbox, kind=kind)),
            is_chosen=kind is chosen.kind,
        )
        for kind in kinds
    )


def _home(own: OwnLinks, chosen: Chosen) -> str:
    return chosen.address(own.page("/"))
