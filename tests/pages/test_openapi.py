"""The OpenAPI document: it is valid, and has what the API has."""

import inspect
import json
import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from exporter.model import FlowKind
from exporter.pages import openapi
from exporter.pages.api_operations import OPERATIONS, PARAMETERS
from exporter.pages.flow_list_page import FLOW_PARAMETERS
from exporter.pages.parameters import RUN_PARAMETERS


def made() -> Any:
    """The document."""
    return openapi.document("1.2.3", "../../api/v1")


def test_the_document_is_valid() -> None:
    """It is a document of OpenAPI 3.1, with the version of the program and the address of the API."""
    document = made()
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert document["info"]["version"] == "1.2.3"
    assert document["servers"] == [{"url": "../../api/v1"}]


def test_every_address_is_described() -> None:
    """Each has its parameters, its answer and its problems. Only one with an id has a 404."""
    document = made()
    assert list(document["paths"]) == [operation.path for operation in OPERATIONS]
    for operation in OPERATIONS:
        described = document["paths"][operation.path]["get"]
        names = [(each["name"], each["in"]) for each in described["parameters"]]
        in_path = [(operation.item, "path")] if operation.item else []
        assert names == in_path + [(name, "query") for name in operation.parameters]
        assert {"200", "400", "503"} <= set(described["responses"])
        assert ("404" in described["responses"]) == bool(operation.item) == operation.path.endswith("}")


def test_parameters_are_those_of_pages() -> None:
    """Every parameter of a list has a description, and no other one has."""
    assert {*RUN_PARAMETERS, *FLOW_PARAMETERS, "run_id"} == set(PARAMETERS)


@pytest.mark.parametrize(
    ("schema", "field", "expected"),
    [
        ("Run", "run_id", {"type": ["string", "null"]}),
        ("Run", "counted", {"type": "boolean"}),
        ("Run", "recorded_at", {"type": ["string", "null"], "format": "date-time"}),
        ("Run", "records", {"type": "object", "additionalProperties": {"type": "integer"}}),
        ("Run", "errors", {"type": "array", "items": {"$ref": "#/components/schemas/Error"}}),
        ("Flow", "last_run", {"anyOf": [{"$ref": "#/components/schemas/LastRun"}, {"type": "null"}]}),
        ("Flow", "failing_errors", {"type": ["object", "null"], "additionalProperties": {"type": "integer"}}),
        ("RunDetail", "body", {}),
    ],
)
def test_schemas_are_those_of_the_dataclasses(schema: str, field: str, expected: object) -> None:
    """Each type of a field has its schema."""
    found = dict(made()["components"]["schemas"][schema]["properties"][field])
    found.pop("description", None)
    assert found == expected


def test_fields_have_the_descriptions_of_the_code() -> None:
    """What stands below a field is its description, also for a field of a base class. JSON's word for None is null."""
    schemas = made()["components"]["schemas"]
    for schema in ("Run", "RunDetail"):
        assert schemas[schema]["properties"]["duration_seconds"]["description"].startswith("From the start")
    assert "description" not in schemas["Run"]["properties"]["run_id"]
    assert str(FlowKind.DESTINATION) in schemas["Flow"]["properties"]["kind"]["description"]
    assert not re.search(r"\bNone\b", json.dumps(schemas))


def test_a_field_that_has_no_json_is_found() -> None:
    """A type that the document can't describe is an error of the program, not a gap in the document."""
    with pytest.raises(TypeError, match="bytes"):
        openapi._Schemas().of(bytes)


def test_without_source_there_are_no_descriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the program is installed without its source, the document lacks descriptions of fields and nothing else."""

    def fail(_: object) -> str:
        raise OSError

    monkeypatch.setattr(inspect, "getsource", fail)
    openapi._document.cache_clear()
    try:
        properties = made()["components"]["schemas"]["Run"]["properties"]
        assert properties["duration_seconds"] == {"type": ["number", "null"]}
    finally:
        openapi._document.cache_clear()
