"""Strangers take nothing that real deliveries need: keys, room for bodies, the log, and an operator's browser."""

import base64
import contextlib
import gzip
import json
import re
import signal
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.adobe import PATHS, Adobe, Connection, serving
from tests.system.processes import PATIENCE, Exporter, family_values, memory, until, whole_answer

CLIENT_ID = "our-client-id"
CONFIRM = "https://csm.adobe.io/csm/registrations/validate"


def delivery(number: int) -> bytes:
    """A notification that is addressed to us."""
    event = {"id": f"run-{number}", "flowId": "flow", "metrics": {"statusSummary": {"status": "failed"}}}
    return json.dumps({"event_id": f"event-{number}", "event": event, "recipient_client_id": CLIENT_ID}).encode()


@pytest.fixture
def adobe() -> Iterator[Adobe]:
    """A stand-in for Adobe whose key server runs."""
    with serving(Adobe()) as running:
        yield running


@pytest.fixture
def exporter(adobe: Adobe, tmp_path: Path) -> Iterator[Exporter]:
    """An exporter that takes the keys of this stand-in."""
    flags = (f"--adobe.keys-url={adobe.url}", f"--webhook.client-id={CLIENT_ID}", "--series.hold=0s")
    with Exporter(tmp_path / "exporter", *flags) as running:
        yield running


def post(exporter: Exporter, adobe: Adobe, number: int) -> int:
    """The answer to a real delivery on a connection of its own."""
    connection = Connection(exporter.port)
    try:
        body = delivery(number)
        return connection.post(body, adobe.headers(body))
    finally:
        connection.close()


def trusted(exporter: Exporter) -> set[str]:
    """The paths of trusted keys in the ledger."""
    with contextlib.closing(sqlite3.connect(exporter.ledger)) as ledger:
        return {path for (path,) in ledger.execute("SELECT path FROM key_path")}


def is_trusted(exporter: Exporter, adobe: Adobe, number: int, path: str) -> bool:
    """Whether a path is trusted after one more delivery, which must be taken."""
    assert post(exporter, adobe, 30 + number) == 200
    return path in trusted(exporter)


@contextlib.contextmanager
def made_up_keys(exporter: Exporter) -> Iterator[None]:
    """Name made-up keys all the time, as fast as they are refused."""
    stop = threading.Event()
    sent = [0]

    def flood(lane: int) -> None:
        signature = base64.b64encode(b"x" * 256).decode()
        connection = Connection(exporter.port)
        while not stop.is_set():
            path = f"/prod/keys/pub-key-{lane}-{sent[0]}.pem"
            connection.post(b"{}", {"x-adobe-digital-signature-1": signature, "x-adobe-public-key1-path": path})
            sent[0] += 1
        connection.close()

    threads = [threading.Thread(target=flood, args=(lane,)) for lane in range(2)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: sent[0] > 30, "made-up keys")
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_trusted_keys_after_a_start(exporter: Exporter, adobe: Adobe) -> None:
    """After a start real deliveries are taken while strangers name made-up keys, and so is one with a new key."""
    assert post(exporter, adobe, 0) == 200
    exporter.stop(signal.SIGKILL)
    exporter.run()
    with made_up_keys(exporter):
        assert [post(exporter, adobe, number) for number in range(1, 13)] == [200] * 12
        until(lambda: trusted(exporter) == set(PATHS), "both paths in the ledger")
        # Adobe replaces one key, and then the other one.
        for number, replaced in enumerate(PATHS):
            new = adobe.replace(replaced, f"/prod/keys/pub-key-New{number}.pem")
            assert post(exporter, adobe, 20 + number) == 200
            until(lambda new=new: new in adobe.asked, "the new key")  # type: ignore[misc]
            until(lambda new=new, number=number: is_trusted(exporter, adobe, number, new), "trust")  # type: ignore[misc]
    assert sum(re.search(r"key-\d+-\d+", path) is not None for path in adobe.asked) <= 20


