import gzip
import json
import random
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.adobe.deliveries import MAX_VALIDATION
from exporter.errors import BodyTooLargeError, OverloadedError
from exporter.model import EntryKind
from exporter.web import content_encoding, webhook
from exporter.web.body_budget import Reservation
from exporter.web.content_encoding import UndecodableError, content_encodings, decode, decoded_size
from tests.web.cases import failures
from tests.web.conftest import Application, Make

MIB = 1024 * 1024


def raw_deflate(content: bytes) -> bytes:
    """A deflate stream without the header that the standard asks for. Some clients send it."""
    return zlib.compress(content, wbits=-15)


def stored(content: bytes) -> bytes:
    """A raw deflate stream that is not compressed."""
    return zlib.compress(content, 0, wbits=-15)


ENCODERS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "gzip": (b"gzip", gzip.compress),
    "x-gzip": (b"x-gzip", gzip.compress),
    "deflate": (b"deflate", zlib.compress),
    "raw deflate": (b"deflate", raw_deflate),
    "stored": (b"deflate", stored),
}


@pytest.mark.parametrize(
    ("values", "encodings"),
    [
        ([], ()),
        ([b""], ()),
        ([b"identity"], ()),
        ([b"gzip"], (b"gzip",)),
        ([b" GZip "], (b"gzip",)),
        ([b"deflate, gzip"], (b"deflate", b"gzip")),
        ([b"deflate", b"gzip"], (b"deflate", b"gzip")),
        ([b"identity, gzip,, Identity"], (b"gzip",)),
        ([b"br;q=1"], (b"br;q=1",)),
    ],
    ids=repr,
)
def test_the_header(values: list[bytes], encodings: tuple[bytes, ...]) -> None:
    """The encodings are those of all headers of that name in their order, in lower case and without `identity`."""
    headers = [(b"accept", b"x"), *((b"content-encoding", value) for value in values)]
    assert content_encodings(headers) == encodings


sizes = st.sampled_from([0, 1, 65_535, 65_536, 65_537, 131_072, 200_000])
contents = st.binary(max_size=300) | st.builds(lambda size: b"a" * size, sizes) | sizes.map(random.Random(1).randbytes)


@given(contents, st.lists(st.sampled_from(sorted(ENCODERS)), max_size=2))
@example(random.Random(1).randbytes(200_000), ["gzip", "gzip"])
def test_any_content(content: bytes, names: list[str]) -> None:
    """Whatever has up to two encodings is decoded, and its size is known before."""
    body = content
    for name in names:
        body = ENCODERS[name][1](body)
    encodings = tuple(ENCODERS[name][0] for name in names)
    most = max(len(content), 50)
    assert decode(body, encodings, most) == content
    assert decoded_size(body, encodings, most) == len(content)


@given(st.binary(max_size=100), st.lists(st.sampled_from([b"gzip", b"deflate", b"br"]), min_size=1, max_size=3))
def test_any_bytes(body: bytes, encodings: list[bytes]) -> None:
    """Of bytes that nobody encoded, nothing but the error for what can't be decoded comes."""
    try:
        decode(body, tuple(encodings), 10_000)
    except UndecodableError:
        return
    except BodyTooLargeError:
        return
    # A few bytes are a stream of their own by chance.
    assert decoded_size(body, tuple(encodings), 10_000) <= 10_000


PLAIN = b'{"hello": "sailor"}' * 20
PACKED = gzip.compress(PLAIN)
UNDECODABLE: dict[str, tuple[bytes, tuple[bytes, ...]]] = {
    "nothing": (b"", (b"gzip",)),
    "not compressed": (PLAIN, (b"gzip",)),
    "not compressed, deflate": (PLAIN, (b"deflate",)),
    "another encoding": (PLAIN, (b"br",)),
    "another encoding around it": (PACKED, (b"gzip", b"br")),
    "another encoding within it": (PACKED, (b"zstd", b"gzip")),
    "deflate as gzip": (zlib.compress(PLAIN), (b"gzip",)),
    "gzip as deflate": (PACKED, (b"deflate",)),
    "cut off": (PACKED[:-9], (b"gzip",)),
    "without the end of its checksum": (PACKED[:-1], (b"gzip",)),
    "only its header": (PACKED[:10], (b"gzip",)),
    "a wrong checksum": (PACKED[:-8] + b"1234" + PACKED[-4:], (b"gzip",)),
    "a damaged byte": (PACKED[:20] + b"\xff" + PACKED[21:], (b"gzip",)),
    "bytes after its end": (PACKED + b"\n", (b"gzip",)),
    "bytes after two in a row": (PACKED + PACKED + b"\n", (b"gzip",)),
    "two in a row, the second cut off": (PACKED + PACKED[:-1], (b"gzip",)),
    "two in a row of deflate": (zlib.compress(PLAIN) * 2, (b"deflate",)),
    "a dictionary": (b"\x78\xbb" + zlib.compress(PLAIN)[2:], (b"deflate",)),
    "once less than declared": (PACKED, (b"gzip", b"gzip")),
    "three times": (gzip.compress(gzip.compress(PACKED)), (b"gzip",) * 3),
}


