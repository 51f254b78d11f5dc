"""Adobe's side of a digital signature: two key pairs, the headers of a signed body, the public keys.

The rule: each body is signed with both keys, as Adobe does so that one can be rotated (RSASSA PKCS#1 v1.5 with SHA-256
over the raw bytes, docs/adobe.md, "Signatures"). Keys last as long as the process. The path of a key is made from the
key, because a verifier caches the key of a path for a day, and would reject a new key under an old path.

No I/O.
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
    """Signs bodies with two keys."""

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
        """The headers with the signatures of exactly these bytes and the paths of the keys."""
        found: dict[str, str] = {}
        for number, (path, key) in enumerate(self._keys.items(), start=1):
            found[f"x-adobe-digital-signature-{number}"] = base64.b64encode(
                key.sign(body, padding.PKCS1v15(), SHA256())
            ).decode("ascii")
            found[f"x-adobe-public-key{number}-path"] = path
        return found
