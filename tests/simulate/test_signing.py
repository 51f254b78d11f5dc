"""Signatures that the exporter accepts, and the server of their keys."""

import asyncio
import socket

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.adobe.signature import is_key_path, load_key, signatures, verify
from exporter.simulate.key_server import KeyServer
from exporter.simulate.signing import Signer


@pytest.fixture(scope="module")
def signer() -> Signer:
    """Two key pairs."""
    return Signer()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(body=st.binary(max_size=200))
def test_both_signatures_are_valid(signer: Signer, body: bytes) -> None:
    """Each signature verifies with the key of its path for this body, and for no other body."""
    headers = {name.encode(): value.encode() for name, value in signer.headers(body).items()}
    found = signatures(headers)
    assert [each.key_path for each in found] == list(signer.public)
    for each in found:
        key = load_key(signer.public[each.key_path])
        assert verify(body, each, key)
        assert not verify(body + b" ", each, key)


def test_another_key_has_another_path(signer: Signer) -> None:
    """Two keys never have the same path, so that a key can be cached by its path."""
    assert len({*signer.public, *Signer().public}) == 4
    assert all(is_key_path(path) for path in signer.public)


async def answers(signer: Signer, *paths: str) -> list[tuple[int, bytes]]:
    """The answers of the server to these paths."""
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        async with KeyServer(listening, signer.public):
            found = [await client.get(path) for path in paths]
        with pytest.raises(httpx.ConnectError):
            await client.get("/")
    return [(answer.status_code, answer.content) for answer in found]


def test_the_server_serves_the_public_keys(signer: Signer) -> None:
    """The path of a key answers with its PEM, and any other path with 404."""
    found = asyncio.run(answers(signer, *signer.public, "/prod/keys/pub-key-none.pem", "/", "/prod/keys/"))
    assert found[:2] == [(200, pem) for pem in signer.public.values()]
    assert [status for status, _ in found[2:]] == [404, 404, 404]
