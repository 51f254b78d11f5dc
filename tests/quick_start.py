"""Reads the quick start of the README, for tests that do what it says."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FAILED = ROOT / "tests" / "samples" / "quick-start" / "failed.json"

_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """A command of the README, and the output that is shown below it."""

    line: str
    output: str


def commands() -> list[Command]:
    """The commands of the README's section "Quick start", in order."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("\n## Quick start\n")[2].partition("\n## ")[0]
    found = [found for block in _BLOCK.findall(section) for found in _COMMAND.findall(block)]
    return [Command(line, output) for line, output in found]
