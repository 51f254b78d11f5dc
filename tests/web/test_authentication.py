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

BODY: Final = b'{"event_id": "e"}'
OURS: Final = frozenset({"ours", "ours too"})
GOOD: Final = "/prod/keys/pub-key-good.pem"
"""Signs these tests' bodies."""
OTHER: Final = "/prod/keys/pub-key-other.pem"
"""Is here, and signs something else."""
GONE: Final = "/prod/keys/pub-key-gone.pem"
"""Can't be had."""


class FakeKeys(Keys):
    """Keys that are here, or that can be had, or not; and what was asked of them."""

    def __init__(self, *cached: str) -> None:
        self.here = set(cached)
        self.asked: list[str] = []
        self.trusted: list[str] = []

    def cached(self, path: str) -> RSAPublicKey | None:
        """The key, if it was said to be here."""
        return private_key(path).public_key() if path in self.here else None

    async def get(self, path: str) -> RSAPublicKey:
        """The key of that path, unless it is gone."""
        assert is_key_path(path)
        self.asked.append(path)
        if path == GONE:
            raise KeyUnavailableError("made up")
        return private_key(path).public_key()

    def trust(self, path: str) -> None:
        """Note what is trusted."""
        self.trusted.append(path)


def adobe(keys: FakeKeys | None = None, *, allow_missing: bool = False) -> AdobeAuthentication:
    """The authentication under test."""
    return AdobeAuthentication(keys or FakeKeys(), OURS, allow_missing_client_id=allow_missing)


def headers(*pairs: tuple[str, str]) -> dict[bytes, bytes]:
    """The headers of a signed request: of each pair, the key that signs and the path that is named."""
    found: dict[bytes, bytes] = {}
    for (signer, path), signature, header in zip(pairs, (SIGNATURE_1, SIGNATURE_2), (PATH_1, PATH_2), strict=False):
        found[signature] = base64.b64encode(signed(BODY, signer).value)
        found[header] = path.encode()
    return found


def judge(authentication: AdobeAuthentication, names: dict[bytes, bytes], body: bytes) -> None:
    """Judge a delivery by its head, and its body by what the head claims."""
    asyncio.run(authentication.body(authentication.head({"method": "POST"}, names), body))


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
@pytest.mark.parametrize("cached", [(), (GOOD,), (OTHER,), (GOOD, OTHER)], ids=lambda cached: f"{len(cached)} here")
def test_either_signature_is_enough(pairs: list[tuple[str, str]], cached: tuple[str, ...]) -> None:
    """A body is believed when one of the signatures is of it, whatever the other is; only that key is trusted."""
    keys = FakeKeys(*cached)
    judge(adobe(keys), headers(*pairs), BODY)
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
@pytest.mark.parametrize("cached", [(), (OTHER,)], ids=["none here", "one here"])
def test_no_signature_is_enough(
    pairs: list[tuple[str, str]], error: type[ExporterError], cached: tuple[str, ...]
) -> None:
    """A body is refused for good only when every key was there to try; else Adobe is to send it again."""
    keys = FakeKeys(*cached)
    with pytest.raises(error):
        judge(adobe(keys), headers(*pairs), BODY)
    assert keys.trusted == []


def test_each_signature_has_its_own_key() -> None:
    """A signature is not tried with the key of the other."""
    with pytest.raises(SignatureWrongError):
        judge(adobe(), headers((GOOD, OTHER), (OTHER, GOOD)), BODY)


@pytest.mark.parametrize("pairs", [[UNAVAILABLE, RIGHT], [RIGHT, UNAVAILABLE]], ids=["second", "first"])
def test_keys_that_are_here_are_tried_first(pairs: list[tuple[str, str]]) -> None:
    """Where a key that is here is enough, no other is asked for."""
    keys = FakeKeys(GOOD)
    judge(adobe(keys), headers(*pairs), BODY)
    assert keys.asked == [GOOD]


@given(st.binary())
def test_another_body(body: bytes) -> None:
    """Any body but the one that was signed is refused."""
    if body != BODY:
        with pytest.raises(SignatureWrongError):
            judge(adobe(), headers(RIGHT, RIGHT), body)


def test_a_head_that_is_signed() -> None:
    """A delivery with a complete pair is let through to its body, and no key is asked for yet."""
    keys = FakeKeys()
    adobe(keys).head({"method": "POST"}, headers(RIGHT))
    assert keys.asked == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_challenge_is_not_signed(method: str) -> None:
    """A registration's GET needs no signature."""
    adobe().head({"method": method}, {})


