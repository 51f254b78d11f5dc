"""What `serve` reads again: versions that are used, and versions that are refused while the old one stays in force."""

import asyncio
import ssl
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.commands.serve_files import ServeFiles
from exporter.commands.serve_settings import ServeSettings
from exporter.commands.settings import load
from exporter.errors import SettingsError
from exporter.reloading import Reloading
from exporter.web.config import WebConfig
from tests.web.certificates import certificate
from tests.web.web_config import HASH, TLS, write

USERS = f"basic_auth_users:\n  prometheus: {HASH}\n"
CLIENTS = TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: client.crt\n"
OLD, NEW = "s3cret-token-of-yesterday", "s3cret-token-of-tomorrow"


class Application:
    """Remembers what it was told to use."""

    def __init__(self) -> None:
        self.web: list[WebConfig] = []
        self.tokens: list[tuple[str, ...]] = []

    def use_web_config(self, web: WebConfig) -> None:
        """Remember a version of the web configuration."""
        self.web.append(web)

    def use_tokens(self, tokens: tuple[str, ...]) -> None:
        """Remember a version of the tokens."""
        self.tokens.append(tokens)


class Story:
    """The files of one process, over several versions."""

    def __init__(self, *flags: str) -> None:
        settings, _ = load(ServeSettings, flags, {})
        self.files = ServeFiles(settings)
        self.app = Application()
        self._reloading = Reloading(self.files.sources(self.app))

    def step(self) -> list[MutableMapping[str, Any]]:
        """Read everything again, as after SIGHUP. Returns the log, which holds no secret."""
        with capture_logs() as logs:
            asyncio.run(self._reloading.step(is_asked=True))
        assert "s3cret" not in repr(logs)
        return logs


@pytest.fixture(autouse=True)
def certificates(folder: Path) -> None:
    """The certificates that the files name."""
    for name in ("server", "other", "client"):
        certificate(folder, name)


def web(folder: Path, text: str, *flags: str) -> Story:
    """A process with this web configuration."""
    return Story(f"--web.config.file={write(folder, text)}", *flags)


def test_everything_of_the_web_configuration(folder: Path) -> None:
    """Users, headers, certificate, versions of TLS and client certificates are replaced. The log names the files."""
    story = web(folder, TLS, "--webhook.listen-address=127.0.0.1:1")
    story.step()
    assert story.files.tls is not None
    before = story.files.tls()
    assert before.verify_mode is ssl.CERT_NONE
    write(
        folder,
        CLIENTS.replace("server.", "other.")
        + f"  min_version: TLS13\nhttp_server_config:\n  headers: {{X-Frame-Options: sameorigin}}\n{USERS}",
    )
    (line,) = story.step()
    assert (line["event"], line["source"], line["users"]) == ("files were read again", "--web.config.file", 1)
    assert line["changed"] == "--web.config.file, cert_file, key_file, client_ca_file"
    context = story.files.tls()
    assert context is not before
    assert (context.verify_mode, context.minimum_version) == (ssl.CERT_REQUIRED, ssl.TLSVersion.TLSv1_3)
    assert story.files.web is story.app.web[-1]
    assert (set(story.files.web.users), dict(story.files.web.headers)) == (
        {"prometheus"},
        {"X-Frame-Options": "sameorigin"},
    )


@pytest.mark.parametrize(("name", "changed"), [("server", "cert_file, key_file"), ("client", "client_ca_file")])
def test_a_new_certificate_with_the_same_name(folder: Path, name: str, changed: str) -> None:
    """A certificate that is replaced under its name is used for the next handshake."""
    story = web(folder, CLIENTS, "--webhook.listen-address=127.0.0.1:1")
    story.step()
    assert story.files.tls is not None
    before = story.files.tls()
    certificate(folder, name)
    (line,) = story.step()
    assert line["changed"] == changed
    assert story.files.tls() is not before


def test_an_expired_certificate(folder: Path) -> None:
    """A new certificate that has expired is refused. One that is in use stays, and users can be changed then."""
    story = web(folder, TLS + USERS)
    story.step()
    assert story.files.tls is not None
    before = story.files.tls()
    certificate(folder, "server", days=-1)
    (line,) = story.step()
    assert "cert_file: the certificate expired at " in line["detail"]
    assert story.files.tls() is before
    with capture_logs() as logs:
        late = web(folder, TLS + USERS)
    assert [line["event"] for line in logs] == ["the certificate is not valid"]
    late.step()
    write(folder, TLS + USERS.replace("prometheus", "grafana"))
    (line,) = late.step()
    assert line["event"] == "files were read again"
    certificate(folder, "server")
    (line,) = late.step()
    assert line["changed"] == "cert_file, key_file"


