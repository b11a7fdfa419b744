"""Plain webhooks go to the address that was resolved and allowed, follow nobody, and read little of what they are told.

The sinks are real HTTP servers; 127.0.0.2 stands for an address of the public internet, 127.0.0.1 lies inside.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from alerts import answer as answers
from alerts import webhook
from alerts.answer import ANSWER_BYTES_MAX
from alerts.delivery import DeliveryError, Receiver, send
from alerts.webhook import WebhookError, inside, parse, post
from devices.transition import ACTIVE, Transition
from devices.yamlfile import ConfigError

PUBLIC, INSIDE = "127.0.0.2", "127.0.0.1"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

NOW_MS = 1_781_553_600_123


@dataclass
class Sink:
    """A server that answers raw bytes, or whatever ``answer`` does with the connection."""

    address: str
    answer: bytes | Callable[[socket.socket], None] = OK
    context: ssl.SSLContext | None = None
    got: list[bytes] = field(default_factory=list)
    port: int = 0

    def serve(self, door: socket.socket) -> None:
        while True:
            try:
                talk, _ = door.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(talk,), daemon=True).start()

    def talk(self, plain: socket.socket) -> None:
        try:
            with self.context.wrap_socket(plain, server_side=True) if self.context else plain as talk:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += talk.recv(4096)
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                while len(head.split(b"\r\n\r\n", 1)[1]) < length:
                    head += talk.recv(4096)
                self.got.append(head)
                if callable(self.answer):
                    self.answer(talk)
                else:
                    talk.sendall(self.answer)
        except OSError:
            pass


@contextmanager
def sink(address: str = PUBLIC, answer: bytes | Callable[[socket.socket], None] = OK, **more: object) -> Iterator[Sink]:
    one = Sink(address, answer, **more)  # type: ignore[arg-type]
    with socket.create_server((address, one.port)) as door:
        one.port = door.getsockname()[1]
        threading.Thread(target=one.serve, args=(door,), daemon=True).start()
        yield one
        door.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """A resolver of the test's own; of a name with several lines each is given once, the last for ever."""
    known: dict[str, list[str]] = {}

    def resolve(host: str, _port: int) -> list[str]:
        lines = known[host]
        return (lines.pop(0) if len(lines) > 1 else lines[0]).split()

    monkeypatch.setattr(webhook, "resolve", resolve)
    monkeypatch.setattr(webhook, "inside", lambda address: address != PUBLIC)
    return known


def notice() -> Transition:
    return Transition("a1", "cover_open", "device:cover-1", ACTIVE, 1, 1, "critical", {"en": "Open", "zh": "打开"})


def test_it_goes_to_the_address_that_the_name_had_with_the_name_in_its_head(names: dict[str, list[str]]) -> None:
    names["duty.example"] = [PUBLIC]
    with sink() as there:
        hook = parse(f"json://clerk:s%20x@duty.example:{there.port}/a/b?+X-City=linjiang&-tag=1")
        post(hook, {"message": "井盖"}, {"Idempotency-Key": "k"})
    (got,) = there.got
    assert got.startswith(b"POST /a/b?tag=1 HTTP/1.1\r\nHost: duty.example:")
    for line in (b"X-City: linjiang", b"Idempotency-Key: k", b"Authorization: Basic Y2xlcms6cyB4"):
        assert b"\r\n" + line + b"\r\n" in got
    assert got.endswith('{"message": "井盖"}'.encode())


def test_a_redirect_inwards_is_not_followed_and_final(names: dict[str, list[str]]) -> None:
    names["duty.example"] = [PUBLIC]
    with sink(INSIDE) as metadata:
        moved = f"HTTP/1.1 302 Found\r\nLocation: http://{INSIDE}:{metadata.port}/latest/meta-data\r\n\r\n"
        for answer in (moved, moved.replace(INSIDE, "169.254.169.254")):
            with sink(PUBLIC, answer.encode()) as there:
                with pytest.raises(DeliveryError, match="302; redirects are not followed") as told:
                    send(Receiver("duty", f"json://duty.example:{there.port}/"), notice(), NOW_MS)
                assert told.value.final
    assert metadata.got == []


def test_a_name_that_turns_inwards_is_refused_and_what_was_resolved_is_what_is_reached(
    names: dict[str, list[str]],
) -> None:
    with sink(PUBLIC) as there, sink(INSIDE) as secret:
        # First answer public, every later one inside: the one look-up decides, and nothing is asked again.
        names["rebind.example"] = [PUBLIC, INSIDE]
        post(parse(f"json://rebind.example:{there.port}/"), {}, {})
        assert len(there.got) == 1
        with pytest.raises(DeliveryError, match="leads inside this network; set 'allow_private: true'") as told:
            send(Receiver("duty", f"json://rebind.example:{secret.port}/"), notice(), NOW_MS)
        assert not told.value.final, "names can be mended; the notice waits"
        names["mixed.example"] = [f"{PUBLIC} {INSIDE}"]
        with pytest.raises(WebhookError, match="leads inside"):
            post(parse(f"json://mixed.example:{there.port}/"), {}, {})
        assert secret.got == []
        assert len(there.got) == 1
        allowed = parse(f"json://rebind.example:{secret.port}/", allow_private=True)
        post(allowed, {}, {})
        assert len(secret.got) == 1


