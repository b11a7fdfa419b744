"""Tables of the operations database as its first version made them, written out for good.

A database of any age begins here and comes to the present by the steps of storage/migrations.py. What a later version
changes stands in its step and in storage/tables.py, never here.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

first = MetaData()
Number = BigInteger().with_variant(Integer, "sqlite")

Table(
    "assets",
    first,
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("id", String(64), nullable=False, unique=True),
    Column("kind", String(48), nullable=False),
    Column("role", String(48), nullable=False),
    Column("name", Text, nullable=False),
    Column("lon", Float),
    Column("lat", Float),
    Column("district", Text, nullable=False),
    Column("street", Text, nullable=False),
    Column("road", Text, nullable=False),
    Column("cabinet", Text, nullable=False),
    Column("circuit", Text, nullable=False),
    Column("pole_index", Integer, nullable=False),
    Column("grid", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("keeper", Text, nullable=False),
    Column("facts", JSON, nullable=False),
)

Table(
    "roads",
    first,
    Column("id", Number, primary_key=True),
    Column("name", Text, nullable=False),
    Column("rank", String(16), nullable=False),
    Column("line", JSON, nullable=False),
)

Table(
    "permits",
    first,
    Column("id", String(64), primary_key=True),
    Column("truck", String(64), nullable=False),
    Column("route", JSON, nullable=False),
    Column("sites", JSON, nullable=False),
    Column("hours_from", Integer, nullable=False),
    Column("hours_until", Integer, nullable=False),
    Column("valid_from_ms", BigInteger, nullable=False),
    Column("valid_until_ms", BigInteger, nullable=False),
    Column("corridor_m", Float, nullable=False),
)

Table(
    "alerts",
    first,
    Column("id", String(32), primary_key=True),
    Column("rule", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("kind", String(48), nullable=False),
    Column("district", Text, nullable=False),
    Column("severity", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("onset_ms", BigInteger, nullable=False),
    Column("active_ms", BigInteger),
    Column("acknowledged_ms", BigInteger),
    Column("acknowledged_by", Text),
    Column("note", Text),
    Column("cleared_ms", BigInteger),
    Column("reason", Text, nullable=False),
    Column("message", JSON, nullable=False),
    Column("cleared_message", JSON),
    Column("values", JSON, nullable=False),
    Column("lon", Float),
    Column("lat", Float),
    Column("begun_ms", BigInteger, nullable=False),
    Index("alerts_state", "state", "begun_ms"),
    Index("alerts_begun", "begun_ms"),
    Index("alerts_entity", "entity"),
)

Table(
    "outbox",
    first,
    Column("id", Number, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("alert_id", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("receiver", Text, nullable=False),
    Column("notice", JSON, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("sent_ms", BigInteger),
    Column("error", Text, nullable=False),
    Index("outbox_due", "due_ms"),
    Index("outbox_status", "status"),
)

Table(
    "quarantine",
    first,
    Column("id", Number, primary_key=True),
    Column("arrival_ms", BigInteger, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("detail", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("kind", String(48), nullable=False),
    Column("device", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Index("quarantine_reason", "reason", "id"),
    Index("quarantine_device", "device", "id"),
)

Table(
    "tallies",
    first,
    Column("name", String(96), primary_key=True),
    Column("number", BigInteger, nullable=False),
)

Table(
    "schema_version",
    first,
    Column("version", Integer, primary_key=True, autoincrement=False),
)
