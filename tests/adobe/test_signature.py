import base64
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)
from hypothesis import given
from hypothesis import strategies as st

from exporter.adobe.signature import Signature, is_key_path, load_key, signatures, verify
from exporter.errors import BadKeyError, KeyPathError, SignatureMissingError

SHARED: Final = Path(__file__).parents[2].parent / "shared" / "adobe-signature-vectors.json"

PATH: Final = "/prod/keys/pub-key-Ptc2pD9vT9.pem"
OTHER_PATH: Final = "/prod/keys/pub-key-8e1f2a34-90ab-4cde-8f01-23456789abcd.pem"
GOOD_PATHS: Final = (
    PATH,
    OTHER_PATH,
    "/prod/keys/pub-key-a.pem",
    "/prod/keys/pub-key-0.pem",
    "/prod/keys/pub-key--.pem",
    "/prod/keys/pub-key-ABCDEFGHIJKLMNOPQRSTUVWXYZ.pem",
    "/prod/keys/pub-key-" + "a" * 36 + ".pem",
)

HOST: Final = "https://static.adobeioevents.com"
ATTACKS: Final = {
    "nothing": "",
    "a slash": "/",
    "userinfo": "@evil",
    "userinfo and a path": "@evil.com/prod/keys/pub-key-a.pem",
    "a password": ":secret@evil.com/prod/keys/pub-key-a.pem",
    "a longer host": ".evil.com/x",
    "a longer host and Adobe's path": ".evil.com/prod/keys/pub-key-a.pem",
    "a port": ":8443/prod/keys/pub-key-a.pem",
    "a port of another host": ":443@evil.com:8443/prod/keys/pub-key-a.pem",
    "another host": "//evil/prod/keys/pub-key-a.pem",
    "two slashes within": "/prod//keys/pub-key-a.pem",
    "a whole address": "https://evil.com/prod/keys/pub-key-a.pem",
    "Adobe's whole address": HOST + PATH,
    "a backslash": "\\evil.com/prod/keys/pub-key-a.pem",
    "backslashes": "\\prod\\keys\\pub-key-a.pem",
    "a slash and a backslash": "/\\evil.com/prod/keys/pub-key-a.pem",
    "a backslash in the name": "/prod/keys/pub-key-a\\b.pem",
    "an encoded slash": "/prod/keys/pub-key-a%2fb.pem",
    "an encoded path": "%2fprod%2fkeys%2fpub-key-a.pem",
    "an encoded dot": "/prod/keys/pub-key-a%2epem",
    "dots at the end": "/prod/keys/pub-key-a.pem/..",
    "dots in the middle": "/prod/keys/../keys/pub-key-a.pem",
    "dots in the name": "/prod/keys/pub-key-../../x.pem",
    "dots at the start": "/../prod/keys/pub-key-a.pem",
    "a dot in the middle": "/prod/keys/./pub-key-a.pem",
    "upper case": "/PROD/KEYS/PUB-KEY-A.PEM",
    "an upper-case ending": "/prod/keys/pub-key-a.PEM",
    "a newline at the end": PATH + "\n",
    "a newline at the start": "\n" + PATH,
    "a header after it": PATH + "\r\nHost: evil.com",
    "a blank at the end": PATH + " ",
    "a blank at the start": " " + PATH,
    "a tab": "/prod/keys/pub-key-a\tb.pem",
    "NUL": PATH + "\x00",
    "NUL in the middle": "/prod/keys/pub-key-a\x00.pem",
    "10 kB": "/prod/keys/pub-key-" + "a" * 10_000 + ".pem",
    "65 characters": "/prod/keys/pub-key-" + "a" * 65 + ".pem",
    "no name": "/prod/keys/pub-key-.pem",
    "another PEM": "/prod/keys/private.pem",
    "a PEM elsewhere": "/customers/pub-key-a.pem",
    "another stage": "/stage/keys/pub-key-a.pem",
    "a folder more": "/prod/keys/x/pub-key-a.pem",
    "another ending": "/prod/keys/pub-key-a.txt",
    "an ending more": "/prod/keys/pub-key-a.pem.txt",
    "any character for the dot": "/prod/keys/pub-key-axpem",
    "a query": PATH + "?x",
    "a fragment": PATH + "#x",
    "a query for an ending": "/prod/keys/pub-key-a?.pem",
    "a parameter": PATH + ";x",
    "an underscore": "/prod/keys/pub-key-a_b.pem",
    "Arabic digits": "/prod/keys/pub-key-\u0661\u0662.pem",
    "full-width digits": "/prod/keys/pub-key-\uff11\uff12.pem",
    "a full-width slash": "\uff0fprod/keys/pub-key-a.pem",
    "a Kelvin sign": "/prod/keys/pub-key-\u212a.pem",
    "a long s": "/prod/key\u017f/pub-key-a.pem",
    "an accent": "/prod/keys/pub-key-\xe9.pem",
    "no slash at the start": "prod/keys/pub-key-a.pem",
    "two paths": PATH + "," + PATH,
}
"""Paths that a stranger may send, by what is wrong with them; none names a key of Adobe's."""

