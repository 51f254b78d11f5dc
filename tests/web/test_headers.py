import asyncio

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from exporter.web import app
from exporter.web.basic_auth import BasicAuth
from exporter.web.headers import SECURITY_HEADERS, ExtraHeaders
from tests.web.conftest import Application
from tests.web.web_config import HASH


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers every request with headers of its own."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Frame-Options", b"DENY"), (b"a", b"b")]})
    await send({"type": "http.response.body", "body": b"hello"})


def broken(_request: Request) -> Response:
    """An endpoint that fails before it answers."""
    raise RuntimeError("made up")


def get(application: ASGIApp, path: str, *, raises: bool = True) -> httpx.Response:
    """The answer to one request. `raises`: raise what the application raised, instead of returning its answer."""

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(application, raise_app_exceptions=raises)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path)

    return asyncio.run(run())


def test_headers_replace_the_applications() -> None:
    """A configured header is set once on every answer, a refusal too. Other headers are kept."""
    inner = BasicAuth(hello, {"alice": HASH}, lambda path: path == "/webhook")
    application = ExtraHeaders(inner, {"X-Frame-Options": "sameorigin"})
    opened, refused = get(application, "/webhook"), get(application, "/metrics")
    assert opened.headers.get_list("x-frame-options") == refused.headers.get_list("x-frame-options") == ["sameorigin"]
    assert opened.headers["a"] == "b"
    assert refused.status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/webhook?challenge=a", 200),
        ("GET", "/webhook", 400),
        ("PUT", "/webhook", 405),
        ("POST", "/webhook", 200),
        ("GET", "/metrics", 200),
        ("HEAD", "/metrics", 200),
        ("GET", "/metrics?collect[]=x", 400),
        ("POST", "/metrics", 405),
        ("GET", "/", 200),
        ("POST", "/", 405),
        ("GET", "/-/healthy", 200),
        ("POST", "/-/healthy", 405),
        ("GET", "/-/ready", 503),
        ("GET", "/nowhere", 404),
    ],
)
def test_every_answer_has_the_security_headers(application: Application, method: str, path: str, status: int) -> None:
    """Every route's answers and refusals have each security header once."""
    response = application.request(method, path)
    assert response.status_code == status
    found = {name: response.headers.get_list(name) for name in SECURITY_HEADERS}
    assert found == {name: [value] for name, value in SECURITY_HEADERS.items()}


def test_an_unexpected_exception_is_answered_with_the_security_headers() -> None:
    """An exception that no route handles is answered with 500, without its text, and goes on to uvicorn's log."""
    application = app.build([Route("/", broken)])
    response = get(application, "/", raises=False)
    assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert {name: response.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    with pytest.raises(RuntimeError, match="made up"):
        get(application, "/")
