import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("exporter", "grafana")

STANDARD = "standard library"
SETTINGS = {"exporter.commands.base", "exporter.commands.settings"}
"""How settings are declared and read."""

# What each module may import: of ours, and of others. A name stands for itself and for all below it.
ALLOWED: dict[str, tuple[set[str], set[str]]] = {
    "exporter": (set(), set()),
    "exporter.__main__": ({"exporter.commands.main"}, set()),
    "exporter.errors": (set(), set()),
    "exporter.model": (set(), set()),
    "exporter.logs": (set(), {"structlog"}),
    "exporter.tasks": (set(), set()),
    "exporter.parsers": ({"exporter.ledger.urls"}, set()),
    "exporter.intake": ({"exporter.errors", "exporter.model", "exporter.ledger"}, set()),
    "exporter.fact_cache": ({"exporter.model"}, set()),
    "exporter.server": (
        {"exporter.errors", "exporter.parsers", "exporter.web.protocol"},
        {"starlette", "structlog", "uvicorn"},
    ),
    "exporter.follower": ({"exporter.errors", "exporter.model", "exporter.ledger", "exporter.metrics"}, {"structlog"}),
    "exporter.retention": ({"exporter.errors", "exporter.ledger"}, {"structlog"}),
    "exporter.saved_files": ({"exporter.model", "exporter.adobe"}, set()),
    "exporter.adobe": (
        {"exporter.adobe", "exporter.errors", "exporter.model"},
        {"cryptography", "msgspec"},
    ),
    "exporter.adobe_api": (
        {"exporter.adobe_api", "exporter.adobe", "exporter.errors", "exporter.tasks"},
        {"cryptography", "httpx", "structlog"},
    ),
    "exporter.ledger": ({"exporter.ledger", "exporter.errors", "exporter.model"}, {"structlog"}),
    "exporter.metrics": ({"exporter.metrics", "exporter.model"}, {"isal", "msgspec", "prometheus_client"}),
    # Not adobe: what is told and what is read must not agree because one code does both.
    "exporter.simulate": (
        {"exporter.simulate", "exporter.errors", "exporter.model", "exporter.logs", "exporter.server"},
        {"cryptography", "httpx", "starlette", "structlog", "uvicorn"},
    ),
    "exporter.web": (
        {
            "exporter.web",
            "exporter.adobe",
            "exporter.adobe_api",
            "exporter.pages",
            "exporter.errors",
            "exporter.model",
            "exporter.follower",
            "exporter.intake",
            "exporter.logs",
            "exporter.metrics",
            "exporter.tasks",
        },
        {"bcrypt", "httptools", "httpx", "pydantic", "starlette", "structlog", "uvicorn", "yaml"},
    ),
    "exporter.pages": ({"exporter.pages"}, {"starlette"}),
    # A program of its own, which a container's health check runs.
    "exporter.healthcheck": (
        {"exporter.errors", *SETTINGS, "exporter.commands.serve_settings", "exporter.web.config"},
        set(),
    ),
    "exporter.service": (
        {
            "exporter.adobe",
            "exporter.adobe_api",
            "exporter.commands.base",
            "exporter.commands.serve_settings",
            "exporter.fact_cache",
            "exporter.follower",
            "exporter.intake",
            "exporter.ledger",
            "exporter.metrics",
            "exporter.model",
            "exporter.pages",
            "exporter.retention",
            "exporter.web",
        },
        {"httpx", "starlette"},
    ),
    "exporter.commands": (set(), set()),
    "exporter.commands.settings": ({"exporter.errors"}, {"pydantic"}),
    "exporter.commands.base": ({"exporter.parsers", "exporter.commands.settings"}, {"pydantic"}),
    "exporter.commands.output": ({"exporter.commands.base"}, set()),
    "exporter.commands.serve_settings": ({"exporter.parsers", *SETTINGS}, {"pydantic"}),
    # It imports commands by their names, when they are run.
    "exporter.commands.main": (
        {"exporter.errors", "exporter.logs", *SETTINGS, "exporter.commands.output", "exporter.commands.serve_settings"},
        set(),
    ),
    "exporter.commands.serve": (
        {
            *SETTINGS,
            "exporter.commands.serve_settings",
            "exporter.errors",
            "exporter.ledger.urls",
            "exporter.server",
            "exporter.service",
            "exporter.web.config",
        },
        {"structlog", "uvloop"},
    ),
    "exporter.commands.replay": (
        {
            *SETTINGS,
            "exporter.commands.output",
            "exporter.errors",
            "exporter.intake",
            "exporter.ledger.urls",
            "exporter.model",
            "exporter.saved_files",
        },
        set(),
    ),
    "exporter.commands.forget": (
        {
            *SETTINGS,
            "exporter.commands.output",
            "exporter.errors",
            "exporter.intake",
            "exporter.ledger.urls",
            "exporter.parsers",
            "exporter.service",
        },
        {"pydantic"},
    ),
    # The only row with the simulation, but for its own.
    "exporter.commands.simulate": (
        {*SETTINGS, "exporter.commands.output", "exporter.parsers", "exporter.server", "exporter.simulate"},
        {"pydantic", "uvloop"},
    ),
    # Of the program the dashboards know what it exports; the program knows nothing of them.
    "grafana": ({"grafana", "exporter.metrics.catalogue"}, {"grafana_foundation_sdk"}),
    "grafana.colours": (set(), {"grafana_foundation_sdk"}),
    "grafana.queries": ({"exporter.metrics.catalogue"}, set()),
    "grafana.panels": ({"grafana.colours"}, {"grafana_foundation_sdk"}),
    "grafana.tables": ({"grafana.colours", "grafana.panels"}, {"grafana_foundation_sdk"}),
    "grafana.layout": ({"grafana.panels", "grafana.queries"}, {"grafana_foundation_sdk"}),
}