SIGNATURE_1: Final = b"x-adobe-digital-signature-1"
SIGNATURE_2: Final = b"x-adobe-digital-signature-2"
PATH_1: Final = b"x-adobe-public-key1-path"
PATH_2: Final = b"x-adobe-public-key2-path"
ONE: Final = base64.b64encode(b"1" * 256)
TWO: Final = base64.b64encode(b"2" * 256)


def private_key(name: str = "") -> rsa.RSAPrivateKey:
    """A key made up for these tests, the same one for the same name."""
    return _private_key(name)


@cache
def _private_key(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPublicKey) -> bytes:
    """The key's file."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signed(body: bytes, name: str = "", path: str = PATH, digest: HashAlgorithm | None = None) -> Signature:
    """The signature of a body by the key of that name."""
    return Signature(private_key(name).sign(body, padding.PKCS1v15(), digest or SHA256()), path)


class Vector(NamedTuple):
    """One of the signatures that Adobe published."""

    body: bytes
    signature: Signature
    pem: bytes


def vector(name: str, number: int) -> Vector:
    """The vector of that name; skips the test where Adobe's vectors are not beside the project."""
    if not SHARED.exists():
        pytest.skip(f"Adobe's vectors are not beside the project ({SHARED})")
    (found,) = (each for each in json.loads(SHARED.read_bytes())["vectors"] if each["name"] == name)
    headers = {
        b"x-adobe-digital-signature-%d" % number: found[f"signature_{number}"].encode(),
        b"x-adobe-public-key%d-path" % number: PATH.encode(),
    }
    (signature,) = signatures(headers)
    return Vector(found["body"].encode(), signature, found[f"key_{number}"].encode())


def shared(name: str) -> str:
    """Another member of the vectors' file."""
    if not SHARED.exists():
        pytest.skip(f"Adobe's vectors are not beside the project ({SHARED})")
    return str(json.loads(SHARED.read_bytes())[name])


def with_bit_flipped(original: bytes, at: int) -> bytes:
    """The same bytes but for one bit of the byte at a place."""
    return original[:at] + bytes([original[at] ^ (1 << at % 8)]) + original[at + 1 :]


def as_pem(der: bytes) -> bytes:
    """Any bytes written as a public key's file."""
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(der) + b"-----END PUBLIC KEY-----\n"


vectors = pytest.mark.parametrize(("name", "number"), [("single", 1), ("single", 2), ("batch", 1), ("batch", 2)])


@vectors
def test_adobes_vectors(name: str, number: int) -> None:
    """The signatures that Adobe published are of the bodies that Adobe published, by their own keys."""
    body, signature, key = vector(name, number)
    assert verify(body, signature, load_key(key))


@vectors
def test_adobes_vectors_with_the_other_key(name: str, number: int) -> None:
    """A signature verifies with its own key, not with that of the other."""
    body, signature, _ = vector(name, number)
    assert not verify(body, signature, load_key(vector(name, 3 - number).pem))
    assert not verify(body, signature, load_key(shared("unrelated_key").encode()))


@vectors
def test_adobes_vectors_with_another_signature(name: str, number: int) -> None:
    """The signature that Adobe published as wrong is wrong."""
    body, _, key = vector(name, number)
    assert not verify(body, Signature(base64.b64decode(shared("invalid_signature")), PATH), load_key(key))


