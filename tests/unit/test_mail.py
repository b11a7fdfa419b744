"""Mail goes out encrypted, to the address that was resolved, in words that cannot become headers or markup.

The servers are real SMTP conversations on the loopback, with TLS under an authority of the test's own.
"""

from __future__ import annotations

import base64
import email
import email.policy
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path

import pytest
import trustme

from alerts import mail, webhook
from alerts.delivery import DeliveryError, Receiver, send
from alerts.notice import notice_of
from devices.transition import ACTIVE, Transition
from devices.yamlfile import ConfigError

HOST = "mail.example"

NOW_MS = 1_781_553_600_123


@dataclass
class Server:
    """A mail server that says what it is told to say to each command, and remembers what it heard.

    Attributes:
        says: answer by command, or by command and its argument; ``GREETING`` and ``.`` (the end of a mail) among them.
        tls: its certificate; offered with STARTTLS unless ``wrapped`` from the start.
    """

    says: dict[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    wrapped: bool = False
    heard: list[str] = field(default_factory=list)
    mails: list[bytes] = field(default_factory=list)
    port: int = 0

    def answer(self, line: str) -> str:
        verb = line.split(" ", maxsplit=1)[0].upper()
        offers = ["AUTH PLAIN", *(["STARTTLS"] if self.tls and not self.wrapped else [])]
        usual = {
            "GREETING": "220 ready",
            "EHLO": "\r\n".join(["250-mail.example"] + [f"250-{offer}" for offer in offers] + ["250 8BITMIME"]),
            "STARTTLS": "220 go on",
            "AUTH": "235 come in",
            "DATA": "354 go on",
            "QUIT": "221 bye",
        }
        return self.says.get(line) or self.says.get(verb) or usual.get(verb, "250 ok")

    def talk(self, plain: socket.socket, stack: ExitStack) -> None:
        talk = self.tls.wrap_socket(plain, server_side=True) if self.tls and self.wrapped else plain
        stack.enter_context(talk)
        talk.sendall(self.answer("GREETING").encode() + b"\r\n")
        lines = talk.makefile("rb")
        while raw := lines.readline():
            line = raw.decode().rstrip("\r\n")
            self.heard.append(line)
            said = self.answer(line)
            talk.sendall(said.encode() + b"\r\n")
            if line == "STARTTLS" and said.startswith("220") and self.tls:
                talk = stack.enter_context(self.tls.wrap_socket(talk, server_side=True))
                lines = talk.makefile("rb")
            if line.upper() == "DATA" and said.startswith("354"):
                got = []
                while (part := lines.readline()) != b".\r\n":
                    got.append(part[1:] if part.startswith(b"..") else part)
                self.mails.append(b"".join(got))
                talk.sendall(self.answer(".").encode() + b"\r\n")

    def serve(self, door: socket.socket) -> None:
        while True:
            try:
                plain, _ = door.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(plain,), daemon=True).start()

    def _one(self, plain: socket.socket) -> None:
        with suppress(OSError, ValueError), ExitStack() as stack:
            stack.enter_context(plain)
            self.talk(plain, stack)


@contextmanager
def server(**more: object) -> Iterator[Server]:
    one = Server(**more)  # type: ignore[arg-type]
    with socket.create_server(("127.0.0.1", 0)) as door:
        one.port = door.getsockname()[1]
        threading.Thread(target=one.serve, args=(door,), daemon=True).start()
        yield one
        door.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "resolve", lambda _host, _port: ["127.0.0.1"])


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A certificate of the host's name, by an authority that this machine trusts for the time of the test."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    return context


def transition(name: str = "1号井盖") -> Transition:
    words = {"zh": {"rule": "井盖打开", "name": name, "place": "市中区 滨河路", "since": "2026-03-01 21:00"}}
    words["en"] = {"rule": f"Open {name}", "name": name, "place": "Binhe Road", "since": "2026-03-01 21:00"}
    message = {"zh": f"{name}打开", "en": f"{name} is open"}
    values = {"value": 31.0}
    return Transition(
        "a1", "r", "device:c1", ACTIVE, 2, 1, "critical", message, values, "", "m", 121.4737, 31.2304, "", words
    )


