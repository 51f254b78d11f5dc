"""What several commands share: settings that they have in common, the types of values, and what a command is made of.

A command module imports from here and from `settings`. This module imports no command.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator

from exporter import parsers
from exporter.commands.settings import Rule, Settings, setting

PROGRAM: Final = "aep-flow-exporter"

_MIN_RETENTION: Final = timedelta(days=8)
"""Adobe's journal goes back 7 days (docs/adobe.md, "Journal"). What is read from it a second time must still be in the
ledger, so that it is not counted twice."""

Boolean = Annotated[bool, BeforeValidator(parsers.boolean)]
Count = Annotated[int, BeforeValidator(parsers.count)]
Duration = Annotated[timedelta, BeforeValidator(parsers.duration)]
FlowId = Annotated[str, BeforeValidator(parsers.flow_id)]
LedgerUrl = Annotated[str, BeforeValidator(parsers.ledger_url)]
ListenAddress = Annotated[parsers.Address, BeforeValidator(parsers.address)]


class CommandSettings(Settings):
    """The settings of every command."""

    log_level: Literal["debug", "info", "warn", "error"] = setting(
        "log.level", "info", "Least severe messages to log: debug, info, warn or error."
    )
    log_format: Literal["logfmt", "json"] = setting("log.format", "logfmt", "Format of the log: logfmt or json.")


class LedgerSettings(CommandSettings):
    """The settings of every command that opens the ledger."""

    ledger_url: LedgerUrl = setting(
        "ledger.url",
        "sqlite:///data/ledger.db",
        "Where notifications are stored. A path after three slashes is relative to the working directory, after four "
        "absolute.",
        is_secret=True,
    )


class RetentionSettings(LedgerSettings):
    """The settings of every command that must have the same retention as the exporter."""

    ledger_retention: Duration = setting(
        "ledger.retention",
        "90d",
        "Minimum time that facts stay in the ledger. replay skips runs that ended longer ago than that.",
    )

    def rules(self) -> list[Rule]:
        """What must hold between the settings."""
        return [*super().rules(), self._check_retention]

    def _check_retention(self) -> Iterator[str]:
        if self.ledger_retention < _MIN_RETENTION:
            yield "--ledger.retention must be at least 8d: Adobe's journal goes back 7 days"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command, as `main` finds it in its module under the name COMMAND."""

    summary: str
    """One line for the list of commands."""
    details: str = ""
    """What else `--help` states before the flags."""
    arguments: str = ""
    """What the usage line shows after the flags, such as `FILE...`. Empty if the command takes flags only."""
    settings: type[CommandSettings]
    run: Callable[[Any, list[str]], int]
    """Takes an instance of `settings` and the arguments besides flags, and returns the exit status.

    Raises SettingsError for what was asked for wrongly, and another ExporterError for what cannot be done.
    """


def milliseconds(duration: timedelta) -> int:
    """A duration as the rest of the program counts it."""
    return duration // timedelta(milliseconds=1)
