"""The closed vocabulary of what can go wrong.

An error's `reason` is its log word and its metric label; `exporter.web.responses` gives its HTTP status. Messages say
what to do; they never contain a payload, a secret or the text of somebody else's exception.
"""

from typing import ClassVar


class ExporterError(Exception):
    """Anything this program refuses or can't do, for a reason it knows."""

    reason: ClassVar[str]


class BodyTooLargeError(ExporterError):
    """A delivery is larger than `--webhook.max-body`."""

    reason = "body_too_large"


class TooManyEventsError(ExporterError):
    """A delivery holds more events than one transaction takes."""

    reason = "too_many_events"


class BadChallengeError(ExporterError):
    """A registration request names no challenge, or one that is too long."""

    reason = "bad_challenge"


class WrongTokenError(ExporterError):
    """The webhook's path does not end in the token."""

    reason = "token"


class SignatureMissingError(ExporterError):
    """A delivery carries no signature of Adobe's."""

    reason = "signature_missing"


class SignatureWrongError(ExporterError):
    """None of a delivery's signatures is of its bytes."""

    reason = "signature_wrong"


class KeyPathError(ExporterError):
    """A delivery names a key by a path that none of Adobe's keys has."""

    reason = "key_path"


class ClientIdError(ExporterError):
    """A delivery is meant for somebody else."""

    reason = "client_id"


class ClientIdMissingError(ExporterError):
    """A delivery does not say whom it is meant for."""

    reason = "client_id_missing"


class KeyUnavailableError(ExporterError):
    """A public key of Adobe's can't be had now."""

    reason = "key_unavailable"


class BadKeyError(ExporterError):
    """What Adobe's key host gave is no key that signatures are made with today."""

    reason = "bad_key"


class OverloadedError(ExporterError):
    """More is being received than fits."""

    reason = "overloaded"


class LedgerFullError(ExporterError):
    """The ledger has reached `--ledger.max-size`."""

    reason = "ledger_full"


class QueueFullError(ExporterError):
    """Too many deliveries wait to be committed."""

    reason = "queue_full"


class CommitTimeoutError(ExporterError):
    """A commit took longer than Adobe waits for an answer."""

    reason = "commit_timeout"


class LedgerUnavailableError(ExporterError):
    """The ledger can't be read or written now; it may be able to later."""

    reason = "ledger_unavailable"


class LedgerUnusableError(ExporterError):
    """The ledger is not one this program can open: another file, a newer schema, a damaged database."""

    reason = "ledger_unusable"


class NotCaughtUpError(ExporterError):
    """The metrics have not yet been brought to the ledger's head."""

    reason = "not_caught_up"


class UnknownFlowError(ExporterError):
    """There is no such flow on /metrics."""

    reason = "unknown_flow"


class DefectError(ExporterError):
    """Something failed in a way nobody foresaw; the log has it."""

    reason = "defect"


class SettingsError(ExporterError):
    """Settings that can't be used; the message names every one of them."""

    reason = "settings"
