import asyncio
import base64
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from hypothesis import given
from hypothesis import strategies as st

from exporter.adobe.signature import is_key_path
from exporter.adobe_api.keys import Keys
from exporter.errors import (
    ClientIdError,
    ClientIdMissingError,
    ExporterError,
    KeyPathError,
    KeyUnavailableError,
    SignatureMissingError,
    SignatureWrongError,
    WrongTokenError,
)
from exporter.model import Delivery, Event, FlowRun, Source, Status, Unreadable, Unsupported
from exporter.web.authentication import FAILURES, AdobeAuthentication, NoAuthentication, TokenAuthentication
from tests.adobe.test_signature import ATTACKS, ONE, PATH_1, PATH_2, SIGNATURE_1, SIGNATURE_2, private_key, signed
from tests.web.cases import failures

BODY: Final = b'{"event_id": "e"}'
OURS: Final = frozenset({"ours", "ours too"})
GOOD: Final = "/prod/keys/pub-key-good.pem"
"""Signs these tests' bodies."""
OTHER: Final = "/prod/keys/pub-key-other.pem"
"""Signs something else."""
GONE: Final = "/prod/keys/pub-key-gone.pem"
"""Unavailable."""


class FakeKeys(Keys):
    """Keys of which some are cached and one is unavailable. Lists the keys that were requested and trusted."""

    def __init__(self, *cached: str) -> None:
        self.cached_paths = set(cached)
        self.requested: list[str] = []
        self.trusted: list[str] = []
        self.prepared: list[str] = []

    def cached(self, path: str) -> RSAPublicKey | None:
        """The key, if it is cached."""
        return private_key(path).public_key() if path in self.cached_paths else None

    async def get(self, path: str) -> RSAPublicKey:
        """The key of that path, unless it is unavailable."""
        assert is_key_path(path)
        self.requested.append(path)
        if path == GONE:
            raise KeyUnavailableError("made up")
        return private_key(path).public_key()

    def rank(self, path: str) -> int:
        """Cached keys come first."""
        return 0 if path in self.cached_paths else 2

    def needs_trust(self, path: str) -> bool:
        """Whether the path is not trusted yet."""
        return path not in self.trusted

    async def trust(self, path: str) -> None:
        """Add a path to the trusted ones."""
        self.trusted.append(path)

    def prepare(self, path: str) -> None:
        """Add a path to those that are fetched in the background."""
        self.prepared.append(path)


def adobe(keys: FakeKeys | None = None, *, allow_missing: bool = False) -> AdobeAuthentication:
    """The authentication under test."""
    return AdobeAuthentication(keys or FakeKeys(), OURS, allow_missing_client_id=allow_missing)


def headers(*pairs: tuple[str, str]) -> dict[bytes, bytes]:
    """The headers of a signed request. Each pair is the key that signs and the path that the header names."""
    found: dict[bytes, bytes] = {}
    for (signer, path), signature, header in zip(pairs, (SIGNATURE_1, SIGNATURE_2), (PATH_1, PATH_2), strict=False):
        found[signature] = base64.b64encode(signed(BODY, signer).value)
        found[header] = path.encode()
    return found


def verify_request(authentication: AdobeAuthentication, names: dict[bytes, bytes], body: bytes) -> None:
    """Verify a delivery's headers and body, and trust its keys."""
    claim = authentication.verify_headers({"method": "POST"}, names)

    async def verify() -> None:
        await authentication.trust(claim, body, await authentication.verify_body(claim, body))

    asyncio.run(verify())


RIGHT: Final = (GOOD, GOOD)
WRONG: Final = (GOOD, OTHER)
UNAVAILABLE: Final = (GONE, GONE)


