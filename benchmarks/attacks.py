"""What strangers can do to a listener: each attack against a program of its own, and what others notice of it.

`python -m benchmarks.attacks --exporter PATH` runs one program after the other, on loopback, with made-up flows. Every
client is bounded in number and time.
"""

import argparse
import contextlib
import http.client
import os
import re
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks.made import bodies, body
from tests.system.processes import free_port, whole_answer
from tests.web.certificates import certificate

PROGRAM: Final = Path(sys.executable).with_name("aep-flow-exporter")
HOST: Final = "127.0.0.1"
PATIENCE: Final = 30.0
SCRAPE: Final = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
HEALTH: Final = b"GET /-/healthy HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
MIB: Final = 1024 * 1024


class Target:
    """A running exporter."""

    def __init__(self, program: Path, folder: Path, *, series: bool, tls: bool = False) -> None:
        self.port = free_port()
        self.log = folder / "log"
        flags = [
            f"--web.listen-address={HOST}:{self.port}",
            f"--ledger.url=sqlite:///{folder / 'ledger.db'}",
            "--series.hold=0s",
        ]
        self._tls: ssl.SSLContext | None = None
        if tls:
            certificate(folder, "listener")
            config = folder / "web.yml"
            config.write_text("tls_server_config:\n  cert_file: listener.crt\n  key_file: listener.key\n")
            flags.append(f"--web.config.file={config}")
            self._tls = ssl.create_default_context(cafile=folder / "listener.crt")
        clean = {key: value for key, value in os.environ.items() if not key.startswith("AEP_EXPORTER_")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([program, "serve", *flags], stderr=log, cwd=folder, env=clean)
        wait(lambda: self.time("/-/ready") is not None, "a start")
        if series:
            self._fill()

    def connect(self, *, buffer: int | None = None) -> socket.socket:
        """A connection, with a receive buffer of so many bytes."""
        connection = socket.socket()
        connection.settimeout(PATIENCE)
        if buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.connect((HOST, self.port))
        return connection if self._tls is None else self._tls.wrap_socket(connection, server_hostname=HOST)

    def request(self, method: str, path: str, content: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of the answer."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        connection.sock = self.connect()
        with contextlib.closing(connection):
            connection.request(method, path, content)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def time(self, path: str, content: bytes | None = None) -> float | None:
        """Seconds until the answer 200, or None without one."""
        started = time.perf_counter()
        try:
            status, _ = self.request("GET" if content is None else "POST", path, content)
        except (OSError, http.client.HTTPException):
            return None
        return time.perf_counter() - started if status == 200 else None

    def metric(self, name: str) -> str:
        """The value of a metric without labels, as it is shown."""
        found = re.search(
            rf"^{name} (\S+)$", self.request("GET", "/metrics?collect[]=exporter")[1].decode(), re.MULTILINE
        )
        return found[1] if found else "no such metric"

    def memory(self) -> float:
        """MiB that the process has in memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / MIB

    def processor(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """End the program."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def _fill(self) -> None:
        """Some hundred thousand series."""
        made = list(bodies())
        for start in range(0, len(made), 50):
            if self.time("/webhook", b"[" + b",".join(made[start : start + 50]) + b"]") is None:
                raise SystemExit("the program took no deliveries")
        wait(lambda: self.time("/metrics") is not None, "a scrape")


class Watch:
    """What others notice meanwhile: deliveries and probes of the program, and its memory."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._ends = threading.Event()
        self.delivered: list[float | None] = []
        self.healthy: list[float | None] = []
        self.memory = [target.memory()]
        self._threads = [
            threading.Thread(target=self._repeat, args=(each,)) for each in (self._deliver, self._probe, self._weigh)
        ]

    def __enter__(self) -> "Watch":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, step: Callable[[], None]) -> None:
        while not self._ends.wait(0.05):
            step()

    def _deliver(self) -> None:
        number = 10_000_000 + len(self.delivered)
        self.delivered.append(self._target.time("/webhook", body(number)))

    def _probe(self) -> None:
        self.healthy.append(self._target.time("/-/healthy"))

    def _weigh(self) -> None:
        self.memory.append(self._target.memory())

    def __str__(self) -> str:
        return (
            f"deliveries {describe(self.delivered)}; health {describe(self.healthy)}; "
            f"memory {self.memory[0]:.0f} to {max(self.memory):.0f} MiB"
        )


def describe(times: list[float | None]) -> str:
    """How many were answered, and how fast."""
    answered = sorted(each for each in times if each is not None)
    if not answered:
        return f"0 of {len(times)}"
    return (
        f"{len(answered)} of {len(times)}, median {1000 * statistics.median(answered):.0f} ms, "
        f"longest {1000 * answered[-1]:.0f} ms"
    )


def wait(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + 4 * PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.05)


def seconds(value: float | None) -> str:
    """A time as text."""
    return "no answer" if value is None else f"{value:.2f} s"


@contextlib.contextmanager
def held(target: Target, count: int, sent: bytes, buffer: int | None = None) -> Iterator[list[socket.socket]]:
    """So many connections on which this was sent."""
    with contextlib.ExitStack() as opened:
        connections = []
        for _ in range(count):
            with contextlib.suppress(OSError):
                connection = opened.enter_context(target.connect(buffer=buffer))
                connection.sendall(sent)
                connections.append(connection)
        yield connections


def send_all(target: Target, sent: bytes) -> bytes:
    """Send as much of this as is taken. What came back first."""
    with target.connect() as connection:
        with contextlib.suppress(OSError):
            connection.sendall(sent)
        with contextlib.suppress(OSError):
            return connection.recv(1000)
    return b""


def status_line(answer: bytes) -> str:
    """The first line of an answer."""
    return answer.partition(b"\r\n")[0].decode() or "closed"


def line_breaks(target: Target) -> str:
    """512 connections with one request, its answer, a line break and silence. Then a request on a new connection."""
    with held(target, 512, HEALTH) as connections:
        for each in connections:
            with contextlib.suppress(OSError):
                whole_answer(each)
                each.sendall(b"\r\n")
        at_once = target.time("/-/healthy")
        time.sleep(12)
        return f"at once: {seconds(at_once)}; 12 s later: {seconds(target.time('/-/healthy'))}"


def half_requests(target: Target) -> str:
    """512 connections with half a POST each. Deliveries meanwhile."""
    half = b"POST /webhook HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{"
    with held(target, 512, half), Watch(target) as watch:
        time.sleep(5)
    return str(watch)


def unread(target: Target) -> str:
    """300 scrapes of some 100,000 series that nobody reads. Deliveries and a real scrape meanwhile."""
    with Watch(target) as watch, held(target, 300, SCRAPE, buffer=4096) as connections:
        real = target.time("/metrics?collect[]=flows")
        time.sleep(15)
        return f"{watch}; a real scrape {seconds(real)}; held {len(connections)}"


def connect_heads(target: Target) -> str:
    """300 connections with a CONNECT, and 20 with a pipeline of 300 offers to upgrade."""
    offer = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    connect = b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"
    with Watch(target) as watch:
        before = target.processor()
        with held(target, 300, connect):
            target.time("/-/healthy")
        with held(target, 20, offer * 300):
            target.time("/-/healthy")
        took = target.processor() - before
    return f"processor {took:.2f} s; {watch}"


def trailers(target: Target) -> str:
    """A trailer of 40 MiB, three times, and a head of 100 kB in one packet."""
    chunked = b"POST /webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nt: "
    with Watch(target) as watch:
        before = target.processor()
        for _ in range(3):
            send_all(target, chunked + b"a" * (40 * MIB))
        took = target.processor() - before
    head = b"GET /-/healthy HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"h: " + b"a" * 100_000 + b"\r\n\r\n"
    return f"processor {took:.2f} s; {watch}; a head of 100 kB: {status_line(send_all(target, head))}"


def unseen(target: Target) -> str:
    """600 connections, and deliveries to paths that do not exist."""
    with held(target, 600, b""):
        time.sleep(1)
    for path in ("/", "/adobe", "/adobe", "/webhok/secret"):
        target.request("POST", path, b"{}")
    log = target.log.read_text()
    lines = [line for line in log.splitlines() if "path that does not exist" in line or "too many" in line]
    return (
        f"connections_refused_total {target.metric('aep_exporter_connections_refused_total')}; "
        f"http_not_found_total {target.metric('aep_exporter_http_not_found_total')}; log lines {len(lines)}; "
        f"the wrong path is logged: {'secret' in log}"
    )


def given_up(target: Target) -> str:
    """3,000 scrapes whose client leaves at once, then a real one."""
    for _ in range(3000):
        with contextlib.suppress(OSError), target.connect() as connection:
            connection.sendall(SCRAPE)
    return f"the next scrape {seconds(target.time('/metrics'))}"


def slow_bodies(target: Target) -> str:
    """Six bodies of 4 MiB with one bad byte, and scrapes meanwhile."""
    event = body(1)
    filled = b"[" + b",".join([event] * (4 * MIB // len(event) - 10)) + b"]"
    broken = filled.replace(b"made up", b"made\xffup", 1)
    senders = [threading.Thread(target=target.time, args=("/webhook", broken)) for _ in range(6)]
    for sender in senders:
        sender.start()
    scrapes = [target.time("/metrics")]
    while any(sender.is_alive() for sender in senders) and len(scrapes) < 100:
        scrapes.append(target.time("/metrics"))
    for sender in senders:
        sender.join()
    return f"scrapes {describe(scrapes)}"


def signal_to_end(target: Target) -> str:
    """SIGTERM, with requests sent just before on old and new connections, and bodies on their way."""
    with contextlib.ExitStack() as opened:
        old = [opened.enter_context(target.connect()) for _ in range(100)]
        for each in old:
            each.sendall(HEALTH)
            whole_answer(each)
        arriving = [opened.enter_context(target.connect()) for _ in range(20)]
        content = body(1)
        head = b"POST /webhook HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(content)
        for each in arriving:
            each.sendall(head + content[:10])
        time.sleep(0.5)
        # The program does not run while the requests and new connections arrive, as on a busy machine.
        target.process.send_signal(signal.SIGSTOP)
        new = [opened.enter_context(target.connect()) for _ in range(300)]
        for each in (*old, *new):
            each.sendall(HEALTH)
        target.process.send_signal(signal.SIGTERM)
        target.process.send_signal(signal.SIGCONT)
        time.sleep(0.3)
        for each in arriving:
            with contextlib.suppress(OSError):
                each.sendall(content[10:])
        found = []
        for name, group in (("old connections", old), ("new connections", new), ("bodies on their way", arriving)):
            answers = [first(each) for each in group]
            closing = sum(b"connection: close" in each.lower() for each in answers)
            answered = sum(each.startswith(b"HTTP/1.1 200") for each in answers)
            found.append(f"{name}: {answered} of {len(group)} answered, {closing} with Connection: close")
    return f"{'; '.join(found)}; exit {target.process.wait(PATIENCE)}"


def first(connection: socket.socket) -> bytes:
    """The first answer."""
    try:
        return whole_answer(connection)
    except OSError:
        return b""


ATTACKS: Final[dict[str, tuple[Callable[[Target], str], bool, bool]]] = {
    "line breaks": (line_breaks, False, False),
    "half requests": (half_requests, False, False),
    "unread answers": (unread, True, False),
    "unread answers over TLS": (unread, True, True),
    "CONNECT and upgrades": (connect_heads, False, False),
    "trailers": (trailers, False, False),
    "unseen": (unseen, False, False),
    "scrapes given up": (given_up, True, False),
    "bodies with a bad byte": (slow_bodies, True, False),
    "SIGTERM": (signal_to_end, False, False),
}
"""Each attack, whether the program has many series, and whether it serves TLS."""


def main() -> None:
    """Run the attacks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exporter", type=Path, default=PROGRAM, help="the program to attack")
    parser.add_argument("--only", choices=ATTACKS, action="append", help="run these alone")
    options = parser.parse_args()
    sys.stdout.write("| attack | what others notice |\n|---|---|\n")
    for name, (attack, series, tls) in ATTACKS.items():
        if options.only and name not in options.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            target = Target(options.exporter.absolute(), Path(folder), series=series, tls=tls)
            try:
                sys.stdout.write(f"| {name} | {attack(target)} |\n")
                sys.stdout.flush()
            finally:
                target.end()


if __name__ == "__main__":
    main()
