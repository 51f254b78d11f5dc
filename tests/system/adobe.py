"""Adobe for tests: keys on a server of their own, and signed deliveries."""

import base64
import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.system.processes import http_server

PATHS = ("/prod/keys/pub-key-One1.pem", "/prod/keys/pub-key-Two2.pem")


class Adobe:
    """Two key pairs, and the server on which their public halves are."""

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
        """What Adobe sends with these bytes."""
        found = {"content-type": "application/json; charset=utf-8"}
        for number, (path, key) in enumerate(zip(PATHS, self._keys, strict=True), start=1):
            signature = base64.b64encode(key.sign(body, padding.PKCS1v15(), SHA256())).decode()
            found[f"x-adobe-digital-signature-{number}"] = signature
            found[f"x-adobe-public-key{number}-path"] = path
        return found

    def answer(self, path: str) -> tuple[int, bytes]:
        """What the key server says."""
        self.asked.append(path)
        if self.is_down:
            return 500, b""
        return (200, self._pems[path]) if path in self._pems else (404, b"")


@contextmanager
def serving(adobe: Adobe) -> Iterator[Adobe]:
    """The key server, for as long."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = adobe.answer(self.path)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    with http_server(Handler) as url:
        adobe.url = url
        yield adobe


class Connection:
    """A kept connection that posts."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def post(self, body: bytes, headers: dict[str, str], path: str = "/webhook") -> int:
        """One delivery; the status."""
        self._connection.request("POST", path, body, headers)
        response = self._connection.getresponse()
        response.read()
        return response.status

    def close(self) -> None:
        """Let go."""
        self._connection.close()
