"""Flags and variables to settings, and every mistake in one message."""

import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from exporter.errors import SettingsError
from exporter.parsers import Address
from exporter.settings import REPLAY, SERVE, SIMULATE, Declared, Settings, declared, load

SECRET = "s3cret-s3cret-s3cret"
TOKEN_FILE = "token.txt"

FLAGS = {each.flag.name: each for each in declared()}

# For each flag: its default (contract 2.1), another value, and what that is.
GOOD: dict[str, tuple[str, str, object]] = {
    "web.listen-address": ("127.0.0.1:10464", "[::1]:9999", Address("::1", 9999)),
    "web.telemetry-path": ("/metrics", "/prometheus", "/prometheus"),
    "web.config.file": ("", TOKEN_FILE, Path(TOKEN_FILE)),
    "webhook.listen-address": ("", "127.0.0.1:9998", Address("127.0.0.1", 9998)),
    "webhook.path": ("/webhook", "/adobe/events", "/adobe/events"),
    "webhook.auth": ("", "none", "none"),
    "webhook.client-id": ("", "one, two", frozenset({"one", "two"})),
    "webhook.allow-missing-client-id": ("false", "true", True),
    "webhook.token": ("", SECRET, SecretStr(SECRET)),
    "webhook.token-file": ("", TOKEN_FILE, SecretStr(SECRET)),
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
    "seed": ("", "0", 0),
    "flows": ("40", "1", 1),
    "since": ("", "7d", timedelta(days=7)),
    "duration": ("", "0s", timedelta()),
    "speed": ("1", "0.5", 0.5),
    "client-id": ("", "one", "one"),
    "sign": ("false", "true", True),
    "keys.listen-address": ("127.0.0.1:10466", ":9997", Address("", 9997)),
    "log.level": ("info", "debug", "debug"),
    "log.format": ("logfmt", "json", "json"),
}

BAD: dict[str, Iterable[str]] = {
    "web.listen-address": ["10464", "::1:80", "localhost", "127.0.0.1:99999"],
    "web.telemetry-path": ["metrics", "/", "/metrics/", "/a b"],
    "web.config.file": ["none.yml", "."],
    "webhook.listen-address": ["9998", "::1:80", "127.0.0.1"],
    "webhook.path": ["webhook", "/", "/{token}", "/a=b"],
    "webhook.auth": ["basic", "None", "TOKEN", "none "],
    "webhook.client-id": [",", "a b", "a,,b"],
    "webhook.allow-missing-client-id": ["1", "yes"],
    "webhook.token": ["short", "with a blank in it", "with/a/slash/in/it"],
    "webhook.token-file": ["none.txt", ".", "x" * 300],
    "webhook.max-body": ["-1", "4.5MiB", "lots"],
    "webhook.auto-validate": ["1", "on"],
    "webhook.allow-unauthenticated": ["1", "yes", "TRUE"],
    "adobe.keys-url": ["static.adobeioevents.com", "http://evil.example", "https://a@b", "https://a/?b", "ftp://a"],
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
    "seed": ["-1", "lucky", "1" * 19],
    "flows": ["0", "-1", "all", "10001"],
    "since": ["7", "yesterday", "36d"],
    "duration": ["7", "for ever"],
    "speed": ["0", "0.0", "-1", "fast", "1e3", "inf"],
    "client-id": ["a b", "a,b"],
    "sign": ["1", "yes"],
    "keys.listen-address": ["10466", "::1:80"],
    "log.level": ["loud", "INFO", "warning"],
    "log.format": ["xml", "JSON"],
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of the test's own, with a file that holds a token."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / TOKEN_FILE).write_text(SECRET + "\n", encoding="utf-8")
    return tmp_path


def mistakes(command: str, flags: Sequence[str] = (), **environment: str) -> str:
    """The message that refuses these settings."""
    with pytest.raises(SettingsError) as refused:
        load(command, flags, environment)
    return str(refused.value)


ALONG = {"keys.listen-address": ["--sign"]}
"""What a flag is refused without."""


def variable(name: str) -> str:
    """A flag's environment twin."""
    return "AEP_EXPORTER_" + name.upper().replace(".", "_").replace("-", "_")


def command_of(name: str) -> str:
    """A command that takes the flag."""
    return FLAGS[name].flag.commands[0]


flags = pytest.mark.parametrize("name", FLAGS)


def test_every_setting_is_in_these_tables() -> None:
    """A new flag needs a good and a bad value here."""
    assert list(GOOD) == list(BAD) == list(FLAGS)


@flags
def test_a_declaration_is_complete(name: str) -> None:
    """Each flag has its twin, a line of help, and the default that the contract gives."""
    flag, info = FLAGS[name].flag, FLAGS[name].info
    assert flag.variable == variable(name)
    assert flag.shown == GOOD[name][0]
    assert info.description
    assert info.description.endswith((".", ").", ")"))


@flags
def test_a_flag_and_its_variable_do_the_same(name: str) -> None:
    """A value given as --flag=value, as --flag value or by the variable is the same value, and not the default."""
    command, field, (_, text, value) = command_of(name), FLAGS[name].field, GOOD[name]
    along = ALONG.get(name, [])
    given_ = [load(command, [f"--{name}={text}", *along], {}), load(command, along, {variable(name): text})]
    if not FLAGS[name].is_boolean:
        given_.append(load(command, [f"--{name}", text, *along], {}))
    default = load(command, along, {})[0]
    for settings, words in given_:
        assert getattr(settings, field) == value
        assert words == []
        assert settings.model_dump(exclude={field}) == default.model_dump(exclude={field})
    assert getattr(default, field) != value


@flags
def test_a_flag_beats_its_variable(name: str) -> None:
    """Where a flag is given its variable is not asked, not even for a value that would be refused."""
    words = [f"--{name}={GOOD[name][1]}", *ALONG.get(name, [])]
    settings, _ = load(command_of(name), words, {variable(name): next(iter(BAD[name]))})
    assert getattr(settings, FLAGS[name].field) == GOOD[name][2]


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in [*texts, ""]])
def test_bad_values(name: str, text: str) -> None:
    """A value that is none is refused under the name that it was given by, as flag and as variable."""
    assert f"--{name}" in mistakes(command_of(name), [f"--{name}={text}"])
    by_variable = mistakes(command_of(name), **{variable(name): text})
    assert variable(name) in by_variable or f"--{name}" in by_variable


