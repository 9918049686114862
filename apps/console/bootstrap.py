"""From an empty database to one that can answer its first request. All of it may run again at any time."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict

from django.apps import apps
from django.conf import settings
from django.core.management.base import CommandError

from apps.accounts.models import Account, User
from apps.accounts.services import create_account, create_operator
from apps.apikeys.choices import ALL_SCOPES
from apps.apikeys.errors import ApiKeyInvalid, ApiKeyMissing
from apps.apikeys.services import authenticate, create_api_key
from apps.apikeys.terms import KeyTerms
from apps.billing.prices.shipped import publish_shipped_prices
from apps.catalog.choices import Kind
from apps.catalog.facts import EntryFacts
from apps.catalog.models import CatalogEntry
from apps.catalog.services import register_checkpoint
from apps.console.terminal import TERMINAL
from apps.console.utility_models import register_utilities
from apps.plans.entitlements import Unlimited
from apps.plans.models import AccountPlan, Plan
from apps.plans.selectors import get_entitlements
from apps.plans.services import save_plan, set_plan

OPERATOR_EMAIL = "operator@darkroom.local"
OPERATOR_ACCOUNT = "operator"
OPERATOR_PLAN = "internal"
STARTER_NAME = "starter"
# What may be said about the starter model by the file beside its weights, which its training writes.
STARTER_FILE = "darkroom.json"
STARTER_FACTS: dict[str, Any] = {
    "title": "Darkroom Starter",
    "family": "sd15",
    "native_px": 128,
    "min_side_px": 64,
    "max_side_px": 2048,
    "max_native_side_px": 128,
    "licence": "Apache-2.0",
    "is_commercial_use_allowed": True,
    "source_url": "",
}
STARTER_DEFAULTS: dict[str, Any] = {
    "steps": 25,
    "guidance_scale": 4.0,
    "sampler": "dpmpp_2m",
    "negative_prompt": "",
}


class BootstrapReport(TypedDict):
    """The one JSON line that the installer reads."""

    operator_email: str
    operator_password: str | None
    """Only if the operator was created just now."""
    api_key: str | None
    """Only if the key was created just now."""
    plan: str
    calls_per_day: int | None
    """None is no limit."""
    model_id: str | None
    """None while the starter model's weights are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """The operator, with a password if it was made just now."""

    email: str
    password: str | None


def bootstrap(*, key_file: Path | None, now: datetime) -> BootstrapReport:
    """Create what is missing of plans, prices, shipped models, operator and key; change nothing else."""
    create_missing_plans(now=now)
    publish_shipped_prices(actor=TERMINAL, now=now)
    checkpoint = register_starter(now=now)
    register_utilities(now=now)
    account = ensure_operator_account(now=now)
    operator = ensure_operator(now=now)
    api_key = ensure_key(account=account, key_file=key_file, now=now)
    entitlements = get_entitlements(account)
    limit = entitlements.daily_calls
    return BootstrapReport(
        operator_email=operator.email,
        operator_password=operator.password,
        api_key=api_key,
        plan=entitlements.plan_code,
        calls_per_day=None if isinstance(limit, Unlimited) else limit,
        model_id=checkpoint.name if checkpoint else None,
    )


def create_missing_plans(*, now: datetime) -> int:
    """Add the shipped plans that are not there; changes made to the others stay. Returns how many."""
    fixture = Path(apps.get_app_config("plans").path) / "fixtures" / "plans.json"
    known = set(Plan.objects.values_list("code", flat=True))
    shipped = [entry["fields"] for entry in json.loads(fixture.read_text(encoding="utf-8"))]
    missing = [Plan(**fields) for fields in shipped if fields["code"] not in known]
    for plan in missing:
        # Somebody may have made another plan the default since.
        plan.is_default = plan.is_default and not Plan.objects.filter(is_default=True).exists()
        save_plan(plan=plan, actor=TERMINAL, now=now)
    return len(missing)


def register_starter(*, now: datetime) -> CatalogEntry | None:
    """Put the starter model into the catalogue; None while its weights are missing."""
    folder: Path = settings.STARTER_MODEL_DIR
    if not (folder / "model_index.json").is_file():
        return None
    facts = EntryFacts(
        kind=Kind.CHECKPOINT,
        name=STARTER_NAME,
        aliases=("darkroom-starter",),
        path=folder,
        **read_starter_facts(folder / STARTER_FILE),
    )
    return register_checkpoint(facts=facts, actor=TERMINAL, now=now)


def read_starter_facts(path: Path) -> dict[str, Any]:
    """What is known of the starter model: our own figures, but for those that its file has."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    facts = {name: found.get(name, value) for name, value in STARTER_FACTS.items()}
    defaults = found.get("defaults", {})
    facts["defaults"] = {name: defaults.get(name, value) for name, value in STARTER_DEFAULTS.items()}
    return facts


def ensure_operator_account(*, now: datetime) -> Account:
    """The operator's own account; put on the operator's plan when it has none."""
    account = Account.objects.filter(slug=OPERATOR_ACCOUNT).first()
    if account is None:
        account = create_account(name="Operator", slug=OPERATOR_ACCOUNT, actor=TERMINAL, now=now)
    if not AccountPlan.objects.filter(account=account).exists():
        set_plan(account=account, plan=Plan.objects.get(code=OPERATOR_PLAN), actor=TERMINAL, now=now)
    return account


def ensure_operator(*, now: datetime) -> Operator:
    """The first operator; a new one with a random password only if there is none at all."""
    user = User.objects.filter(is_staff=True).order_by("pk").first()
    if user is not None:
        return Operator(email=user.email, password=None)
    created = create_operator(email=OPERATOR_EMAIL, password=None, actor=TERMINAL, now=now)
    return Operator(email=created.user.email, password=created.password)


def ensure_key(*, account: Account, key_file: Path | None, now: datetime) -> str | None:
    """A new key, also written to `key_file`; None if the file holds one that works."""
    if key_file is not None and _holds_valid_key(key_file, now=now):
        return None
    issued = create_api_key(
        account=account, terms=KeyTerms(name="quickstart", scopes=ALL_SCOPES), actor=TERMINAL, now=now
    )
    if key_file is not None:
        _write_private(key_file, issued.plaintext + "\n")
    return issued.plaintext


def _holds_valid_key(path: Path, *, now: datetime) -> bool:
    if not path.is_file():
        return False
    try:
        authenticate(presented=path.read_text(encoding="utf-8").strip(), address="127.0.0.1", now=now)
    except (ApiKeyInvalid, ApiKeyMissing):
        return False
    return True


def _write_private(path: Path, text: str) -> None:
    """Replace `path` by a file that its owner alone may read, at no moment otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error}") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    temporary.replace(path)
