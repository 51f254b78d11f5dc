"""The README's quick start is done command by command, up to the first alert and its end."""

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.quick_start import FAILED, ROOT, Command, commands
from tests.system.alerting import RULES, faster
from tests.system.processes import Exporter, Process, free_port, program, until

PORTS = ("10464", "9090", "9093")
"""The ports of the exporter, Prometheus and Alertmanager in the README and in the example configurations."""
SERVERS = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}
"""The programs that the README starts, and their names on Debian."""
MADE_UP = ".venv/bin/aep-flow-exporter simulate"


def steps() -> list[Command]:
    """The commands after `make run` and before those about the simulation, which tests/system/test_simulate.py runs."""
    first, *rest = commands()
    assert first == Command("make run", "")
    names = [command.line for command in rest]
    simulation = next(index for index, line in enumerate(names) if line.startswith(MADE_UP))
    assert rest[simulation - 1].line.startswith("make run FLAGS=")
    return rest[: simulation - 1]


class Newcomer:
    """Somebody who does the quick start in a folder, on ports that are free."""

    def __init__(self, folder: Path, exporter: Exporter, servers: contextlib.ExitStack) -> None:
        self._folder = folder
        self._servers = servers
        self._ports = dict(zip(PORTS, (exporter.port, free_port(), free_port()), strict=True))
        shutil.copytree(FAILED.parent, folder / FAILED.parent.relative_to(ROOT))
        (folder / "prometheus").mkdir()
        for file in RULES.glob("*.yml"):
            text = self._moved(faster(file.read_text(encoding="utf-8")))
            (folder / "prometheus" / file.name).write_text(text, encoding="utf-8")

    def _moved(self, text: str) -> str:
        """A text with the ports of this test in place of the README's."""
        return re.sub(r"127\.0\.0\.1:(\d+)\b", lambda found: f"127.0.0.1:{self._ports.get(found[1], found[1])}", text)

    def do(self, command: Command) -> None:
        """Do one step, and check that it prints what the README shows."""
        line = self._moved(command.line).replace("/tmp/aep-", f"{self._folder}/")
        name, _, arguments = line.partition(" ")
        if name in SERVERS:
            server = self._servers.enter_context(Process(self._folder, name))
            server.start("sh", "-c", f'cd "{self._folder}" && exec {program(SERVERS[name])} {arguments}')
            return
        program(name)
        # Only a question is asked again, because a notification that is posted twice gives another answer.
        if name == "amtool":
            until(lambda: without_times(self._run(line)) == without_times(command.output), command.line)
        else:
            assert self._run(line) == command.output

    def _run(self, line: str) -> str:
        ran = subprocess.run(["sh", "-c", line], cwd=self._folder, capture_output=True, text=True, check=False)
        return ran.stdout


def without_times(text: str) -> list[list[str]]:
    """The words of each line, with the same time in place of every time."""
    return [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "then", line).split() for line in text.splitlines()]


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    """Somebody who has run `make run`. The hold is the default."""
    with contextlib.ExitStack() as servers:
        exporter = servers.enter_context(Exporter(tmp_path / "exporter"))
        yield Newcomer(tmp_path, exporter, servers)


def test_the_quick_start_is_what_happens(newcomer: Newcomer) -> None:
    """Each command of the quick start prints what the README shows, to the first alert, which a success resolves."""
    done = steps()
    assert {command.line.partition(" ")[0] for command in done} == {"curl", "amtool", *SERVERS}
    for command in done:
        newcomer.do(command)
    (asked,) = (command for command in done if command.line.startswith("amtool"))
    heading = asked.output.partition("\n")[0]
    newcomer.do(Command(asked.line, heading + "\n"))
