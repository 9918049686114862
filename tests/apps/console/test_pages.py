from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from apps.accounts.models import Account, User
from apps.apikeys.models import ApiKey
from apps.apikeys.services import authenticate
from apps.audit.models import AuditEvent
from apps.catalog.models import CatalogEntry
from apps.generation.models import GenerationJob
from apps.plans.models import Plan
from apps.plans.selectors import get_entitlements
from tests.cast import OTTO_PASSWORD, Cast
from tests.clocks import FrozenClock
from tests.factories import make_artifact, make_checkpoint


@pytest.fixture
def otto(cast: Cast, client: Client) -> Client:
    """A browser in which Otto is signed in."""
    client.force_login(cast.otto)
    return client


def _make_job(cast: Cast, clock: FrozenClock, **fields: Any) -> GenerationJob:
    values: dict[str, Any] = {
        "account": cast.account,
        "api_key": cast.key,
        "checkpoint": CatalogEntry.objects.filter(name="tiny").first() or make_checkpoint("tiny"),
        "kind": "txt2img",
        "request": {"prompt": "a red fox"},
        "num_images": 1,
        "artifact_group": uuid4(),
        "quota_day": clock.now().date(),
        "queued_at": clock.now(),
        "deadline_at": clock.now() + timedelta(hours=1),
    }
    return GenerationJob.objects.create(**(values | fields))


def _last_event() -> tuple[str, str]:
    event = AuditEvent.objects.latest("id")
    return event.name, event.actor_label


def test_people_type_the_console_without_a_slash(client: Client) -> None:
    response = client.get("/console")
    assert (response.status_code, response["Location"]) == (302, "/console/")


@pytest.mark.parametrize("path", ["/console/", "/console/apikeys/apikey/", "/console/apikeys/apikey/add/"])
def test_without_sign_in_the_console_asks_for_it(client: Client, db: None, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 302
    assert response["Location"].startswith("/console/login/")


def test_a_customer_is_no_operator(cast: Cast, client: Client) -> None:
    client.force_login(cast.ada)
    assert client.get("/console/").status_code == 302


def test_otto_signs_in_with_his_address(cast: Cast, client: Client) -> None:
    form = {"username": "otto@example.com", "password": OTTO_PASSWORD, "next": "/console/"}
    response = client.post("/console/login/", form)
    assert (response.status_code, response["Location"]) == (302, "/console/")


def test_every_list_and_form_opens(cast: Cast, otto: Client, clock: FrozenClock) -> None:
    make_artifact(cast.account, job_id=_make_job(cast, clock).pk)
    for model, model_admin in admin.site._registry.items():
        meta = model._meta
        # Settings of which there is one row lead to that.
        listing = otto.get(reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist"), follow=True)
        assert listing.status_code == 200, meta.label
        row = model._default_manager.first()
        if row is not None:
            url = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
            assert otto.get(url).status_code == 200, meta.label
        if model_admin.has_add_permission(_request(cast)):
            url = reverse(f"admin:{meta.app_label}_{meta.model_name}_add")
            assert otto.get(url, follow=True).status_code == 200, meta.label


def test_a_job_shows_where_its_time_went(cast: Cast, otto: Client, clock: FrozenClock) -> None:
    job = _make_job(cast, clock, timings={"encode_s": 0.25, "denoise_s": 1.5, "store_s": 0.004})
    html = otto.get(f"/console/generation/generationjob/{job.pk}/change/").content.decode()
    rows = re.findall(r"<tr><td>([^<]+)</td><td>([^<]+)</td></tr>", html)
    assert rows == [
        ("encoding prompts and pictures", "0.250 s"),
        ("first to last step", "1.500 s"),
        ("storing", "0.004 s"),
    ]


def _request(cast: Cast) -> Any:
    request = type("Request", (), {})()
    request.user = cast.otto
    return request


def test_nothing_can_be_deleted_in_the_console(cast: Cast) -> None:
    for model, model_admin in admin.site._registry.items():
        assert not model_admin.has_delete_permission(_request(cast)), model._meta.label


def test_every_model_of_ours_has_a_page_or_a_reason() -> None:
    ours = {model for model in apps.get_models() if model.__module__.startswith("apps.")}
    hidden = {model._meta.label for model in ours if model not in admin.site._registry}
    # The chain is a column of the audit log; idempotency records hold the callers' own responses, and
    # previews their pictures; names are columns of the catalogue's entries, and the watermark a counter's own
    # note. A webhook's attempts are shown with it, and its secrets and the options of an AUTOMATIC1111 client
    # are the customers' own affair. Invoices show their lines, which name their usage; a series is a counter.
    # Books show their prices and plans their earlier terms; days and meters sum up usage events; a card is
    # its customer's, as is how long images are kept; a trial is shown with its subscription, the licence's
    # clock is a note to itself, and a removal one to the next sign-in; the audit log tells of it. What
    # figures are made of is shown as figures.
    assert hidden == {
        "accounts.Removal",
        "api.A1111Options",
        "audit.AuditLink",
        "billing.InvoiceLine",
        "billing.InvoiceSeries",
        "billing.InvoicedCharge",
        "billing.InvoicedUsage",
        "billing.Price",
        "billing.UsageDay",
        "generation.IdempotencyRecord",
        "generation.JobPreview",
        "catalog.CatalogName",
        "catalog.UsageWatermark",
        "metrics.JobMinute",
        "metrics.RollupMark",
        "metrics.Sample",
        "payments.Card",
        "payments.MeteredUsage",
        "plans.LicenceClock",
        "plans.PlanTerms",
        "plans.RetentionChoice",
        "plans.TrialClaim",
        "webhooks.Attempt",
        "webhooks.SigningSecret",
    }


def test_a_new_key_is_shown_once(cast: Cast, otto: Client, clock: FrozenClock) -> None:
    form = {
        "account": cast.account.pk,
        "name": "ci",
        "scopes": ["images:generate", "jobs:read"],
        "allowed_addresses": "10.0.0.0/8, 127.0.0.1",
    }
    response = otto.post("/console/apikeys/apikey/add/", form)
    html = response.content.decode()
    [text] = re.findall(r"dkr_[a-z0-9]{8}_[a-z0-9]{32}_[a-z0-9]{7}", html)
    assert "no-store" in response["Cache-Control"]
    key = authenticate(presented=text, address="10.9.9.9", now=clock.now())
    assert (key.name, key.scopes, key.allowed_addresses) == (
        "ci",
        ["images:generate", "jobs:read"],
        ["10.0.0.0/8", "127.0.0.1/32"],
    )
    assert _last_event() == ("apikeys.key.created", "otto@example.com")
    for page in ("/console/apikeys/apikey/", f"/console/apikeys/apikey/{key.pk}/change/"):
        html = otto.get(page).content.decode()
        assert key.prefix in html
        assert text.split("_")[2] not in html and key.digest not in html


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"scopes": []}, "This field is required."),
        ({"allowed_addresses": "somewhere"}, "is not in CIDR form"),
        ({"expires_at": "2020-01-01 00:00"}, "must lie in the future"),
    ],
)
def test_a_refused_key_says_why(cast: Cast, otto: Client, change: dict[str, Any], problem: str) -> None:
    form = {"account": cast.account.pk, "name": "ci", "scopes": ["jobs:read"]} | change
    response = otto.post("/console/apikeys/apikey/add/", form)
    assert problem in response.content.decode()
    assert ApiKey.objects.count() == 2


