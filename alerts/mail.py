"""A sender of our own for mail: over TLS, to the address that was resolved and allowed, in text and simple HTML.

A notice that is sent twice has the same Message-ID, by which mail programs know it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import smtplib
import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from html import escape
from typing import BinaryIO
from urllib.parse import parse_qsl, unquote, urlsplit

from alerts import webhook
from alerts.answer import EXCERPT, printable
from alerts.notice import Notice, clean

STEP_S = 5.0  # to connect, and for each answer
WHOLE_S = 14.0  # for all of it, less than the notifier waits
ANSWER_BYTES_MAX = 65_536  # of all its answers
FORM = "smtp[s]://[user:password@]host[:port]?from=a@b&to=c@d[,e@f]"
_PORTS = {"smtp": 587, "smtps": 465, "smtp+plain": 25}
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+"  # RFC 5322, dot-atom
_MAILBOX = re.compile(rf"{_ATOM}(\.{_ATOM})*@[A-Za-z0-9-]{{1,63}}(\.[A-Za-z0-9-]{{1,63}})*")
_COLOURS = {"critical": "#c62828", "major": "#ef6c00", "minor": "#f9a825", "info": "#1565c0", "cleared": "#2e7d32"}


class MailError(Exception):
    """A mail was not taken, or nobody can know.

    Attributes:
        final: trying again would not help.
    """

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Where to, as read from an address.

    Attributes:
        scheme: ``smtp`` (STARTTLS, demanded), ``smtps`` (TLS from the start) or ``smtp+plain``.
        host, port: of the server that takes mail.
        user, password: empty where it asks for none.
        sender, to: who writes to whom.
        allow_private: whether the server may lie inside.
    """

    scheme: str
    host: str
    port: int
    user: str
    password: str
    sender: str
    to: tuple[str, ...]
    allow_private: bool = False


def parse(url: str, *, allow_private: bool = False) -> Mailbox:
    """Read an address as FORM says. Raises ValueError with a sentence that does not show the address."""
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"has a port that is no number; expected {FORM}") from None
    if parts.scheme not in _PORTS or not host or parts.path.strip("/"):
        raise ValueError(f"expected {FORM}")
    if parts.scheme == "smtp+plain" and not allow_private:
        raise ValueError("smtp+plain:// is not encrypted: only for a receiver with 'allow_private: true'")
    asked = dict(parse_qsl(parts.query.replace("+", "%2B")))
    to = tuple(one.strip() for one in asked.pop("to", "").split(","))
    sender = asked.pop("from", "")
    if asked:
        raise ValueError(f"'?{clean(next(iter(asked)), 40)}=' is not known; expected {FORM}")
    if not all(_MAILBOX.fullmatch(one) for one in (sender, *to)):
        raise ValueError(f"'from' and 'to' must be mail addresses such as duty@city.example; expected {FORM}")
    host = host.encode("idna").decode() if not host.isascii() else host
    webhook.check_outside(host, allow_private=allow_private)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Mailbox(parts.scheme, host, port or _PORTS[parts.scheme], user, password, sender, to, allow_private)


