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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from alerts import answer
from alerts.answer import EXCERPT, printable, read

CONNECT_S = 5.0  # to reach it, and again for the handshake of TLS
SCHEMES = {"json": ("http", 80), "jsons": ("https", 443)}
FORM = "json[s]://[user:password@]host[:port]/path[?+Header=value&-question=value]"
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_ASSIGNED = ipaddress.ip_network("192.0.0.0/24")  # RFC 6890; parts of it count as global
Body = Mapping[str, Any] | Sequence[Mapping[str, Any]]
_TRY_AGAIN = (408, 425, 429)  # timeouts, too early, too many: the receiver asks for another time
_EMBEDDED = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))  # an IPv4 address in the last bits


class WebhookError(Exception):
    """A webhook was not told, or nobody can know.

    Attributes:
        status: of the answer, 0 where there was none.
        final: trying again would not help; said by the status where nothing else is known.
    """

    def __init__(self, text: str, status: int = 0, *, final: bool | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.final = refused(status) if final is None else final


def refused(status: int) -> bool:
    """Return whether a status says that the receiver has understood and will not have it."""
    return 300 <= status < 500 and status not in _TRY_AGAIN


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
    check_outside(host, allow_private=allow_private)
    return Webhook(host, port, target, scheme == "https", headers, allow_private)


def check_outside(host: str, *, allow_private: bool) -> None:
    """Raise ValueError for a host that is an address inside, where that is not allowed."""
    if not allow_private and _literal(host) and inside(host):
        raise ValueError(f"lies inside this network; set 'allow_private: true' for this receiver if {host} is meant")


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


def post(hook: Webhook, body: Body, headers: Mapping[str, str]) -> None:
    """Send JSON. Blocks for a few times five seconds at most. Raises WebhookError unless it was taken (2xx)."""
    status, excerpt = _exchange(hook, body, headers, whole=False)
    if not 200 <= status < 300:
        raise refusal(hook, status, excerpt)


def ask(hook: Webhook, body: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[int, str]:
    """Send JSON and return the status and the whole text of the answer, whatever it says, of at most 64 kB.

    For services that say in the text what became of it. Blocks and raises like :func:`post` where nothing is answered.
    """
    return _exchange(hook, body, headers, whole=True)


def refusal(hook: Webhook, status: int, excerpt: str) -> WebhookError:
    """Return what an answer other than 2xx means."""
    moved = "; redirects are not followed" if 300 <= status < 400 else ""
    said = printable(excerpt[:EXCERPT])
    return WebhookError(f"{hook.place} answered {status}{moved}{f': {said}' if said else ''}", status)


def _exchange(hook: Webhook, body: Body, headers: Mapping[str, str], *, whole: bool) -> tuple[int, str]:
    data = json.dumps(body, ensure_ascii=False).encode()
    try:
        with _connected(hook, outside(hook.host, hook.port, allow_private=hook.allow_private)) as connection:
            connection.sendall(_question(hook, data, headers) + data)
            return read(connection, whole=whole)
    except ssl.SSLCertVerificationError as trouble:
        raise WebhookError(f"{hook.place}: its certificate is not accepted: {trouble.verify_message}") from trouble
    except TimeoutError:
        raise WebhookError(f"{hook.place}: no answer within {answer.ANSWER_S:g} s") from None
    except OSError as trouble:
        raise WebhookError(f"{hook.place}: {trouble.strerror or trouble}") from trouble


def outside(host: str, port: int, *, allow_private: bool) -> Sequence[str]:
    """Return where to go; refused where any of a name's addresses lies inside, for the next answer may be that one.

    Raises:
        WebhookError: where that is so.
        OSError: when the name has no address.
    """
    found = resolve(host, port)
    if not allow_private and any(inside(address) for address in found):
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise WebhookError(
            f"{place} leads inside this network; set 'allow_private: true' for this receiver if that is meant"
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


def _literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
