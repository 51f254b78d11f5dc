"""How settings are declared, and how they are read from flags and environment variables.

A setting is a field of a settings class and is made by `setting`. Its flag (`--web.listen-address`), its variable
(`AEP_EXPORTER_WEB_LISTEN_ADDRESS`), its lines in `--help` and its row in the table of settings all come from that
field. A flag overrides its variable, and both override the default.

`load` names every mistake in one message: unknown flags, unknown variables, bad values, missing values, and settings
that do not go together. No message contains the value of a secret setting, or the value of an unknown flag or variable.

argparse exits at the first mistake, so this module splits the command line itself. pydantic validates the values.
"""

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from exporter.commands.service_links import service_links
from exporter.errors import SettingsError

ENVIRONMENT_PREFIX: Final = "AEP_EXPORTER_"

Rule = Callable[[], Iterator[str]]
"""Yields one sentence for each mistake: which settings do not go together, and what to do about it."""


class Settings(BaseModel):
    """The base of every settings class. An instance is frozen, and `load` makes it."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    def rules(self) -> list[Rule]:
        """The rules between settings. A class that adds rules returns those of its base as well.

        A rule reads the settings as attributes of `self`. If one that it reads has no valid value, the rule ends there,
        because that mistake is reported already. So each rule checks one thing only.
        """
        return []


_Settings = TypeVar("_Settings", bound=Settings)


@dataclass(frozen=True, slots=True)
class Flag:
    """What a field declares besides its type and help text."""

    name: str
    """Without the two dashes."""
    default: str | None
    """As a person writes it. None for a setting that may be absent, or that is required."""
    example: str
    """What stands for the value in messages and in the help."""
    is_secret: bool
    """Whether messages leave the value out."""

    @property
    def variable(self) -> str:
        """The environment variable that sets the same."""
        return ENVIRONMENT_PREFIX + self.name.upper().replace(".", "_").replace("-", "_")


def setting(name: str, default: str | None, help_: str, *, example: str = "...", is_secret: bool = False) -> Any:  # noqa: ANN401 - as pydantic's Field
    """Declare a field as a setting with the flag `--name`.

    The default is text and is validated like a value that a person gave. Without a default the setting is None where
    the field's type allows that, and else required.
    """
    # pydantic carries `json_schema_extra` along unread. No schema is ever made of these classes.
    extra: Any = {"flag": Flag(name, default, example, is_secret)}
    return Field(description=help_, json_schema_extra=extra)


class Setting(NamedTuple):
    """One setting as it is declared."""

    field: str
    flag: Flag
    info: FieldInfo

    @property
    def help(self) -> str:
        """What the setting does, as one or more sentences."""
        return self.info.description or ""

    @property
    def is_boolean(self) -> bool:
        """Whether the flag without a value means true."""
        return self.info.annotation is bool

    @property
    def is_required(self) -> bool:
        """Whether the command cannot run without a value from outside."""
        return self.flag.default is None and type(None) not in get_args(self.info.annotation)


def declared(settings: type[Settings]) -> list[Setting]:
    """The settings of a class, for people to read: its own before those of its bases, and each prefix together."""
    fields = settings.model_fields
    classes = [each for each in settings.__mro__ if issubclass(each, Settings)]
    own_first = [field for each in classes for field in inspect.get_annotations(each) if field in fields]
    found: list[Setting] = []
    for field in own_first:
        extra: Any = fields[field].json_schema_extra
        found.append(Setting(field, extra["flag"], fields[field]))
    groups: dict[str, int] = {}
    return sorted(found, key=lambda each: groups.setdefault(each.flag.name.partition(".")[0], len(groups)))


def settings_table(settings: type[Settings]) -> str:
    """The settings of a class as a Markdown table, for the documentation."""
    rows = ["| flag | default | variable | |", "|---|---|---|---|"]
    for each in declared(settings):
        default = "required" if each.is_required else f"`{each.flag.default}`" if each.flag.default else ""
        help_ = each.help.replace("<", "&lt;").replace("|", "\\|")
        rows.append(f"| `--{each.flag.name}` | {default} | `{each.flag.variable}` | {help_} |")
    return "\n".join(rows)


def load(
    settings: type[_Settings],
    flags: Sequence[str],
    environment: Mapping[str, str],
    *,
    shared_environment: type[Settings] = Settings,
    takes_words: bool = False,
) -> tuple[_Settings, list[str]]:
    """Read the settings of a command from its flags and the environment. Returns them and the words that are no flags.

    The variables of `shared_environment` may be set as well. They must be valid, and are not used. A word that is no
    flag is a mistake unless `takes_words` is true.

    Raises SettingsError with one line for each mistake, which states what to do about it.
    """
    mistakes: list[str] = []
    own = {each.flag.name: each for each in declared(settings)}
    shared = {each.flag.name: each for each in declared(shared_environment) if each.flag.name not in own}
    given = _from_environment([*own.values(), *shared.values()], environment, mistakes)
    from_flags, words = _from_flags(list(own.values()), flags, mistakes)
    given.update(from_flags)
    if words and not takes_words:
        # They are counted and not repeated, because one may be a secret.
        mistakes.append(f"this command takes flags only: remove the words that are no flags ({len(words)})")
    for name in shared.keys() & given.keys():
        _validate(shared[name], given[name], mistakes)
    values: dict[str, Any] = {}
    for name, each in own.items():
        if each.is_required and name not in given:
            mistakes.append(f"--{name}={each.flag.example} is needed: {each.help}")
        else:
            values |= _validate(each, given.get(name) or _Given(each.flag.default, "the default"), mistakes)
    made = settings.model_construct({own[name].field for name in own.keys() & given.keys()}, **values)
    mistakes += _broken_rules(made)
    if mistakes:
        raise SettingsError("\n".join(mistakes))
    return made, words


class _Given(NamedTuple):
    """The text of a value, and the flag, the variable or the words that it came by."""

    text: str | None
    origin: str


def _from_environment(
    settings: Sequence[Setting], environment: Mapping[str, str], mistakes: list[str]
) -> dict[str, _Given]:
    """The settings that variables give, by the name of their flag."""
    by_variable = {each.flag.variable: each.flag.name for each in settings}
    ignored = service_links(environment, ENVIRONMENT_PREFIX) - by_variable.keys()
    given: dict[str, _Given] = {}
    for variable, value in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in ignored:
            continue
        name = by_variable.get(variable)
        if name is None:
            mistakes.append(f"unknown variable {variable}{_did_you_mean(variable, by_variable)}")
        elif not value:
            mistakes.append(f"{variable} is empty: give it a value or unset it")
        else:
            given[name] = _Given(value, variable)
    return given


def _from_flags(
    settings: Sequence[Setting], words: Sequence[str], mistakes: list[str]
) -> tuple[dict[str, _Given], list[str]]:
    """The settings that flags give, by the name of their flag, and the words that are no flags."""
    by_flag = {"--" + each.flag.name: each for each in settings}
    given: dict[str, _Given] = {}
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
        flag, equals, value = word.partition("=")
        known = by_flag.get(flag)
        negated = by_flag.get("--" + flag.removeprefix("--no-"))
        if known is None and negated is not None and negated.is_boolean and not equals:
            given[negated.flag.name] = _Given("false", flag)
        elif known is None:
            mistakes.append(_unknown_flag(flag, by_flag))
        elif equals:
            given[known.flag.name] = _Given(value, flag)
        elif known.is_boolean:
            given[known.flag.name] = _Given("true", flag)
        elif pending and not pending[0].startswith("--"):
            given[known.flag.name] = _Given(pending.pop(0), flag)
        else:
            mistakes.append(f"{flag} needs a value: {flag}={known.flag.default or known.flag.example}")
    return given, rest


def _unknown_flag(text: str, known: Mapping[str, Setting]) -> str:
    """The message for an unknown flag, without a secret that was written together with it."""
    flag, *more = text.split() or [text]
    for secret in (name for name, each in known.items() if each.flag.is_secret):
        if flag != secret and flag.startswith(secret):
            return f"unknown flag that begins with {secret}: write {secret}=..."
    return f"unknown flag {flag}{': leave its value out of the quotes' if more else _did_you_mean(flag, known)}"


def _did_you_mean(word: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f": did you mean {close[0]}?" if close else ""


def _validate(setting_: Setting, given: _Given, mistakes: list[str]) -> dict[str, Any]:
    """The value of a setting by its field. If it is refused, the result is empty and the mistakes get a line."""
    if given.text is None:
        return {setting_.field: None}
    try:
        return {setting_.field: TypeAdapter(setting_.info.rebuild_annotation()).validate_python(given.text)}
    except ValidationError as error:
        shown = "" if setting_.flag.is_secret else f"={given.text}"
        mistakes.append(f"{given.origin}{shown}: {_reasons(error)}")
        return {}


def _reasons(error: ValidationError) -> str:
    """Why a value was refused, in the words of the parser where it has some."""
    found = dict.fromkeys(
        str(detail["ctx"]["error"]) if "error" in detail.get("ctx", {}) else str(detail["msg"]).lower()
        for detail in error.errors(include_url=False, include_input=False)
        if detail["type"] != "none_required"
    )
    return "; ".join(found)


def _broken_rules(settings: Settings) -> Iterator[str]:
    """What is wrong with the values taken together. A rule ends where it reads a value that was refused."""
    for rule in settings.rules():
        try:
            yield from rule()
        except AttributeError as error:
            # `load` leaves refused and missing values out, so reading one raises. Any other such error is a defect.
            if error.obj is not settings or error.name not in type(settings).model_fields:
                raise
