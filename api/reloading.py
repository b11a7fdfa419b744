"""The one order among the questions: take up changed rules and newly registered devices."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from api import schemas
from api.house import House
from api.problems import Problem


def routes(house: House) -> APIRouter:
    """Return the routes of this file for one house."""
    router = APIRouter(prefix="/api", tags=["house"])

    @router.post(
        "/reload",
        response_model=schemas.ReloadedForm,
        responses={422: {"model": schemas.ProblemForm}},
        summary="Read rules and registry anew",
    )
    async def reload() -> dict[str, Any]:
        """Take up changed rules and newly registered devices, as SIGHUP does; a mistake leaves everything as it is.

        Rules whose meaning is the same keep their state; open alerts of rules that are gone or changed are cleared.
        """
        done = await house.reload()
        if not done.taken:
            raise Problem(422, "\n".join([done.says, *done.lines]))
        return {"says": done.says, "changes": list(done.lines)}

    return router
