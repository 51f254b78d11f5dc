"""Reads the texts that explain error codes, states and alerts: the files `explanations_*.toml` in this package.

A file has named tables. A table is a list of groups. The keys of a group (error codes, for example) have the same
action and the same source, and each has a meaning of its own. The groups of a table become one mapping from keys to
texts. Several files may have groups of the same table.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Final

_PREFIX: Final = "explanations_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """What a key means and what to do. A text without a meaning raises ValueError."""

    meaning: str
    """One sentence."""
    action: str
    """One or two sentences. Empty for the statuses of runs, which need no action of their own."""
    source: str
    """A file in a public repository (`owner/name:path`), the URL of a page, or empty if there is no public document."""

    def __post_init__(self) -> None:
        if not self.meaning:
            raise ValueError("an explanation needs a meaning")


Table = Mapping[str, Text]
"""Texts by key, in the order of the file."""


@cache
def tables() -> Mapping[str, Table]:
    """All tables by name, as the package's files have them. They are read once."""
    files = (file for file in resources.files(__package__).iterdir() if file.name.startswith(_PREFIX))
    return read(file.read_text(encoding="utf-8") for file in sorted(files, key=lambda file: file.name))


def read(documents: Iterable[str]) -> Mapping[str, Table]:
    """The tables of these TOML documents, by name. A key that a table has twice raises ValueError."""
    found: dict[str, dict[str, Text]] = {}
    for document in documents:
        for name, groups in tomllib.loads(document).items():
            table = found.setdefault(name, {})
            for group in groups:
                for key, meaning in group["meanings"].items():
                    if key in table:
                        raise ValueError(f"{name} explains {key!r} twice")
                    table[key] = Text(meaning=meaning, action=group["action"], source=group["source"])
    return MappingProxyType({name: MappingProxyType(table) for name, table in found.items()})
