"""The command `aep-flow-exporter`: which commands there are, what they print, how they end.

Exit status: 0 done, 1 it could not be done, 2 it was asked for wrongly. What is wrong goes to standard error, in words.
"""

import asyncio
import errno
import os
import platform
import stat
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO, Final

import uvloop

from exporter import __version__, logs, settings
from exporter.errors import ExporterError, SettingsError
from exporter.model import Result
from exporter.service import build, forget, replaying, simulate
from exporter.settings import FORGET, REPLAY, SERVE, SIMULATE, Settings

PROGRAM: Final = "aep-flow-exporter"

_COMMANDS: Final = {
    SERVE: "receive notifications and serve metrics",
    REPLAY: "record notifications from files: FILE... or - for standard input",
    FORGET: "take a flow that was deleted on purpose off /metrics; its history stays in the ledger",
    SIMULATE: "send a made-up organisation's notifications to a webhook, as Adobe does",
    "version": "print the version",
}
_HELP: Final = {"-h", "--help", "help"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = words.pop(0) if words else ""
    try:
        if command in _HELP:
            _say(_overview())
        elif command in {"version", "--version"}:
            _say(f"{PROGRAM} {__version__} (Python {platform.python_version()}, {platform.platform()})")
        elif command not in _COMMANDS:
            # What looks like a flag is not repeated: its value may be a secret.
            named = "flags come after a command" if command.startswith("-") else f"unknown command {command}"
            _complain(named if command else "no command was given")
            _complain(f"See {PROGRAM} --help")
            return 2
        elif _HELP & {word for word in words if word.startswith("-")}:
            _say(_help(command))
        else:
            return _run(command, *settings.load(command, words, os.environ))
    except SettingsError as error:
        _complain(f"{error}\nSee {PROGRAM} {command} --help")
        return 2
    except ExporterError as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except _OutputError as error:
        if str(error):
            _complain(str(error))
        return 1
    return 0


def _run(command: str, values: Settings, words: list[str]) -> int:
    logs.configure(values.log_level, values.log_format)
    if command != REPLAY and words:
        raise SettingsError(f"{command} takes flags only; words that are none: {len(words)}")
    if command == FORGET:
        return _forget(values)
    if command == SIMULATE:
        return _simulate(values)
    if command == SERVE:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(values))
        return 0
    if not words:
        raise SettingsError("replay needs a file, or - for standard input")
    return _replay(values, words)


async def _serve(values: Settings) -> None:
    await build(values).run()


def _forget(values: Settings) -> int:
    if values.flow is None:
        raise SettingsError("forget needs --flow=ID: the flow_id that its series have")
    sandboxes = forget(values, values.flow)
    _say(f"forgotten: {values.flow} in {', '.join(sandbox or '(no sandbox)' for sandbox in sandboxes)}")
    return 0


def _simulate(values: Settings) -> int:
    if values.url is None:
        raise SettingsError("simulate needs --url=URL: the webhook's address, such as http://127.0.0.1:10464/webhook")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        account = runner.run(simulate(values, values.url, _show_progress))
    _end_progress()
    _say("\n".join(f"{word:<24}{count:>10}" for word, count in account.rows()))
    return 0 if account.is_complete else 1


def _replay(values: Settings, names: list[str]) -> int:
    missing = [name for name in names if name != "-" and not _is_there(name)]
    if missing:
        raise SettingsError("\n".join(f"{name}: there is no such file" for name in missing))
    total: Counter[Result] = Counter()
    is_complete = True
    with replaying(values) as record_file:
        for name in names:
            try:
                with _opened(name) as file:
                    total += record_file(file, _progress(name))
                _end_progress()
            except OSError as error:
                is_complete = False
                _complain(f"{name}: {error.strerror or 'it can not be read'}")
    _say("\n".join(f"{result.value:<12}{total[result]:>10}" for result in Result))
    return 0 if is_complete else 1


def _is_there(name: str) -> bool:
    """Whether there is a file, or what can be read like one (a pipe); not whether this user may read it."""
    try:
        return not stat.S_ISDIR(Path(name).stat().st_mode)
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False


def _opened(name: str) -> AbstractContextManager[BinaryIO]:
    if name != "-":
        return Path(name).open("rb")
    if sys.stdin is None:
        raise OSError(errno.EBADF, "there is no standard input")
    return nullcontext(sys.stdin.buffer)


def _progress(name: str) -> Callable[[Mapping[Result, int]], None]:
    return lambda counts: _show_progress(
        f"{name}: {', '.join(f'{count} {result.value}' for result, count in counts.items())}"
    )


def _show_progress(text: str) -> None:
    """Write it over what was there before, where there is a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


def _end_progress() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\n")


def _overview() -> str:
    commands = "\n".join(f"  {command:<10}{text}" for command, text in _COMMANDS.items())
    return (
        f"{PROGRAM}: Adobe Experience Platform flow runs as Prometheus metrics\n\n"
        f"usage: {PROGRAM} COMMAND [flags]\n\ncommands:\n{commands}\n\n"
        f"{PROGRAM} COMMAND --help lists a command's flags."
    )


def _help(command: str) -> str:
    if command not in {SERVE, REPLAY, FORGET, SIMULATE}:
        return _overview()
    usage = f"usage: {PROGRAM} {command} [flags]{' FILE...' if command == REPLAY else ''}"
    lines = [f"{usage}\n\n{_COMMANDS[command]}\n\nflags, each with the environment variable that does the same:"]
    for each in settings.declared():
        if command in each.flag.commands:
            default = f" (default: {each.flag.shown})" if each.flag.shown else ""
            lines.append(f"  --{each.flag.name}\n      {each.info.description}{default}\n      ${each.flag.variable}")
    return "\n".join(lines)


class _OutputError(Exception):
    """What was to be said can't be written; without a text where there is nobody to tell."""


def _say(text: str) -> None:
    try:
        if sys.stdout is None:
            raise _OutputError("there is no standard output to write to")
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError as error:
        # The interpreter would try again at exit.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - closed at exit
        has_left = isinstance(error, BrokenPipeError)
        raise _OutputError("" if has_left else f"the result can't be written ({error.strerror})") from error


def _complain(text: str) -> None:
    sys.stderr.write("".join(f"{PROGRAM}: {line}\n" for line in text.splitlines()))
