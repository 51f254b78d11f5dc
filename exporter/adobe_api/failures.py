"""Why a request has no answer, in words: the one place that reads the exceptions of httpx, ssl and sockets.

The words are ours. The texts of the exceptions are not used, because they can hold addresses with passwords.
"""

import errno
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import httpx

_CERTIFICATE: Final = {
    9: "its certificate is not valid yet: is the clock of this machine right?",
    10: "its certificate has expired: is the clock of this machine right?",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
}
"""By OpenSSL's number (x509_vfy.h): X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED, _HOSTNAME_MISMATCH and
_IP_ADDRESS_MISMATCH."""
_UNTRUSTED: Final = "its certificate is not trusted: for an authority of your own set SSL_CERT_FILE"
_UNRESOLVED: Final = "its name can't be resolved"
_REFUSED: Final = "it refused the connection"
_CLOSED: Final = "it closed the connection without an answer"
_UNREACHABLE: Final = "there is no route to it"
_OF_PROXY: Final = {
    _UNRESOLVED: "the name of the proxy can't be resolved",
    _REFUSED: "the proxy refused the connection",
    _UNREACHABLE: "there is no route to the proxy",
}
"""What is said where the connection is one to a proxy."""
_NOT_ALLOWED: Final = "this machine does not allow the connection"
_ERRNO: Final = {
    errno.ECONNREFUSED: _REFUSED,
    errno.ECONNRESET: _CLOSED,
    errno.ECONNABORTED: _CLOSED,
    errno.EPIPE: _CLOSED,
    errno.ENETUNREACH: _UNREACHABLE,
    errno.EHOSTUNREACH: _UNREACHABLE,
    errno.ENETDOWN: _UNREACHABLE,
    errno.EADDRNOTAVAIL: _UNREACHABLE,
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
    errno.ETIMEDOUT: "it does not answer",
    errno.EMFILE: "this process has too many open files",
    errno.ENFILE: "this machine has too many open files",
}
_PROXY_STATUS: Final = {
    "403": ", because it does not allow connections to the host",
    "407": ", because it asks for a user and a password",
    "502": ", because it can't reach the host",
    "503": ", because it can't reach the host",
    "504": ", because it can't reach the host",
}


def explain(error: BaseException, seconds: float, *, through_proxy: bool = False) -> str:
    """The cause of a failed request, as a sentence about the host or the proxy ("it refused the connection").

    `seconds`: how long an answer was waited for. `through_proxy`: whether the connection was made to a proxy.
    """
    causes = list(_chain(error))
    if any(isinstance(each, httpx.ProxyError) for each in causes):
        return _proxy_answer(causes)
    said = _said(causes, seconds)
    return _OF_PROXY.get(said, said) if through_proxy else said


def _said(causes: list[BaseException], seconds: float) -> str:
    for each in causes:
        match each:
            case ssl.SSLCertVerificationError():
                return _CERTIFICATE.get(each.verify_code, _UNTRUSTED)
            case httpx.InvalidURL():
                return "its address is not valid"
            case socket.gaierror() | UnicodeError():
                # Python raises UnicodeError for a name with a part of more than 63 characters.
                return _UNRESOLVED
            case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "HTTP_REQUEST" | "PACKET_LENGTH_TOO_LONG"):
                return "it answered something other than TLS"
            case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
                return _CLOSED
            case ssl.SSLError():
                return "no version or cipher of TLS suits both sides"
            case OSError(errno=number) if number in _ERRNO:
                return _ERRNO[number]
            case TimeoutError() | httpx.TimeoutException():
                return f"it gave no answer within {seconds:g} s"
            case _:
                continue
    return _protocol_fault(causes)


def _protocol_fault(causes: list[BaseException]) -> str:
    """The cause where neither the system nor TLS gives one."""
    if any(isinstance(each, httpx.RemoteProtocolError) for each in causes):
        # h11 raises the same error for both. Only its text tells them apart.
        is_closed = any(word in str(each) for each in causes for word in ("disconnected", "closed connection"))
        return _CLOSED if is_closed else "it answered something other than HTTP"
    if any(isinstance(each, httpx.DecodingError) for each in causes):
        return "its answer can't be decoded"
    if any(isinstance(each, httpx.NetworkError) for each in causes):
        return "it closed the connection" if not isinstance(causes[0], httpx.ConnectError) else "no connection was made"
    return "the request failed"


def _proxy_answer(causes: list[BaseException]) -> str:
    """The status with which a proxy refused to connect to the host."""
    # httpcore gives the status only as the beginning of the text.
    status = next((str(each)[:3] for each in causes if isinstance(each, httpx.ProxyError)), "")
    if not (status.isascii() and status.isdigit()):
        return "the proxy did not make the connection"
    return f"the proxy answered {status}{_PROXY_STATUS.get(status, '')}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and everything that caused it, the nearest first."""
    pending, seen = [error], set[int]()
    while pending:
        each = pending.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, BaseExceptionGroup):
            pending += each.exceptions
        pending += [cause for cause in (each.__cause__, each.__context__) if cause is not None]
