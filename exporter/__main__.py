"""The entry point: `aep-flow-exporter`, and `python -m exporter`."""

import sys

from exporter.ignored_signals import ignore


def main() -> int:
    """Run the command that the arguments name. Returns the exit status."""
    if sys.argv[1:2] == ["serve"]:
        # Loading the rest of the program takes long enough for a signal to arrive.
        ignore()
    from exporter.commands.main import main as run  # noqa: PLC0415 - as above

    return run()


if __name__ == "__main__":
    raise SystemExit(main())
