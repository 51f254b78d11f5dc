import asyncio
import base64
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import bcrypt
import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from exporter.errors import SettingsError
from exporter.web import config
from exporter.web.access import BasicAuth, ExtraHeaders
from exporter.web.config import WebConfig, load
from tests.web.certificates import certificate

PASSWORD = "correct horse"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
OTHER = HASH.replace("$2b$", "$2y$")
TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """A writer of the file."""

    def write_file(text: str) -> Path:
        path = tmp_path / "web.yml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "{}",
        "basic_auth_users:\n",
        "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\n",
        "http_server_config: {http2: false}",
        "http_server_config: {http2: true, headers: {X-Frame-Options: ''}}",
    ],
)
def test_a_file_may_ask_for_nothing(write: Callable[[str], Path], text: str) -> None:
    """An empty file, empty sections and HTTP/2 change nothing."""
    found = load(write(text))
    assert (dict(found.users), dict(found.headers), found.tls, found.ssl_context()) == ({}, {}, None, None)
    assert not found.requires_client_certificate


def test_users_and_headers(write: Callable[[str], Path]) -> None:
    """Users and headers are what the file says, and hashes stay out of the value's text."""
    found = load(
        write(
            f"basic_auth_users:\n  alice: {HASH}\n  bob: {OTHER}\n"
            "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    Strict-Transport-Security: max-age=1\n"
        )
    )
    assert found.users == {"alice": HASH, "bob": OTHER}
    assert found.headers == {"X-Frame-Options": "deny", "Strict-Transport-Security": "max-age=1"}
    assert HASH not in repr(found)


def test_files_are_beside_the_configuration(write: Callable[[str], Path], tmp_path: Path) -> None:
    """A relative name is relative to the file's folder, an absolute one is itself."""
    tls = load(write("tls_server_config: {cert_file: a/b.crt, key_file: /c.key}")).tls
    assert tls is not None
    assert (tls.cert_file, tls.key_file) == (tmp_path / "a/b.crt", Path("/c.key"))
    assert (tls.min_version, tls.max_version, tls.client_auth_type) == ("TLS12", "TLS13", "NoClientCert")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- SECRET", "web.yml: must be a mapping"),
        ("a: SECRET\n b: : SECRET", "line 2: this is not YAML"),
        ("a: *SECRET", "line 1: this is not YAML"),
        ("a: !!SECRET x", "line 1: this is not YAML"),
        ("a: \x07SECRET", "web.yml: this is not YAML"),
        ("a: 2026-99-99", "web.yml: this is not YAML"),
        ("[" * 5000, "web.yml: this is not YAML"),
        (f"basic_auth_users:\n  a: {HASH}\n  a: {OTHER}", "line 3: a key is there twice"),
        ("rate_limit: {burst: 1}", "web.yml: rate_limit: there is no such key here"),
        ("tls_server_config: {}", "tls_server_config.cert_file: is needed"),
        ("tls_server_config: {}", "tls_server_config.key_file: is needed"),
        ("tls_server_config: SECRET", "tls_server_config: must be a mapping"),
        ("tls_server_config: {key: SECRET}", "tls_server_config.key: there is no such key here"),
        ('tls_server_config: {key_file: "-----BEGIN\\nSECRET"}', "key_file: must be the name of a file"),
        ("tls_server_config: {cert_file: ''}", "cert_file: must be the name of a file"),
        (TLS + "  client_auth_type: SECRET", "client_auth_type: must be 'NoClientCert'"),
        (TLS + "  client_auth_type: RequestClientCert", "VerifyClientCertIfGiven or RequireAndVerifyClientCert"),
        (TLS + "  client_auth_type: RequireAnyClientCert", "VerifyClientCertIfGiven or RequireAndVerifyClientCert"),
        (TLS + "  client_auth_type: VerifyClientCertIfGiven", "client_ca_file: is needed by client_auth_type"),
        (TLS + "  client_ca_file: ca.crt", "client_ca_file: is not used"),
        (TLS + "  min_version: SSL3", "min_version: must be 'TLS10'"),
        (TLS + "  max_version: TLS11", "max_version: is below min_version"),
        (TLS + "  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]", "cipher_suites.0: is no cipher suite"),
        (TLS + "  cipher_suites: TLS_AES_128_GCM_SHA256", "cipher_suites: must be a list"),
        (TLS + "  cipher_suites: [TLS_AES_128_GCM_SHA256]", "say min_version: TLS13"),
        (TLS + "  curve_preferences: [SECRET]", "curve_preferences.0: must be 'CurveP256'"),
        (TLS + "  curve_preferences: [CurveP384, CurveP256]", "one curve only"),
        ("http_server_config: {headers: {Set-Cookie: SECRET}}", "headers.Set-Cookie: is no header to set here"),
        ("http_server_config: {headers: {X-Frame-Options: SECRET}}", "X-Frame-Options must be deny or sameorigin"),
        ('http_server_config: {headers: {X-XSS-Protection: "1\\r\\nSECRET"}}', "X-XSS-Protection must be printable"),
        ("http_server_config: {headers: {X-XSS-Protection: 1}}", "headers.X-XSS-Protection: input should be"),
        ("basic_auth_users: {alice: SECRET}", "basic_auth_users.alice: must be a bcrypt hash"),
        ("basic_auth_users: {alice: 123}", "basic_auth_users.alice: input should be"),
        (f"basic_auth_users: {{alice: {HASH.replace('$04$', '$03$')}}}", "alice: must be a bcrypt hash"),
        (f"basic_auth_users: {{alice: {HASH.replace('$04$', '$32$')}}}", "alice: must be a bcrypt hash"),
        (f"basic_auth_users: {{alice: {HASH.replace('$2b$', '$2x$')}}}", "alice: must be a bcrypt hash"),
        (f"basic_auth_users: {{alice: {HASH}x}}", "alice: must be a bcrypt hash"),
        (f"basic_auth_users: {{'a:b': {HASH}}}", "has no colon"),
        (f"basic_auth_users: {{{HASH}: x}}", "(a key that is not shown)"),
        (f"alice: {HASH}\nbob: SECRET", "web.yml: bob: there is no such key here"),
    ],
)
def test_a_mistake_is_named_without_its_value(write: Callable[[str], Path], text: str, expected: str) -> None:
    """Every mistake is named by file and key, with what to do, and no value is repeated."""
    with pytest.raises(SettingsError) as caught:
        load(write(text))
    message = str(caught.value)
    assert expected in message
    assert all(line.startswith(str(write(text)) + ": ") for line in message.splitlines())
    assert "SECRET" not in message
    assert HASH[7:] not in message
    assert caught.value.__cause__ is None


