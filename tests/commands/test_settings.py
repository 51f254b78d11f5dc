"""Settings are read from flags and variables, and every mistake is in one message."""

import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from exporter.commands.forget import ForgetSettings
from exporter.commands.main import COMMANDS, find_command, load, settings_table
from exporter.commands.serve_settings import PAGE_PATHS, ServeSettings, TokenFile
from exporter.commands.settings import Rule, Setting, Settings, declared, setting
from exporter.commands.settings import load as load_settings
from exporter.commands.simulate import SimulateSettings
from exporter.errors import SettingsError
from exporter.parsers import Address

SECRET = "s3cret-s3cret-s3cret"
OTHER = "an0ther-s3cret-to-change-to"
TOKEN_FILE = "token.txt"

FLAGS: dict[str, Setting] = {}
TAKEN_BY: dict[str, str] = {}
"""The first command that takes a flag."""
for command_ in COMMANDS:
    for each_ in declared(find_command(command_).settings):
        FLAGS.setdefault(each_.flag.name, each_)
        TAKEN_BY.setdefault(each_.flag.name, command_)

OTHER_MEANINGS = {("runs", "flow"), ("runs", "since")}
"""Flags that choose what a list has, and that other commands need for something else.

tests/commands/test_runs.py has their values."""

# For each flag: its default, another value, and what that is.
GOOD: dict[str, tuple[str, str, object]] = {
    "web.listen-address": ("127.0.0.1:10464", "[::1]:9999", Address("::1", 9999)),
    "web.telemetry-path": ("/metrics", "/prometheus", "/prometheus"),
    "web.config.file": ("", TOKEN_FILE, Path(TOKEN_FILE)),
    "web.external-url": ("", "https://monitor.example/aep/", "https://monitor.example/aep"),
    "web.pages": ("", "summary", "summary"),
    "adobe.tenant": ("", "@acme", "acme"),
    "webhook.listen-address": ("", "127.0.0.1:9998", Address("127.0.0.1", 9998)),
    "webhook.path": ("/webhook", "/adobe/events", "/adobe/events"),
    "webhook.auth": ("", "none", "none"),
    "webhook.client-id": ("", "one, two", frozenset({"one", "two"})),
    "webhook.allow-missing-client-id": ("false", "true", True),
    "webhook.token": ("", f"{SECRET}, {OTHER}", (SecretStr(SECRET), SecretStr(OTHER))),
    "webhook.token-file": ("", TOKEN_FILE, TokenFile(Path(TOKEN_FILE), (SecretStr(SECRET),))),
    "webhook.max-body": ("4MiB", "3MiB", 3 * 1024**2),
    "webhook.auto-validate": ("false", "true", True),
    "webhook.allow-unauthenticated": ("false", "true", True),
    "adobe.keys-url": ("https://static.adobeioevents.com", "http://127.0.0.1:8080/x/", "http://127.0.0.1:8080/x"),
    "ledger.url": ("sqlite:///data/ledger.db", "sqlite:////var/lib/a=b.db", "sqlite:////var/lib/a=b.db"),
    "ledger.max-size": ("", "10GiB", 10 * 1024**3),
    "ledger.retention": ("90d", "60d", timedelta(days=60)),
    "series.hold": ("150s", "0s", timedelta()),
    "series.ttl": ("45d", "90d", timedelta(days=90)),
    "series.max-flows": ("2000", "1", 1),
    "metrics.start-timestamps": ("false", "true", True),
    "flow": ("", "0a-1", "0a-1"),
    "url": ("", f"http://127.0.0.1:10464/webhook/{SECRET}", f"http://127.0.0.1:10464/webhook/{SECRET}"),
    "allow-remote": ("false", "true", True),
    "create": ("false", "true", True),
    "seed": ("", "0", 0),
    "flows": ("40", "1", 1),
    "since": ("", "7d", timedelta(days=7)),
    "duration": ("", "0s", timedelta()),
    "speed": ("1", "0.5", 0.5),
    "client-id": ("", "one", "one"),
    "sign": ("false", "true", True),
    "keys.listen-address": ("127.0.0.1:10466", ":9997", Address("", 9997)),
    "status": ("", "failed", "failed"),
    "error-code": ("", "CONNECTOR-2001-500", "CONNECTOR-2001-500"),
    "until": ("", "2026-11-30T22:15:00Z", datetime(2026, 11, 30, 22, 15, tzinfo=UTC)),
    "cursor": ("", "AQAA", "AQAA"),
    "sandbox": ("", " prod", "prod"),
    "limit": ("50", "500", 500),
    "output": ("table", "json", "json"),
    "kind": ("", "source", "source"),
    "failing": ("false", "true", True),
    "log.level": ("info", "debug", "debug"),
    "log.format": ("logfmt", "json", "json"),
}

