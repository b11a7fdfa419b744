"""Tables of the operations database, as its newest migration leaves them."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()
Number = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by themselves only in INTEGER columns

assets = Table(
    "assets",
    metadata,
    Column("row", Integer, primary_key=True, autoincrement=False),  # given once, the number that batches carry
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

roads = Table(
    "roads",
    metadata,
    Column("id", Number, primary_key=True),
    Column("name", Text, nullable=False),
    Column("rank", String(16), nullable=False),
    Column("line", JSON, nullable=False),
)

permits = Table(
    "permits",
    metadata,
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

fences = Table(
    "fences",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),  # of an area of several pieces
    Column("kind", String(64), nullable=False),
    Column("ring", JSON, nullable=False),
    Column("hours_from", Integer, nullable=False),
    Column("hours_until", Integer, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("rule", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("kind", String(48), nullable=False),
    Column("district", Text, nullable=False),
    Column("severity", String(16), nullable=False),
    Column("state", String(16), nullable=False),  # active, acknowledged, latched, cleared
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
    Column("begun_ms", BigInteger, nullable=False),  # active_ms, or cleared_ms where only the end is known; for pages
    Column("incident", String(32), nullable=False, server_default=""),  # which it belongs to; empty for none
    Column("suppressed_by", String(32), nullable=False, server_default=""),  # the alert that explains it
    Index("alerts_state", "state", "begun_ms"),
    Index("alerts_begun", "begun_ms"),
    Index("alerts_entity", "entity"),
    Index("alerts_incident", "incident"),
)

incidents = Table(  # alerts under one cause, named after the alert that leads them
    "incidents",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("cause", Text, nullable=False),  # a rule's id, or a cause found in the tree
    Column("node", Text, nullable=False),  # entity of the alert that leads it
    Column("kind", String(48), nullable=False),
    Column("district", Text, nullable=False),
    Column("keeper", Text, nullable=False),
    Column("severity", String(16), nullable=False),
    Column("state", String(16), nullable=False),  # active, acknowledged, cleared
    Column("onset_ms", BigInteger, nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("told_ms", BigInteger),  # when people were first told; None while it waits, and for what nobody is told
    Column("closed_ms", BigInteger),
    Column("acknowledged_ms", BigInteger),
    Column("acknowledged_by", Text),
    Column("note", Text),
    Column("reason", Text, nullable=False),
    Column("alerts", Integer, nullable=False),
    Column("suppressed", Integer, nullable=False),
    Column("devices", Integer, nullable=False),
    Column("notices", Integer, nullable=False),  # worth telling so far, whoever was told
    Column("message", JSON, nullable=False),
    Column("lon", Float),
    Column("lat", Float),
    Index("incidents_state", "state", "opened_ms"),
    Index("incidents_opened", "opened_ms"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Number, primary_key=True),
    Column("key", Text, nullable=False, unique=True),  # alert:state:receiver, the idempotency key
    Column("alert_id", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("receiver", Text, nullable=False),
    Column("notice", JSON, nullable=False),  # the transition as it was decided
    Column("created_ms", BigInteger, nullable=False),  # indexed too, since the third version
    Column("due_ms", BigInteger),  # None once sent or given up
    Column("attempts", Integer, nullable=False),
    Column("status", String(16), nullable=False),  # see storage/outbox.py
    Column("sent_ms", BigInteger),
    Column("error", Text, nullable=False),
    Index("outbox_due", "due_ms"),
    Index("outbox_status", "status"),
    Index("outbox_alert", "alert_id"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", Number, primary_key=True),
    Column("arrival_ms", BigInteger, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("detail", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("kind", String(48), nullable=False),
    Column("device", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column(
        "source", String(80), nullable=False, server_default=""
    ),  # whom it is counted to: device, or mark of a topic
    Column("attempts", Integer, nullable=False, server_default="0"),  # read again in vain
    Column("asked_ms", BigInteger),  # somebody asked that it be read again
    Index("quarantine_reason", "reason", "id"),
    Index("quarantine_device", "device", "id"),
    Index("quarantine_source", "source", "id"),
    Index("quarantine_asked", "asked_ms"),
)

tallies = Table(  # cumulative numbers: stored:<kind>, quarantined:<kind>, replayed:<kind>, kept:<kind>, …
    "tallies",
    metadata,
    Column("name", String(96), primary_key=True),
    Column("number", BigInteger, nullable=False),
)

alert_marks = Table(  # what operators and policy have added to an alert; nothing of it enters the engine
    "alert_marks",
    metadata,
    Column("alert_id", String(32), primary_key=True),
    Column("marks", Text, nullable=False, server_default=""),  # silenced, out_of_service, flapping; with spaces between
    Column("shelved_until_ms", BigInteger),
    Column("shelved_by", Text, nullable=False, server_default=""),
    Column("shelved_why", Text, nullable=False, server_default=""),
    Column("reset_ms", BigInteger),
    Column("reset_by", Text, nullable=False, server_default=""),
    Column("told_ms", BigInteger),  # when its beginning went to anybody
    Column("chain", Text, nullable=False, server_default=""),  # what is next: a step of the chain, or an alarm again
    Column("chain_ms", BigInteger),  # when that is due; None for never
    Index("alert_marks_chain", "chain_ms"),
    Index("alert_marks_shelved", "shelved_until_ms"),
)

quiets = Table(  # silences and maintenance windows
    "quiets",
    metadata,
    Column("id", Number, primary_key=True),
    Column("sort", String(16), nullable=False),  # silence, maintenance
    Column("matchers", JSON, nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("ended_by", Text, nullable=False, server_default=""),
    Index("quiets_until", "until_ms"),
)

audit = Table(  # who did what; only ever added to
    "audit",
    metadata,
    Column("id", Number, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", String(32), nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", JSON, nullable=False),
    Index("audit_subject", "subject", "id"),
)

flaps = Table(  # pairs of rule and entity that come and go too often just now
    "flaps",
    metadata,
    Column("name", Text, primary_key=True),  # rule|entity
    Column("rule", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("percent", Float, nullable=False),
)

policy_state = Table(  # warning level, profiles, floods: one word each
    "policy_state",
    metadata,
    Column("name", String(96), primary_key=True),
    Column("value", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
)

schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
)
