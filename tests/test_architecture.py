import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("exporter", "grafana")

SETTINGS = {"exporter.commands.base", "exporter.commands.settings"}
"""How settings are declared and read."""
# The only module outside exporter.simulate that may import it: the program that receives does not need the one that
# sends.
IMPORTS_SIMULATE = "exporter.commands.simulate"

# What each module may import: of ours, and of others. A name stands for itself and for all below it.
ALLOWED: dict[str, tuple[set[str], set[str]]] = {
    "exporter": (set(), set()),
    "exporter.__main__": ({"exporter.commands.main", "exporter.ignored_signals"}, set()),
    "exporter.ignored_signals": (set(), set()),
    "exporter.errors": (set(), set()),
    "exporter.model": (set(), set()),
    "exporter.cursor_text": ({"exporter.errors"}, set()),
    "exporter.plain_text": (set(), set()),
    "exporter.reasons": ({"exporter.model"}, set()),
    "exporter.refused": (set(), set()),
    "exporter.not_understood": (
        {
            "exporter.logs",
            "exporter.metrics.code_labels",
            "exporter.metrics.telemetry",
            "exporter.model",
            "exporter.reasons",
        },
        {"structlog"},
    ),
    "exporter.logs": ({"exporter.plain_text"}, {"structlog"}),
    "exporter.tasks": (set(), set()),
    "exporter.garbage": (set(), set()),
    "exporter.client_tls": ({"exporter.errors"}, set()),
    "exporter.parsers": ({"exporter.ledger.queries", "exporter.ledger.urls"}, set()),
    "exporter.intake": ({"exporter.errors", "exporter.model", "exporter.ledger"}, set()),
    "exporter.fact_cache": ({"exporter.model"}, set()),
    "exporter.server": (
        {
            "exporter.errors",
            "exporter.logs",
            "exporter.parsers",
            "exporter.web.connection_pool",
            "exporter.web.protocol",
        },
        {"starlette", "structlog", "uvicorn"},
    ),
    "exporter.signals": ({"exporter.ignored_signals", "exporter.logs"}, {"structlog"}),
    "exporter.reloading": ({"exporter.errors"}, {"structlog"}),
    "exporter.checkpoints": (
        {"exporter.earlier_checkpoints", "exporter.errors", "exporter.ledger", "exporter.metrics"},
        {"structlog"},
    ),
    "exporter.earlier_checkpoints": (
        {"exporter.ledger", "exporter.metrics", "exporter.model", "exporter.plain_text"},
        {"structlog"},
    ),
    "exporter.follower": (
        {"exporter.checkpoints", "exporter.errors", "exporter.model", "exporter.ledger", "exporter.metrics"},
        {"structlog"},
    ),
    "exporter.precedence": (set(), set()),
    "exporter.pacing": ({"exporter.intake", "exporter.model"}, set()),
    "exporter.retention": ({"exporter.errors", "exporter.ledger"}, {"structlog"}),
    "exporter.saved_files": (
        {"exporter.saved_files", "exporter.adobe", "exporter.errors", "exporter.model"},
        set(),
    ),
    "exporter.adobe": (
        {"exporter.adobe", "exporter.errors", "exporter.model", "exporter.plain_text"},
        {"cryptography", "msgspec"},
    ),
    "exporter.adobe_api": (
        {"exporter.adobe_api", "exporter.adobe", "exporter.client_tls", "exporter.errors", "exporter.tasks"},
        {"certifi", "cryptography", "httpx", "structlog"},
    ),
    "exporter.ledger": (
        {"exporter.ledger", "exporter.cursor_text", "exporter.errors", "exporter.model"},
        {"structlog"},
    ),
    "exporter.metrics": (
        {"exporter.metrics", "exporter.model", "exporter.plain_text"},
        {"isal", "msgspec", "prometheus_client"},
    ),
    # Not adobe: if one code wrote and read the bodies, a mistake in it would cancel itself out.
    "exporter.simulate": (
        {
            "exporter.simulate",
            "exporter.client_tls",
            "exporter.errors",
            "exporter.model",
            "exporter.logs",
            "exporter.server",
        },
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
        {"bcrypt", "cryptography", "httptools", "httpx", "pydantic", "starlette", "structlog", "uvicorn", "yaml"},
    ),
    "exporter.pages": (
        {
            "exporter.pages",
            "exporter.cursor_text",
            "exporter.errors",
            "exporter.ledger.queries",
            "exporter.logs",
            "exporter.metrics",
            "exporter.model",
            "exporter.parsers",
            "exporter.plain_text",
            "exporter.reasons",
            "exporter.refused",
        },
        {"jinja2", "msgspec", "starlette", "structlog"},
    ),
    "exporter.kept_reasons": (
        {"exporter.adobe.payloads", "exporter.intake", "exporter.ledger.queries", "exporter.model"},
        set(),
    ),
    # A program of its own, which a container's health check runs.
    "exporter.healthcheck": (
        {*SETTINGS, "exporter.commands.serve_settings", "exporter.errors", "exporter.parsers", "exporter.web.config"},
        set(),
    ),
    "exporter.service": (
        {
            "exporter.adobe",
            "exporter.adobe_api",
            "exporter.commands.base",
            "exporter.commands.serve_settings",
            "exporter.errors",
            "exporter.fact_cache",
            "exporter.follower",
            "exporter.garbage",
            "exporter.intake",
            "exporter.ledger",
            "exporter.metrics",
            "exporter.model",
            "exporter.not_understood",
            "exporter.pacing",
            "exporter.precedence",
            "exporter.page_sources",
            "exporter.pages",
            "exporter.refused",
            "exporter.retention",
            "exporter.web",
        },
        {"httpx", "starlette"},
    ),
    "exporter.page_sources": (
        {
            "exporter.adobe",
            "exporter.adobe_api.clock_skew",
            "exporter.commands.serve_settings",
            "exporter.commands.settings_in_force",
            "exporter.follower",
            "exporter.intake",
            "exporter.kept_reasons",
            "exporter.ledger",
            "exporter.metrics",
            "exporter.pages",
            "exporter.refused",
            "exporter.web",
        },
        set(),
    ),
    "exporter.commands": (set(), set()),
    "exporter.commands.service_links": (set(), set()),
    "exporter.commands.settings": ({"exporter.commands.service_links", "exporter.errors"}, {"pydantic"}),
    "exporter.commands.base": ({"exporter.parsers", "exporter.commands.settings"}, {"pydantic"}),
    "exporter.commands.settings_in_force": (
        {"exporter.commands.settings", "exporter.pages.process_facts"},
        {"pydantic"},
    ),
    "exporter.commands.output": ({"exporter.commands.base"}, set()),
    "exporter.commands.serve_settings": ({"exporter.parsers", *SETTINGS}, {"pydantic"}),
    # It imports commands by their names, when they are run.
    "exporter.commands.main": (
        {
            *SETTINGS,
            "exporter.commands.output",
            "exporter.commands.serve_settings",
            "exporter.errors",
            "exporter.logs",
        },
        set(),
    ),
    "exporter.commands.serve_files": (
        {
            "exporter.commands.serve_settings",
            "exporter.errors",
            "exporter.parsers",
            "exporter.reloading",
            "exporter.web.config",
            "exporter.web.tls",
        },
        {"cryptography", "structlog"},
    ),
    "exporter.commands.serve_report": (
        {"exporter.commands.serve_settings", "exporter.errors", "exporter.ledger", "exporter.web.config"},
        {"structlog"},
    ),
    "exporter.commands.serve": (
        {
            *SETTINGS,
            "exporter.commands.serve_files",
            "exporter.commands.serve_report",
            "exporter.commands.serve_settings",
            "exporter.ledger.urls",
            "exporter.reloading",
            "exporter.server",
            "exporter.service",
            "exporter.ignored_signals",
            "exporter.signals",
        },
        {"structlog", "uvloop"},
    ),
    "exporter.commands.replay": (
        {
            *SETTINGS,
            "exporter.commands.output",
            "exporter.errors",
            "exporter.intake",
            "exporter.ledger",
            "exporter.model",
            "exporter.commands.replay_account",
            "exporter.saved_files",
        },
        set(),
    ),
    "exporter.commands.replay_account": ({"exporter.model", "exporter.reasons", "exporter.saved_files"}, set()),
    "exporter.commands.forget": (
        {
            *SETTINGS,
            "exporter.commands.output",
            "exporter.errors",
            "exporter.intake",
            "exporter.ledger.urls",
            "exporter.service",
        },
        set(),
    ),
    "exporter.commands.tables": ({"exporter.plain_text"}, set()),
    "exporter.commands.lists": (
        {
            *SETTINGS,
            "exporter.commands.output",
            "exporter.commands.tables",
            "exporter.ledger.queries",
            "exporter.pages.views",
            "exporter.parsers",
        },
        {"pydantic"},
    ),
    "exporter.commands.runs": (
        {
            *SETTINGS,
            "exporter.adobe.payloads",
            "exporter.commands.lists",
            "exporter.commands.output",
            "exporter.commands.tables",
            "exporter.errors",
            "exporter.ledger.queries",
            "exporter.ledger.urls",
            "exporter.model",
            "exporter.pages.views",
        },
        set(),
    ),
    "exporter.commands.flows": (
        {
            *SETTINGS,
            "exporter.commands.lists",
            "exporter.commands.output",
            "exporter.commands.tables",
            "exporter.ledger.urls",
            "exporter.model",
            "exporter.pages.views",
            "exporter.service",
        },
        set(),
    ),
    # The only row with the simulation, but for its own.
    "exporter.commands.simulate": (
        {*SETTINGS, "exporter.commands.output", "exporter.parsers", "exporter.server", "exporter.simulate"},
        {"pydantic", "uvloop"},
    ),
    # The dashboards use the catalogue of metrics. The exporter does not use the dashboards.
    "grafana": ({"grafana", "exporter.metrics.catalogue"}, {"grafana_foundation_sdk"}),
    "grafana.colours": (set(), {"grafana_foundation_sdk"}),
    "grafana.queries": ({"exporter.metrics.catalogue"}, set()),
    "grafana.panels": ({"grafana.colours"}, {"grafana_foundation_sdk"}),
    "grafana.tables": ({"grafana.colours", "grafana.panels"}, {"grafana_foundation_sdk"}),
    "grafana.layout": ({"grafana.panels", "grafana.queries"}, {"grafana_foundation_sdk"}),
}

