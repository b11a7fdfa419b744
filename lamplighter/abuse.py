"""What the house says of those who speak out of turn: unknown devices, impostors, devices that send too often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.house import Figure, Part
from storage.quarantine import BYTES_MAX, ROWS_MAX

if TYPE_CHECKING:
    from lamplighter.wiring import House

NAMED = 3  # devices named in one line


def security(house: House) -> Part:
    """Return who spoke out of turn in the last hour. It is told, and no reason to restart: the house does its work."""
    found = house.watch.strangers.report(house.now_ms())
    said = []
    if found.devices:
        most = f", {found.share:.0%} of them from '{found.prefix}…'" if found.prefix else ""
        said.append(
            f"{_about(found.devices)} unknown device{'s' if found.devices != 1 else ''} in the last hour "
            f"({_messages(found.messages)}{most}): adopt them, or find whose credential sends that"
        )
    if found.impostors:
        said.append(f"{_messages(found.impostors)} in the last hour with another device's name than the topic's")
    if dry := house.watch.limiter.dry:
        more = f" and {len(dry) - NAMED} more" if len(dry) > NAMED else ""
        said.append(f"held back because they send too often: {', '.join(dry[:NAMED])}{more}")
    return Part("security", True, "; ".join(said) or "nobody speaks out of turn")


def quarantine(house: House) -> Part:
    """Return what the quarantine holds, and what it had to let go."""
    counts, gone = house.operations.quarantine_counts(), house.operations.quarantine_gone()
    held = f"{sum(counts.values()):,} of {ROWS_MAX:,} messages ({BYTES_MAX >> 20} MB at most)"
    if trouble := house.watch.readmission.trouble:
        held += f"; what is to be read again waits for the operations database: {trouble}"
    if gone:
        held += f"; let go because there were too many: {_by_reason(gone)}"
    return Part("quarantine", True, held)


def figures(house: House) -> list[Figure]:
    """Return the numbers of quarantine and abuse for /metrics."""

    def by_reason(name: str, sentence: str, numbers: dict[str, int], *, counter: bool = True) -> Figure:
        samples: dict[tuple[str, ...], float] = {(reason,): float(number) for reason, number in numbers.items()}
        return Figure(name, sentence, samples, labels=("reason",), counter=counter)

    operations, watch = house.operations, house.watch
    found = watch.strangers.report(house.now_ms())
    return [
        by_reason("quarantine_held", "Messages in quarantine now.", operations.quarantine_counts(), counter=False),
        by_reason("quarantine_let_go", "Messages let go because there were too many.", operations.quarantine_gone()),
        by_reason("quarantine_purged", "Messages that people have purged.", operations.quarantine_purged()),
        Figure("strangers", "Unknown device ids in the last hour, about.", {(): float(found.devices)}),
        Figure("impostors", "Messages of the last hour that named another device.", {(): float(found.impostors)}),
        Figure("held_back", "Messages held back as too many.", {(): float(watch.limiter.held_back)}, counter=True),
        Figure("held_back_devices", "Devices held back just now.", {(): float(len(watch.limiter.dry))}),
    ]


def _messages(number: int) -> str:
    return f"{number:,} message{'' if number == 1 else 's'}"


def _about(number: int) -> str:
    """Return a number that was estimated, without digits that it does not have."""
    if number < 1000:
        return f"{number}"
    step = 10 ** (len(str(number)) - 2)
    return f"about {round(number / step) * step:,}"


def _by_reason(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {number:,}" for reason, number in sorted(counts.items(), key=lambda item: -item[1]))
