"""Subscriptions and licences in the operator's console: begun, stopped and installed there, or refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.audit.models import AuditEvent
from apps.plans.choices import SubscriptionState
from apps.plans.licence import MAX_BYTES, LicenceTerms, sign_licence
from apps.plans.models import Licence, Subscription
from apps.plans.selectors import get_plan
from tests.apps.billing.invoices.office import make_invoiced_account
from tests.apps.plans.conftest import Offer
from tests.cast import Cast
from tests.clocks import FrozenClock

SUBSCRIPTIONS, LICENCES = "/console/plans/subscription/", "/console/plans/licence/"
MAKER = Ed25519PrivateKey.from_private_bytes(bytes(32))


@pytest.fixture
def console(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.otto, backend="django.contrib.auth.backends.ModelBackend")
    return client


def _act(console: Client, row: Subscription, act: str, *, revision: int | None = None) -> Any:
    """Any: the test client's response."""
    asked = {"act": act, "reason": f"{act} it", "seen_revision": revision or row.revision}
    response = console.post(f"{SUBSCRIPTIONS}{row.pk}/change/", asked, follow=True)
    row.refresh_from_db()
    return response


def test_an_operator_begins_and_stops_a_plan_by_invoice(
    cast: Cast, offer: Offer, clock: FrozenClock, console: Client
) -> None:
    account = make_invoiced_account("kiosk")
    asked = {"account": account.pk, "plan": offer.standard.pk, "reason": "order 7"}
    console.post(f"{SUBSCRIPTIONS}add/", asked, follow=True)
    row = Subscription.objects.get()
    assert (row.account, get_plan(account)) == (account, offer.standard)
    assert console.get(f"{SUBSCRIPTIONS}{row.pk}/change/").status_code == 200
    _act(console, row, "pause")
    assert row.state == SubscriptionState.PAUSED
    _act(console, row, "resume")
    assert row.state == SubscriptionState.ACTIVE
    refused = _act(console, row, "pause", revision=1)
    assert b"changed a moment ago" in refused.content
    _act(console, row, "end")
    assert row.cancel_at == row.period_end
    _act(console, row, "keep")
    assert row.cancel_at is None
    _act(console, row, "end_now")
    assert (row.state, get_plan(account)) == (SubscriptionState.CANCELED, offer.free)
    events = AuditEvent.objects.filter(subject_kind="subscription").order_by("pk")
    reasons = [event.data["reason"] for event in events]
    assert reasons == ["order 7", "pause it", "resume it", "end it", "keep it", "end_now it"]
    assert {event.actor_id for event in events} == {str(cast.otto.pk)}


def test_nobody_is_put_on_a_priced_plan_whom_no_invoice_can_reach(
    cast: Cast, offer: Offer, clock: FrozenClock, console: Client
) -> None:
    asked = {"account": cast.account.pk, "plan": offer.standard.pk, "reason": "they asked"}
    response = console.post(f"{SUBSCRIPTIONS}add/", asked, follow=True)
    assert b"is invoiced (invoice terms)" in response.content
    without_reason = console.post(f"{SUBSCRIPTIONS}add/", asked | {"reason": ""})
    assert b"This field is required" in without_reason.content
    assert not Subscription.objects.exists()


def _file(clock: FrozenClock, *, customer: str = "Ada", tampered: bool = False) -> SimpleUploadedFile:
    terms = LicenceTerms(
        number="DR-1",
        customer=customer,
        plan_code="premium",
        seats=None,
        devices=1,
        valid_from=clock.now(),
        valid_until=clock.now() + timedelta(days=365),
    )
    text = sign_licence(terms, key=MAKER)
    return SimpleUploadedFile("licence.json", (text.replace("Ada", "Eve") if tampered else text).encode())


def test_an_operator_installs_a_licence(
    cast: Cast, offer: Offer, clock: FrozenClock, console: Client, settings: Any
) -> None:
    settings.LICENCE_PUBLIC_KEY = (
        MAKER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    )
    for file, refusal in (
        (_file(clock, tampered=True), b"is not genuine"),
        (SimpleUploadedFile("x", b"\xff\xfe"), b"This is no text file"),
        (SimpleUploadedFile("x", b"{}" * MAX_BYTES), b"more than 65536 bytes"),
        (SimpleUploadedFile("x", b"hello"), b"is not JSON"),
    ):
        response = console.post(f"{LICENCES}add/", {"file": file}, follow=True)
        assert refusal in response.content
        assert not Licence.objects.exists()
    console.post(f"{LICENCES}add/", {"file": _file(clock)}, follow=True)
    licence = Licence.objects.get()
    assert get_plan(cast.strangers_account) == offer.premium
    page = console.get(f"{LICENCES}{licence.pk}/change/")
    assert page.status_code == 200
    assert b"signature" not in page.content
    event = AuditEvent.objects.get(name="plans.licence.installed")
    assert event.actor_id == str(cast.otto.pk)
