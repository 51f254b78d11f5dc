"""`--web.config.file`: TLS, basic authentication and headers, in the format of Prometheus' exporter-toolkit.

The rule: what the file asks for is done as Go would do it, or refused; nothing is loosened or ignored in silence. Every
mistake is named in one message, by its key; no message holds a hash, a key or any other value.

What Python's ssl can't do as Go does is refused: asking for a client certificate without verifying it, more than one
curve, and X25519, which not every build can be told. `cipher_suites` rule TLS 1.2 and below, as in Go; whether TLS 1.0
and 1.1 are spoken at all is up to OpenSSL's security level. `http2` may say anything: HTTP/2 is optional, and only
HTTP/1.1 is spoken here. Inline `cert`, `key` and `client_ca`, `client_allowed_sans` and `rate_limit` are not there.
"""

import os
import re
import ssl
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo
from pydantic import field_validator as validates

from exporter.errors import SettingsError

# The 22nd character of a salt holds only two bits; bcrypt refuses others.
_HASH = re.compile(r"\$2[aby]\$(?:0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
_HEADER_VALUES: Final = {"X-Frame-Options": {"deny", "sameorigin"}, "X-Content-Type-Options": {"nosniff"}}
_VERSIONS: Final = {f"TLS1{minor}": ssl.TLSVersion(0x0301 + minor) for minor in range(4)}
_SUITES_OF_TLS13: Final = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
_SUITES: Final = {
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
_CURVES: Final = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1"}
_REASONS: Final = {
    "extra_forbidden": "there is no such key here",
    "missing": "is needed",
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "tuple_type": "must be a list",
}


def _file(value: object, info: ValidationInfo) -> Path:
    # Whoever puts a key itself here must not find it in a message.
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("must be the name of a file")
    return Path((info.context or {}).get("folder", ".")) / value


def _suite(name: str) -> str:
    if name not in _SUITES and name not in _SUITES_OF_TLS13:
        raise ValueError("is no cipher suite that can be used: take one of Go's crypto/tls.CipherSuites()")
    return name


def _user(name: str) -> str:
    if not name or ":" in name or not name.isprintable():
        raise ValueError("a user's name is not empty and has no colon and no control characters")
    return name


def _hash(text: str) -> str:
    if not _HASH.fullmatch(text):
        raise ValueError("must be a bcrypt hash: $2a$, $2b$ or $2y$ with a cost of 04 to 31")
    return text


_File = Annotated[Path, BeforeValidator(_file)]
_Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]
_HeaderName = Literal[
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Tls(_Section):
    """`tls_server_config`; a field that depends on another comes after it."""

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
    cipher_suites: tuple[Annotated[str, AfterValidator(_suite)], ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[Literal["CurveP256", "CurveP384", "CurveP521"], ...] = ()

    @validates("client_auth_type")
    @classmethod
    def _can_be_done(cls, value: str) -> str:
        if value in {"RequestClientCert", "RequireAnyClientCert"}:
            raise ValueError(
                "Python can't ask for a certificate without verifying it: say VerifyClientCertIfGiven or "
                "RequireAndVerifyClientCert"
            )
        return value

    @validates("client_ca_file")
    @classmethod
    def _is_there_for_a_reason(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        policy = info.data.get("client_auth_type")
        if policy == "NoClientCert" and value is not None:
            raise ValueError("is not used unless client_auth_type asks for certificates")
        if policy not in {"NoClientCert", None} and value is None:
            raise ValueError("is needed by client_auth_type")
        return value

    @validates("max_version")
    @classmethod
    def _is_not_below_min(cls, value: str, info: ValidationInfo) -> str:
        # The names sort as the versions do.
        if value < info.data.get("min_version", value):
            raise ValueError("is below min_version")
        return value

    @validates("cipher_suites")
    @classmethod
    def _leave_a_choice(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        # Go would then fail every handshake below TLS 1.3; OpenSSL has no way to say "none".
        if value and _SUITES_OF_TLS13.issuperset(value) and info.data.get("min_version", "TLS13") != "TLS13":
            raise ValueError("are all of TLS 1.3: say min_version: TLS13")
        return value

    @validates("curve_preferences")
    @classmethod
    def _are_one(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) > 1:
            raise ValueError("Python can be told one curve only: name one, or none to allow all")
        return value


class _Http(_Section):
    http2: bool = True
    headers: dict[_HeaderName, str] | None = None

    @validates("headers")
    @classmethod
    def _are_headers(cls, value: dict[str, str] | None) -> dict[str, str]:
        # As in exporter-toolkit, a blank value sets nothing.
        headers = {name: text.strip() for name, text in (value or {}).items() if text.strip()}
        for name, text in headers.items():
            allowed = _HEADER_VALUES.get(name)
            if allowed and text.lower() not in allowed:
                raise ValueError(f"{name} must be {' or '.join(sorted(allowed))}")
            if not (text.isascii() and text.isprintable()):
                raise ValueError(f"{name} must be printable ASCII on one line")
        return headers


class _Content(_Section):
    tls_server_config: Tls | None = None
    http_server_config: _Http | None = None
    basic_auth_users: dict[Annotated[str, AfterValidator(_user)], Annotated[str, AfterValidator(_hash)]] | None = None


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What the file says; made by `load`, or nothing without a file. `users` are names to bcrypt hashes."""

    path: Path = Path()
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: Tls | None = None

    @property
    def requires_client_certificate(self) -> bool:
        """Whether nobody gets in without a certificate: neither Adobe nor a probe."""
        return self.tls is not None and self.tls.client_auth_type == "RequireAndVerifyClientCert"

    def ssl_context(self) -> ssl.SSLContext | None:
        """What a listener needs for TLS, from the files as they are now; None without TLS.

        Raises SettingsError for files that can't be used.
        """
        if self.tls is None:
            return None
        files = {key: getattr(self.tls, key) for key in ("cert_file", "key_file", "client_ca_file")}
        # Asked, not read: a file may be a pipe.
        unreadable = [key for key, file in files.items() if file is not None and not os.access(file, os.R_OK)]
        if unreadable:
            raise self._unusable(*(f"{key}: there is no such file, or it can't be read" for key in unreadable))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._bound(context, self.tls)
        try:
            # Without a password given, OpenSSL would ask the terminal for an encrypted key's.
            context.load_cert_chain(self.tls.cert_file, self.tls.key_file, password="")
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise self._unusable("key_file: is not the key of cert_file") from None
            raise self._unusable(
                "cert_file, key_file: must hold a certificate and its key as PEM, the key without a passphrase, and "
                "both strong enough for OpenSSL"
            ) from None
        except OSError:
            raise self._unusable("cert_file, key_file: can't be read") from None
        if self.tls.client_ca_file is not None:
            try:
                context.load_verify_locations(self.tls.client_ca_file)
            except OSError:  # ssl's errors are such too
                raise self._unusable("client_ca_file: must hold certificates as PEM") from None
            required = self.requires_client_certificate
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
            # As in Go, whatever is in the file is trusted, be it a root or an intermediate.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    def _unusable(self, *mistakes: str) -> SettingsError:
        return SettingsError("\n".join(f"{self.path}: tls_server_config.{mistake}" for mistake in mistakes))

    @staticmethod
    def _bound(context: ssl.SSLContext, tls: Tls) -> None:
        with warnings.catch_warnings():
            # Who writes TLS10 knows what it is.
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = _VERSIONS[tls.min_version]
            context.maximum_version = _VERSIONS[tls.max_version]
        suites = [_SUITES[name] for name in tls.cipher_suites if name in _SUITES]
        if suites:
            context.set_ciphers(":".join(suites))
        if not tls.prefer_server_cipher_suites:
            context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
        for curve in tls.curve_preferences:
            context.set_ecdh_curve(_CURVES[curve])
        context.set_alpn_protocols(["http/1.1"])


class _RepeatedKeyError(yaml.MarkedYAMLError):
    pass


class _Loader(yaml.SafeLoader):
    """The safe loader, except that of a key given twice the first is not dropped in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002, RUF100 - yaml's
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _RepeatedKeyError(problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def load(path: Path) -> WebConfig:
    """The file's content; raises SettingsError with everything that is wrong with it."""
    raw = _yaml(path)
    try:
        content = _Content.model_validate({} if raw is None else raw, context={"folder": path.parent})
    except ValidationError as error:
        raise SettingsError("\n".join(_mistakes(path, error))) from None
    http = content.http_server_config
    return WebConfig(
        path=path,
        users=MappingProxyType(dict(content.basic_auth_users or {})),
        headers=MappingProxyType({str(name): text for name, text in ((http and http.headers) or {}).items()}),
        tls=content.tls_server_config,
    )


def _yaml(path: Path) -> object:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise SettingsError(f"{path}: there is no such file, or it can't be read as text") from None
    try:
        loader = _Loader(text)
        try:
            content: object = loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        what = "a key is there twice" if isinstance(error, _RepeatedKeyError) else "this is not YAML"
        mark = error.problem_mark or error.context_mark
        raise SettingsError(f"{path}: {f'line {mark.line + 1}: ' if mark else ''}{what}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise SettingsError(f"{path}: this is not YAML") from None
    return content


def _mistakes(path: Path, error: ValidationError) -> list[str]:
    found: dict[str, None] = {}
    for detail in error.errors(include_url=False, include_input=False):
        keys = ".".join(_shown(part) for part in detail["loc"] if part != "[key]")
        own = detail.get("ctx", {}).get("error")
        reason = str(own) if own is not None else _REASONS.get(detail["type"], detail["msg"].lower())
        if detail["type"] == "literal_error":
            reason = (
                f"must be {detail['ctx']['expected']}" if detail["loc"][-1] != "[key]" else "is no header to set here"
            )
        found[f"{path}: {keys}: {reason}" if keys else f"{path}: {reason}"] = None
    return list(found)


def _shown(key: str | int) -> str:
    """A key, unless it looks like something that slipped into a key's place."""
    return str(key) if re.fullmatch(r"[\w@+. -]{1,64}", str(key)) else "(a key that is not shown)"