BAD: dict[str, Iterable[str]] = {
    "web.listen-address": ["10464", "::1:80", "localhost", "127.0.0.1:99999"],
    "web.telemetry-path": ["metrics", "/", "/metrics/", "/a b"],
    "web.config.file": ["none.yml", "."],
    "web.external-url": [
        *("monitor.example", "ftp://monitor.example", "https://", "https://user:s3cret@monitor.example/"),
        *("https://monitor.example/?a=b", "https://monitor.example/#a", "https://monitor.example/a/../b"),
        *(
            "https://monitor.example:0/",
            "https://monitor.example:99999",
            "https://[::1",
            "https://a b",
            "https://\u00e4",
        ),
        *("https://monitor.example//a", 'https://monitor.example/">', "https://monitor.example/a b"),
    ],
    "web.pages": ["all", "Full", "none"],
    "adobe.tenant": ["@", "a b", "a/b", "../x", "x" * 200, "a@evil.example"],
    "webhook.listen-address": ["9998", "::1:80", "127.0.0.1"],
    "webhook.path": ["webhook", "/", "/{token}", "/a=b"],
    "webhook.auth": ["basic", "None", "TOKEN", "none "],
    "webhook.client-id": [",", "a b", "a,,b"],
    "webhook.allow-missing-client-id": ["1", "yes"],
    "webhook.token": ["short", "with a blank in it", "with/a/slash/in/it", f"{SECRET},", f"{SECRET},short"],
    "webhook.token-file": ["none.txt", ".", "x" * 300],
    "webhook.max-body": ["-1", "4.5MiB", "lots"],
    "webhook.auto-validate": ["1", "on"],
    "webhook.allow-unauthenticated": ["1", "yes", "TRUE"],
    "adobe.keys-url": [
        *("static.adobeioevents.com", "http://evil.example", "https://a@b", "https://:a@b", "https://a/?b", "ftp://a"),
        *("https://a:99999", "https://a:0", "https://[::1", "https://a b", "https://\u00e4"),
    ],
    "ledger.url": ["ledger.db", "sqlite://ledger.db", "mysql://db/x"],
    "ledger.max-size": ["-1", "big"],
    "ledger.retention": ["90", "-90d", "7d", "0s"],
    "series.hold": ["150", "-5s", "2 minutes"],
    "series.ttl": ["45", "0s", "91d"],
    "series.max-flows": ["0", "-1", "many", "1.5", "1e3", "9999999999"],
    "metrics.start-timestamps": ["1", "yes"],
    "flow": [" "],
    "url": [
        *("127.0.0.1:10464/webhook", "ftp://localhost/", "http:///webhook", "http://[::1/", "http://localhost:0/"),
        *("http://user:s3cret@localhost/", "http://localhost/#a", "http://localhost/a b", "http://localhost:x/"),
        "http://localhost/?a=b",
        "https://exporter.example/webhook",
    ],
    "allow-remote": ["1", "yes"],
    "create": ["1", "yes"],
    "seed": ["-1", "lucky", "1" * 19],
    "flows": ["0", "-1", "all", "10001"],
    "since": ["7", "yesterday", "36d"],
    "duration": ["7", "for ever"],
    "speed": ["0", "0.0", "-1", "fast", "1e3", "inf"],
    "client-id": ["a b", "a,b"],
    "sign": ["1", "yes"],
    "keys.listen-address": ["10466", "::1:80"],
    "status": ["in_progress", "Failed"],
    "error-code": [" "],
    "until": ["7", "yesterday", "2026-11-30"],
    "cursor": [" "],
    "sandbox": [" "],
    "limit": ["0", "501", "all"],
    "output": ["yaml", "JSON"],
    "kind": ["sink", "Source"],
    "failing": ["1", "yes"],
    "log.level": ["loud", "INFO", "warning"],
    "log.format": ["xml", "JSON"],
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a file that holds a token."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / TOKEN_FILE).write_text(SECRET + "\n", encoding="utf-8")
    return tmp_path


def mistakes(command: str, flags: Sequence[str] = (), **environment: str) -> str:
    """The message that refuses these settings."""
    with pytest.raises(SettingsError) as refused:
        load(command, flags, environment)
    return str(refused.value)


def serve(flags: Sequence[str] = (), **environment: str) -> ServeSettings:
    """The settings of `serve`."""
    return load_settings(ServeSettings, flags, environment)[0]


def simulate(*flags: str) -> SimulateSettings:
    """The settings of `simulate`."""
    return load_settings(SimulateSettings, flags, {})[0]


def variable(name: str) -> str:
    """The variable that sets the same as a flag."""
    return "AEP_EXPORTER_" + name.upper().replace(".", "_").replace("-", "_")


def needed_by(name: str) -> list[str]:
    """The other flags that are needed to load the settings with this flag."""
    settings = find_command(TAKEN_BY[name]).settings
    required = [each.flag.name for each in declared(settings) if each.is_required and each.flag.name != name]
    return [f"--{each}={GOOD[each][1]}" for each in required] + (["--sign"] if name == "keys.listen-address" else [])


def load_with(name: str, *words: str, **environment: str) -> Settings:
    """The settings of a command that takes this flag, with what else is needed."""
    return load(TAKEN_BY[name], [*words, *needed_by(name)], environment)[0]


flags = pytest.mark.parametrize("name", FLAGS)


def test_every_setting_is_in_these_tables() -> None:
    """A new flag needs a good and a bad value here."""
    assert GOOD.keys() == BAD.keys() == FLAGS.keys()


@flags
def test_a_declaration_is_complete(name: str) -> None:
    """Each flag has its variable, a help text of whole sentences, and the default of the table above."""
    setting = FLAGS[name]
    assert setting.flag.variable == variable(name)
    assert (setting.flag.default or "") == GOOD[name][0]
    assert setting.help.endswith((".", ").", ")"))


@flags
def test_a_setting_is_the_same_for_every_command(name: str) -> None:
    """Commands that take the same flag declare it once, so that its type, default and help text are the same."""
    others = {
        (command, name)
        for command in COMMANDS
        for each in declared(find_command(command).settings)
        if each.flag.name == name and each.flag is not FLAGS[name].flag
    }
    assert others == {each for each in OTHER_MEANINGS if each[1] == name}


@flags
def test_a_flag_and_its_variable_do_the_same(name: str) -> None:
    """A value given as --flag=value, as --flag value or by the variable is the same value, and not the default."""
    field, (_, text, value) = FLAGS[name].field, GOOD[name]
    given_ = [load_with(name, f"--{name}={text}"), load_with(name, **{variable(name): text})]
    if not FLAGS[name].is_boolean:
        given_.append(load_with(name, f"--{name}", text))
    assert all(getattr(settings, field) == value for settings in given_)
    assert all(settings == given_[0] for settings in given_)
    if FLAGS[name].is_required:
        assert f"--{name}={FLAGS[name].flag.example} is needed" in mistakes(TAKEN_BY[name])
    else:
        default = load_with(name)
        assert getattr(default, field) != value
        assert given_[0].model_dump(exclude={field}) == default.model_dump(exclude={field})


@flags
def test_a_flag_overrides_its_variable(name: str) -> None:
    """If a flag is given its variable is not used, and not refused for a bad value either."""
    settings = load_with(name, f"--{name}={GOOD[name][1]}", **{variable(name): next(iter(BAD[name]))})
    assert getattr(settings, FLAGS[name].field) == GOOD[name][2]


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in [*texts, ""]])
def test_bad_values(name: str, text: str) -> None:
    """A bad value is refused, and the message names the flag or the variable that gave it."""
    assert f"--{name}" in mistakes(TAKEN_BY[name], [f"--{name}={text}"])
    by_variable = mistakes(TAKEN_BY[name], **{variable(name): text})
    assert variable(name) in by_variable or f"--{name}" in by_variable


