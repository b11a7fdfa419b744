"""A readable page of everything that can be asked, made from OpenAPI; the stock pages fetch scripts from outside."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse

STYLE = """
body { font: 15px/1.5 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; background: #0a1018; color: #e8eef5; }
a { color: #5fa8ff; } h2 { font-size: 1rem; margin: 1.6rem 0 .2rem; } h2 code { color: #f6b73c; }
code { font-family: ui-monospace, monospace; } p { margin: .2rem 0; }
table { border-collapse: collapse; margin: .4rem 0; }
td { padding: .1rem 1rem .1rem 0; vertical-align: top; } td + td { color: #9db0c4; }
"""


def install(app: FastAPI) -> None:
    """Serve ``/docs`` for ``app``."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()))

    @app.get("/docs.css", include_in_schema=False)
    async def style() -> Response:
        return Response(STYLE, media_type="text/css")


def page(described: dict[str, Any]) -> str:
    """Return an OpenAPI description as one HTML page."""
    about = described["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{escape(about['title'])} API</title><link rel=stylesheet href=/docs.css>",
        f"<h1>{escape(about['title'])} {escape(about['version'])}</h1><p>{escape(about['description'])}",
        " Times are epoch milliseconds; null stands for unknown; errors are problem JSON.",
        " <a href=/openapi.json>openapi.json</a> holds the forms of all answers.",
    ]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            parts.append(_operation(path, method, operation))
    return "\n".join(parts)


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    rows = [
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(_about(each))}</td></tr>"
        for each in operation.get("parameters", [])
    ]
    table = f"<table>{''.join(rows)}</table>" if rows else ""
    head = f"<h2><code>{method.upper()} {escape(path)}</code> {escape(operation['summary'])}</h2>"
    return f"{head}<p>{escape(operation['description'])}</p>{table}"


def _about(parameter: dict[str, Any]) -> str:
    schema = parameter["schema"]
    default = f" Usually {schema['default']}." if schema.get("default") is not None else ""
    needed = " Needed." if parameter.get("required") else ""
    return f"{parameter.get('description', '').rstrip('.')}.{needed}{default}".removeprefix(".").strip()
