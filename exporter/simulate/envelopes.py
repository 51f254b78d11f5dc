"""Makes the headers and the body of a delivery, with Adobe's envelopes around the notifications.

The rule: each event names its recipient, under the new and the deprecated name of the field, as Adobe does
(docs/adobe.md, "Signatures"). A single event without an envelope has its id and code in the headers ("Headers").
Envelopes are `{event_id, event}`, CloudEvents (whose own `id` is not the event's), the messages of older failures, and
arrays of up to 20 events ("Bodies").

No I/O.
"""

import json
from typing import Any, Final

from exporter.model import Status
from exporter.simulate.clock import Clock
from exporter.simulate.deliveries import Item, SimulatedDelivery
from exporter.simulate.organisation import ORGANISATION, Envelope, Style, identifier
from exporter.simulate.payload_fields import Node, event_code, iso
from exporter.simulate.payloads import payload
from exporter.simulate.timeline import RunNotification

_JSON: Final = "application/json; charset=utf-8"
_CLOUD_EVENTS: Final = "application/cloudevents+json; charset=UTF-8"


def body(delivery: SimulatedDelivery, clock: Clock, client_id: str | None) -> bytes:
    """The body of a POST."""
    wrapped = [_wrapped(item, clock, client_id) for item in delivery.items]
    document: Any = wrapped if delivery.is_batch or _is_message(delivery.items[0]) else wrapped[0]
    return json.dumps(document, ensure_ascii=False).encode()


def headers(delivery: SimulatedDelivery, attempt: int) -> dict[str, str]:
    """The headers of a POST, without signatures. `attempt` counts from 0, and each attempt has other ids."""
    first = delivery.items[0]
    is_cloud_event = _envelope(first) is Envelope.CLOUD_EVENT
    found = {
        "content-type": _CLOUD_EVENTS if is_cloud_event else _JSON,
        "user-agent": "Adobe/1.0",
        # The headers that Adobe sends, without two that only some servers know.
        "accept-encoding": "identity",
        "x-adobe-provider": f"simulated_{ORGANISATION}",
        "x-adobe-delivery-id": identifier(first.event_id, first.is_copy, attempt, "delivery"),
        "x-request-id": identifier(first.event_id, first.is_copy, attempt, "request"),
    }
    if not delivery.is_batch:
        found |= {"x-adobe-event-id": first.event_id, "x-adobe-event-code": event_code(first.notification)}
    attempts = delivery.attempts_before + attempt
    if attempts:
        found["x-adobe-retry-count"] = str(attempts)
    return found


def _envelope(item: Item) -> Envelope:
    """The envelope of an event. The older notifications have always the same."""
    template = item.notification.flow.template
    return template.envelope if template.style is Style.EVENT else Envelope.ADOBE_IO


def _is_message(item: Item) -> bool:
    """Whether the event is sent as a message of FlowService: a failed run in one of the older styles."""
    notification = item.notification
    return (
        isinstance(notification, RunNotification)
        and notification.status is Status.FAILED
        and notification.flow.template.style in {Style.XDM, Style.MESSAGES}
    )


def _wrapped(item: Item, clock: Clock, client_id: str | None) -> Node:
    notification = item.notification
    inner = payload(notification, clock)
    if _is_message(item):
        return _message(item, inner, clock) | _recipient(client_id)
    match _envelope(item):
        case Envelope.ADOBE_IO:
            return {"event_id": item.event_id, "event": inner} | _recipient(client_id)
        case Envelope.CLOUD_EVENT:
            return {
                "specversion": "1.0",
                "type": event_code(notification),
                "source": f"urn:uuid:{identifier(ORGANISATION, 'source')}",
                "id": identifier(item.event_id, "cloud event"),
                "time": iso(clock.real(notification.at)),
                "datacontenttype": "application/json",
                "data": inner,
                "eventid": item.event_id,
                "event_id": item.event_id,
            } | _recipient(client_id)
        case Envelope.BARE:
            return inner | _recipient(client_id)


def _message(item: Item, inner: Node, clock: Clock) -> Node:
    """A failed run as a message of FlowService. The later of the older styles puts it into `messages`."""
    notification = item.notification
    is_xdm = notification.flow.template.style is Style.XDM
    at = clock.real(notification.at)
    message: Node = {
        "msgType": "eventNotification",
        "version": "1.0",
        "timestamp": str(at) if is_xdm else at,
        "imsOrgId": ORGANISATION,
        "schema": {"name": "run-notification", "version": "1.0"},
        "provider": "FlowService",
        "_eventNotificationMeta": {
            "category": "flowRun" if is_xdm else "Platform Notifications",
            "type": event_code(notification),
        },
        "value": inner,
    }
    return message if is_xdm else {"messages": [message]}


def _recipient(client_id: str | None) -> Node:
    return {"recipientclientid": client_id, "recipient_client_id": client_id} if client_id else {}
