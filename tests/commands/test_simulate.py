"""`simulate`: notifications of a made-up organisation to a webhook."""

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from exporter.commands.main import main
from tests.commands.conftest import SECRET, Run, Terminal


@contextlib.contextmanager
def webhook(*, knows_challenges: bool = True) -> Iterator[str]:
    """A server that accepts notifications. Yields its URL, which ends in a secret."""

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
            """Log nothing."""

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


def test_simulate(cli: Run) -> None:
    """A table shows what was sent: deliveries, their results, and the states of the runs in them."""
    with webhook() as url:
        ended = cli("simulate", f"--url={url}", *PAST_HOUR)
    assert (ended.status, ended.err) == (0, "")
    rows = {word.strip(): int(number) for word, _, number in (line.rpartition(" ") for line in ended.out.splitlines())}
    assert rows["notifications"] >= rows["deliveries"] == rows["recorded"] > 10
    assert rows["sent success"] > 0
    assert rows["undelivered"] == 0


def test_simulate_shows_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the simulated time is shown, and the table begins on a new line after it."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    with webhook() as url:
        assert main(["simulate", f"--url={url}", *PAST_HOUR]) == 0
    assert "day 1, 00:" in terminal.getvalue()
    assert any(line.startswith("deliveries ") for line in terminal.getvalue().splitlines())


def test_simulate_sends_nothing_to_other_servers(cli: Run) -> None:
    """A URL that does not echo a challenge is refused with a hint, and the secret in it is not printed."""
    with webhook(knows_challenges=False) as url:
        ended = cli("simulate", f"--url={url}", *PAST_HOUR)
    assert (ended.status, ended.out) == (1, "")
    assert "--url is the webhook's whole address" in ended.err
    assert SECRET not in ended.err


def test_simulate_when_the_address_of_the_keys_is_in_use(cli: Run) -> None:
    """If the address for the keys is in use, the message names its flag."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        keys = f"--keys.listen-address=127.0.0.1:{taken.getsockname()[1]}"
        ended = cli("simulate", "--url=http://127.0.0.1:1/webhook", "--sign", keys)
    assert ended.status == 1
    assert "--keys.listen-address" in ended.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "--url=URL is needed"),
        (["--url=http://exporter.example/webhook"], "--allow-remote"),
        ([f"--url=http://user:{SECRET}@127.0.0.1/webhook"], "without user, password or query"),
        (["--url=http://127.0.0.1/webhook", "--speed=0"], "--speed=0"),
        (["http://127.0.0.1/webhook"], "takes flags only"),
        (["--url=http://127.0.0.1/webhook", "--series.hold=1s"], "unknown flag --series.hold"),
    ],
)
def test_simulate_asked_for_wrongly(cli: Run, words: list[str], expected: str) -> None:
    """A wrong call ends with 2 and a message that states the mistake, without the secret in a URL."""
    ended = cli("simulate", *words)
    assert ended.status == 2
    assert expected in ended.err
    assert SECRET not in ended.err
