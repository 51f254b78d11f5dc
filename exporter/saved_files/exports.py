"""Takes notifications out of an export of webhook.site, which receives the requests of any sender and shows them.

An export is a list of requests, or an object that holds one in `data`. Each request has its body as a string in
`content`. Its API's documentation describes the form (docs.webhook.site, "Requests").

Pure functions of bytes: no I/O, no clock.
"""

import json
from typing import Any, Final, TypeGuard

from exporter.adobe import lenient_json

_MEMBERS: Final = frozenset({"uuid", "method", "content"})
"""What each request of an export has, also of one that somebody has shortened, and no notification."""


def bodies(text: bytes) -> list[bytes] | None:
    """The bodies of the requests in an export, without those that are empty. None if the text is no export.

    What is in the list and is no request stands in it as it is.
    """
    if any(b'"%s"' % member.encode() not in text for member in _MEMBERS):
        return None
    decoded = lenient_json.decode(text)
    value = decoded.value if decoded else None
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    elements = value if isinstance(value, list) else [value]
    if not any(map(_is_request, elements)):
        return None
    contents = [each["content"] if _is_request(each) else json.dumps(each) for each in elements]
    return [content.encode(errors="replace") for content in contents if isinstance(content, str) and content.strip()]


def _is_request(element: Any) -> TypeGuard[dict[str, Any]]:  # noqa: ANN401 - any decoded JSON
    return isinstance(element, dict) and element.keys() >= _MEMBERS
