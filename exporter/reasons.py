"""What the reasons mean for which an event is not understood, or a request is refused, in words for people.

Logs, pages and commands show them.
"""

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

REFUSALS: Final[Mapping[str, str]] = {
    "token": "its path does not end in a token that is set: compare the address in the Developer Console",
    "signature_missing": "it is not signed as Adobe signs: it did not come from Adobe, or a proxy removed the headers",
    "signature_wrong": "its signature is of other bytes or by another key: a proxy may have changed the body",
    "key_path": "it names a key by a path that no key of Adobe's has",
    "client_id": "it is meant for another client: add the client id of the registration to --webhook.client-id",
    "client_id_missing": "it names no client id: see --webhook.allow-missing-client-id",
    "foreign_host": "it was sent to another host name than this machine's, as a web page or a tunnel would",
    "foreign_origin": "a page of another site sent it",
    "cross_site": "a browser says that a page of another site sent it",
    "body_too_large": "it is larger than --webhook.max-body",
    "too_many_events": "it holds more events than one transaction takes",
}
"""A sentence for each reason for which a request to the webhook is refused for good, without a full stop.

The keys are the reasons of errors in `exporter.errors`. Adobe does not send such a delivery again.
"""
