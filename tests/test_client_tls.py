"""TLS contexts of requests and of listeners, by the environment."""

import ssl
from pathlib import Path

import pytest

from exporter.client_tls import client_context
from exporter.errors import SettingsError
from exporter.simulate.program import tls_for
from exporter.web.tls import TlsConfig, ssl_context
from tests.web.certificates import certificate


def test_no_secrets_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No context writes the secrets of its connections to SSLKEYLOGFILE, nor fails because of it."""
    certificate(tmp_path, "listener")
    listener = TlsConfig.model_validate(
        {"cert_file": str(tmp_path / "listener.crt"), "key_file": str(tmp_path / "listener.key")}
    )
    for file in (tmp_path / "keys", tmp_path / "nonexistent" / "keys"):
        monkeypatch.setenv("SSLKEYLOGFILE", str(file))
        for context in (
            client_context({"SSLKEYLOGFILE": str(file)}, ssl.SSLContext.load_default_certs),
            ssl_context(listener, tmp_path / "web.yml"),
            tls_for("https://x.example"),
        ):
            assert context.keylog_filename is None


def test_servers_are_verified() -> None:
    """A server needs a certificate that is trusted and has its name, by the usual authorities if nothing is set."""
    loaded: list[ssl.SSLContext] = []
    context = client_context({"SSL_CERT_FILE": "", "SSL_CERT_DIR": ""}, loaded.append)
    assert loaded == [context]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_the_simulation_reads_variables_for_https_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """`simulate` needs no certificates for an address without TLS."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    tls_for("http://127.0.0.1:10464/webhook")
    with pytest.raises(SettingsError, match=r"^SSL_CERT_FILE names no file"):
        tls_for("https://x.example/webhook")
