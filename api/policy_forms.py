"""Forms of what operators say of alerts: silences, shelves, resets, the warning level, and the alarm budget."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas import AlertForm, Form

Who = Annotated[str, Field(min_length=1, max_length=80, examples=["Duty officer"])]
Why = Annotated[str, Field(min_length=1, max_length=500, examples=["Cable works in Elm Road"])]
Sort = Literal["silence", "maintenance"]


class MatchersForm(Form):
    """Which alerts are meant; ``*``, ``?`` and ``[…]`` as in file names, all that are given must match."""

    rule: str = Field(default="", max_length=200)
    entity: str = Field(default="", max_length=200, examples=["device:lamp-00*", "lamp-0001"])
    district: str = Field(default="", max_length=200)
    kind: str = Field(default="", max_length=200)
    severity: str = Field(default="", max_length=200)
    road: str = Field(default="", max_length=200)
    cabinet: str = Field(default="", max_length=200)


class NewQuietForm(Form):
    """A silence or a maintenance window to be made."""

    sort: Sort = "silence"
    matchers: MatchersForm
    from_ms: int | None = Field(default=None, description="Epoch ms; left out: now.")
    until_ms: int
    who: Who
    why: Why


class QuietForm(Form):
    """A silence or a maintenance window."""

    id: int
    sort: Sort
    matchers: dict[str, str]
    from_ms: int
    until_ms: int
    who: str
    why: str
    holds: bool = Field(description="It holds now.")
    ended_by: str = Field(description="Who ended it early; empty for nobody.")


class PreviewForm(Form):
    """What a silence would mean now."""

    matches: int
    alerts: list[AlertForm] = Field(description="The newest hundred of them.")


class ShelveForm(Form):
    """An alert to be put aside."""

    who: Who
    why: Why
    until_ms: int | None = Field(default=None, description="Epoch ms; left out: as long as this person may.")


class SayForm(Form):
    """Who does something, and why."""

    who: Who
    why: str = Field(default="", max_length=500)


class WarningForm(Form):
    """The level of the weather warning."""

    level: Literal["none", "blue", "yellow", "orange", "red"]
    who: Who


class AuditForm(Form):
    """Who did what, when, to what."""

    id: int
    at_ms: int
    who: str
    what: str
    subject: str
    detail: dict[str, Any]


class DutyForm(Form):
    """Who of a team is on duty."""

    team: str
    on_duty: list[str]
    fallback: str
    gaps: list[tuple[int, int]] = Field(description="When nobody is, within 14 days: epoch ms.")


class ProfileForm(Form):
    """A profile and what switches it on."""

    name: str
    on: bool
    days: str
    warning: str


class ProfilesForm(Form):
    """The present weather warning, and the profiles."""

    warning: str
    profiles: list[ProfileForm]


class DeskForm(Form):
    """What one receiver was told."""

    receiver: str
    notices: int
    alarms: int
    last_10_min: int
    per_hour: float
    peak_10_min: int
    budget_share: float = Field(description="Over one in ten minutes; above 1 is too much for long.")
    flood_share: float
    in_flood: bool


class ActorForm(Form):
    """A rule on an entity, and how often."""

    rule: str
    entity: str
    number: int


class BudgetForm(Form):
    """The alarm budget of a stretch of time."""

    from_ms: int
    until_ms: int
    desks: list[DeskForm]
    worst: list[ActorForm] = Field(description="The ten that were told most often.")
    worst_share: float = Field(description="Of the ten, of all alarms.")
    severities: dict[str, int] = Field(description="Alarms by severity; EEMUA 191: about 5, 15 and 80 of a hundred.")
    chattering: list[ActorForm] = Field(description="Those that changed three times or more within a minute.")
    standing: int
    stale: int = Field(description="Open for longer than a day.")
