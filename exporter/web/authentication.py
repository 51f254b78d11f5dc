"""Authentication of the webhook (`--webhook.auth`): `none`, `token` or `adobe`.

Whatever the headers of a request can show is checked before its body is read, and no byte of a request that fails is
recorded. With `adobe`, a delivery must be signed with one of Adobe's keys and must name a configured client id. Adobe
signs for all its customers, so a signature alone proves only that Adobe sent the delivery to somebody
(docs/adobe.md, "Signatures").
"""

import hmac
from collections.abc import Collection, Mapping, Sequence
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
"""Every reason for which a request is refused with 401."""

Headers = Mapping[bytes, bytes]
"""A request's headers, by name in lower case."""

Claim = Sequence[Signature]
"""The signatures in a request's headers, not yet verified. Empty where no signature is needed."""

Proof = Signature | None
"""The signature that was made of a body. None where no signature is needed."""


class Authentication(Protocol):
    """The checks of one method of authentication. A webhook calls them in the order in which they stand here."""

    def verify_headers(self, scope: Scope, headers: Headers) -> Claim:
        """Check a request's method, path and headers.

        Raises WrongTokenError, SignatureMissingError or KeyPathError.
        """
        ...

    async def require_key(self, claim: Claim) -> None:
        """Check that the body of a claim can be verified, before it is received.

        Raises KeyUnavailableError.
        """
        ...

    async def verify_body(self, claim: Claim, body: bytes) -> Proof:
        """Check a body against its claim. Returns what proves it.

        Raises SignatureWrongError or KeyUnavailableError.
        """
        ...

    def verify_recipient(self, delivery: Delivery) -> None:
        """Check that a delivery is meant for this exporter. Raises ClientIdError or ClientIdMissingError."""
        ...

    async def trust(self, claim: Claim, body: bytes, proof: Proof) -> None:
        """Trust the keys of a delivery of which body and recipient were verified."""
        ...


class NoAuthentication:
    """Accepts every request. For a loopback address, and behind a proxy that authenticates."""

    def verify_headers(self, scope: Scope, headers: Headers) -> Claim:  # noqa: ARG002 - the protocol's signature
        """Accept any headers."""
        return ()

    async def require_key(self, claim: Claim) -> None:
        """Need no key."""

    async def verify_body(self, claim: Claim, body: bytes) -> Proof:  # noqa: ARG002 - the protocol's signature
        """Accept any body."""
        return None

    def verify_recipient(self, delivery: Delivery) -> None:
        """Accept any recipient."""

    async def trust(self, claim: Claim, body: bytes, proof: Proof) -> None:
        """Need no key."""


class TokenAuthentication(NoAuthentication):
    """Accepts requests whose path ends in one of the secret tokens."""

    def __init__(self, tokens: Collection[str]) -> None:
        """`tokens`: what the last segment of the path may be."""
        self._tokens = [token.encode() for token in tokens]

    def replace(self, tokens: Collection[str]) -> None:
        """Accept these tokens from the next request on, and no others."""
        self._tokens = [token.encode() for token in tokens]

    def verify_headers(self, scope: Scope, headers: Headers) -> Claim:  # noqa: ARG002 - the protocol's signature
        """Compare the path's last segment with every token, each in constant time."""
        sent = str(scope["path_params"].get("token", "")).encode(errors="replace")
        is_right = False
        for token in self._tokens:
            # All are compared, so that the time does not show which one was right.
            is_right |= hmac.compare_digest(sent, token)
        if not is_right:
            raise WrongTokenError("the path does not end in a token")
        return ()


class AdobeAuthentication:
    """Accepts deliveries that Adobe signed and that name one of our client ids."""

    def __init__(self, keys: Keys, client_ids: frozenset[str], *, allow_missing_client_id: bool) -> None:
        """`client_ids`: ours. `allow_missing_client_id`: also accept a delivery that names none."""
        self._keys = keys
        self._client_ids = client_ids
        self._allow_missing = allow_missing_client_id

    def verify_headers(self, scope: Scope, headers: Headers) -> Claim:
        """Return the signatures of a POST. The GET of a registration is not signed."""
        return signatures(headers) if scope["method"] == "POST" else ()

    async def require_key(self, claim: Claim) -> None:
        """Fetch one of the keys, unless one is cached. A stranger who makes paths up gets no memory for a body."""
        unavailable: KeyUnavailableError | None = None
        for signature in self._best_first(claim):
            try:
                await self._keys.get(signature.key_path)
            except KeyUnavailableError as error:
                unavailable = error
            else:
                return
        if unavailable is not None:
            raise unavailable

    async def verify_body(self, claim: Claim, body: bytes) -> Proof:
        """Check that one of the signatures was made of these bytes, and return it.

        Cached keys are tried before others are fetched, and trusted ones are fetched before unknown ones.

        Raises SignatureWrongError only where every key was available.
        """
        unavailable: KeyUnavailableError | None = None
        for signature in self._best_first(claim):
            try:
                key = await self._keys.get(signature.key_path)
            except KeyUnavailableError as error:
                unavailable = error
                continue
            if verify(body, signature, key):
                return signature
        raise unavailable or SignatureWrongError("no signature is of these bytes")

    def _best_first(self, claim: Claim) -> Claim:
        if len(claim) == 1:
            return claim
        return sorted(claim, key=lambda signature: self._keys.rank(signature.key_path))

    def verify_recipient(self, delivery: Delivery) -> None:
        """Check that every event that names a client id names one of ours.

        An event that names none is accepted where another one of the delivery names ours.
        """
        named = {event.client_id for event in delivery.events if event.client_id is not None}
        if not named <= self._client_ids:
            raise ClientIdError("the delivery is meant for another client id")
        # An event that can't be read names no client id. Adobe signed it all the same, so it is kept.
        is_readable = any(not isinstance(event.fact, Unreadable) for event in delivery.events)
        if not named and is_readable and not self._allow_missing:
            raise ClientIdMissingError(
                "the delivery names no client id; if your registration sends none, allow it with "
                "--webhook.allow-missing-client-id"
            )

    async def trust(self, claim: Claim, body: bytes, proof: Proof) -> None:
        """Trust the key that verified a delivery. Fetch the other one, or trust it too where it verifies the body.

        So both keys of Adobe's are at hand before one of them is replaced.
        """
        if proof is None:
            return
        await self._keys.trust(proof.key_path)
        for other in claim:
            if other.key_path == proof.key_path:
                continue
            key = self._keys.cached(other.key_path)
            if key is None:
                self._keys.prepare(other.key_path)
            elif self._keys.needs_trust(other.key_path) and verify(body, other, key):
                await self._keys.trust(other.key_path)