def url(one: Server, scheme: str = "smtp+plain", to: str = "crew@city.example") -> str:
    return f"{scheme}://{HOST}:{one.port}?from=lamp@city.example&to={to}"


def told(one: Server) -> EmailMessage:
    found = email.message_from_bytes(one.mails[-1], policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def text_of(one: Server, kind: str) -> str:
    part = told(one).get_body((kind,))
    assert part is not None
    return str(part.get_content())


def test_a_mail_says_in_chinese_where_and_why_in_text_and_html() -> None:
    with server() as one:
        send(
            Receiver("crew", url(one, to="crew@city.example,chief@city.example"), allow_private=True),
            transition(),
            NOW_MS,
        )
    got = told(one)
    assert got["Subject"] == "【紧急】点灯人告警 · 井盖打开"
    assert (got["From"], got["To"]) == (
        "Lamplighter <lamp@city.example>",
        "crew@city.example, chief@city.example",
    )
    assert {"Date", "Message-ID", "MIME-Version"} <= set(got.keys())
    assert text_of(one, "plain").splitlines() == [
        "1号井盖打开",
        "",
        "地点：市中区 滨河路",
        "设施：1号井盖",
        "规则：井盖打开",
        "数值：31",
        "开始时间：2026-03-01 21:00",
        "地图：https://www.openstreetmap.org/?mlat=31.230400&mlon=121.473700#map=18/31.230400/121.473700",
    ]
    assert "<td>地点</td><td>市中区 滨河路</td>" in text_of(one, "html")
    assert one.heard[0] == "ehlo [127.0.0.1]"
    assert [line for line in one.heard if line.lower().startswith("rcpt")] == [
        "rcpt TO:<crew@city.example>",
        "rcpt TO:<chief@city.example>",
    ]


def test_the_same_notice_has_the_same_message_id_and_every_other_another() -> None:
    to = mail.parse("smtps://mail.example?from=lamp@city.example&to=crew@city.example")
    first, again = (mail.message(to, notice_of(transition(), "en", "a1:active:crew")) for _ in range(2))
    other = mail.message(to, notice_of(transition(), "en", "a1:cleared:crew"))
    assert first["Message-ID"] == again["Message-ID"] != other["Message-ID"]
    assert first["Message-ID"].endswith("@city.example>")


def test_no_name_becomes_a_header_or_markup() -> None:
    nasty = "x\r\nBcc: all@city.example\r\n\r\n.\r\n<script>alert(1)</script>&\u2028\x00"
    with server() as one:
        send(Receiver("crew", url(one), language="en", allow_private=True), transition(nasty), NOW_MS)
    got = told(one)
    assert got["Bcc"] is None
    assert set(got.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"
    }  # fmt: skip
    assert got["Subject"].startswith("Critical · Lamplighter · Open x Bcc: all@city.example . <script>")
    assert "<script" not in text_of(one, "html")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;" in text_of(one, "html")
    assert len(one.mails) == 1


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_names_and_words_go_encrypted_and_only_to_the_names_certificate(
    scheme: str, certificate: ssl.SSLContext
) -> None:
    with server(tls=certificate, wrapped=scheme == "smtps") as one:
        address = url(one, scheme).replace("://", "://clerk:s%3Ax@")
        send(Receiver("crew", address, allow_private=True), transition(), NOW_MS)
        login = base64.b64encode(b"\0clerk\0s:x").decode()
        assert f"AUTH PLAIN {login}" in one.heard
        before = one.heard[: one.heard.index("STARTTLS")] if scheme == "smtp" else []
        assert not [line for line in before if line.startswith("AUTH")]
        assert len(one.mails) == 1
        with pytest.raises(DeliveryError, match="certificate is not accepted") as refused:
            send(Receiver("crew", address.replace(HOST, "other.example"), allow_private=True), transition(), NOW_MS)
        assert not refused.value.final
        assert len(one.mails) == 1


@pytest.mark.parametrize(
    ("says", "expected", "final"),
    [
        ({"MAIL": "550 no \x1b[31msuch sender"}, "answered 550: no [31msuch sender", True),
        ({"MAIL": "451 later"}, "answered 451: later", False),
        ({"AUTH": "535 wrong password"}, "answered 535: wrong password", True),
        ({"AUTH": "454 later"}, "answered 454", False),
        ({".": "554 spam"}, "answered 554: spam", True),
        ({".": "452 full"}, "answered 452: full", False),
        ({"GREETING": "421 busy"}, "answered 421", False),
        ({"GREETING": "554 go away"}, "answered 554", True),
        ({"rcpt TO:<b@city.example>": "550 unknown"}, "b@city.example refused with 550: unknown", True),
        ({"rcpt TO:<b@city.example>": "450 grey"}, "b@city.example refused with 450: grey", False),
        ({"RCPT": "550 unknown"}, "a@city.example refused with 550: unknown; b@city.example", True),
        ({"EHLO": "\r\n".join(["250-" + "x" * 500] * 200 + ["250 AUTH PLAIN"])}, "longer than 64 kB", False),
        ({"GREETING": "HTTP/1.1 400 Bad"}, ":", False),
    ],
)
def test_what_a_server_refuses_is_said_in_words(says: dict[str, str], expected: str, *, final: bool) -> None:
    with server(says=says) as one:
        address = url(one, to="a@city.example,b@city.example").replace("://", "://clerk:secret@")
        with pytest.raises(DeliveryError) as refused:
            send(Receiver("crew", address, allow_private=True), transition(), NOW_MS)
    assert expected in str(refused.value)
    assert "secret" not in str(refused.value)
    assert refused.value.final is final


def test_a_server_without_encryption_is_not_told_anything(certificate: ssl.SSLContext) -> None:
    with server() as one, pytest.raises(DeliveryError, match="STARTTLS") as refused:
        send(Receiver("crew", url(one, "smtp").replace("://", "://clerk:x@"), allow_private=True), transition(), NOW_MS)
    assert refused.value.final
    assert not [line for line in one.heard if line.startswith("AUTH")]


def test_a_server_that_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "WHOLE_S", 0.5)
    stop = threading.Event()

    def drip(self: Server, plain: socket.socket, _: ExitStack) -> None:
        while not stop.wait(0.05):
            plain.sendall(b"2")

    monkeypatch.setattr(Server, "talk", drip)
    with server() as one:
        with pytest.raises(DeliveryError) as refused:
            send(Receiver("crew", url(one), allow_private=True), transition(), NOW_MS)
        stop.set()
    assert not refused.value.final


def test_a_server_inside_is_not_reached_unless_that_is_meant() -> None:
    with server() as one, pytest.raises(DeliveryError, match="leads inside this network"):
        send(Receiver("crew", url(one, "smtp")), transition(), NOW_MS)
    assert one.heard == []


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("smtp+plain://mail.example?from=a@b&to=c@d", "is not encrypted"),
        ("smtp://127.0.0.1?from=a@b&to=c@d", "lies inside this network"),
        ("smtp://mail.example?from=a@b", "must be mail addresses"),
        ("smtp://mail.example?from=a@b&to=c@d%0d%0aBcc:SECRET@f", "must be mail addresses"),
        ("smtp://mail.example?from=a..SECRET@b&to=c@d", "must be mail addresses"),
        ("smtp://mail.example?from=a@b&to=c@d&SECRET=1", "is not known"),
        ("smtp://mail.example:SECRET?from=a@b&to=c@d", "a port that is no number"),
        ("smtp:///?from=a@b&to=c@d", "expected smtp[s]://"),
    ],
)
def test_a_wrong_mail_address_is_refused_at_the_start(address: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Receiver("crew", address).check()
    (line,) = refused.value.problems
    assert line.startswith("settings: notify.crew.url: ")
    assert says in line
