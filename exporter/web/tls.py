"""`tls_server_config` of the web configuration: its fields, and the SSL context that is made from them.

A field does what it does in Go's crypto/tls, or its value is refused. What Python's ssl module can't do as Go does is
refused: requesting a client certificate without verifying it, more than one curve, and X25519, which not every build
of OpenSSL accepts by name. `cipher_suites` applies to TLS 1.2 and below, as in Go. OpenSSL's security level decides
whether TLS 1.0 and 1.1 work at all. The inline fields `cert`, `key` and `client_ca`, and `client_allowed_sans`, do not
exist here.
"""

import os
import ssl
import warnings
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from cryptography import x509
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from exporter.errors import SettingsError

VERSIONS: Final = {f"TLS1{minor}": ssl.TLSVersion(0x0301 + minor) for minor in range(4)}
"""Go's names of the versions, to Python's."""
TLS13_SUITES: Final = frozenset({"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"})
"""The suites of TLS 1.3, in Go's names. They are accepted and have no effect, as in Go."""
SUITES: Final = {
    f"TLS_ECDHE_{kind}_WITH_{name}": f"ECDHE-{kind}-{openssl}"
    for kind in ("ECDSA", "RSA")
    for name, openssl in (
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
    )
}
"""The suites of TLS 1.2 and below: Go's names, to OpenSSL's."""
CURVES: Final = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1"}
"""Go's names of the curves, to OpenSSL's."""


def _check_file(value: object, info: ValidationInfo) -> Path:
    """Return a file's path. A relative one is relative to the folder in the context."""
    # Somebody may have put the key itself here. A message must not repeat it.
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("must be the name of a file")
    return Path((info.context or {}).get("folder", ".")) / value


def _check_suite(name: str) -> str:
    if name not in SUITES and name not in TLS13_SUITES:
        raise ValueError("is no cipher suite that can be used: use one of Go's crypto/tls.CipherSuites()")
    return name


_File = Annotated[Path, BeforeValidator(_check_file)]
_Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]


