"""Codecs under inputs that Hypothesis draws: valid ones, bent ones and plain noise, each through its fuzzing harness.

LAMPLIGHTER_FUZZ_EXAMPLES sets how many of each (150 in the suite); `make fuzz` searches on by coverage.
"""

from __future__ import annotations

import json
import os
import struct
import time

import mqtt5
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from devices import topics as native
from tests.fuzz import frames, lines, payloads, rules, topics
from tests.fuzz.budget import LIMIT_S, within_limit

EXAMPLES = int(os.environ.get("LAMPLIGHTER_FUZZ_EXAMPLES", "150"))
many = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = sorted({name for kind in payloads.CATALOG for name in kind.field_names()})
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**300), 10**300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["12,5", "12.5", "", "on", "1e999"]),
)
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4), v, max_size=3))
KEYS = st.sampled_from([*NAMES, "device_id", "id", "colour"]) | st.text(max_size=6)
READINGS = st.dictionaries(KEYS, VALUES, max_size=6).map(lambda one: {"ts": payloads.NOW, **one})
JSON = st.one_of(READINGS, st.lists(READINGS, max_size=4), VALUES).map(lambda v: json.dumps(v, ensure_ascii=False))
LITERALS = st.sampled_from(
    ["NaN", "Infinity", "-0", "-0.0", "1e999", "-1e-999", "9" * 300, "0x10", "1_000", "12,5", "+1"]
)