def test_what_can_not_be_decoded() -> None:
    """What is damaged, cut off, followed by more bytes or encoded in another way is not decoded."""

    def check(case: tuple[bytes, tuple[bytes, ...]]) -> None:
        for function in (decode, decoded_size):
            with pytest.raises(UndecodableError):
                function(*case, MIB)

    assert failures(UNDECODABLE, check) == {}


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (PACKED + PACKED, PLAIN * 2),
        (PACKED + b"\0" * 70_000, PLAIN),
        (PACKED + b"\0" * 70_000 + PACKED, PLAIN * 2),
        (gzip.compress(b"") * 5 + PACKED, PLAIN),
        (PACKED * 3000, PLAIN * 3000),
    ],
    ids=["two", "zeros at the end", "zeros between two", "empty ones", "many"],
)
def test_several_members(body: bytes, content: bytes) -> None:
    """The content of several members of gzip is that of all of them, and zeros after a member are no content."""
    assert decode(body, (b"gzip",), 4 * MIB) == content
    assert decoded_size(body, (b"gzip",), 4 * MIB) == len(content)


@pytest.mark.parametrize("most", [0, 1, 65_536, 100_000])
@pytest.mark.parametrize("name", ENCODERS)
def test_content_is_bounded(name: str, most: int) -> None:
    """Content of as many bytes as are allowed is decoded. Content of one more is not."""
    encoding, encoder = ENCODERS[name]
    assert len(decode(encoder(b"a" * most), (encoding,), most)) == most
    assert decoded_size(encoder(b"a" * (most + 1)), (encoding,), most) == most + 1
    with pytest.raises(BodyTooLargeError):
        decode(encoder(b"a" * (most + 1)), (encoding,), most)


def bomb() -> bytes:
    """A gzip stream of 16 KB that holds 16 MiB."""
    return gzip.compress(b"\0" * (16 * MIB))


