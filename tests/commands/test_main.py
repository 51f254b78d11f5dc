"""What all commands have in common: help, wrong calls, exit statuses and output."""

import contextlib
import errno
import io
import logging
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from exporter import __version__, logs
from exporter.commands.main import COMMANDS, find_command, main
from exporter.commands.output import print_result
from exporter.commands.settings import declared
from tests.commands.conftest import SECRET, Run, entries, run, write


@pytest.mark.parametrize("word", ["version", "--version"])
def test_version(cli: Run, word: str) -> None:
    """The version is printed on one line, with that of Python."""
    ended = cli(word)
    assert ended.status == 0
    assert ended.out.startswith(f"aep-flow-exporter {__version__} (Python 3.")
    assert ended.out.count("\n") == 1


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_overview(cli: Run, word: str) -> None:
    """The overview lists every command."""
    ended = cli(word)
    assert (ended.status, ended.err) == (0, "")
    for command in ("serve", "replay", "forget", "simulate"):
        assert f"\n  {command:<10}{find_command(command).summary}\n" in ended.out
    assert "\n  version" in ended.out


@pytest.mark.parametrize("word", ["--help", "-h"])
@pytest.mark.parametrize("command", COMMANDS)
def test_help(cli: Run, command: str, word: str) -> None:
    """A command's help lists its flags, each with its default, its variable and its help text, and no others."""
    ended = cli(command, "--nonsense", word)
    assert (ended.status, ended.err) == (0, "")
    settings = declared(find_command(command).settings)
    assert re.findall(r"^  --(\S+)$", ended.out, re.MULTILINE) == [each.flag.name for each in settings]
    for each in settings:
        note = " (required)" if each.is_required else f" (default: {each.flag.default})" if each.flag.default else ""
        assert f"  --{each.flag.name}\n      {each.help}{note}\n      ${each.flag.variable}\n" in ended.out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        pytest.param([], "no command was given", id="nothing"),
        pytest.param(["sevre"], "sevre", id="no-such-command"),
        pytest.param(["serve", "data.json"], "takes flags only", id="serve-a-file"),
        pytest.param(["serve", "--log.level=loud", "--nonsense"], "--log.level=loud", id="a-bad-value"),
        pytest.param(["serve", "--log.level=loud", "--nonsense"], "unknown flag --nonsense", id="and-an-unknown-flag"),
        pytest.param(["serve", "--web.listen-address=:0"], "--webhook.allow-unauthenticated", id="open-to-all"),
        pytest.param(["replay"], "needs a file", id="replay-nothing"),
        pytest.param(["replay", "one.json", "two.json"], "one.json: there is no such file", id="no-such-file"),
        pytest.param(["replay", "one.json", "two.json"], "two.json: there is no such file", id="nor-the-other"),
        pytest.param(["replay", "one.json", "--nonsense"], "unknown flag --nonsense", id="replay-an-unknown-flag"),
        pytest.param(["replay", "."], ".", id="replay-a-folder"),
        pytest.param(["replay", "x" * 300], "xxx", id="a-name-too-long"),
        pytest.param(["serve", "--webhook.token-file=" + "x" * 300], "token-file", id="a-token-file-too-long"),
    ],
)
def test_wrong_calls(cli: Run, folder: Path, words: list[str], part: str) -> None:
    """A wrong call ends with 2 and a message on standard error that names --help, and writes no file."""
    ended = cli(*words)
    assert ended.status == 2
    assert part in ended.err
    assert "--help" in ended.err
    assert ended.out == ""
    assert list(folder.iterdir()) == []


