import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from exporter.errors import ExporterError
from exporter.healthcheck import check_health
from tests.system.processes import free_port
from tests.web.certificates import certificate

SERVE = "AEP_EXPORTER_WEB_LISTEN_ADDRESS"
WEBHOOK = "AEP_EXPORTER_WEBHOOK_LISTEN_ADDRESS"
FILE = "AEP_EXPORTER_WEB_CONFIG_FILE"
KNOWN = {"AEP_EXPORTER_WEBHOOK_CLIENT_ID": "known"}


class Healthy(BaseHTTPRequestHandler):
    """An exporter that is healthy."""

    def do_GET(self) -> None:
        """Answer 200 on the route of the health check, and 404 elsewhere."""
        self.send_response(200 if self.path == "/-/healthy" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Log nothing."""


class Unhealthy(Healthy):
    """An exporter that is not healthy."""

    def do_GET(self) -> None:
        """Answer 503."""
        self.send_error(503)


class Server(ThreadingHTTPServer):
    """A listener, with TLS or without."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], folder: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        if folder is not None:
            certificate(folder, "server")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "server.crt", folder / "server.key")
            self.socket = context.wrap_socket(self.socket, server_side=True)


@pytest.fixture
def healthy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """The port of a listener. The fixture's parameter is its handler, and whether it has TLS."""
    handler, tls = getattr(request, "param", (Healthy, False))
    with Server(handler, tmp_path if tls else None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("flags", "variables"),
    [
        ([], {SERVE: "127.0.0.1:{port}"}),
        ([], {SERVE: ":{port}"}),
        ([], {SERVE: "0.0.0.0:{port}"}),
        ([], {SERVE: "localhost:{port}"}),
        ([], {SERVE: "[::]:{port}"}),
        (["--web.listen-address=:{port}"], {}),
        (["--web.listen-address", ":{port}"], {SERVE: ":1"}),
        (["--webhook.listen-address=:{port}"], {SERVE: ":1"}),
        ([], {SERVE: ":1", WEBHOOK: "127.0.0.1:{port}"}),
        ([], {SERVE: ":{port}", "http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}),
    ],
)
def test_the_check_asks_where_the_exporter_listens(
    healthy: int, monkeypatch: pytest.MonkeyPatch, flags: list[str], variables: dict[str, str]
) -> None:
    """The address is that of the flags and variables, of the webhook's own listener if it has one. No proxy is used."""
    environment = {name: value.format(port=healthy) for name, value in (KNOWN | variables).items()}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    check_health([flag.format(port=healthy) for flag in flags], environment)


@pytest.mark.parametrize("healthy", [(Healthy, True)], indirect=True)
def test_the_check_uses_tls(healthy: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where metrics are served over TLS, the check uses TLS and accepts any certificate, whatever variables are set."""
    for name in ("SSLKEYLOGFILE", "SSL_CERT_FILE", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "/nonexistent/file")
    file = tmp_path / "web.yml"
    file.write_text("tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n", encoding="utf-8")
    check_health([], {**KNOWN, SERVE: f":{healthy}", FILE: str(file)})


def test_a_file_without_tls_changes_nothing(healthy: int, tmp_path: Path) -> None:
    """With a web configuration that holds only headers, the check uses plain HTTP."""
    file = tmp_path / "web.yml"
    file.write_text("http_server_config: {headers: {X-Frame-Options: deny}}", encoding="utf-8")
    check_health([], {**KNOWN, SERVE: f":{healthy}", FILE: str(file)})


@pytest.mark.parametrize("healthy", [(Unhealthy, False), (Healthy, True)], indirect=True)
def test_an_exporter_that_is_not_well(healthy: int) -> None:
    """An answer other than 200, and one that is not HTTP, fail the check."""
    with pytest.raises(ExporterError, match=f"127.0.0.1:{healthy}"):
        check_health([], {SERVE: f"127.0.0.1:{healthy}"})


@pytest.mark.parametrize("healthy", [(Healthy, False), (Healthy, True)], indirect=True)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("tls_server_config: [", id="no-yaml"),
        pytest.param("tls_server_config: {cert_file: server.crt, key_file: server.key}", id="tls"),
        pytest.param("", id="no-tls"),
        pytest.param(None, id="gone"),
    ],
)
def test_files_that_changed_after_the_start(healthy: int, tmp_path: Path, text: str | None) -> None:
    """Whatever became of its files, an exporter that answers as it did at the start is healthy."""
    file = tmp_path / "web.yml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    check_health([f"--webhook.token-file={tmp_path / 'none'}"], {SERVE: f"127.0.0.1:{healthy}", FILE: str(file)})


def test_nobody_there() -> None:
    """No answer fails the check, with the address that was asked."""
    port = free_port()
    with pytest.raises(ExporterError, match=f"no answer from 127.0.0.1:{port}"):
        check_health([], {SERVE: f"127.0.0.1:{port}"})
