"""The OpenAPI document of the API, made from the table of its addresses and from the dataclasses that they answer.

The schema of an answer is that of its dataclass: names and types of the fields, and what stands below each of them as
its description. So the document can't disagree with the answers.
"""

import ast
import dataclasses
import functools
import inspect
import itertools
import re
import textwrap
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from exporter.pages.api_operations import OPERATIONS, PARAMETERS, Operation
from exporter.pages.views import Json, Moment

PROBLEM_TYPE: Final = "application/problem+json"

_DESCRIPTION: Final = """\
What pages show, as JSON. Filters have the names of those of the pages.

- Times are RFC 3339 in UTC. What is not known is null. An id that several answers have is the same text everywhere.
- An answer can get more fields. None that is listed here goes.
- A parameter that an address does not have, or that comes twice, is an error: 400.
- `links` are absolute if the exporter has `--web.external-url`. Otherwise they are relative references: resolve them
  against the address that was requested, as RFC 3986 says. They work behind a proxy that adds a path, too.
- Errors are `application/problem+json` (RFC 9457). `reason` is one of few words, as in metrics and logs.
- If the exporter shows summaries only (`--web.pages=summary`), messages and bodies are null.
"""

_PROBLEM_SCHEMA: Final[dict[str, Json]] = {
    "description": "Why there is no answer (RFC 9457).",
    "type": "object",
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string", "description": "The status in words."},
        "status": {"type": "integer", "description": "The status."},
        "detail": {"type": "string", "description": "What is wrong, and what to do."},
        "reason": {"type": "string", "description": "One of few words, as in metrics and logs."},
    },
    "required": ["type", "title", "status", "detail", "reason"],
}

_PROBLEMS: Final = {
    "400": ("BadRequest", "A parameter can't be used. `detail` names it and says what it takes."),
    "404": ("NotFound", "The ledger and the metrics have nothing with this id."),
    "503": ("NotAvailable", "The exporter can't answer now, or is not yet ready to. A later request can succeed."),
}
"""The answers that are problems: their names in the document and what they mean."""

_SIMPLE: Final[Mapping[object, dict[str, Json]]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    object: {},
}
"""`object` is any JSON."""


def document(version: str, server: str) -> Json:
    """The document. `server` is the address of the API, absolute or relative to that of the document."""
    return {**_document(version), "servers": [{"url": server}]}


@functools.cache
def _document(version: str) -> dict[str, Json]:
    """The document without the address, which depends on the request. It must not be changed."""
    schemas = _Schemas()
    paths: dict[str, Json] = {each.path: {"get": _operation(each, schemas)} for each in OPERATIONS}
    return {
        "openapi": "3.1.0",
        "info": {"title": "aep-flow-exporter", "version": version, "description": _DESCRIPTION},
        "servers": [],
        "security": [{}, {"basic": []}],
        "paths": paths,
        "components": {
            "schemas": {**schemas.made, "Problem": _PROBLEM_SCHEMA},
            "responses": {
                **{name: _problem(status, text) for status, (name, text) in _PROBLEMS.items()},
                "Unauthorized": {"description": "The exporter has passwords, and the request has none of them."},
                "MisdirectedRequest": {
                    "description": "The exporter answers this machine alone, and the request names another host."
                },
            },
            "securitySchemes": {
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "Where `--web.config.file` has users.",
                }
            },
        },
    }


def _operation(operation: Operation, schemas: "_Schemas") -> dict[str, Json]:
    problems = [status for status in _PROBLEMS if status != "404" or operation.item]
    names = [(operation.item, "path")] * bool(operation.item) + [(name, "query") for name in operation.parameters]
    return {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.description,
        "parameters": [_parameter(name, place) for name, place in names],
        "responses": {
            "200": {
                "description": "The answer.",
                "headers": {"Cache-Control": {"schema": {"type": "string", "const": "no-store"}}},
                "content": {"application/json": {"schema": schemas.of(operation.view)}},
            },
            **{status: {"$ref": f"#/components/responses/{_PROBLEMS[status][0]}"} for status in problems},
            "401": {"$ref": "#/components/responses/Unauthorized"},
            "421": {"$ref": "#/components/responses/MisdirectedRequest"},
        },
    }


