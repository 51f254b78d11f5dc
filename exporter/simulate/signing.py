"""Adobe's side of a digital signature: two key pairs, the headers they make, the files of their public halves.

The rule: each body is signed with both keys, as Adobe does so that one can be rotated (RSASSA PKCS#1 v1.5 with SHA-256
over the raw bytes; facts: adobe.md A3). Keys live as long as the process. A key's path is made from the key, because
whoever verifies keeps a path's key for a day: a new key under an old path would be taken for a forgery.

Sans-I/O.
"""

import base64
import hashlib
from typing import Final

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_KEYS: Final = 2
_BITS: Final = 2048
_EXPONENT: Final = 65537


class Signer:
    """Signs what is posted."""

    def __init__(self) -> None:
        self._keys: dict[str, rsa.RSAPrivateKey] = {}
        self.public: dict[str, bytes] = {}
        """The public keys as PEM, by the path that the headers name."""
        for _ in range(_KEYS):
            key = rsa.generate_private_key(public_exponent=_EXPONENT, key_size=_BITS)
            pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            path = f"/prod/keys/pub-key-{hashlib.sha256(pem).hexdigest()[:16]}.pem"
            self._keys[path] = key
            self.public[path] = pem

    def headers(self, body: bytes) -> dict[str, str]:
        """The signatures of exactly these bytes, and the paths of the keys."""
        found: dict[str, str] = {}
        for number, (path, key) in enumerate(self._keys.items(), start=1):
            found[f"x-adobe-digital-signature-{number}"] = base64.b64encode(
                key.sign(body, padding.PKCS1v15(), SHA256())
            ).decode("ascii")
            found[f"x-adobe-public-key{number}-path"] = path
        return found
