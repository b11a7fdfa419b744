"""Payloads as a person may look at them: nothing in them can move a cursor, turn the text round or hide."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

LINE = 16  # bytes in a line of a dump
MOSTLY = 0.75  # of plain letters make a text of bytes that are not all text


class Plain(NamedTuple):
    """A payload made visible.

    Attributes:
        form: ``json`` (laid out, otherwise as sent), ``text`` (as sent; a few bytes that are none may stand escaped in
            it) or ``binary`` (a dump in hexadecimal).
        text: printable characters and newlines, nothing else.
    """

    form: Literal["json", "text", "binary"]
    text: str


def plainly(payload: bytes) -> Plain:
    """Return a payload in the form that shows most of it.

    JSON is laid out token by token, so that repeated keys, long numbers and their spelling stay as they were sent.
    """
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        letters = sum(32 <= byte < 127 for byte in payload)
        if letters < MOSTLY * len(payload):
            return Plain("binary", dump(payload))
        return Plain("text", visible(payload.decode(errors="backslashreplace")))
    try:
        msgspec.json.decode(payload, type=msgspec.Raw)
        laid_out = msgspec.json.format(payload, indent=2).decode()
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Plain("text", visible(text))
    return Plain("json", visible(laid_out))


def visible(text: str, keep: str = "\n") -> str:
    r"""Return text with every character that does not print written as ``\x1b`` or ``\u202e``.

    Args:
        text: anything.
        keep: characters that stay although they do not print.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else _escaped(each) for each in text)


def dump(payload: bytes) -> str:
    """Return bytes as lines of offset, hexadecimal digits, and the letters among them."""
    lines = []
    for at in range(0, len(payload), LINE):
        part = payload[at : at + LINE]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{at:08x}  {part.hex(' '):<{3 * LINE - 1}}  {letters}")
    return "\n".join(lines)


def _escaped(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
