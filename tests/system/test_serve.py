"""The program as a process: deliveries, restarts, signals, and clients that misbehave."""

import contextlib
import http.client
import json
import signal
import socket
import sqlite3
import threading
from pathlib import Path

import httpx
import pytest

from tests.system.processes import (
    EXPORTER,
    PATIENCE,
    Exporter,
    Process,
    Sender,
    family_values,
    free_port,
    until,
    whole_answer,
)

SAMPLES = Path(__file__).parents[1] / "samples"


def delivery(number: int, status: str = "failed") -> tuple[str, bytes]:
    """A run's id and a notification about that run."""
    run_id = f"run-{number}"
    event = {
        "id": run_id,
        "flowId": f"flow-{number % 7}",
        "sandboxName": "prod",
        "metrics": {"statusSummary": {"status": status}, "recordSummary": {"inputRecordCount": 3}},
    }
    return run_id, json.dumps({"event_id": f"event-{number}", "event": event}).encode()


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """After kill -9 during a stream of posts every acknowledged run is in the ledger and in the counters."""
    with Exporter(tmp_path / "exporter", "--series.hold=0s") as exporter:
        for round_ in range(3):
            senders = [Sender(exporter.port) for _ in range(4)]
            threads = [
                threading.Thread(
                    target=sender.send,
                    args=([delivery(round_ * 100_000 + lane * 10_000 + number) for number in range(10_000)],),
                )
                for lane, sender in enumerate(senders)
            ]
            for thread in threads:
                thread.start()
            wanted = 50 + 150 * round_
            until(lambda: sum(len(sender.acknowledged) for sender in senders) >= wanted, "acknowledgements")  # noqa: B023
            exporter.stop(signal.SIGKILL)
            for thread in threads:
                thread.join()
            acknowledged = {run_id for sender in senders for run_id in sender.acknowledged}
            assert len(acknowledged) >= wanted
            exporter.run()
            with sqlite3.connect(exporter.ledger) as ledger:
                kept = {run_id for (run_id,) in ledger.execute("SELECT run_id FROM entry")}
                assert ledger.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            ledger.close()
            assert acknowledged <= kept
            counted = family_values(exporter.flows(), "aep_flow_runs_total")
            assert sum(counted.values()) == len(kept)
            assert sum(family_values(exporter.flows(), "aep_flow_records_total").values()) == 3 * len(kept)


def test_a_restart_is_invisible(exporter: Exporter) -> None:
    """After an orderly stop and a start the metrics of flows are the same."""
    for path in sorted(SAMPLES.glob("*.json")):
        assert exporter.post(path.read_bytes()) == 200
    before = exporter.flows()
    assert "aep_flow_runs_total" in before
    assert exporter.stop(signal.SIGTERM) == 0
    exporter.run()
    assert exporter.flows() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(exporter: Exporter, number: int) -> None:
    """SIGTERM and SIGINT close the ledger and end the program with status 0 and a last line in the log."""
    exporter.post(delivery(1)[1])
    assert exporter.stop(number) == 0
    assert "event=stopped" in exporter.output().splitlines()[-1]
    assert not exporter.ledger.with_name("ledger.db-wal").exists()


def test_what_was_accepted_is_answered(exporter: Exporter) -> None:
    """A request that is being received when SIGTERM comes is read to its end, recorded and answered."""
    body = delivery(1)[1]
    with socket.create_connection(("127.0.0.1", exporter.port), timeout=PATIENCE) as connection:
        connection.sendall(
            b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:10]
        )
        until(lambda: exporter.get("/-/healthy").status_code == 200, "an answer")
        exporter.send(signal.SIGTERM)
        until(lambda: "event=stopping" in exporter.output(), "the stop to begin")
        connection.sendall(body[10:])
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert exporter.wait() == 0
    with sqlite3.connect(exporter.ledger) as ledger:
        assert ledger.execute("SELECT count(*) FROM entry").fetchone() == (1,)
    ledger.close()


