"""Only deliveries that Adobe signed are taken: signatures, keys and floods, against the running program."""

import contextlib
import gzip
import json
import random
import signal
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from tests.system.adobe import PATHS, Adobe, Connection, serving
from tests.system.processes import (
    EXPORTER,
    PATIENCE,
    Exporter,
    Process,
    family_values,
    free_port,
    memory,
    program,
    until,
    whole_answer,
)

CLIENT_ID = "our-client-id"


def signed_delivery(number: int) -> tuple[str, bytes]:
    """A run's id and a notification about that run that is addressed to us."""
    event = {
        "id": f"run-{number}",
        "flowId": f"flow-{number % 5}",
        "sandboxName": "prod",
        "metrics": {"statusSummary": {"status": "failed"}},
    }
    envelope = {"event_id": f"event-{number}", "event": event, "recipient_client_id": CLIENT_ID}
    return f"run-{number}", json.dumps(envelope).encode()


@pytest.fixture
def adobe() -> Iterator[Adobe]:
    """A stand-in for Adobe whose key server runs."""
    with serving(Adobe()) as running:
        yield running


@pytest.fixture
def exporter(adobe: Adobe, tmp_path: Path) -> Iterator[Exporter]:
    """An exporter that takes the keys of this stand-in."""
    flags = (f"--adobe.keys-url={adobe.url}", f"--webhook.client-id=another,{CLIENT_ID}", "--series.hold=0s")
    with Exporter(tmp_path / "exporter", *flags) as running:
        yield running


def kept(exporter: Exporter) -> set[str]:
    """The ids of the runs in the ledger."""
    with contextlib.closing(sqlite3.connect(exporter.ledger)) as ledger:
        return {run_id for (run_id,) in ledger.execute("SELECT run_id FROM entry")}


def test_what_adobe_signed_is_taken(exporter: Exporter, adobe: Adobe) -> None:
    """Signed deliveries that are addressed to us are recorded, and each of the two keys is fetched once."""
    connection = Connection(exporter.port)
    for number in range(20):
        body = signed_delivery(number)[1]
        assert connection.post(body, adobe.headers(body)) == 200
    connection.close()
    assert len(kept(exporter)) == 20
    until(lambda: len(adobe.asked) == 2, "both keys")
    assert set(adobe.asked) == set(PATHS)


def test_a_compressed_delivery_is_verified_as_it_came(exporter: Exporter, adobe: Adobe) -> None:
    """A compressed delivery is taken where its compressed bytes are signed, and survives a crash as its content."""
    connection = Connection(exporter.port)
    for number, signs in ((1, gzip.compress), (2, bytes)):
        content = signed_delivery(number)[1]
        body = gzip.compress(content)
        headers = adobe.headers(signs(content)) | {"content-encoding": "gzip"}
        assert connection.post(body, headers) == (200 if number == 1 else 401)
    connection.close()
    assert kept(exporter) == {"run-1"}
    before = exporter.flows()
    assert sum(family_values(before, "aep_flow_runs_total").values()) == 1
    exporter.stop(signal.SIGKILL)
    exporter.run()
    assert exporter.flows() == before


def test_what_is_not_adobes_leaves_nothing_behind(exporter: Exporter, adobe: Adobe) -> None:
    """Unsigned, wrongly signed, changed and misdirected deliveries are refused, counted by reason and not recorded."""
    body = signed_delivery(1)[1]
    good = adobe.headers(body)
    other = body.replace(CLIENT_ID.encode(), b"somebody-else")
    anonymous = body.replace(b"recipient_client_id", b"recipient")
    stolen = {name: value for name, value in good.items() if "path" not in name}
    connection = Connection(exporter.port)
    attempts = [
        ({}, body),
        (good, body + b" "),
        (adobe.headers(other), other),
        (adobe.headers(anonymous), anonymous),
        ({**stolen, "x-adobe-public-key1-path": "@evil.example/x.pem"}, body),
    ]
    assert [connection.post(sent, headers) for headers, sent in attempts] == [401] * len(attempts)
    connection.close()
    assert kept(exporter) == set()
    counted = family_values(exporter.get("/metrics").text, "aep_exporter_authentication_failures_total")
    assert {key: value for key, value in counted.items() if value} == {
        'reason="signature_missing"': 1,
        'reason="signature_wrong"': 1,
        'reason="client_id"': 1,
        'reason="client_id_missing"': 1,
        'reason="key_path"': 1,
    }
    assert all(path.startswith("/prod/keys/pub-key-") for path in adobe.asked)


