from pathlib import Path
from typing import Final

import pytest

from exporter.errors import SettingsError
from exporter.web.config import load
from tests.web.cases import failures
from tests.web.web_config import HASH, OTHER_HASH, TLS, write


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "{}",
        "basic_auth_users:\n",
        "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\n",
        "http_server_config: {http2: false}",
        "http_server_config: {http2: true, headers: {X-Frame-Options: ''}}",
    ],
    ids=["empty", "comment", "empty mapping", "empty users", "empty sections", "http2", "blank header"],
)
def test_a_file_may_ask_for_nothing(tmp_path: Path, text: str) -> None:
    """An empty file, empty sections, any http2 and blank headers set nothing."""
    found = load(write(tmp_path, text))
    assert (dict(found.users), dict(found.headers), found.tls, found.ssl_context()) == ({}, {}, None, None)
    assert not found.requires_client_certificate


def test_users_and_headers(tmp_path: Path) -> None:
    """Users and headers are read, and the repr of the configuration holds no hash."""
    found = load(
        write(
            tmp_path,
            f"basic_auth_users:\n  alice: {HASH}\n  bob: {OTHER_HASH}\n"
            "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    Strict-Transport-Security: max-age=1\n",
        )
    )
    assert found.users == {"alice": HASH, "bob": OTHER_HASH}
    assert found.headers == {"X-Frame-Options": "deny", "Strict-Transport-Security": "max-age=1"}
    assert HASH not in repr(found)


def test_files_are_beside_the_configuration(tmp_path: Path) -> None:
    """A relative file name is relative to the folder of the configuration. An absolute one is kept."""
    tls = load(write(tmp_path, "tls_server_config: {cert_file: a/b.crt, key_file: /c.key}")).tls
    assert tls is not None
    assert (tls.cert_file, tls.key_file) == (tmp_path / "a/b.crt", Path("/c.key"))
    assert (tls.min_version, tls.max_version, tls.client_auth_type) == ("TLS12", "TLS13", "NoClientCert")


MISTAKES: Final = [
    ("- SECRET", "web.yml: must be a mapping"),
    ("a: SECRET\n b: : SECRET", "line 2: this is not YAML"),
    ("a: *SECRET", "line 1: this is not YAML"),
    ("a: !!SECRET x", "line 1: this is not YAML"),
    ("a: \x07SECRET", "web.yml: this is not YAML"),
    ("a: 2026-99-99", "web.yml: this is not YAML"),
    ("[" * 5000, "web.yml: this is not YAML"),
    (f"basic_auth_users:\n  a: {HASH}\n  a: {OTHER_HASH}", "line 3: a key is there twice"),
    ("rate_limit: {burst: 1}", "web.yml: rate_limit: there is no such key here"),
    ("tls_server_config: {}", "tls_server_config.cert_file: is needed"),
    ("tls_server_config: {}", "tls_server_config.key_file: is needed"),
    ("tls_server_config: SECRET", "tls_server_config: must be a mapping"),
    ("tls_server_config: {key: SECRET}", "tls_server_config.key: there is no such key here"),
    ('tls_server_config: {key_file: "-----BEGIN\\nSECRET"}', "key_file: must be the name of a file"),
    ("tls_server_config: {cert_file: ''}", "cert_file: must be the name of a file"),
    (TLS + "  client_auth_type: SECRET", "client_auth_type: must be 'NoClientCert'"),
    (TLS + "  client_auth_type: RequestClientCert", "VerifyClientCertIfGiven or RequireAndVerifyClientCert"),
    (TLS + "  client_auth_type: RequireAnyClientCert", "VerifyClientCertIfGiven or RequireAndVerifyClientCert"),
    (TLS + "  client_auth_type: VerifyClientCertIfGiven", "client_ca_file: is needed by client_auth_type"),
    (TLS + "  client_ca_file: ca.crt", "client_ca_file: is not used"),
    (TLS + "  min_version: SSL3", "min_version: must be 'TLS10'"),
    (TLS + "  max_version: TLS11", "max_version: is below min_version"),
    (TLS + "  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]", "cipher_suites.0: is no cipher suite"),
    (TLS + "  cipher_suites: TLS_AES_128_GCM_SHA256", "cipher_suites: must be a list"),
    (TLS + "  cipher_suites: [TLS_AES_128_GCM_SHA256]", "set min_version: TLS13"),
    (TLS + "  curve_preferences: [SECRET]", "curve_preferences.0: must be 'CurveP256'"),
    (TLS + "  curve_preferences: [CurveP384, CurveP256]", "one curve only"),
    ("http_server_config: {headers: {Set-Cookie: SECRET}}", "headers.Set-Cookie: is no header to set here"),
    ("http_server_config: {headers: {X-Frame-Options: SECRET}}", "X-Frame-Options must be deny or sameorigin"),
    ('http_server_config: {headers: {X-XSS-Protection: "1\\r\\nSECRET"}}', "X-XSS-Protection must be printable"),
    ("http_server_config: {headers: {X-XSS-Protection: 1}}", "headers.X-XSS-Protection: input should be"),
    ("basic_auth_users: {alice: SECRET}", "basic_auth_users.alice: must be a bcrypt hash"),
    ("basic_auth_users: {alice: 123}", "basic_auth_users.alice: input should be"),
    (f"basic_auth_users: {{alice: {HASH.replace('$04$', '$03$')}}}", "alice: must be a bcrypt hash"),
    (f"basic_auth_users: {{alice: {HASH.replace('$04$', '$32$')}}}", "alice: must be a bcrypt hash"),
    (f"basic_auth_users: {{alice: {HASH.replace('$2b$', '$2x$')}}}", "alice: must be a bcrypt hash"),
    (f"basic_auth_users: {{alice: {HASH}x}}", "alice: must be a bcrypt hash"),
    (f"basic_auth_users: {{'a:b': {HASH}}}", "has no colon"),
    (f"basic_auth_users: {{{HASH}: x}}", "(a key that is not shown)"),
    (f"alice: {HASH}\nbob: SECRET", "web.yml: bob: there is no such key here"),
]
"""A file's content, and what the message must contain. SECRET stands for a value that it must not contain."""


def test_a_mistake_is_named_without_its_value(tmp_path: Path) -> None:
    """The message names the file and key of a mistake and says what to do, and repeats no value."""

    def check(case: tuple[str, str]) -> None:
        text, expected = case
        path = write(tmp_path, text)
        with pytest.raises(SettingsError) as caught:
            load(path)
        message = str(caught.value)
        assert expected in message
        assert all(line.startswith(f"{path}: ") for line in message.splitlines())
        assert "SECRET" not in message
        assert HASH[7:] not in message
        assert caught.value.__cause__ is None

    # The texts alone are not unique: one has two mistakes.
    assert failures({f"{text[:200]} | {expected}": (text, expected) for text, expected in MISTAKES}, check) == {}


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """One message names every mistake."""
    with pytest.raises(SettingsError) as caught:
        load(
            write(
                tmp_path, "x: 1\nbasic_auth_users: {a: b, c: d}\ntls_server_config: {cert_file: 1, max_version: TLS11}"
            )
        )
    assert len(str(caught.value).splitlines()) == 6


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file, a folder and a file that is not text are refused with the reason."""
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none.yml", tmp_path, binary):
        with pytest.raises(SettingsError, match="there is no such file, or it can't be read"):
            load(path)