def test_all_mistakes_at_once(write: Callable[[str], Path]) -> None:
    """One message has them all."""
    with pytest.raises(SettingsError) as caught:
        load(write("x: 1\nbasic_auth_users: {a: b, c: d}\ntls_server_config: {cert_file: 1, max_version: TLS11}"))
    assert len(str(caught.value).splitlines()) == 6


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file, a folder and bytes that are no text say so."""
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none.yml", tmp_path, binary):
        with pytest.raises(SettingsError, match="there is no such file, or it can't be read"):
            load(path)


async def trivial(scope: Scope, receive: Receive, send: Send) -> None:
    """Says hello to everybody."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Frame-Options", b"DENY"), (b"a", b"b")]})
    await send({"type": "http.response.body", "body": b"hello"})


def basic(text: str | bytes) -> str:
    """An Authorization header's value."""
    return "Basic " + base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def is_open(path: str) -> bool:
    """What needs no password."""
    return path == "/webhook" or path.startswith("/-/")


def fetch(app: Any, *requests: tuple[str, list[tuple[str, str]]], at_once: bool = False) -> list[httpx.Response]:
    """The answers to requests, one after the other or all at once."""

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            if at_once:
                return list(await asyncio.gather(*(client.get(path, headers=given) for path, given in requests)))
            return [await client.get(path, headers=given) for path, given in requests]

    return asyncio.run(run())


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The hashes that passwords were checked against."""
    seen: list[bytes] = []
    check = bcrypt.checkpw

    def counted(password: bytes, hashed: bytes) -> bool:
        seen.append(hashed)
        return check(password, hashed)

    monkeypatch.setattr("exporter.web.access.bcrypt.checkpw", counted)
    return seen


def test_a_password_opens_and_is_checked_once(checks: list[bytes]) -> None:
    """Who knows the password gets in, for any scheme spelling; bcrypt judges each pair once, right or wrong."""
    app = BasicAuth(trivial, {"alice": HASH, "björn": OTHER}, is_open)
    right, wrong = basic(f"alice:{PASSWORD}"), basic("alice:wrong")
    headers = [right, right.replace("Basic", "bAsIc"), basic(f"björn:{PASSWORD}"), wrong, wrong]
    answers = fetch(app, *(("/metrics", [("authorization", each)]) for each in headers))
    assert [each.status_code for each in answers] == [200, 200, 200, 401, 401]
    assert len(checks) == 3
    assert PASSWORD.encode() not in repr(app._verdicts).encode()


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", "")],
        [("authorization", "Basic")],
        [("authorization", "Basic !!!")],
        [("authorization", "Basic YQ")],
        [("authorization", basic("alice"))],
        [("authorization", basic(b"alice:\xff\xfe"))],
        [("authorization", basic("alice:"))],
        [("authorization", basic("alice:a\0b"))],
        [("authorization", basic("alice:" + "x" * 73))],
        [("authorization", basic("nobody:" + PASSWORD))],
        [("authorization", basic(":" + PASSWORD))],
        [("authorization", basic(f"alice:{PASSWORD}").replace("Basic", "Bearer"))],
        [("authorization", basic(f"alice:{PASSWORD}")), ("authorization", basic("a:b"))],
    ],
)
def test_anything_else_is_refused_alike(headers: list[tuple[str, str]]) -> None:
    """Whatever is wrong, the answer is the same 401."""
    (answer,) = fetch(BasicAuth(trivial, {"alice": HASH}, is_open), ("/metrics", headers))
    assert (answer.status_code, answer.text) == (401, "unauthorized\n")
    assert answer.headers["www-authenticate"] == "Basic"


def test_an_unknown_user_costs_the_same(checks: list[bytes]) -> None:
    """A user that there is not is checked against a hash of the dearest cost."""
    users = {"alice": HASH, "bob": HASH.replace("$04$", "$05$")}
    fetch(BasicAuth(trivial, users, is_open), ("/", [("authorization", basic("nobody:x"))]))
    assert [each[:7] for each in checks] == [b"$2b$05$"]


def test_open_paths_need_no_password(checks: list[bytes]) -> None:
    """The webhook and the probes are open, with or without credentials; without users everything is."""
    wrong = [("authorization", basic("alice:wrong"))]
    requests: list[tuple[str, list[tuple[str, str]]]] = [("/webhook", []), ("/-/ready", wrong)]
    assert {each.status_code for each in fetch(BasicAuth(trivial, {"alice": HASH}, is_open), *requests)} == {200}
    assert fetch(BasicAuth(trivial, {}, is_open), ("/metrics", []))[0].status_code == 200
    assert not checks


def test_verdicts_are_bounded_and_good_ones_stay(checks: list[bytes]) -> None:
    """Guesses push out guesses, never the verdict on a good password."""
    app = BasicAuth(trivial, {"alice": HASH}, is_open)
    right = ("/", [("authorization", basic(f"alice:{PASSWORD}"))])
    guesses = [("/", [("authorization", basic(f"alice:{number}"))]) for number in range(140)]
    assert fetch(app, right, *guesses, right)[-1].status_code == 200
    assert len(app._verdicts) == 128
    assert len(checks) == 141


def test_few_checks_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight passwords are checked at a time, the others wait, and equal ones wait for one verdict."""
    counting = threading.Lock()
    running, most, total = 0, 0, 0

    def check(self: BasicAuth, credentials: bytes) -> bool:
        nonlocal running, most, total
        with counting:
            running, total = running + 1, total + 1
            most = max(most, running)
        threading.Event().wait(0.01)
        with counting:
            running -= 1
        return False

    monkeypatch.setattr(BasicAuth, "_check", check)
    guesses = [("/", [("authorization", basic(f"alice:{number}"))]) for number in range(20)]
    same = [("/", [("authorization", basic("alice:0"))])] * 5
    answers = fetch(BasicAuth(trivial, {"alice": HASH}, is_open), *guesses, *same, at_once=True)
    assert {each.status_code for each in answers} == {401}
    assert (most, total) == (8, 20)