def test_what_was_sent_before_the_signal_is_answered(exporter: Exporter) -> None:
    """Requests that this machine has when SIGTERM comes are answered and end their connections, seen by us or not."""
    health = b"GET /-/healthy HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    _, body = delivery(1)
    post = b"POST /webhook HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with contextlib.ExitStack() as opened:

        def connect() -> socket.socket:
            return opened.enter_context(socket.create_connection(("127.0.0.1", exporter.port), timeout=PATIENCE))

        old = [connect() for _ in range(20)]
        for connection in old:
            connection.sendall(health)
            assert whole_answer(connection).startswith(b"HTTP/1.1 200")
        # While it stands still, requests wait in the kernel, and new connections in the backlog.
        exporter.send(signal.SIGSTOP)
        new = [connect() for _ in range(200)]
        for connection in (*old, *new):
            connection.sendall(post)
        exporter.send(signal.SIGTERM)
        exporter.send(signal.SIGCONT)
        for connection in (*old, *new):
            found = whole_answer(connection)
            assert found.startswith(b"HTTP/1.1 200")
            assert b"connection: close" in found
            assert connection.recv(1) == b""
    assert exporter.wait() == 0


def test_a_sender_that_trickles_does_not_hold_up_the_end(exporter: Exporter) -> None:
    """When the program ends, a request that never arrives whole is closed without an answer or a logged error."""
    with socket.create_connection(("127.0.0.1", exporter.port), timeout=PATIENCE) as connection:
        connection.sendall(b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        until(lambda: exporter.get("/-/healthy").status_code == 200, "an answer")
        exporter.send(signal.SIGTERM)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100) == b""
    assert exporter.wait() == 0
    assert "level=error" not in exporter.output()
    assert "Traceback" not in exporter.output()