def test_keys_are_revoked_and_rotated_from_the_list(cast: Cast, otto: Client, clock: FrozenClock) -> None:
    page = "/console/apikeys/apikey/"
    otto.post(page, {"action": "revoke", "_selected_action": [cast.strangers_key.pk]})
    assert ApiKey.objects.get(pk=cast.strangers_key.pk).revoked_at == clock.now()
    assert _last_event() == ("apikeys.key.revoked", "otto@example.com")
    response = otto.post(page, {"action": "rotate", "_selected_action": [cast.key.pk]})
    [text] = re.findall(r"dkr_[a-z0-9]{8}_[a-z0-9]{32}_[a-z0-9]{7}", response.content.decode())
    assert authenticate(presented=text, address=None, now=clock.now()).account == cast.account
    assert ApiKey.objects.get(pk=cast.key.pk).expires_at == clock.now() + timedelta(days=7)
    both = otto.post(
        page, {"action": "rotate", "_selected_action": [cast.key.pk, cast.strangers_key.pk]}, follow=True
    )
    assert "Rotate one key at a time" in both.content.decode()


def test_an_account_is_opened_and_closed(cast: Cast, otto: Client) -> None:
    form = {"name": "Night Owl", "slug": "night-owl", "time_zone": "Asia/Tokyo"}
    assert otto.post("/console/accounts/account/add/", form).status_code == 302
    account = Account.objects.get(slug="night-owl")
    assert _last_event() == ("accounts.account.created", "otto@example.com")
    page = f"/console/accounts/account/{account.pk}/change/"
    assert otto.post(page, {"name": "Night Owl", "time_zone": "UTC"}).status_code == 302
    account.refresh_from_db()
    assert (account.is_active, account.time_zone) == (False, "UTC")
    assert _last_event() == ("accounts.account.changed", "otto@example.com")


