from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.audit.models import AuditEvent
from apps.plans.entitlements import UNLIMITED, Entitlements, parse_entitlements
from apps.plans.errors import KindNotInPlan, PlanMalformed
from apps.plans.models import AccountPlan, Plan
from apps.plans.selectors import get_entitlements
from apps.plans.services import save_plan, set_plan
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import FREE_LIMITS, give_plan, make_account, make_plan


def _parse(**change: Any) -> Entitlements:
    return parse_entitlements(plan_code="p", limits=FREE_LIMITS | change, weight=1)


def test_limits_read_as_they_are() -> None:
    assert _parse(calls_per_day="unlimited", kinds=["txt2img"]) == Entitlements(
        plan_code="p",
        calls_per_day=UNLIMITED,
        queue_depth=20,
        max_samples=15,
        kinds=frozenset({"txt2img"}),
        weight=1.0,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"calls_per_day": -1},
        {"calls_per_day": 1.5},
        {"calls_per_day": True},
        {"calls_per_day": None},
        {"calls_per_day": "100"},
        {"queue_depth": "Unlimited"},
        {"max_samples": "unlimited"},
        {"max_samples": 0},
        {"kinds": "txt2img"},
        {"kinds": [1]},
        {"kinds": [""]},
        {"sla": ""},
        {"sla": 1},
        {"sla": "x" * 41},
        {"dedicated_device": "cuda:0"},
        {"colour": "blue"},
    ],
)
def test_anything_else_is_malformed(change: dict[str, Any]) -> None:
    with pytest.raises(PlanMalformed, match="plan p"):
        _parse(**change)


def test_training_is_the_entitlement_and_no_kind_of_the_list() -> None:
    """Whatever trains asks for this kind where all kinds are checked."""
    for change in ({}, {"training": False}, {"kinds": ["txt2img", "training"]}):
        with pytest.raises(KindNotInPlan, match="does not include training"):
            _parse(**change).require_kind("training")
    _parse(training=True).require_kind("training")


@pytest.mark.parametrize(
    ("said", "name"), [(False, None), (True, "standard"), ("gold", "gold"), (" Gold 99.9 ", "Gold 99.9")]
)
def test_a_service_level_has_a_name(said: bool | str, name: str | None) -> None:
    assert _parse(sla=said).sla == name


def test_a_missing_limit_is_malformed() -> None:
    limits = {name: value for name, value in FREE_LIMITS.items() if name != "queue_depth"}
    with pytest.raises(PlanMalformed, match="queue_depth"):
        parse_entitlements(plan_code="p", limits=limits, weight=1)


@pytest.mark.parametrize("weight", [0, -1, float("nan")])
def test_a_weight_must_be_positive(weight: float) -> None:
    with pytest.raises(PlanMalformed, match="weight"):
        parse_entitlements(plan_code="p", limits=FREE_LIMITS, weight=weight)


def test_a_kind_outside_the_plan_is_refused() -> None:
    _parse(kinds=["txt2img"]).require_kind("txt2img")
    with pytest.raises(KindNotInPlan, match=r"^Your plan p does not include upscale\.$") as refusal:
        _parse(kinds=["txt2img"]).require_kind("upscale")
    assert refusal.value.http_status == 403


def test_without_a_plan_of_its_own_an_account_has_the_default(cast: Cast) -> None:
    # Other accounts on the default plan must not turn the one row into many.
    for number in range(3):
        give_default(make_account(f"other-{number}"), cast.plan)
    assert get_entitlements(cast.account).plan_code == "free"


def give_default(account: Any, plan: Plan) -> None:
    AccountPlan.objects.create(account=account, plan=plan, since=account.created_at)


def test_an_accounts_own_plan_wins_in_one_query(cast: Cast) -> None:
    give_plan(cast.account, calls_per_day="unlimited", weight=4)
    with CaptureQueriesContext(connection) as queries:
        entitlements = get_entitlements(cast.account)
    assert (entitlements.plan_code, entitlements.calls_per_day, entitlements.weight) == (
        "only-ada",
        UNLIMITED,
        4.0,
    )
    assert len(queries) == 1
    assert get_entitlements(cast.strangers_account).plan_code == "free"


def test_without_a_default_plan_the_operator_is_told(db: None) -> None:
    account = make_account()
    with pytest.raises(Plan.DoesNotExist, match="bootstrap"):
        get_entitlements(account)


def test_setting_a_plan_is_audited_once(cast: Cast, clock: FrozenClock) -> None:
    plan = make_plan("internal", is_default=False)
    before = AuditEvent.objects.count()
    for _ in range(2):
        set_plan(account=cast.account, plan=plan, actor=cast.otto.ref, now=clock.now())
    assert AuditEvent.objects.count() == before + 1
    event = AuditEvent.objects.latest("id")
    assert (event.name, event.data) == ("plans.account_plan.set", {"before": None, "after": "internal"})
    assert get_entitlements(cast.account).plan_code == "internal"


def test_a_new_default_takes_over(cast: Cast, clock: FrozenClock) -> None:
    plan = Plan(code="other", name="Other", limits=FREE_LIMITS, is_default=True)
    save_plan(plan=plan, actor=cast.otto.ref, now=clock.now())
    assert list(Plan.objects.filter(is_default=True)) == [plan]
    assert get_entitlements(cast.account).plan_code == "other"


def test_the_database_allows_one_default(cast: Cast) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Plan.objects.create(code="other", name="Other", limits=FREE_LIMITS, is_default=True)


def test_a_form_refuses_malformed_limits(db: None) -> None:
    with pytest.raises(ValidationError, match="kinds"):
        Plan(code="x", name="X", limits={"calls_per_day": 1}).full_clean()