def test_a_key_that_is_gone(exporter: Exporter, adobe: Adobe) -> None:
    """A key that the host answers with 404 causes 503 and one request a minute."""
    adobe.replace(PATHS[0], "/prod/keys/pub-key-Gone1.pem", is_served=False)
    adobe.replace(PATHS[1], "/prod/keys/pub-key-Gone2.pem", is_served=False)
    assert [post(exporter, adobe, number) for number in range(5)] == [503] * 5
    assert len(adobe.asked) == 2


def test_a_compressed_key(exporter: Exporter, adobe: Adobe) -> None:
    """A key host that answers with a compressed file costs no memory, whatever the file is inflated to."""
    adobe.bomb = gzip.compress(bytes(128 * 1024 * 1024), 1)
    before = memory(exporter.pid)
    assert post(exporter, adobe, 0) == 503
    assert memory(exporter.pid) - before < 16_000


def test_room_for_real_deliveries(exporter: Exporter, adobe: Adobe) -> None:
    """125 of 125 real deliveries are taken while 20 strangers keep the room full of bodies with a wrong signature."""
    assert post(exporter, adobe, 0) == 200
    stop = threading.Event()
    sent = [0]
    head = "".join(f"{name}: {value}\r\n" for name, value in adobe.headers(b"another body").items())
    request = f"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n{head}\r\n".encode()

    def fill() -> None:
        # All but the last byte of the largest body that is accepted, and then nothing until the connection is closed.
        while not stop.is_set():
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", exporter.port), timeout=PATIENCE) as connection,
            ):
                connection.sendall(request)
                for _ in range(63):
                    connection.sendall(b" " * 65536)
                    sent[0] += 65536
                    if stop.wait(0.03):
                        return
                connection.sendall(b" " * 65535)
                connection.settimeout(PATIENCE)
                whole_answer(connection)

    threads = [threading.Thread(target=fill) for _ in range(20)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: sent[0] > 60_000_000, "the room to be full")
        answers = []
        for number in range(1, 126):
            answers.append(post(exporter, adobe, number))
            stop.wait(0.05)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert answers == [200] * 125


def test_real_addresses_in_the_log(exporter: Exporter, adobe: Adobe) -> None:
    """Adobe's own requests to confirm the webhook are logged, whatever strangers make up, and the log stays short."""
    assert post(exporter, adobe, 0) == 200
    stranger = Connection(exporter.port)
    real = Connection(exporter.port)
    for number in range(400):
        made_up = json.dumps({"validationUrl": f"{CONFIRM}?id=made-up-{number}"}).encode()
        assert stranger.post(made_up, {}) == 200
        if number % 50 == 25:
            body = json.dumps({"validationUrl": f"{CONFIRM}?id=real-{number}"}).encode()
            assert real.post(body, adobe.headers(body)) == 200
    unsigned = json.dumps({"validationUrl": f"{CONFIRM}?id=unsigned"}).encode()
    assert real.post(unsigned, {}) == 200
    stranger.close()
    real.close()
    assert {f"id=real-{number}" for number in range(25, 400, 50)} <= set(re.findall(r"id=real-\d+", exporter.output()))
    assert exporter.output().count("made-up") <= 13


def asked(exporter: Exporter, request: str) -> bytes:
    """The status line that answers a request, as it is written on the connection."""
    with socket.create_connection(("127.0.0.1", exporter.port), timeout=PATIENCE) as connection:
        connection.sendall(request.replace("\n", "\r\n").encode())
        return whole_answer(connection).split(b" ")[1]


