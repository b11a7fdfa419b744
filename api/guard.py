"""What every answer carries and every question must pass: headers, host name, same origin, token."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem

COOKIE = "lamplighter_token"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; worker-src 'self' blob:; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
OPEN = ("/healthz", "/api/session")  # asked without a token
SAFE = ("GET", "HEAD", "OPTIONS")
BODY_BYTES_MAX = 65_536  # the longest name and note are a few kilobytes


class Guard:
    """ASGI middleware around the whole application.

    Args:
        token: asked of everything under /api and of /metrics, as ``Authorization: Bearer`` or as the cookie that
            ``POST /api/session`` sets; None asks nothing.
        hosts: host names it answers to (a page elsewhere that rebinds its name to ours gets nothing); empty allows any.
    """

    def __init__(self, app: ASGIApp, token: str | None = None, hosts: Sequence[str] = ()) -> None:
        self.app = app
        self.token = token
        self.hosts = frozenset(name.lower() for name in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request and pass it on, or answer why not."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/api"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self.app(scope, receive, with_headers)
        else:
            status, detail = refusal
            extra = {"WWW-Authenticate": "Bearer"} if status == 401 else None
            await problem(status, detail, extra)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.hosts and _name(host) not in self.hosts:
            return 403, f"This house does not go by the name '{_name(host)}'."
        if scope["method"] not in SAFE and not _same_origin(headers, host):
            return 403, "Changes are accepted from the house's own pages and from programs, not from other sites."
        if scope["method"] not in SAFE and not _small(headers):
            return 413, f"A change is sent with its Content-Length, at most {BODY_BYTES_MAX} bytes."
        path = scope["path"]
        asks = path.startswith("/api") or path in ("/metrics", "/openapi.json", "/docs")
        if self.token and asks and path not in OPEN and not _carries(headers, self.token):
            return 401, "Send the token as 'Authorization: Bearer …'."
        return None


def _carries(headers: Headers, token: str) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        given = _cookie(headers.get("cookie", ""))
    return hmac.compare_digest(given.encode(), token.encode())


def _same_origin(headers: Headers, host: str) -> bool:
    """Say whether a change comes from our own page, or from a program (which sends neither header)."""
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2].lower() == host.lower()


def _small(headers: Headers) -> bool:
    length = headers.get("content-length", "")
    return length.isdecimal() and int(length) <= BODY_BYTES_MAX


def _name(host: str) -> str:
    bare = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return bare.strip("[]").lower()


def _cookie(header: str) -> str:
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""
