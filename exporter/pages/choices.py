"""Links of lists that choose what a list has: their addresses, and which of them is chosen."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A link that changes a filter."""

    text: str
    address: str
    is_chosen: bool


def list_address(page: str, parameters: Mapping[str, str | None]) -> str:
    """The address of a page with parameters. A parameter that is None is left out."""
    given = {name: text for name, text in parameters.items() if text is not None}
    query = urlencode(given, quote_via=quote, safe="", errors="replace")
    return f"{page}?{query}" if query else page