@flags
def test_a_flag_needs_its_value(name: str) -> None:
    """A flag at the end, or with another flag after it, has no value. Only for a boolean that means true."""
    for words in ([f"--{name}"], [f"--{name}", "--log.level=info"]):
        if FLAGS[name].is_boolean:
            assert getattr(load_with(name, *words), FLAGS[name].field) is True
        else:
            assert f"--{name} needs a value" in mistakes(TAKEN_BY[name], words)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ([], False),
        (["--webhook.allow-unauthenticated"], True),
        (["--webhook.allow-unauthenticated=true"], True),
        (["--webhook.allow-unauthenticated=false"], False),
        (["--no-webhook.allow-unauthenticated"], False),
        (["--webhook.allow-unauthenticated", "--no-webhook.allow-unauthenticated"], False),
    ],
)
def test_booleans(words: list[str], value: bool) -> None:
    """A boolean flag is given without a value, with one, or with no- before its name."""
    assert serve(words).webhook_allow_unauthenticated is value


def test_all_mistakes_in_one_message() -> None:
    """Unknown flags, unknown variables, bad values and broken rules are all in one message, a line for each."""
    message = mistakes(
        "serve",
        [
            *("--web.listen-adress=:80", "--nonsense", "--log.level=loud", "--series.hold", "-5s"),
            *("--webhook.path=/same", "--web.telemetry-path=/same", "--webhook.max-body"),
            *("--webhook.auth=none", f"--webhook.token={SECRET}"),
        ],
        AEP_EXPORTER_LOG_FORMAT="xml",
        AEP_EXPORTER_LOGFORMAT="json",
        AEP_EXPORTER_LEDGER_URL="",
        PATH="/bin",
    )
    for part in (
        "unknown flag --web.listen-adress: did you mean --web.listen-address?",
        "unknown flag --nonsense",
        "--log.level=loud",
        "--series.hold=-5s",
        "--web.telemetry-path is the same as --webhook.path or below it",
        "--webhook.max-body needs a value",
        "--webhook.auth=none ignores the token",
        "AEP_EXPORTER_LOG_FORMAT=xml",
        "unknown variable AEP_EXPORTER_LOGFORMAT: did you mean AEP_EXPORTER_LOG_FORMAT?",
        "AEP_EXPORTER_LEDGER_URL",
    ):
        assert part in message
    assert len(message.splitlines()) == 10


