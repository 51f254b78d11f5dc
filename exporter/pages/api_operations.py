"""The addresses of the API: what each takes, what it answers, and what people read about it.

Endpoints and document are made of this table, so an address without a description can't exist.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from exporter.ledger.queries import MAX_LIMIT
from exporter.model import FlowKind
from exporter.pages import api_answers
from exporter.pages.flow_list_page import FLOW_PARAMETERS
from exporter.pages.page_request import PageRequest
from exporter.pages.parameters import OUTCOMES, RUN_PARAMETERS
from exporter.pages.status import StatusView, status_view
from exporter.pages.views import FlowView, Json

BASE: Final = "/api/v1"
"""What comes before the paths of operations."""
DOCUMENT_PATH: Final = "/openapi.json"
"""The path of the document, below BASE."""

_LIST_PARAMETERS: Final = ("limit", "cursor")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an address."""

    schema: Mapping[str, Json]
    description: str
    example: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An address."""

    path: str
    """Below BASE. `{name}` at its end stands for an id, which can hold encoded slashes."""
    name: str
    """Unique."""
    summary: str
    description: str
    parameters: tuple[str, ...]
    """Those in the query, by their names in PARAMETERS."""
    item: str = ""
    """What the id in the path is called in PARAMETERS. Empty for an address without one."""
    answer: Callable[[PageRequest], object]
    view: type
    """The dataclass that `answer` returns."""

    @property
    def base(self) -> str:
        """The whole path, but for an id at its end."""
        return BASE + self.path.partition("{")[0]


_TIME: Final = r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$"
_DURATION: Final = r"^(?=\d)(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$"
_WHEN: Final[Mapping[str, Json]] = {"type": "string", "anyOf": [{"pattern": _TIME}, {"pattern": _DURATION}]}
_NAME: Final[Mapping[str, Json]] = {"type": "string", "minLength": 1}

PARAMETERS: Final[Mapping[str, Parameter]] = MappingProxyType(
    {
        "flow_id": Parameter(_NAME, "Id of a flow, as in the label `flow_id`."),
        "run_id": Parameter(_NAME, "Id of a run."),
        "sandbox": Parameter({"type": "string"}, "Name of a sandbox. Empty where the sandbox is not known.", "prod"),
        "status": Parameter({"type": "string", "enum": [str(each) for each in OUTCOMES]}, "How the run ended."),
        "error_code": Parameter(_NAME, "A code that the run reported.", "CONNECTOR-2001-500"),
        "since": Parameter(_WHEN, "Ended at this time or later: RFC 3339, or a duration back from now.", "24h"),
        "until": Parameter(
            _WHEN, "Ended before this time: RFC 3339, or a duration back from now. It is after `since`.", "1h"
        ),
        "kind": Parameter({"type": "string", "enum": [str(each) for each in FlowKind]}, "What the flow does."),
        "failing": Parameter(
            {"type": "boolean"}, "Only flows that have failed since a success, or with `false` only others."
        ),
        "limit": Parameter(
            {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": api_answers.LIMIT},
            "Number of items, at most. A page has fewer if they are large: it is the last one if `next` is null.",
        ),
        "cursor": Parameter(
            _NAME, "Where the list goes on: `next` of the page before, with the same other parameters."
        ),
    }
)
"""What each parameter is, wherever it is taken."""

_CURSORS: Final = (
    "What is recorded after the first page was read does not show on later pages, so that no item comes twice."
)

OPERATIONS: Final = (
    Operation(
        path="/runs",
        name="listRuns",
        summary="Runs that have ended",
        description=(
            "Each run once, with the outcome that stands: latest end first, then the one that was recorded last. "
            f"{_CURSORS}"
        ),
        parameters=RUN_PARAMETERS,
        answer=api_answers.runs,
        view=api_answers.RunList,
    ),
    Operation(
        path="/runs/{run_id}",
        name="getRun",
        summary="One run",
        description="All that was recorded of a run, and the body of its outcome. Encode a slash in the id as `%2F`.",
        parameters=(),
        item="run_id",
        answer=api_answers.run,
        view=api_answers.RunDetailView,
    ),
    Operation(
        path="/flows",
        name="listFlows",
        summary="Flows",
        description=(
            "Each flow in each sandbox: those on `/metrics` by name, then, unless `kind` or `failing` is given, those "
            "that only the ledger has. These have no state: their `not_shown` says why."
        ),
        parameters=FLOW_PARAMETERS,
        answer=api_answers.flows,
        view=api_answers.FlowList,
    ),
    Operation(
        path="/flows/{flow_id}",
        name="getFlow",
        summary="One flow in one sandbox",
        description=(
            "`sandbox` can be left out if the flow is in one sandbox alone. Encode a slash in the id as `%2F`. Its "
            "runs are at `/runs?flow_id=`."
        ),
        parameters=("sandbox",),
        item="flow_id",
        answer=api_answers.flow,
        view=FlowView,
    ),
    Operation(
        path="/errors",
        name="listErrors",
        summary="Error codes",
        description=(
            "Each error code that a run in the ledger reported or that a flow on `/metrics` is failing with. There, "
            "`none` stands for failures without a code, and `other` for codes that have no series of their own."
        ),
        parameters=_LIST_PARAMETERS,
        answer=api_answers.errors,
        view=api_answers.ErrorCodeList,
    ),
    Operation(
        path="/notifications",
        name="listNotifications",
        summary="Notifications that were not understood or were refused",
        description=(
            f"Newest first. {_CURSORS} The first page has besides its `limit` items the notifications that the process "
            "that answers has refused: the last 100, at most 20 of a reason. They are in memory alone."
        ),
        parameters=_LIST_PARAMETERS,
        answer=api_answers.notifications,
        view=api_answers.NotificationList,
    ),
    Operation(
        path="/status",
        name="getStatus",
        summary="How the exporter is",
        description=(
            "Deliveries, ledger, metrics, clock, pages and the settings in force, without secrets. What can't be "
            "answered now is null, and `problem` says why, so there is an answer also while the ledger can't be read."
        ),
        parameters=(),
        answer=status_view,
        view=StatusView,
    ),
)
"""The addresses, in the order in which the document lists them."""
