"""What commands print: results to standard output, complaints and progress to standard error."""

import os
import sys

from exporter.commands.base import PROGRAM


class OutputError(Exception):
    """The result cannot be written. The text is empty if the reader of a pipe has closed it."""


def print_result(text: str) -> None:
    """Write a result to standard output, with escapes for what its encoding lacks. Raises OutputError."""
    if sys.stdout is None:
        raise OutputError("there is no standard output to write to")
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stdout.flush()
    except OSError as error:
        # Otherwise the interpreter would try to write the rest again at exit, and print a traceback.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - closed at exit
        is_closed = isinstance(error, BrokenPipeError)
        raise OutputError("" if is_closed else f"the result can't be written ({error.strerror})") from error


def print_error(text: str) -> None:
    """Write each line to standard error, after the name of the program."""
    sys.stderr.write("".join(f"{PROGRAM}: {line}\n" for line in text.splitlines()))


def show_progress(text: str) -> None:
    """On a terminal, write this over the progress that was shown before."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


def end_progress() -> None:
    """On a terminal, end the line of progress, so that what follows begins a new line."""
    if sys.stderr.isatty():
        sys.stderr.write("\n")