@pytest.mark.parametrize(
    "pairs",
    [
        [RIGHT],
        [RIGHT, RIGHT],
        [RIGHT, WRONG],
        [WRONG, RIGHT],
        [RIGHT, UNAVAILABLE],
        [UNAVAILABLE, RIGHT],
    ],
    ids=["one", "both", "the first", "the second", "the second key is gone", "the first key is gone"],
)
@pytest.mark.parametrize(
    "cached", [(), (GOOD,), (OTHER,), (GOOD, OTHER)], ids=["none cached", "right cached", "other cached", "both cached"]
)
def test_either_signature_is_enough(pairs: list[tuple[str, str]], cached: tuple[str, ...]) -> None:
    """A body is accepted when one of the signatures is right, whatever the other is. Only that key is trusted."""
    keys = FakeKeys(*cached)
    verify_request(adobe(keys), headers(*pairs), BODY)
    assert keys.trusted == [GOOD]


@pytest.mark.parametrize(
    ("pairs", "error"),
    [
        pytest.param([WRONG], SignatureWrongError, id="wrong"),
        pytest.param([WRONG, WRONG], SignatureWrongError, id="both wrong"),
        pytest.param([UNAVAILABLE], KeyUnavailableError, id="unavailable"),
        pytest.param([UNAVAILABLE, UNAVAILABLE], KeyUnavailableError, id="both unavailable"),
        pytest.param([WRONG, UNAVAILABLE], KeyUnavailableError, id="wrong and unavailable"),
        pytest.param([UNAVAILABLE, WRONG], KeyUnavailableError, id="unavailable and wrong"),
    ],
)
@pytest.mark.parametrize("cached", [(), (OTHER,)], ids=["none cached", "other cached"])
def test_no_signature_is_enough(
    pairs: list[tuple[str, str]], error: type[ExporterError], cached: tuple[str, ...]
) -> None:
    """A body is refused as wrong only if every key was available. Otherwise Adobe is asked to send it again."""
    keys = FakeKeys(*cached)
    with pytest.raises(error):
        verify_request(adobe(keys), headers(*pairs), BODY)
    assert keys.trusted == []


def test_the_other_key_is_fetched() -> None:
    """After a delivery was verified with one key, the other key that it names is fetched in the background."""
    keys = FakeKeys(GOOD)
    verify_request(adobe(keys), headers((GOOD, GOOD), (OTHER, OTHER)), BODY)
    assert (keys.trusted, keys.prepared) == ([GOOD], [OTHER])


@pytest.mark.parametrize(("signer", "trusted"), [(OTHER, [GOOD, OTHER]), (GOOD, [GOOD])], ids=["right", "wrong"])
def test_the_other_key_is_trusted(signer: str, trusted: list[str]) -> None:
    """A second key that is cached is trusted too, if it verifies the same delivery."""
    keys = FakeKeys(GOOD, OTHER)
    verify_request(adobe(keys), headers((GOOD, GOOD), (signer, OTHER)), BODY)
    assert (keys.trusted, keys.prepared) == (trusted, [])


def test_each_signature_has_its_own_key() -> None:
    """A signature is not verified with the key of the other one."""
    with pytest.raises(SignatureWrongError):
        verify_request(adobe(), headers((GOOD, OTHER), (OTHER, GOOD)), BODY)


@pytest.mark.parametrize("pairs", [[UNAVAILABLE, RIGHT], [RIGHT, UNAVAILABLE]], ids=["second", "first"])
def test_cached_keys_are_tried_first(pairs: list[tuple[str, str]]) -> None:
    """Where a cached key is enough, no other key is fetched."""
    keys = FakeKeys(GOOD)
    verify_request(adobe(keys), headers(*pairs), BODY)
    assert keys.requested == [GOOD]


@given(st.binary())
def test_another_body(body: bytes) -> None:
    """Any other body than the signed one is refused."""
    if body != BODY:
        with pytest.raises(SignatureWrongError):
            verify_request(adobe(), headers(RIGHT, RIGHT), body)


