"""Limits of keys and thresholds of budgets, with everybody at them at once and real commits."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from apps.accounts.choices import Role
from apps.accounts.models import Membership, User
from apps.core.clock import now
from apps.generation.claiming import claim_jobs
from apps.generation.errors import QueueFull
from apps.generation.models import GenerationJob
from apps.mails.models import Mail
from apps.quotas.announcing import announce_refusal, announce_thresholds
from apps.quotas.models import Budget
from apps.webhooks.models import Delivery
from tests.apps.generation.studio import Crew, Studio
from tests.drills.counting import drill_count
from tests.factories import make_key

ROUNDS = drill_count(5)
CALLERS = 8


def test_a_keys_queue_never_holds_more_than_it_may(live: Studio) -> None:
    """Also beside another key of the account, whose submits take the same lock."""
    for number in range(ROUNDS):
        limited = replace(live, key=make_key(live.account, name=str(number), queue_depth=2).key)
        crew = Crew()
        crew.run(*[limited.submit] * CALLERS, live.submit)
        assert {type(error) for error in crew.errors} == {QueueFull}
        assert GenerationJob.objects.filter(api_key=limited.key).count() == 2
        GenerationJob.objects.all().delete()


def test_a_key_never_runs_more_at_once_than_it_may(live: Studio) -> None:
    limited = replace(live, key=make_key(live.account, max_parallel=2).key)
    for _ in range(6):
        limited.submit()
    crew = Crew()
    crew.run(*[partial(claim_jobs, worker=f"worker {each}", limit=2, now=now()) for each in range(CALLERS)])
    assert crew.errors == []
    assert GenerationJob.objects.filter(state="running").count() == 2


def test_each_threshold_of_a_budget_is_told_exactly_once(live: Studio) -> None:
    """The minute's task runs in several processes while calls are refused: one mail and one webhook each."""
    at = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
    owner = User.objects.create(email="owner@example.com", date_joined=at)
    Membership.objects.create(account=live.account, user=owner, role=Role.OWNER, created_at=at)
    for _ in range(ROUNDS):
        Mail.objects.all().delete()
        Delivery.objects.all().delete()
        Budget.objects.all().delete()
        budget = Budget.objects.create(
            account=live.account,
            limit_micro=100,
            spent_micro=85,
            webhook_url="https://shop.example/budget",
            month=at.date().replace(day=1),
            created_at=at,
        )
        crew = Crew()
        crew.run(
            *[partial(announce_thresholds, at)] * (CALLERS // 2),
            *[partial(announce_refusal, budget_ids=[budget.pk], now=at)] * (CALLERS // 2),
        )
        assert crew.errors == []
        assert sum(crew.results) == 3
        assert Mail.objects.filter(to=[owner.email]).count() == 3
        bodies = [json.loads(bytes(row.body or b"")) for row in Delivery.objects.order_by("pk")]
        assert [body["data"]["percent"] for body in bodies] == [50, 80, 100]