def test_unknown_variables_are_named(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mistakes in the environment are reported together with those in the flags."""
    monkeypatch.setenv("AEP_EXPORTER_LOG_LEVL", "debug")
    monkeypatch.setenv("AEP_EXPORTER_LOG_FORMAT", "xml")
    ended = cli("serve", "--web.path=/x")
    assert ended.status == 2
    for part in ("AEP_EXPORTER_LOG_LEVL", "AEP_EXPORTER_LOG_FORMAT=xml", "--web.path"):
        assert part in ended.err


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([f"--webhook.token={SECRET}", "serve"], id="before-the-command"),
        pytest.param(["serve", f"-webhook.token={SECRET}"], id="one-dash"),
        pytest.param(["replay", f"-webhook.token={SECRET}"], id="one-dash-for-replay"),
        pytest.param(["replay", f"--webhook.token={SECRET}"], id="for-another-command"),
        pytest.param(["replay", "--webhook.token", SECRET], id="for-another-command-with-blank"),
        pytest.param(["serve", SECRET], id="bare"),
        pytest.param(["serve", f"--webhook.token={SECRET}", "--nonsense"], id="with-a-mistake"),
        pytest.param(["serve", f"--ledger.url=postgresql://aep:{SECRET}@db/ledger"], id="in-a-url"),
        pytest.param(["replay", f"--ledger.url=postgresql://aep:{SECRET}@db/ledger", "-"], id="in-a-url-for-replay"),
    ],
)
def test_no_secret_is_printed(cli: Run, words: list[str]) -> None:
    """A secret that is written in the wrong place or form is refused, and the message does not contain it."""
    ended = cli(*words)
    assert ended.status == 2
    assert "s3cret" not in ended.out + ended.err


def test_logs_as_asked_for(cli: Run) -> None:
    """A command logs at the level of --log.level."""
    assert cli("replay", "--create", "--log.level=error", write("a.json", run(1))).status == 0
    assert logging.getLogger().level == logging.ERROR


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("sqlite:///notes.txt", id="another-file"),
        pytest.param("sqlite:///notes.txt/ledger.db", id="below-a-file"),
        pytest.param("sqlite:////tmp", id="a-folder"),
        pytest.param("sqlite:///" + "x" * 300, id="too-long"),
    ],
)
@pytest.mark.parametrize(
    "words", [["replay", "--create", "a.json"], ["serve", "--web.listen-address=127.0.0.1:0"]], ids=["replay", "serve"]
)
def test_an_unusable_ledger(cli: Run, words: list[str], url: str) -> None:
    """If the ledger can't be used the command ends with 1 and names --ledger.url, and the file is unchanged."""
    write("a.json", run(1))
    Path("notes.txt").write_text("notes " * 1000, encoding="utf-8")
    ended = cli(*words, f"--ledger.url={url}")
    assert ended.status == 1
    assert "--ledger.url" in ended.err
    assert ended.out == ""
    assert Path("notes.txt").read_text(encoding="utf-8") == "notes " * 1000


def test_an_address_that_is_taken(cli: Run, folder: Path) -> None:
    """If its address is in use `serve` ends before it makes a ledger."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = cli("serve", f"--web.listen-address=127.0.0.1:{taken.getsockname()[1]}")
    assert ended.status == 1
    assert "--web.listen-address" in ended.err
    assert list(folder.iterdir()) == []


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Run as a user without access to the files of this one."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def open_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory that every user may use, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        monkeypatch.chdir(name)
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.mark.parametrize("name", ["closed.json", "closed/file.json"], ids=["file", "folder"])
@pytest.mark.parametrize("words", [["replay", "--create"], ["serve", "--webhook.token-file"]], ids=" ".join)
def test_a_file_that_may_not_be_read(cli: Run, open_folder: Path, words: list[str], name: str) -> None:
    """A file that this user may not read, or whose folder it may not enter, is named in the message."""
    assert cli("replay", "--create", write("warm-up.json", run(1))).status == 0  # nobody may import what is loaded late
    shutil.rmtree("data")
    Path("closed.json").touch(mode=0)
    Path("closed").mkdir(mode=0)
    with as_nobody():
        ended = cli(*words, name)
    assert ended.status in {1, 2}
    assert name in ended.err or "--webhook.token-file" in ended.err


class Broken(io.StringIO):
    """An output that can't be written to."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, _text: str, /) -> int:
        """Fail."""
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(
    "words", [["version"], ["--help"], ["serve", "--help"], ["replay", "--create", "a.json"]], ids=" ".join
)
@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC], ids=["reader-has-left", "disk-is-full"])
def test_output_that_nobody_takes(monkeypatch: pytest.MonkeyPatch, number: int, words: list[str]) -> None:
    """If the result can't be written the command ends with 1, and what was recorded before stays recorded."""
    write("a.json", run(1))
    monkeypatch.setattr(sys, "stdout", Broken(number))
    try:
        assert main(words) == 1
    finally:
        sys.stdout.close()
    assert "replay" not in words or len(entries()) == 1


def test_as_a_module(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m exporter` runs the same program."""
    monkeypatch.setattr(sys, "argv", ["exporter", "version"])
    with pytest.raises(SystemExit) as exited:
        runpy.run_module("exporter", run_name="__main__")
    assert exited.value.code == 0
    assert __version__ in capsys.readouterr().out


def test_serve_runs_without_the_simulation() -> None:
    """Neither `serve` nor the health check loads what only the simulation needs."""
    code = (
        "import sys, exporter.healthcheck, exporter.commands.main as main; main.find_command('serve'); "
        "print([name for name in sys.modules if name.startswith('exporter.simulate')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_the_health_check_starts_fast() -> None:
    """The health check loads the settings of `serve` without what `serve` is made of."""
    code = "import sys, exporter.healthcheck; print('exporter.service' in sys.modules, 'httpx' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False False\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_result_that_the_output_cannot_encode(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """Characters that standard output has no code for are written as escapes, so that the result is not lost."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    print_result("caf\u00e9 \u2713 \udcff")
    text = written.getvalue().decode(encoding)
    assert text.endswith(" \\udcff\n")
    assert text.startswith("caf")


def test_multiprocess_mode_is_not_used(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that would put prometheus_client into its mode for several processes are taken away and named."""
    for name in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
        monkeypatch.setenv(name, "/nonexistent")
    write("run.json", run(1))
    logged: list[Sequence[str]] = []
    monkeypatch.setattr(logs, "ignored_variables", logged.append)
    assert cli("replay", "--create", "run.json").status == 0
    assert logged == [["PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"]]
    assert not {name for name in os.environ if name.lower() == "prometheus_multiproc_dir"}
    logged.clear()
    assert cli("replay", "--create", "run.json").status == 0
    assert logged == []
