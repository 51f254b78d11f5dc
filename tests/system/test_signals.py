"""Signals that hooks, terminals and logrotate send: none of them ends `serve`, whatever it does at that moment."""

import os
import pty
import signal
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from exporter.ignored_signals import UNUSED
from tests.system.processes import EXPORTER, PATIENCE, Exporter, Process, free_port, until

RUN = b'{"id": "run-1", "flowId": "flow", "metrics": {"statusSummary": {"status": "success"}}}'
HARMLESS = (signal.SIGHUP, *UNUSED, signal.SIGPIPE)


def survives(pid: int, number: int) -> bool:
    """Whether a process ignores or handles a signal now."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    masks = [line.split()[1] for line in status.splitlines() if line.startswith(("SigIgn", "SigCgt"))]
    return any(int(mask, 16) & 1 << (number - 1) for mask in masks)


class Storm(threading.Thread):
    """Sends signals without a pause until the process has ended."""

    def __init__(self, send: Callable[[int], None], is_running: Callable[[], bool]) -> None:
        super().__init__()
        self._send = send
        self._is_running = is_running

    def run(self) -> None:
        """Send them in turn."""
        while self._is_running():
            for number in HARMLESS:
                self._send(number)


def test_a_storm_of_signals(tmp_path: Path) -> None:
    """From its first moment to its last `serve` takes any number of these signals, and ends in order after SIGTERM."""
    port, ledger = free_port(), tmp_path / "ledger.db"
    url = f"http://127.0.0.1:{port}"
    with Process(tmp_path, "exporter") as exporter:
        exporter.start(EXPORTER, "serve", f"--web.listen-address=127.0.0.1:{port}", f"--ledger.url=sqlite:///{ledger}")
        # Before that, the interpreter itself starts.
        until(lambda: all(survives(exporter.pid, number) for number in HARMLESS), "the program to begin")
        storm = Storm(exporter.send, exporter.is_running)
        storm.start()
        try:
            exporter.until_ready(url + "/-/ready")
            assert httpx.post(url + "/webhook", content=RUN, timeout=PATIENCE).status_code == 200
            # A scrape reads the entry, so that there is something for a checkpoint.
            assert httpx.get(url + "/metrics", timeout=PATIENCE).status_code == 200
            assert exporter.stop() == 0
        finally:
            if exporter.is_running():
                exporter.stop(signal.SIGKILL)
            storm.join()
        output = exporter.output()
    assert "event=stopped" in output.splitlines()[-1]
    assert "Traceback" not in output
    # Thousands of signals cause a few lines.
    assert len(output.splitlines()) < 300
    assert not ledger.with_name("ledger.db-wal").exists()
    with sqlite3.connect(ledger) as opened:
        assert opened.execute("SELECT count(*) FROM checkpoint").fetchone() == (1,)
    opened.close()


@pytest.mark.parametrize("number", HARMLESS)
def test_one_signal(exporter: Exporter, number: signal.Signals) -> None:
    """After each of these signals it goes on, and the log says what was done. Python ignores SIGPIPE without a word."""
    exporter.send(number)
    words = "there is no file to read again" if number == signal.SIGHUP else f"signal={number.name}"
    if number != signal.SIGPIPE:
        until(lambda: words in exporter.output(), words)
    assert exporter.post(RUN) == 200
    assert exporter.stop() == 0


def test_a_terminal_that_is_closed(tmp_path: Path) -> None:
    """Where the terminal is gone in which it was started, it goes on, although it can no longer log."""
    port = free_port()
    pid, terminal = pty.fork()
    if pid == 0:
        flags = [f"--web.listen-address=127.0.0.1:{port}", f"--ledger.url=sqlite:///{tmp_path / 'ledger.db'}"]
        os.execv(EXPORTER, [str(EXPORTER), "serve", *flags])  # noqa: S606 - there is no shell to start it with
    url = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        try:
            return httpx.get(url + "/-/ready", timeout=PATIENCE).status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(is_ready, "the exporter to be ready")
        os.close(terminal)
        until(lambda: httpx.post(url + "/webhook", content=RUN, timeout=PATIENCE).status_code == 200, "an answer")
        assert httpx.post(url + "/nowhere", content=RUN, timeout=PATIENCE).status_code == 404
        assert httpx.get(url + "/metrics", timeout=PATIENCE).status_code == 200
        os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    assert os.WIFEXITED(status), status
    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        assert ledger.execute("SELECT count(*) FROM checkpoint").fetchone() == (1,)
    ledger.close()
