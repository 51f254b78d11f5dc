"""What each reason means for which an event is not understood, as one sentence for people.

The log of `serve` and the output of `replay` show these sentences beside the words of `NotUnderstood`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from exporter.model import NotUnderstood

EXPLANATIONS: Final[Mapping[NotUnderstood, str]] = MappingProxyType(
    {
        NotUnderstood.OTHER_TOPIC: "it is an event of another topic, and not about a flow's run",
        NotUnderstood.NO_FLOW_ID: "it is a run without the id of its flow",
        NotUnderstood.NO_RUN_ID: "it is a run without its own id",
        NotUnderstood.NO_STATUS: "it is a run without a status",
        NotUnderstood.UNKNOWN_SHAPE: "it is a JSON object in which neither a run nor an alert can be found",
        NotUnderstood.UNREADABLE: "it is not a JSON object",
    }
)
"""A sentence for each reason, without its capital letter and its full stop."""
