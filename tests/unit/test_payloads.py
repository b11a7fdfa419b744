"""Every message ends in a batch or, whole and with its reason, in quarantine; nothing else can happen to it."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices import topics
from devices.batch import MARK_FUTURE
from devices.kinds import Catalog, load_catalog
from devices.payloads import FUTURE_MS, PAYLOAD_BYTES_MAX, READINGS_MAX, REASONS, Decoded, Decoder
from devices.registry import Asset, Registry

CATALOG: Catalog = load_catalog()
NOW = 1_760_000_000_000
POISON_S = 0.05  # processor time that one message may cost, whatever is in it


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes


def registry() -> Registry:
    return Registry(
        CATALOG,
        [
            Asset("lamp-0001", "streetlight", "lamp"),
            Asset("lamp-0002", "streetlight", "lamp"),
            Asset("cover-0001", "manhole", CATALOG["manhole"].roles[0]),
            Asset("truck-0001", "truck", CATALOG["truck"].roles[0]),
        ],
    )


DECODER = Decoder(registry(), "harbour")


def lamp(payload: bytes | str, device: str = "lamp-0001", kind: str = "streetlight", city: str = "harbour") -> Message:
    data = payload.encode() if isinstance(payload, str) else payload
    return Message(topics.up(city, kind, device), data)


def decode(*messages: Message) -> Decoded:
    return DECODER.decode(messages, NOW)


def count(decoded: Decoded) -> int:
    return sum(len(batch) for batch in decoded.batches) + len(decoded.rejects)


def only_reason(message: Message) -> str:
    decoded = decode(message)
    assert not decoded.batches
    (reject,) = decoded.rejects
    assert (reject.topic, reject.payload, reject.arrival_ms) == (message.topic, message.payload, NOW)
    assert reject.detail
    assert reject.reason in REASONS
    return reject.reason


def test_one_reading_becomes_one_row() -> None:
    decoded = decode(lamp(f'{{"ts":{NOW - 5},"power_w":80.5,"lamp_failure":true,"switch_count":7}}'))
    (batch,) = decoded.batches
    assert batch.kind.name == "streetlight"
    assert (batch.time_ms.tolist(), batch.sent_ms.tolist(), batch.device.tolist()) == ([NOW - 5], [NOW - 5], [0])
    assert batch.column("power_w")[0] == 80.5
    assert batch.column("lamp_failure")[0] == 1
    assert batch.column("switch_count")[0] == 7
    assert math.isnan(batch.column("voltage_v")[0])
    assert decoded.received == {"streetlight": 1}


def test_readings_of_several_kinds_and_devices_are_sorted_into_batches() -> None:
    back_fill = json.dumps([{"ts": NOW - 1000 * n, "power_w": n} for n in range(3)])
    decoded = decode(
        lamp(f'{{"ts":{NOW}}}'),
        lamp(f'{{"ts":{NOW}}}', "truck-0001", "truck"),
        lamp(back_fill, "lamp-0002"),
        lamp("?", "cover-0001", "manhole"),
    )
    rows = {batch.kind.name: batch.device.tolist() for batch in decoded.batches}
    assert rows == {"streetlight": [0, 1, 1, 1], "truck": [3]}
    assert decoded.received == {"streetlight": 4, "truck": 1, "manhole": 1}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Message("other/topic", b"{}"), "topic"),
        (Message("lamplighter/v1/harbour/streetlight/lamp-0001/down", b"{}"), "topic"),
        (Message("lamplighter/v1/harbour/streetlight/LAMP/up", b"{}"), "topic"),
        (Message("lamplighter/v1/harbour/streetlight/../up", b"{}"), "topic"),
        (Message("lamplighter/v1/harbour/streetlight/a\\xffb/up", b"{}"), "topic"),
        (lamp("{}", city="elsewhere"), "topic"),
        (lamp("{}", kind="spaceship"), "kind"),
        (lamp("{}", "lamp-9999"), "unknown_device"),
        (lamp("{}", "truck-0001"), "unknown_device"),
        (lamp(b""), "unreadable"),
        (lamp(b"\x00"), "unreadable"),
        (lamp(b"\xff\xfe{}"), "unreadable"),
        (lamp("null"), "wrong_form"),
        (lamp("[]"), "unreadable"),
        (lamp('{"ts":'), "unreadable"),
        (lamp(f'{{"ts":{NOW}}} and more'), "unreadable"),
        (lamp("{}"), "wrong_form"),
        (lamp(f'[{{"ts":{NOW}}},{{}}]'), "wrong_form"),
        (lamp(f'{{"ts":{NOW},"power_w":"80"}}'), "wrong_form"),
        (lamp(f'{{"ts":{NOW},"power_w":"12,5"}}'), "wrong_form"),
        (lamp(f'{{"ts":{NOW},"power_w":true}}'), "wrong_form"),
        (lamp(f'{{"ts":{NOW},"power_w":[80]}}'), "wrong_form"),
        (lamp(f'{{"ts":{NOW},"switch_count":1.5}}'), "wrong_form"),
        (lamp(f'{{"ts":{NOW},"switch_count":{"9" * 4000}}}'), "wrong_form"),
        (lamp(f'{{"ts":{NOW},"lamp_failure":{2**70}}}'), "wrong_form"),
        (lamp(f'{{"ts":{NOW},"power_w":NaN}}'), "unreadable"),
        (lamp(f'{{"ts":{NOW},"power_w":Infinity}}'), "unreadable"),
        (lamp('{"ts":"2026-01-01T00:00:00Z"}'), "clock"),
        (lamp('{"ts":null}'), "clock"),
        (lamp('{"ts":0}'), "clock"),
        (lamp(f'{{"ts":{NOW // 1000}}}'), "clock"),
        (lamp(f'{{"ts":{NOW * 1000}}}'), "clock"),
        (lamp(f'{{"ts":{NOW}.5}}'), "clock"),
        (lamp(b" " * (PAYLOAD_BYTES_MAX + 1)), "too_large"),
        (lamp(json.dumps([{"ts": NOW}] * (READINGS_MAX + 1))), "too_large"),
    ],
)
def test_what_cannot_be_read_is_kept_whole_with_its_reason(message: Message, reason: str) -> None:
    assert only_reason(message) == reason


def test_null_means_absent_and_unknown_keys_are_passed_over() -> None:
    (batch,) = decode(lamp(f'{{"ts":{NOW},"power_w":null,"colour":"red","id":"lamp-0002"}}')).batches
    assert math.isnan(batch.column("power_w")[0])
    assert batch.device.tolist() == [0], "identity comes from the topic"


def test_a_payload_that_names_another_device_than_its_topic_is_kept_apart_and_its_neighbours_are_not() -> None:
    def says(device_id: object) -> Message:
        return lamp(json.dumps({"ts": NOW, "power_w": 1, "device_id": device_id}))

    assert len(decode(says("lamp-0001"), says(" LAMP-0001 "), says(None)).batches[0]) == 3
    for other in ("lamp-0002", "truck-0001", "nobody", "", 7, 0, True, ["lamp-0001"], {"id": "lamp-0001"}):
        several = lamp(json.dumps([{"ts": NOW}, {"ts": NOW, "device_id": other}]))
        message = says(other) if other != "nobody" else several
        decoded = decode(lamp(f'{{"ts":{NOW}}}'), message, lamp("{"), lamp(f'{{"ts":{NOW}}}', "truck-0001", "truck"))
        assert sorted(reject.reason for reject in decoded.rejects) == ["identity", "unreadable"], other
        (reject,) = [reject for reject in decoded.rejects if reject.reason == "identity"]
        assert (reject.topic, reject.payload, reject.kind) == (message.topic, message.payload, "streetlight")
        assert decoded.received == {"streetlight": 3, "truck": 1}
        assert [len(batch) for batch in decoded.batches] == [1, 1]


def test_a_value_outside_its_range_is_kept_and_flagged() -> None:
    (batch,) = decode(lamp(f'{{"ts":{NOW},"power_w":-5,"voltage_v":230}}')).batches
    assert batch.column("power_w")[0] == -5
    assert np.isnan(batch.trusted("power_w")[0])
    assert batch.trusted("voltage_v")[0] == 230


def test_a_clock_that_runs_ahead_is_held_at_the_arrival_and_marked() -> None:
    ahead = NOW + FUTURE_MS + 1
    (batch,) = decode(
        lamp(f'{{"ts":{ahead}}}'), lamp(f'{{"ts":{ahead - 1}}}', "lamp-0002"), lamp(f'{{"ts":{NOW - 10**10}}}')
    ).batches
    assert batch.time_ms.tolist() == [NOW, ahead - 1, NOW - 10**10]
    assert batch.sent_ms.tolist() == [ahead, ahead - 1, NOW - 10**10]
    assert batch.marks.tolist() == [MARK_FUTURE, 0, 0]


def test_one_bad_message_does_not_hurt_its_neighbours() -> None:
    good = lamp(f'{{"ts":{NOW}}}')
    decoded = decode(good, lamp("{"), good, lamp("[" * 100_000), good)
    assert [len(batch) for batch in decoded.batches] == [3]
    assert [reject.reason for reject in decoded.rejects] == ["unreadable", "wrong_form"]


POISON = {
    "depth": b"[" * 100_000,
    "depth of objects": b'{"ts":' * 30_000,
    "twenty-five thousand keys": ("{" + ",".join(f'"k{n}":1' for n in range(25_000)) + f',"ts":{NOW}}}').encode(),
    "ten megabytes": f'{{"ts":{NOW},"x":"{"y" * 10_000_000}"}}'.encode(),
    "a million keys in ten megabytes": ("{" + ",".join(f'"k{n}":1' for n in range(1_000_000)) + "}").encode(),
    "one key many times": (f'{{"ts":{NOW}' + ',"power_w":1' * 20_000 + "}").encode(),
    "a huge exponent": f'{{"ts":{NOW},"power_w":1e999}}'.encode(),
    "a huge integer": f'{{"ts":{NOW},"power_w":{"9" * 200_000}}}'.encode(),
    "a huge integer for a count": f'{{"ts":{NOW},"switch_count":{"9" * 4000}}}'.encode(),
    "a huge fraction": f'{{"ts":{NOW},"power_w":0.{"1" * 200_000}}}'.encode(),
    "a huge clock": f'{{"ts":{"9" * 200_000}}}'.encode(),
    "escapes": (f'{{"ts":{NOW},"x":"' + "\\u0000" * 40_000 + '"}').encode(),
    "lone surrogates": f'{{"ts":{NOW},"\\ud800":1}}'.encode(),
    "not UTF-8 in a string": b'{"ts":%d,"x":"\xc3\x28"}' % NOW,
    "not UTF-8 in a key": b'{"ts":%d,"\xc3\x28":1}' % NOW,
    "spaces": b"{" + b" " * 250_000,
    "minus nothing": f'{{"ts":{NOW},"power_w":-}}'.encode(),
    "many readings": json.dumps([{"ts": NOW}] * 20_000).encode(),
    "nested readings": json.dumps([[{"ts": NOW}]]).encode(),
}


@pytest.mark.parametrize("name", list(POISON))
def test_poison_costs_bounded_time_and_ends_in_exactly_one_place(name: str) -> None:
    message = lamp(POISON[name])
    took = []
    for _ in range(3):
        began = time.process_time()
        decoded = decode(message)
        took.append(time.process_time() - began)
    assert min(took) < POISON_S
    assert count(decoded) == sum(decoded.received.values()) == 1
    for batch in decoded.batches:
        assert np.isfinite(batch.trusted("power_w")).all() or np.isnan(batch.trusted("power_w")).all()


def test_a_number_too_large_for_a_float_is_never_a_trusted_value() -> None:
    decoded = decode(lamp(POISON["a huge exponent"]), lamp(POISON["a huge integer"]))
    for batch in decoded.batches:
        assert np.isnan(batch.trusted("power_w")).all()
    assert count(decoded) == 2


NUMBERS = st.one_of(
    st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.none(), st.booleans(), st.text()
)
VALUES = st.recursive(
    NUMBERS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
NAMES = st.one_of(st.sampled_from(["ts", *CATALOG["streetlight"].field_names()]), st.text(max_size=8))
READING = st.dictionaries(NAMES, VALUES, max_size=6)
STAMPED = READING.map(lambda reading: {"ts": NOW, **reading})
PAYLOADS = st.one_of(
    st.binary(max_size=300),
    st.one_of(READING, STAMPED, st.lists(READING | STAMPED, max_size=4), VALUES).map(lambda v: json.dumps(v).encode()),
)
TOPICS = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(["lamplighter", "v1", "harbour", "streetlight", "lamp-0001", "up", "", "+"]), max_size=8
    ).map("/".join),
    st.just(topics.up("harbour", "streetlight", "lamp-0001")),
    st.just(topics.up("harbour", "streetlight", "lamp-0001")),
)


@settings(max_examples=250, deadline=None)
@given(st.lists(st.builds(Message, TOPICS, PAYLOADS), max_size=5))
def test_decoding_is_total_and_counts_everything(messages: list[Message]) -> None:
    decoded = decode(*messages)
    assert count(decoded) == sum(decoded.received.values())
    assert len(decoded.rejects) <= len(messages)
    for reject in decoded.rejects:
        assert reject.reason in REASONS
        assert Message(reject.topic, reject.payload) in messages
    kept = len(messages) - len(decoded.rejects)
    assert sum(len(batch) for batch in decoded.batches) >= kept
    for batch in decoded.batches:
        shape = (len(batch.kind.fields), len(batch))
        assert batch.values.shape == batch.suspect.shape == shape
        assert len(batch.time_ms) == len(batch.sent_ms) == len(batch.device) == len(batch.marks) == shape[1]
        assert (batch.time_ms <= NOW + FUTURE_MS).all()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_what_a_device_sends_is_what_the_columns_hold(data: st.DataObject) -> None:
    kind = CATALOG["streetlight"]
    sent: dict[str, float] = {}
    for field in kind.fields:
        if data.draw(st.booleans()):
            if field.type == "bool":
                sent[field.name] = data.draw(st.booleans())
            elif field.type in ("int", "code"):
                sent[field.name] = data.draw(st.integers(-(2**53), 2**53))
            else:
                sent[field.name] = data.draw(st.floats(allow_nan=False, allow_infinity=False))
    (batch,) = decode(lamp(json.dumps({"ts": NOW, **sent}))).batches
    for field in kind.fields:
        held = batch.column(field.name)[0]
        if field.name in sent:
            assert held == sent[field.name]
        else:
            assert math.isnan(held)


def test_topics_name_their_device_and_nothing_else_does() -> None:
    assert topics.parse(topics.up("harbour", "truck", "truck-0001")) == ("harbour", "truck", "truck-0001")
    assert topics.parse(topics.down("harbour", "truck", "truck-0001")) is None
    assert topics.subscription("harbour") == "lamplighter/v1/harbour/+/+/up"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80) | st.text("az09_-/+# A.", max_size=70) | st.from_regex(topics.DEVICE_ID, fullmatch=True))
def test_a_device_id_fits_in_one_topic_level_or_is_refused(device_id: str) -> None:
    found = topics.parse(topics.up("harbour", "truck", device_id))
    if found is not None:
        assert found.device_id == device_id
        assert not set(device_id) & set("/+# ,=\n\r\t\x00\"'\\")
        assert 3 <= len(device_id) <= 64
    elif device_id.isascii() and device_id.isalnum() and device_id.islower():
        assert not 3 <= len(device_id) <= 64


def test_the_decoder_remembers_no_strangers() -> None:
    decoder = Decoder(registry(), "harbour")
    decoder.decode([lamp("{}", f"stranger-{n}") for n in range(500)], NOW)
    assert len(decoder._targets) == 0
