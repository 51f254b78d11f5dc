"""The bounds themselves are tested with real connections in tests/system."""

import ast
import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from exporter.web import protocol
from exporter.web.connection_pool import ConnectionPool
from exporter.web.headers import SECURITY_HEADERS
from exporter.web.protocol import BoundedProtocol

ATTRIBUTES: Final = {
    "app",
    "cycle",
    "flow",
    "headers",
    "loop",
    "parser",
    "pipeline",
    "server_state",
    "timeout_keep_alive",
    "timeout_keep_alive_task",
    "transport",
    "url",
}
"""Attributes of uvicorn's protocol that BoundedProtocol uses. A request's own ones exist once it began."""

OF_A_CYCLE: Final = {"disconnected", "keep_alive", "message_event", "response_complete", "response_started", "scope"}
"""Attributes of one request and its answer that BoundedProtocol uses."""

METHODS: Final = {
    "__init__": ["config", "server_state", "app_state", "_loop"],
    "_unset_keepalive_if_required": [],
    "connection_lost": ["exc"],
    "connection_made": ["transport"],
    "data_received": ["data"],
    "eof_received": [],
    "on_body": ["body"],
    "on_header": ["name", "value"],
    "on_headers_complete": [],
    "on_message_begin": [],
    "on_message_complete": [],
    "on_response_complete": [],
    "on_url": ["url"],
    "pause_writing": [],
    "resume_writing": [],
    "send_400_response": ["msg"],
    "shutdown": [],
    "timeout_keep_alive_handler": [],
}
"""Methods of uvicorn's protocol that BoundedProtocol calls or overrides, with their parameters."""


class FakeTransport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def write(self, data: Any) -> None:
        """Keep it."""
        self.written += bytes(data)

    def close(self) -> None:
        """Mark as closed."""
        self.is_closed = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.is_closed


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """An application that is not called here."""


def made(loop: asyncio.AbstractEventLoop, kind: Callable[..., HttpToolsProtocol]) -> HttpToolsProtocol:
    """A protocol whose connection was made and whose first request began."""
    config = uvicorn.Config(hello, lifespan="off", log_config=None)
    instance = kind(config, ServerState(), {}, _loop=loop)
    instance.connection_made(FakeTransport())
    instance.on_message_begin()
    return instance


def test_uvicorn_has_the_parts_that_are_used() -> None:
    """Each private part that BoundedProtocol uses exists in the installed uvicorn, with the same parameters."""

    async def missing() -> set[str]:
        instance = made(asyncio.get_running_loop(), HttpToolsProtocol)
        return {name for name in ATTRIBUTES | METHODS.keys() if not hasattr(instance, name)}

    absent = asyncio.run(missing())
    assert not absent, f"uvicorn {uvicorn.__version__} lacks parts that exporter/web/protocol.py uses: {absent}"
    found = {name: [*inspect.signature(getattr(HttpToolsProtocol, name)).parameters][1:] for name in METHODS}
    assert found == METHODS, f"uvicorn {uvicorn.__version__} changed methods that exporter/web/protocol.py overrides"


def test_every_part_that_is_used_is_listed() -> None:
    """The lists above hold every attribute and method that BoundedProtocol does not define itself."""
    (body,) = (
        node
        for node in ast.parse(inspect.getsource(protocol)).body
        if isinstance(node, ast.ClassDef) and node.name == "BoundedProtocol"
    )
    own = {node.name for node in body.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    own |= {
        target.id
        for node in body.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    own |= {
        node.target.attr if isinstance(node, ast.AnnAssign) else node.targets[0].attr  # type: ignore[attr-defined,union-attr]
        for function in body.body
        if isinstance(function, ast.FunctionDef) and function.name == "__init__"
        for node in ast.walk(function)
        if isinstance(node, ast.Assign | ast.AnnAssign)
    }
    used = {
        node.attr
        for node in ast.walk(body)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    }
    overridden = {name for name in own if hasattr(HttpToolsProtocol, name)} | own & ATTRIBUTES
    assert used - own | overridden == ATTRIBUTES | METHODS.keys()
    of_a_cycle = {
        node.attr
        for node in ast.walk(body)
        if isinstance(node, ast.Attribute)
        and ((isinstance(node.value, ast.Name) and node.value.id in {"cycle", "running"}) or _is_cycle(node.value))
    }
    assert of_a_cycle == OF_A_CYCLE


def _is_cycle(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in {"cycle", "_running"}


def test_a_cycle_has_the_parts_that_are_used() -> None:
    """Uvicorn sets each of these attributes when a request begins."""
    source = inspect.getsource(RequestResponseCycle.__init__)
    assert [name for name in OF_A_CYCLE if f"self.{name}" not in source] == []


def test_a_400_has_the_security_headers() -> None:
    """What is not HTTP is answered with 400 and the security headers, and the connection is closed."""

    async def story() -> FakeTransport:
        instance = made(asyncio.get_running_loop(), partial(BoundedProtocol, pool=ConnectionPool()))
        instance.server_state.default_headers = [(b"date", b"today")]
        instance.data_received(b"ahoy\r\n\r\n")
        transport = instance.transport
        instance.connection_lost(None)
        assert isinstance(transport, FakeTransport)
        return transport

    transport = asyncio.run(story())
    head, _, body = transport.written.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert status == "HTTP/1.1 400 Bad Request"
    assert {name: headers.get(name.lower()) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert (headers["date"], headers["connection"], int(headers["content-length"])) == ("today", "close", len(body))
    assert transport.is_closed
