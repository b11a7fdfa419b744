"""The forms of the answers, as OpenAPI shows them. Times are epoch milliseconds; null stands for unknown."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

State = Literal[-1, 0, 1, 2, 3, 4]
STATES = ("silent", "fine", "info", "minor", "major", "critical")  # names of -1 to 4
Severity = Literal["critical", "major", "minor", "info"]


class Form(BaseModel):
    """What every form is: nothing beyond what it declares."""

    model_config = ConfigDict(extra="forbid")


class Words(Form):
    """One text in both languages."""

    en: str
    zh: str


class FieldForm(Form):
    """One measured quantity of a kind, or one fact of its assets."""

    name: str = Field(examples=["power_w"])
    unit: str = Field(examples=["W"])
    type: Literal["float", "int", "bool", "code"]
    low: float = Field(description="Lowest physical value; outside it a reading is kept but not judged.")
    high: float
    name_en: str
    name_zh: str
    roles: list[str] = Field(description="Roles that report it; empty means all.")
    codes: dict[int, str] = Field(description="Meaning of each number of a code.")


class KindForm(Form):
    """A kind of facility, with what it reports and what is known of it."""

    name: str = Field(examples=["streetlight"])
    name_en: str
    name_zh: str
    roles: list[str] = Field(examples=[["lamp", "cabinet"]])
    report_s: list[float] = Field(description="Usual seconds between reports of each role.")
    fields: list[FieldForm]
    facts: list[FieldForm]
    assets: int = Field(description="How many the registry holds.")


class RuleForm(Form):
    """One rule, as people meet it in alerts."""

    id: str
    title: Words
    device: str = Field(description="Kind of facility it watches.")
    severity: Severity
    kind: str = Field(description="What sort of rule it is.", examples=["expression", "lighting_rate"])


class CityForm(Form):
    """Which city this is, its kinds, and how its clock stands."""

    id: str
    name: Words
    timezone: str = Field(examples=["Asia/Shanghai"])
    language: Literal["zh", "en"]
    centre: tuple[float, float] | None = Field(description="Longitude and latitude, WGS-84 degrees.")
    bounds: tuple[float, float, float, float] | None = Field(description="West, south, east, north of all assets.")
    now_ms: int = Field(description="The city's time.")
    speed: float = Field(description="City seconds a host second; 1 except in a demo.")
    version: str
    revision: str = Field(description="Changes when the registry changes; row numbers hold within one revision.")
    districts: list[str]
    streets: list[str]
    roads: list[str] = Field(description="Names of the roads that assets stand on.")
    kinds: list[KindForm]
    rules: list[RuleForm]


class MapForm(Form):
    """All assets as columns, in registry rows, for drawing: position i of each column is row i."""

    revision: str
    kinds: list[str] = Field(description="Names that the column ``kind`` counts into.")
    id: list[str]
    kind: list[int]
    role: list[int] = Field(description="Into the kind's roles.")
    lon: list[float | None] = Field(description="Degrees; of what moves, the newest position.")
    lat: list[float | None]
    state: list[State] = Field(description="0 fine, 1 info, 2 minor, 3 major, 4 critical, -1 silent.")


class AssetForm(Form):
    """One asset with its place and present state."""

    row: int
    id: str = Field(examples=["lamp-0001"])
    kind: str
    role: str
    name: str
    lon: float | None
    lat: float | None
    state: State
    district: str
    street: str
    road: str
    cabinet: str
    circuit: str
    pole_index: int | None
    grid: str = Field(description="Cell of 100 m by 100 m.")
    owner: str
    keeper: str


class AssetsForm(Form):
    """A page of assets in registry order."""

    total: int = Field(description="How many match the filters.")
    assets: list[AssetForm]
    next_after: int | None = Field(description="Ask for the next page with ``after``; null on the last.")


class Acknowledgement(Form):
    """Who has taken an alert on, and when."""

    who: str
    note: str
    at_ms: int | None


class ShelvedForm(Form):
    """Who has put an alert aside, until when, and why."""

    until_ms: int
    who: str
    why: str


class AlertForm(Form):
    """One rule on one entity, from onset to clear."""

    id: str
    rule: str
    entity: str = Field(examples=["device:lamp-0001", "road:人民路"])
    asset: str | None = Field(description="Device id where the alert is about one device.")
    place: str = Field(description="Where to go, as people call it.")
    kind: str
    severity: Severity
    state: Literal["active", "acknowledged", "latched", "cleared"] = Field(
        description="``latched``: its condition has ended, and a person must reset it."
    )
    message: Words
    onset_ms: int
    active_ms: int | None = Field(description="When the condition had held for long enough.")
    cleared_ms: int | None
    reason: str = Field(description="Why it cleared; empty while open.")
    values: dict[str, float | None]
    lon: float | None
    lat: float | None
    district: str
    acknowledged: Acknowledgement | None
    flags: list[str] = Field(
        description="``suppressed``, ``shelved``, ``silenced``, ``out_of_service``, ``flapping``, ``stale_held``."
    )
    shelved: ShelvedForm | None
    incident: str = Field(description="Id of the incident that it belongs to; empty for none.")
    suppressed_by: str = Field(description="Id of the alert that explains it; empty where it stands for itself.")


class PendingForm(Form):
    """A condition that holds but has not held long enough to be an alert."""

    rule: str
    entity: str
    severity: Severity
    since_ms: int


class AlertsForm(Form):
    """A page of alerts, newest first; or, for ``state=pending``, the conditions under way."""

    alerts: list[AlertForm]
    pending: list[PendingForm]
    next_before: int | None = Field(description="Ask for older ones with ``before``; null on the last page.")


class AcknowledgeForm(Form):
    """Who takes the alert on, and what they say about it."""

    who: str = Field(min_length=1, max_length=80, examples=["Duty officer"])
    note: str = Field(default="", max_length=500)


class ValueForm(Form):
    """The newest trusted value of one field."""

    field: str
    value: float | None


class AssetDetail(AssetForm):
    """One asset with facts, newest values and open alerts."""

    facts: dict[str, float | None]
    time_ms: int | None = Field(description="Device time of the newest reading.")
    seen_ms: int | None = Field(description="Host time at which it was last heard.")
    age_ms: int | None = Field(description="City milliseconds since it was last heard.")
    values: list[ValueForm] = Field(description="Of the fields that its role reports, in the kind's order.")
    alerts: list[AlertForm]


class HistoryForm(Form):
    """Readings of one asset over time, thinned to at most ``points`` a field."""

    id: str
    kind: str
    from_ms: int
    until_ms: int
    time_ms: list[int]
    values: dict[str, list[float | None]]


class LastForm(Form):
    """Newest trusted values of all assets of one kind, as columns."""

    kind: str
    id: list[str]
    time_ms: list[int | None]
    seen_ms: list[int | None]
    values: dict[str, list[float | None]]


class LightingForm(Form):
    """How many of the lamps that should burn do burn, on one road, cabinet or grid cell."""

    scope: Literal["road", "cabinet", "grid"]
    name: str
    district: str
    rate: float | None = Field(description="Lit over known, 0 to 1.")
    rate_low: float | None = Field(description="Lower confidence bound.")
    rate_high: float | None
    coverage: float | None = Field(description="Known over expected, 0 to 1.")
    lit: int
    known: int
    expected: int
    time_ms: int


class LedgerRow(Form):
    """Readings of one kind: received = stored + quarantined + duplicate + pending."""

    kind: str
    received: int
    stored: int
    quarantined: int
    duplicate: int
    pending: int
    replayed: int = Field(description="Messages read after all; no longer among received and quarantined.")
    balanced: bool


class LedgerForm(Form):
    """The ledger by kind, and their sum."""

    kinds: list[LedgerRow]
    total: LedgerRow
    balanced: bool = Field(description="Every kind balances.")


class PartForm(Form):
    """How one part of the house is doing."""

    name: str = Field(examples=["broker"])
    well: bool
    says: str


class HealthForm(Form):
    """Whether the house does its work, part by part."""

    well: bool
    parts: list[PartForm]


class ReloadedForm(BaseModel):
    """What a reload has changed."""

    says: str
    changes: list[str] = Field(description="A line for each rule that is new, gone or changed.")


class ProblemForm(BaseModel):
    """An error in the form of RFC 9457."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What was wrong and what would be accepted, in one sentence.")