@st.composite
def bent(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes with a few places changed, taken out, put in or cut off."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0:
                data[place : place + 1] = draw(st.binary(max_size=4))
            case 1:
                del data[place:]
            case 2:
                data[place:place] = draw(
                    st.sampled_from([b"\0", b"\xff", b"\xef\xbb\xbf", b"[", b'"', b"\\", b",", b" "])
                )
            case _:
                data[place:place] = data[: draw(st.integers(0, len(data)))]
    return bytes(data)


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@many
@given(st.integers(0, 3), bent(JSON.map(encoded)) | st.binary(max_size=200))
def test_a_payload_of_any_bytes_becomes_rows_or_one_reject_and_hurts_no_neighbour(kind: int, data: bytes) -> None:
    within_limit(payloads.check, bytes([kind]) + data)


@many
@given(st.sampled_from(NAMES), LITERALS, st.integers(0, 3))
def test_a_number_of_any_form_is_what_json_says_or_the_message_is_kept_apart(
    name: str, literal: str, kind: int
) -> None:
    text = f'{{"ts":{payloads.NOW},"{name}":{literal},"{name}":{literal}}}'
    within_limit(payloads.check, bytes([kind]) + text.encode())


LEVELS = st.sampled_from(
    ["lamplighter", "v1", payloads.CITY, "streetlight", "streetlight-1", "up", "down", "+", "#", "", ".."]
)


@many
@given(bent(st.lists(LEVELS | st.text(max_size=5), max_size=8).map("/".join).map(encoded)) | st.binary(max_size=80))
@example(native.up(payloads.CITY, "streetlight", "streetlight-1").encode() + b"\n")
@example(b"lamplighter/v1/" + b"x" * 65_000)
def test_a_topic_of_any_bytes_is_one_known_devices_or_nobodys(data: bytes) -> None:
    within_limit(topics.check, data)


@many
@given(st.lists(st.text(max_size=12), min_size=1, max_size=4), st.lists(st.floats(), max_size=60))
def test_a_name_and_a_number_of_any_kind_come_back_from_their_line(names: list[str], numbers: list[float]) -> None:
    text = b"\xff".join(name.encode("utf-8", "replace") for name in names)
    values = struct.pack(f"<{len(numbers)}d", *numbers)
    size = max(len(text), len(values))
    within_limit(lines.check, text.ljust(size, b"x") + values.ljust(size, b"\0"))


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Packets as a broker sends them, and some that no broker should."""
    topic, payload = (
        draw(st.text(st.characters(exclude_characters="\0#+", exclude_categories=["Cs"]), max_size=8)),
        draw(st.binary(max_size=40)),
    )
    match draw(st.integers(0, 7)):
        case 0 | 1 | 2:
            number = draw(st.integers(1, 65_535))
            return mqtt5.PublishPacket(topic or "t", payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=number).write()
        case 3:
            return mqtt5.PublishPacket(topic or "t", payload).write()
        case 4:
            return mqtt5.PingRespPacket().write()
        case 5:
            return mqtt5.ConnAckPacket().write()
        case 6:
            return mqtt5.DisconnectPacket(reason_str=topic).write()
        case _:
            return bytes([draw(st.integers(0, 255)), len(payload)]) + payload


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # how the MQTT codec tells its panics
@many
@given(st.integers(0, 2), st.integers(0, 40), bent(st.lists(packets(), max_size=6).map(b"".join)))
def test_bytes_of_any_kind_from_a_broker_end_in_deliveries_and_a_stated_reason(
    opening: int, step: int, data: bytes
) -> None:
    within_limit(frames.check, bytes([opening, step]) + data)


def test_a_packet_announced_as_256_megabytes_ends_the_connection_before_it_is_gathered() -> None:
    announced = b"\x32\xff\xff\xff\x7f\x00\x01a" + bytes(5000)
    within_limit(frames.check, b"\x02\x40" + announced)
    delivered, words = frames.fed(frames.OPENINGS[2] + announced[:20])
    assert not delivered
    assert "268435460 bytes; at most 65536 were allowed" in words


WORDS = st.sampled_from(
    [
        "power_w",
        "voltage_v",
        "lamp_failure",
        "rated_power_w",
        "expected_on",
        "door_open",
        "nobody",
        "1",
        "0.3",
        "9" * 400,
        "1e999",
        "'x'",
    ]
)
EXPRESSIONS = st.recursive(
    WORDS,
    lambda e: st.one_of(
        st.tuples(
            e, st.sampled_from([" and ", " or ", " < ", " <= ", " == ", " + ", " * ", " / ", ", ", " if "]), e
        ).map("".join),
        e.map(lambda one: f"({one})"),
        e.map(lambda one: f"not {one}"),
        st.tuples(st.sampled_from(["abs", "min", "default", "-", "~", "f", "lambda x: "]), e).map(
            lambda p: f"{p[0]}({p[1]})"
        ),
    ),
    max_leaves=12,
)
TEXTS = st.one_of(
    EXPRESSIONS,
    st.text(max_size=30),
    st.sampled_from(
        [
            "15m",
            "3x",
            "1e9d",
            "0s",
            "-5m",
            "18:30",
            "{name} {value:.1f}",
            "{value!r}",
            "{",
            "{0}",
            "{x.y}",
            "{:>999999999}",
        ]
    ),
)
FORMS = st.integers(144, 144 + len(rules.KEYS))
RULE = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["ab", "a rule", "a\n", "x" * 60]),
        "device": st.sampled_from(["streetlight", "pump", "ship"]),
        "severity": st.just("minor"),
    },
    optional={
        "kind": st.sampled_from(["expression", "offline", "lighting_rate", "seepage", "route_deviation", "x"]),
        "on": EXPRESSIONS,
        "for": TEXTS,
        "after": st.sampled_from(["3x", "5m", 7, None]),
        "samples": SCALARS,
        "hold": TEXTS,
        "message": st.fixed_dictionaries({"en": TEXTS, "zh": st.just("一")}),
        "more": VALUES,
    },
)
FILES = st.fixed_dictionaries(
    {}, optional={"rules": st.lists(RULE, max_size=3) | VALUES, "lighting": VALUES, "x": VALUES}
)
CATALOG_FIELD = st.fixed_dictionaries(
    {"en": st.just("a"), "zh": st.just("一")},
    optional={
        "range": st.lists(SCALARS, max_size=3),
        "type": st.sampled_from(["float", "int", "code", "x"]),
        "codes": VALUES,
        "unit": SCALARS,
        "roles": VALUES,
    },
)
KINDS = st.fixed_dictionaries(
    {"kind": st.sampled_from(["well", "well\n", "ts"]), "en": st.just("well"), "zh": st.just("井")},
    optional={
        "roles": st.dictionaries(st.text(max_size=3), SCALARS, max_size=2) | VALUES,
        "fields": st.dictionaries(st.sampled_from(["level_m", "ts", "a\n"]), CATALOG_FIELD),
        "facts": VALUES,
    },
)


def as_yaml(value: object) -> bytes:
    return encoded(yaml.safe_dump(value, allow_unicode=True))


@many
@given(FORMS, TEXTS)
def test_a_rules_key_of_any_text_is_read_or_refused_at_its_place(form: int, text: str) -> None:
    within_limit(rules.check, bytes([form]) + encoded(text))


@many
@given(bent(FILES.map(as_yaml)) | st.binary(max_size=60) | st.text(max_size=60).map(encoded))
def test_a_rules_file_of_any_text_is_a_rule_set_or_an_error_that_names_the_line(data: bytes) -> None:
    within_limit(rules.check, b"\x00" + data)


@many
@given(bent(KINDS.map(as_yaml)) | st.binary(max_size=60))
def test_a_kinds_declaration_of_any_text_is_a_kind_or_an_error_that_names_the_line(data: bytes) -> None:
    within_limit(rules.check, b"\x60" + data)


@pytest.mark.parametrize(
    "unit", ["[", "{", "- ", "? ", "a: ", "!!a ", "&a ", "'", "|\n", "[a,", "<<: ", "*a ", "0:", ">\n ", '"\\x', "--- "]
)
def test_four_kilobytes_of_one_mark_cost_no_more_than_other_text(unit: str) -> None:
    within_limit(rules.check, b"\x00" + (unit * (4096 // len(unit))).encode())


def test_a_bomb_of_aliases_is_refused_at_its_first_alias() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    with pytest.raises(rules.ConfigError, match=r"^any\.yaml:2: .*aliases are not read"):
        rules.parse_yaml(bomb, "any.yaml")


def test_the_limit_is_a_limit() -> None:
    def slow(_: bytes) -> None:
        began = time.thread_time()
        while time.thread_time() - began < 1.5 * LIMIT_S:
            pass

    with pytest.raises(AssertionError, match="ms of processor time for 1 bytes"):
        within_limit(slow, b"x")
    assert LIMIT_S == 0.05