@flags
def test_a_flag_needs_its_value(name: str) -> None:
    """A flag at the end, or with another flag after it, lacks its value; only a boolean alone means true."""
    for words in ([f"--{name}"], [f"--{name}", "--log.level=info"]):
        if FLAGS[name].is_boolean:
            assert getattr(load(command_of(name), words, {})[0], FLAGS[name].field) is True
        else:
            assert f"--{name} needs a value" in mistakes(command_of(name), words)


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
    """A boolean flag stands alone, with its value, or with no- before it."""
    assert load(SERVE, words, {})[0].webhook_allow_unauthenticated is value


def test_all_mistakes_in_one_message() -> None:
    """Unknown flags, unknown variables, bad values and conflicts are all named at once, a line for each."""
    message = mistakes(
        SERVE,
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
        "--web.telemetry-path is the webhook's path or below it",
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
@pytest.mark.parametrize("command", [SERVE, REPLAY])
def test_unknown_flags(command: str, words: list[str], named: str) -> None:
    """A flag that there is not is named, whichever way it is written."""
    assert f"unknown flag {named}" in mistakes(command, words)


@pytest.mark.parametrize(
    "name", ["AEP_EXPORTER_NONSENSE", "AEP_EXPORTER_", "AEP_EXPORTER_WEB__PATH", "AEP_EXPORTER_log_level"]
)
def test_unknown_variables(name: str) -> None:
    """A variable with our prefix that there is not is named; other programs' variables are not looked at."""
    assert f"unknown variable {name}" in mistakes(SERVE, **{name: "x"})
    load(SERVE, [], {"HOME": "/", "AEP_OTHER": "", "": "x", "XAEP_EXPORTER_LOG_LEVEL": "loud"})


def test_words_that_are_no_flags() -> None:
    """Words are handed back in their order; a lone dash is a word, and after two dashes everything is."""
    words = ["a.json", "--log.level", "debug", "-", "--log.format=json", "b=c", "--", "--nonsense", "--", "-x"]
    settings, rest = load(REPLAY, words, {})
    assert rest == ["a.json", "-", "b=c", "--nonsense", "--", "-x"]
    assert (settings.log_level, settings.log_format) == ("debug", "json")


def test_settings_of_other_commands() -> None:
    """A command refuses another's flags, but lives with serve's variables: these are set for the whole container."""
    assert "unknown flag --webhook.path" in mistakes(REPLAY, ["--webhook.path=/a"])
    settings, _ = load(REPLAY, [], {"AEP_EXPORTER_WEBHOOK_PATH": "/a", "AEP_EXPORTER_WEB_LISTEN_ADDRESS": ":10464"})
    assert settings == load(REPLAY, [], {})[0]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"AEP_EXPORTER_CLIENT_ID": "abc"}, "did you mean AEP_EXPORTER_WEBHOOK_CLIENT_ID?"),
        ({"AEP_EXPORTER_SIGN": "true"}, "unknown variable AEP_EXPORTER_SIGN"),
        ({"AEP_EXPORTER_SPEED": "96"}, "unknown variable AEP_EXPORTER_SPEED"),
    ],
)
def test_serve_ignores_no_variable(variables: dict[str, str], message: str) -> None:
    """A variable that only another command takes is refused by `serve`: who set it believes that it does something."""
    assert message in mistakes(SERVE, **variables)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["--webhook.auth=token"], "needs --webhook.token", id="token-without-token"),
        pytest.param([f"--webhook.token={SECRET}", f"--webhook.token-file={TOKEN_FILE}"], "keep one", id="two-tokens"),
        pytest.param(["--webhook.auth=none", f"--webhook.token={SECRET}"], "ignores the token", id="token-unused"),
        pytest.param(["--webhook.auth=none", f"--webhook.token-file={TOKEN_FILE}"], "ignores", id="file-unused"),
        pytest.param(["--webhook.path=/metrics"], "or below it", id="same-paths"),
    ],
)
def test_conflicts(words: list[str], message: str) -> None:
    """Settings that are each right and don't go together are refused."""
    assert message in mistakes(SERVE, words)


