"""What this process knows of itself, for `/status`: values that the wiring of the program fills in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

HIDDEN: Final = "(set)"
"""Stands for a value that is not shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingInForce:
    """A setting and its value."""

    flag: str
    """With its two dashes."""
    value: str | None
    """As a person writes it. None for one that is not set. A secret is `(set)`."""
    is_default: bool
    is_private: bool = False
    """Whether it can name a file, an address or an id, which a summary must not show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationFacts:
    """An address that Adobe sent to have the webhook confirmed."""

    url: str
    received_at: int
    """Milliseconds since 1970."""
    is_signed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFacts:
    """What is known without asking the ledger."""

    version: str
    time: int
    """This host's clock: milliseconds since 1970."""
    started_at: int
    """By this host's clock: milliseconds since 1970."""
    ledger_location: str
    ledger_max_bytes: int | None
    retention_seconds: float
    flows_limit: int
    clock_corrections: int
    clock_notes: tuple[str, ...]
    webhook: str
    authentication: str
    refused: Mapping[str, int]
    not_understood: Mapping[str, int]
    validation: ValidationFacts | None
    external_url: str | None
    has_passwords: bool
    settings: tuple[SettingInForce, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFacts:
    """What the ledger says of itself."""

    entries: int
    is_exact: bool
    head: int
    bytes_on_disk: int
    bytes_used: int
    checkpoint_written_at: int | None
    """Of the newest checkpoint: milliseconds since 1970. None without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsFacts:
    """The state of the metrics at the ledger's head."""

    position: int
    checkpoint_position: int
    flows: int
    overflowed: int
    series: int
    skipped: int
    dropped: Mapping[str, int]
