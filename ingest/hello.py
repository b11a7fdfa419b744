"""What is said when a connection begins or ends: our packets, and plain words for the broker's."""

from __future__ import annotations

from collections.abc import Sequence

from mqtt5 import (
    ConnAckPacket,
    ConnAckReasonCode,
    ConnectPacket,
    DisconnectPacket,
    DisconnectReasonCode,
    QoS,
    RetainHandling,
    SubAckPacket,
    SubAckReasonCode,
    SubscribePacket,
    TopicFilter,
)

from ingest import broker_says
from ingest.options import BrokerOptions, BrokerTroubleError

READINGS, COUNTS = 1, 2  # packet ids of our two SUBSCRIBEs


def connect(options: BrokerOptions) -> bytes:
    """Return the CONNECT that resumes our session or begins it."""
    return ConnectPacket(
        options.client_id,
        username=options.username,
        password=None if options.password is None else options.password.encode(),
        clean_start=False,
        keep_alive=max(1, round(options.keep_alive_s)),
        session_expiry_interval=options.session_expiry_s,
        receive_max=options.receive_maximum,
        max_packet_size=options.packet_bytes_max,
    ).write()


def subscribe(filters: Sequence[str]) -> bytes:
    """Return the SUBSCRIBE at QoS 1; retained messages come with a new subscription only, not at every reconnect."""
    return SubscribePacket(
        READINGS,
        [
            TopicFilter(
                pattern, max_qos=QoS.AT_LEAST_ONCE, retain_handling=RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS
            )
            for pattern in filters
        ],
    ).write()


def ask_counts() -> bytes:
    """Return the SUBSCRIBE to the broker's own counts; the newest value comes at once, also on a resumed session."""
    wanted = [TopicFilter(pattern, max_qos=QoS.AT_MOST_ONCE) for pattern in broker_says.FILTERS]
    return SubscribePacket(COUNTS, wanted).write()


def not_granted(filters: Sequence[str], answer: SubAckPacket) -> str:
    """Return the words for a SUBACK that refuses or weakens a subscription; empty when all is granted."""
    for pattern, code in zip(filters, answer.reason_codes, strict=False):
        if code is not SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE:
            words = code.name.lower().replace("_", " ")
            return f"the broker refuses the subscription to '{pattern}': {words}{_detail(answer.reason_str)}"
    return "" if len(answer.reason_codes) == len(filters) else "the broker answered another SUBSCRIBE than ours"


def refused(options: BrokerOptions, answer: ConnAckPacket) -> str:
    """Return the words for a CONNACK that says no."""
    who = f"user '{options.username}'" if options.username else "a client without user name"
    known = {
        "BAD_USER_NAME_OR_PASSWORD": f"wrong user name or password for {who}",
        "NOT_AUTHORIZED": f"{who} is not let in: wrong password, or the broker asks for one",
        "CLIENT_ID_NOT_VALID": f"client id '{options.client_id}' is not accepted",
        "UNSUPPORTED_PROTOCOL_VERSION": "it does not speak MQTT 5",
    }
    words = known.get(answer.reason_code.name, _plain(answer.reason_code))
    return f"the broker refuses the connection: {words}{_detail(answer.reason_str)}"


def taken_over(options: BrokerOptions) -> str:
    """Return the words for a client id that somebody else uses too."""
    return f"another process connects with our client id '{options.client_id}'; standing back"


def dismissed(options: BrokerOptions, packet: DisconnectPacket) -> BrokerTroubleError:
    """Return the trouble that a DISCONNECT from the broker means."""
    if packet.reason_code is DisconnectReasonCode.SESSION_TAKEN_OVER:
        return BrokerTroubleError(taken_over(options), taken_over=True)
    return BrokerTroubleError(f"the broker ended it: {_plain(packet.reason_code)}{_detail(packet.reason_str)}")


def _plain(code: ConnAckReasonCode | DisconnectReasonCode) -> str:
    return f"{code.name.lower().replace('_', ' ')} (0x{int(code):02X})"


def _detail(text: str | None) -> str:
    return f" ({text})" if text else ""
