"""The commands, as whoever types them meets them."""

import contextlib
import errno
import io
import json
import logging
import os
import runpy
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from exporter import __version__, cli
from exporter.ledger import Entry
from exporter.ledger.sqlite import SqliteLedger
from exporter.settings import FORGET, REPLAY, SERVE, SIMULATE, declared
from tests.test_logs import restored_logging

SECRET = "s3cret-s3cret-s3cret"
LEDGER = Path("data/ledger.db")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder of the test's own, and no settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("AEP_EXPORTER_"):
            monkeypatch.delenv(name)
    with restored_logging():
        yield tmp_path


class Told:
    """What a command said, and how it ended."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    @property
    def counts(self) -> dict[str, int]:
        """The table that `replay` prints."""
        rows = [line.split() for line in self.out.splitlines()]
        return {name: int(number) for name, number in rows}


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command; each line of complaint names the program, and no traceback is ever shown."""

    def run(*words: str) -> Told:
        status = cli.main(words)
        told = Told(status, *capsys.readouterr())
        assert all(line.startswith("aep-flow-exporter: ") for line in told.err.splitlines())
        assert "Traceback" not in told.err
        return told

    return run


def run(number: int, status: str = "success", **times: int) -> dict[str, Any]:
    """A run as Adobe writes one."""
    metrics = {"statusSummary": {"status": status}, "durationSummary": times}
    return {"id": f"run-{number}", "flowId": "flow", "metrics": metrics}


def write(name: str, *values: object) -> str:
    """A file of JSON lines; its name."""
    Path(name).write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return name


def kept(path: Path = LEDGER) -> list[Entry]:
    """What is in a ledger."""
    with contextlib.closing(SqliteLedger(path)) as ledger:
        return ledger.read(0, 1000)


@pytest.mark.parametrize("word", ["version", "--version"])
def test_version(said: Any, word: str) -> None:
    """The version is told in one line, with that of Python."""
    told = said(word)
    assert told.status == 0
    assert told.out.startswith(f"aep-flow-exporter {__version__} (Python 3.")
    assert told.out.count("\n") == 1


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_overview(said: Any, word: str) -> None:
    """The overview names every command."""
    told = said(word)
    assert (told.status, told.err) == (0, "")
    for command in ("serve", "replay", "forget", "simulate", "version"):
        assert f"\n  {command}" in told.out


@pytest.mark.parametrize("word", ["--help", "-h"])
@pytest.mark.parametrize("command", [SERVE, REPLAY, FORGET, SIMULATE])
def test_help(said: Any, command: str, word: str) -> None:
    """A command's help lists every flag it takes, with its default, its variable and what it does; and no other."""
    told = said(command, "--nonsense", word)
    assert (told.status, told.err) == (0, "")
    for each in declared():
        is_listed = f"  --{each.flag.name}\n" in told.out
        assert is_listed == (command in each.flag.commands)
        assert (f"${each.flag.variable}\n" in told.out) == is_listed
        assert (str(each.info.description) in told.out) == is_listed
        assert not is_listed or f"(default: {each.flag.shown})" in told.out or not each.flag.shown