def test_a_conflict_with_a_refused_value_is_none() -> None:
    """Where a value is refused nothing is concluded from its absence."""
    assert mistakes(SERVE, ["--webhook.auth=token", "--webhook.token=short"]).count("\n") == 0
    assert mistakes(SERVE, ["--web.listen-address=:80", "--webhook.token=short"]).count("\n") == 0


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
def test_what_is_simulated_goes_to_this_machine(url: str) -> None:
    """This machine and neighbours without a domain are sent to as they are."""
    assert load(SIMULATE, [f"--url={url}"], {})[0].url == url


@pytest.mark.parametrize("url", FAR)
def test_what_is_simulated_goes_to_no_other_by_accident(url: str) -> None:
    """Another machine is sent to only where that is asked for: its exporter could not forget what it was told."""
    assert "--allow-remote" in mistakes(SIMULATE, [f"--url={url}"])
    assert load(SIMULATE, [f"--url={url}", "--allow-remote"], {})[0].url == url


@pytest.mark.parametrize(
    ("words", "is_refused"),
    [
        (["--keys.listen-address=127.0.0.1:10466"], True),
        (["--keys.listen-address=127.0.0.1:10467", "--sign"], False),
        (["--sign"], False),
        ([], False),
    ],
)
def test_keys_of_nothing_are_not_served(words: list[str], is_refused: bool) -> None:
    """An address for keys that nothing is signed with is refused, not ignored."""
    words = ["--url=http://127.0.0.1/w", *words]
    if is_refused:
        assert "add --sign" in mistakes(SIMULATE, words)
    else:
        assert load(SIMULATE, words, {})[0].url is not None


BEYOND = [":10464", "0.0.0.0:10464", "[::]:10464", "192.0.2.1:10464", "exporter.example:10464"]
LOOPBACK = ["127.0.0.1:10464", "[::1]:10464", "localhost:10464"]


@pytest.mark.parametrize("address", BEYOND)
@pytest.mark.parametrize("auth", [[], ["--webhook.auth=none"]], ids=["default", "none"])
def test_anybodys_word_is_not_taken_from_afar(address: str, auth: list[str]) -> None:
    """Without authentication an address that others can reach is refused, unless that is asked for by its name."""
    words = [f"--web.listen-address={address}", *auth]
    assert "--webhook.allow-unauthenticated" in mistakes(SERVE, words)
    assert load(SERVE, [*words, "--webhook.allow-unauthenticated"], {})[0].token is None


@pytest.mark.parametrize("address", LOOPBACK)
def test_on_loopback_nothing_needs_authentication(address: str) -> None:
    """On an address that only this machine reaches nobody has to prove anything."""
    assert load(SERVE, [f"--web.listen-address={address}"], {})[0].token is None


