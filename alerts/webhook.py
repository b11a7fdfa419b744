"""A sender of our own for plain webhooks, which goes where it was sent and nowhere else.

A webhook's address is text in the settings, its name is answered by somebody's DNS, and its answer is written by a
stranger. So: the name is resolved once and the connection goes to that very address; addresses inside (private,
loopback, link-local and the like) are refused unless the settings allow them for this receiver; redirects are not
followed; of the answer little is read, and not for long.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

CONNECT_S = 5.0  # to reach it, and again for the handshake of TLS
ANSWER_S = 5.0  # from the end of the question to the end of the answer's head
EXCERPT_S = 0.5  # for the beginning of a refusal's text
ANSWER_BYTES_MAX = 65_536
EXCERPT = 200  # characters of a refusal that are told
SCHEMES = {"json": ("http", 80), "jsons": ("https", 443)}
FORM = "json[s]://[user:password@]host[:port]/path[?+Header=value&-question=value]"
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_ASSIGNED = ipaddress.ip_network("192.0.0.0/24")  # RFC 6890; parts of it count as global
_EMBEDDED = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))  # an IPv4 address in the last bits


class WebhookError(Exception):
    """A webhook was not told, or nobody can know.

    Attributes:
        status: of the answer, 0 where there was none.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where to, as read from an address.

    Attributes:
        host, port, target: of the question; ``target`` is path and query.
        tls: whether the connection is encrypted and the server's certificate asked for.
        headers: further ones, by name.
        allow_private: whether the host may lie inside.
    """

    host: str
    port: int
    target: str
    tls: bool
    headers: Mapping[str, str]
    allow_private: bool = False

    @property
    def place(self) -> str:
        """Return host and port, without secrets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(url: str, *, allow_private: bool = False) -> Webhook:
    """Read an address as FORM says. Raises ValueError with a sentence that does not show the address."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"expected {FORM}")
    scheme, usual = SCHEMES[parts.scheme]
    try:
        host, port = parts.hostname, parts.port or usual
    except ValueError:
        raise ValueError(f"has a port that is no number; expected {FORM}") from None
    if not host:
        raise ValueError(f"names no host; expected {FORM}")
    host = host.encode("idna").decode() if not host.isascii() else host
    headers: dict[str, str] = {}
    questions: list[tuple[str, str]] = []
    for name, value in parse_qsl(parts.query.replace("+", "%2B"), keep_blank_values=True):
        if name.startswith("+") and _HEADER.fullmatch(name[1:]) and value.isprintable() and value.isascii():
            headers[name[1:]] = value
        elif name.startswith("-"):
            questions.append((name[1:], value))
        else:
            raise ValueError(f"'?{name}=' is not known; expected {FORM}")
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(secret).decode()}"
    path = parts.path or "/"
    if not (path.isprintable() and path.isascii()) or " " in path:
        raise ValueError(f"has a path that must be percent-encoded; expected {FORM}")
    target = f"{path}?{urlencode(questions)}" if questions else path
    found = Webhook(host, port, target, scheme == "https", headers, allow_private)
    if not allow_private and _literal(host) and inside(host):
        raise ValueError(f"lies inside this network; set 'allow_private: true' for this receiver if {host} is meant")
    return found


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a name, each once, in the order in which the resolver prefers them. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def inside(address: str) -> bool:
    """Say whether an address is not one of the public internet: private, shared (RFC 6598), loopback, link-local, …

    An IPv4 address that is written inside an IPv6 one (mapped, NAT64, 6to4, Teredo) is judged as what it is.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        hidden = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if hidden is None and any(ip in network for network in _EMBEDDED):
            hidden = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if hidden is not None:
            return inside(str(hidden))
        if ip.is_site_local:
            return True
    elif ip in _ASSIGNED:
        return True
    return ip.is_multicast or ip.is_reserved or not ip.is_global


