"""What comes next for an alert that nobody has taken on: the next person of the chain, or the same people again.

A function of when it was first told, and of nothing that is only remembered: a house that was away goes on where it
was.
"""

from __future__ import annotations

from dataclasses import dataclass

from alerts.policy import Policy

ESCALATED, AGAIN = "escalated", "again"


@dataclass(frozen=True, slots=True)
class Next:
    """What comes next.

    Attributes:
        label: ``escalated-1`` for the first step of the chain, ``again-2`` for the second repetition; part of the
            idempotency key.
        due_ms: when.
        to: name of a receiver, for a step; empty for those who were told before.
    """

    label: str
    due_ms: int
    to: str = ""


def what_next(
    policy: Policy, severity: str, told_ms: int, done_ms: int, now_ms: int, *, acknowledged: bool
) -> Next | None:
    """Return what comes after ``done_ms``, None for nothing.

    Steps that came due while the house was away are all taken, each once; of repetitions only the next is.

    Args:
        policy: with its chains.
        severity: of the alert.
        told_ms: when it was first told.
        done_ms: when what was done last had been due; ``told_ms`` for nothing yet.
        now_ms: the present.
        acknowledged: somebody has taken it on, so the chain has ended.
    """
    found: list[Next] = []
    if not acknowledged:
        for number, step in enumerate(policy.escalation.get(severity, ()), start=1):
            if told_ms + step.after_ms > done_ms:
                found.append(Next(f"{ESCALATED}-{number}", told_ms + step.after_ms, step.to))
    again_ms = policy.again_ms.get(severity, 0)
    if again_ms:
        times = max(max(done_ms, now_ms) - told_ms, 0) // again_ms + 1
        found.append(Next(f"{AGAIN}-{times}", told_ms + times * again_ms))
    return min(found, key=lambda one: one.due_ms, default=None)
