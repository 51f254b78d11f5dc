"""Certificate, password and token are renewed while deliveries and scrapes go on, and no request fails."""

import base64
import http.client
import itertools
import json
import shutil
import signal
import sqlite3
import ssl
import threading
from pathlib import Path

import bcrypt
import pytest

from tests.system.processes import EXPORTER, PATIENCE, Process, free_port, until
from tests.web.certificates import certificate

OLD_TOKEN, NEW_TOKEN = "s3cret-token-of-yesterday", "s3cret-token-of-tomorrow"
OLD_USER, NEW_USER = "old:s3cret-password", "new:s3cret-password"
HASH = bcrypt.hashpw(b"s3cret-password", bcrypt.gensalt(4)).decode()


class Mounted:
    """A folder of files whose versions are switched by one link, as Kubernetes mounts a Secret."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._version = 0
        folder.mkdir()
        for name in ("web.yml", "server.crt", "server.key", "tokens"):
            (folder / name).symlink_to(Path("..data") / name)

    def publish(self, certificate_: Path, users: list[str], tokens: list[str]) -> None:
        """Make another version the current one, and delete the one before."""
        self._version += 1
        version = self.folder / f"..version{self._version}"
        version.mkdir()
        for suffix in (".crt", ".key"):
            shutil.copy(certificate_.with_suffix(suffix), version / f"server{suffix}")
        hashes = "".join(f"  {user.partition(':')[0]}: {HASH}\n" for user in users)
        text = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\nbasic_auth_users:\n" + hashes
        (version / "web.yml").write_text(text)
        (version / "tokens").write_text("".join(f"{token}\n" for token in tokens))
        before = (self.folder / "..data").resolve()
        (self.folder / "..data_tmp").symlink_to(version.name)
        (self.folder / "..data_tmp").replace(self.folder / "..data")
        if before.name != "..data":
            shutil.rmtree(before)


class Clients:
    """What the clients know, and what went wrong for them."""

    def __init__(self, port: int, *certificates: Path) -> None:
        self.port = port
        self.trust = ssl.create_default_context()
        for each in certificates:
            self.trust.load_verify_locations(each)
        self.token, self.user = OLD_TOKEN, OLD_USER
        self.stop = threading.Event()
        self.failures: list[str] = []
        self.acknowledged = itertools.count()
        self.runs = itertools.count()

    def connect(self) -> http.client.HTTPSConnection:
        """A new connection."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE, context=self.trust)
        connection.connect()
        return connection

    def deliver(self, connection: http.client.HTTPSConnection, token: str | None = None) -> int:
        """Post the notification of one new run. Returns the status."""
        run = {"id": f"run-{next(self.runs)}", "flowId": "flow", "metrics": {"statusSummary": {"status": "success"}}}
        connection.request("POST", f"/webhook/{token or self.token}", json.dumps(run))
        return self._status(connection)

    def scrape(self, connection: http.client.HTTPSConnection, user: str | None = None) -> int:
        """Ask for the metrics. Returns the status."""
        credentials = base64.b64encode((user or self.user).encode()).decode()
        connection.request("GET", "/metrics", headers={"Authorization": f"Basic {credentials}"})
        return self._status(connection)

    @staticmethod
    def _status(connection: http.client.HTTPSConnection) -> int:
        with connection.getresponse() as response:
            response.read()
            return response.status

    def new(self, *, token: str = "", user: str = "") -> int:
        """The status of one request over a new connection, with this token or as this user."""
        connection = self.connect()
        try:
            return self.deliver(connection, token) if token else self.scrape(connection, user)
        finally:
            connection.close()

    def presented(self) -> bytes:
        """The certificate that a new connection is shown."""
        connection = self.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        found = connection.sock.getpeercert(binary_form=True)
        connection.close()
        assert found is not None
        return found