@vectors
def test_adobes_vectors_with_a_body_changed(name: str, number: int) -> None:
    """One bit of any byte of the body, a byte more or a byte less, and the signature is wrong."""
    body, signature, pem_ = vector(name, number)
    key = load_key(pem_)
    for at in range(len(body)):
        assert not verify(with_bit_flipped(body, at), signature, key)
        assert not verify(body[:at] + body[at + 1 :], signature, key)
        assert not verify(body[:at] + b" " + body[at:], signature, key)
    assert not verify(body + b"\n", signature, key)


@vectors
def test_adobes_vectors_with_a_signature_changed(name: str, number: int) -> None:
    """One bit of any byte of the signature, a byte more or a byte less, and it is wrong."""
    body, signature, pem_ = vector(name, number)
    key = load_key(pem_)
    value = signature.value
    assert len(value) == 256
    for at in range(len(value)):
        assert not verify(body, Signature(with_bit_flipped(value, at), PATH), key)
    for other in (value[1:], value[:-1], b"\x00" + value, value + b"\x00", value[::-1], b"", value * 2):
        assert not verify(body, Signature(other, PATH), key)


@vectors
def test_adobes_vectors_with_a_key_changed(name: str, number: int) -> None:
    """One bit of any byte of the key, and it is no key, or not the one that signed."""
    body, signature, pem_ = vector(name, number)
    assert_no_other_key_verifies(body, signature, pem_)


def test_a_key_changed() -> None:
    """One bit of any byte of a key of ours, and it is no key, or not the one that signed."""
    assert_no_other_key_verifies(b"{}", signed(b"{}"), pem(private_key().public_key()))


def assert_no_other_key_verifies(body: bytes, signature: Signature, pem_: bytes) -> None:
    """Hold every key that differs from this one in one byte to being refused, or not verifying."""
    der = load_pem_public_key(pem_).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    survivors = []
    for at in range(len(der)):
        try:
            if verify(body, signature, load_key(as_pem(with_bit_flipped(der, at)))):
                survivors.append(at)
        except BadKeyError:
            pass
    assert survivors == []


@given(st.binary())
def test_sign_and_verify(body: bytes) -> None:
    """What our key signed verifies with it, and only with it."""
    assert verify(body, signed(body), private_key().public_key())
    assert not verify(body, signed(body), private_key("another").public_key())
    assert not verify(body + b"\x00", signed(body), private_key().public_key())


@given(st.binary(), st.binary())
def test_a_signature_is_of_one_body(body: bytes, other: bytes) -> None:
    """A signature of one body verifies another only where the two are the same."""
    assert verify(other, signed(body), private_key().public_key()) is (body == other)


@given(st.binary(max_size=600))
def test_any_signature(value: bytes) -> None:
    """Bytes that nobody signed are no signature, whatever their length."""
    assert not verify(b"{}", Signature(value, PATH), private_key().public_key())


DIGESTS: Final = (SHA1(), SHA384(), SHA512())  # noqa: S303 - to see it refused


@pytest.mark.parametrize("digest", DIGESTS, ids=lambda digest: digest.name)
def test_another_digest(digest: HashAlgorithm) -> None:
    """A signature over any digest but SHA-256 is wrong."""
    assert not verify(b"{}", signed(b"{}", digest=digest), private_key().public_key())


def test_another_padding() -> None:
    """A signature of the other scheme of RSA is wrong."""
    pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.MAX_LENGTH)
    value = private_key().sign(b"{}", pss, SHA256())
    assert not verify(b"{}", Signature(value, PATH), private_key().public_key())


def test_load_key() -> None:
    """A public key's file is read as the key that was written."""
    key = private_key().public_key()
    assert load_key(pem(key)).public_numbers() == key.public_numbers()


@pytest.mark.parametrize("bits", [2048, 3072, 4096, 8192])
def test_load_key_of_any_size_in_use(bits: int) -> None:
    """Keys of 2048 bits and more are read."""
    assert load_key(of_size(bits)).key_size == bits


def of_size(bits: int) -> bytes:
    """The file of a key of so many bits; nobody knows its factors."""
    return pem(rsa.RSAPublicNumbers(65537, (1 << (bits - 1)) + 12345).public_key())


