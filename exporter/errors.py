"""Every error that this program reports to a user, an operator or Adobe, each with one reason.

An error's `reason` is the word in the log and the value of the metric label. `exporter.web.responses` maps each error
to its HTTP status. A message says what to do. It never contains a payload, a secret or the text of an exception that
another library raised.
"""

from typing import ClassVar


class ExporterError(Exception):
    """Base class of everything that this program refuses or fails to do for a named reason."""

    reason: ClassVar[str]


class BodyTooLargeError(ExporterError):
    """A delivery is larger than `--webhook.max-body`."""

    reason = "body_too_large"


class TooManyEventsError(ExporterError):
    """A delivery holds more events than one transaction takes."""

    reason = "too_many_events"


class BadChallengeError(ExporterError):
    """A registration request has no challenge, or one that is too long."""

    reason = "bad_challenge"


class WrongTokenError(ExporterError):
    """The webhook's path does not end in the token."""

    reason = "token"


class SignatureMissingError(ExporterError):
    """A delivery has no complete pair of a signature and the path of its key."""

    reason = "signature_missing"


class SignatureWrongError(ExporterError):
    """None of a delivery's signatures was made of its bytes."""

    reason = "signature_wrong"


class KeyPathError(ExporterError):
    """A delivery names a key by a path that no key of Adobe's has."""

    reason = "key_path"


class ClientIdError(ExporterError):
    """An event of a delivery names a client id that is not configured."""

    reason = "client_id"


class ClientIdMissingError(ExporterError):
    """No event of a delivery names a client id."""

    reason = "client_id_missing"


class ForeignHostError(ExporterError):
    """A request to a listener for this machine alone names another host."""

    reason = "foreign_host"


class ForeignOriginError(ExporterError):
    """A page of another origin caused a request to a listener for this machine alone."""

    reason = "foreign_origin"


class CrossSiteError(ExporterError):
    """A browser says that a page of another site caused a request to a listener for this machine alone."""

    reason = "cross_site"


class KeyUnavailableError(ExporterError):
    """A public key of Adobe's can't be fetched now."""

    reason = "key_unavailable"


class NoAnswerError(ExporterError):
    """A host of Adobe's gave no answer. The message is the cause, and names no host."""

    reason = "no_answer"


class BadKeyError(ExporterError):
    """Adobe's key host returned something that is not a key of a kind and size in use today."""

    reason = "bad_key"


class OverloadedError(ExporterError):
    """The bodies that are being received would together take more memory than is allowed."""

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
    """The ledger can't be read or written now. A later try may succeed."""

    reason = "ledger_unavailable"


class LedgerUnusableError(ExporterError):
    """This program can't open the ledger: it is another kind of file, has a newer schema or is damaged."""

    reason = "ledger_unusable"


class QueryTimeoutError(ExporterError):
    """The ledger took too long to answer a question of a page or a command."""

    reason = "query_timeout"


class PagesBusyError(ExporterError):
    """As many pages are being made as this program makes at a time."""

    reason = "pages_busy"


class BadCursorError(ExporterError):
    """A list was asked to go on from a text that is no cursor of it."""

    reason = "bad_cursor"


class BadParameterError(ExporterError):
    """A parameter of a page or of the API has a value that can't be used. The message names the parameter."""

    reason = "bad_parameter"


class NotInLedgerError(ExporterError):
    """A page or the API was asked for a run or a flow of which the ledger holds nothing."""

    reason = "not_in_ledger"


class NotCaughtUpError(ExporterError):
    """The metrics do not yet contain every entry of the ledger."""

    reason = "not_caught_up"


class UnknownFlowError(ExporterError):
    """No flow with this id is on /metrics."""

    reason = "unknown_flow"


class DefectError(ExporterError):
    """An exception that the code does not handle. The log has its traceback."""

    reason = "defect"


class SettingsError(ExporterError):
    """Settings can't be used. The message names every mistake."""

    reason = "settings"


class LedgerMissingError(SettingsError):
    """There is no ledger where `--ledger.url` says, and the command makes none."""

    reason = "ledger_missing"


class SavedFileError(ExporterError):
    """A saved file can't be read to its end."""

    reason = "saved_file"


class CannotListenError(ExporterError):
    """The address is in use, or does not belong to this machine."""

    reason = "cannot_listen"


class NotHealthyError(ExporterError):
    """The exporter did not answer with 200."""

    reason = "not_healthy"


class NotAWebhookError(ExporterError):
    """The address does not answer a challenge, so nothing is posted to it."""

    reason = "not_a_webhook"