class Lane(threading.Thread):
    """One client that sends requests until it is stopped, over one connection or over a new one for each."""

    def __init__(self, clients: Clients, *, delivers: bool, is_fresh: bool) -> None:
        super().__init__()
        self._clients = clients
        self._send = clients.deliver if delivers else clients.scrape
        self._delivers = delivers
        self._is_fresh = is_fresh
        self.done = 0

    def run(self) -> None:
        """Send, and note every failure."""
        try:
            self._run()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must show it
            self._clients.failures.append(f"{self._send.__name__}, fresh: {self._is_fresh}: {error!r}")

    def _run(self) -> None:
        connection = self._clients.connect()
        opened = connection.sock
        while not self._clients.stop.is_set():
            if self._is_fresh and self.done:
                connection.close()
                connection = self._clients.connect()
                opened = connection.sock
            status = self._send(connection)
            assert status == 200, status
            # http.client would silently open another connection.
            assert connection.sock is opened, "the connection was closed"
            if self._delivers:
                next(self._clients.acknowledged)
            self.done += 1
        connection.close()


def der(path: Path) -> bytes:
    """A certificate as it is presented."""
    return ssl.PEM_cert_to_DER_cert(path.read_text())


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Three certificates, each with its key beside it. OpenSSL finds one that it trusts by its name."""
    for name in ("first", "second", "third"):
        certificate(tmp_path, name)
    return tmp_path / "first.crt", tmp_path / "second.crt", tmp_path / "third.crt"


def test_everything_is_renewed_under_load(  # noqa: PLR0915 - one story
    tmp_path: Path, certificates: tuple[Path, Path, Path]
) -> None:
    """No request fails while certificates, users and tokens change, the certificate before its key, and link by link.

    Clients use the new password and token after they were added, and before the old ones are removed. These are
    refused at once then.
    """
    first, second, third = certificates
    mounted = Mounted(tmp_path / "mounted")
    mounted.publish(first, [OLD_USER], [OLD_TOKEN])
    port = free_port()
    clients = Clients(port, *certificates)
    lanes = [Lane(clients, delivers=delivers, is_fresh=fresh) for delivers in (True, False) for fresh in (True, False)]
    with Process(tmp_path / "exporter", "exporter") as exporter:
        exporter.start(
            EXPORTER,
            "serve",
            f"--web.listen-address=127.0.0.1:{port}",
            f"--ledger.url=sqlite:///{tmp_path / 'ledger.db'}",
            f"--web.config.file={mounted.folder / 'web.yml'}",
            f"--webhook.token-file={mounted.folder / 'tokens'}",
        )
        until(lambda: "event=listening" in exporter.output() or not exporter.is_running(), "the listeners")

        def until_logged(text: str, times: int = 1) -> None:
            until(lambda: exporter.output().count(text) >= times, f"{text}: {exporter.output()}")

        def until_used() -> None:
            """Wait until every client has sent some requests more."""
            before = [lane.done for lane in lanes]
            until(
                lambda: clients.failures or all(lane.done >= old + 3 for lane, old in zip(lanes, before, strict=True)),
                "requests",
            )
            assert clients.failures == []

        for lane in lanes:
            lane.start()
        try:
            until_used()
            # In place and one after the other, as scripts copy files.
            shutil.copy(second, mounted.folder / "server.crt")
            until_logged("key_file: is not the key of cert_file")
            until_used()
            assert clients.presented() == der(first)
            shutil.copy(second.with_suffix(".key"), mounted.folder / "server.key")
            until(lambda: clients.presented() == der(second), "the second certificate")
            until_used()
            # All at once, and it is asked for.
            mounted.publish(third, [OLD_USER, NEW_USER], [OLD_TOKEN, NEW_TOKEN])
            exporter.send(signal.SIGHUP)
            until_logged("tokens=2")
            until_logged("users=2")
            assert clients.presented() == der(third)
            until_used()
            clients.token, clients.user = NEW_TOKEN, NEW_USER
            until_used()
            mounted.publish(third, [NEW_USER], [NEW_TOKEN])
            until(lambda: clients.new(user=OLD_USER) == 401, "the old user to be refused")
            until(lambda: clients.new(token=OLD_TOKEN) == 401, "the old token to be refused")
            until_used()
        finally:
            clients.stop.set()
            for lane in lanes:
                lane.join()
        assert clients.failures == []
        assert exporter.stop() == 0
        output = exporter.output()
    assert "s3cret" not in output
    assert output.count("the one before stays in force") == 1
    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        # Probes of the old token that were not refused yet were recorded too.
        (recorded,) = ledger.execute("SELECT count(*) FROM entry").fetchone()
        assert recorded >= next(clients.acknowledged)
    ledger.close()
