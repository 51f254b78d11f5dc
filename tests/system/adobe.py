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
        self._keys = [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in PATHS]
        self._pems = {
            path: key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            for path, key in zip(PATHS, self._keys, strict=True)
        }
        self.asked: list[str] = []
        self.is_down = False
        self.url = ""

    def headers(self, body: bytes) -> dict[str, str]:
        """The headers of a delivery with this body, signed with both keys."""
        found = {"content-type": "application/json; charset=utf-8"}
        for number, (path, key) in enumerate(zip(PATHS, self._keys, strict=True), start=1):
            signature = base64.b64encode(key.sign(body, padding.PKCS1v15(), SHA256())).decode()
            found[f"x-adobe-digital-signature-{number}"] = signature
            found[f"x-adobe-public-key{number}-path"] = path
        return found

    def answer(self, path: str) -> tuple[int, bytes]:
        """The status and body with which the key server answers a request."""
        self.asked.append(path)
        if self.is_down:
            return 500, b""
        return (200, self._pems[path]) if path in self._pems else (404, b"")


@contextmanager
def serving(adobe: Adobe) -> Iterator[Adobe]:
    """Run the key server."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = adobe.answer(self.path)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

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