@pytest.mark.parametrize(
    ("words", "named"),
    [
        pytest.param(["--nonsense"], "--nonsense", id="plain"),
        pytest.param(["--nonsense=1"], "--nonsense", id="with-value"),
        pytest.param(["--Log.Level=info"], "--Log.Level", id="capitals"),
        pytest.param(["--log_level=info"], "--log_level", id="underscore"),
        pytest.param(["--log.level info"], "--log.level: leave its value out of the quotes", id="quoted-together"),
        pytest.param(["--no-log.level"], "--no-log.level", id="no-boolean"),
        pytest.param(["--ledger.retention=90d", "--webhook.pth=/a"], "--webhook.pth", id="among-others"),
        pytest.param(["-log.level=info"], "-log.level", id="one-dash"),
        pytest.param(["-v"], "-v", id="a-letter"),
        pytest.param(["--=x"], "--", id="no-name"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "replay"])
def test_unknown_flags(command: str, words: list[str], named: str) -> None:
    """An unknown flag is named, whichever way it is written."""
    assert f"unknown flag {named}" in mistakes(command, words)


@pytest.mark.parametrize(
    "name", ["AEP_EXPORTER_NONSENSE", "AEP_EXPORTER_", "AEP_EXPORTER_WEB__PATH", "AEP_EXPORTER_log_level"]
)
def test_unknown_variables(name: str) -> None:
    """An unknown variable with the prefix is named. The variables of other programs are ignored."""
    assert f"unknown variable {name}" in mistakes("serve", **{name: "x"})
    load("serve", [], {"HOME": "/", "AEP_OTHER": "", "": "x", "XAEP_EXPORTER_LOG_LEVEL": "loud"})


def test_words_that_are_no_flags() -> None:
    """Words are returned in their order. A single dash is a word, and after two dashes everything is a word."""
    words = ["a.json", "--log.level", "debug", "-", "--log.format=json", "b=c", "--", "--nonsense", "--", "-x"]
    settings, rest = load("replay", words, {})
    assert rest == ["a.json", "-", "b=c", "--nonsense", "--", "-x"]
    assert (settings.log_level, settings.log_format) == ("debug", "json")


def test_settings_of_other_commands() -> None:
    """A command refuses the flags of `serve`, and accepts its variables, which are set for the whole container."""
    assert "unknown flag --webhook.path" in mistakes("replay", ["--webhook.path=/a"])
    settings, _ = load("replay", [], {"AEP_EXPORTER_WEBHOOK_PATH": "/a", "AEP_EXPORTER_WEB_LISTEN_ADDRESS": ":10464"})
    assert settings == load("replay", [], {})[0]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"AEP_EXPORTER_CLIENT_ID": "abc"}, "did you mean AEP_EXPORTER_WEBHOOK_CLIENT_ID?"),
        ({"AEP_EXPORTER_SIGN": "true"}, "unknown variable AEP_EXPORTER_SIGN"),
        ({"AEP_EXPORTER_SPEED": "96"}, "unknown variable AEP_EXPORTER_SPEED"),
    ],
)
def test_serve_refuses_variables_of_other_commands(variables: dict[str, str], message: str) -> None:
    """`serve` refuses a variable that only another command takes, because it would have no effect."""
    assert message in mistakes("serve", **variables)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["--webhook.auth=token"], "needs --webhook.token", id="token-without-token"),
        pytest.param([f"--webhook.token={SECRET}", f"--webhook.token-file={TOKEN_FILE}"], "keep one", id="two-tokens"),
        pytest.param(["--webhook.auth=none", f"--webhook.token={SECRET}"], "ignores the token", id="token-unused"),
        pytest.param(["--webhook.auth=none", f"--webhook.token-file={TOKEN_FILE}"], "ignores", id="file-unused"),
        pytest.param(["--webhook.path=/metrics"], "or below it", id="same-paths"),
        pytest.param(
            ["--web.listen-address=0.0.0.0:1", "--webhook.listen-address=[::]:1", f"--webhook.token={SECRET}"],
            "is the same as --web.listen-address, or one of them is every address with that port",
            id="overlapping-addresses",
        ),
    ],
)
def test_rules(words: list[str], message: str) -> None:
    """Settings that are valid one by one and do not go together are refused."""
    assert message in mistakes("serve", words)