def test_signed_headers() -> None:
    """The headers of a delivery with a complete pair are accepted, and no key is fetched yet."""
    keys = FakeKeys()
    adobe(keys).verify_headers({"method": "POST"}, headers(RIGHT))
    assert keys.requested == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_challenge_is_not_signed(method: str) -> None:
    """The GET of a registration needs no signature."""
    adobe().verify_headers({"method": method}, {})


@pytest.mark.parametrize("names", [{}, {SIGNATURE_1: ONE}, {PATH_1: GOOD.encode()}], ids=["none", "value", "path"])
def test_unsigned_headers(names: dict[bytes, bytes]) -> None:
    """A delivery without a complete pair is refused before its body is read."""
    with pytest.raises(SignatureMissingError):
        adobe().verify_headers({"method": "POST"}, names)


@pytest.mark.parametrize("header", [PATH_1, PATH_2], ids=["first", "second"])
def test_paths_that_are_not_adobes(header: bytes) -> None:
    """A delivery that names a key which is not Adobe's is refused by its headers, and no key is fetched."""

    def check(path: str) -> None:
        keys = FakeKeys()
        names = headers(RIGHT, RIGHT) | {header: path.encode()}
        with pytest.raises(KeyPathError):
            adobe(keys).verify_headers({"method": "POST"}, names)
        assert keys.requested == []

    assert failures(ATTACKS, check) == {}


RUN: Final = FlowRun(run_id="r", flow_id="f", status=Status.FAILED)


def delivery(*client_ids: str | None) -> Delivery:
    """A delivery with a run for each of these client ids."""
    return Delivery(source=Source.WEBHOOK, events=tuple(Event(fact=RUN, body=b"{}", client_id=c) for c in client_ids))


def damaged(*client_ids: str | None) -> tuple[Event, ...]:
    """Unreadable events, with these client ids."""
    return tuple(Event(fact=Unreadable(), body=b"ahoy", client_id=each) for each in client_ids)


def and_damaged(received: Delivery, *client_ids: str | None) -> Delivery:
    """The delivery with unreadable events before and after its own."""
    return Delivery(source=received.source, events=damaged(*client_ids) + received.events + damaged(*client_ids))


@pytest.mark.parametrize(
    "received",
    [
        pytest.param(delivery("ours"), id="ours"),
        pytest.param(delivery("ours too"), id="the other of ours"),
        pytest.param(delivery("ours", "ours too"), id="both of ours"),
        pytest.param(delivery(None, "ours", None), id="those without an id follow their siblings"),
        pytest.param(and_damaged(delivery("ours"), None), id="what can't be read follows its siblings"),
        pytest.param(and_damaged(delivery(), None), id="only what can't be read"),
        pytest.param(and_damaged(delivery(), "ours"), id="what can't be read and is ours"),
    ],
)
@pytest.mark.parametrize("allow_missing", [True, False], ids=["allowed", "not allowed"])
def test_our_recipient(received: Delivery, allow_missing: bool) -> None:
    """A delivery is accepted when it names our client ids and no other. Unreadable events need not name one."""
    adobe(allow_missing=allow_missing).verify_recipient(received)


@pytest.mark.parametrize(
    "received",
    [
        pytest.param(delivery("theirs"), id="theirs"),
        pytest.param(delivery("ours", "theirs"), id="one of them theirs"),
        pytest.param(delivery(*["ours"] * 19, "theirs"), id="the last of them theirs"),
        pytest.param(delivery(None, "theirs"), id="theirs and none"),
        pytest.param(delivery("Ours"), id="in another case"),
        pytest.param(delivery("ours "), id="with a blank"),
        pytest.param(delivery("our"), id="a part of it"),
        pytest.param(delivery("ours,ours too"), id="both in one"),
        pytest.param(and_damaged(delivery(), "theirs"), id="what can't be read and is theirs"),
        pytest.param(and_damaged(delivery("ours"), "theirs"), id="ours and what can't be read and is theirs"),
    ],
)
@pytest.mark.parametrize("allow_missing", [True, False], ids=["allowed", "not allowed"])
def test_another_recipient(received: Delivery, allow_missing: bool) -> None:
    """A delivery of which a single event names another client id is refused."""
    with pytest.raises(ClientIdError):
        adobe(allow_missing=allow_missing).verify_recipient(received)


