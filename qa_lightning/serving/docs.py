"""The page that describes a server, made of its OpenAPI document; it needs no other site and no other file."""

from __future__ import annotations

import json
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
"""What a browser lets the page do: ask this server."""


def docs_page(openapi: dict[str, Any]) -> str:
    """The page.

    Args:
        openapi: The document, as FastAPI makes it.
    """
    schemas = openapi["components"]["schemas"]
    operations = [
        _operation(path, method, operation, schemas)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    environment = Environment(
        loader=PackageLoader("qa_lightning.serving", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["kind"] = kind
    return environment.get_template("docs.html.j2").render(info=openapi["info"], operations=operations, schemas=schemas)


def kind(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words: ``string, or list of string``."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return ", or ".join(kind(one) for one in schema["anyOf"] if one.get("type") != "null")
    if schema.get("type") == "array":
        return f"list of {kind(schema['items'])}"
    if "properties" in schema:
        return f"{{{', '.join(schema['properties'])}}}"
    return schema.get("type", "anything")


def _operation(path: str, method: str, operation: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    body = _schema(operation.get("requestBody", {}))
    responses = sorted(operation["responses"].items())
    return {
        "method": method.upper(),
        "path": path,
        "told": operation.get("description", ""),
        "body": body,
        "example": json.dumps(schemas[kind(body)].get("example", {}), indent=2) if body else "",
        "responses": [(status, one["description"], kind(_schema(one))) for status, one in responses],
    }


def _schema(content: dict[str, Any]) -> dict[str, Any]:
    """The schema of a body or a response of JSON."""
    return content.get("content", {}).get("application/json", {}).get("schema", {})
