"""How long certificates last: read from PEM files, without a library of their own."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_EXPLICIT_VERSION = 0xA0


def ends_s(path: Path) -> float:
    """Return when the first certificate of a PEM file to end does so, epoch seconds.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no certificate.
    """
    text = path.read_text(encoding="ascii", errors="replace")
    ends = [_not_after(ssl.PEM_cert_to_DER_cert(block)) for block in _blocks(text)]
    if not ends:
        raise ValueError(f"{path} holds no certificate")
    return min(ends)


def _blocks(text: str) -> Iterator[str]:
    for part in text.split(_BEGIN)[1:]:
        yield f"{_BEGIN}{part.partition(_END)[0]}{_END}"


def _not_after(der: bytes) -> float:
    """Return the end of validity: the second time of the fourth or fifth element (RFC 5280, 4.1)."""
    try:
        _, certificate, _ = _element(der)
        _, body, _ = _element(certificate)
        tag, _, rest = _element(body)
        for _ in range(3 if tag == _EXPLICIT_VERSION else 2):  # serial number, signature, issuer
            _, _, rest = _element(rest)
        _, validity, _ = _element(rest)
        _, _, second = _element(validity)
        tag, value, _ = _element(second)
        if tag not in {_UTC_TIME, _GENERALIZED_TIME}:
            raise ValueError("no time where the end of validity stands")
        text = value.decode("ascii")
        if tag == _UTC_TIME:  # two digits of the year: below 50 they mean 20xx (RFC 5280, 4.1.2.5.1)
            text = ("20" if int(text[:2]) < 50 else "19") + text
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except (IndexError, UnicodeDecodeError) as trouble:
        raise ValueError(f"a certificate that cannot be read: {trouble}") from None


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Return tag, contents and what follows of the DER element that ``data`` begins with."""
    tag, length, at = data[0], data[1], 2
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(data[2 : 2 + size])
        at += size
    return tag, data[at : at + length], data[at + length :]