@pytest.mark.parametrize(
    "received",
    [
        pytest.param(delivery(None), id="one"),
        pytest.param(delivery(None, None), id="several"),
        pytest.param(and_damaged(delivery(None), None), id="among what can't be read"),
        pytest.param(
            Delivery(source=Source.WEBHOOK, events=(Event(fact=Unsupported(), body=b"{}"),)), id="an unsupported event"
        ),
    ],
)
def test_no_recipient(received: Delivery) -> None:
    """A delivery that names no client id is refused, unless that is allowed."""
    with pytest.raises(ClientIdMissingError):
        adobe().verify_recipient(received)
    adobe(allow_missing=True).verify_recipient(received)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("token", ["secret", "s\xe9cret", "a/b"])
def test_the_token(token: str, method: str) -> None:
    """A request with the token is accepted, whatever it holds, for GET and POST."""
    authentication = TokenAuthentication([token])
    authentication.verify_headers({"method": method, "path_params": {"token": token}}, {})
    asyncio.run(authentication.verify_body((), b"ahoy"))
    authentication.verify_recipient(delivery("theirs", None))


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        *({"token": given} for given in ("", "secre", "secrets", "SECRET", "secret ", "\xe9", "\ud83d", "secret\x00")),
    ],
    ids=repr,
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_token(method: str, parameters: dict[str, str]) -> None:
    """A request without exactly the token is refused, and the message does not contain the token."""
    with pytest.raises(WrongTokenError) as caught:
        TokenAuthentication(["secret", "other"]).verify_headers({"method": method, "path_params": parameters}, {})
    assert "secret" not in str(caught.value)


def accepts(authentication: TokenAuthentication, token: str) -> bool:
    """Whether a request whose path ends in this token is accepted."""
    try:
        authentication.verify_headers({"method": "POST", "path_params": {"token": token}}, {})
    except WrongTokenError:
        return False
    return True


def test_several_tokens() -> None:
    """Each of several tokens is accepted, and from one request to the next they are replaced by others."""
    authentication = TokenAuthentication(["old", "new"])
    assert [accepts(authentication, each) for each in ("old", "new", "newer", "oldnew", "")] == [
        True,
        True,
        *[False] * 3,
    ]
    authentication.replace(["new", "newer"])
    assert [accepts(authentication, each) for each in ("old", "new", "newer")] == [False, True, True]
    authentication.replace([])
    assert not any(accepts(authentication, each) for each in ("new", ""))


@pytest.mark.parametrize("token", ["first", "second", "third", "none"])
def test_every_token_is_compared(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """Whichever token is right, all are compared, by the function that takes the same time for each."""
    compared: list[bytes] = []

    def compare(sent: bytes, known: bytes) -> bool:
        compared.append(known)
        return sent == known

    monkeypatch.setattr("exporter.web.authentication.hmac.compare_digest", compare)
    assert accepts(TokenAuthentication(["first", "second", "third"]), token) is (token != "none")
    assert compared == [b"first", b"second", b"third"]


def test_no_authentication() -> None:
    """Without authentication every request is accepted."""
    authentication = NoAuthentication()
    authentication.verify_headers({"method": "POST"}, {})
    asyncio.run(authentication.verify_body((), b"ahoy"))
    authentication.verify_recipient(delivery("theirs", None))


def test_the_reasons() -> None:
    """Each failure has a reason of its own. An unavailable key is not a failure of authentication."""
    assert len(set(FAILURES)) == len(FAILURES) == 6
    assert KeyUnavailableError.reason not in FAILURES
