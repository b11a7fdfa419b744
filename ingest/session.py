"""The session with the broker: it lasts for ever, through any number of connections.

The broker keeps our queue under a fixed client id; what was not acknowledged comes again after a reconnect.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from mqtt5 import ConnAckPacket

from ingest.broker_says import BrokerSays
from ingest.connection import Connection
from ingest.hello import taken_over
from ingest.inbox import Delivery, Inbox
from ingest.options import BrokerOptions, BrokerTroubleError, TlsOptions

__all__ = ["BrokerOptions", "BrokerTroubleError", "Delivery", "Session", "TlsOptions"]

STABLE_S = 10.0  # a connection that lasted so long begins again with the shortest wait
BRIEF_MAX = 3  # connections in a row that end early and without a word: perhaps somebody else uses our client id
SUSPECT_S = 5.0  # wait after so many, doubling with each further one
SUSPECT_MOST_S = 60.0  # at most: it may have been a line that drops again and again, and that is over now

log = structlog.get_logger("ingest")


class Session:
    """A persistent MQTT 5 session: deliveries in groups, acknowledged by hand.

    Args:
        options: which broker, as whom.
        filters: topic filters to subscribe at QoS 1.

    Attributes:
        connected: subscribed just now.
        ready: set at the first subscription and from then on.
        last_error: why it is not, or was not last time; empty before any trouble.
        retry_in_s: the wait chosen after the last trouble, seconds.
        counters: ``messages``, ``bytes``, ``acknowledged``, ``connects``, ``troubles``, ``pings``, ``pauses``
            (the inbox was full), ``forgotten`` (unread messages of a lost connection, which come again),
            ``stale_acks`` (not sent, since their connection is gone), ``misshapen`` (PUBLISH packets that the codec
            could not read), ``session_lost`` (the broker had no queue of ours any more).
        says: what the broker says of itself, where the options ask for it.
        welcome: the broker's answer to our latest connection that was let in, None before the first.
        on_welcome: called with it, ahead of the first delivery.
        certificate_ends_s: when the broker's certificate ends, epoch seconds; None without TLS.
    """

    def __init__(self, options: BrokerOptions, filters: Sequence[str]) -> None:
        self.options = options
        self.filters = tuple(filters)
        self.inbox = Inbox(options.receive_maximum)
        self.counters: Counter[str] = Counter()
        self.says = BrokerSays()
        self.welcome: ConnAckPacket | None = None
        self.on_welcome: Callable[[ConnAckPacket], None] = lambda _: None
        self.certificate_ends_s: float | None = None
        self.connected = False
        self.last_error = ""
        self.retry_in_s = 0.0
        self._connection: Connection | None = None
        self._number = 0
        self._attempt = 0
        self._brief = 0
        self._closing = asyncio.Event()
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Connect, subscribe, stay; connect again after any trouble, until :meth:`close`."""
        while not self._closing.is_set():
            began = asyncio.get_running_loop().time()
            try:
                trouble = await self._once()
            except BrokerTroubleError as refusal:
                trouble = refusal
            except OSError as failure:
                trouble = BrokerTroubleError(f"{self.options.host}:{self.options.port}: {failure}")
            finally:
                self.connected = False
                self._drop()
            if self._closing.is_set():
                return
            self._note(trouble, asyncio.get_running_loop().time() - began)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self.retry_in_s)

    async def gather(self, count_max: int = 4096, age_s: float = 0.05) -> list[Delivery]:
        """Return deliveries in order of arrival: at least one, at most ``count_max``.

        Waits for the first; then ``age_s`` seconds at most for more, and less when no more come.
        """
        return await self.inbox.gather(count_max, age_s)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Tell the broker that these are safe, in the order in which they were gathered.

        Those of an older connection are passed over: the broker delivers them again.
        """
        connection = self._connection
        number = self._number if connection is not None and not connection.over else -1
        wanted = [item.packet_id for item in deliveries if item.packet_id is not None]
        packet_ids = [item.packet_id for item in deliveries if item.connection == number and item.packet_id is not None]
        if packet_ids and connection is not None:
            connection.acknowledge(packet_ids)
            self.counters["acknowledged"] += len(packet_ids)
        if len(wanted) > len(packet_ids):
            self.counters["stale_acks"] += len(wanted) - len(packet_ids)

    def close(self) -> None:
        """End the session's run; the broker keeps our queue for ``session_expiry_s``."""
        self._closing.set()
        if self._connection is not None:
            self._connection.leave()

    async def _once(self) -> BrokerTroubleError:
        """Hold one connection from beginning to end; return why it ended."""
        options = self.options
        self._number += 1
        try:
            async with asyncio.timeout(options.connect_timeout_s):
                context = options.tls.context() if options.tls else None
                transport, connection = await asyncio.get_running_loop().create_connection(
                    self._protocol,
                    options.host,
                    options.port,
                    ssl=context,
                )
                self._connection = connection
                self.certificate_ends_s = _certificate_ends_s(transport)
                self.inbox.on_room = connection.room
                await _first(connection.welcomed, connection.lost)
        except TimeoutError:
            raise BrokerTroubleError(f"no answer within {options.connect_timeout_s:g} s") from None
        self._look_for_queue(connection)
        await self._subscribed(connection)
        if not connection.over:
            welcome = connection.welcomed.result()
            self.connected = True
            self.ready.set()
            self.counters["connects"] += 1
            if not welcome.session_present:
                self._brief = 0
            log.info("connected", broker=f"{options.host}:{options.port}", resumed=welcome.session_present)
        return await connection.lost

    def _protocol(self) -> Connection:
        return Connection(
            self.options, self.filters, self._number, self.inbox, self.counters, self.says, self._welcomed
        )

    def _welcomed(self, welcome: ConnAckPacket) -> None:
        self.welcome = welcome
        self.on_welcome(welcome)

    def _look_for_queue(self, connection: Connection) -> None:
        """Tell of a queue that the broker had and has no more: at once, for the next connection finds a new one."""
        answer = connection.welcomed
        known = answer.done() and not answer.cancelled()
        if known and not answer.result().session_present and self.ready.is_set():
            self.counters["session_lost"] += 1
            log.warning("the broker had no queue of ours any more: what it held for us is gone")

    async def _subscribed(self, connection: Connection) -> None:
        """Wait for the answer to SUBSCRIBE, as long as deliveries come or wait to be fetched."""
        while not connection.over and not connection.subscribed.done():
            before = self.counters["messages"]
            done = await _first(connection.subscribed, connection.lost, timeout_s=self.options.connect_timeout_s)
            if not done and before == self.counters["messages"] and not len(self.inbox):
                raise BrokerTroubleError(f"no answer to SUBSCRIBE within {self.options.connect_timeout_s:g} s")

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self.inbox.on_room = lambda: None
        if connection is not None:
            connection.close()

    def _note(self, trouble: BrokerTroubleError, lasted_s: float) -> None:
        """Choose and name the wait before the next attempt: doubling, and spread by client id, not by chance.

        Mosquitto 2.0.11 closes a connection that is taken over without saying so (other brokers send 0x8E). Such
        closes, on a session that the broker still has, shortly after connecting and several times in a row, raise the
        suspicion; a broker that restarts refuses connections in between or has no session, and ends the row.
        """
        options = self.options
        self.counters["troubles"] += 1
        if lasted_s > STABLE_S:
            self._attempt = self._brief = 0
        elif trouble.unexplained:
            self._brief += 1
        elif not trouble.taken_over:
            self._brief = 0
        wait_s = min(options.retry_most_s, options.retry_first_s * 2.0 ** min(self._attempt, 30))
        spread = zlib.crc32(f"{options.client_id}/{self._attempt}".encode()) / 2**32
        self._attempt += 1
        self.last_error = str(trouble)
        self.retry_in_s = wait_s * (0.5 + 0.5 * spread)
        if trouble.taken_over:
            self.retry_in_s = options.taken_over_s
        elif self._brief >= BRIEF_MAX:
            self.last_error = (
                f"closed {self._brief} times in a row soon after connecting; perhaps {taken_over(options)}"
            )
            suspect_s = SUSPECT_S * 2.0 ** min(self._brief - BRIEF_MAX, 30)
            self.retry_in_s = min(options.taken_over_s, SUSPECT_MOST_S, max(self.retry_in_s, suspect_s))
        log.warning("no connection to the broker", why=self.last_error, retry_in_s=round(self.retry_in_s, 2))


async def _first(*futures: asyncio.Future[Any], timeout_s: float | None = None) -> bool:
    """Wait until one of them is done; say whether that came before the timeout."""
    done, _ = await asyncio.wait(futures, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    return bool(done)


def _certificate_ends_s(transport: asyncio.BaseTransport) -> float | None:
    peer = transport.get_extra_info("peercert")
    return float(ssl.cert_time_to_seconds(peer["notAfter"])) if peer else None