class TlsConfig(BaseModel):
    """The fields of `tls_server_config`. A field whose check uses another one stands after it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    cert_file: _File
    key_file: _File
    client_auth_type: Literal[
        "NoClientCert",
        "RequestClientCert",
        "RequireAnyClientCert",
        "VerifyClientCertIfGiven",
        "RequireAndVerifyClientCert",
    ] = "NoClientCert"
    client_ca_file: _File | None = Field(default=None, validate_default=True)
    min_version: _Version = "TLS12"
    max_version: _Version = Field(default="TLS13", validate_default=True)
    cipher_suites: tuple[Annotated[str, AfterValidator(_check_suite)], ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[Literal["CurveP256", "CurveP384", "CurveP521"], ...] = ()

    @property
    def requires_client_certificate(self) -> bool:
        """Whether a client without a certificate is refused."""
        return self.client_auth_type == "RequireAndVerifyClientCert"

    @property
    def files(self) -> dict[str, Path]:
        """The files that are named, by their fields."""
        files = {"cert_file": self.cert_file, "key_file": self.key_file, "client_ca_file": self.client_ca_file}
        return {field: file for field, file in files.items() if file is not None}

    @field_validator("client_auth_type")
    @classmethod
    def _check_client_auth_type(cls, value: str) -> str:
        if value in {"RequestClientCert", "RequireAnyClientCert"}:
            raise ValueError(
                "Python can't ask for a certificate without verifying it: set VerifyClientCertIfGiven or "
                "RequireAndVerifyClientCert"
            )
        return value

    @field_validator("client_ca_file")
    @classmethod
    def _check_client_ca_file(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        policy = info.data.get("client_auth_type")
        if policy == "NoClientCert" and value is not None:
            raise ValueError("is not used unless client_auth_type asks for certificates")
        if policy not in {"NoClientCert", None} and value is None:
            raise ValueError("is needed by client_auth_type")
        return value

    @field_validator("max_version")
    @classmethod
    def _check_max_version(cls, value: str, info: ValidationInfo) -> str:
        # The names sort as the versions do.
        if value < info.data.get("min_version", value):
            raise ValueError("is below min_version")
        return value

    @field_validator("cipher_suites")
    @classmethod
    def _check_cipher_suites(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        # Go would then fail every handshake below TLS 1.3. OpenSSL has no setting for "no suite".
        if value and TLS13_SUITES.issuperset(value) and info.data.get("min_version", "TLS13") != "TLS13":
            raise ValueError("are all of TLS 1.3: set min_version: TLS13 too")
        return value

    @field_validator("curve_preferences")
    @classmethod
    def _check_curve_preferences(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) > 1:
            raise ValueError("Python accepts one curve only: name one, or leave this out to allow all")
        return value


def ssl_context(tls: TlsConfig, config_file: Path) -> ssl.SSLContext:
    """Make a listener's SSL context from the certificate files as they are now.

    Raises SettingsError for files that can't be used. Its message names `config_file` and the field.
    """
    _check_readable(tls, config_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _set_bounds(context, tls)
    _load_certificate(context, tls, config_file)
    _load_client_ca(context, tls, config_file)
    return context


def read_certificate(tls: TlsConfig) -> x509.Certificate | None:
    """The certificate of a listener. Blocking.

    None if the file can't be read a second time, as a pipe, or if only OpenSSL understands it.
    """
    try:
        return x509.load_pem_x509_certificates(tls.cert_file.read_bytes())[0] if tls.cert_file.is_file() else None
    except (OSError, ValueError):
        return None


def why_outdated(certificate: x509.Certificate, now: datetime) -> str | None:
    """Why a certificate is not valid at a time, in words. None if it is."""
    if certificate.not_valid_after_utc < now:
        return f"cert_file: the certificate expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    if certificate.not_valid_before_utc > now:
        return f"cert_file: the certificate is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    return None


def _check_readable(tls: TlsConfig, config_file: Path) -> None:
    # Check the permission instead of reading the file, because a file may be a pipe.
    unreadable = [key for key, file in tls.files.items() if not os.access(file, os.R_OK)]
    if unreadable:
        raise _unusable(config_file, *(f"{key}: there is no such file, or it can't be read" for key in unreadable))


def _set_bounds(context: ssl.SSLContext, tls: TlsConfig) -> None:
    """Set versions, suites, curve and the application protocol."""
    with warnings.catch_warnings():
        # Python warns of TLS 1.0 and 1.1. Whoever configured them did so on purpose.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = VERSIONS[tls.min_version]
        context.maximum_version = VERSIONS[tls.max_version]
    suites = [SUITES[name] for name in tls.cipher_suites if name in SUITES]
    if suites:
        context.set_ciphers(":".join(suites))
    if not tls.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    for curve in tls.curve_preferences:
        context.set_ecdh_curve(CURVES[curve])
    context.set_alpn_protocols(["http/1.1"])


def _load_certificate(context: ssl.SSLContext, tls: TlsConfig, config_file: Path) -> None:
    try:
        # Without a password, OpenSSL would ask the terminal for that of an encrypted key.
        context.load_cert_chain(tls.cert_file, tls.key_file, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _unusable(config_file, "key_file: is not the key of cert_file") from None
        raise _unusable(
            config_file,
            "cert_file, key_file: must hold a certificate and its key as PEM, the key without a passphrase, and "
            "both strong enough for OpenSSL",
        ) from None
    except OSError:
        raise _unusable(config_file, "cert_file, key_file: can't be read") from None


def _load_client_ca(context: ssl.SSLContext, tls: TlsConfig, config_file: Path) -> None:
    if tls.client_ca_file is None:
        return
    try:
        context.load_verify_locations(tls.client_ca_file)
    except OSError:  # the base class of ssl.SSLError too
        raise _unusable(config_file, "client_ca_file: must hold certificates as PEM") from None
    context.verify_mode = ssl.CERT_REQUIRED if tls.requires_client_certificate else ssl.CERT_OPTIONAL
    # As in Go, every certificate in the file is trusted, a root or an intermediate.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _unusable(config_file: Path, *mistakes: str) -> SettingsError:
    return SettingsError("\n".join(f"{config_file}: tls_server_config.{mistake}" for mistake in mistakes))