def test_a_refusal_of_a_service_is_shown_and_nothing_is_written(cast: Cast, otto: Client) -> None:
    before = AuditEvent.objects.count()
    form = {"name": "Mars", "slug": "mars", "time_zone": "Mars/Olympus"}
    response = otto.post("/console/accounts/account/add/", form, follow=True)
    assert "must be an IANA time zone" in response.content.decode()
    assert (Account.objects.count(), AuditEvent.objects.count()) == (2, before)


def test_a_new_password_of_ones_own_is_audited(cast: Cast, otto: Client) -> None:
    form = {
        "old_password": OTTO_PASSWORD,
        "new_password1": "another good one",
        "new_password2": "another good one",
    }
    assert otto.post("/console/password_change/", form).status_code == 302
    assert User.objects.get(pk=cast.otto.pk).check_password("another good one")
    assert _last_event() == ("accounts.user.password_changed", "otto@example.com")
    # This session goes on; any other of his ends.
    assert otto.get("/console/").status_code == 200


def test_an_operator_is_made_and_stopped_but_never_oneself(cast: Cast, otto: Client) -> None:
    form = {"email": "mia@example.com", "new_password": "quite a long one"}
    assert otto.post("/console/accounts/user/add/", form).status_code == 302
    mia = User.objects.get(email="mia@example.com")
    assert mia.is_staff and mia.check_password("quite a long one")
    otto.post(f"/console/accounts/user/{mia.pk}/change/", {})
    assert not User.objects.get(pk=mia.pk).is_active
    assert _last_event() == ("accounts.user.deactivated", "otto@example.com")
    response = otto.post(f"/console/accounts/user/{cast.otto.pk}/change/", {}, follow=True)
    assert "You cannot deactivate yourself." in response.content.decode()
    assert User.objects.get(pk=cast.otto.pk).is_active


def test_a_plan_is_changed_and_given(cast: Cast, otto: Client) -> None:
    limits = '{"calls_per_day": 5, "queue_depth": 2, "max_samples": 1, "kinds": ["txt2img"]}'
    money = {"price_micro": "0", "trial_days": "0", "grace_days": "7"}
    form = {"name": "Free", "limits": limits, "weight": "1", "is_default": "on"} | money
    assert otto.post(f"/console/plans/plan/{cast.plan.pk}/change/", form).status_code == 302
    assert get_entitlements(cast.account).calls_per_day == 5
    assert _last_event() == ("plans.plan.changed", "otto@example.com")
    form = {"code": "gold", "name": "Gold", "limits": limits, "weight": "2"} | money
    assert otto.post("/console/plans/plan/add/", form).status_code == 302
    gold = Plan.objects.get(code="gold")
    otto.post("/console/plans/accountplan/add/", {"account": cast.account.pk, "plan": gold.pk})
    assert get_entitlements(cast.account).plan_code == "gold"
    assert _last_event() == ("plans.account_plan.set", "otto@example.com")


def test_malformed_limits_are_refused_in_the_form(cast: Cast, otto: Client) -> None:
    form = {"name": "Free", "limits": '{"calls_per_day": "lots"}', "weight": "1", "is_default": "on"}
    response = otto.post(f"/console/plans/plan/{cast.plan.pk}/change/", form)
    assert response.status_code == 200 and "missing or unknown limits" in response.content.decode()
    assert get_entitlements(cast.account).calls_per_day == 100


def test_a_checkpoint_is_disabled(cast: Cast, otto: Client) -> None:
    checkpoint = make_checkpoint("tiny")
    form = {
        "title": "Tiny",
        "aliases": "little",
        "min_side_px": "64",
        "max_side_px": "1024",
        "max_native_side_px": "512",
        "defaults": '{"steps": 9, "guidance_scale": 4.0, "sampler": "ddim"}',
        "licence": "MIT",
        "visibility": "public",
        "residency_policy": "pinned",
        "native_px": "64",
    }
    response = otto.post(f"/console/catalog/catalogentry/{checkpoint.pk}/change/", form)
    assert response.status_code == 302
    checkpoint.refresh_from_db()
    assert (checkpoint.is_enabled, checkpoint.aliases, checkpoint.max_side_px) == (False, ["little"], 1024)
    assert _last_event() == ("catalog.entry.changed", "otto@example.com")


def test_a_rows_history_is_its_audit_log(cast: Cast, otto: Client) -> None:
    response = otto.get(f"/console/accounts/account/{cast.account.pk}/history/", follow=True)
    html = response.content.decode()
    assert response.status_code == 200
    assert "accounts.account.created" in html
    assert html.count("accounts.account.created") == 1
