"""The OpenAPI description as one page of HTML that loads nothing."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

STYLE = """\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 0.9em/1.4 ui-monospace, monospace; }
pre { overflow-x: auto; padding: 0.5rem 1rem; border: 1px solid #8886; border-radius: 6px; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.8rem 0.3rem 0;
  border-bottom: 1px solid #8886; }
h2 { margin-top: 3rem; }"""
EXAMPLES = {
    "/v1/completions": '{"prompt": "Once", "max_tokens": 40, "stream": true}',
    "/v1/chat/completions": '{"messages": [{"role": "user", "content": "Hello"}]}',
    "/tokenize": '{"text": "Hello"}',
    "/detokenize": '{"ids": [0, 1]}',
}


def page_of(api: dict[str, Any]) -> str:
    """The page for an OpenAPI description."""
    return "\n".join(_lines(api))


def _lines(api: dict[str, Any]) -> Iterator[str]:
    title = escape(api["info"]["title"])
    yield "<!doctype html>"
    yield f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<style>{STYLE}</style></head><body><main>"
    yield f"<h1>{title}</h1><p>{_text(api['info'].get('description', ''))}</p>"
    yield '<p>For programs: <a href="openapi.json"><code>openapi.json</code></a>.</p>'
    schemas = api["components"]["schemas"]
    for path, methods in api["paths"].items():
        for method, about in methods.items():
            yield f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
            yield f"<p><b>{_text(about.get('summary', ''))}.</b> "
            yield f"{_text(about.get('description', ''))}</p>"
            if path in EXAMPLES:
                head = "-H 'Content-Type: application/json'"
                yield f"<pre>curl http://HOST:PORT{path} {head} \\\n  -d '{EXAMPLES[path]}'</pre>"
            if "requestBody" in about:
                content = about["requestBody"]["content"]["application/json"]
                yield from _fields(_resolved(content["schema"], schemas))
    yield "</main></body></html>"


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    needed = schema.get("required", [])
    yield "<table><thead><tr><th>field<th>values<th>meaning</tr></thead><tbody>"
    for name, field in schema.get("properties", {}).items():
        mark = " (needed)" if name in needed else ""
        yield f"<tr><td><code>{escape(name)}</code>{mark}<td>{escape(_kind(field))}"
        yield f"<td>{_text(field.get('description', ''))}</tr>"
    yield "</tbody></table>"


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    return schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _kind(field: dict[str, Any]) -> str:
    """A type and its limits in words."""
    if "anyOf" in field or "oneOf" in field:
        kinds = [_kind(one) for one in field.get("anyOf", field.get("oneOf", []))]
        return " or ".join(kind for kind in kinds if kind != "null")
    if "$ref" in field:
        return field["$ref"].rpartition("/")[2]
    if "enum" in field:
        return ", ".join(map(str, field["enum"]))
    if field.get("type") == "array":
        return f"list of {_kind(field.get('items', {}))}"
    limits = [
        f"{sign} {field[key]:g}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"))
        if key in field
    ]
    return " ".join([str(field.get("type", "any")), *limits])


def _text(text: str) -> str:
    """Escaped, with `code` between backticks."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if n % 2 else part for n, part in enumerate(parts))
