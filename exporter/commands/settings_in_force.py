"""The settings of a command as people write them, without secrets, for the page that shows them."""

from datetime import timedelta
from typing import Final, Literal, get_args, get_origin

from pydantic import SecretStr

from exporter.commands.settings import Settings, declared, load
from exporter.pages.process_facts import HIDDEN, SettingInForce

_UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms"))
_BYTES: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_SIZES: Final = frozenset({"webhook.max-body", "ledger.max-size"})


def settings_in_force(settings: Settings) -> tuple[SettingInForce, ...]:
    """The settings in the order of the documentation. The value of a secret one is not shown, unless it is the default.

    Its class must have a valid value for each setting that is not given.
    """
    defaults, _ = load(type(settings), [], {})
    found = []
    for each in declared(type(settings)):
        value, default = getattr(settings, each.field), getattr(defaults, each.field)
        is_default = value == default
        text = HIDDEN if each.flag.is_secret and not is_default else _written(each.flag.name, value)
        is_private = not is_default and not _is_harmless(value, each.info.annotation)
        found.append(
            SettingInForce(flag=f"--{each.flag.name}", value=text, is_default=is_default, is_private=is_private)
        )
    return tuple(found)


def _is_harmless(value: object, annotation: object) -> bool:
    """Whether a value is a number, a duration, or one of the words of a closed list."""
    has_closed_list = any(get_origin(each) is Literal for each in (annotation, *get_args(annotation)))
    return has_closed_list or isinstance(value, int | timedelta | None)


def _written(name: str, value: object) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case SecretStr():
            return HIDDEN
        case timedelta():
            return _in_units(value // timedelta(milliseconds=1), _UNITS, "0s")
        case int() if name in _SIZES:
            return _in_units(value, _BYTES, str(value))
        # An address is a named tuple, which has a text of its own.
        case frozenset() | tuple() if not hasattr(value, "_fields"):
            return ",".join(sorted(map(str, value)))
        case _:
            return str(value)


def _in_units(value: int, units: tuple[tuple[int, str], ...], otherwise: str) -> str:
    """A number in the largest unit that it is a multiple of."""
    return next((f"{value // size}{unit}" for size, unit in units if value and value % size == 0), otherwise)
