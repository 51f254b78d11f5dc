"""The servers that are loaded: the program, what a reader would have written instead, and the least that is needed."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from benchmarks.made import CLIENT_ID
from tests.system.processes import free_port

PROGRAM: Final = Path(sys.executable).with_name("aep-flow-exporter")

# As little as a webhook can do, with the same server: it reads the body and says that it did.
_ENDPOINT: Final = """
import sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

async def webhook(request):
    await request.body()
    return Response(status_code=204)

application = Starlette(routes=[Route("/webhook", webhook, methods=["POST"])])
uvicorn.run(application, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="error")
"""

# The least that such a delivery needs: one signature verified, the body decoded, its bytes committed with what else
# waits, each event id once. It reads nothing out of the body, bounds nothing, and shows nothing.
_LEAST: Final = """
import asyncio, base64, sqlite3, sys
import httpx, msgspec, uvicorn
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

ledger = sqlite3.connect(sys.argv[2], isolation_level=None, check_same_thread=False)
ledger.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
ledger.execute("CREATE TABLE entry (position INTEGER PRIMARY KEY, event_id TEXT UNIQUE, body BLOB)")
key = load_pem_public_key(httpx.get(sys.argv[3]).content)
decode = msgspec.json.Decoder().decode
elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
waiting = []
writer = None

def commit(rows):
    ledger.execute("BEGIN IMMEDIATE")
    ledger.executemany("INSERT INTO entry (event_id, body) VALUES (?, ?) ON CONFLICT DO NOTHING", rows)
    ledger.execute("COMMIT")

async def write():
    global writer
    while waiting:
        taken = waiting[:]
        waiting.clear()
        await asyncio.to_thread(commit, [row for rows, _ in taken for row in rows])
        for _, answer in taken:
            answer.set_result(None)
    writer = None

async def application(scope, receive, send):
    global writer
    if scope["method"] == "POST":
        body = b""
        more = True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        signature = base64.b64decode(dict(scope["headers"])[b"x-adobe-digital-signature-1"])
        key.verify(signature, body, padding.PKCS1v15(), SHA256())
        events = map(bytes, elements(body)) if body.startswith(b"[") else [body]
        rows = [(decode(event)["event_id"], event) for event in events]
        answer = asyncio.get_running_loop().create_future()
        waiting.append((rows, answer))
        if writer is None:
            writer = asyncio.create_task(write())
        await answer
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})

uvicorn.run(
    application, port=int(sys.argv[1]), loop="uvloop", http="httptools", lifespan="off", access_log=False,
    log_level="error",
)
"""


@dataclass(frozen=True)
class Server:
    """A server that answers; `seconds` from its start until it did."""

    port: int
    process: int
    seconds: float

    def get(self, path: str) -> httpx.Response:
        """One request, that must succeed."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=120).raise_for_status()

    def cpu(self) -> float:
        """Seconds of processor time that the process has used (Linux)."""
        fields = Path(f"/proc/{self.process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self) -> float:
        """Megabytes of memory that the process has (Linux)."""
        pages = int(Path(f"/proc/{self.process}/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize() / 1e6


@contextmanager
def _serving(command: list[str], port: int, path: str) -> Iterator[Server]:
    started = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as child:
        try:
            while not _answers(f"http://127.0.0.1:{port}{path}"):
                if child.poll() is not None:
                    raise RuntimeError(f"{command[0]} ended before it answered")
                time.sleep(0.005)
            yield Server(port, child.pid, time.perf_counter() - started)
        finally:
            child.terminate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code < 500
    except httpx.TransportError:
        return False


@contextmanager
def exporter(ledger: Path, *flags: str, keys_url: str = "", port: int = 0) -> Iterator[Server]:
    """The program, on a ledger; with a key server it believes Adobe alone."""
    port = port or free_port()
    command = [str(PROGRAM), "serve", f"--web.listen-address=127.0.0.1:{port}", f"--ledger.url=sqlite:///{ledger}"]
    if keys_url:
        command += [f"--adobe.keys-url={keys_url}", f"--webhook.client-id={CLIENT_ID}"]
    with _serving([*command, *flags], port, "/-/ready") as server:
        yield server


@contextmanager
def endpoint() -> Iterator[Server]:
    """The Starlette endpoint that answers 204."""
    port = free_port()
    with _serving([sys.executable, "-c", _ENDPOINT, str(port)], port, "/") as server:
        yield server


@contextmanager
def least(ledger: Path, key_url: str) -> Iterator[Server]:
    """What does only what can't be left out of a signed, deduplicated, durable delivery."""
    port = free_port()
    with _serving([sys.executable, "-c", _LEAST, str(port), str(ledger), key_url], port, "/") as server:
        yield server
