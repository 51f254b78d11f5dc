import base64
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

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
from tests.adobe import failing
from tests.samples import SIGNATURE_OF_ANOTHER_BODY, UNRELATED_KEY, vector

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
"""Paths that a sender may invent, by what is wrong with them. None has the form of Adobe's key paths."""

SIGNATURE_1: Final = b"x-adobe-digital-signature-1"
SIGNATURE_2: Final = b"x-adobe-digital-signature-2"
PATH_1: Final = b"x-adobe-public-key1-path"
PATH_2: Final = b"x-adobe-public-key2-path"
ONE: Final = base64.b64encode(b"1" * 256)
TWO: Final = base64.b64encode(b"2" * 256)


def private_key(name: str = "") -> rsa.RSAPrivateKey:
    """A private key that is generated for these tests, the same one for the same name."""
    return _private_key(name)


@cache
def _private_key(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPublicKey) -> bytes:
    """The file of a public key."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signed(body: bytes, name: str = "", path: str = PATH, digest: HashAlgorithm | None = None) -> Signature:
    """The signature of a body by the key of that name."""
    return Signature(private_key(name).sign(body, padding.PKCS1v15(), digest or SHA256()), path)


def signed_vector(name: str, number: int) -> tuple[bytes, Signature, bytes]:
    """A body, one of its signatures as it is read from the headers, and the file of the key that verifies it."""
    body, text, pem_ = vector(name, number)
    headers = {
        b"x-adobe-digital-signature-%d" % number: text,
        b"x-adobe-public-key%d-path" % number: PATH.encode(),
    }
    (signature,) = signatures(headers)
    return body, signature, pem_


def with_bit_flipped(original: bytes, at: int) -> bytes:
    """The same bytes with one bit of the byte at a place changed."""
    return original[:at] + bytes([original[at] ^ (1 << at % 8)]) + original[at + 1 :]


def as_pem(der: bytes) -> bytes:
    """Any bytes written as a public key's file."""
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(der) + b"-----END PUBLIC KEY-----\n"


vectors = pytest.mark.parametrize(("name", "number"), [("single", 1), ("single", 2), ("batch", 1), ("batch", 2)])


@vectors
def test_vectors(name: str, number: int) -> None:
    """Either signature of a single event and of a batch verifies with its own key."""
    body, signature, key = signed_vector(name, number)
    assert verify(body, signature, load_key(key))


@vectors
def test_vectors_with_another_key(name: str, number: int) -> None:
    """A signature does not verify with the other key of its body, nor with an unrelated key."""
    body, signature, _ = signed_vector(name, number)
    assert not verify(body, signature, load_key(vector(name, 3 - number).pem))
    assert not verify(body, signature, load_key(UNRELATED_KEY))


@vectors
def test_vectors_with_the_signature_of_another_body(name: str, number: int) -> None:
    """A signature of other bytes does not verify, although the first key made it."""
    body, _, key = signed_vector(name, number)
    other = Signature(base64.b64decode(SIGNATURE_OF_ANOTHER_BODY), PATH)
    assert not verify(body, other, load_key(key))
    assert verify(b'{"event": "another body"}', other, load_key(vector(name, 1).pem))


@vectors
def test_vectors_with_a_changed_body(name: str, number: int) -> None:
    """A signature does not verify if one bit of any byte of the body changes, or if a byte is added or removed."""
    body, signature, pem_ = signed_vector(name, number)
    key = load_key(pem_)
    for at in range(len(body)):
        assert not verify(with_bit_flipped(body, at), signature, key)
        assert not verify(body[:at] + body[at + 1 :], signature, key)
        assert not verify(body[:at] + b" " + body[at:], signature, key)
    assert not verify(body + b"\n", signature, key)


@vectors
def test_vectors_with_a_changed_signature(name: str, number: int) -> None:
    """A signature does not verify if one bit of any of its bytes changes, or if it is longer or shorter."""
    body, signature, pem_ = signed_vector(name, number)
    key = load_key(pem_)
    value = signature.value
    assert len(value) == 256
    for at in range(len(value)):
        assert not verify(body, Signature(with_bit_flipped(value, at), PATH), key)
    for other in (value[1:], value[:-1], b"\x00" + value, value + b"\x00", value[::-1], b"", value * 2):
        assert not verify(body, Signature(other, PATH), key)


@vectors
def test_vectors_with_a_changed_key(name: str, number: int) -> None:
    """If one bit of any byte of the key file changes, it is refused or it does not verify the signature."""
    body, signature, pem_ = signed_vector(name, number)
    assert_no_other_key_verifies(body, signature, pem_)


def test_a_key_changed() -> None:
    """A key that differs in one bit from the one that signed is refused or does not verify."""
    assert_no_other_key_verifies(b"{}", signed(b"{}"), pem(private_key().public_key()))


def assert_no_other_key_verifies(body: bytes, signature: Signature, pem_: bytes) -> None:
    """Assert that every key that differs from this one in one bit is refused or does not verify the signature."""
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
    """A signature verifies with the key that made it, and with no other key."""
    assert verify(body, signed(body), private_key().public_key())
    assert not verify(body, signed(body), private_key("another").public_key())
    assert not verify(body + b"\x00", signed(body), private_key().public_key())


@given(st.binary(), st.binary())
def test_a_signature_is_of_one_body(body: bytes, other: bytes) -> None:
    """A signature of one body verifies another one only if the two are equal."""
    assert verify(other, signed(body), private_key().public_key()) is (body == other)


@given(st.binary(max_size=600))
def test_any_signature(value: bytes) -> None:
    """Bytes that no key made do not verify, whatever their length."""
    assert not verify(b"{}", Signature(value, PATH), private_key().public_key())