@pytest.mark.parametrize("names", [{}, {SIGNATURE_1: ONE}, {PATH_1: GOOD.encode()}], ids=["none", "value", "path"])
def test_a_head_that_is_not_signed(names: dict[bytes, bytes]) -> None:
    """A delivery without a complete pair is refused before its body is read."""
    with pytest.raises(SignatureMissingError):
        adobe().head({"method": "POST"}, names)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("header", [PATH_1, PATH_2], ids=["first", "second"])
def test_a_path_that_is_not_adobes(header: bytes, attack: str) -> None:
    """A delivery that names a key which is not Adobe's is refused by its head, and no key is asked for."""
    keys = FakeKeys()
    names = headers(RIGHT, RIGHT) | {header: ATTACKS[attack].encode()}
    with pytest.raises(KeyPathError):
        adobe(keys).head({"method": "POST"}, names)
    assert keys.asked == []


RUN: Final = FlowRun(run_id="r", flow_id="f", status=Status.FAILED)


def delivery(*client_ids: str | None) -> Delivery:
    """A delivery of runs that are meant for these."""
    return Delivery(source=Source.WEBHOOK, events=tuple(Event(fact=RUN, body=b"{}", client_id=c) for c in client_ids))


def damaged(*client_ids: str | None) -> tuple[Event, ...]:
    """Events that can't be read."""
    return tuple(Event(fact=Unreadable(), body=b"ahoy", client_id=each) for each in client_ids)


def and_damaged(told: Delivery, *client_ids: str | None) -> Delivery:
    """The delivery, and events that can't be read."""
    return Delivery(source=told.source, events=damaged(*client_ids) + told.events + damaged(*client_ids))


@pytest.mark.parametrize(
    "told",
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
def test_meant_for_us(told: Delivery, allow_missing: bool) -> None:
    """A delivery is ours when it names us and nobody else; what can't be read names nobody, and is kept."""
    adobe(allow_missing=allow_missing).delivery(told)


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(delivery("theirs"), id="theirs"),
        pytest.param(delivery("ours", "theirs"), id="one of them theirs"),
        pytest.param(delivery(*["ours"] * 19, "theirs"), id="the last of them theirs"),
        pytest.param(delivery(None, "theirs"), id="theirs and nobody's"),
        pytest.param(delivery("Ours"), id="in another case"),
        pytest.param(delivery("ours "), id="with a blank"),
        pytest.param(delivery("our"), id="a part of it"),
        pytest.param(delivery("ours,ours too"), id="both in one"),
        pytest.param(and_damaged(delivery(), "theirs"), id="what can't be read and is theirs"),
        pytest.param(and_damaged(delivery("ours"), "theirs"), id="ours and what can't be read and is theirs"),
    ],
)
@pytest.mark.parametrize("allow_missing", [True, False], ids=["allowed", "not allowed"])
def test_meant_for_another(told: Delivery, allow_missing: bool) -> None:
    """A delivery of which a single event names another client is refused whole."""
    with pytest.raises(ClientIdError):
        adobe(allow_missing=allow_missing).delivery(told)


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(delivery(None), id="one"),
        pytest.param(delivery(None, None), id="several"),
        pytest.param(and_damaged(delivery(None), None), id="among what can't be read"),
        pytest.param(
            Delivery(source=Source.WEBHOOK, events=(Event(fact=Unsupported(), body=b"{}"),)), id="nobody understands it"
        ),
    ],
)
def test_meant_for_nobody(told: Delivery) -> None:
    """A delivery that names no client is refused, unless that is allowed."""
    with pytest.raises(ClientIdMissingError):
        adobe().delivery(told)
    adobe(allow_missing=True).delivery(told)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("token", ["secret", "s\xe9cret", "a/b"])
def test_the_token(token: str, method: str) -> None:
    """Whoever knows the token is believed in whatever is sent, for GET and POST."""
    authentication = TokenAuthentication(token)
    authentication.head({"method": method, "path_params": {"token": token}}, {})
    asyncio.run(authentication.body((), b"ahoy"))
    authentication.delivery(delivery("theirs", None))


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
    """Whoever does not know the whole token is refused, and the error does not tell it."""
    with pytest.raises(WrongTokenError) as caught:
        TokenAuthentication("secret").head({"method": method, "path_params": parameters}, {})
    assert "secret" not in str(caught.value)


def test_no_authentication() -> None:
    """Without authentication anybody is believed."""
    authentication = NoAuthentication()
    authentication.head({"method": "POST"}, {})
    asyncio.run(authentication.body((), b"ahoy"))
    authentication.delivery(delivery("theirs", None))


def test_the_reasons() -> None:
    """Each way not to be believed has a reason of its own; a key that can't be had now is none of them."""
    assert len(set(FAILURES)) == len(FAILURES) == 6
    assert KeyUnavailableError.reason not in FAILURES