def public(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | x25519.X25519PublicKey) -> bytes:
    """The file of a key of another kind."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


BAD_KEYS: Final[Mapping[str, Callable[[], bytes]]] = {
    "elliptic": lambda: public(ec.generate_private_key(ec.SECP256R1()).public_key()),
    "Ed25519": lambda: public(ed25519.Ed25519PrivateKey.generate().public_key()),
    "X25519": lambda: public(x25519.X25519PrivateKey.generate().public_key()),
    "DSA": lambda: (
        dsa.DSAPublicNumbers(5, dsa.DSAParameterNumbers((1 << 2047) + 9, (1 << 255) + 95, 4))
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    ),
    "1024 bits": lambda: of_size(1024),
    "2047 bits": lambda: of_size(2047),
    "16384 bits": lambda: of_size(16384),
    "private": lambda: private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    "private, the old way": lambda: private_key().private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    ),
    "DER": lambda: private_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "OpenSSH": lambda: private_key().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
    "half a key": lambda: pem(private_key().public_key())[:200],
    "half a key, closed": lambda: pem(private_key().public_key())[:200] + b"\n-----END PUBLIC KEY-----\n",
    "empty": lambda: b"",
    "blank": lambda: b" \n\n",
    "an empty frame": lambda: as_pem(b""),
    "a frame of zeros": lambda: as_pem(bytes(294)),
    "no base64": lambda: b"-----BEGIN PUBLIC KEY-----\n\xff\xfe!\n-----END PUBLIC KEY-----\n",
    "a certificate's frame": lambda: pem(private_key().public_key()).replace(b"PUBLIC KEY", b"CERTIFICATE"),
    "a page": lambda: b"<!doctype html><title>Not found</title>",
    "JSON": lambda: b'{"error": "not found"}',
    "a megabyte": lambda: b"A" * 1_000_000,
    "a megabyte framed": lambda: as_pem(b"0" * 1_000_000),
    "a megabyte of key": lambda: of_size(4_000_000),
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_no_key(name: str) -> None:
    """What is no RSA key of a size in use today is refused."""
    with pytest.raises(BadKeyError):
        load_key(BAD_KEYS[name]())


@given(st.binary() | st.binary().map(as_pem))
def test_any_key(content: bytes) -> None:
    """Any bytes at all are refused as a key, and nothing worse."""
    with pytest.raises(BadKeyError):
        load_key(content)


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        pytest.param(
            {SIGNATURE_1: ONE, PATH_1: PATH.encode(), SIGNATURE_2: TWO, PATH_2: OTHER_PATH.encode()},
            (Signature(b"1" * 256, PATH), Signature(b"2" * 256, OTHER_PATH)),
            id="both",
        ),
        pytest.param({SIGNATURE_1: ONE, PATH_1: PATH.encode()}, (Signature(b"1" * 256, PATH),), id="the first"),
        pytest.param({SIGNATURE_2: TWO, PATH_2: PATH.encode()}, (Signature(b"2" * 256, PATH),), id="the second"),
        pytest.param(
            {SIGNATURE_1: ONE, PATH_1: PATH.encode(), SIGNATURE_2: TWO},
            (Signature(b"1" * 256, PATH),),
            id="a second signature without a path",
        ),
        pytest.param(
            {SIGNATURE_1: ONE, PATH_1: PATH.encode(), PATH_2: OTHER_PATH.encode()},
            (Signature(b"1" * 256, PATH),),
            id="a second path without a signature",
        ),
        pytest.param(
            {SIGNATURE_1: b"no base64!", PATH_1: PATH.encode(), SIGNATURE_2: TWO, PATH_2: OTHER_PATH.encode()},
            (Signature(b"2" * 256, OTHER_PATH),),
            id="the first is no base64",
        ),
        pytest.param(
            {SIGNATURE_1: b"A" * 4000, PATH_1: PATH.encode(), SIGNATURE_2: TWO, PATH_2: OTHER_PATH.encode()},
            (Signature(b"2" * 256, OTHER_PATH),),
            id="the first is too long",
        ),
        pytest.param(
            {SIGNATURE_1: ONE, PATH_1: PATH.encode(), b"x-adobe-signature": b"", b"host": b"@evil"},
            (Signature(b"1" * 256, PATH),),
            id="among other headers",
        ),
    ],
)
def test_signatures(headers: dict[bytes, bytes], found: tuple[Signature, ...]) -> None:
    """Every complete pair of a signature and a path is found, and one is enough."""
    assert signatures(headers) == found


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="nothing"),
        pytest.param({SIGNATURE_1: ONE, SIGNATURE_2: TWO}, id="signatures without paths"),
        pytest.param({PATH_1: PATH.encode(), PATH_2: PATH.encode()}, id="paths without signatures"),
        pytest.param({SIGNATURE_1: ONE, PATH_2: PATH.encode()}, id="the first signature and the second path"),
        pytest.param({SIGNATURE_2: ONE, PATH_1: PATH.encode()}, id="the second signature and the first path"),
        pytest.param({SIGNATURE_1: b"no base64!", PATH_1: PATH.encode()}, id="no base64"),
        pytest.param({SIGNATURE_1: ONE[:-1], PATH_1: PATH.encode()}, id="base64 without its padding"),
        pytest.param({SIGNATURE_1: ONE + b"\n", PATH_1: PATH.encode()}, id="base64 and a newline"),
        pytest.param({SIGNATURE_1: ONE[:9] + b" " + ONE[9:], PATH_1: PATH.encode()}, id="base64 with a blank"),
        pytest.param({SIGNATURE_1: b"-_-_" * 86, PATH_1: PATH.encode()}, id="base64 for addresses"),
        pytest.param({SIGNATURE_1: b"\xff" * 344, PATH_1: PATH.encode()}, id="bytes"),
        pytest.param({SIGNATURE_1: b"A" * 4000, PATH_1: PATH.encode()}, id="too long"),
        pytest.param({b"x-adobe-digital-signature1": ONE, PATH_1: PATH.encode()}, id="the name that is misspelt"),
        pytest.param({SIGNATURE_1: ONE, b"x-adobe-public-key-1-path": PATH.encode()}, id="symmetric names"),
        pytest.param({b"x-adobe-signature": ONE}, id="the old signature"),
    ],
)
def test_no_signature(headers: dict[bytes, bytes]) -> None:
    """A request in which no signature has its path is not signed."""
    with pytest.raises(SignatureMissingError):
        signatures(headers)


@given(st.dictionaries(st.sampled_from([SIGNATURE_1, SIGNATURE_2, PATH_1, PATH_2]), st.binary()))
def test_any_headers(headers: dict[bytes, bytes]) -> None:
    """Headers of any bytes name no key of Adobe's, or are no signature."""
    with pytest.raises((KeyPathError, SignatureMissingError)):
        signatures(headers)