def test_rules_about_refused_values() -> None:
    """If a value is refused, no rule is reported that would read it."""
    assert mistakes("serve", ["--webhook.auth=token", "--webhook.token=short"]).count("\n") == 0
    assert mistakes("serve", ["--web.listen-address=:80", "--webhook.token=short"]).count("\n") == 0


NEARBY = [
    "http://127.0.0.1:1/w",
    "http://127.1/w",
    "http://127.0.0.1./w",
    "http://0x7f.0.0.1/w",
    "http://2130706433/w",
    "http://0.0.0.0:10464/w",
    "http://[::1]/w",
    "http://[::ffff:127.0.0.1]/w",
    "https://localhost/w",
    "https://LOCALHOST./w",
    "http://exporter:10464/w",
]
FAR = [
    "http://192.0.2.1/w",
    "http://3221225985/w",
    "http://192.513/w",
    "https://exporter.example/w",
    "https://localhost.example/w",
    "http://[2001:db8::1]/w",
    "http://[::ffff:192.0.2.1]/w",
    "http://127.0.0.1.example/w",
]


@pytest.mark.parametrize("url", NEARBY)
def test_nearby_webhooks(url: str) -> None:
    """This machine, and hosts without a domain, need no --allow-remote."""
    assert simulate(f"--url={url}").url == url


