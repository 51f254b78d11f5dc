"""What a page or an answer of the API is made from: the request, and the sources of its values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from exporter.ledger.queries import Queries, Row
from exporter.metrics.flow_summaries import AskFlows
from exporter.model import DetailsReader, Fact, NotUnderstood, Reader, RunDetails, Unreadable
from exporter.pages.links import LinkMaker, OwnLinks
from exporter.pages.notices import ProcessState
from exporter.pages.platform import Platform
from exporter.pages.process_facts import LedgerFacts, MetricsFacts, ProcessFacts
from exporter.refused import RefusedDelivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is known of an entry besides its row."""

    find_reason: Callable[[Row], NotUnderstood | None]
    """Reads an entry's body. None if this version understands it."""
    is_quick: Callable[[bytes], bool]
    """Whether a body is read within some milliseconds."""
    event_code_label: Callable[[str | None], str]
    """One of few words for an event code. It is used where pages must not show what others wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where this program serves what is no page."""

    telemetry_path: str
    webhook: str
    """The path of the webhook, and its listener if it has one of its own. It has no token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What pages are made from besides the ledger's answers."""

    now: Callable[[], int]
    """The ledger's clock, in milliseconds since 1970. Blocking. Raises LedgerUnavailableError."""
    flows: AskFlows
    """The flows on /metrics. Blocking. Raises LedgerUnavailableError, NotCaughtUpError, DefectError and
    QueryTimeoutError."""
    read: Reader
    """Reads the stored body of an event."""
    reading: Reading
    platform: Platform
    process: Callable[[], ProcessState]
    """What this process knows of its own state now."""
    addresses: Addresses
    is_full: Callable[[], bool]
    """Whether messages and bodies may be shown now."""
    facts: Callable[[], ProcessFacts]
    """What this process knows of itself. It asks no ledger."""
    ledger: Callable[[], LedgerFacts]
    """What the ledger says of itself. Blocking. Raises LedgerUnavailableError."""
    metrics: Callable[[], MetricsFacts]
    """The state of the metrics. Blocking. Raises what `flows` raises."""
    refused: Callable[[], Sequence[RefusedDelivery]]
    """The last requests to the webhook that this process refused, the newest first."""
    give_way: Callable[[], None] = lambda: None
    """Waits for a moment while deliveries are being taken."""
    read_details: DetailsReader = lambda _body, _event_code: RunDetails()
    """Reads what a stored body of a run holds for people."""
    is_readable: Callable[[bytes], bool] = lambda _body: True
    """Whether reading a body takes no longer than its size explains. If not, it is damaged and can take seconds."""
    stored_id: Callable[[str], str] = str
    """The id that the ledger has for an id as Adobe shows it: a very long one is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """One request for a page. Functions that make pages are called on a thread of the pages, so they may block."""

    queries: Queries
    sources: Sources
    item_id: str
    """The id of the run or of the flow that the path names. Empty for other pages."""
    parameters: Mapping[str, str]
    """The parameters of the address, each with the first value that it has there."""
    own: OwnLinks
    """The addresses of our pages, as this page links to them."""
    is_full: bool
    """Whether messages and bodies may be shown."""

    @property
    def links(self) -> LinkMaker:
        """Makes the links of runs and flows."""
        return LinkMaker(self.own, self.sources.platform.tenant)

    def read(self, body: bytes, received_at: int, event_code: str) -> Fact:
        """Read the stored body of an event, but for a damaged one that can take seconds: that is unreadable.

        What the ledger's columns hold is shown then. A list has hundreds of bodies, although no more than some MiB.
        """
        self.sources.give_way()
        is_readable = self.sources.is_readable(body)
        return self.sources.read(body, received_at, event_code) if is_readable else Unreadable()

    def details(self, row: Row) -> RunDetails:
        """What the body of a run holds for people. Empty for a body that takes long to read, or that has none."""
        if not self.sources.is_readable(row.body):
            return RunDetails()
        try:
            return self.sources.read_details(row.body, row.event_code or "")
        except Exception:  # noqa: BLE001 - a defect of the reader must not hide what the ledger's columns hold
            return RunDetails()


def stored_ids(parameters: Mapping[str, str], stored_id: Callable[[str], str]) -> dict[str, str]:
    """The parameters, with the id that the ledger has for an id as Adobe shows it."""
    return {name: stored_id(text) if name == "flow_id" else text for name, text in parameters.items()}


MakePage = Callable[[PageRequest], Mapping[str, object]]
"""Makes the values of a page's template. Blocking.

Raises what the queries raise, BadParameterError, and NotInLedgerError if there is nothing to show.
"""
