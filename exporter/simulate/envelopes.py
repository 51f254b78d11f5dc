"""A delivery's headers and body: what Adobe wraps around its notices.

The rule: each event says whom it is for, under the new and the deprecated name of the field, as Adobe sends them
(adobe.md A3); a single event without a wrapper has its id and code in the headers (A2). Wrappers: `{event_id, event}`,
CloudEvents (whose own `id` is not the event's), messages of the older failures, and arrays of up to 20 (A5).

Sans-I/O.
"""

import json
from typing import Any, Final

from exporter.model import Status
from exporter.simulate.clock import Clock
from exporter.simulate.deliveries import Delivery, Item
from exporter.simulate.organisation import ORGANISATION, Style, Wrapper, identifier
from exporter.simulate.payload_fields import Node, event_code, iso
from exporter.simulate.payloads import told
from exporter.simulate.timeline import RunTold

_JSON: Final = "application/json; charset=utf-8"
_CLOUD_EVENTS: Final = "application/cloudevents+json; charset=UTF-8"


def body(delivery: Delivery, clock: Clock, client_id: str | None) -> bytes:
    """What is posted."""
    wrapped = [_wrapped(item, clock, client_id) for item in delivery.items]
    document: Any = wrapped if delivery.is_batch or _is_message(delivery.items[0]) else wrapped[0]
    return json.dumps(document, ensure_ascii=False).encode()


def headers(delivery: Delivery, attempt: int) -> dict[str, str]:
    """What goes with it, but for signatures; `attempt` counts from 0 and makes the ids of each differ."""
    first = delivery.items[0]
    is_cloud_event = _wrapper(first) is Wrapper.CLOUD_EVENT
    found = {
        "content-type": _CLOUD_EVENTS if is_cloud_event else _JSON,
        "user-agent": "Adobe/1.0",
        # Adobe's own, without the two that only some servers know.
        "accept-encoding": "identity",
        "x-adobe-provider": f"simulated_{ORGANISATION}",
        "x-adobe-delivery-id": identifier(first.event_id, first.is_copy, attempt, "delivery"),
        "x-request-id": identifier(first.event_id, first.is_copy, attempt, "request"),
    }
    if not delivery.is_batch:
        found |= {"x-adobe-event-id": first.event_id, "x-adobe-event-code": event_code(first.notice)}
    attempts = delivery.attempts_before + attempt
    if attempts:
        found["x-adobe-retry-count"] = str(attempts)
    return found


def _wrapper(item: Item) -> Wrapper:
    """The older notifications have a wrapper of their own."""
    part = item.notice.flow.part
    return part.wrapper if part.style is Style.EVENT else Wrapper.ADOBE_IO


def _is_message(item: Item) -> bool:
    """Whether it is told as one of FlowService's messages: runs that failed, in the older styles."""
    notice = item.notice
    return (
        isinstance(notice, RunTold)
        and notice.status is Status.FAILED
        and notice.flow.part.style in {Style.XDM, Style.MESSAGES}
    )


def _wrapped(item: Item, clock: Clock, client_id: str | None) -> Node:
    notice = item.notice
    inner = told(notice, clock)
    if _is_message(item):
        return _message(item, inner, clock) | _recipient(client_id)
    match _wrapper(item):
        case Wrapper.ADOBE_IO:
            return {"event_id": item.event_id, "event": inner} | _recipient(client_id)
        case Wrapper.CLOUD_EVENT:
            return {
                "specversion": "1.0",
                "type": event_code(notice),
                "source": f"urn:uuid:{identifier(ORGANISATION, 'source')}",
                "id": identifier(item.event_id, "cloud event"),
                "time": iso(clock.real(notice.at)),
                "datacontenttype": "application/json",
                "data": inner,
                "eventid": item.event_id,
                "event_id": item.event_id,
            } | _recipient(client_id)
        case Wrapper.BARE:
            return inner | _recipient(client_id)


def _message(item: Item, inner: Node, clock: Clock) -> Node:
    """A run that failed, as FlowService's message; the later style puts it into `messages`."""
    notice = item.notice
    is_xdm = notice.flow.part.style is Style.XDM
    at = clock.real(notice.at)
    message: Node = {
        "msgType": "eventNotification",
        "version": "1.0",
        "timestamp": str(at) if is_xdm else at,
        "imsOrgId": ORGANISATION,
        "schema": {"name": "run-notification", "version": "1.0"},
        "provider": "FlowService",
        "_eventNotificationMeta": {
            "category": "flowRun" if is_xdm else "Platform Notifications",
            "type": event_code(notice),
        },
        "value": inner,
    }
    return message if is_xdm else {"messages": [message]}


def _recipient(client_id: str | None) -> Node:
    return {"recipientclientid": client_id, "recipient_client_id": client_id} if client_id else {}
