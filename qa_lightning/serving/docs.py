"""The page that describes a server, made of its OpenAPI document; it needs no other site and no other file."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup

from qa_lightning.utils.html import content_policy, html_environment, style_sheet

_PACKAGE = "qa_lightning.serving"

CONTENT_POLICY = content_policy(style="'unsafe-inline'", script="'unsafe-inline'", connect="'self'")
"""What a browser lets the page do: ask this server."""


def docs_page(openapi: dict[str, Any]) -> str:
    """Writes the page.

    Args:
        openapi: The document, as FastAPI makes it.
    """
    schemas = openapi["components"]["schemas"]
    operations = [
        _operation(path, method, operation, schemas)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    environment = html_environment(_PACKAGE)
    environment.filters["kind"] = kind
    return environment.get_template("docs.html.j2").render(
        info=openapi["info"],
        operations=operations,
        schemas=schemas,
        style=Markup(style_sheet(_PACKAGE, "docs.css")),  # noqa: S704
    )


def kind(schema: dict[str, Any]) -> str:
    """Describes a JSON schema in a few words: ``string, or list of string``."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return ", or ".join(kind(option) for option in schema["anyOf"] if option.get("type") != "null")
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
        "description": operation.get("description", ""),
        "body": body,
        "example": json.dumps(schemas[kind(body)].get("example", {}), indent=2) if body else "",
        "responses": [(status, response["description"], kind(_schema(response))) for status, response in responses],
    }


def _schema(content: dict[str, Any]) -> dict[str, Any]:
    """The schema of a body or a response of JSON."""
    return content.get("content", {}).get("application/json", {}).get("schema", {})
