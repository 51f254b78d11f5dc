import asyncio
import base64
import threading
from typing import Any

import bcrypt
import httpx
import pytest
from starlette.types import Receive, Scope, Send

from exporter.web.basic_auth import BasicAuth, Passwords
from exporter.web.headers import SECURITY_HEADERS
from tests.web.web_config import HASH, OTHER_HASH, PASSWORD


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers every request."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def basic(text: str | bytes) -> str:
    """An Authorization header's value."""
    return "Basic " + base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def is_open(path: str) -> bool:
    """The paths that need no password."""
    return path == "/webhook" or path.startswith("/-/")


def fetch(app: Any, *requests: tuple[str, list[tuple[str, str]]], at_once: bool = False) -> list[httpx.Response]:
    """The answers to requests, sent one after the other or all at once."""

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            if at_once:
                return list(await asyncio.gather(*(client.get(path, headers=given) for path, given in requests)))
            return [await client.get(path, headers=given) for path, given in requests]

    return asyncio.run(run())


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The hashes with which passwords were compared."""
    seen: list[bytes] = []
    check = bcrypt.checkpw

    def counted(password: bytes, hashed: bytes) -> bool:
        seen.append(hashed)
        return check(password, hashed)

    monkeypatch.setattr("exporter.web.basic_auth.bcrypt.checkpw", counted)
    return seen


def test_a_password_opens_and_is_checked_once(checks: list[bytes]) -> None:
    """The right password is accepted, with any spelling of the scheme. bcrypt checks each pair once."""
    app = BasicAuth(hello, {"alice": HASH, "björn": OTHER_HASH}, is_open)
    right, wrong = basic(f"alice:{PASSWORD}"), basic("alice:wrong")
    headers = [right, right.replace("Basic", "bAsIc"), basic(f"björn:{PASSWORD}"), wrong, wrong]
    answers = fetch(app, *(("/metrics", [("authorization", each)]) for each in headers))
    assert [each.status_code for each in answers] == [200, 200, 200, 401, 401]
    assert len(checks) == 3
    assert PASSWORD.encode() not in repr(app._passwords._verdicts).encode()


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="no header"),
        pytest.param([("authorization", "")], id="an empty header"),
        pytest.param([("authorization", "Basic")], id="the scheme alone"),
        pytest.param([("authorization", "Basic !!!")], id="not base64"),
        pytest.param([("authorization", "Basic YQ")], id="base64 without padding"),
        pytest.param([("authorization", basic("alice"))], id="no colon"),
        pytest.param([("authorization", basic(b"alice:\xff\xfe"))], id="not UTF-8"),
        pytest.param([("authorization", basic("alice:"))], id="no password"),
        pytest.param([("authorization", basic("alice:a\0b"))], id="NUL"),
        pytest.param([("authorization", basic("alice:" + "x" * 73))], id="too long a password"),
        pytest.param([("authorization", basic("nobody:" + PASSWORD))], id="an unknown user"),
        pytest.param([("authorization", basic(":" + PASSWORD))], id="no user"),
        pytest.param([("authorization", basic(f"alice:{PASSWORD}").replace("Basic", "Bearer"))], id="another scheme"),
        pytest.param(
            [("authorization", basic(f"alice:{PASSWORD}")), ("authorization", basic("a:b"))], id="two headers"
        ),
    ],
)
def test_anything_else_is_refused_alike(headers: list[tuple[str, str]]) -> None:
    """Every other header gets the same 401, with WWW-Authenticate and the security headers."""
    (answer,) = fetch(BasicAuth(hello, {"alice": HASH}, is_open), ("/metrics", headers))
    assert (answer.status_code, answer.text) == (401, "unauthorized\n")
    assert answer.headers["www-authenticate"] == "Basic"
    assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS


def test_an_unknown_user_costs_the_same(checks: list[bytes]) -> None:
    """The password of an unknown user is compared with a hash of the highest cost in use."""
    users = {"alice": HASH, "bob": HASH.replace("$04$", "$05$")}
    fetch(BasicAuth(hello, users, is_open), ("/", [("authorization", basic("nobody:x"))]))
    assert [each[:7] for each in checks] == [b"$2b$05$"]


def test_open_paths_need_no_password(checks: list[bytes]) -> None:
    """Open paths need no password, and a wrong one does no harm there. Without users every path is open."""
    wrong = [("authorization", basic("alice:wrong"))]
    requests: list[tuple[str, list[tuple[str, str]]]] = [("/webhook", []), ("/-/ready", wrong)]
    assert {each.status_code for each in fetch(BasicAuth(hello, {"alice": HASH}, is_open), *requests)} == {200}
    assert fetch(BasicAuth(hello, {}, is_open), ("/metrics", []))[0].status_code == 200
    assert not checks


def test_verdicts_are_bounded_and_good_ones_stay(checks: list[bytes]) -> None:
    """At most 128 verdicts are kept. Wrong guesses never displace the verdict on a right password."""
    app = BasicAuth(hello, {"alice": HASH}, is_open)
    right = ("/", [("authorization", basic(f"alice:{PASSWORD}"))])
    guesses = [("/", [("authorization", basic(f"alice:{number}"))]) for number in range(140)]
    assert fetch(app, right, *guesses, right)[-1].status_code == 200
    assert len(app._passwords._verdicts) == 128
    assert len(checks) == 141


def test_few_checks_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight passwords are checked at the same time. Equal ones are checked once."""
    counting = threading.Lock()
    together = threading.Barrier(8)
    running, most, total = 0, 0, 0

    def check(self: Passwords, credentials: bytes) -> bool:
        nonlocal running, most, total
        with counting:
            running, total = running + 1, total + 1
            most, is_early = max(most, running), total <= 8
        # The first eight wait for each other, so that a busy machine does not run them one after the other.
        if is_early:
            together.wait(60)
        with counting:
            running -= 1
        return False

    monkeypatch.setattr(Passwords, "check", check)
    guesses = [("/", [("authorization", basic(f"alice:{number}"))]) for number in range(20)]
    same = [("/", [("authorization", basic("alice:0"))])] * 5
    answers = fetch(BasicAuth(hello, {"alice": HASH}, is_open), *guesses, *same, at_once=True)
    assert {each.status_code for each in answers} == {401}
    assert (most, total) == (8, 20)


