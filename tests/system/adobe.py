"""A stand-in for Adobe: two keys, a server that has their public halves, and signed deliveries."""

import base64
import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.system.processes import PATIENCE, http_server

PATHS = ("/prod/keys/pub-key-One1.pem", "/prod/keys/pub-key-Two2.pem")


class Adobe:
    """Two key pairs and the answers of the key server."""

    def __init__(self) -> None:
        self._keys = {path: rsa.generate_private_key(public_exponent=65537, key_size=2048) for path in PATHS}
        self._pems = {path: _pem(key) for path, key in self._keys.items()}
        self.asked: list[str] = []
        self.is_down = False
        self.bomb = b""
        """If it is not empty, the answer to each request: a compressed body."""
        self.url = ""

    def headers(self, body: bytes) -> dict[str, str]:
        """The headers of a delivery with this body, signed with both keys."""
        found = {"content-type": "application/json; charset=utf-8"}
        for number, (path, key) in enumerate(self._keys.items(), start=1):
            signature = base64.b64encode(key.sign(body, padding.PKCS1v15(), SHA256())).decode()
            found[f"x-adobe-digital-signature-{number}"] = signature
            found[f"x-adobe-public-key{number}-path"] = path
        return found

    def replace(self, old: str, new: str, *, is_served: bool = True) -> str:
        """Sign with a new key in the place of an old one, which is gone from the server. Returns its path."""
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._keys = {
            (new if path == old else path): (made if path == old else key) for path, key in self._keys.items()
        }
        self._pems.pop(old, None)
        if is_served:
            self._pems[new] = _pem(made)
        return new

    def answer(self, path: str) -> tuple[int, bytes]:
        """The status and body with which the key server answers a request."""
        self.asked.append(path)
        if self.is_down:
            return 500, b""
        return (200, self._pems[path]) if path in self._pems else (404, b"")


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@contextmanager
def serving(adobe: Adobe) -> Iterator[Adobe]:
    """Run the key server."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = adobe.answer(self.path)
            self.send_response(status)
            if adobe.bomb:
                body = adobe.bomb
                self.send_header("content-encoding", "gzip")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self) -> None:
            status, body = adobe.answer(self.path)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Log nothing."""

    with http_server(Handler) as url:
        adobe.url = url
        yield adobe


class Connection:
    """A connection that is kept open between posts."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def post(self, body: bytes, headers: dict[str, str], path: str = "/webhook") -> int:
        """Post one delivery and return the status of the answer."""
        self._connection.request("POST", path, body, headers)
        response = self._connection.getresponse()
        response.read()
        return response.status

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
