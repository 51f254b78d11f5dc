"""Bodies and signatures as Adobe sends them, with values that were made up for these tests.

`*.json` are bodies. There is one for each shape that Adobe documents (docs/adobe.md, "Bodies", "Journal", "Payloads"
and "Flow Service"). `tests/golden` holds the exposition of each.

`error-codes.txt` names every error code that a public document names, one a line (`exporter/pages/explanations.py`).

`signatures/` holds signed bodies (docs/adobe.md, "Signatures"): `single.body` and `batch.body`, each with two
signatures, `key-1.pem` and `key-2.pem`, which verify them, `key-unrelated.pem`, which verifies nothing, and
`another-body.signature-1`, a signature of other bytes with the first key. A script of 20 lines made them once. It
generated three RSA keys of 2048 bits with `cryptography`, signed each body with the first two (PKCS#1 v1.5, SHA-256),
and wrote the public keys as PEM and the signatures as base64 with a newline. The private keys were not kept. To add a
vector, make all of them anew. This verifies one without this project:

    openssl dgst -sha256 -verify key-1.pem -signature <(base64 -d single.signature-1) single.body

`quick-start/` holds the bodies that the README posts. They have no times, so their runs end when they are posted.

`ledgers/` holds ledgers that earlier versions wrote (tests/test_saved_ledgers.py).
"""

from pathlib import Path
from typing import Final, NamedTuple

_FOLDER: Final = Path(__file__).parent
_SIGNATURES: Final = _FOLDER / "signatures"

NAMES: Final = tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))
"""The names of the bodies."""

UNRELATED_KEY: Final = (_SIGNATURES / "key-unrelated.pem").read_bytes()
SIGNATURE_OF_ANOTHER_BODY: Final = (_SIGNATURES / "another-body.signature-1").read_bytes().strip()


class Vector(NamedTuple):
    """A signed body."""

    body: bytes
    signature: bytes
    """In base64, as a request's header has it."""
    pem: bytes
    """The file of the key that verifies the signature."""


def sample(name: str) -> bytes:
    """The body of that name."""
    return (_FOLDER / f"{name}.json").read_bytes()


def vector(name: str, number: int) -> Vector:
    """The body `single` or `batch` with its signature by the first or the second key."""
    return Vector(
        body=(_SIGNATURES / f"{name}.body").read_bytes(),
        signature=(_SIGNATURES / f"{name}.signature-{number}").read_bytes().strip(),
        pem=(_SIGNATURES / f"key-{number}.pem").read_bytes(),
    )
