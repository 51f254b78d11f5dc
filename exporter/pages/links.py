"""Addresses that pages link to: this program's own pages, and those of Experience Platform.

Whatever Adobe sent as an id or a sandbox is percent-encoded, and no part of it can change the host, leave its segment
of the path or begin another parameter. Where no page can have such an address there is none, so that no link leads
nowhere: both functions and methods return None then. This module does no I/O.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from exporter.model import FlowKind

PLATFORM: Final = "https://experience.adobe.com/#/"
"""The only host of Adobe's that is linked to. What follows `#` is read by its pages alone."""

_MAX_PLATFORM_ID: Final = 256
"""Characters of an id or a name that Adobe can have made. Its ids have 36."""
_MAX_ADDRESS: Final = 6_000
"""Characters of an address of ours, without what comes before the path. Proxies commonly accept 8 kB in all."""
_MAX_DEPTH: Final = 20
"""Slashes of a path, after its first."""
_DOT_SEGMENTS: Final = frozenset({".", ".."})
"""Segments that browsers and proxies take out of a path, however they are encoded."""
_MONITORED: Final = frozenset({FlowKind.DESTINATION, FlowKind.PROFILE, FlowKind.IDENTITY})
"""The kinds that have a view of their own in Experience Platform's monitoring (docs/adobe.md, "Flow Service")."""


def experience_platform(kind: FlowKind, *, owner: str, sandbox: str, flow_id: str = "", run_id: str = "") -> str | None:
    """The page of Experience Platform for a run, or for a flow if there is no run id.

    `owner` is the tenant's name or the organisation's id. Without an owner, a sandbox or an id that the page needs
    there is no page. Segments have one page for all of a sandbox. Queries, and flows of an unknown kind, have no page
    of their own: the address is that of the sandbox.
    """
    given = (owner, sandbox, flow_id, run_id)
    segments = [_segment(text) if len(text) <= _MAX_PLATFORM_ID else None for text in given]
    if not owner or not sandbox or None in segments:
        return None
    base = f"{PLATFORM}@{segments[0]}/sname:{segments[1]}/platform/"
    if kind is FlowKind.SEGMENT:
        return f"{base}segment/overview"
    if kind is not FlowKind.SOURCE and kind not in _MONITORED:
        return f"{base}home"
    if not flow_id:
        return None
    if kind is FlowKind.SOURCE:
        activity = f"{base}source/dataflows/{segments[2]}/activity"
        return f"{activity}/{segments[3]}" if run_id else activity
    ids = {"flowId": flow_id, **({"runId": run_id} if run_id else {})}
    query = urlencode({"pageType": kind.value, **ids, "us_redirect": "true"}, quote_via=quote, safe="")
    return f"{base}monitoring/dashboard?{query}"


@dataclass(frozen=True, slots=True)
class OwnLinks:
    """Addresses of this program's pages."""

    base: str
    """What comes before a path: `https://host/prefix/`, or `./` or `../` and so on. It ends with a slash."""

    def __post_init__(self) -> None:
        if not self.base.endswith("/"):
            raise ValueError("what comes before a path ends with a slash")

    def page(self, path: str) -> str:
        """The address of a page without parameters. `path` begins with a slash and is not encoded further."""
        return self.base + path.removeprefix("/")

    def flow(self, flow_id: str, sandbox: str) -> str | None:
        """The address of a flow's page."""
        encoded = _segment(flow_id)
        query = _segment(sandbox, is_in_path=False)
        return self._bounded(f"flows/{encoded}?sandbox={query}") if encoded and query is not None else None

    def run(self, run_id: str) -> str | None:
        """The address of a run's page."""
        encoded = _segment(run_id)
        return self._bounded(f"runs/{encoded}") if encoded else None

    def _bounded(self, path: str) -> str | None:
        return self.base + path if len(path) <= _MAX_ADDRESS else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLinks:
    """Where a run leads to. None where no address can name it, or where it is not known who owns the flow."""

    page: str | None
    """The run's page here."""
    flow: str | None
    """The page of its flow here."""
    experience_platform: str | None
    """The run in Experience Platform."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowLinks:
    """The same of a flow."""

    page: str | None
    experience_platform: str | None


@dataclass(frozen=True, slots=True)
class LinkMaker:
    """Makes the links of runs and flows."""

    own: OwnLinks | None
    """Without these there are no links to pages, as in a terminal."""
    tenant: str | None
    """The name in the addresses of Experience Platform. Without one it is the organisation's id."""

    def of_run(self, kind: FlowKind, *, org: str, sandbox: str, flow_id: str, run_id: str) -> RunLinks:
        """The links of a run. What is empty is not known."""
        of_flow = self.of_flow(kind, org=org, sandbox=sandbox, flow_id=flow_id)
        owner = self.tenant or org
        return RunLinks(
            page=self.own.run(run_id) if self.own is not None and run_id else None,
            flow=of_flow.page,
            experience_platform=experience_platform(kind, owner=owner, sandbox=sandbox, flow_id=flow_id, run_id=run_id),
        )

    def of_flow(self, kind: FlowKind, *, org: str, sandbox: str, flow_id: str) -> FlowLinks:
        """The links of a flow."""
        owner = self.tenant or org
        return FlowLinks(
            page=self.own.flow(flow_id, sandbox) if self.own is not None and flow_id else None,
            experience_platform=experience_platform(kind, owner=owner, sandbox=sandbox, flow_id=flow_id),
        )


def own_links(external_url: str | None, raw_path: str) -> OwnLinks:
    """The links of the page at a path, as it is in the request line (`/errors`, `/flows/a%2Fb`).

    With an external URL they are absolute. Without one they are relative to the page, so that they also work where a
    proxy shows the pages below a path of its own.
    """
    return OwnLinks(f"{external_url}/" if external_url else relative_root(raw_path))


def relative_root(raw_path: str) -> str:
    """The relative address of `/`, as seen from the page at a path.

    No page is deep. From a path of many slashes, which somebody made up, it is `/`, so that the answer stays small.
    """
    depth = raw_path.count("/") - 1
    return "/" if depth > _MAX_DEPTH else "../" * depth or "./"


def host_of_url(url: str) -> str:
    """The host of a URL as a Host header has it, without a port: `[::1]` with its brackets."""
    host = (urlsplit(url).hostname or "").removesuffix(".")
    return f"[{host}]" if ":" in host else host


@lru_cache(1024)
def _segment(text: str, *, is_in_path: bool = True) -> str | None:
    """A text as one segment of a path, or as a value of a query. None if no address can hold it."""
    if is_in_path and text in _DOT_SEGMENTS:
        return None
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        # Half a surrogate is in no ledger, so no page is about it.
        return None