SANS_IO = {
    "exporter.adobe." + name
    for name in (
        "classify",
        "deliveries",
        "envelope",
        "fields",
        "lenient_json",
        "payloads",
        "signature",
    )
} | {
    "exporter.simulate." + name
    for name in (
        *("clock", "codes", "deliveries", "envelopes", "legacy_payloads", "organisation", "payload_fields", "payloads"),
        *("runs", "signing", "timeline"),
    )
}
IO_MODULES = {"asyncio", "http", "os", "pathlib", "socket", "sqlite3", "ssl", "subprocess", "threading", "time"}


def modules() -> dict[str, Path]:
    """Every module of the packages by its name."""
    found: dict[str, Path] = {}
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """The full names a module imports: `from exporter.adobe import fields` is `exporter.adobe.fields`."""
    known = modules()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in known else node.module


def covers(allowed: set[str], name: str) -> bool:
    """Whether a name is one of these or below one of them."""
    return any(name == each or name.startswith(each + ".") for each in allowed)


def rule_for(module: str) -> tuple[set[str], set[str]]:
    """The row of the table that a module stands under: its own, else its package's."""
    while module not in ALLOWED:
        module = module.rpartition(".")[0]
    return ALLOWED[module]


@pytest.mark.parametrize("module", modules())
def test_imports_point_one_way(module: str) -> None:
    """A module imports only what the table allows it, of ours and of others."""
    import sys

    ours, others = rule_for(module)
    for name in imports(modules()[module]):
        if name.split(".")[0] in PACKAGES:
            assert name in PACKAGES or covers(ours, name), f"{module} imports {name}"
        elif name.split(".")[0] not in sys.stdlib_module_names:
            assert covers(others, name), f"{module} imports {name}"


@pytest.mark.parametrize("module", sorted(SANS_IO))
def test_protocol_code_does_no_io(module: str) -> None:
    """Reading what Adobe says needs no clock, no client and no event loop."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    assert not {name.split(".")[0] for name in imports(modules()[module])} & IO_MODULES
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]
    assert not [
        node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}
    ]


def test_only_its_command_imports_the_simulation() -> None:
    """Nothing but the command `simulate` imports what makes up notifications."""
    importing = {
        module
        for module, path in modules().items()
        if not covers({"exporter.simulate"}, module)
        and any(covers({"exporter.simulate"}, name) for name in imports(path))
    }
    assert importing == {"exporter.commands.simulate"}


def own_package(module: str) -> str:
    """What the names of a module's neighbours begin with; at the top level nobody is a neighbour."""
    package = module.rpartition(".")[0]
    return package + "." if "." in package else " "


def test_only_the_service_wires() -> None:
    """One place knows many modules: only service imports more than six from outside its own package."""
    wide = {
        module
        for module, path in modules().items()
        if len(
            {
                name
                for name in imports(path)
                if name.startswith("exporter.") and not name.startswith(own_package(module))
            }
        )
        > 6
    }
    assert wide == {"exporter.service"}


def test_the_tree_is_shallow() -> None:
    """Packages are at most two deep, and none is named for being a bag."""
    for module in modules():
        assert module.count(".") <= 2
        assert not {"utils", "core", "helpers", "manager", "common"} & set(module.split("."))


@pytest.mark.parametrize("module", modules())
def test_every_module_says_its_rule(module: str) -> None:
    """Each module begins with what it is for."""
    assert ast.get_docstring(ast.parse(modules()[module].read_text(encoding="utf-8")))
