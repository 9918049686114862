from __future__ import annotations

import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import authenticate as sign_in
from django.core.management import CommandError, call_command

from apps.accounts.models import Account, User
from apps.apikeys.models import ApiKey
from apps.apikeys.services import authenticate, revoke_api_key
from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.catalog.models import CatalogEntry
from apps.plans.entitlements import UNLIMITED
from apps.plans.models import Plan
from apps.plans.selectors import get_entitlements
from gpu_runtime.utility.shipped import SHIPPED
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_folder


@pytest.fixture
def starter(tmp_path: Path, settings: Any) -> Path:
    settings.STARTER_MODEL_DIR = make_folder(tmp_path / "starter", model_index__json="{}", weights="1")
    return tmp_path / "starter"


def _run(command: str, *arguments: str) -> str:
    out = io.StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


def _bootstrap(key_file: Path) -> dict[str, Any]:
    output = _run("bootstrap", "--json", "--key-file", str(key_file))
    assert output.count("\n") == 1
    report: dict[str, Any] = json.loads(output)
    return report


def test_an_empty_database_becomes_ready(db: None, clock: FrozenClock, starter: Path, tmp_path: Path) -> None:
    key_file = tmp_path / "secrets" / "key"
    report = _bootstrap(key_file)
    assert {name: report[name] for name in ("operator_email", "plan", "calls_per_day", "model_id")} == {
        "operator_email": "operator@darkroom.local",
        "plan": "internal",
        "calls_per_day": None,
        "model_id": "starter",
    }
    key = authenticate(presented=report["api_key"], address="127.0.0.1", now=clock.now())
    assert key.account.slug == "operator"
    assert get_entitlements(key.account).calls_per_day is UNLIMITED
    assert sign_in(username=report["operator_email"], password=report["operator_password"]) is not None
    assert key_file.read_text() == report["api_key"] + "\n"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    checkpoint = CatalogEntry.objects.get(kind="checkpoint")
    assert (checkpoint.name, checkpoint.aliases, checkpoint.native_px) == (
        "starter",
        ["darkroom-starter"],
        128,
    )
    assert set(checkpoint.defaults) == {"steps", "guidance_scale", "sampler", "negative_prompt"}
    offered = ["free", "payg", "standard", "unlimited", "premium", "enterprise"]
    assert sorted(Plan.objects.values_list("code", flat=True)) == sorted([*offered, "internal"])
    assert [plan.code for plan in Plan.objects.filter(is_default=True)] == ["free"]
    prices = dict(Plan.objects.filter(is_public=True).values_list("code", "price_micro"))
    assert [prices[code] // 1_000_000 for code in offered] == [0, 0, 47, 29, 199, 299]


def test_a_second_run_changes_nothing(db: None, clock: FrozenClock, starter: Path, tmp_path: Path) -> None:
    first = _bootstrap(tmp_path / "key")
    events = AuditEvent.objects.count()
    second = _bootstrap(tmp_path / "key")
    assert second == first | {"operator_password": None, "api_key": None}
    counts = [model.objects.count() for model in (Account, User, ApiKey, CatalogEntry, Plan)]
    assert counts == [1, 1, 1, 1 + len(SHIPPED), 7]
    assert AuditEvent.objects.count() == events


def test_changes_made_by_an_operator_stay(
    db: None, clock: FrozenClock, starter: Path, tmp_path: Path
) -> None:
    _bootstrap(tmp_path / "key")
    limits = Plan.objects.get(code="free").limits | {"calls_per_day": 7}
    Plan.objects.filter(code="free").update(limits=limits)
    _run("set_plan", "operator", "free")
    report = _bootstrap(tmp_path / "key")
    assert (report["plan"], report["calls_per_day"]) == ("free", 7)


@pytest.mark.parametrize("content", ["", "not a key", None])
def test_a_key_that_does_not_work_is_replaced(
    db: None, clock: FrozenClock, starter: Path, tmp_path: Path, content: str | None
) -> None:
    first = _bootstrap(tmp_path / "key")
    if content is None:
        revoke_api_key(key=ApiKey.objects.get(), actor=SYSTEM, now=clock.now())
    else:
        (tmp_path / "key").write_text(content)
    second = _bootstrap(tmp_path / "key")
    assert second["api_key"] not in (None, first["api_key"])
    assert (tmp_path / "key").read_text().strip() == second["api_key"]


def test_an_existing_operator_is_named_and_left_alone(cast: Cast, starter: Path, tmp_path: Path) -> None:
    report = _bootstrap(tmp_path / "key")
    assert (report["operator_email"], report["operator_password"]) == ("otto@example.com", None)
    assert User.objects.filter(is_staff=True).count() == 1


def test_the_starters_own_file_overrides_our_figures(
    db: None, clock: FrozenClock, starter: Path, tmp_path: Path
) -> None:
    facts = {"native_px": 64, "max_native_side_px": 96, "defaults": {"steps": 12}, "trained_on": "emoji"}
    (starter / "darkroom.json").write_text(json.dumps(facts))
    _bootstrap(tmp_path / "key")
    checkpoint = CatalogEntry.objects.get(kind="checkpoint")
    assert (checkpoint.native_px, checkpoint.max_native_side_px) == (64, 96)
    assert checkpoint.defaults["steps"] == 12 and checkpoint.defaults["sampler"] == "dpmpp_2m"


def test_without_weights_everything_else_is_made(
    db: None, clock: FrozenClock, tmp_path: Path, settings: Any
) -> None:
    settings.STARTER_MODEL_DIR = tmp_path / "nothing"
    report = _bootstrap(tmp_path / "key")
    assert (report["model_id"], CatalogEntry.objects.filter(kind="checkpoint").count()) == (None, 0)
    assert "starter model is missing" in _run("bootstrap", "--key-file", str(tmp_path / "key"))


def test_commands_create_account_key_and_plan(cast: Cast, clock: FrozenClock) -> None:
    assert _run("create_account", "--name", "Night Owl", "--plan", "free") == "night-owl\n"
    text = _run("create_api_key", "--account", "night-owl", "--name", "ci", "--days", "1").strip()
    assert authenticate(presented=text, address=None, now=clock.now()).account.slug == "night-owl"
    email, password = _run("create_operator", "mia@example.com").split()
    assert sign_in(username=email, password=password) is not None


def test_commands_refuse_in_one_line(cast: Cast, clock: FrozenClock) -> None:
    with pytest.raises(CommandError, match="no account 'nobody'; known: ada, cleo"):
        _run("create_api_key", "--account", "nobody", "--name", "x")
    with pytest.raises(CommandError, match="no plan 'gold'; known: free"):
        _run("set_plan", "ada", "gold")
    with pytest.raises(CommandError, match="already an account"):
        _run("create_account", "--name", "Ada")
    assert ApiKey.objects.count() == 2


def test_a_folder_is_registered_by_command(cast: Cast, clock: FrozenClock, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model", model_index__json="{}")
    _run("register_checkpoint", "mine", str(folder), "--private-to", "ada", "--steps", "9")
    checkpoint = CatalogEntry.objects.get(kind="checkpoint")
    assert (checkpoint.owner, checkpoint.visibility, checkpoint.defaults["steps"]) == (
        cast.account,
        "private",
        9,
    )


def test_shipped_utilities_are_entries_with_files(db: None, clock: FrozenClock, tmp_path: Path) -> None:
    _bootstrap(tmp_path / "key")
    entries = CatalogEntry.objects.exclude(kind="checkpoint")
    assert {entry.name: (entry.kind, entry.licence) for entry in entries} == {
        shipped.name: (shipped.kind.value, shipped.licence) for shipped in SHIPPED
    }
    assert all((Path(entry.path) / "LICENSE").is_file() and entry.size_bytes > 0 for entry in entries)
