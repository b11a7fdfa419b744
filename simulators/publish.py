"""From simulated or recorded devices to a real broker: MQTT 5, QoS 1, several connections, nothing lost on the way."""

from __future__ import annotations

import asyncio
import logging
import math
import ssl
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import aiomqtt
from paho.mqtt import client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from devices import topics
from simulators.machine import Message

RETRY_FIRST_S, RETRY_MOST_S = 0.2, 5.0
LEAVING_S = 2.0  # to wait for the last acknowledgements when somebody has stopped the run
QUEUE = 2_000  # messages that wait for one connection; when it is full, whoever sends waits
_QUIET = logging.getLogger("simulators.mqtt")  # the client's own words about connections; ours are in Counts
_QUIET.setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Broker:
    """Where to publish, and as whom.

    Attributes:
        host, port: the broker.
        username, password: credentials, None where it asks for none.
        tls: a client context, None for plain TCP.
        client_prefix: client ids are this, a dash and the connection's number.
        connections: how many; a device's messages always take the same one and so keep their order.
        in_flight: messages of one connection that are under way without an acknowledgement.
        receive_maximum: how many of them the broker takes at once; Mosquitto's default is 20, and more ends the
            connection (MQTT 5, 4.9).
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None
    client_prefix: str = "simulator"
    connections: int = 4
    in_flight: int = 400
    receive_maximum: int = 20


@dataclass(slots=True)
class Counts:
    """What the broker has acknowledged, and what it took.

    Attributes:
        messages, readings: acknowledged, by kind (the topic's kind level).
        again: messages sent once more after a connection was lost; the broker may have had them already.
        refused: of them, what the broker answered with a refusal (no right to the topic) and has thrown away.
        connects, troubles: connections made and lost or refused.
        trouble: the latest reason, empty while connected.
    """

    messages: Counter[str] = field(default_factory=Counter)
    readings: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    again: int = 0
    connects: int = 0
    troubles: int = 0
    trouble: str = ""


class Publisher:
    """Publishes messages in the background; ``async with`` keeps its connections.

    Attributes:
        counts: what was acknowledged so far.
    """

    def __init__(self, broker: Broker) -> None:
        self.counts = Counts()
        self._lanes = [_Lane(broker, number, self.counts) for number in range(broker.connections)]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Publisher:
        self._tasks = [asyncio.create_task(lane.run()) for lane in self._lanes]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, trouble: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lane in self._lanes:
            lane.closing.set()
        _, hanging = await asyncio.wait(self._tasks, timeout=2.0)
        for task in hanging:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def send(self, messages: Iterable[Message]) -> None:
        """Hand messages over; waits while a connection's queue is full."""
        for message in messages:
            lane = self._lanes[zlib.crc32(message.topic.encode()) % len(self._lanes)]
            if lane.queue.full():
                await lane.queue.put(message)
            else:
                lane.queue.put_nowait(message)

    def waiting(self) -> int:
        """Return how many messages are not acknowledged yet."""
        return sum(lane.queue.qsize() + len(lane.under_way) for lane in self._lanes)

    async def drained(self, patience_s: float) -> bool:
        """Wait until everything is acknowledged; False when that takes longer than ``patience_s``."""
        end = asyncio.get_running_loop().time() + patience_s
        while self.waiting():
            if asyncio.get_running_loop().time() > end:
                return False
            await asyncio.sleep(0.01)
        return True


class _Client(aiomqtt.Client):
    """A client that sees whether a PUBACK is a refusal, which aiomqtt does not tell."""

    def __init__(self, counts: Counts, host: str, port: int, **options: Any) -> None:  # noqa: ANN401 - aiomqtt's own
        self._counts = counts
        super().__init__(host, port, **options)

    def _on_publish(
        self,
        client: mqtt.Client,
        userdata: Any,  # noqa: ANN401 - as aiomqtt has it
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,
    ) -> None:
        self._counts.refused += reason_code.is_failure
        super()._on_publish(client, userdata, mid, reason_code, properties)


class _Lane:
    """One connection, made again whenever it breaks; what was under way is then sent again first, in its order."""

    def __init__(self, broker: Broker, number: int, counts: Counts) -> None:
        self.broker = broker
        self.counts = counts
        self.queue: asyncio.Queue[Message] = asyncio.Queue(QUEUE)
        self.under_way: dict[int, Message] = {}
        self.closing = asyncio.Event()
        self._name = f"{broker.client_prefix}-{number}"
        self._room = asyncio.Event()
        self._next = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Keep the connection until :attr:`closing` is set."""
        wait_s = RETRY_FIRST_S
        while not self.closing.is_set():
            try:
                async with self._client() as client:
                    self.counts.connects += 1
                    self.counts.trouble = ""
                    wait_s = RETRY_FIRST_S
                    await self._serve(client)
            except aiomqtt.MqttError as trouble:
                self.counts.troubles += 1
                self.counts.trouble = str(trouble)
            if not self.closing.is_set():
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, RETRY_MOST_S)

    def _client(self) -> aiomqtt.Client:
        at = self.broker
        return _Client(
            self.counts,
            at.host,
            at.port,
            username=at.username,
            password=at.password,
            tls_context=at.tls,
            identifier=self._name,
            protocol=aiomqtt.ProtocolVersion.V5,
            max_inflight_messages=at.receive_maximum,
            logger=_QUIET,
        )

    async def _serve(self, client: aiomqtt.Client) -> None:
        """Publish until the connection breaks (MqttError) or the lane closes."""
        sending = asyncio.create_task(self._send(client))
        watching = asyncio.create_task(_watch(client))
        closing = asyncio.create_task(self.closing.wait())
        ours: set[asyncio.Task[object]] = {sending, watching, closing}
        try:
            await asyncio.wait(ours, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*ours, *self._tasks):
                task.cancel()
            results = await asyncio.gather(*ours, *self._tasks, return_exceptions=True)
            self._tasks.clear()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _send(self, client: aiomqtt.Client) -> None:
        for number, message in sorted(self.under_way.items()):
            self.counts.again += 1
            self._start(client, number, message)
        while True:
            while len(self.under_way) >= self.broker.in_flight:
                self._room.clear()
                await self._room.wait()
            message = await self.queue.get()
            self._next += 1
            self.under_way[self._next] = message  # from here on it survives a broken connection
            self._start(client, self._next, message)

    def _start(self, client: aiomqtt.Client, number: int, message: Message) -> None:
        """Publish in a task of its own; tasks begin in the order in which they are made."""
        task = asyncio.create_task(self._publish(client, number, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _publish(self, client: aiomqtt.Client, number: int, message: Message) -> None:
        try:
            await client.publish(message.topic, message.payload, qos=1, timeout=math.inf)
        except aiomqtt.MqttError:
            return  # it stays under way; the watcher hears of the broken connection
        del self.under_way[number]
        self._room.set()
        address = topics.parse(message.topic)
        kind = address.kind if address else "unknown"
        self.counts.messages[kind] += 1
        self.counts.readings[kind] += message.readings


async def _watch(client: aiomqtt.Client) -> None:
    """Wait until the connection breaks; raises MqttError then."""
    async for _ in client.messages:
        pass