def test_a_sender_that_trickles_is_closed_without_an_answer(exporter: Exporter) -> None:
    """A connection whose request has not arrived whole after ten seconds is closed without an answer."""
    with (
        socket.create_connection(("127.0.0.1", exporter.port), timeout=PATIENCE) as body,
        socket.create_connection(("127.0.0.1", exporter.port), timeout=PATIENCE) as head,
        socket.create_connection(("127.0.0.1", exporter.port), timeout=PATIENCE) as silent,
    ):
        body.sendall(b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        head.sendall(b"POST /webhook HTTP/1.1\r\nHost:")
        for connection in (body, head, silent):
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(100) == b""
    assert exporter.get("/-/healthy").status_code == 200


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
@pytest.mark.parametrize("offer", [b"h2c", b"websocket"])
def test_an_offer_to_upgrade_costs_nothing(exporter: Exporter, offer: bytes, chunked: bool) -> None:
    """A delivery that offers another protocol, as some proxies do, is read like any other."""
    for number in (1, 2):
        body = delivery(number)[1]
        sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
        with socket.create_connection(("127.0.0.1", exporter.port), timeout=PATIENCE) as connection:
            head = b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            offered = b"Upgrade: %s\r\n%s\r\n\r\n" % (offer, framing)
            connection.sendall(head + offered + sent[:20])
            connection.sendall(sent[20:])
            answer = whole_answer(connection)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"recorded 1" in answer


def test_a_head_without_end_is_closed(exporter: Exporter) -> None:
    """A connection whose headers never end is closed without an answer."""
    with socket.create_connection(("127.0.0.1", exporter.port), timeout=PATIENCE) as connection:
        connection.sendall(b"POST /webhook HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            for number in range(100_000):
                connection.sendall(b"x-%d: %s\r\n" % (number, b"y" * 1000))
            pytest.fail("a hundred megabytes of headers were taken")
    assert exporter.get("/-/healthy").status_code == 200


def test_trailers_without_end_are_not_collected(exporter: Exporter) -> None:
    """A connection whose trailers never end is closed."""
    with socket.create_connection(("127.0.0.1", exporter.port), timeout=PATIENCE) as connection:
        connection.sendall(
            b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
        )
        with contextlib.suppress(ConnectionError):
            for _ in range(10_000):
                connection.sendall(b"a: b\r\n" * 1000)
            pytest.fail("sixty megabytes of trailers were taken")
    assert exporter.get("/-/healthy").status_code == 200


def test_a_pipeline_without_end_is_closed(exporter: Exporter) -> None:
    """A connection that sends requests without end and reads no answer is closed."""
    asked = b"GET /webhook HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3000
    with (
        socket.create_connection(("127.0.0.1", exporter.port), timeout=PATIENCE) as connection,
        contextlib.suppress(ConnectionError),
    ):
        for _ in range(1000):
            connection.sendall(asked)
        pytest.fail("three million requests were taken")
    assert exporter.get("/-/healthy").status_code == 200


def test_connections_are_bounded(exporter: Exporter) -> None:
    """Silent connections are kept up to a limit, and when they close others are served."""
    with contextlib.ExitStack() as opened:
        for _ in range(600):
            opened.enter_context(socket.create_connection(("127.0.0.1", exporter.port), timeout=PATIENCE))
        until(lambda: len(list(Path(f"/proc/{exporter.pid}/fd").iterdir())) < 560, "connections to be closed")
    until(lambda: exporter.post(delivery(1)[1]) == 200, "a delivery to be taken")


def test_a_body_that_is_too_large_gets_its_answer(exporter: Exporter) -> None:
    """A body over the limit is answered with 413 even if the client reads only after sending all of it."""
    connection = http.client.HTTPConnection("127.0.0.1", exporter.port, timeout=PATIENCE)
    for _ in range(2):
        connection.request("POST", "/webhook", b" " * (6 * 1024 * 1024))
        response = connection.getresponse()
        response.read()
        assert response.status == 413
    connection.close()


def test_a_port_that_is_taken_is_told(exporter: Exporter, tmp_path: Path) -> None:
    """A second program on the same address ends with advice in its log and without a traceback."""
    with Process(tmp_path / "second", "second") as second:
        second.start(EXPORTER, "serve", f"--web.listen-address=127.0.0.1:{exporter.port}")
        assert second.wait() == 1
        assert "choose another address with --web.listen-address" in second.output()
        assert "Traceback" not in second.output()


def test_replicas_on_one_ledger_say_the_same(exporter: Exporter, tmp_path: Path) -> None:
    """Two processes on one ledger export the same metrics of flows, whichever received a delivery."""
    other_port = free_port()
    with Process(tmp_path / "other", "other") as other:
        other.start(
            EXPORTER,
            "serve",
            f"--web.listen-address=127.0.0.1:{other_port}",
            f"--ledger.url=sqlite:///{exporter.ledger}",
            "--series.hold=0s",
        )

        def is_up() -> bool:
            try:
                return httpx.get(f"http://127.0.0.1:{other_port}/-/ready", timeout=PATIENCE).status_code == 200
            except httpx.TransportError:
                return False

        until(is_up, "the other to be ready")
        for number in range(40):
            url = exporter.url if number % 2 else f"http://127.0.0.1:{other_port}"
            for sent in (delivery(number), delivery(max(0, number - 1))):
                assert httpx.post(url + "/webhook", content=sent[1], timeout=PATIENCE).status_code == 200
            one = exporter.flows()
            assert one == httpx.get(f"http://127.0.0.1:{other_port}/metrics?collect[]=flows", timeout=PATIENCE).text
        assert sum(family_values(one, "aep_flow_runs_total").values()) == 40


def test_replay_beside_a_running_exporter(exporter: Exporter, tmp_path: Path) -> None:
    """Files that are replayed twice into the ledger of a running exporter count once in its metrics."""
    file = tmp_path / "saved.jsonl"
    file.write_bytes(b"\n".join(delivery(number)[1] for number in range(1200)))
    for expected in (b"recorded          1200", b"duplicate         1200"):
        with Process(tmp_path / "replay", "replay") as replay:
            replay.start(EXPORTER, "replay", f"--ledger.url=sqlite:///{exporter.ledger}", file)
            assert replay.wait() == 0
            assert expected in replay.log.read_bytes()
    assert sum(family_values(exporter.flows(), "aep_flow_runs_total").values()) == 1200


def test_no_documented_body_is_refused(exporter: Exporter) -> None:
    """A body of every shape that Adobe documents is acknowledged."""
    for path in sorted(SAMPLES.rglob("*.json")):
        assert exporter.post(path.read_bytes()) == 200, path.name


def test_it_runs_without_privileges(exporter: Exporter) -> None:
    """Only its owner may read the ledger."""
    assert exporter.ledger.stat().st_mode & 0o777 == 0o600