@pytest.mark.parametrize(
    ("before", "after", "advice"),
    [
        pytest.param(TLS + USERS, USERS, "tls_server_config is gone: restart", id="tls-off"),
        pytest.param(USERS, TLS + USERS, "tls_server_config is new: restart", id="tls-on"),
        pytest.param(TLS + USERS, TLS, "password any more: restart", id="no-users"),
        pytest.param(USERS, "", "password any more: restart", id="emptied"),
        pytest.param(TLS, "", "tls_server_config is gone: restart", id="emptied-tls"),
        pytest.param(CLIENTS, TLS, "certificate any more: restart", id="no-client-certificates"),
        pytest.param(
            CLIENTS, CLIENTS.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven"), "restart", id="optional"
        ),
        pytest.param(USERS, USERS + "odd: true\n", "odd: there is no such key here", id="unknown-key"),
        pytest.param(USERS, USERS + "  [", "this is not YAML", id="no-yaml"),
        pytest.param(USERS, USERS.replace(HASH, "s3cret"), "must be a bcrypt hash", id="no-hash"),
        pytest.param(TLS, TLS.replace("server.key", "other.key"), "is not the key of cert_file", id="other-key"),
        pytest.param(TLS, TLS.replace("server.crt", "none.crt"), "cert_file: there is no such file", id="no-file"),
        pytest.param(
            CLIENTS, CLIENTS.replace("client.crt", "none.crt"), "client_ca_file: there is no such file", id="no-ca"
        ),
    ],
)
def test_versions_that_are_refused(folder: Path, before: str, after: str, advice: str) -> None:
    """What is wrong, or would take protection away, is refused with what to do, and the version before stays."""
    story = web(folder, before, "--webhook.listen-address=127.0.0.1:1")
    story.step()
    in_force, tls = story.files.web, story.files.tls() if story.files.tls is not None else None
    write(folder, after)
    (line,) = story.step()
    assert (line["log_level"], line["source"]) == ("error", "--web.config.file")
    assert advice in str(line["detail"])
    assert story.files.web is in_force
    assert story.app.web == [in_force]
    assert (story.files.tls() if story.files.tls is not None else None) is tls
    write(folder, before)
    (line,) = story.step()
    assert (line["log_level"], line["changed"]) == ("info", "nothing")


def test_client_certificates_need_a_webhook_of_its_own(folder: Path) -> None:
    """As at the start, client certificates are refused while the webhook shares the listener: Adobe has none."""
    story = web(folder, TLS)
    story.step()
    write(folder, CLIENTS)
    (line,) = story.step()
    assert "--webhook.listen-address" in str(line["detail"])
    with pytest.raises(SettingsError, match=r"--webhook\.listen-address"):
        web(folder, CLIENTS)


def test_first_users(folder: Path) -> None:
    """Users that are added to a file without any are asked for their passwords without a restart."""
    story = web(folder, "")
    story.step()
    write(folder, USERS)
    (line,) = story.step()
    assert line["users"] == 1
    assert set(story.app.web[-1].users) == {"prometheus"}


def test_tokens(folder: Path) -> None:
    """A new version of the tokens replaces the old one, and the log has their number alone."""
    file = folder / "tokens"
    file.write_text(OLD)
    story = Story(f"--webhook.token-file={file}")
    story.step()
    file.write_text(f"{OLD}\n{NEW}\n")
    (line,) = story.step()
    assert (line["source"], line["changed"], line["tokens"]) == ("--webhook.token-file", "--webhook.token-file", 2)
    assert story.app.tokens == [(OLD,), (OLD, NEW)]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"s3cret", f"{NEW}\ns3cret!".encode(), b"\xff" * 30, None])
def test_tokens_that_are_refused(folder: Path, content: bytes | None) -> None:
    """A file that is emptied, wrong in one line or gone leaves the old tokens, and never opens the webhook."""
    file = folder / "tokens"
    file.write_text(OLD)
    story = Story(f"--webhook.token-file={file}")
    story.step()
    file.write_bytes(content) if content is not None else file.unlink()
    (line,) = story.step()
    assert line["log_level"] == "error"
    assert str(line["detail"]).startswith("--webhook.token-file: ")
    assert story.app.tokens == [(OLD,)]


def test_nothing_to_read(folder: Path) -> None:
    """Without files there is nothing to read again, and no TLS."""
    story = Story(f"--webhook.token={OLD}")
    assert story.files.tls is None
    assert story.step() == []