@pytest.mark.parametrize(
    ("words", "part"),
    [
        pytest.param([], "no command was given", id="nothing"),
        pytest.param(["sevre"], "sevre", id="no-such-command"),
        pytest.param(["serve", "data.json"], "serve takes flags only", id="serve-a-file"),
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
def test_what_is_asked_wrongly(said: Any, folder: Path, words: list[str], part: str) -> None:
    """What is asked wrongly is told on standard error with the way to the help, ends with 2, and leaves no trace."""
    told = said(*words)
    assert told.status == 2
    assert part in told.err
    assert "--help" in told.err
    assert told.out == ""
    assert list(folder.iterdir()) == []


def test_a_missing_file_costs_the_others_nothing(said: Any) -> None:
    """When one of the files is not there none is recorded, so that the command can be given again."""
    assert said("replay", write("a.json", run(1)), "b.json").status == 2
    assert not LEDGER.exists()


def test_unknown_variables_are_named(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mistakes in the environment are named with those in the flags."""
    monkeypatch.setenv("AEP_EXPORTER_LOG_LEVL", "debug")
    monkeypatch.setenv("AEP_EXPORTER_LOG_FORMAT", "xml")
    told = said("serve", "--web.path=/x")
    assert told.status == 2
    for part in ("AEP_EXPORTER_LOG_LEVL", "AEP_EXPORTER_LOG_FORMAT=xml", "--web.path"):
        assert part in told.err


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
def test_no_secret_is_told(said: Any, words: list[str]) -> None:
    """A flag with a secret that stands in the wrong place or form is refused without the secret."""
    told = said(*words)
    assert told.status == 2
    assert "s3cret" not in told.out + told.err


def test_replay(said: Any) -> None:
    """Replay records files and tells what became of each event; nothing of it goes to standard error."""
    told = said("replay", write("a.json", run(1), run(2, "failed"), {"other": 1}), write("b.json", run(1), 7))
    assert (told.status, told.err) == (0, "")
    assert told.counts == {"recorded": 2, "duplicate": 1, "unsupported": 1, "unreadable": 1, "expired": 0}
    assert [entry.kind for entry in kept()] == ["run", "run", "unsupported", "unreadable"]


def test_replay_again(said: Any) -> None:
    """Replayed again, every event is a duplicate."""
    write("a.json", run(1), run(2))
    said("replay", "a.json")
    assert said("replay", "a.json", "a.json").counts["duplicate"] == 4
    assert len(kept()) == 2


def test_replay_of_nothing(said: Any) -> None:
    """An empty file is no mistake."""
    assert set(said("replay", write("empty.json")).counts.values()) == {0}


@pytest.mark.parametrize(("retention", "result"), [("90d", "expired"), ("50y", "recorded")])
def test_replay_of_what_is_long_past(said: Any, retention: str, result: str) -> None:
    """A run that ended before the ledger's retention is not taken."""
    told = said("replay", f"--ledger.retention={retention}", write("a.json", run(1, completedAtUTC=1_500_000_000_000)))
    assert told.counts[result] == 1
    assert len(kept()) == (result == "recorded")


def test_replay_to_another_ledger(said: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger is the one that flag or variable names."""
    write("a.json", run(1))
    monkeypatch.setenv("AEP_EXPORTER_LEDGER_URL", "sqlite:///by-variable.db")
    assert said("replay", "a.json").status == 0
    assert said("replay", "--ledger.url", f"sqlite:///{folder}/by-flag.db", "a.json").status == 0
    assert len(kept(Path("by-variable.db"))) == len(kept(Path("by-flag.db"))) == 1
    assert not LEDGER.exists()


def test_logs_as_asked_for(said: Any) -> None:
    """A command logs at the level that it is told."""
    assert said("replay", "--log.level=error", write("a.json", run(1))).status == 0
    assert logging.getLogger().level == logging.ERROR


def standard_input(content: bytes) -> io.TextIOWrapper:
    """Standard input with something in it."""
    return io.TextIOWrapper(io.BytesIO(content))


def test_replay_of_standard_input(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dash is standard input, also between files."""
    monkeypatch.setattr(sys, "stdin", standard_input(json.dumps(run(2)).encode()))
    assert said("replay", write("a.json", run(1)), "-", write("b.json", run(3))).counts["recorded"] == 3


def test_replay_of_a_pipe(said: Any) -> None:
    """What a shell's <(...) gives is a file like any other."""
    reading, writing = os.pipe()
    os.write(writing, json.dumps(run(1)).encode())
    os.close(writing)
    try:
        told = said("replay", f"/dev/fd/{reading}")
    finally:
        os.close(reading)
    assert (told.status, told.err) == (0, "")
    assert told.counts["recorded"] == 1


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
    "words", [["replay", "a.json"], ["serve", "--web.listen-address=127.0.0.1:0"]], ids=["replay", "serve"]
)
def test_an_unusable_ledger(said: Any, words: list[str], url: str) -> None:
    """A ledger that can't be used ends a command with what to do about it, and the file is left as it was."""
    write("a.json", run(1))
    Path("notes.txt").write_text("notes " * 1000, encoding="utf-8")
    told = said(*words, f"--ledger.url={url}")
    assert told.status == 1
    assert "--ledger.url" in told.err
    assert told.out == ""
    assert Path("notes.txt").read_text(encoding="utf-8") == "notes " * 1000


def test_an_address_that_is_taken(said: Any, folder: Path) -> None:
    """An address where somebody listens already ends `serve` before it touches a ledger."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = said("serve", f"--web.listen-address=127.0.0.1:{taken.getsockname()[1]}")
    assert told.status == 1
    assert "--web.listen-address" in told.err
    assert list(folder.iterdir()) == []


def test_a_file_that_breaks_off(said: Any) -> None:
    """A file that can't be read after all is named, in words."""
    told = said("replay", "/proc/self/mem")
    assert told.status == 1
    assert "/proc/self/mem" in told.err


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """As a user who may read no file of ours."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def open_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder that everybody may use, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        monkeypatch.chdir(name)
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.mark.parametrize("name", ["closed.json", "closed/file.json"], ids=["file", "folder"])
@pytest.mark.parametrize("words", [["replay"], ["serve", "--webhook.token-file"]], ids=" ".join)
def test_a_file_that_may_not_be_read(said: Any, open_folder: Path, words: list[str], name: str) -> None:
    """A file that is another user's, or lies in such a folder, is told of in words."""
    assert said("replay", write("warm-up.json", run(1))).status == 0  # nobody may import what is loaded late
    shutil.rmtree("data")
    Path("closed.json").touch(mode=0)
    Path("closed").mkdir(mode=0)
    with as_nobody():
        told = said(*words, name)
    assert told.status in {1, 2}
    assert name in told.err or "--webhook.token-file" in told.err


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal progress is shown for each file, and the result begins a line of its own after it."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert cli.main(["replay", write("a.json", run(1)), write("b.json", run(2))]) == 0
    shown = terminal.getvalue()
    assert "a.json: 1 recorded" in shown
    assert "b.json: 1 recorded" in shown
    assert "recorded             2" in shown.splitlines()


class Broken(io.StringIO):
    """An output that can't be written to."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, _text: str, /) -> int:
        """Fail."""
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("words", [["version"], ["--help"], ["serve", "--help"], ["replay", "a.json"]], ids=" ".join)
@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC], ids=["reader-has-left", "disk-is-full"])
def test_output_that_nobody_takes(monkeypatch: pytest.MonkeyPatch, number: int, words: list[str]) -> None:
    """When the result can't be written the command ends with 1, and what it recorded is recorded."""
    write("a.json", run(1))
    monkeypatch.setattr(sys, "stdout", Broken(number))
    try:
        assert cli.main(words) == 1
    finally:
        sys.stdout.close()
    assert "replay" not in words or len(kept()) == 1


def test_an_interrupt(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends a replay with 130 and no word; what was committed is kept."""

    class Interrupted(io.BytesIO):
        def __next__(self) -> bytes:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Interrupted()))
    told = said("replay", write("a.json", run(1)), "-")
    assert (told.status, told.err) == (130, "")
    assert len(kept()) == 1


def test_as_a_module(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m exporter` is the same command."""
    monkeypatch.setattr(sys, "argv", ["exporter", "version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("exporter", run_name="__main__")
    assert ended.value.code == 0
    assert __version__ in capsys.readouterr().out


def test_forget(said: Any) -> None:
    """A flow that is on /metrics is forgotten by its id, and told of with its sandboxes; its history stays."""
    said("replay", write("a.json", run(1), {**run(2), "flowId": "other-flow"}))
    told = said("forget", "--flow=flow")
    assert (told.status, told.err) == (0, "")
    assert told.out == "forgotten: flow in (no sandbox)\n"
    assert [entry.kind for entry in kept()] == ["run", "run", "forgotten"]
    assert said("forget", "--flow=flow").status == 1
    said("replay", write("b.json", run(3)))
    assert said("forget", "--flow=flow").status == 0


@pytest.mark.parametrize("flow", ["Flow", "flo", "flow2", "flow*"])
def test_forget_knows_no_other_flow(said: Any, flow: str) -> None:
    """An id that no flow has is refused with a word on how to find it, and nothing is recorded."""
    said("replay", write("a.json", run(1)))
    told = said("forget", "--flow", flow)
    assert (told.status, told.out) == (1, "")
    assert f"no flow of this id is on /metrics: {flow}" in told.err
    assert [entry.kind for entry in kept()] == ["run"]


def test_forget_makes_no_ledger(said: Any, folder: Path) -> None:
    """Where there is no ledger forgetting says so, and leaves none behind."""
    told = said("forget", "--flow=flow")
    assert told.status == 1
    assert "there is no ledger at data/ledger.db" in told.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "forget needs --flow=ID"),
        (["--flow="], "--flow=: the id of a flow"),
        (["flow"], "takes flags only"),
        (["--flow", "a", "--series.hold=1s"], "unknown flag --series.hold"),
    ],
)
def test_forget_asked_for_wrongly(said: Any, words: list[str], expected: str) -> None:
    """What is wrong with the command is said, with status 2."""
    told = said("forget", *words)
    assert told.status == 2
    assert expected in told.err


@contextlib.contextmanager
def webhook(*, knows_challenges: bool = True) -> Iterator[str]:
    """A server that takes notifications, for as long; its address, that ends in a secret."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(self.path.rpartition("challenge=")[2].encode() if knows_challenges else b"welcome")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.answer(b"recorded 1\n")

        def answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/webhook/{SECRET}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


PAST_HOUR = ["--seed=1", "--flows=24", "--since=1h", "--duration=0s", "--log.level=warn"]


def test_simulate(said: Any) -> None:
    """What was sent is told in a table: deliveries, what became of them, and what they told."""
    with webhook() as url:
        told = said("simulate", f"--url={url}", *PAST_HOUR)
    assert (told.status, told.err) == (0, "")
    rows = {word.strip(): int(number) for word, _, number in (line.rpartition(" ") for line in told.out.splitlines())}
    assert rows["notifications"] >= rows["deliveries"] == rows["recorded"] > 10
    assert rows["sent success"] > 0
    assert rows["undelivered"] == 0


def test_simulate_shows_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal it is shown how far the simulation is, and the account begins a line of its own after it."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    with webhook() as url:
        assert cli.main(["simulate", f"--url={url}", *PAST_HOUR]) == 0
    assert "day 1, 00:" in terminal.getvalue()
    assert any(line.startswith("deliveries ") for line in terminal.getvalue().splitlines())


def test_simulate_sends_nothing_to_what_is_no_webhook(said: Any) -> None:
    """An address that does not repeat a challenge is refused with what to do, and the secret in it is not told."""
    with webhook(knows_challenges=False) as url:
        told = said("simulate", f"--url={url}", *PAST_HOUR)
    assert (told.status, told.out) == (1, "")
    assert "--url is the webhook's whole address" in told.err
    assert SECRET not in told.err


def test_simulate_where_the_keys_have_no_place(said: Any) -> None:
    """An address for the keys that is taken is told of, with its flag."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        keys = f"--keys.listen-address=127.0.0.1:{taken.getsockname()[1]}"
        told = said("simulate", "--url=http://127.0.0.1:1/webhook", "--sign", keys)
    assert told.status == 1
    assert "--keys.listen-address" in told.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "simulate needs --url=URL"),
        (["--url=http://exporter.example/webhook"], "--allow-remote"),
        ([f"--url=http://user:{SECRET}@127.0.0.1/webhook"], "without user, password or query"),
        (["--url=http://127.0.0.1/webhook", "--speed=0"], "--speed=0"),
        (["http://127.0.0.1/webhook"], "takes flags only"),
        (["--url=http://127.0.0.1/webhook", "--series.hold=1s"], "unknown flag --series.hold"),
    ],
)
def test_simulate_asked_for_wrongly(said: Any, words: list[str], expected: str) -> None:
    """What is wrong with the command is said, with status 2, and without a secret."""
    told = said("simulate", *words)
    assert told.status == 2
    assert expected in told.err
    assert SECRET not in told.err