DIGESTS: Final = (SHA1(), SHA384(), SHA512())  # noqa: S303 - to see it refused


@pytest.mark.parametrize("digest", DIGESTS, ids=lambda digest: digest.name)
def test_another_digest(digest: HashAlgorithm) -> None:
    """A signature with any digest but SHA-256 does not verify."""
    assert not verify(b"{}", signed(b"{}", digest=digest), private_key().public_key())


def test_another_padding() -> None:
    """A signature with PSS, the other scheme of RSA, does not verify."""
    pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.MAX_LENGTH)
    value = private_key().sign(b"{}", pss, SHA256())
    assert not verify(b"{}", Signature(value, PATH), private_key().public_key())


def test_load_key() -> None:
    """Loading the file of a public key gives that key."""
    key = private_key().public_key()
    assert load_key(pem(key)).public_numbers() == key.public_numbers()


@pytest.mark.parametrize("bits", [2048, 3072, 4096, 8192])
def test_load_key_of_any_size_in_use(bits: int) -> None:
    """Keys of 2048 to 8192 bits are accepted."""
    assert load_key(of_size(bits)).key_size == bits


def of_size(bits: int) -> bytes:
    """The file of a public key of so many bits. Its private key is not known."""
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


def test_bad_keys() -> None:
    """Anything but an RSA public key of 2048 to 8192 bits is refused."""

    def check(make: Callable[[], bytes]) -> None:
        with pytest.raises(BadKeyError):
            load_key(make())

    assert failing(BAD_KEYS, check) == {}


@given(st.binary() | st.binary().map(as_pem))
def test_any_key(content: bytes) -> None:
    """Random bytes are refused as a key, and raise nothing else."""
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
    """Every signature that comes with its key path is found, and one is enough."""
    assert signatures(headers) == found


UNSIGNED: Final = {
    "nothing": {},
    "signatures without paths": {SIGNATURE_1: ONE, SIGNATURE_2: TWO},
    "paths without signatures": {PATH_1: PATH.encode(), PATH_2: PATH.encode()},
    "the first signature and the second path": {SIGNATURE_1: ONE, PATH_2: PATH.encode()},
    "the second signature and the first path": {SIGNATURE_2: ONE, PATH_1: PATH.encode()},
    "no base64": {SIGNATURE_1: b"no base64!", PATH_1: PATH.encode()},
    "base64 without its padding": {SIGNATURE_1: ONE[:-1], PATH_1: PATH.encode()},
    "base64 and a newline": {SIGNATURE_1: ONE + b"\n", PATH_1: PATH.encode()},
    "base64 with a blank": {SIGNATURE_1: ONE[:9] + b" " + ONE[9:], PATH_1: PATH.encode()},
    "base64 for addresses": {SIGNATURE_1: b"-_-_" * 86, PATH_1: PATH.encode()},
    "bytes": {SIGNATURE_1: b"\xff" * 344, PATH_1: PATH.encode()},
    "too long": {SIGNATURE_1: b"A" * 4000, PATH_1: PATH.encode()},
    "the name that is misspelt": {b"x-adobe-digital-signature1": ONE, PATH_1: PATH.encode()},
    "symmetric names": {SIGNATURE_1: ONE, b"x-adobe-public-key-1-path": PATH.encode()},
    "the old signature": {b"x-adobe-signature": ONE},
}
"""Headers in which no signature has its key path."""


def test_unsigned_requests() -> None:
    """A request in which no signature has its key path is not signed."""

    def check(headers: dict[bytes, bytes]) -> None:
        with pytest.raises(SignatureMissingError):
            signatures(headers)

    assert failing(UNSIGNED, check) == {}


@given(st.dictionaries(st.sampled_from([SIGNATURE_1, SIGNATURE_2, PATH_1, PATH_2]), st.binary()))
def test_any_headers(headers: dict[bytes, bytes]) -> None:
    """Random headers are refused: their key path does not have Adobe's form, or there is no signature."""
    with pytest.raises((KeyPathError, SignatureMissingError)):
        signatures(headers)


def test_key_paths() -> None:
    """A path of Adobe's form is accepted, whether its name is a UUID or not."""
    assert [path for path in GOOD_PATHS if not is_key_path(path)] == []


def test_attacks() -> None:
    """A path that is not exactly of Adobe's form is not accepted."""
    assert [name for name, path in ATTACKS.items() if is_key_path(path)] == []


@pytest.mark.parametrize("header", [PATH_1, PATH_2], ids=bytes.decode)
def test_attacks_in_a_header(header: bytes) -> None:
    """A request with a key path that is not of Adobe's form is refused, even if its other signature is valid."""

    def check(path: str) -> None:
        headers = {SIGNATURE_1: ONE, PATH_1: PATH.encode(), SIGNATURE_2: TWO, PATH_2: OTHER_PATH.encode()}
        with pytest.raises(KeyPathError):
            signatures(headers | {header: path.encode()})

    assert failing(ATTACKS, check) == {}


@given(st.text())
def test_any_path(path: str) -> None:
    """A random text is not accepted as a key path."""
    assert not is_key_path(path)


@given(st.from_regex(r"/prod/keys/pub-key-[A-Za-z0-9-]{1,64}\.pem", fullmatch=True), st.text(min_size=1), st.data())
def test_a_key_path_and_more(path: str, more: str, data: st.DataObject) -> None:
    """A key path with anything before or after it is not accepted."""
    assert is_key_path(path)
    assert not is_key_path(more + path)
    assert not is_key_path(path + more)
