"""A tool that reads the OpenAPI document sends made-up requests to the running program.

It is run as a command, so that its plugin for pytest has no part in it.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.system.processes import Exporter, run, until

SAMPLES: Final = sorted((Path(__file__).parents[1] / "samples").glob("*.json"))
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
)
"""Not the check that every valid request succeeds: a cursor is valid only if a list ended with it."""


@pytest.fixture
def filled(exporter: Exporter) -> Exporter:
    """An exporter that has received every sample, and shows it."""
    for path in SAMPLES:
        exporter.post(path.read_bytes())
    exporter.post(b"no JSON")
    until(lambda: exporter.get("/api/v1/flows").json()["items"], "the flows")
    return exporter


def document_with_examples(exporter: Exporter) -> dict[str, Any]:
    """The document with the ids and the cursors that the ledger really has, so that requests lead to something."""
    document: dict[str, Any] = exporter.get("/api/v1/openapi.json").json()
    runs = exporter.get("/api/v1/runs?limit=2").json()
    flow = exporter.get("/api/v1/flows").json()["items"][0]
    examples = {"run_id": runs["items"][0]["run_id"], "flow_id": flow["flow_id"]}
    for path in document["paths"].values():
        for parameter in path["get"]["parameters"]:
            if parameter["name"] in examples:
                parameter["example"] = examples[parameter["name"]]
    return document


def test_answers_are_as_the_document_says(filled: Exporter, tmp_path: Path) -> None:
    """Whatever is asked for, no answer is a 5xx, each is as the document says, and what it forbids is refused."""
    (tmp_path / "openapi.json").write_text(json.dumps(document_with_examples(filled)), encoding="utf-8")
    output = run(
        Path(sys.executable).with_name("schemathesis"),
        "run",
        "openapi.json",
        f"--url={filled.url}/api/v1",
        f"--checks={','.join(CHECKS)}",
        "--phases=examples,coverage,fuzzing",
        "--max-examples=25",
        "--seed=1",
        "--warnings=off",
        "--no-color",
        cwd=tmp_path,
        seconds=300,
    )
    assert "No issues found" in output, output
    assert "Traceback" not in filled.output()
    assert filled.get("/-/ready").status_code == 200
