from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from apps.audit.append_only import AppendOnly
from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.billing.errors import PriceBookMissing
from apps.billing.prices.models import Price, PriceBook
from apps.billing.prices.quoting import Rate
from apps.billing.prices.selectors import book_at
from apps.billing.prices.services import publish_book
from apps.billing.prices.shipped import publish_shipped_prices
from apps.core.errors import InvalidField
from apps.generation.choices import Kind
from tests.clocks import FrozenClock

pytestmark = pytest.mark.django_db

DEFAULT = ("", "")


def publish(clock: FrozenClock, *, wait: timedelta = timedelta(0), micro: object = 2000) -> PriceBook:
    return publish_book(
        rates={DEFAULT: Rate(per_image_micro=micro)},  # type: ignore[arg-type]  # bad ones are given on purpose
        effective_at=clock.now() + wait,
        note="test",
        actor=SYSTEM,
        now=clock.now(),
    )


def test_a_book_counts_from_its_moment_on(clock: FrozenClock) -> None:
    publish(clock)
    publish(clock, wait=timedelta(days=1), micro=3000)

    def price_after(wait: timedelta) -> int:
        return book_at(clock.now() + wait).rates[DEFAULT].per_image_micro

    assert price_after(timedelta(0)) == 2000
    assert price_after(timedelta(days=1, microseconds=-1)) == 2000
    assert price_after(timedelta(days=1)) == 3000


def test_the_later_version_replaces_one_of_the_same_moment(clock: FrozenClock) -> None:
    publish(clock)
    publish(clock, micro=1)

    assert (book_at(clock.now()).version, book_at(clock.now()).rates[DEFAULT].per_image_micro) == (2, 1)


def test_publishing_is_audited(clock: FrozenClock) -> None:
    book = publish(clock)

    event = AuditEvent.objects.get(name="billing.price_book.published")
    assert (event.subject_id, event.data["prices"][0]["per_image_micro"]) == (str(book.pk), 2000)


@pytest.mark.parametrize("micro", [-1, 2000.5, True, 10**13, "2000"])
def test_unusable_amounts_are_refused(clock: FrozenClock, micro: object) -> None:
    with pytest.raises(InvalidField, match="whole number"):
        publish(clock, micro=micro)
    assert not PriceBook.objects.exists()


def test_a_book_prices_everything(clock: FrozenClock) -> None:
    with pytest.raises(InvalidField, match="every kind"):
        publish_book(
            rates={("caption", ""): Rate()}, effective_at=clock.now(), note="", actor=SYSTEM, now=clock.now()
        )
    assert not PriceBook.objects.exists()


def test_no_book_counts_in_the_past(clock: FrozenClock) -> None:
    with pytest.raises(InvalidField, match="past"):
        publish(clock, wait=-timedelta(microseconds=1))
    assert not PriceBook.objects.exists()


def test_before_the_first_book_there_is_no_price(clock: FrozenClock) -> None:
    publish(clock, wait=timedelta(days=1))

    with pytest.raises(PriceBookMissing, match="bootstrap"):
        book_at(clock.now())


def test_published_prices_never_change(clock: FrozenClock) -> None:
    book = publish(clock)

    with pytest.raises(AppendOnly):
        Price.objects.update(per_image_micro=1)
    with pytest.raises(AppendOnly):
        book.delete()
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE billing_price SET per_image_micro = 1")


def test_shipped_prices_are_published_once_and_name_kinds_that_exist(clock: FrozenClock) -> None:
    assert publish_shipped_prices(actor=SYSTEM, now=clock.now())
    assert not publish_shipped_prices(actor=SYSTEM, now=clock.now())

    assert set(Price.objects.values_list("kind", flat=True)) - set(Kind.values) == {""}
    book = book_at(clock.now())
    assert book.rate(kind="txt2img", model="starter").per_image_micro == 2000
    assert book.rate(kind="caption", model="").per_call_micro == 1000
