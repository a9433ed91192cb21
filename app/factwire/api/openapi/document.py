"""The OpenAPI document, built from the declarations of the routes, with the wire structs as its schemas."""

import json
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from factwire import __version__
from factwire.api.http.models import Problem
from factwire.api.http.problems import SERVER_CODES, STATUSES, TYPE_PREFIX, type_uri
from factwire.api.http.routing import PlainRoute
from factwire.api.openapi.bounds import merge, page_bounds, schema_bounds
from factwire.api.openapi.operation import SECURITY_SCHEME, Declared
from factwire.api.openapi.schemas import ITEM_SCHEMA, schemas_of
from factwire.settings import Settings

VERSION, NEWER_VERSION = "3.1.0", "3.2.0"
DESCRIPTION = "Facts over plain HTTP, kept in PostgreSQL: publish, read, and follow over Server-Sent Events."
SECURITY_SCHEMES = {
    SECURITY_SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "description": "A key or a token. Not asked for by a service that is open (FACTWIRE_AUTH=none).",
    }
}
PAGES = ("read", "search")  # operations whose answer is a page of facts
FIRST = ("/v1/facts", "/v1/facts/search", "/v1/stream")
TAGS = [
    {"name": "facts", "description": "Publish and read facts."},
    {"name": "erasure", "description": "Erase the payloads about a data subject, or redact a single fact."},
    {"name": "cloudevents", "description": "Publish, export and follow facts as CloudEvents 1.0."},
    {"name": "streams", "description": "Follow the log."},
    {"name": "subscriptions", "description": "Workers that share a stream: claim, acknowledge, retry and park facts."},
    {"name": "catalogue", "description": "What exists."},
    {"name": "access", "description": "API keys, tickets and sessions."},
    {"name": "operations", "description": "Health and measurements."},
]


def document(app: FastAPI, version: str = VERSION) -> dict[str, Any]:
    """The OpenAPI document of an application, with the limits of its settings.

    From OpenAPI 3.2 on it describes the items of sequences.
    """
    settings: Settings = app.state.context.settings
    made = get_openapi(
        title="Factwire",
        version=__version__,
        description=DESCRIPTION,
        routes=app.routes,
        tags=TAGS,
        openapi_version=version,
        servers=[{"url": "/", "description": "The service that serves this document."}],
        license_info={"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        contact={"name": "Factwire"},
    )
    made["paths"] = {path: made["paths"][path] for path in sorted(made["paths"], key=rank)}
    for path in made["paths"].values():
        for operation in path.values():
            operation["responses"] = without_additions(operation["responses"])
            if operation["operationId"] in PAGES:
                add_page_bounds(operation["parameters"], settings)
    keep_examples(app, made)
    if version == VERSION:
        leave_out(ITEM_SCHEMA, made["paths"])
    schemas = merge(schemas_of(structs_of(app)), schema_bounds(settings))
    schemas["Problem"]["properties"]["type"]["enum"] = sorted(
        {*map(type_uri, STATUSES), *(f"{TYPE_PREFIX}{code}" for code in SERVER_CODES)}
    )
    made["components"] = {"schemas": schemas, "securitySchemes": SECURITY_SCHEMES}
    return made


def add_page_bounds(parameters: list[dict[str, Any]], settings: Settings) -> None:
    bounds = page_bounds(settings)
    for parameter in parameters:
        parameter["schema"] = merge(parameter["schema"], bounds.get(parameter["name"], {}))


def rank(path: str) -> int:
    """Place of a path in the document: the paths that all clients need come first, the rest keeps its order."""
    return FIRST.index(path) if path in FIRST else len(FIRST)


def structs_of(app: FastAPI) -> list[type]:
    """The structs that the routes declare as bodies and results, and that of problems."""
    declared = [route.openapi_extra for route in app.routes if isinstance(route, PlainRoute)]
    structs = {struct for each in declared if isinstance(each, Declared) for struct in each.structs}
    return sorted(structs | {Problem}, key=lambda struct: struct.__name__)


def keep_examples(app: FastAPI, made: dict[str, Any]) -> None:
    """Restore the examples as they were written: FastAPI removes null members from them."""
    for route in app.routes:
        if isinstance(route, PlainRoute) and route.include_in_schema:
            for method in route.methods or ():
                operation = made["paths"][route.path][method.lower()]
                for part, written in parts_of(route.openapi_extra or {}):
                    for media_type, described in written.get("content", {}).items():
                        if "example" in described:
                            found = operation["requestBody"] if part is None else operation["responses"][part]
                            found["content"][media_type]["example"] = described["example"]


def parts_of(extra: dict[str, Any]) -> list[tuple[str | None, dict[str, Any]]]:
    """The responses of an operation by status, and its request body with None."""
    bodies = [(None, extra["requestBody"])] if "requestBody" in extra else []
    return [*bodies, *extra["responses"].items()]


def without_additions(responses: dict[str, Any]) -> dict[str, Any]:
    """The responses without the additions of FastAPI for its own routes: validation errors, and content of any JSON."""
    for response in responses.values():
        content = response.get("content", {})
        for media_type in [media_type for media_type, described in content.items() if described.get("schema") == {}]:
            del content[media_type]
    return {
        status: response
        for status, response in sorted(responses.items())
        if "HTTPValidationError" not in json.dumps(response)
    }


def leave_out(name: str, below: Any) -> None:
    """Remove every member with this name, at any depth of nested objects."""
    if isinstance(below, dict):
        below.pop(name, None)
        for value in below.values():
            leave_out(name, value)


def render_document(app: FastAPI, version: str = VERSION) -> str:
    """The document as JSON text, in the form that is committed to the repository."""
    return json.dumps(document(app, version), indent=2, ensure_ascii=False) + "\n"