def message(to: Mailbox, notice: Notice) -> EmailMessage:
    """Return the mail. The words in its head are one line each and encoded, so that none of them becomes a header."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Address("Lamplighter", addr_spec=to.sender)
    mail["To"] = ", ".join(to.to)
    mail["Subject"] = clean(notice.headline, 150)
    mail["Date"] = formatdate()  # the world's time: the house's may be a demo's
    digest = hashlib.blake2s(notice.key.encode(), digest_size=16).hexdigest()
    mail["Message-ID"] = f"<{digest}@{to.sender.partition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday reply
    facts = [f"{clean(name, 40)}{notice.colon}{clean(value, 300)}" for name, value in notice.facts]
    links = [f"{clean(name, 40)}{notice.colon}{address}" for name, address in notice.links]
    mail.set_content("\n".join([clean(notice.text, 2000), "", *facts, *links, ""]), cte="base64")
    mail.add_alternative(_html(notice), subtype="html", cte="base64")
    return mail


def _html(notice: Notice) -> str:
    rows = [(name, escape(clean(value, 300))) for name, value in notice.facts]
    rows += [(name, f'<a href="{escape(address)}">{escape(address)}</a>') for name, address in notice.links]
    table = "".join(f"<tr><td>{escape(clean(name, 40))}</td><td>{value}</td></tr>" for name, value in rows)
    colour = _COLOURS.get(notice.mood, "#1565c0")
    return (
        f'<h3 style="color:{colour}">{escape(clean(notice.headline, 150))}</h3>'
        f'<p>{escape(clean(notice.text, 2000))}</p><table cellpadding="4">{table}</table>\n'
    )


def post(to: Mailbox, notice: Notice) -> None:
    """Send a mail. Blocks for a quarter of a minute at most. Raises MailError, final or not."""
    place = f"{to.host}:{to.port}"
    try:
        addresses = webhook.outside(to.host, to.port, allow_private=to.allow_private)
        refused = _told(to, message(to, notice), addresses)
    except webhook.WebhookError as trouble:
        raise MailError(str(trouble)) from None
    except smtplib.SMTPRecipientsRefused as trouble:
        refused = trouble.recipients
    except smtplib.SMTPResponseException as trouble:
        said = _words(trouble.smtp_error)
        raise MailError(f"{place} answered {trouble.smtp_code}: {said}", final=500 <= trouble.smtp_code < 600) from None
    except smtplib.SMTPNotSupportedError as trouble:
        raise MailError(f"{place}: {_words(str(trouble))}", final=True) from None
    except ssl.SSLCertVerificationError as trouble:
        raise MailError(f"{place}: its certificate is not accepted: {trouble.verify_message}") from None
    except TimeoutError:
        raise MailError(f"{place}: no answer within {STEP_S:g} s") from None
    except (smtplib.SMTPException, OSError) as trouble:
        raise MailError(f"{place}: {_words(str(trouble)) or type(trouble).__name__}") from None
    if refused:
        lines = [f"{name} refused with {code}: {_words(said)}" for name, (code, said) in refused.items()]
        raise MailError(f"{place}: {'; '.join(lines)}", final=all(500 <= code < 600 for code, _ in refused.values()))


class _Pinned(smtplib.SMTP):
    """A conversation with a server at addresses that were looked up once, with little patience for long answers."""

    def __init__(self, to: Mailbox, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._heard = 0
        self._dog = threading.Timer(WHOLE_S, self.cut)
        self._dog.daemon = True
        self._dog.start()
        try:
            super().__init__(to.host, to.port, local_hostname="localhost", timeout=STEP_S)
            mine = self.sock.getsockname()[0] if self.sock is not None else "127.0.0.1"
            self.local_hostname = f"[IPv6:{mine}]" if ":" in mine else f"[{mine}]"  # RFC 5321, 4.1.3
        except BaseException:
            self.close()
            raise

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        del host
        last: OSError = OSError("its name has no address")
        for address in self._addresses:
            try:
                return socket.create_connection((address, port), timeout)
            except OSError as trouble:
                last = trouble
        raise last

    def getreply(self) -> tuple[int, bytes]:
        """Read one answer. Raises OSError when all of them together are long."""
        if self.file is None and self.sock is not None:
            self.file = _Short(self.sock.makefile("rb"), self._heard)
        code, said = super().getreply()
        self._heard += len(said)
        return code, said

    def close(self) -> None:
        """End the conversation."""
        self._dog.cancel()
        super().close()

    def cut(self) -> None:
        """End the conversation from another thread."""
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


class _PinnedTls(_Pinned):
    """The same, encrypted from the first byte."""

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = super()._get_socket(host, port, timeout)
        try:
            return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise


class _Short:
    """What a server says, as long as it is short."""

    def __init__(self, file: BinaryIO, heard: int) -> None:
        self._file, self._heard = file, heard

    def readline(self, size: int = -1) -> bytes:
        """Read a line. Raises OSError when it has said too much."""
        line = self._file.readline(size)
        self._heard += len(line)
        if self._heard > ANSWER_BYTES_MAX:
            raise OSError("its answer is longer than 64 kB")
        return line

    def close(self) -> None:
        """Read no more."""
        self._file.close()


def _told(to: Mailbox, mail: EmailMessage, addresses: Sequence[str]) -> dict[str, tuple[int, bytes]]:
    """Hand a mail over; return who was refused while others were not."""
    server = (_PinnedTls if to.scheme == "smtps" else _Pinned)(to, addresses)
    try:
        if to.scheme == "smtp":
            server.starttls(context=ssl.create_default_context())
        if to.user:
            server.login(to.user, to.password)
        refused: dict[str, tuple[int, bytes]] = server.sendmail(to.sender, to.to, mail.as_bytes())
        with contextlib.suppress(smtplib.SMTPException, OSError):
            server.quit()  # it is delivered, whatever is said now
    finally:
        server.close()
    return refused


def _words(said: bytes | str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return printable(text)[:EXCERPT]
