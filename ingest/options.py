"""How to reach the broker, and the trouble that there can be with it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """Certificates towards the broker, PEM files.

    Attributes:
        ca_file: who must have signed the broker's certificate; None for the system's authorities.
        cert_file, key_file: our own certificate, where the broker asks for one.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return a client context: TLS 1.2 or newer, name and chain checked.

        Raises:
            BrokerTroubleError: naming the file that is missing or no certificate.
        """
        try:
            context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        except OSError as trouble:
            raise BrokerTroubleError(f"certificate authority {self.ca_file}: {trouble}") from trouble
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file:
            try:
                context.load_cert_chain(str(self.cert_file), str(self.key_file) if self.key_file else None)
            except OSError as trouble:
                words = f"certificate {self.cert_file} with key {self.key_file or 'in the same file'}: {trouble}"
                raise BrokerTroubleError(words) from trouble
        return context


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """Which broker, as whom, and how much may be under way.

    Attributes:
        client_id: must stay the same for ever; the broker keeps our queue under it.
        keep_alive_s: silence after which a ping is sent; a dead line is noticed within 1.5 times this.
        receive_maximum: QoS 1 messages that the broker may have sent us without our acknowledgement.
        session_expiry_s: how long the broker keeps our queue while we are away, seconds.
        packet_bytes_max: larger messages are not sent to us by the broker (MQTT 5, 3.1.2.11.4).
        connect_timeout_s: for name, TCP, TLS, CONNACK and SUBACK together.
        retry_first_s, retry_most_s: waits between attempts, doubling.
        taken_over_s: wait after another client came with our client id, so that two do not throw each other out.
        counts: ask the broker what it drops ($SYS).
    """

    host: str
    port: int
    client_id: str = "lamplighter-ingest"
    username: str | None = None
    password: str | None = None
    tls: TlsOptions | None = None
    keep_alive_s: float = 30
    receive_maximum: int = 8192
    session_expiry_s: int = 7 * 86400
    packet_bytes_max: int = 1 << 20
    connect_timeout_s: float = 15
    retry_first_s: float = 0.2
    retry_most_s: float = 30
    taken_over_s: float = 300
    counts: bool = False


class BrokerTroubleError(Exception):
    """The connection cannot be had or has ended; the message says why in plain words.

    Attributes:
        taken_over: another client came with our client id.
        unexplained: the broker closed a working connection without a word.
    """

    def __init__(self, words: str, *, taken_over: bool = False, unexplained: bool = False) -> None:
        self.taken_over = taken_over
        self.unexplained = unexplained
        super().__init__(words)