def test_a_key_that_cannot_be_had_is_our_fault(exporter: Exporter, adobe: Adobe) -> None:
    """While the key host is down deliveries get 503, and neither they nor strangers make the exporter ask often."""
    adobe.is_down = True
    body = signed_delivery(1)[1]
    connection = Connection(exporter.port)
    assert [connection.post(body, adobe.headers(body)) for _ in range(30)] == [503] * 30
    assert len(adobe.asked) == 2
    for number in range(50):
        made_up = {**adobe.headers(body), "x-adobe-public-key1-path": f"/prod/keys/pub-key-{number}.pem"}
        assert connection.post(body, made_up) == 503
    connection.close()
    assert len(adobe.asked) <= 12


def test_a_request_to_confirm_the_webhook_needs_no_signature(exporter: Exporter) -> None:
    """The address of Adobe's challenge is logged without a signature, and another host's address is not."""
    connection = Connection(exporter.port)
    for url in ("https://csm.adobe.io/csm/registrations/validate?id=1", "https://evil.example/"):
        assert connection.post(json.dumps({"validationUrl": url}).encode(), {}) == 200
    connection.close()
    until(lambda: "csm.adobe.io" in exporter.output(), "the address in the log")
    assert "evil.example" not in exporter.output()
    assert kept(exporter) == set()


def test_the_webhook_on_a_listener_of_its_own(adobe: Adobe, tmp_path: Path) -> None:
    """A second listener serves the webhook and the probes only, and the first all but the webhook."""
    port = free_port()
    flags = (
        f"--adobe.keys-url={adobe.url}",
        f"--webhook.client-id={CLIENT_ID}",
        f"--webhook.listen-address=127.0.0.1:{port}",
    )
    with Exporter(tmp_path / "exporter", *flags) as exporter:
        body = signed_delivery(1)[1]
        outer = Connection(port)
        assert outer.post(body, adobe.headers(body)) == 200
        assert outer.post(body, adobe.headers(body), "/metrics") == 404
        outer.close()
        assert exporter.post(body) == 404
        assert exporter.get("/metrics").status_code == 200
        assert exporter.get("/-/ready").status_code == 200
        assert exporter.stop(signal.SIGTERM) == 0


def test_a_password_for_all_but_the_webhook(tmp_path: Path) -> None:
    """With users in --web.config.file the metrics need a password, and deliveries and probes do not."""
    config = tmp_path / "web.yml"
    hashed = bcrypt.hashpw(b"made up", bcrypt.gensalt(4)).decode()
    config.write_text(f"basic_auth_users: {{prometheus: '{hashed}'}}\n", encoding="utf-8")
    subprocess.run([program("promtool"), "check", "web-config", config], check=True, capture_output=True)
    with Exporter(tmp_path / "exporter", f"--web.config.file={config}") as exporter:
        assert exporter.post(signed_delivery(1)[1]) == 200
        for path in ("/metrics", "/"):
            assert exporter.get(path).status_code == 401
            assert exporter.get(path, auth=("prometheus", "wrong")).status_code == 401
            assert exporter.get(path, auth=("prometheus", "made up")).status_code == 200
        assert "made up" not in exporter.output()