def post(hook: Webhook, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    """Send JSON. Blocks for a few times five seconds at most. Raises WebhookError unless it was taken (2xx)."""
    data = json.dumps(body, ensure_ascii=False).encode()
    try:
        with _connected(hook, _addresses(hook)) as connection:
            connection.sendall(_question(hook, data, headers) + data)
            status, rest = _answer(connection)
    except ssl.SSLCertVerificationError as trouble:
        raise WebhookError(f"{hook.place}: its certificate is not accepted: {trouble.verify_message}") from trouble
    except TimeoutError:
        raise WebhookError(f"{hook.place}: no answer within {ANSWER_S:g} s") from None
    except OSError as trouble:
        raise WebhookError(f"{hook.place}: {trouble.strerror or trouble}") from trouble
    if not 200 <= status < 300:
        moved = "; redirects are not followed" if 300 <= status < 400 else ""
        excerpt = f": {rest}" if rest else ""
        raise WebhookError(f"{hook.place} answered {status}{moved}{excerpt}", status)


def _addresses(hook: Webhook) -> Sequence[str]:
    """Return where to go; refused where any of a name's addresses lies inside, for the next answer may be that one."""
    found = resolve(hook.host, hook.port)
    if not hook.allow_private and any(inside(address) for address in found):
        raise WebhookError(
            f"{hook.place} leads inside this network; set 'allow_private: true' for this receiver if that is meant"
        )
    return found


def _connected(hook: Webhook, addresses: Sequence[str]) -> socket.socket:
    """Connect to the first of the addresses that answers."""
    last: OSError = OSError("its name has no address")
    for address in addresses:
        try:
            plain = socket.create_connection((address, hook.port), timeout=CONNECT_S)
        except OSError as trouble:
            last = trouble
            continue
        if not hook.tls:
            return plain
        try:
            return ssl.create_default_context().wrap_socket(plain, server_hostname=hook.host)
        except BaseException:
            plain.close()
            raise
    raise last


def _question(hook: Webhook, data: bytes, headers: Mapping[str, str]) -> bytes:
    usual = 443 if hook.tls else 80
    lines = [f"POST {hook.target} HTTP/1.1", f"Host: {hook.host if hook.port == usual else hook.place}"]
    fixed = {
        "User-Agent": "Lamplighter",
        "Content-Type": "application/json; charset=utf-8",
        "Content-Length": str(len(data)),
        "Accept": "*/*",
        "Connection": "close",
    }
    lines += [f"{name}: {value}" for name, value in {**fixed, **hook.headers, **headers}.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _answer(connection: socket.socket) -> tuple[int, str]:
    """Return the status of the answer and, of a refusal, the beginning of its text."""
    until = time.monotonic() + ANSWER_S
    got = b""
    while True:
        head, end, rest = got.partition(b"\r\n\r\n")
        if end:
            found = _STATUS.match(head)
            if found is None:
                raise OSError("what it answers is not HTTP")
            status = int(found[1])
            if status >= 200:
                return status, "" if status < 300 else _excerpt(connection, rest)
            got = rest  # an interim answer
            continue
        if len(got) > ANSWER_BYTES_MAX:
            raise OSError("its answer's head does not end")
        got += _more(connection, until)


def _excerpt(connection: socket.socket, got: bytes) -> str:
    """Return the beginning of an answer's text, for the log: at most 64 kB are read, and not for long."""
    until = time.monotonic() + EXCERPT_S
    try:
        while len(got) < EXCERPT:
            got += _more(connection, until)
    except OSError:
        pass  # that was all of it
    text = got[:EXCERPT].decode("utf-8", "replace")
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _more(connection: socket.socket, until: float) -> bytes:
    connection.settimeout(max(until - time.monotonic(), 0.001))
    if time.monotonic() >= until:
        raise TimeoutError
    got = connection.recv(16_384)
    if not got:
        raise OSError("it hung up without an answer")
    return got


def _literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
