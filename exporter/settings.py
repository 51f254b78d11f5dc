"""The one declaration of every setting: flag, environment variable, default, bounds and help.

Flags (`--web.listen-address`), variables (`AEP_EXPORTER_WEB_LISTEN_ADDRESS`), `--help` and the README's table all come
from the fields of `Settings`. Everything that is wrong is named in one message: unknown flags, unknown variables, bad
values, settings that don't go together. A flag beats its variable. Secrets are never part of a message.

argparse ends at the first mistake, so flags are taken apart here; values are pydantic's.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from exporter import parsers
from exporter.conflicts import conflicts
from exporter.errors import SettingsError

ENVIRONMENT_PREFIX: Final = "AEP_EXPORTER_"
# What Kubernetes puts into every container for a Service of this name.
_SERVICE_LINK = re.compile(ENVIRONMENT_PREFIX + r"(?:SERVICE_HOST|SERVICE_PORT(?:_.*)?|PORT(?:_[0-9]+_.*)?)")
SERVE: Final = "serve"
REPLAY: Final = "replay"
FORGET: Final = "forget"
SIMULATE: Final = "simulate"

Duration = Annotated[timedelta, BeforeValidator(parsers.duration)]
Count = Annotated[int, BeforeValidator(parsers.count)]
FlowId = Annotated[str, BeforeValidator(parsers.flow_id)]
Size = Annotated[int, BeforeValidator(parsers.size)]
ListenAddress = Annotated[parsers.Address, BeforeValidator(parsers.address)]
UrlPath = Annotated[str, BeforeValidator(parsers.url_path)]
Boolean = Annotated[bool, BeforeValidator(parsers.boolean)]
LedgerUrl = Annotated[str, BeforeValidator(parsers.ledger_url)]
ClientIds = Annotated[frozenset[str], BeforeValidator(parsers.client_ids)]
WebhookUrl = Annotated[str, BeforeValidator(parsers.webhook_url)]
Seed = Annotated[int, BeforeValidator(parsers.seed)]
Speed = Annotated[float, BeforeValidator(parsers.speed)]
ClientId = Annotated[str, BeforeValidator(parsers.client_id)]
KeysUrl = Annotated[str, BeforeValidator(parsers.keys_url)]
Token = Annotated[SecretStr, BeforeValidator(parsers.token)]
ExistingFile = Annotated[Path, BeforeValidator(parsers.existing_file)]
TokenFile = Annotated[SecretStr, BeforeValidator(parsers.token_file)]


@dataclass(frozen=True, slots=True)
class Flag:
    """What a field's flag is called and who takes it; `shown` is its default as a person writes it."""

    name: str
    shown: str
    commands: tuple[str, ...] = (SERVE,)
    may_hold_secret: bool = False
    """Whether its value is left out of messages."""

    @property
    def variable(self) -> str:
        """The environment variable that does the same."""
        return ENVIRONMENT_PREFIX + self.name.upper().replace(".", "_").replace("-", "_")


def _setting(name: str, default: str | None, help_: str, *commands: str, may_hold_secret: bool = False) -> Any:  # noqa: ANN401 - as pydantic's Field
    """A field that is a setting; its default is written as a person would, and validated like any other value."""
    # pydantic carries it along for us; no schema is ever made of it.
    extra: Any = {"flag": Flag(name, default or "", commands or (SERVE,), may_hold_secret)}
    return Field(default=default, description=help_, json_schema_extra=extra)


