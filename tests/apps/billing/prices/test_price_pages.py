from __future__ import annotations

import pytest
from django.test import Client

from apps.audit.models import AuditEvent
from apps.billing.models import PayAsYouGo
from apps.billing.prices.models import PriceBook
from apps.billing.prices.quoting import Rate
from apps.billing.prices.selectors import book_at
from tests.apps.generation.paying import publish_prices
from tests.cast import Cast
from tests.clocks import FrozenClock

ADD = "/console/billing/pricebook/add/"


@pytest.fixture
def otto(cast: Cast, client: Client) -> Client:
    """A browser in which Otto is signed in."""
    client.force_login(cast.otto)
    return client


def filled_in(client: Client, **changes: str) -> dict[str, str]:
    """The form as the page has it, with changes."""
    formset = client.get(ADD).context["inline_admin_formsets"][0].formset
    fields = {
        f"{formset.prefix}-{name}": str(formset.management_form[name].value())
        for name in ("TOTAL_FORMS", "INITIAL_FORMS")
    }
    for form in formset.forms:
        fields |= {
            f"{form.prefix}-{name}": "" if form[name].value() is None else str(form[name].value())
            for name in form.fields
        }
    moment = {"effective_at_0": "2026-03-02", "effective_at_1": "12:00:00", "note": "dearer"}
    return fields | moment | changes


def test_a_new_book_begins_with_the_present_prices(otto: Client, clock: FrozenClock) -> None:
    publish_prices()

    answer = otto.post(ADD, filled_in(otto, **{"prices-0-per_image_micro": "2500"}))

    assert answer.status_code == 302, answer.context["errors"]
    book = book_at(clock.now())
    assert (book.version, PriceBook.objects.get(version=2).note) == (2, "dearer")
    assert book.rates == {
        ("", ""): Rate(per_image_micro=2500, per_megapixel_micro=500, included_pixels=10_000),
        ("caption", ""): Rate(per_call_micro=1000),
    }
    event = AuditEvent.objects.filter(name="billing.price_book.published").latest("id")
    assert event.actor_label == "otto@example.com"


def test_a_price_below_zero_is_refused(otto: Client, clock: FrozenClock) -> None:
    publish_prices()

    answer = otto.post(ADD, filled_in(otto, **{"prices-0-per_image_micro": "-1"}), follow=True)

    assert "must be a whole number from 0" in answer.content.decode() or answer.context["errors"]
    assert PriceBook.objects.count() == 1


def test_published_books_are_only_looked_at(otto: Client, clock: FrozenClock) -> None:
    book = publish_prices()

    assert otto.get(f"/console/billing/pricebook/{book.pk}/change/").status_code == 200
    assert otto.post(f"/console/billing/pricebook/{book.pk}/change/", {}).status_code == 403
    assert otto.post(f"/console/billing/pricebook/{book.pk}/delete/", {"post": "yes"}).status_code == 403


def test_an_operator_lets_an_account_pay_later(otto: Client, cast: Cast) -> None:
    fields = {"account": str(cast.account.pk), "is_allowed": "on"}
    assert otto.post("/console/billing/payasyougo/add/", fields).status_code == 302

    assert PayAsYouGo.objects.get().is_allowed
    event = AuditEvent.objects.get(name="billing.pay_as_you_go.allowed")
    assert (event.account_id, event.actor_label) == (cast.account.pk, "otto@example.com")
