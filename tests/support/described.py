"""What endpoints answer, held against what they say of themselves."""

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from pydantic import TypeAdapter

from dreem_case.api import Problem

BEFORE = {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}}


def check_description(app, pages: set[str]) -> dict:
    """Every route of the app but its pages is described, and by a valid document; return its paths."""
    (blueprint,) = app.blueprints.values()
    schema = TypeAdapter(Problem).json_schema()
    validate({**BEFORE, "paths": blueprint.openapi_paths, "components": {"schemas": {"Problem": schema}}})
    routes = {str(rule).replace("<", "{").replace(">", "}") for rule in app.url_map.iter_rules()}
    names = [operation["operationId"] for methods in blueprint.openapi_paths.values() for operation in methods.values()]
    assert len(set(names)) == len(names)
    assert set(blueprint.openapi_paths) == routes - pages - {"/static/{path:filename}"}
    return blueprint.openapi_paths


def check_answer(operation: dict, response) -> None:
    """An answer is what its description says, and a refusal a problem document of a status that is named."""
    said = operation["responses"][str(response.status_code)]
    assert list(said["content"]) == [response.content_type]
    if response.status_code == 200:
        Draft202012Validator(said["content"]["application/json"]["schema"]).validate(response.json)
        return
    found = Problem.model_validate_json(response.data)
    assert found.status == response.status_code and found.code == found.code.lower().replace(" ", "_")
    assert set(response.json) <= set(Problem.model_fields)
    assert ("Retry-After" in response.headers) == (response.status_code == 503)