def _parameter(name: str, place: str) -> dict[str, Json]:
    parameter = PARAMETERS[name]
    return {
        "name": name,
        "in": place,
        **({"required": True} if place == "path" else {}),
        "description": parameter.description,
        "schema": dict(parameter.schema),
        **({} if parameter.example is None else {"example": parameter.example}),
    }


def _problem(status: str, text: str) -> dict[str, Json]:
    schema: dict[str, Json] = {"schema": {"type": "integer"}, "description": "Seconds.", "required": True}
    return {
        "description": text,
        **({"headers": {"Retry-After": schema}} if status == "503" else {}),
        "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


class _Schemas:
    """Makes the schemas of dataclasses, each once."""

    def __init__(self) -> None:
        self.made: dict[str, Json] = {}

    def of(self, type_: object) -> dict[str, Json]:
        """The schema of a type that views have."""
        if type_ in _SIMPLE:
            return dict(_SIMPLE[type_])
        if type_ is Moment:
            # A time beyond the year 9999, which only a wrong clock gives, is null.
            return {"type": ["string", "null"], "format": "date-time"}
        if dataclasses.is_dataclass(type_):
            return self._of_dataclass(typing.cast("type", type_))
        origin, arguments = get_origin(type_), get_args(type_)
        if origin in {Union, types.UnionType}:
            return self._of_union([each for each in arguments if each is not type(None)], arguments)
        if origin is Literal:
            return {"type": "string", "enum": list(arguments)}
        if origin is tuple and arguments[1:] == (...,):
            return {"type": "array", "items": self.of(arguments[0])}
        if inspect.isclass(origin) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        raise TypeError(f"a view has no fields of the type {type_}")

    def _of_union(self, some: list[Any], all_: tuple[Any, ...]) -> dict[str, Json]:
        schemas = [self.of(each) for each in some]
        if len(schemas) == len(all_):
            return {"anyOf": list(schemas)}
        if len(schemas) > 1 or "type" not in schemas[0]:
            return {"anyOf": [*schemas, {"type": "null"}]}
        (schema,) = schemas
        kind = schema["type"]
        return {**schema, "type": kind if isinstance(kind, list) else [kind, "null"]}

    def _of_dataclass(self, view: type) -> dict[str, Json]:
        name = view.__name__.removesuffix("View")
        if name not in self.made:
            # A view can have itself as a field's type.
            self.made[name] = {}
            hints, texts = get_type_hints(view), _descriptions(view)
            properties: dict[str, Json] = {
                field.name: self._described(hints[field.name], texts.get(field.name))
                for field in dataclasses.fields(view)
            }
            self.made[name] = {
                "type": "object",
                "description": _for_clients(inspect.cleandoc(view.__doc__ or "")),
                "properties": properties,
                "required": list(properties),
            }
        return {"$ref": f"#/components/schemas/{name}"}

    def _described(self, type_: object, text: str | None) -> dict[str, Json]:
        return {**self.of(type_), **({} if text is None else {"description": text})}


def _descriptions(view: type) -> dict[str, str]:
    """What stands below the fields of a dataclass and of its bases. Empty where the program has no source."""
    found: dict[str, str] = {}
    for each in reversed(view.__mro__):
        if dataclasses.is_dataclass(each):
            found |= _own_descriptions(each)
    return found


def _own_descriptions(view: type) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(view)))
    except (OSError, SyntaxError):
        return {}
    (definition,) = tree.body
    return dict(_described_fields(typing.cast("ast.ClassDef", definition).body))


def _described_fields(body: Iterable[ast.stmt]) -> Iterable[tuple[str, str]]:
    for field, below in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            text = below.value.value if isinstance(below.value, ast.Constant) else None
            if isinstance(text, str):
                yield field.target.id, _for_clients(" ".join(text.split()))


def _for_clients(text: str) -> str:
    """A description in the words of JSON."""
    return re.sub(r"\bNone\b", "Null", text)