@pytest.mark.parametrize("url", FAR)
def test_remote_webhooks(url: str) -> None:
    """Another machine needs --allow-remote, because its exporter could not take the simulated runs back."""
    assert "--allow-remote" in mistakes("simulate", [f"--url={url}"])
    assert simulate(f"--url={url}", "--allow-remote").url == url


@pytest.mark.parametrize(
    ("words", "is_refused"),
    [
        (["--keys.listen-address=127.0.0.1:10466"], True),
        (["--keys.listen-address=127.0.0.1:10467", "--sign"], False),
        (["--sign"], False),
        ([], False),
    ],
)
def test_keys_need_sign(words: list[str], is_refused: bool) -> None:
    """An address for the keys without --sign is refused, not ignored."""
    words = ["--url=http://127.0.0.1/w", *words]
    if is_refused:
        assert "add --sign" in mistakes("simulate", words)
    else:
        assert simulate(*words).sign == ("--sign" in words)


BEYOND = [":10464", "0.0.0.0:10464", "[::]:10464", "192.0.2.1:10464", "exporter.example:10464"]
LOOPBACK = ["127.0.0.1:10464", "[::1]:10464", "localhost:10464"]


@pytest.mark.parametrize("address", BEYOND)
@pytest.mark.parametrize("auth", [[], ["--webhook.auth=none"]], ids=["default", "none"])
def test_an_open_webhook_is_refused(address: str, auth: list[str]) -> None:
    """Without authentication an address that other machines can reach needs --webhook.allow-unauthenticated."""
    words = [f"--web.listen-address={address}", *auth]
    assert "--webhook.allow-unauthenticated" in mistakes("serve", words)
    assert serve([*words, "--webhook.allow-unauthenticated"]).tokens == ()


@pytest.mark.parametrize("address", LOOPBACK)
def test_on_loopback_nothing_needs_authentication(address: str) -> None:
    """An address that only this machine can reach needs no authentication."""
    assert serve([f"--web.listen-address={address}"]).tokens == ()


@pytest.mark.parametrize("address", [*BEYOND, *LOOPBACK])
@pytest.mark.parametrize("auth", [[], ["--webhook.auth=token"]], ids=["default", "token"])
@pytest.mark.parametrize(
    "words", [[f"--webhook.token={SECRET}"], [f"--webhook.token-file={TOKEN_FILE}"]], ids=["flag", "file"]
)
def test_with_a_token_any_address_is_allowed(address: str, auth: list[str], words: list[str]) -> None:
    """With a token, any address can be listened on."""
    assert serve([f"--web.listen-address={address}", *auth, *words]).tokens == (SECRET,)


@pytest.mark.parametrize("text", [SECRET, SECRET + "\n", f"\n {SECRET}\r\n\n"])
def test_a_token_file_holds_a_token(folder: Path, text: str) -> None:
    """White space around the token in its file is not part of it, because editors add it."""
    (folder / TOKEN_FILE).write_text(text, encoding="utf-8")
    assert serve([f"--webhook.token-file={TOKEN_FILE}"]).tokens == (SECRET,)