def test_other_protocols() -> None:
    """Lifespan passes, a websocket without a password is closed."""
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


def test_headers_replace_the_applications() -> None:
    """A configured header stands once on every answer, a refusal too; others stay."""
    app = ExtraHeaders(BasicAuth(trivial, {"alice": HASH}, is_open), {"X-Frame-Options": "sameorigin"})
    opened, refused = fetch(app, ("/webhook", []), ("/metrics", []))
    assert opened.headers.get_list("x-frame-options") == refused.headers.get_list("x-frame-options") == ["sameorigin"]
    assert opened.headers["a"] == "b"
    assert refused.status_code == 401


@contextmanager
def served(found: WebConfig) -> Iterator[str]:
    """The trivial application behind TLS; its URL."""
    context = found.ssl_context()
    assert context is not None
    server = uvicorn.Server(
        uvicorn.Config(
            trivial, port=0, lifespan="off", log_config=None, ssl_context_factory=lambda _config, _default: context
        )
    )
    thread = Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            thread.join(0.01)
        yield f"https://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


def client(folder: Path, name: str | None = None) -> ssl.SSLContext:
    """What a client trusts, and who it says it is."""
    context = ssl.create_default_context(cafile=str(folder / "server.crt"))
    if name is not None:
        context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return context


def test_tls(write: Callable[[str], Path], tmp_path: Path) -> None:
    """A client that trusts the certificate is answered, one that does not is not; versions and suites are heeded."""
    certificate(tmp_path, "server")
    suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    more = f"  max_version: TLS12\n  cipher_suites: [{suite}]\n  curve_preferences: [CurveP256]\n"
    with served(load(write(TLS + more))) as url:
        trusting = client(tmp_path)
        with httpx.stream("GET", url, verify=trusting) as answer:
            cipher = answer.extensions["network_stream"].get_extra_info("ssl_object").cipher()
            assert answer.read() == b"hello"
        assert cipher[:2] == ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1.2")
        with pytest.raises(httpx.ConnectError):
            httpx.get(url, verify=ssl.create_default_context())