@pytest.mark.parametrize("path", GOOD_PATHS)
def test_a_key_path(path: str) -> None:
    """A path as Adobe writes them, of a UUID or not, names a key."""
    assert is_key_path(path)


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_key_path(attack: str) -> None:
    """A path that is not exactly one of Adobe's keys' names no key."""
    assert not is_key_path(ATTACKS[attack])


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("number", [1, 2])
def test_no_key_path_in_a_header(number: int, attack: str) -> None:
    """A request that names a key which is not Adobe's is refused, even where another signature is in order."""
    headers = {SIGNATURE_1: ONE, PATH_1: PATH.encode(), SIGNATURE_2: TWO, PATH_2: OTHER_PATH.encode()}
    headers[(PATH_1, PATH_2)[number - 1]] = ATTACKS[attack].encode()
    with pytest.raises(KeyPathError):
        signatures(headers)


@given(st.text())
def test_any_path(path: str) -> None:
    """A text that somebody made up names no key."""
    assert not is_key_path(path)


@given(st.from_regex(r"/prod/keys/pub-key-[A-Za-z0-9-]{1,64}\.pem", fullmatch=True), st.text(min_size=1), st.data())
def test_a_key_path_and_more(path: str, more: str, data: st.DataObject) -> None:
    """A key's path allows nothing before or after it."""
    assert is_key_path(path)
    assert not is_key_path(more + path)
    assert not is_key_path(path + more)
