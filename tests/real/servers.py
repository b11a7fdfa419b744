"""The real servers of the tests, each with a configuration of its own in a temporary folder. Here: Mosquitto."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.real.influxdb_server import Influx, InfluxDatabase
from tests.real.processes import Process, free_port, need

__all__ = ["Influx", "InfluxDatabase", "Mosquitto", "User"]


@dataclass(frozen=True)
class User:
    """A broker user: password and the lines of its access list (``topic read lamplighter/v1/+/+/+/up``)."""

    password: str
    acl: tuple[str, ...] = ("topic readwrite #",)


class Mosquitto:
    """A real Mosquitto broker on free loopback ports.

    Args:
        folder: an empty folder for configuration, log and state; the state survives :meth:`kill` and :meth:`start`.
        users: name to :class:`User`; None lets everybody in and allows everything.
        patterns: further access lines that hold for every user (``pattern write lamplighter/v1/+/+/%u/up``).
        tls: also listen on ``tls_port`` with a certificate for ``localhost`` and ``127.0.0.1``.
        mutual: the TLS listener asks for a client certificate, whose common name is the user.
        tls_version: the least that the TLS listener speaks, as Mosquitto writes it (``tlsv1.2``).
        settings: further lines of mosquitto.conf (``max_queued_messages 100``) ahead of the tests' own.

    Attributes:
        port, tls_port: where it listens; tls_port is 0 without TLS.
        ca: file of the certificate authority that signed the server's certificate, None without TLS.
    """

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, User] | None = None,
        patterns: Sequence[str] = (),
        tls: bool = False,
        mutual: bool = False,
        tls_version: str = "",
        settings: Sequence[str] = (),
    ) -> None:
        (program,) = need("mosquitto")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.tls_port = free_port() if tls or mutual else 0
        self._authority = trustme.CA() if self.tls_port else None
        self.ca = folder / "ca.pem" if self._authority else None
        lines = [*settings, *_defaults(settings), f"persistence_location {folder}/"]
        lines += self._access(users, patterns)
        lines += [f"listener {self.port} 127.0.0.1"]
        if self.tls_port:
            lines += self._tls(mutual=mutual)
            lines += [f"tls_version {tls_version}"] if tls_version else []
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self._process = Process("mosquitto", folder, [program, "-c", str(folder / "mosquitto.conf")])

    def _access(self, users: Mapping[str, User] | None, patterns: Sequence[str]) -> list[str]:
        if users is None:
            return ["allow_anonymous true"]
        access = [line for name, user in users.items() for line in (f"user {name}", *user.acl, "")]
        self._private("acl", "\n".join([*access, *patterns]) + "\n")
        self._private("passwords", "".join(f"{name}:{_hashed(user.password)}\n" for name, user in users.items()))
        return [f"password_file {self.folder}/passwords", f"acl_file {self.folder}/acl", "allow_anonymous false"]

    def _private(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)

    def _tls(self, *, mutual: bool) -> list[str]:
        assert self._authority is not None
        assert self.ca is not None
        self._authority.cert_pem.write_to_path(str(self.ca))
        own = self._authority.issue_cert("localhost", "127.0.0.1")
        own.private_key_pem.write_to_path(str(self.folder / "server.key"))
        (self.folder / "server.pem").write_bytes(b"".join(part.bytes() for part in own.cert_chain_pems))
        lines = [f"listener {self.tls_port} 127.0.0.1", f"cafile {self.ca}"]
        lines += [f"certfile {self.folder}/server.pem", f"keyfile {self.folder}/server.key"]
        return [*lines, "require_certificate true", "use_identity_as_username true"] if mutual else lines

    def client_certificate(self, name: str) -> tuple[Path, Path]:
        """Return certificate and key files for a client whose common name is ``name``, signed by this broker's CA."""
        assert self._authority is not None, "only with tls"
        issued = self._authority.issue_cert(f"{name}.test", common_name=name)
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        return certificate, key

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self._process.log

    @property
    def running(self) -> bool:
        return self._process.running

    def start(self) -> Mosquitto:
        """Start, or start again on the same ports and state; returns when this very process listens."""
        self._process.start(*[port for port in (self.port, self.tls_port) if port])
        return self

    def kill(self) -> None:
        """SIGKILL: what Mosquitto had not saved is gone (see autosave_interval)."""
        self._process.kill()

    def terminate(self) -> None:
        """SIGTERM: Mosquitto saves its sessions and queued messages."""
        self._process.terminate()

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        self._process.pause()

    def resume(self) -> None:
        """SIGCONT after :meth:`pause`."""
        self._process.resume()


def _defaults(settings: Sequence[str]) -> list[str]:
    """Settings of every test broker: nothing is dropped for want of room, state is kept."""
    given = {line.split()[0] for line in settings if line.strip()}
    wanted = {
        "per_listener_settings": "false",
        "persistence": "true",
        "max_queued_messages": "0",
        "max_inflight_messages": "0",
        "log_dest": "stdout",
        "log_type": "error warning notice",
        "connection_messages": "false",
        "set_tcp_nodelay": "true",
    }
    if os.getuid() == 0:
        wanted["user"] = "root"  # else it would give up root, and with it the temporary folder
    lines = []
    for key, value in wanted.items():
        if key in given:
            continue
        lines += [f"log_type {word}" for word in value.split()] if key == "log_type" else [f"{key} {value}"]
    return lines


def _hashed(password: str) -> str:
    """Mosquitto's own password form: $7$ iterations $ salt $ PBKDF2-SHA512."""
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