def test_a_token_comes_through_a_pipe() -> None:
    """A token file can be a pipe, as a shell's <(...) makes one, which can be read only once."""
    reading, writing = os.pipe()
    os.write(writing, SECRET.encode())
    os.close(writing)
    try:
        assert serve([f"--webhook.token-file=/dev/fd/{reading}"]).tokens == (SECRET,)
    finally:
        os.close(reading)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"s3cret", id="too-short"),
        pytest.param(b"\n \n# s3cret-s3cret-s3cret\n", id="no-line-with-a-token"),
        pytest.param(f"{SECRET}\ns3cret".encode(), id="one-of-two-too-short"),
        pytest.param(f"{SECRET},{OTHER}".encode(), id="commas"),
        pytest.param("\n".join(f"{SECRET}{number}" for number in range(101)).encode(), id="too-many"),
        pytest.param(f"{SECRET}/".encode(), id="odd-character"),
        pytest.param(SECRET.encode("utf-16"), id="utf-16"),
        pytest.param(b"\xff" * 20, id="binary"),
    ],
)
def test_a_token_file_that_holds_none(folder: Path, content: bytes) -> None:
    """A file without a valid token is refused, and the message contains nothing of it."""
    (folder / TOKEN_FILE).write_bytes(content)
    message = mistakes("serve", [f"--webhook.token-file={TOKEN_FILE}"])
    assert "--webhook.token-file" in message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        pytest.param([f"--webhook.token={SECRET}!"], {}, id="refused"),
        pytest.param(["--webhook.token", f"{SECRET}!"], {}, id="refused-after-blank"),
        pytest.param([], {"AEP_EXPORTER_WEBHOOK_TOKEN": f"{SECRET}!"}, id="variable-refused"),
        pytest.param([f"--webhook.tokn={SECRET}"], {}, id="flag-misspelt"),
        pytest.param(["--webhook.tokn", SECRET], {}, id="flag-misspelt-with-blank"),
        pytest.param([f"-webhook.token={SECRET}"], {}, id="one-dash"),
        pytest.param([], {"AEP_EXPORTER_WEBHOOK_TOKN": SECRET}, id="variable-misspelt"),
        pytest.param([f"--webhook.token={SECRET}", "--webhook.auth=none"], {}, id="conflict"),
        pytest.param([f"--webhook.token={SECRET}", f"--webhook.token-file={TOKEN_FILE}"], {}, id="two-tokens"),
        pytest.param([f"--webhook.token={SECRET}", "--nonsense"], {}, id="another-mistake"),
        pytest.param([f"--ledger.url=postgresql://aep:{SECRET}@db/ledger"], {}, id="password-in-url"),
        pytest.param([], {"AEP_EXPORTER_LEDGER_URL": f"postgres://aep:{SECRET}@db/ledger"}, id="password-in-variable"),
    ],
)
def test_no_message_contains_a_secret(words: list[str], environment: dict[str, str]) -> None:
    """However a secret is given wrongly, the message does not contain it."""
    assert "s3cret" not in mistakes("serve", words, **environment)


def test_settings_hide_secrets() -> None:
    """Settings that are printed or dumped hide the token."""
    settings = serve([f"--webhook.token={SECRET}"])
    assert settings.tokens == (SECRET,)
    for shown in (repr(settings), str(settings), repr(settings.model_dump()), settings.model_dump_json()):
        assert "s3cret" not in shown


def test_secret_settings() -> None:
    """The token is secret, and so are URLs, which may contain a password or a token."""
    secret = {name for name, each in FLAGS.items() if each.flag.is_secret}
    assert secret == {"webhook.token", "webhook.token-file", "adobe.keys-url", "ledger.url", "url"}


def test_settings_are_fixed() -> None:
    """Settings can't be changed after they are loaded."""
    settings = serve([])
    with pytest.raises(ValueError, match="frozen"):
        settings.log_level = "debug"


def _word(each: Setting, text: str) -> str:
    return f"--{each.flag.name}={text}"


texts = st.text(max_size=12) | st.sampled_from([text for _, text, _ in GOOD.values()])
words = st.builds(_word, st.sampled_from(list(FLAGS.values())), texts) | texts | texts.map("--".__add__)
environments = st.dictionaries(st.sampled_from([variable(name) for name in FLAGS]) | st.text(max_size=5), texts)


def loaded(command: str, words_: list[str], environment: dict[str, str]) -> Settings | str:
    """The settings, or the message that refuses them."""
    try:
        return load(command, words_, environment)[0]
    except SettingsError as error:
        return str(error)


