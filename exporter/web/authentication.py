"""Who is believed: nobody asked (`none`), whoever knows the path (`token`), or Adobe alone (`adobe`).

The rule: what can be judged from the head of a request is judged before its body is read, and bytes that are not
believed are never recorded. With `adobe`, a delivery must be signed by one of Adobe's keys and be meant for us: Adobe
signs for all its customers, so a signature alone proves only that Adobe sent it to somebody (adobe.md A3).
"""

import hmac
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from starlette.types import Scope

from exporter.adobe.signature import Signature, signatures, verify
from exporter.adobe_api.keys import Keys
from exporter.errors import (
    ClientIdError,
    ClientIdMissingError,
    KeyPathError,
    KeyUnavailableError,
    SignatureMissingError,
    SignatureWrongError,
    WrongTokenError,
)
from exporter.model import Delivery, Unreadable

FAILURES: Final = tuple(
    error.reason
    for error in (
        WrongTokenError,
        SignatureMissingError,
        SignatureWrongError,
        KeyPathError,
        ClientIdError,
        ClientIdMissingError,
    )
)
"""Every reason for which a delivery is refused as not Adobe's."""

Headers = Mapping[bytes, bytes]


Claim = Sequence[Signature]
"""What a request's head claims, to be proven by its body; nothing where nobody is asked."""


class Authentication(Protocol):
    """What a webhook asks, in this order. Each raises an error of errors.py."""

    def head(self, scope: Scope, headers: Headers) -> Claim:
        """Judge a request by its path and headers."""
        ...

    async def room(self, claim: Claim) -> None:
        """Judge whether a delivery is worth the room that its body takes."""
        ...

    async def body(self, claim: Claim, body: bytes) -> None:
        """Judge the bytes of a delivery."""
        ...

    def delivery(self, delivery: Delivery) -> None:
        """Judge what a delivery says."""
        ...


class NoAuthentication:
    """Anybody is believed: for loopback, and behind a proxy that authenticates."""

    def head(self, scope: Scope, headers: Headers) -> Claim:  # noqa: ARG002 - the port's signature
        """Believe it."""
        return ()

    async def room(self, claim: Claim) -> None:
        """Believe it."""

    async def body(self, claim: Claim, body: bytes) -> None:
        """Believe it."""

    def delivery(self, delivery: Delivery) -> None:
        """Believe it."""


class TokenAuthentication(NoAuthentication):
    """Whoever knows the path's last segment is believed."""

    def __init__(self, token: str) -> None:
        """`token`: what the last segment must be."""
        self._token = token.encode()

    def head(self, scope: Scope, headers: Headers) -> Claim:  # noqa: ARG002 - the port's signature
        """Compare in constant time."""
        given = str(scope["path_params"].get("token", "")).encode(errors="replace")
        if not hmac.compare_digest(given, self._token):
            raise WrongTokenError("the path does not end in the token")
        return ()


class AdobeAuthentication:
    """Adobe is believed, in what it sends to us."""

    def __init__(self, keys: Keys, client_ids: frozenset[str], *, allow_missing_client_id: bool) -> None:
        """`client_ids`: ours; `allow_missing_client_id`: believe a delivery that names none."""
        self._keys = keys
        self._client_ids = client_ids
        self._allow_missing = allow_missing_client_id

    def head(self, scope: Scope, headers: Headers) -> Claim:
        """A registration's GET is not signed; a delivery must name keys that can be Adobe's."""
        return signatures(headers) if scope["method"] == "POST" else ()

    async def room(self, claim: Claim) -> None:
        """One of the keys must be here before a body is received: strangers who make keys up get no room."""
        unavailable: KeyUnavailableError | None = None
        for signature in self._cached_first(claim):
            try:
                await self._keys.get(signature.key_path)
            except KeyUnavailableError as error:
                unavailable = error
            else:
                return
        if unavailable is not None:
            raise unavailable

    async def body(self, claim: Claim, body: bytes) -> None:
        """One of the signatures must be of these bytes; keys that are here are tried before others are fetched."""
        unavailable: KeyUnavailableError | None = None
        for signature in self._cached_first(claim):
            try:
                key = await self._keys.get(signature.key_path)
            except KeyUnavailableError as error:
                unavailable = error
                continue
            if verify(body, signature, key):
                self._keys.trust(signature.key_path)
                return
        raise unavailable or SignatureWrongError("no signature is of these bytes")

    def _cached_first(self, claim: Claim) -> Claim:
        if len(claim) == 1 or self._keys.cached(claim[0].key_path) is not None:
            return claim
        return sorted(claim, key=lambda each: self._keys.cached(each.key_path) is None)

    def delivery(self, delivery: Delivery) -> None:
        """Every event that names a client must name one of ours; those that name none follow the others."""
        named = {event.client_id for event in delivery.events if event.client_id is not None}
        if not named <= self._client_ids:
            raise ClientIdError("the delivery is meant for another client id")
        # What can't be read names nobody; it is Adobe's all the same, and is kept.
        is_readable = any(not isinstance(event.fact, Unreadable) for event in delivery.events)
        if not named and is_readable and not self._allow_missing:
            raise ClientIdMissingError(
                "the delivery names no client id; if your registration sends none, allow it with "
                "--webhook.allow-missing-client-id"
            )