@pytest.mark.parametrize("times", [1, 2])
def test_a_bomb_takes_neither_memory_nor_time(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that holds far too much is inflated no further than the bound, and none of it is kept."""
    body = bomb() if times == 1 else gzip.compress(bomb())
    pieces: list[int] = []
    next_piece = content_encoding._next_piece

    def counting(inflater: "zlib._Decompress", pending: bytes) -> bytes:
        piece = next_piece(inflater, pending)
        pieces.append(len(piece))
        return piece

    monkeypatch.setattr(content_encoding, "_next_piece", counting)
    tracemalloc.start()
    try:
        assert decoded_size(body, (b"gzip",) * times, MIB) == MIB + 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(pieces) < 2 * MIB
    assert peak < MIB


RUN = {"event_id": "e", "event": {"id": "r", "flowId": "f", "metrics": {"statusSummary": {"status": "failed"}}}}
BODY = json.dumps(RUN).encode()


def kinds(application: Application) -> list[tuple[EntryKind | str, bytes]]:
    """What each entry of the ledger is, and its body."""
    return [(entry.kind, entry.body) for entry in application.ledger.read(0, 10_000)]


@pytest.mark.parametrize("name", ENCODERS)
def test_a_compressed_delivery(application: Application, name: str) -> None:
    """A compressed delivery is recorded as its content, once with an equal one that is not compressed."""
    encoding, encoder = ENCODERS[name]
    response = application.post(encoder(BODY), **{"content-encoding": encoding.decode().upper()})
    assert (response.status_code, response.text) == (200, "recorded 1\n")
    assert application.post(BODY).text == "duplicate 1\n"
    assert kinds(application) == [(EntryKind.RUN, BODY)]


@pytest.mark.parametrize("size", [100, 300_000], ids=["small", "large"])
@pytest.mark.parametrize("body_size", [0, 20_000], ids=["small body", "large body"])
def test_large_compressed_deliveries(make: Make, size: int, body_size: int) -> None:
    """A large compressed delivery, which is inflated on another thread, has the same result as a small one."""
    application = make(max_body=MIB)
    noise = random.Random(1).randbytes(body_size).hex()
    body = json.dumps([{**RUN, "padding": "x" * size, "noise": noise}, RUN]).encode()
    response = application.post(gzip.compress(body), **{"content-encoding": "gzip"})
    assert (response.status_code, response.text) == (200, "duplicate 1\nrecorded 1\n")


def test_encodings_in_several_headers(application: Application) -> None:
    """Encodings in several headers are undone in their order, as those in one header."""
    headers = [("content-encoding", "deflate"), ("content-encoding", "gzip")]
    body = gzip.compress(zlib.compress(BODY))
    assert application.request("POST", "/webhook", content=body, headers=headers).text == "recorded 1\n"
    assert application.post(body, **{"content-encoding": "deflate, gzip"}).text == "duplicate 1\n"


@pytest.mark.parametrize("name", UNDECODABLE)
def test_an_undecodable_delivery_is_kept(application: Application, name: str) -> None:
    """A delivery that can't be decoded is acknowledged and kept as it came, once however often it comes."""
    body, encodings = UNDECODABLE[name]
    header = b", ".join(encodings).decode()
    texts = [application.post(body, **{"content-encoding": header, "x-adobe-event-id": id_}).text for id_ in "ab"]
    assert texts == ["unreadable 1\n", "duplicate 1\n"]
    assert kinds(application) == [(EntryKind.UNREADABLE, body)]


def test_content_that_is_no_json(application: Application) -> None:
    """Content that is no JSON is unreadable, and one fact whether it was compressed or not."""
    assert application.post(gzip.compress(b"ahoy"), **{"content-encoding": "gzip"}).text == "unreadable 1\n"
    assert application.post(b"ahoy").text == "duplicate 1\n"


@pytest.mark.parametrize(
    ("body", "encodings", "status"),
    [
        pytest.param(gzip.compress(b" " * 1000), "gzip", 200, id="as large as it may be"),
        pytest.param(gzip.compress(b" " * 1001), "gzip", 413, id="one byte too large"),
        pytest.param(gzip.compress(b" " * 300_000), "gzip", 413, id="large"),
        pytest.param(gzip.compress(bomb()), "gzip, gzip", 413, id="a bomb"),
    ],
)
def test_the_content_of_a_delivery_is_bounded(make: Make, body: bytes, encodings: str, status: int) -> None:
    """The bound of a delivery's size is also that of its content."""
    application = make(max_body=1000)
    response = application.post(body, **{"content-encoding": encodings})
    assert response.status_code == status
    assert len(application.bodies()) == (status == 200)


@pytest.mark.parametrize("size", [2000, 300_000], ids=["small", "large"])
def test_the_memory_of_the_content_is_accounted_for(make: Make, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for the content is reserved beside that for the body. Without room it is not inflated, and comes again."""
    application = make(max_body=MIB)
    body = gzip.compress(BODY.ljust(size))
    reserved: list[int] = []
    extend = Reservation.extend

    def count(self: Reservation, more: int) -> None:
        reserved.append(more)
        extend(self, more)

    monkeypatch.setattr(Reservation, "extend", count)
    assert application.post(body, **{"content-encoding": "gzip"}).status_code == 200
    assert [more for more in reserved if more] == [len(body), size]

    def refuse(self: Reservation, more: int) -> None:
        if more == size:
            raise OverloadedError("made up")
        extend(self, more)

    def decode_handshake(body: bytes, encodings: tuple[bytes, ...], most: int) -> bytes:
        assert most == MAX_VALIDATION
        return decode(body, encodings, most)

    monkeypatch.setattr(Reservation, "extend", refuse)
    monkeypatch.setattr(webhook, "decode", decode_handshake)
    assert application.post(body, **{"content-encoding": "gzip"}).text == "made up\n"


VALIDATION = b'{"validationUrl": "https://csm.adobe.io/csm/registrations/validate?id=1"}'


@pytest.mark.parametrize("is_signed", [True, False], ids=["headers accepted", "no signature"])
def test_a_compressed_handshake(make: Make, is_signed: bool) -> None:
    """A compressed request to confirm the webhook is answered as any other, with or without a signature."""
    application = make() if is_signed else make("--webhook.client-id=ours")
    response = application.post(gzip.compress(VALIDATION), **{"content-encoding": "gzip"})
    assert (response.status_code, response.text) == (200, "ok\n")
    assert application.bodies() == []


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(gzip.compress(VALIDATION + b" " * 5000), id="more than a handshake"),
        pytest.param(gzip.compress(bomb()), id="a bomb"),
        pytest.param(gzip.compress(VALIDATION)[:-1], id="cut off"),
        pytest.param(gzip.compress(BODY), id="an event"),
    ],
)
def test_what_is_inflated_without_a_signature(make: Make, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a body without a signature no more is inflated than a handshake has, and nothing is kept."""
    bounds: list[int] = []

    def counting(body: bytes, encodings: tuple[bytes, ...], most: int) -> bytes:
        bounds.append(most)
        return decode(body, encodings, most)

    monkeypatch.setattr(webhook, "decode", counting)
    application = make("--webhook.client-id=ours")
    assert application.post(body, **{"content-encoding": "gzip"}).status_code == 401
    assert bounds == [4096]
    assert application.bodies() == []
