"""The two servers that are loaded: the program, and what a reader would have written instead of it."""

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


@dataclass(frozen=True)
class Server:
    """A server that answers; `seconds` from its start until it did."""

    port: int
    process: int
    seconds: float

    def get(self, path: str) -> httpx.Response:
        """One request, that must succeed."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=120).raise_for_status()

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
def exporter(ledger: Path, *flags: str, keys_url: str = "") -> Iterator[Server]:
    """The program, on a ledger; with a key server it believes Adobe alone."""
    port = free_port()
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
