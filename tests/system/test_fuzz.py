"""Twenty thousand broken bodies and heads, posted to the running program."""

import json
import random
import socket
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.system.adobe import Adobe, serving
from tests.system.processes import PATIENCE, Exporter, memory, whole_answer
from tests.system.test_adobe_only import CLIENT_ID

SAMPLES = [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "samples").glob("*.json"))]
LANES = 8
BODIES = 16_000
HEADS = 4_800

GARBAGE = (
    b"null", b"-1", b"1e999", b'"\\ud83d"', b"[]", b"{}", b"true", b'"\x00"', b"\xff", b"9" * 400, b'""', b"NaN",
    b"[[[[[[" * 200, b'{"a":' * 300, b'"' + "é\N{SNOWMAN}".encode() * 50 + b'"', b'"2023-01-01T00:00:00Z"', b"1e308",
)  # fmt: skip


def mutated(randomly: random.Random) -> bytes:
    """A body that is close to one that Adobe sends, or unlike any of them."""
    body = bytearray(randomly.choice(SAMPLES))
    kind = randomly.randrange(7)
    if kind == 0:
        return randomly.randbytes(randomly.randrange(400))
    if kind == 1:
        for _ in range(randomly.randrange(1, 12)):
            body[randomly.randrange(len(body))] = randomly.randrange(256)
    elif kind == 2:
        start = randomly.randrange(len(body))
        del body[start : start + randomly.randrange(1, 200)]
    elif kind == 3:
        position = body.find(b":", randomly.randrange(len(body)))
        body[position + 1 : position + 1 + randomly.randrange(30)] = randomly.choice(GARBAGE)
    elif kind == 4:
        return b"[" + b",".join(randomly.choices([*SAMPLES, *GARBAGE], k=randomly.randrange(1, 8))) + b"]"
    elif kind == 5:
        nested: object = json.loads(randomly.choice(SAMPLES))
        for _ in range(randomly.randrange(1, 6)):
            nested = randomly.choice(
                [{"event": nested}, {"items": [nested, 1]}, [nested], {"data": nested, "specversion": 1}]
            )
        return json.dumps(nested).encode()
    else:
        return bytes(body) * randomly.randrange(1, 4)
    return bytes(body)


def raw(body: bytes, head: bytes = b"") -> bytes:
    """One request in bytes."""
    return b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s\r\n" % (len(body), head) + body


def statuses(port: int, seed: int, count: int, make: Callable[[random.Random], bytes]) -> dict[int, int]:
    """Send so many requests on one connection, which is opened again when it was closed, and count the statuses."""
    randomly = random.Random(seed)
    found: dict[int, int] = {}
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    for _ in range(count):
        connection.sendall(make(randomly))
        answer = whole_answer(connection)
        status = int(answer[9:12]) if answer else 0
        found[status] = found.get(status, 0) + 1
        if not answer or b"connection: close" in answer.lower():
            connection.close()
            connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.close()
    return found


def in_lanes(port: int, count: int, make: Callable[[random.Random], bytes]) -> dict[int, int]:
    """Send so many requests on several connections at once and count the statuses."""
    answers: list[dict[int, int]] = []
    threads = [
        threading.Thread(target=lambda seed=seed: answers.append(statuses(port, seed, count // LANES, make)))
        for seed in range(LANES)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == LANES
    return {status: sum(each.get(status, 0) for each in answers) for each in answers for status in each}


def assert_unharmed(exporter: Exporter) -> None:
    """Check that the log has no traceback, the ledger is whole, the metrics parse and the exporter is ready."""
    assert "Traceback" not in exporter.output()
    assert list(text_string_to_metric_families(exporter.get("/metrics").text))
    assert exporter.get("/-/ready").status_code == 200
    with closing(sqlite3.connect(exporter.ledger)) as ledger:
        assert ledger.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_any_body_is_taken(tmp_path: Path) -> None:
    """Any body of an authentic sender is acknowledged, memory stays bounded and the ledger stays whole."""
    with Exporter(tmp_path / "exporter") as exporter:
        in_lanes(exporter.port, 1600, lambda randomly: raw(mutated(randomly)))
        before = memory(exporter.pid)
        answered = in_lanes(exporter.port, BODIES, lambda randomly: raw(mutated(random.Random(randomly.random()))))
        assert answered == {200: BODIES}
        assert memory(exporter.pid) - before < 60_000
        assert_unharmed(exporter)


def head(randomly: random.Random) -> bytes:
    """Headers of signatures, keys and others, mostly with values that make no sense."""
    values = [
        b"/prod/keys/pub-key-One1.pem", b"@evil.example", b".evil.com/", b"//evil", b"\\\\evil", b"/prod/keys/%2f.pem",
        b"/prod/keys/../pub-key-a.pem", b"A" * 344, b"=" * 9, b"", b"x" * 5000, randomly.randbytes(20).hex().encode(),
        "ü".encode("latin-1"), b"/PROD/keys/pub-key-a.pem", b"/prod/keys/pub-key-%d.pem" % randomly.randrange(10**6),
    ]  # fmt: skip
    names = [
        b"x-adobe-digital-signature-1", b"x-adobe-digital-signature-2", b"x-adobe-public-key1-path",
        b"x-adobe-public-key2-path", b"x-adobe-event-id", b"x-adobe-event-code", b"content-type", b"expect",
    ]  # fmt: skip
    return b"".join(
        b"%s: %s\r\n" % (randomly.choice(names[:-1]), randomly.choice(values)) for _ in range(randomly.randrange(8))
    )


def test_any_head_is_answered(tmp_path: Path) -> None:
    """Whatever headers strangers send, nothing is recorded and the key host is asked at most twelve times."""
    flags = (f"--webhook.client-id={CLIENT_ID}",)
    with (
        serving(Adobe()) as adobe,
        Exporter(tmp_path / "exporter", *flags, f"--adobe.keys-url={adobe.url}") as exporter,
    ):
        # A lone validationUrl is answered with 200, whatever the head says.
        answered = in_lanes(
            exporter.port,
            HEADS,
            lambda randomly: raw(mutated(randomly)[:3000].replace(b"validationUrl", b"validation"), head(randomly)),
        )
        assert set(answered) <= {401, 503}
        assert sum(answered.values()) == HEADS
        assert len(adobe.asked) <= 12
        assert_unharmed(exporter)
        with closing(sqlite3.connect(exporter.ledger)) as ledger:
            assert ledger.execute("SELECT count(*) FROM entry").fetchone() == (0,)
