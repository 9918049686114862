"""A customer as they look after a month: a studio with a team, keys, jobs, usage, money and webhooks.

All of it comes about through the product's own services, apart from the ends of jobs: no worker runs here.
Numbers come from one seeded generator, so that two runs show the same.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from allauth.mfa.models import Authenticator
from django.db import transaction
from django.test import Client

from apps.accounts.choices import Role
from apps.accounts.models import Account, User
from apps.accounts.services import add_member, create_account
from apps.apikeys.models import ApiKey
from apps.artifacts import store
from apps.artifacts.services import NewArtifact, record_artifacts
from apps.audit.refs import SYSTEM
from apps.billing.choices import Source
from apps.billing.models import UsageEvent
from apps.billing.prices.shipped import publish_shipped_prices
from apps.generation.choices import JobState
from apps.generation.models import GenerationJob
from apps.payments.models import StripeInvoice
from apps.plans.models import Plan
from apps.plans.services import set_plan
from apps.quotas.models import DailyUsage
from tests.apps.webhooks.rows import queue_row
from tests.factories import make_checkpoint, make_key, make_plan
from tests.portal_screens.seed_money import give_money, give_payments
from tests.portal_screens.seed_people import give_second_factors, links_in_mails, make_member, make_provider

PICTURES: Final = Path(__file__).resolve().parents[2] / "apps/portal/static/portal/pictures"
DAYS: Final = 45
KINDS: Final = ("txt2img", "txt2img", "txt2img", "img2img", "inpaint", "upscale", "remove_background")
MODELS: Final = ("sdxl", "sdxl", "flux-schnell", "starter")
PROMPTS: Final = (
    "a 3d camera on an orange background",
    "a fox asleep in tall grass, evening light",
    "product photograph of a ceramic cup, soft shadow",
    "an octopus reading a newspaper, line drawing",
    "a lighthouse in fog, long exposure",
    "portrait of an astronaut, red safelight",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """Who may sign in."""

    owner: User
    """Of the studio that has everything."""
    newcomer: User
    """Whose account is a minute old: every page is empty."""
    account: Account
    developer: User
    """Of the studio, without a look at its money, and with second factors."""
    ids: dict[str, str]
    """What addresses of single things are made of."""


def seed(*, now: datetime) -> Seeded:
    """Fill an empty database."""
    chance = random.Random(7)
    _plans(now)
    publish_shipped_prices(actor=SYSTEM, now=now)
    account = create_account(
        name="Studio Nord", slug="studio-nord", actor=SYSTEM, now=now, time_zone="Europe/Berlin"
    )
    owner = make_member(account, "maren@studio-nord.example", Role.OWNER, now)
    developer = make_member(account, "jonas@studio-nord.example", Role.DEVELOPER, now)
    colleague = make_member(account, "billing@studio-nord.example", Role.BILLING, now)
    second = create_account(name="Nord Archive", slug="nord-archive", actor=SYSTEM, now=now)
    add_member(account=second, user=owner, role=Role.ADMIN, actor=SYSTEM, now=now)
    set_plan(account=account, plan=Plan.objects.get(code="standard"), actor=SYSTEM, now=now)
    keys = [make_key(account, name=name) for name in ("Website", "Newsletter tool", "Batch renders")]
    for model in sorted(set(MODELS)):
        make_checkpoint(model, native_px=512, max_native_side_px=2048)
    _usage(account, [key.key for key in keys], chance, now)
    _jobs(account, keys[0].plaintext, chance, now)
    give_money(account, now)
    give_payments(account, keys[2].key, now)
    newcomer_account = create_account(name="New Studio", slug="new-studio", actor=SYSTEM, now=now)
    newcomer = make_member(newcomer_account, "new@studio.example", Role.OWNER, now)
    make_provider(now)
    give_second_factors(developer)
    ids = _ids(account, keys[0].key) | links_in_mails(colleague) | _security_key_of(developer)
    return Seeded(owner=owner, newcomer=newcomer, account=account, developer=developer, ids=ids)


def _ids(account: Account, key: ApiKey) -> dict[str, str]:
    """One of each thing that has a page of its own."""
    jobs = GenerationJob.objects.filter(account=account).order_by("pk")
    made, failed = (jobs.filter(state=state).first() for state in (JobState.SUCCEEDED, JobState.FAILED))
    invoice = StripeInvoice.objects.filter(account=account).order_by("pk").first()
    assert made is not None and failed is not None and invoice is not None  # of this very seed
    return {
        "job": str(made.pk),
        "failed_job": str(failed.pk),
        "key": key.prefix,
        "invoice": str(invoice.pk),
        "delivery": queue_row(account).event_id,
    }


def _security_key_of(user: User) -> dict[str, str]:
    return {"security_key": str(Authenticator.objects.get(user=user, type=Authenticator.Type.WEBAUTHN).pk)}


def _plans(now: datetime) -> None:
    make_plan("free", free_calls_per_day=100, included_calls_per_month=0)
    offered: tuple[tuple[str, str, int, dict[str, Any]], ...] = (
        ("payg", "Pay as you go", 0, {"calls_per_day": "unlimited", "included_calls_per_month": 0}),
        (
            "standard",
            "Standard",
            47,
            {"calls_per_day": 150, "included_calls_per_month": 10_000, "max_parallel": 4},
        ),
        ("unlimited", "Unlimited", 29, {"calls_per_day": "unlimited", "fair_use_calls_per_month": 20_000}),
        (
            "premium",
            "Premium",
            199,
            {"calls_per_day": "unlimited", "included_calls_per_month": 50_000, "training": True},
        ),
    )
    for code, name, dollars, limits in offered:
        plan = make_plan(code, is_default=False, **limits)
        Plan.objects.filter(pk=plan.pk).update(name=name, price_micro=dollars * 1_000_000, is_public=True)
    Plan.objects.filter(code="free").update(is_public=True)


def _usage(account: Account, keys: list[ApiKey], chance: random.Random, now: datetime) -> None:
    job_id = 1_000_000
    events, days = [], []
    for back in range(DAYS, -1, -1):
        day = (now - timedelta(days=back)).date()
        busy = 0.35 if day.weekday() >= 5 else 1.0
        calls = 0
        for _ in range(int(busy * chance.randint(30, 75))):
            job_id += 1
            images = chance.choice((1, 1, 2, 4))
            calls += 1
            source = Source.PLAN if chance.random() < 0.7 else Source.WALLET
            events.append(
                UsageEvent(
                    job_id=job_id,
                    account=account,
                    api_key=chance.choice(keys),
                    day=day,
                    calls=1,
                    images=images,
                    pixels=images * 1_048_576,
                    checkpoint=chance.choice(MODELS),
                    kind=chance.choice(KINDS),
                    funding=source,
                    price_micro=0 if source is Source.PLAN else images * 2000,
                    at=now - timedelta(days=back),
                )
            )
        days.append(DailyUsage(account=account, day=day, settled=calls))
    UsageEvent.objects.bulk_create(events)
    DailyUsage.objects.bulk_create(days)


def _jobs(account: Account, key_text: str, chance: random.Random, now: datetime) -> None:
    client = Client(headers={"Authorization": f"Bearer {key_text}"})
    pictures = sorted(PICTURES.glob("*.png"))
    for number, picture in enumerate(pictures):
        prompt = PROMPTS[number % len(PROMPTS)]
        fields = {
            "kind": "txt2img",
            "model": "starter",
            "prompt": prompt,
            "width": 512,
            "height": 512,
            "seed": 40 + number,
        }
        answer = client.post("/v1/jobs", data=fields, content_type="application/json")
        assert answer.status_code in (200, 202), answer.content
        job = GenerationJob.objects.order_by("-pk")[0]
        queued = now - timedelta(minutes=7 * (len(pictures) - number))
        if number % 6 == 5:
            _end(
                job,
                JobState.FAILED,
                queued,
                error_code="out_of_memory",
                error_message="The device ran out of memory.",
            )
            continue
        _end(
            job,
            JobState.SUCCEEDED,
            queued,
            timings={"queue_s": 0.4, "denoise_s": round(1 + chance.random(), 2)},
        )
        _store(job, picture.read_bytes(), now)


def _end(job: GenerationJob, state: JobState, queued: datetime, **fields: Any) -> None:
    times = {
        "queued_at": queued,
        "claimed_at": queued + timedelta(seconds=0.4),
        "finished_at": queued + timedelta(seconds=2.6),
    }
    GenerationJob.objects.filter(pk=job.pk).update(state=state, **times, **fields)


def _store(job: GenerationJob, data: bytes, now: datetime) -> None:
    file = store.write_image(group=job.artifact_group, index=0, extension="png", data=data)
    with transaction.atomic():
        record_artifacts(
            job_id=job.pk,
            account_id=job.account_id,
            group=job.artifact_group,
            artifacts=[NewArtifact(index=0, extension="png", file=file, width=128, height=128, seed=40)],
            now=now,
            expires_at=now + timedelta(days=1),
        )