_SANS_IO_MODULES = {
    "exporter.adobe": (
        *("classify", "deliveries", "envelope", "fields", "lenient_json", "payloads", "run_details"),
        *("signature", "topics"),
    ),
    "exporter.adobe_api": ("clock_skew", "proxies"),
    "exporter.commands": ("service_links", "tables"),
    "exporter.pages": ("parameters", "tickets", "timeline", "views"),
    "exporter.saved_files": ("exports", "kinds", "texts"),
    "exporter.simulate": (
        *("clock", "codes", "deliveries", "envelopes", "legacy_payloads", "organisation", "payload_fields", "payloads"),
        *("runs", "signing", "timeline"),
    ),
}
SANS_IO = {f"{package}.{name}" for package, names in _SANS_IO_MODULES.items() for name in names}
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


def test_imports_point_one_way() -> None:
    """Every module imports only what the table allows it, of our modules and of others."""
    forbidden = []
    for module, path in modules().items():
        ours, others = rule_for(module)
        for name in imports(path):
            top = name.split(".")[0]
            if top in PACKAGES:
                is_allowed = name in PACKAGES or covers(ours, name)
            else:
                is_allowed = top in sys.stdlib_module_names or covers(others, name)
            if not is_allowed:
                forbidden.append(f"{module} imports {name}")
    assert forbidden == []


