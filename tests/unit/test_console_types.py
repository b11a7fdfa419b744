"""The console's types by hand (console/src/api.ts) hold the same names as the API's forms."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from api import incidents, policy_forms, quarantine_forms, schemas

CONSOLE = Path(__file__).resolve().parents[2] / "console"
TYPES = (CONSOLE / "src" / "api.ts").read_text(encoding="utf-8")
PAIRS = {
    "City": schemas.CityForm,
    "Kind": schemas.KindForm,
    "Field": schemas.FieldForm,
    "Rule": schemas.RuleForm,
    "AssetColumns": schemas.MapForm,
    "Asset": schemas.AssetForm,
    "AssetDetail": schemas.AssetDetail,
    "Alert": schemas.AlertForm,
    "Incident": incidents.IncidentForm,
    "IncidentDetail": incidents.IncidentDetail,
    "History": schemas.HistoryForm,
    "Ledger": schemas.LedgerForm,
    "LedgerRow": schemas.LedgerRow,
    "LightingRate": schemas.LightingForm,
    "Words": schemas.Words,
    "Quiet": policy_forms.QuietForm,
    "Preview": policy_forms.PreviewForm,
    "Duty": policy_forms.DutyForm,
    "Profile": policy_forms.ProfileForm,
    "Profiles": policy_forms.ProfilesForm,
    "Desk": policy_forms.DeskForm,
    "Actor": policy_forms.ActorForm,
    "Budget": policy_forms.BudgetForm,
    "Quarantine": quarantine_forms.QuarantineForm,
    "QuarantineRow": quarantine_forms.QuarantineRow,
    "QuarantineDetail": quarantine_forms.QuarantineDetail,
}


def declared(name: str) -> dict[str, str]:
    """Return the members of an interface with their types, those it inherits among them."""
    found = re.search(rf"^export interface {name}(?: extends (\w+))? \{{\n(.*?)^\}}", TYPES, re.MULTILINE | re.DOTALL)
    assert found, f"api.ts declares no {name}"
    parent, body = found.groups()
    own = dict(re.findall(r"^  (\w+): (.+)$", body, re.MULTILINE))
    return {**(declared(parent) if parent else {}), **own}


@pytest.mark.parametrize("name", PAIRS)
def test_a_type_of_the_console_has_the_members_of_the_apis_form(name: str) -> None:
    form: type[BaseModel] = PAIRS[name]
    members = declared(name)
    assert set(members) == set(form.model_fields)
    for member, field in form.model_fields.items():
        may_be_null = type(None) in get_args(field.annotation)
        assert members[member].endswith("| null") == may_be_null, f"{name}.{member} is {field.annotation}"


def test_the_lock_of_the_console_names_no_place_to_download_from() -> None:
    assert "resolved" not in (CONSOLE / "package-lock.json").read_text(encoding="utf-8")
