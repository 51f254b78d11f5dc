import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from exporter.errors import SettingsError
from exporter.web.config import WebConfig, load
from exporter.web.tls import CURVES, SUITES
from tests.web.certificates import certificate
from tests.web.web_config import TLS, write


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers every request."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


@contextmanager
def served(found: WebConfig) -> Iterator[str]:
    """Serve an application with TLS, and yield its URL."""
    context = found.ssl_context()
    assert context is not None
    server = uvicorn.Server(
        uvicorn.Config(
            hello, port=0, lifespan="off", log_config=None, ssl_context_factory=lambda _config, _default: context
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
    """A client's context, which trusts the server's certificate and may present one of its own."""
    context = ssl.create_default_context(cafile=str(folder / "server.crt"))
    if name is not None:
        context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return context


def test_tls(tmp_path: Path) -> None:
    """A client that trusts the certificate is answered, with the configured version and suite. Another is not."""
    certificate(tmp_path, "server")
    suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    more = f"  max_version: TLS12\n  cipher_suites: [{suite}]\n  curve_preferences: [CurveP256]\n"
    with served(load(write(tmp_path, TLS + more))) as url:
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
def test_client_certificates(tmp_path: Path, policy: str, required: bool) -> None:
    """A known certificate is accepted and a foreign one is not. None at all is refused where one is required."""
    for name in ("server", "known", "foreign"):
        certificate(tmp_path, name)
    found = load(write(tmp_path, f"{TLS}  client_auth_type: {policy}\n  client_ca_file: known.crt\n"))
    assert found.requires_client_certificate is required
    with served(found) as url:
        assert httpx.get(url, verify=client(tmp_path, "known")).text == "hello"
        # In TLS 1.3 the client sees the refusal only after its handshake.
        with pytest.raises(httpx.TransportError):
            httpx.get(url, verify=client(tmp_path, "foreign"))
        if required:
            with pytest.raises(httpx.TransportError):
                httpx.get(url, verify=client(tmp_path))
        else:
            assert httpx.get(url, verify=client(tmp_path)).text == "hello"


def test_bounds_reach_openssl(tmp_path: Path) -> None:
    """Old versions and the client's preference of suites can be configured."""
    certificate(tmp_path, "server")
    found = load(write(tmp_path, TLS + "  min_version: TLS10\n  prefer_server_cipher_suites: false\n"))
    context = found.ssl_context()
    assert context is not None
    assert context.minimum_version.name == "TLSv1"
    assert context.maximum_version.name == "TLSv1_3"
    assert not context.options & ssl.OP_CIPHER_SERVER_PREFERENCE


def test_every_listed_suite_and_curve_is_openssls(tmp_path: Path) -> None:
    """OpenSSL has every suite and curve that is accepted."""
    certificate(tmp_path, "server")
    for suite, openssl in SUITES.items():
        context = load(write(tmp_path, f"{TLS}  cipher_suites: [{suite}]")).ssl_context()
        assert context is not None
        assert openssl in {each["name"] for each in context.get_ciphers()}
    for curve in CURVES:
        assert load(write(tmp_path, f"{TLS}  curve_preferences: [{curve}]")).ssl_context() is not None


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
def test_files_that_cannot_be_loaded(tmp_path: Path, files: tuple[str, str, str], expected: str) -> None:
    """A certificate, key or CA that can't be used is named by its field, without its content."""
    certificate(tmp_path, "server")
    certificate(tmp_path, "other")
    certificate(tmp_path, "locked", passphrase=b"made up")
    found = load(
        write(
            tmp_path,
            f"tls_server_config: {{cert_file: {files[0]}, key_file: {files[1]}, client_ca_file: {files[2]}, "
            "client_auth_type: RequireAndVerifyClientCert}",
        )
    )
    with pytest.raises(SettingsError) as caught:
        found.ssl_context()
    assert expected in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'web.yml'}: tls_server_config.")
    assert "BEGIN" not in str(caught.value)
