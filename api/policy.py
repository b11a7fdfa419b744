"""What operators say of alerts, and what they may ask of the policy: silences, shelves, resets, duty, budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool

from alerts.policy_match import Matcher, Quiet, problems
from api import policy_forms as forms
from api import schemas
from api.alerts import AlertId, alert_form, tell
from api.house import House
from api.problems import Problem
from storage.operations import AlertRow
from storage.policyrows import QuietRow

LONGEST_QUIET_MS = 366 * 86_400_000
SHOWN = 100
REFUSED: dict[int | str, dict[str, Any]] = {409: {"model": schemas.ProblemForm}, 422: {"model": schemas.ProblemForm}}


def routes(house: House) -> APIRouter:
    """Return the routes of this file for one house."""
    router = APIRouter(prefix="/api", tags=["policy"])
    _quiets(router, house)
    _alerts(router, house)
    _asked(router, house)
    return router


def _quiets(router: APIRouter, house: House) -> None:
    @router.get("/quiets", response_model=list[forms.QuietForm], summary="Silences and maintenance windows")
    async def quiets(
        *,
        everything: Annotated[bool, Query(alias="all", description="Also those that are over.")] = False,
    ) -> list[dict[str, Any]]:
        """Return what holds back notices now or later, newest first."""
        now_ms = house.now_ms()
        rows = await run_in_threadpool(house.operations.policy.quiets, None if everything else now_ms)
        return [_quiet(row, now_ms) for row in rows]

    @router.post("/quiets", response_model=forms.QuietForm, responses=REFUSED, summary="Silence alerts, plan works")
    async def add(body: forms.NewQuietForm) -> dict[str, Any]:
        """Hold back the notices of alerts that match; a maintenance window also marks them out of service.

        The engine goes on judging. What is open when it ends is told then.
        """
        now_ms = house.now_ms()
        matchers = _matchers(body.matchers)
        begin = now_ms if body.from_ms is None else body.from_ms
        if not max(begin, now_ms) < body.until_ms <= now_ms + LONGEST_QUIET_MS:
            raise Problem(422, "until_ms: expected a time after its beginning and after now, within 366 days.")
        row = await run_in_threadpool(
            house.operations.policy.add_quiet,
            body.sort, matchers, begin, body.until_ms, body.who.strip(), body.why.strip(), now_ms,
        )  # fmt: skip
        return _quiet(row, now_ms)

    @router.post("/quiets/preview", response_model=forms.PreviewForm, responses=REFUSED, summary="What it would mean")
    async def preview(body: forms.MatchersForm) -> dict[str, Any]:
        """Return the open alerts that such a silence would mean now."""
        quiet = Quiet(0, "silence", _matchers(body), 0, 0, "", "")
        matcher = Matcher(lambda: house.registry)

        def find() -> list[AlertRow]:
            return [row for row in house.operations.policy.standing() if matcher.means(quiet, row)]

        found = await run_in_threadpool(find)
        return {"matches": len(found), "alerts": [alert_form(row, house.registry) for row in found[:SHOWN]]}

    @router.post("/quiets/{number}/end", response_model=forms.QuietForm, responses=REFUSED, summary="End it now")
    async def end(number: int, sort: forms.Sort, body: forms.SayForm) -> dict[str, Any]:
        """End a silence or a maintenance window now; what it held back and is open still is told."""
        now_ms = house.now_ms()
        row = await run_in_threadpool(house.operations.policy.end_quiet, number, sort, body.who.strip(), now_ms)
        if row is None:
            raise Problem(409, f"There is no {sort} {number} that holds or will hold.")
        return _quiet(row, now_ms)


def _alerts(router: APIRouter, house: House) -> None:
    def answer(row: AlertRow | None, refusal: str) -> dict[str, Any]:
        if row is None:
            raise Problem(409, refusal)
        tell(house.hub, [row], house.registry)
        return alert_form(row, house.registry)

    @router.post("/alerts/{alert_id}/shelve", response_model=schemas.AlertForm, responses=REFUSED, summary="Put aside")
    async def shelve(alert_id: AlertId, body: forms.ShelveForm) -> dict[str, Any]:
        """Put an open alert aside for a time; nobody is told of it meanwhile, and again when the time is over."""
        now_ms, who = house.now_ms(), body.who.strip()
        most_ms = house.agreed.shelving.allowed_ms(who)
        until_ms = now_ms + most_ms if body.until_ms is None else body.until_ms
        if not now_ms < until_ms <= now_ms + most_ms:
            raise Problem(422, f"until_ms: {who} may shelve for at most {most_ms / 3_600_000:g} h from now.")
        row = await run_in_threadpool(house.operations.policy.shelve, alert_id, until_ms, who, body.why.strip(), now_ms)
        return answer(row, "There is no such alert that is open.")

    @router.post("/alerts/{alert_id}/unshelve", response_model=schemas.AlertForm, responses=REFUSED, summary="Take out")
    async def unshelve(alert_id: AlertId, body: forms.SayForm) -> dict[str, Any]:
        """Take an alert out before its time."""
        policy = house.operations.policy
        row = await run_in_threadpool(policy.unshelve, alert_id, body.who.strip(), house.now_ms())
        return answer(row, "The alert is not shelved.")

    @router.post("/alerts/{alert_id}/reset", response_model=schemas.AlertForm, responses=REFUSED, summary="Reset")
    async def reset(alert_id: AlertId, body: forms.SayForm) -> dict[str, Any]:
        """Let a latched alert go: somebody has looked."""
        policy = house.operations.policy
        row = await run_in_threadpool(policy.reset, alert_id, body.who.strip(), body.why.strip(), house.now_ms())
        return answer(row, "The alert is not latched: it is cleared, or its condition holds still.")


def _asked(router: APIRouter, house: House) -> None:
    @router.get("/audit", response_model=list[forms.AuditForm], summary="Who did what")
    async def audit(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        subject: Annotated[str, Query(description="``alert:ID``, ``silence:3`` …")] = "",
        before: Annotated[int | None, Query(description="Numbers below this: the next page.")] = None,
    ) -> list[dict[str, Any]]:
        """Return what people did, newest first; nothing is ever taken out."""
        rows = await run_in_threadpool(house.operations.policy.audit, limit, subject, before)
        return [asdict(row) for row in rows]

    @router.get("/budget", response_model=forms.BudgetForm, summary="The alarm budget")
    async def budget(hours: Annotated[float, Query(ge=0.1, le=24 * 31)] = 24.0) -> dict[str, Any]:
        """Return how much people were told: EEMUA 191 bears one alarm in ten minutes for each operator."""
        found = await run_in_threadpool(house.budget, round(hours * 3_600_000))
        body = asdict(found)
        for name in ("worst", "chattering"):
            body[name] = [{"rule": rule, "entity": entity, "number": n} for rule, entity, n in body[name]]
        return body

    @router.get("/duty", response_model=list[forms.DutyForm], summary="Who is on duty")
    async def duty() -> list[dict[str, Any]]:
        """Return who of each team is on duty now, and when nobody will be."""
        now_ms, zone = house.now_ms(), ZoneInfo(house.city.timezone)
        return [
            {
                "team": name,
                "on_duty": list(team.on_duty(now_ms, zone)),
                "fallback": team.fallback,
                "gaps": team.gaps(now_ms, zone),
            }
            for name, team in house.agreed.teams.items()
        ]

    @router.get("/profiles", response_model=forms.ProfilesForm, summary="Profiles and the weather warning")
    async def profiles() -> dict[str, Any]:
        """Return the present warning level and which profiles hold."""
        state = await run_in_threadpool(house.operations.policy.state)
        return _profiles(house, state.get("warning", "none"))

    @router.post("/warning", response_model=forms.ProfilesForm, responses=REFUSED, summary="Set the weather warning")
    async def warning(body: forms.WarningForm) -> dict[str, Any]:
        """Set the level of the weather warning; profiles that it switches are taken up within seconds, and told."""
        policy = house.operations.policy
        await run_in_threadpool(policy.put_state, "warning", body.level, body.who.strip(), house.now_ms())
        return _profiles(house, body.level)


def _profiles(house: House, level: str) -> dict[str, Any]:
    on = house.profiles()
    return {
        "warning": level,
        "profiles": [
            {"name": name, "on": name in on, "days": _days(one.days), "warning": one.warning}
            for name, one in house.agreed.profiles.items()
        ],
    }


def _days(days: Sequence[tuple[int, int]] | None) -> str:
    return "" if days is None else " to ".join(f"{month:02d}-{day:02d}" for month, day in days)


def _matchers(form: forms.MatchersForm) -> dict[str, str]:
    found = {name: value.strip() for name, value in form.model_dump().items() if value.strip()}
    if wrong := problems(found):
        raise Problem(422, f"matchers: {'; '.join(wrong)}.")
    return found


def _quiet(row: QuietRow, now_ms: int) -> dict[str, Any]:
    body = asdict(row)
    del body["created_ms"]
    return {**body, "holds": row.from_ms <= now_ms < row.until_ms}
