"""The outside of MQTT packets, read by hand where the codec gives up: a length, and a PUBLISH with odd contents."""

from __future__ import annotations

import struct

_U16 = struct.Struct(">H")
PUBLISH = 3


def is_codec_trouble(trouble: BaseException) -> bool:
    """Say whether an exception out of the codec is about the bytes it was given.

    A string that is not UTF-8 makes mqtt5 0.8 panic, and a Rust panic does not derive from Exception.
    """
    return isinstance(trouble, ValueError) or type(trouble).__name__ == "PanicException"


def length(data: memoryview) -> int | None:
    """Return the length of the packet that ``data`` begins with, in bytes; None while that is not known."""
    head = _head(data)
    return None if head is None else head[0] + head[1]


def publish(data: memoryview) -> tuple[str, bytes, int | None, int] | None:
    """Read a whole PUBLISH leniently: topic (bad bytes escaped), payload, packet id, length; None when it is not one.

    Properties are passed over (MQTT 5, 3.3.2).
    """
    head = _head(data)
    if head is None or data[0] >> 4 != PUBLISH:
        return None
    at, remaining = head
    end = at + remaining
    qos = data[0] >> 1 & 3
    try:
        size = _U16.unpack_from(data, at)[0]
        topic = bytes(data[at + 2 : at + 2 + size]).decode("utf-8", "backslashreplace")
        at += 2 + size
        packet_id = None
        if qos:
            packet_id = int(_U16.unpack_from(data, at)[0])
            at += 2
    except struct.error:
        return None
    properties = _varint(data, at)
    if properties is None or properties[0] + properties[1] > end or end > len(data) or qos > 1:
        return None
    return topic, bytes(data[properties[0] + properties[1] : end]), packet_id, end


def _head(data: memoryview) -> tuple[int, int] | None:
    """Return where the variable header begins and how many bytes follow."""
    return _varint(data, 1)


def _varint(data: memoryview, at: int) -> tuple[int, int] | None:
    """Read a variable byte integer: position behind it, value; None when it is cut or longer than it need be."""
    value = 0
    for place in range(4):
        if at + place >= len(data):
            return None
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if byte == 0 and place > 0:  # which the codec refuses too (MQTT 5, 1.5.5)
                return None
            return at + place + 1, value
    return None
