"""Adobe's digital signatures: which keys a request may name, and whether one of them signed its bytes.

The rule: only paths that name one of Adobe's public keys are ever looked up, and only the raw bytes as received are
verified. Adobe signs with two keys so that one can be rotated; either signature with its own key is enough. The headers
are asymmetric: `x-adobe-digital-signature-1` goes with `x-adobe-public-key1-path`. Facts: adobe.md A2 and A3 (RSASSA
PKCS#1 v1.5 with SHA-256; both of Adobe's SDKs join host and path unchecked, so a path may try to change the host).

Weak point: nothing in a signature says when it was made; what keeps a replayed delivery from counting is the ledger.

Sans-I/O: no clock, no client, no async.
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
"""Bytes of a key's file; one of 2048 bits takes 451."""

_PATH = re.compile(r"/prod/keys/pub-key-[A-Za-z0-9-]{1,64}\.pem", re.ASCII)
_HEADERS: Final = (
    (b"x-adobe-digital-signature-1", b"x-adobe-public-key1-path"),
    (b"x-adobe-digital-signature-2", b"x-adobe-public-key2-path"),
)
_MIN_SIGNATURE: Final = 300
_MAX_SIGNATURE: Final = 2048
"""Characters of a signature; one of a key of 2048 bits has 344."""
_KEY_BITS: Final = range(2048, 8193)
_SCHEME: Final = padding.PKCS1v15()
_DIGEST: Final = SHA256()


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature and the path of the key it claims to be made with."""

    value: bytes
    key_path: str


def signatures(headers: Mapping[bytes, bytes]) -> tuple[Signature, ...]:
    """The signatures of a request, one or two.

    Raises KeyPathError when a path is not one of Adobe's keys', SignatureMissingError when no pair is complete.
    """
    found: list[Signature] = []
    for signature_header, path_header in _HEADERS:
        text, path = headers.get(signature_header), headers.get(path_header)
        if path is not None and not is_key_path(path.decode("latin-1")):
            raise KeyPathError("the request names a key that is not Adobe's")
        if text is None or path is None:
            continue
        value = _decoded(text)
        if value is not None:
            found.append(Signature(value, path.decode("latin-1")))
    if not found:
        raise SignatureMissingError("the request is not signed")
    return tuple(found)


def is_key_path(path: str) -> bool:
    """Whether a path names one of Adobe's public keys, and nothing else whatever is put before it."""
    return _PATH.fullmatch(path) is not None


def load_key(pem: bytes) -> RSAPublicKey:
    """Read a public key's file; raises BadKeyError unless it is an RSA key of a size that is used today."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise BadKeyError("Adobe's key file holds no public key") from None
    if not isinstance(key, RSAPublicKey) or key.key_size not in _KEY_BITS:
        raise BadKeyError("Adobe's key is not an RSA key of 2048 bits or more")
    return key


def verify(body: bytes, signature: Signature, key: RSAPublicKey) -> bool:
    """Whether this key made this signature of exactly these bytes."""
    try:
        key.verify(signature.value, body, _SCHEME, _DIGEST)
    except InvalidSignature:
        return False
    return True


def _decoded(text: bytes) -> bytes | None:
    if not _MIN_SIGNATURE <= len(text) <= _MAX_SIGNATURE:
        return None
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return None
