"""What an HTTP server answers, read by a reader that trusts it in nothing: not for long, and not much."""

from __future__ import annotations

import re
import socket
import time

ANSWER_S = 5.0  # from the end of the question to the end of the answer's head, or of all of it where it matters
EXCERPT_S = 0.5  # for the beginning of a refusal's text
ANSWER_BYTES_MAX = 65_536
EXCERPT = 200  # characters of a refusal that are told
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r", re.IGNORECASE)
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}[ \t]*(;|$)")


class _HungUpError(OSError):
    """The other side closed the connection."""


def read(connection: socket.socket, *, whole: bool) -> tuple[int, str]:
    """Return the status of the answer and its text: all of it, or only the beginning of a refusal's. Raises OSError."""
    until = time.monotonic() + ANSWER_S
    got = b""
    while True:
        head, end, rest = got.partition(b"\r\n\r\n")
        if end:
            found = _STATUS.match(head)
            if found is None:
                raise OSError("what it answers is not HTTP")
            status = int(found[1])
            if status >= 200:
                if whole:
                    return status, _text(connection, head + end, rest, until).decode("utf-8", "replace")
                return status, "" if status < 300 else _excerpt(connection, rest)
            got = rest  # an interim answer
            continue
        if len(got) > ANSWER_BYTES_MAX:
            raise OSError("its answer's head does not end")
        got += _more(connection, until)


def _text(connection: socket.socket, head: bytes, got: bytes, until: float) -> bytes:
    """Return an answer's text: chunks, as long as its head says, or until it hangs up (RFC 9112, 6.3)."""
    length = _LENGTH.search(head)
    chunked = _CHUNKED.search(head) is not None
    while len(got) <= ANSWER_BYTES_MAX:
        text = _dechunked(got) if chunked else got[: int(length[1])] if length and len(got) >= int(length[1]) else None
        if text is not None:
            return text
        try:
            got += _more(connection, until)
        except _HungUpError:
            if chunked or length:
                raise OSError("it hung up in the middle of its answer") from None
            return got
    raise OSError("its answer is longer than 64 kB")


def _dechunked(raw: bytes) -> bytes | None:
    """Return the text of all chunks, None while the last is missing."""
    text = b""
    while True:
        size, end, rest = raw.partition(b"\r\n")
        if not end:
            return None
        if not _SIZE.match(size):
            raise OSError("what it answers is not HTTP")
        length = int(size.partition(b";")[0], 16)
        if not length:
            return text
        if len(rest) < length + 2:
            return None
        text, raw = text + rest[:length], rest[length + 2 :]


def _excerpt(connection: socket.socket, got: bytes) -> str:
    """Return the beginning of an answer's text, for the log: at most 64 kB are read, and not for long."""
    until = time.monotonic() + EXCERPT_S
    try:
        while len(got) < EXCERPT:
            got += _more(connection, until)
    except OSError:
        pass  # that was all of it
    return got[:EXCERPT].decode("utf-8", "replace")


def _more(connection: socket.socket, until: float) -> bytes:
    connection.settimeout(max(until - time.monotonic(), 0.001))
    if time.monotonic() >= until:
        raise TimeoutError
    got = connection.recv(16_384)
    if not got:
        raise _HungUpError("it hung up without an answer")
    return got


def printable(text: str) -> str:
    """Return a stranger's text on one line, for a log."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