class Settings(BaseModel):
    """Every setting, as values that can be used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    web_listen_address: ListenAddress = _setting(
        "web.listen-address", "127.0.0.1:10464", "Address for metrics, pages and the webhook; :10464 means all."
    )
    web_telemetry_path: UrlPath = _setting("web.telemetry-path", "/metrics", "Path of the metrics.")
    web_config_file: ExistingFile | None = _setting(
        "web.config.file", None, "TLS and basic authentication, in the format of Prometheus's exporters."
    )
    webhook_listen_address: ListenAddress | None = _setting(
        "webhook.listen-address", None, "Address of a listener of its own for the webhook and the probes."
    )
    webhook_path: UrlPath = _setting("webhook.path", "/webhook", "Path that Adobe posts to.")
    webhook_auth: Literal["adobe", "token", "none"] | None = _setting(
        "webhook.auth",
        None,
        "How senders prove who they are: adobe (signatures), token or none (default: adobe with a client id, token "
        "with a token, else none).",
    )
    webhook_client_id: ClientIds | None = _setting(
        "webhook.client-id", None, "Client ids of our registrations, separated by commas."
    )
    webhook_allow_missing_client_id: Boolean = _setting(
        "webhook.allow-missing-client-id", "false", "Take signed deliveries that name no client id."
    )
    webhook_token: Token | None = _setting(
        "webhook.token", None, "Secret that the path must end in: /webhook/<token>.", may_hold_secret=True
    )
    webhook_token_file: TokenFile | None = _setting(
        "webhook.token-file", None, "File that holds the token, instead of the flag.", may_hold_secret=True
    )
    webhook_max_body: Size = _setting("webhook.max-body", "4MiB", "Largest delivery that is read.")
    webhook_auto_validate: Boolean = _setting(
        "webhook.auto-validate", "false", "Open the address by which Adobe asks for the webhook to be confirmed."
    )
    webhook_allow_unauthenticated: Boolean = _setting(
        "webhook.allow-unauthenticated",
        "false",
        "Take anybody's word on an address that others can reach; for a proxy that authenticates.",
    )
    adobe_keys_url: KeysUrl = _setting(
        "adobe.keys-url",
        "https://static.adobeioevents.com",
        "Where Adobe's public keys are; for a private mirror.",
        may_hold_secret=True,
    )
    ledger_url: LedgerUrl = _setting(
        "ledger.url",
        "sqlite:///data/ledger.db",
        "Where notifications are kept; four slashes begin an absolute path.",
        SERVE,
        REPLAY,
        FORGET,
        may_hold_secret=True,
    )
    ledger_max_size: Size | None = _setting(
        "ledger.max-size", None, "Size of the ledger above which deliveries are refused with 503."
    )
    ledger_retention: Duration = _setting(
        "ledger.retention",
        "90d",
        "How long facts are kept, at least; replay takes no runs that ended before that.",
        SERVE,
        REPLAY,
    )
    series_hold: Duration = _setting(
        "series.hold",
        "150s",
        "How long a new series shows 0 first: at least two scrape intervals and 30 s; 0s turns it off.",
    )
    series_ttl: Duration = _setting(
        "series.ttl",
        "45d",
        "How long a flow stays on /metrics for which nothing is recorded; three of its intervals if that is longer.",
    )
    series_max_flows: Count = _setting(
        "series.max-flows",
        "2000",
        "Pairs of flow and sandbox that are shown one by one; further ones are counted as other.",
    )
    metrics_start_timestamps: Boolean = _setting(
        "metrics.start-timestamps",
        "false",
        "Say in OpenMetrics when each series began; for Prometheus with created-timestamp-zero-ingestion.",
    )
    flow: FlowId | None = _setting("flow", None, "Id of the flow that was deleted on purpose.", FORGET)
    url: WebhookUrl | None = _setting(
        "url",
        None,
        "Whole address of the webhook to send to, with its token if it has one.",
        SIMULATE,
        may_hold_secret=True,
    )
    allow_remote: Boolean = _setting(
        "allow-remote",
        "false",
        "Send to another machine: an exporter there keeps for good what it is told.",
        SIMULATE,
    )
    seed: Seed | None = _setting(
        "seed",
        None,
        "Number that decides everything: the same again sends the same again (default: another each time).",
        SIMULATE,
    )
    flows: Count = _setting(
        "flows", "40", "How many flows the organisation has; from 24 on everything occurs.", SIMULATE
    )
    since: Duration | None = _setting(
        "since", None, "First send, at once, what happened in this time before now: 7d for a week.", SIMULATE
    )
    duration: Duration | None = _setting(
        "duration",
        None,
        "Simulated time to go on for, from now; 0s ends after what --since sent (default: until it is stopped).",
        SIMULATE,
    )
    speed: Speed = _setting(
        "speed", "1", "How many times faster than real time: 672 makes a week take a quarter of an hour.", SIMULATE
    )
    client_id: ClientId | None = _setting(
        "client-id", None, "Client id that the notifications are meant for: one of the receiver's.", SIMULATE
    )
    sign: Boolean = _setting(
        "sign",
        "false",
        "Sign as Adobe does, and serve the public keys for the receiver's --adobe.keys-url.",
        SIMULATE,
    )
    keys_listen_address: ListenAddress = _setting(
        "keys.listen-address", "127.0.0.1:10466", "Address at which the public keys are served, with --sign.", SIMULATE
    )
    log_level: Literal["debug", "info", "warn", "error"] = _setting(
        "log.level",
        "info",
        "Least important messages to log: debug, info, warn or error.",
        SERVE,
        REPLAY,
        FORGET,
        SIMULATE,
    )
    log_format: Literal["logfmt", "json"] = _setting(
        "log.format", "logfmt", "How messages are written: logfmt or json.", SERVE, REPLAY, FORGET, SIMULATE
    )

    @property
    def authentication(self) -> Literal["adobe", "token", "none"]:
        """How senders prove who they are, said or concluded."""
        if self.webhook_auth is not None:
            return self.webhook_auth
        if self.webhook_client_id:
            return "adobe"
        return "none" if self.token is None else "token"

    @property
    def token(self) -> str | None:
        """The token, wherever it was given."""
        secret = self.webhook_token or self.webhook_token_file
        return secret.get_secret_value() if secret is not None else None


class Declared(NamedTuple):
    """One setting as it is declared."""

    field: str
    flag: Flag
    info: FieldInfo

    @property
    def is_boolean(self) -> bool:
        """Whether the flag alone means true."""
        return self.info.annotation is bool


def declared() -> list[Declared]:
    """Every setting, in the order of its declaration."""
    found: list[Declared] = []
    for field, info in Settings.model_fields.items():
        extra: Any = info.json_schema_extra
        found.append(Declared(field, extra["flag"], info))
    return found


def load(command: str, flags: Sequence[str], environment: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """The settings of a command from its flags and the environment, and the words that are no flags.

    Raises SettingsError with every mistake, each with what to do about it.
    """
    settings = declared()
    mistakes: list[str] = []
    # Those of `serve` are set for a whole container, whichever command runs in it; of others only this command's own.
    in_reach = [each for each in settings if {command, SERVE} & set(each.flag.commands)]
    raw = _from_environment(in_reach, environment, mistakes)
    given, words = _from_flags([each for each in settings if command in each.flag.commands], flags, mistakes)
    raw.update(given)
    values = _validated(settings, raw, mistakes)
    own = {each.field for each in settings if command in each.flag.commands}
    values = {field: value for field, value in values.items() if field in own}
    mistakes += conflicts(values, raw.keys())
    if mistakes:
        raise SettingsError("\n".join(mistakes))
    return Settings.model_construct(**{**_validated(settings, {}, []), **values}), words


def _from_environment(
    settings: list[Declared], environment: Mapping[str, str], mistakes: list[str]
) -> dict[str, tuple[str, str]]:
    """Field to value and where it came from."""
    by_variable = {each.flag.variable: each for each in settings}
    raw: dict[str, tuple[str, str]] = {}
    for variable, value in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or _SERVICE_LINK.fullmatch(variable):
            continue
        known = by_variable.get(variable)
        if known is None:
            mistakes.append(f"unknown variable {variable}{_did_you_mean(variable, by_variable)}")
        elif not value:
            mistakes.append(f"{variable} is empty: give it a value or unset it")
        else:
            raw[known.field] = (value, variable)
    return raw


def _from_flags(
    settings: list[Declared], words: Sequence[str], mistakes: list[str]
) -> tuple[dict[str, tuple[str, str]], list[str]]:
    by_flag = {"--" + each.flag.name: each for each in settings}
    raw: dict[str, tuple[str, str]] = {}
    rest: list[str] = []
    pending = list(words)
    while pending:
        word = pending.pop(0)
        if word == "--":
            rest += pending
            break
        if not word.startswith("-") or word == "-":
            rest.append(word)
            continue
        name, equals, value = word.partition("=")
        known = by_flag.get(name)
        negated = by_flag.get("--" + name.removeprefix("--no-"))
        if known is None and negated is not None and negated.is_boolean and not equals:
            raw[negated.field] = ("false", name)
        elif known is None:
            mistakes.append(_unknown_flag(name, by_flag))
        elif equals:
            raw[known.field] = (value, name)
        elif known.is_boolean:
            raw[known.field] = ("true", name)
        elif pending and not pending[0].startswith("--"):
            raw[known.field] = (pending.pop(0), name)
        else:
            mistakes.append(f"{name} needs a value: {name}={known.flag.shown or '...'}")
    return raw, rest


def _unknown_flag(name: str, known: Mapping[str, Declared]) -> str:
    """What to say of a flag that there is not, without a secret that was run together with it."""
    flag, *more = name.split() or [name]
    for each in known.values():
        secret = "--" + each.flag.name
        if each.flag.may_hold_secret and flag != secret and flag.startswith(secret):
            return f"unknown flag that begins with {secret}: write {secret}=..."
    return f"unknown flag {flag}{': leave its value out of the quotes' if more else _did_you_mean(flag, known)}"


def _validated(settings: list[Declared], raw: Mapping[str, tuple[str, str]], mistakes: list[str]) -> dict[str, Any]:
    """Each value as its type; those that are none are named, and left out."""
    values: dict[str, Any] = {}
    for each in settings:
        text, origin = raw.get(each.field, (each.info.default, "the default"))
        if text is None:
            values[each.field] = None
            continue
        try:
            values[each.field] = _adapter(each).validate_python(text)
        except ValidationError as error:
            shown = "" if each.flag.may_hold_secret else f"={text}"
            mistakes.append(f"{origin}{shown}: {_reasons(error)}")
    return values


def _adapter(each: Declared) -> TypeAdapter[Any]:
    annotation: Any = each.info.annotation
    return TypeAdapter(Annotated[annotation, *each.info.metadata] if each.info.metadata else annotation)


def _reasons(error: ValidationError) -> str:
    found = dict.fromkeys(
        str(detail["ctx"]["error"]) if "error" in detail.get("ctx", {}) else str(detail["msg"]).lower()
        for detail in error.errors(include_url=False, include_input=False)
        if detail["type"] != "none_required"
    )
    return "; ".join(found)


def _did_you_mean(word: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f": did you mean {close[0]}?" if close else ""
