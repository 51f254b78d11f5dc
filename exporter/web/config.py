"""`--web.config.file`: TLS, basic authentication and headers, in the format of Prometheus' exporter-toolkit.

This module reads and checks the file. A setting does what exporter-toolkit does with it, or it is refused: no setting
is weakened or ignored silently. One message names every mistake by its key. No message holds a hash, a key or any other
value of the file.

`http2` may have any value, because HTTP/2 is optional, and only HTTP/1.1 is spoken here. `rate_limit` does not exist
here. `exporter.web.tls` lists what of `tls_server_config` is refused.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, field_validator

from exporter.errors import SettingsError
from exporter.web.tls import TlsConfig, ssl_context

# The 22nd character of a salt holds only two bits. bcrypt refuses other characters there.
_HASH = re.compile(r"\$2[aby]\$(?:0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
_HEADER_VALUES: Final = {"X-Frame-Options": {"deny", "sameorigin"}, "X-Content-Type-Options": {"nosniff"}}
_REASONS: Final = {
    "extra_forbidden": "there is no such key here",
    "missing": "is needed",
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "tuple_type": "must be a list",
}
"""Our words for pydantic's types of mistakes."""


def _check_user(name: str) -> str:
    if not name or ":" in name or not name.isprintable():
        raise ValueError("a user's name is not empty and has no colon and no control characters")
    return name


def _check_hash(text: str) -> str:
    if not _HASH.fullmatch(text):
        raise ValueError("must be a bcrypt hash: $2a$, $2b$ or $2y$ with a cost of 04 to 31")
    return text


_User = Annotated[str, AfterValidator(_check_user)]
_Hash = Annotated[str, AfterValidator(_check_hash)]
_HeaderName = Literal[
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
]


class _HttpConfig(BaseModel):
    """The fields of `http_server_config`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    http2: bool = True
    headers: dict[_HeaderName, str] | None = None

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, value: dict[str, str] | None) -> dict[str, str]:
        # As in exporter-toolkit, a blank value sets no header.
        headers = {name: text.strip() for name, text in (value or {}).items() if text.strip()}
        for name, text in headers.items():
            allowed = _HEADER_VALUES.get(name)
            if allowed and text.lower() not in allowed:
                raise ValueError(f"{name} must be {' or '.join(sorted(allowed))}")
            if not (text.isascii() and text.isprintable()):
                raise ValueError(f"{name} must be printable ASCII on one line")
        return headers


class _Content(BaseModel):
    """The sections of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    tls_server_config: TlsConfig | None = None
    http_server_config: _HttpConfig | None = None
    basic_auth_users: dict[_User, _Hash] | None = None


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The content of a file, as `load` returns it. The default is what applies without a file.

    `users` maps names to bcrypt hashes.
    """

    path: Path = Path()
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: TlsConfig | None = None

    @property
    def requires_client_certificate(self) -> bool:
        """Whether a client without a certificate is refused. Neither Adobe nor a health probe has one."""
        return self.tls is not None and self.tls.requires_client_certificate

    def ssl_context(self) -> ssl.SSLContext | None:
        """Make a listener's SSL context from the certificate files as they are now. None without TLS.

        Raises SettingsError for files that can't be used.
        """
        return ssl_context(self.tls, self.path) if self.tls is not None else None


class _RepeatedKeyError(yaml.MarkedYAMLError):
    """A mapping has the same key twice."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which also refuses a repeated key. PyYAML itself would silently drop the first one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002, RUF100 - yaml's
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _RepeatedKeyError(problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def load(path: Path) -> WebConfig:
    """Read a file. Raises SettingsError, whose message names every mistake."""
    raw = _read_yaml(path)
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


def _read_yaml(path: Path) -> object:
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
    """Return a line for each mistake: the file, the key and the reason, never the value."""
    found: dict[str, None] = {}
    for detail in error.errors(include_url=False, include_input=False):
        keys = ".".join(_printable_key(part) for part in detail["loc"] if part != "[key]")
        own = detail.get("ctx", {}).get("error")
        reason = str(own) if own is not None else _REASONS.get(detail["type"], detail["msg"].lower())
        if detail["type"] == "literal_error":
            reason = (
                f"must be {detail['ctx']['expected']}" if detail["loc"][-1] != "[key]" else "is no header to set here"
            )
        found[f"{path}: {keys}: {reason}" if keys else f"{path}: {reason}"] = None
    return list(found)


def _printable_key(key: str | int) -> str:
    """Return a key, unless it looks like a value that was put in a key's place by mistake."""
    return str(key) if re.fullmatch(r"[\w@+. -]{1,64}", str(key)) else "(a key that is not shown)"
