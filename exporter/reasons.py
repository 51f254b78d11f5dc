"""What each reason means for which an event is not understood, in words for people. Logs and commands show them."""

from collections.abc import Mapping
from typing import Final

from exporter.model import NotUnderstood

EXPLANATIONS: Final[Mapping[NotUnderstood, str]] = {
    NotUnderstood.OTHER_TOPIC: "it is about something else than runs of flows, such as an audit event",
    NotUnderstood.NO_FLOW_ID: "it is a run, and the id of its flow is missing",
    NotUnderstood.NO_RUN_ID: "it is a run, and its own id is missing",
    NotUnderstood.NO_STATUS: "it is a run, and its status is missing",
    NotUnderstood.UNKNOWN_SHAPE: "it is JSON, and neither a run nor an alert was found in it",
    NotUnderstood.UNREADABLE: "it is not a JSON object",
}
"""A sentence for each reason, without a full stop. `it` is the event."""
