"""What somebody would write in an afternoon: paho-mqtt, json, and Points of influxdb-client. The measure to beat.

    python -m bench.plain_script --port 1883 --count 20000 --url http://127.0.0.1:8086 --token … --bucket …

prints {"ready": true} once subscribed, and at the end one JSON line {"messages": …, "cpu_s": …, "wall_s": …}: the
processor time (user and system, all threads) from the first message to the last point written. No journal, no
duplicates, no quarantine, no rules; a message is acknowledged before it is written.
"""

from __future__ import annotations

import argparse
import json
import resource
import threading
import time

import paho.mqtt.client as mqtt
from influxdb_client import InfluxDBClient, Point, WriteOptions, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

LIST = 1000  # points of one write in the style that gathers them itself


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Plain:
    """Subscribe, decode, write.

    Args:
        given: the command line.
    """

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.influx = InfluxDBClient(url=given.url, token=given.token, org=given.org)
        batching = given.style == "batching"
        options = WriteOptions(batch_size=LIST, flush_interval=1000) if batching else SYNCHRONOUS
        self.writer = self.influx.write_api(write_options=options)
        self.points: list[Point] = []
        self.count = 0
        self.began = self.cpu = 0.0
        self.done = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=given.client_id, protocol=mqtt.MQTTv5)
        if given.username:
            self.client.username_pw_set(given.username, given.password)
        self.client.on_connect = self.on_connect
        self.client.on_subscribe = lambda *_: print(json.dumps({"ready": True}), flush=True)
        self.client.on_message = self.on_message

    def on_connect(self, client: mqtt.Client, *_) -> None:
        client.subscribe(self.given.topic, qos=1)

    def on_message(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        if not self.count:
            self.began, self.cpu = time.monotonic(), cpu_s()
        _, _, _, kind, device, _ = message.topic.split("/")
        said = json.loads(message.payload)
        for reading in said if isinstance(said, list) else [said]:
            self.on_reading(kind, device, reading)
        self.count += 1
        if self.count >= self.given.count:
            self.done.set()

    def on_reading(self, kind: str, device: str, reading: dict[str, float]) -> None:
        point = Point(kind).tag("device", device).time(reading.pop("ts"), WritePrecision.MS)
        for name, value in reading.items():
            point.field(name, float(value))
        if self.given.style == "batching":
            self.writer.write(bucket=self.given.bucket, record=point)
        else:
            self.points.append(point)
            if len(self.points) >= LIST:
                self.flush()

    def flush(self) -> None:
        if self.points:
            self.writer.write(bucket=self.given.bucket, record=self.points)
            self.points = []

    def run(self) -> None:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        properties.ReceiveMaximum = 8192
        self.client.connect(self.given.host, self.given.port, clean_start=False, properties=properties)
        self.client.loop_start()
        try:
            if not self.done.wait(self.given.timeout):
                raise SystemExit(f"only {self.count} of {self.given.count} messages came")
            self.client.loop_stop()
            self.flush()
            self.writer.close()
        finally:
            self.client.disconnect()
            self.influx.close()
        result = {"messages": self.count, "cpu_s": cpu_s() - self.cpu, "wall_s": time.monotonic() - self.began}
        print(json.dumps(result), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--topic", default="lamplighter/v1/bench/+/+/up")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--client-id", default="bench-plain")
    parser.add_argument("--username")
    parser.add_argument("--password")
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", default="none")
    parser.add_argument("--org", default="lamplighter")
    parser.add_argument("--bucket", default="bench")
    parser.add_argument("--timeout", type=float, default=300.0)
    parser.add_argument(
        "--style",
        choices=("batching", "list"),
        default="batching",
        help="the client's batching writer, as its documentation shows it, or lists of 1000 written in one call",
    )
    Plain(parser.parse_args()).run()


if __name__ == "__main__":
    main()
