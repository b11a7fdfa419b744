"""The forms of the answers about the quarantine, as OpenAPI shows them. Times are epoch milliseconds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from api.schemas import Form


class QuarantineRow(Form):
    """A message that could not be read."""

    id: int
    arrival_ms: int
    reason: str
    detail: str
    topic: str
    kind: str
    device: str
    bytes: int
    attempts: int = Field(description="How often it was read again in vain.")
    asked_ms: int | None = Field(description="Since when it waits to be read again.")
    replayable: bool = Field(description="It came from the broker and can go the way of a message again.")


class QuarantineForm(Form):
    """A page of messages in quarantine, newest first, and its books by reason."""

    counts: dict[str, int] = Field(description="Held now.")
    let_go: dict[str, int] = Field(description="Gone because a device, a reason or the whole had too many.")
    purged: dict[str, int] = Field(description="Deleted by people.")
    replayed: int = Field(description="Read after all.")
    matching: int = Field(description="How many match the filters.")
    messages: list[QuarantineRow]
    next_before: int | None = Field(description="Ask for older ones with ``before``; null on the last page.")


class QuarantineDetail(QuarantineRow):
    """A message in quarantine, whole."""

    payload_text: str | None = Field(description="As UTF-8, null where it is not text.")
    payload_base64: str
    form: Literal["json", "text", "binary"]
    shown: str = Field(description="JSON laid out, text, or a dump; every character that does not print is escaped.")


class ChoiceForm(Form):
    """Which messages: all conditions that are given hold."""

    reason: str | None = Field(default=None, max_length=32)
    device: str | None = Field(default=None, max_length=64)
    kind: str | None = Field(default=None, max_length=48)
    topic: str | None = Field(default=None, max_length=256, description="Part of the topic.")
    since_ms: int | None = Field(default=None, ge=0, le=1 << 53)
    until_ms: int | None = Field(default=None, ge=0, le=1 << 53)
    numbers: list[Annotated[int, Field(ge=0, le=1 << 53)]] | None = Field(default=None, max_length=500)


class ReplayForm(ChoiceForm):
    """Who wants which messages to be read again."""

    who: str = Field(min_length=1, max_length=80, examples=["Duty officer"])


class ReplayedForm(Form):
    """How many messages are to be read again; what never came from the broker is not among them."""

    asked: int


class PurgeForm(ChoiceForm):
    """Who deletes which messages, and how many these are."""

    who: str = Field(min_length=1, max_length=80)
    expected: int = Field(ge=0, description="How many match, as the one who purges has seen it.")


class PurgedForm(Form):
    """How many messages were deleted."""

    purged: int