@pytest.mark.parametrize("address", [*BEYOND, *LOOPBACK])
@pytest.mark.parametrize("auth", [[], ["--webhook.auth=token"]], ids=["default", "token"])
@pytest.mark.parametrize(
    "words", [[f"--webhook.token={SECRET}"], [f"--webhook.token-file={TOKEN_FILE}"]], ids=["flag", "file"]
)
def test_with_a_token_any_address_will_do(address: str, auth: list[str], words: list[str]) -> None:
    """Where a token is set it is what senders need, wherever it listens."""
    assert load(SERVE, [f"--web.listen-address={address}", *auth, *words], {})[0].token == SECRET


@pytest.mark.parametrize("text", [SECRET, SECRET + "\n", f"\n {SECRET}\r\n\n"])
def test_a_token_file_holds_a_token(folder: Path, text: str) -> None:
    """What stands around the token in its file is not part of it: editors add it."""
    (folder / TOKEN_FILE).write_text(text, encoding="utf-8")
    assert load(SERVE, [f"--webhook.token-file={TOKEN_FILE}"], {})[0].token == SECRET


def test_a_token_comes_through_a_pipe() -> None:
    """What a shell's <(...) gives, which can be read once, is a token file like any other."""
    reading, writing = os.pipe()
    os.write(writing, SECRET.encode())
    os.close(writing)
    try:
        assert load(SERVE, [f"--webhook.token-file=/dev/fd/{reading}"], {})[0].token == SECRET
    finally:
        os.close(reading)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"s3cret", id="too-short"),
        pytest.param(f"{SECRET}\n{SECRET}".encode(), id="two-lines"),
        pytest.param(f"{SECRET}/".encode(), id="odd-character"),
        pytest.param(SECRET.encode("utf-16"), id="utf-16"),
        pytest.param(b"\xff" * 20, id="binary"),
    ],
)
def test_a_token_file_that_holds_none(folder: Path, content: bytes) -> None:
    """A file without a token that could be used is refused, and nothing of it is told."""
    (folder / TOKEN_FILE).write_bytes(content)
    message = mistakes(SERVE, [f"--webhook.token-file={TOKEN_FILE}"])
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
def test_a_refusal_tells_no_secret(words: list[str], environment: dict[str, str]) -> None:
    """However a secret was given wrongly, the message is without it."""
    assert "s3cret" not in mistakes(SERVE, words, **environment)


def test_settings_tell_no_secret() -> None:
    """Settings that are shown, as text or as fields, hide the token."""
    settings, _ = load(SERVE, [f"--webhook.token={SECRET}"], {})
    assert settings.token == SECRET
    for shown in (repr(settings), str(settings), repr(settings.model_dump()), settings.model_dump_json()):
        assert "s3cret" not in shown


def test_secrets_are_known_as_such() -> None:
    """The token is secret, and a ledger's URL may hold a password."""
    assert [each.flag.name for each in declared() if each.flag.may_hold_secret] == [
        "webhook.token",
        "webhook.token-file",
        "adobe.keys-url",
        "ledger.url",
        "url",
    ]


def test_settings_are_fixed() -> None:
    """Settings can't be changed once they are read."""
    settings, _ = load(SERVE, [], {})
    with pytest.raises(ValueError, match="frozen"):
        settings.log_level = "debug"


def _word(each: Declared, text: str) -> str:
    return f"--{each.flag.name}={text}"


texts = st.text(max_size=12) | st.sampled_from([text for _, text, _ in GOOD.values()])
words = st.builds(_word, st.sampled_from(declared()), texts) | texts | texts.map("--".__add__)
environments = st.dictionaries(st.sampled_from([variable(name) for name in FLAGS]) | st.text(max_size=5), texts)


def loaded(command: str, words_: list[str], environment: dict[str, str]) -> Settings | str:
    """The settings, or why there are none."""
    try:
        return load(command, words_, environment)[0]
    except SettingsError as error:
        return str(error)


@given(st.sampled_from([SERVE, REPLAY, SIMULATE]), st.lists(words, max_size=6), environments)
def test_settings_or_a_message(command: str, words_: list[str], environment: dict[str, str]) -> None:
    """Whatever is given, there are settings, or there is a message that says why not."""
    assert loaded(command, words_, environment)