def test_web_pages_reach_nothing(tmp_path: Path) -> None:
    """Without authentication a web page can't post, and a name that was pointed at this machine reads nothing."""
    with Exporter(tmp_path / "exporter") as exporter:
        length = f"Content-Length: {len(delivery(1))}\nConnection: close\n\n{delivery(1).decode()}"
        cases = {
            "GET /metrics HTTP/1.1\nHost: localhost\n\n": b"200",
            "GET /metrics HTTP/1.0\n\n": b"200",
            "GET /metrics HTTP/1.1\nHost: [::1]:10464\n\n": b"200",
            "GET /metrics HTTP/1.1\nHost: evil.example:10464\n\n": b"421",
            "GET /metrics HTTP/1.1\nHost: localhost\nHost: evil.example\n\n": b"421",
            "GET http://localhost/metrics HTTP/1.1\nHost: evil.example\n\n": b"421",
            "GET http://localhost/metrics HTTP/1.1\nHost: localhost\n\n": b"200",
            "GET / HTTP/1.1\nHost: evil.example\n\n": b"421",
            "GET / HTTP/1.1\nHost: localhost\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\n\n": b"200",
            "GET /-/healthy HTTP/1.1\nHost: exporter.svc\n\n": b"200",
            "GET /-/ready HTTP/1.1\nHost: exporter.svc\n\n": b"200",
            "GET /webhook?challenge=x HTTP/1.1\nHost: evil.example\n\n": b"421",
            f"POST /webhook HTTP/1.1\nHost: evil.example\n{length}": b"421",
            f"POST /webhook HTTP/1.1\nHost: localhost\nOrigin: https://evil.example\n{length}": b"403",
            f"POST /webhook HTTP/1.1\nHost: localhost\nOrigin: null\n{length}": b"403",
            f"POST /webhook HTTP/1.1\nHost: localhost\nSec-Fetch-Site: cross-site\n{length}": b"403",
        }
        assert {request: asked(exporter, request) for request in cases} == cases
        assert "aep_flow_runs_total" not in exporter.flows()
        assert exporter.post(delivery(1)) == 200
        counted = family_values(exporter.get("/metrics").text, "aep_exporter_requests_refused_total")
        assert counted == {'reason="foreign_host"': 6, 'reason="foreign_origin"': 2, 'reason="cross_site"': 1}
        assert exporter.output().count("request refused") == 4


@pytest.mark.parametrize("flag", ["--webhook.token=a-token-made-up-for-tests", "--webhook.allow-unauthenticated=true"])
def test_authenticated_webhooks_take_any_host(tmp_path: Path, flag: str) -> None:
    """A webhook that something else authenticates takes requests for any host. Its metrics still do not."""
    path = "/webhook/a-token-made-up-for-tests" if "token=" in flag else "/webhook"
    with Exporter(tmp_path / "exporter", flag) as exporter:
        length = f"Content-Length: {len(delivery(1))}\n\n{delivery(1).decode()}"
        assert (
            asked(exporter, f"POST {path} HTTP/1.1\nHost: hook.example\nOrigin: https://x.example\n{length}") == b"200"
        )
        assert asked(exporter, "GET /metrics HTTP/1.1\nHost: hook.example\n\n") == b"421"


def test_other_addresses_take_any_host(tmp_path: Path) -> None:
    """On an address that other machines reach, metrics are served under any name."""
    flags = ("--webhook.allow-unauthenticated=true",)
    with Exporter(tmp_path / "exporter", *flags, host="") as exporter:
        assert asked(exporter, "GET /metrics HTTP/1.1\nHost: exporter.svc.cluster.local:10464\n\n") == b"200"
        assert (
            asked(exporter, "POST /webhook HTTP/1.1\nHost: x\nOrigin: https://x.example\nContent-Length: 2\n\n{}")
            == b"200"
        )


def test_slow_reading_delays_no_scrape(tmp_path: Path) -> None:
    """Scrapes are answered while large damaged bodies are read, and bodies whose senders have gone are not read."""
    objects = b",".join([b"{}"] * 1_300_000)
    body = b'{"event": {"id": "r", "flowId": "f", "x": [' + objects + b'], "bad": "\\ud83d"}}'
    head = b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    with Exporter(tmp_path / "exporter") as exporter, contextlib.ExitStack() as opened:
        for _ in range(12):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", exporter.port), timeout=PATIENCE))
            connection.sendall(head + body)
        assert exporter.get("/metrics").status_code == 200
        opened.close()
        assert exporter.post(delivery(1)) == 200
        codes = family_values(exporter.get("/metrics").text, "aep_exporter_webhook_requests_total")
        assert codes['code="200"'] < 12