def test_certificates_of_clients_need_a_listener_for_the_webhook(tmp_path: Path) -> None:
    """If every client must have a certificate, the webhook must have another listener, as Adobe has none of ours."""
    config = tmp_path / "web.yml"
    config.write_text(
        "tls_server_config: {cert_file: a, key_file: b, client_ca_file: c, "
        "client_auth_type: RequireAndVerifyClientCert}\n",
        encoding="utf-8",
    )
    with Process(tmp_path / "exporter", "exporter") as exporter:
        exporter.start(EXPORTER, "serve", f"--web.config.file={config}")
        assert exporter.wait() == 2
        assert "--webhook.listen-address" in exporter.output()


def test_kill_9_under_signed_load(exporter: Exporter, adobe: Adobe) -> None:
    """After each of twenty kill -9 at random moments every acknowledged run is in the ledger and counted."""
    randomly = random.Random(20261123)
    signed = [(name, body, adobe.headers(body)) for name, body in map(signed_delivery, range(4 * 20 * 60))]
    acknowledged: set[str] = set()
    for round_ in range(20):
        lanes = [signed[round_ * 240 + lane * 60 : round_ * 240 + lane * 60 + 60] for lane in range(4)]

        def send(lane: list[tuple[str, bytes, dict[str, str]]]) -> None:
            connection = Connection(exporter.port)
            with contextlib.suppress(OSError, ConnectionError, Exception):
                for name, body, headers in lane:
                    if connection.post(body, headers) == 200:
                        acknowledged.add(name)
            connection.close()

        threads = [threading.Thread(target=send, args=(lane,)) for lane in lanes]
        before = len(acknowledged)
        for thread in threads:
            thread.start()
        wanted = before + randomly.randrange(1, 150)
        until(lambda: len(acknowledged) >= wanted, "acknowledgements")  # noqa: B023 - used in this round
        exporter.stop(signal.SIGKILL)
        for thread in threads:
            thread.join()
        exporter.run()
        assert acknowledged - kept(exporter) == set()
    counted = family_values(exporter.flows(), "aep_flow_runs_total")
    assert sum(counted.values()) == len(kept(exporter))


def test_a_flood_of_unsigned_posts(exporter: Exporter, adobe: Adobe) -> None:
    """While strangers post as fast as they can, signed deliveries are taken and memory stays bounded."""
    stop = threading.Event()
    refused = [0]

    def flood() -> None:
        request = b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000
        with socket.create_connection(("127.0.0.1", exporter.port), timeout=PATIENCE) as connection:
            while not stop.is_set():
                connection.sendall(request)
                refused[0] += whole_answer(connection).startswith(b"HTTP/1.1 401")

    body = signed_delivery(0)[1]
    connection = Connection(exporter.port)
    assert connection.post(body, adobe.headers(body)) == 200
    before = memory(exporter.pid)
    threads = [threading.Thread(target=flood) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 200):
            body = signed_delivery(number)[1]
            headers = adobe.headers(body)
            assert connection.post(body, headers) == 200
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        connection.close()
    assert refused[0] > 100
    assert len(kept(exporter)) == 200
    assert memory(exporter.pid) - before < 50_000
    assert exporter.output().count("delivery refused") < 20


def test_strangers_take_no_room(exporter: Exporter, adobe: Adobe) -> None:
    """Signed deliveries are taken while strangers slowly send many large bodies under made-up keys."""
    body = signed_delivery(0)[1]
    connection = Connection(exporter.port)
    assert connection.post(body, adobe.headers(body)) == 200
    with contextlib.ExitStack() as opened:
        for number in range(20):
            stranger = opened.enter_context(socket.create_connection(("127.0.0.1", exporter.port), timeout=PATIENCE))
            named = {**adobe.headers(b""), "x-adobe-public-key1-path": f"/prod/keys/pub-key-{number}.pem"}
            named["x-adobe-public-key2-path"] = named["x-adobe-public-key1-path"]
            head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
            stranger.sendall(f"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n{head}\r\n".encode())
            with contextlib.suppress(OSError):
                stranger.settimeout(0.2)
                stranger.sendall(b" " * 4_194_294)
        for number in range(1, 30):
            body = signed_delivery(number)[1]
            assert connection.post(body, adobe.headers(body)) == 200
    connection.close()
    assert memory(exporter.pid) < 200_000