def test_an_answer_without_end_is_cut_off(names: dict[str, list[str]]) -> None:
    names["duty.example"] = [PUBLIC]
    sent: list[int] = []

    def endless(head: bytes) -> Callable[[socket.socket], None]:
        def talk(to: socket.socket) -> None:
            to.sendall(head)
            sent.append(0)
            while True:
                to.sendall(b"x" * 4096)
                sent[-1] += 4096

        return talk

    for status in (200, 500):
        with sink(PUBLIC, endless(f"HTTP/1.1 {status} X\r\n\r\n".encode())) as there:
            hook = parse(f"json://duty.example:{there.port}/")
            if status == 200:
                post(hook, {}, {})
            else:
                with pytest.raises(WebhookError, match="answered 500: xxx") as told:
                    post(hook, {}, {})
                assert len(str(told.value)) < 300
    with sink(PUBLIC, endless(b"HTTP/1.1 200 OK\r\nX: ")) as there, pytest.raises(WebhookError, match="does not end"):
        post(parse(f"json://duty.example:{there.port}/"), {}, {})
    time.sleep(0.1)  # whoever sends learns of our hanging up
    assert max(sent) < ANSWER_BYTES_MAX + (8 << 20), "what the kernel buffers, not what it would have sent"


def test_an_answer_that_does_not_come_or_drips_is_waited_for_a_short_while_in_all(
    names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names["duty.example"] = [PUBLIC]
    monkeypatch.setattr(answers, "ANSWER_S", 0.4)

    def drip(to: socket.socket) -> None:
        for _ in range(100):
            to.sendall(b"H")
            time.sleep(0.1)

    for answer in (lambda _: time.sleep(3), drip):
        with sink(PUBLIC, answer) as there:
            began = time.monotonic()
            with pytest.raises(DeliveryError, match=r"no answer within 0\.4 s") as told:
                send(Receiver("duty", f"json://duty.example:{there.port}/"), notice(), NOW_MS)
            assert time.monotonic() - began < 3
            assert not told.value.final


@pytest.mark.parametrize(
    ("answer", "says", "final"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n\x1b[31mno such\r\n <chat>", "answered 404: [31mno such <chat>", True),
        (b"HTTP/1.1 429 Slow\r\nRetry-After: 9\r\n\r\n", "answered 429", False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\n\r\n", "answered 503", False),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "is not HTTP", False),
        (b"HTTP/1.1 200 O", "hung up without an answer", False),
        (b"", "hung up without an answer", False),
    ],
)
def test_every_other_answer_is_told_in_words(
    names: dict[str, list[str]], answer: bytes, says: str, *, final: bool
) -> None:
    names["duty.example"] = [PUBLIC]
    with sink(PUBLIC, answer) as there:
        with pytest.raises(DeliveryError) as told:
            send(Receiver("duty", f"json://duty.example:{there.port}/"), notice(), NOW_MS)
        assert says in str(told.value)
        assert told.value.final is final


def test_under_tls_the_certificate_must_be_the_names(
    names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names.update({"duty.example": [PUBLIC], "other.example": [PUBLIC]})
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("duty.example").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with sink(PUBLIC, context=context) as there:
        with pytest.raises(WebhookError, match="certificate is not accepted"):
            post(parse(f"jsons://duty.example:{there.port}/"), {}, {})
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        with pytest.raises(WebhookError, match="certificate is not accepted"):
            post(parse(f"jsons://other.example:{there.port}/"), {}, {})
        assert there.got == []
        post(parse(f"jsons://duty.example:{there.port}/"), {}, {})
        assert len(there.got) == 1


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        *((one, True) for one in ["127.0.0.1", "0.0.0.0", "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.169.254"]),
        *((one, True) for one in ["100.64.0.1", "192.0.0.8", "198.18.0.1", "224.0.0.1", "255.255.255.255", "::"]),
        *((one, True) for one in ["fe80::1%eth0", "fec0::1", "ff02::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"]),
        *((one, True) for one in ["::1", "fd00::1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "::7f00:1", "2001:db8::1"]),
        *((one, False) for one in ["8.8.8.8", "1.1.1.1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700::1111"]),
    ],
)
def test_addresses_inside_are_told_from_public_ones_in_whatever_form(address: str, *, expected: bool) -> None:
    assert inside(address) is expected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("json://127.0.0.1/x", "lies inside this network; set 'allow_private: true'"),
        ("jsons://[::ffff:10.0.0.1]/x", "lies inside this network"),
        ("json:///x", "names no host"),
        ("json://duty.example:secret/x", "has a port that is no number"),
        ("json://duty.example/?verify=no", "'?verify=' is not known"),
        ("json://duty.example/?+Bad%20Name=1", "is not known"),
        ("json://duty.example/?+X=a%0d%0aInjected:1", "is not known"),
        ("json://duty.example/a b", "percent-encoded"),
    ],
)
def test_a_wrong_address_is_refused_at_the_start_without_being_shown(url: str, says: str) -> None:
    with pytest.raises(ConfigError) as told:
        Receiver("duty", url).check()
    (line,) = told.value.problems
    assert line.startswith("settings: notify.duty.url: ")
    assert says in line
    assert "secret" not in line
    Receiver("duty", "json://127.0.0.1/x", allow_private=True).check()
