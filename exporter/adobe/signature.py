"""Reads and verifies Adobe's digital signatures, and decides which key paths may be fetched.

A signature is RSASSA PKCS#1 v1.5 with SHA-256, over the raw bytes of the body as they were received. Adobe signs with
two keys so that one of them can be replaced, and one valid signature is enough. Mind the names of the headers:
`x-adobe-digital-signature-1` belongs to `x-adobe-public-key1-path`. A key path is accepted only if it has exactly the
form of Adobe's. Without that check a sender could change the host that the key is fetched from, as both of Adobe's SDKs
allow, because they join host and path unchecked. Sources: docs/adobe.md, "Headers" and "Signatures".

Weak point: a signature holds no time, so an old delivery can be sent again by anybody who has it. It is not counted
again, because the ledger stores each fact once.

No I/O and no clock.
"""

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from exporter.errors import BadKeyError, KeyPathError, SignatureMissingError

MAX_PEM: Final = 16 * 1024
"""Bytes of a key file. That of a key of 2048 bits has 451."""

_PATH = re.compile(r"/prod/keys/pub-key-[A-Za-z0-9-]{1,64}\.pem", re.ASCII)
_HEADERS: Final = (
    (b"x-adobe-digital-signature-1", b"x-adobe-public-key1-path"),
    (b"x-adobe-digital-signature-2", b"x-adobe-public-key2-path"),
)
_MIN_SIGNATURE: Final = 300
_MAX_SIGNATURE: Final = 2048
"""Characters of a signature in base64. That of a key of 2048 bits has 344."""
_KEY_BITS: Final = range(2048, 8193)
_SCHEME: Final = padding.PKCS1v15()
_DIGEST: Final = SHA256()


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature from a request's headers."""

    value: bytes
    key_path: str
    """The path of the public key that belongs to it, as the request names it."""


def signatures(headers: Mapping[bytes, bytes]) -> tuple[Signature, ...]:
    """The signatures of a request, one or two.

    Raises KeyPathError if a key path does not have the form of Adobe's, and SignatureMissingError if no signature comes
    with its key path.
    """
    found: list[Signature] = []
    for signature_header, path_header in _HEADERS:
        text, path = headers.get(signature_header), headers.get(path_header)
        if path is not None and not is_key_path(path.decode("latin-1")):
            raise KeyPathError("the request names a key that is not Adobe's")
        if text is None or path is None:
            continue
        value = _decode(text)
        if value is not None:
            found.append(Signature(value, path.decode("latin-1")))
    if not found:
        raise SignatureMissingError("the request is not signed")
    return tuple(found)


def is_key_path(path: str) -> bool:
    """Whether a path has the form of Adobe's key paths. Appended to a host, such a path can't name another host."""
    return _PATH.fullmatch(path) is not None


def load_key(pem: bytes) -> RSAPublicKey:
    """Read the file of a public key. Raises BadKeyError unless it is an RSA key of 2048 to 8192 bits."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise BadKeyError("Adobe's key file holds no public key") from None
    if not isinstance(key, RSAPublicKey) or key.key_size not in _KEY_BITS:
        raise BadKeyError("Adobe's key is not an RSA key of 2048 bits or more")
    return key


def verify(body: bytes, signature: Signature, key: RSAPublicKey) -> bool:
    """Whether the signature is of exactly these bytes and was made with this key's private key."""
    try:
        key.verify(signature.value, body, _SCHEME, _DIGEST)
    except InvalidSignature:
        return False
    return True


def _decode(text: bytes) -> bytes | None:
    """The bytes of a signature in base64. None if it is not base64 or has no length that a signature can have."""
    if not _MIN_SIGNATURE <= len(text) <= _MAX_SIGNATURE:
        return None
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return None
