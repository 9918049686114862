"""The first page after signing in: what is left, what was spent, and what to do first."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.test import Client

from apps.apikeys.models import ApiKey
from apps.artifacts.models import Artifact
from apps.billing.ledger import services as ledger
from apps.quotas.models import DailyUsage
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_artifact, make_key

PAGE = "/portal"


def page_of(browser: Client) -> str:
    response = browser.get(PAGE)
    assert response.status_code == 200
    return response.content.decode()


def test_the_ring_shows_todays_calls_of_this_account(ada: Client, cast: Cast, clock: FrozenClock) -> None:
    today = clock.now().date()
    DailyUsage.objects.create(account=cast.account, day=today, settled=30, reserved=2)
    DailyUsage.objects.create(account=cast.strangers_account, day=today, settled=90)

    html = page_of(ada)

    assert "32 percent of today" in html
    assert "<dt>Left</dt><dd>68</dd>" in html


def test_a_new_account_is_told_how_to_begin(ada: Client, cast: Cast) -> None:
    ApiKey.objects.filter(account=cast.account).delete()

    html = page_of(ada)

    assert "Your first image" in html
    assert "curl -s http://testserver/v1/jobs" in html
    assert 'href="/portal/keys/new"' in html


def test_images_are_shown_while_they_are_kept(ada: Client, cast: Cast, clock: FrozenClock) -> None:
    make_artifact(cast.account, job_id=11, lifetime=timedelta(hours=1))
    make_artifact(cast.account, job_id=12, lifetime=timedelta(seconds=-1))
    make_artifact(cast.strangers_account, job_id=13)

    html = page_of(ada)

    assert "Image of job 11" in html
    assert "Image of job 12" not in html
    assert "Image of job 13" not in html
    assert Artifact.objects.count() == 3


def test_keys_say_how_they_fare(ada: Client, cast: Cast, clock: FrozenClock) -> None:
    ApiKey.objects.filter(pk=cast.key.pk).update(name="in use", last_used_at=clock.now())
    ending = make_key(cast.account, name="ending", expires_at=clock.now() + timedelta(days=3)).key
    gone = make_key(cast.account, name="gone").key
    ApiKey.objects.filter(pk=gone.pk).update(revoked_at=clock.now())

    html = page_of(ada)

    assert "healthy" in html
    assert "expires soon" in html
    assert ending.prefix in html
    assert gone.prefix not in html


def test_a_viewer_sees_neither_keys_nor_money(viewer: Client, cast: Cast, clock: FrozenClock) -> None:
    with transaction.atomic():
        ledger.top_up(
            account_id=cast.account.pk, amount_micro=7_770_000, key="topup:1", memo="", now=clock.now()
        )

    html = page_of(viewer)

    assert cast.key.prefix not in html
    assert "$7.77" not in html


def test_the_wallet_is_shown_to_who_pays(ada: Client, cast: Cast, clock: FrozenClock) -> None:
    with transaction.atomic():
        ledger.top_up(
            account_id=cast.account.pk, amount_micro=7_770_000, key="topup:1", memo="", now=clock.now()
        )

    assert "$7.77" in page_of(ada)