def test_users_are_replaced(checks: list[bytes]) -> None:
    """From one request to the next a removed user is refused, a new one and a new password are accepted."""
    app = BasicAuth(hello, {"alice": HASH, "bob": HASH}, is_open)
    requests = [("/", [("authorization", basic(f"{each}:{PASSWORD}"))]) for each in ("alice", "bob", "carol")]
    assert [each.status_code for each in fetch(app, *requests)] == [200, 200, 401]
    app.replace({"alice": bcrypt.hashpw(b"another", bcrypt.gensalt(4)).decode(), "carol": HASH})
    assert [each.status_code for each in fetch(app, *requests)] == [401, 401, 200]
    assert fetch(app, ("/", [("authorization", basic("alice:another"))]))[0].status_code == 200
    done = len(checks)
    app.replace(app._passwords.users)
    assert fetch(app, requests[2])[0].status_code == 200
    # The users are the same, so what is known of them stays.
    assert len(checks) == done


def test_a_user_who_is_removed_during_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who is removed while the password is being compared is refused."""
    app = BasicAuth(hello, {"alice": HASH}, is_open)
    check = Passwords.check

    def slow_check(self: Passwords, credentials: bytes) -> bool:
        found = check(self, credentials)
        app.replace({"bob": HASH})
        return found

    monkeypatch.setattr(Passwords, "check", slow_check)
    assert fetch(app, ("/", [("authorization", basic(f"alice:{PASSWORD}"))]))[0].status_code == 401


def test_other_protocols() -> None:
    """Lifespan events pass. A websocket without a password is closed."""
    passed: list[str] = []
    sent: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope["type"])

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {}

    auth = BasicAuth(app, {"alice": HASH}, is_open)
    for scope in ({"type": "lifespan"}, {"type": "websocket", "path": "/metrics", "headers": []}):
        asyncio.run(auth(scope, receive, send))
    assert passed == ["lifespan"]
    assert [message["type"] for message in sent] == ["websocket.close"]