@given(st.sampled_from(["serve", "replay", "simulate"]), st.lists(words, max_size=6), environments)
def test_settings_or_a_message(command: str, words_: list[str], environment: dict[str, str]) -> None:
    """Whatever is given, the result is settings or a message."""
    assert loaded(command, words_, environment)


class Sample(Settings):
    """Settings of which one rule has a defect."""

    size: int = setting("size", "1", "A size.")
    limit: int | None = setting("limit", None, "A limit.")

    def rules(self) -> list[Rule]:
        """One rule that reads what no settings class has."""
        return [self._check]

    def _check(self) -> Iterator[str]:
        if self.limit is not None and self.size > self.limit:
            yield "--size is above --limit"
        if self.size == 7:
            yield self.unknown  # type: ignore[attr-defined]


def test_a_rule_is_typed() -> None:
    """A rule reads valid values as attributes, and ends where it reads a refused one."""
    assert load_settings(Sample, ["--size=2", "--limit=3"], {})[0].size == 2
    with pytest.raises(SettingsError, match=r"^--size is above --limit$"):
        load_settings(Sample, ["--size=2", "--limit=1"], {})
    with pytest.raises(SettingsError) as refused:
        load_settings(Sample, ["--size=2", "--limit=a"], {})
    assert str(refused.value).startswith("--limit=a: ")
    assert "above" not in str(refused.value)


def test_a_defect_in_a_rule_is_raised() -> None:
    """A rule that reads an attribute that does not exist is a defect, and not taken for a refused value."""
    with pytest.raises(AttributeError, match="unknown"):
        load_settings(Sample, ["--size=7"], {})


def test_the_table_of_settings() -> None:
    """The table for the documentation has a row for each flag, with its default and its variable."""
    rows = settings_table("forget").splitlines()
    assert rows[0] == "| flag | default | variable | |"
    assert rows[2].startswith("| `--flow` | required | `AEP_EXPORTER_FLOW` | ")
    assert [row.split("`")[1] for row in rows[2:]] == ["--flow", "--ledger.url", "--log.level", "--log.format"]
    assert load_settings(ForgetSettings, ["--flow=a"], {})[0].flow == "a"
    assert "/webhook/&lt;token>" in settings_table("serve")


@pytest.mark.parametrize(
    ("address", "words", "has_passwords", "expected"),
    [
        ("127.0.0.1:10464", [], False, "full"),
        ("[::1]:10464", [], False, "full"),
        (":10464", [], False, "summary"),
        ("192.0.2.1:10464", [], False, "summary"),
        (":10464", [], True, "full"),
        (":10464", ["--web.pages=full"], False, "full"),
        ("127.0.0.1:10464", ["--web.pages=summary"], True, "summary"),
        ("127.0.0.1:10464", ["--web.pages=off"], True, "off"),
    ],
)
def test_what_pages_show(address: str, words: list[str], has_passwords: bool, expected: str) -> None:
    """Messages and bodies are on pages only where they are for this machine or behind passwords, or where asked for."""
    settings = serve([f"--web.listen-address={address}", "--webhook.token=" + SECRET, *words])
    assert settings.pages(has_passwords=has_passwords) == expected


@pytest.mark.parametrize("page", PAGE_PATHS)
@pytest.mark.parametrize("flag", ["--web.telemetry-path", "--webhook.path"])
def test_a_page_keeps_its_path(page: str, flag: str) -> None:
    """Neither the metrics nor the webhook, below which no password is asked for, take the path of a page."""
    for path in (page, f"{page}/below"):
        assert f"{flag}={path} is at or below a page's path ({page})" in mistakes("serve", [f"{flag}={path}"])
        assert serve([f"{flag}={path}", "--web.pages=off"])
    assert serve([f"{flag}={page}-of-ours"])


@pytest.mark.parametrize("text", ["acme", "@acme", "ABC123@AdobeOrg", "@ABC123@AdobeOrg"])
def test_a_tenant_has_no_mark_before_it(text: str) -> None:
    """The tenant may be copied with the @ that is before it in addresses, and may be an organisation's id."""
    assert serve([f"--adobe.tenant={text}"]).adobe_tenant == text.removeprefix("@")