@pytest.mark.parametrize(
    ("policy", "required"), [("RequireAndVerifyClientCert", True), ("VerifyClientCertIfGiven", False)]
)
def test_client_certificates(write: Callable[[str], Path], tmp_path: Path, policy: str, required: bool) -> None:
    """A known certificate gets in and a foreign one does not; none does only where none is required."""
    for name in ("server", "known", "foreign"):
        certificate(tmp_path, name)
    found = load(write(f"{TLS}  client_auth_type: {policy}\n  client_ca_file: known.crt\n"))
    assert found.requires_client_certificate is required
    with served(found) as url:
        assert httpx.get(url, verify=client(tmp_path, "known")).text == "hello"
        # TLS 1.3 tells a client only after its handshake.
        with pytest.raises(httpx.TransportError):
            httpx.get(url, verify=client(tmp_path, "foreign"))
        if required:
            with pytest.raises(httpx.TransportError):
                httpx.get(url, verify=client(tmp_path))
        else:
            assert httpx.get(url, verify=client(tmp_path)).text == "hello"


def test_bounds_reach_openssl(write: Callable[[str], Path], tmp_path: Path) -> None:
    """Old versions are allowed where asked for, and the client's preference counts where asked for."""
    certificate(tmp_path, "server")
    found = load(write(TLS + "  min_version: TLS10\n  prefer_server_cipher_suites: false\n"))
    context = found.ssl_context()
    assert context is not None
    assert context.minimum_version.name == "TLSv1"
    assert context.maximum_version.name == "TLSv1_3"
    assert not context.options & ssl.OP_CIPHER_SERVER_PREFERENCE


def test_every_listed_suite_and_curve_is_openssls(write: Callable[[str], Path], tmp_path: Path) -> None:
    """Each suite and curve that is accepted can be used."""
    certificate(tmp_path, "server")
    for suite, openssl in config._SUITES.items():
        context = load(write(f"{TLS}  cipher_suites: [{suite}]")).ssl_context()
        assert context is not None
        assert openssl in {each["name"] for each in context.get_ciphers()}
    for curve in config._CURVES:
        assert load(write(f"{TLS}  curve_preferences: [{curve}]")).ssl_context() is not None


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("none.crt", "none.key", "server.crt"), "cert_file: there is no such file"),
        (("none.crt", "none.key", "server.crt"), "key_file: there is no such file"),
        (("server.crt", "server.key", "none.crt"), "client_ca_file: there is no such file"),
        (("server.crt", "other.key", "server.crt"), "key_file: is not the key of cert_file"),
        (("server.crt", "locked.key", "server.crt"), "the key without a passphrase"),
        (("web.yml", "server.key", "server.crt"), "must hold a certificate and its key as PEM"),
        ((".", "server.key", "server.crt"), "cert_file"),
        (("server.crt", "server.key", "web.yml"), "client_ca_file: must hold certificates"),
        (("server.crt", "server.key", "."), "client_ca_file: must hold certificates"),
    ],
)
def test_files_that_cannot_be_loaded(
    write: Callable[[str], Path], tmp_path: Path, files: tuple[str, str, str], expected: str
) -> None:
    """A certificate, key or CA that can't be used is named by its key, without its content."""
    certificate(tmp_path, "server")
    certificate(tmp_path, "other")
    certificate(tmp_path, "locked", passphrase=b"made up")
    found = load(
        write(
            f"tls_server_config: {{cert_file: {files[0]}, key_file: {files[1]}, client_ca_file: {files[2]}, "
            "client_auth_type: RequireAndVerifyClientCert}"
        )
    )
    with pytest.raises(SettingsError) as caught:
        found.ssl_context()
    assert expected in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'web.yml'}: tls_server_config.")
    assert "BEGIN" not in str(caught.value)
