"""What `runs` and `flows` have in common: settings, and the JSON of a list."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator

from exporter import parsers
from exporter.commands.base import LedgerSettings
from exporter.commands.output import print_result
from exporter.commands.settings import setting
from exporter.commands.tables import Column, Row, table
from exporter.ledger.queries import MAX_LIMIT
from exporter.pages.views import Moment, View, as_json, rfc3339

Limit = Annotated[int, BeforeValidator(parsers.page_limit)]
StoredText = Annotated[str, BeforeValidator(parsers.stored_text)]

When = Annotated[timedelta | datetime, BeforeValidator(parsers.moment)]
"""A time, or a duration back from now."""


class ListSettings(LedgerSettings):
    """The settings of both. The ledger is read and never changed."""

    sandbox: StoredText | None = setting("sandbox", None, "Only what is in this sandbox.", example="NAME")
    limit: Limit = setting("limit", "50", f"Number of items to list, at most {MAX_LIMIT}.")
    output: Literal["table", "json"] = setting("output", "table", "Form of the output: table or json.")


def print_list(
    output: str, views: Sequence[View], cursor: str | None, columns: Sequence[Column], rows: Sequence[Row]
) -> None:
    """Print a list as JSON, or its rows as a table. `cursor` is that of the next page. An empty table is not printed.

    In the JSON all characters but those of ASCII are escaped, so that no text can do anything to a terminal.
    """
    if output == "json":
        text = json.dumps({"items": [as_json(view) for view in views], "next": cursor}, indent=2)
        # The only control character that JSON leaves as it is.
        print_result(text.replace("\x7f", "\\u007f"))
    elif rows:
        print_result(table(columns, rows))


def minute(moment: Moment | None) -> str:
    """A time in a table: UTC, to the minute. A dash if it is not known."""
    text = None if moment is None else rfc3339(moment)
    return "-" if text is None else f"{text[:16]}Z"
