"""A bare TCP sink that speaks just enough MQTT 5 to be published to: it counts PUBLISH packets and answers QoS 1.

python -m bench.ack_sink prints {"port": …} and, when its standard input ends, {"messages": …, "cpu_s": …}.
"""

from __future__ import annotations

import asyncio
import json
import resource
import struct
import sys

_CONNACK = b"\x20\x03\x00\x00\x00"
_U16 = struct.Struct(">H")


class Sink(asyncio.Protocol):
    messages = 0
    open = 0

    def __init__(self) -> None:
        self._unread = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        Sink.open += 1

    def connection_lost(self, _: Exception | None) -> None:
        Sink.open -= 1

    def data_received(self, data: bytes) -> None:
        if self._unread:
            data = self._unread + data
        at, end, answers, unpack = 0, len(data), [], _U16.unpack_from
        count = 0
        while end - at >= 2:
            kind, length, head = data[at], data[at + 1], 2
            if length & 0x80:
                length &= 0x7F
                shift = 7
                while at + head < end:
                    byte = data[at + head]
                    head += 1
                    length |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        break
                else:
                    break
            if at + head + length > end:
                break
            if kind & 0xF0 == 0x30:
                count += 1
                if kind & 6:
                    packet_at = at + head + 2 + unpack(data, at + head)[0]
                    answers.append(b"\x40\x02" + data[packet_at : packet_at + 2])
            elif kind == 0x10:
                answers.append(_CONNACK)
            at += head + length
        self._unread = data[at:]
        Sink.messages += count
        if answers and self._transport is not None:
            self._transport.write(b"".join(answers))


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    while Sink.open:  # noqa: ASYNC110 - what has been sent is still being read
        await asyncio.sleep(0.01)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"messages": Sink.messages, "cpu_s": used.ru_utime + used.ru_stime}), flush=True)


if __name__ == "__main__":
    asyncio.run(serve())
