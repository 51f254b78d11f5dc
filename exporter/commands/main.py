"""The entry point of `aep-flow-exporter`: finds the command, reads its settings, prints help, and sets the exit status.

Exit status: 0 if the command succeeded, 1 if it could not do its work, 2 if it was called wrongly, 130 after Ctrl-C.
Errors go to standard error as text, never as a traceback.
"""

import importlib
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from exporter import __version__, logs
from exporter.commands import settings
from exporter.commands.base import PROGRAM, Command, CommandSettings
from exporter.commands.output import OutputError, print_error, print_result
from exporter.commands.serve_settings import ServeSettings
from exporter.errors import ExporterError, SettingsError

COMMANDS: Final = (
    "serve",
    "replay",
    "forget",
    "simulate",
    "runs",
    "flows",
)
"""Each is a module of this package that holds a COMMAND. It is imported by name when it is needed, so that `serve` does
not load the simulation."""

_IGNORED: Final = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
"""Variables that are taken out of the environment, because a library would act on them."""
_HELP: Final = {"-h", "--help"}


def find_command(name: str) -> Command:
    """The command of this name, which is one of COMMANDS."""
    found = importlib.import_module(f"exporter.commands.{name}").COMMAND
    assert isinstance(found, Command)  # noqa: S101 - for mypy, of a module that is imported by its name
    return found


def load(name: str, words: Sequence[str], environment: Mapping[str, str]) -> tuple[CommandSettings, list[str]]:
    """The settings of a command, and the words that are no flags. Raises SettingsError.

    The variables of `serve` may be set for any command, because they are set for a whole container.
    """
    command = find_command(name)
    return settings.load(
        command.settings,
        words,
        environment,
        shared_environment=ServeSettings,
        takes_words=bool(command.arguments),
    )


def settings_table(name: str) -> str:
    """The settings of a command as a Markdown table."""
    return settings.settings_table(find_command(name).settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name. Returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # prometheus_client would keep values in files there for several processes, from when it is imported. This program
    # is one process, and its counters come from the ledger.
    ignored = [name for name in _IGNORED if os.environ.pop(name, None) is not None]
    name = words.pop(0) if words else ""
    try:
        return _run(name, words, ignored)
    except SettingsError as error:
        print_error(f"{error}\nSee {PROGRAM} {name} --help")
        return 2
    except (ExporterError, OutputError) as error:
        print_error(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def _run(name: str, words: list[str], ignored: Sequence[str]) -> int:
    if name in {*_HELP, "help"}:
        print_result(_overview())
    elif name in {"version", "--version"}:
        print_result(f"{PROGRAM} {__version__} (Python {platform.python_version()}, {platform.platform()})")
    elif name not in COMMANDS:
        # A flag is not repeated, because its value may be a secret.
        problem = "flags come after a command" if name.startswith("-") else f"unknown command {name}"
        print_error(f"{problem if name else 'no command was given'}\nSee {PROGRAM} --help")
        return 2
    elif _HELP & set(words):
        print_result(_help(name))
    else:
        values, rest = load(name, words, os.environ)
        logs.configure(values.log_level, values.log_format)
        if ignored:
            logs.ignored_variables(ignored)
        return find_command(name).run(values, rest)
    return 0


def _overview() -> str:
    summaries = {name: find_command(name).summary for name in COMMANDS} | {"version": "print the version"}
    commands = "\n".join(f"  {name:<10}{summary}" for name, summary in summaries.items())
    return (
        f"{PROGRAM}: Adobe Experience Platform flow runs as Prometheus metrics\n\n"
        f"usage: {PROGRAM} COMMAND [flags]\n\ncommands:\n{commands}\n\n"
        f"{PROGRAM} COMMAND --help lists the flags of a command."
    )


def _help(name: str) -> str:
    command = find_command(name)
    usage = " ".join(filter(None, [f"usage: {PROGRAM} {name} [flags]", command.arguments]))
    paragraphs = [
        usage,
        command.summary,
        command.details,
        "flags, each with the environment variable that sets the same:",
    ]
    lines = ["\n\n".join(filter(None, paragraphs))]
    for each in settings.declared(command.settings):
        note = " (required)" if each.is_required else f" (default: {each.flag.default})" if each.flag.default else ""
        lines.append(f"  --{each.flag.name}\n      {each.help}{note}\n      ${each.flag.variable}")
    return "\n".join(lines)