def test_every_row_of_the_table_has_a_module() -> None:
    """A row of the table without a module is a rule that holds nothing, so there is none."""
    assert ALLOWED.keys() - modules().keys() == set()


def test_only_its_command_imports_simulate() -> None:
    """One module outside exporter.simulate imports it: the command of that name."""
    importers = {
        module
        for module, path in modules().items()
        if not covers({"exporter.simulate"}, module)
        and any(covers({"exporter.simulate"}, name) for name in imports(path))
    }
    assert importers == {IMPORTS_SIMULATE}


def test_protocol_code_does_no_io() -> None:
    """The modules that read and write Adobe's bodies, and those that only decide, use no clock and no event loop."""
    doing = []
    for module in sorted(SANS_IO):
        path = modules()[module]
        doing += [f"{module} imports {name}" for name in imports(path) if name.split(".")[0] in IO_MODULES]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.AsyncFunctionDef | ast.Await):
                doing.append(f"{module}:{node.lineno} is asynchronous")
            elif isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}:
                doing.append(f"{module}:{node.lineno} reads a clock")
    assert doing == []


def own_package(module: str) -> str:
    """The prefix of the names of a module's neighbours. At the top level a module has no neighbours."""
    package = module.rpartition(".")[0]
    return package + "." if "." in package else " "


def test_only_the_service_wires() -> None:
    """The wiring is in one place: only service, and its part for the pages, import more than six from elsewhere."""
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
    assert wide == {"exporter.service", "exporter.page_sources"}


def test_the_tree_is_shallow() -> None:
    """Packages are at most two deep, and none has a name that fits any content."""
    assert [module for module in modules() if module.count(".") > 2] == []
    vague = {"utils", "core", "helpers", "manager", "common"}
    assert [module for module in modules() if vague & set(module.split("."))] == []


def test_every_module_begins_with_its_purpose() -> None:
    """Each module has a docstring."""
    trees = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in modules().items()}
    assert [module for module, tree in trees.items() if not ast.get_docstring(tree)] == []
