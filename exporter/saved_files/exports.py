"""Takes notifications out of an export of webhook.site, which receives the requests of any sender and shows them.

An export is a list of requests, or an object that holds one in `data`. Each request has its body as a string in
`content`. Its API's documentation describes the form (docs.webhook.site, "Requests").

Pure functions of bytes: no I/O, no clock.
"""

from typing import Final

from exporter.adobe import lenient_json

_MEMBERS: Final = frozenset({"uuid", "token_id", "method", "content"})
"""What each request of an export has, and no notification."""


def bodies(text: bytes) -> list[bytes] | None:
    """The bodies of the requests in an export, without those that are empty. None if the text is no export."""
    if b'"token_id"' not in text:
        return None
    decoded = lenient_json.decode(text)
    value = decoded.value if decoded else None
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    requests: list[dict[str, object]] = []
    for each in value if isinstance(value, list) else [value]:
        if not isinstance(each, dict) or not each.keys() >= _MEMBERS:
            return None
        requests.append(each)
    contents = [each["content"] for each in requests]
    return [content.encode(errors="replace") for content in contents if isinstance(content, str) and content.strip()]
