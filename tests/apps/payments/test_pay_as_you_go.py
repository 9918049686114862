"""A card on file, usage on the meter, and a bill at the end of the month: the same to the micro-dollar."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from apps.billing.invoices.drafting import find_due_lines, totals_of, write_lines
from apps.billing.invoices.models import Invoice, InvoiceTerms
from apps.billing.ledger.models import LedgerEntry
from apps.billing.pay_later import may_pay_later
from apps.core.errors import Conflict
from apps.payments import services
from apps.payments.calls.catalogue import ensure_meter
from apps.payments.calls.money import metered_micro
from apps.payments.choices import SendState
from apps.payments.connection import open_api
from apps.payments.metering import collect_usage, send_due_batches
from apps.payments.models import MeterBatch, MeteredUsage, StripeCustomer
from tests.apps.payments.stage import URLS, Stage
from tests.apps.payments.usage import use
from tests.fake_stripe.cards import FAILS_LATER_CARD
from tests.fake_stripe.visitor import Visitor


def meter(stage: Stage) -> int:
    """Micro-USD that Stripe's meter has counted for Ada's account, ever."""
    api = open_api()
    customer_id = StripeCustomer.objects.get(account=stage.account).customer_id or ""
    stage.fake.advance(hours=1)
    now = stage.now.replace(second=0, microsecond=0)
    return metered_micro(
        api,
        meter_id=ensure_meter(api),
        customer_id=customer_id,
        since=now - timedelta(days=40),
        until=now + timedelta(days=1),
    )


def tell(stage: Stage) -> int:
    """Collect and send; how many batches Stripe took."""
    collect_usage(now=stage.now)
    return send_due_batches(now=stage.now)


def test_a_card_switches_it_on(stage: Stage) -> None:
    assert not may_pay_later(stage.account.pk)
    stage.add_card()
    assert may_pay_later(stage.account.pk)
    assert services.list_cards(stage.account).get().is_default


@pytest.mark.parametrize("seed", range(4))
def test_messages_in_any_order_and_twice_are_one_subscription(stage: Stage, seed: int) -> None:
    url = services.start_card_setup(
        account=stage.account, actor=stage.cast.ada.ref, token="card-token-1", now=stage.now, **URLS
    ).url
    Visitor(stage.fake).pay(url)
    stage.deliver(shuffle_seed=seed, duplicates=1.0)
    assert may_pay_later(stage.account.pk)
    assert len(stage.fake.store.every("subscription")) == 1


def test_usage_is_told_to_the_meter_exactly(stage: Stage) -> None:
    stage.add_card()
    for job_id in range(1, 8):
        use(stage.account, job_id=job_id, price_micro=2_001, now=stage.now)
    assert tell(stage) == 1
    assert tell(stage) == 0
    assert (MeterBatch.objects.get().value_micro, MeteredUsage.objects.count()) == (14_007, 7)
    assert meter(stage) == 14_007


def test_latecomers_come_with_the_next_batch(stage: Stage) -> None:
    """Within the same minute there is one batch of an account: its minute is how it is found again."""
    stage.add_card()
    stage.pass_time(hours=6)
    use(stage.account, job_id=1, price_micro=2_000, now=stage.now)
    tell(stage)
    use(stage.account, job_id=2, price_micro=3_000, now=stage.now - timedelta(hours=5))
    assert collect_usage(now=stage.now) == 0
    stage.clock.advance(minutes=1)
    assert tell(stage) == 1
    assert meter(stage) == 5_000


def test_what_others_pay_for_is_not_metered(stage: Stage) -> None:
    stage.add_card()
    use(stage.account, job_id=1, price_micro=2_000, now=stage.now, source="wallet")
    use(stage.cast.strangers_account, job_id=2, price_micro=2_000, now=stage.now)
    assert collect_usage(now=stage.now) == 0


def test_what_was_used_before_the_card_is_not_billed_to_it(stage: Stage) -> None:
    use(stage.account, job_id=1, price_micro=2_000, now=stage.now - timedelta(seconds=1))
    stage.add_card()
    assert collect_usage(now=stage.now) == 0


def test_a_customer_without_a_metered_subscription_is_not_metered(stage: Stage) -> None:
    stage.add_card()
    StripeCustomer.objects.update(payg_subscription_id="")
    use(stage.account, job_id=1, price_micro=2_000, now=stage.now)
    assert collect_usage(now=stage.now) == 0


def test_who_is_sent_invoices_is_not_metered_and_gives_no_card(stage: Stage) -> None:
    stage.add_card()
    InvoiceTerms.objects.create(account=stage.account, buyer="Ada Lovelace")
    use(stage.account, job_id=1, price_micro=2_000, now=stage.now)
    assert collect_usage(now=stage.now) == 0
    with pytest.raises(Conflict, match="by invoice"):
        stage.add_card(token="card-token-2")


def test_usage_is_on_one_bill_and_never_on_two(stage: Stage) -> None:
    """Whichever of the two takes it first, while an operator changes how the account pays."""
    stage.add_card()
    use(stage.account, job_id=1, price_micro=2_000, now=stage.now)
    tell(stage)
    use(stage.account, job_id=2, price_micro=3_000, now=stage.now)
    terms = InvoiceTerms.objects.create(account=stage.account, buyer="Ada Lovelace")
    [line] = find_due_lines(account_id=stage.account.pk, until=stage.now.date())
    assert line.amount_micro == 3_000

    today = stage.now.date()
    whole = totals_of(line.amount_micro, tax_basis_points=0)
    invoice = Invoice.objects.create(
        account=stage.account,
        created_at=stage.now,
        period_start=today,
        period_end=today,
        net_days=30,
        tax_basis_points=0,
        net_micro=whole.net_micro,
        tax_micro=whole.tax_micro,
        rounding_micro=whole.rounding_micro,
    )
    write_lines(invoice, [line], now=stage.now)
    terms.delete()
    assert collect_usage(now=stage.now + timedelta(minutes=5)) == 0


@pytest.mark.parametrize("fault", ["500", "429", "timeout_after_commit", "reset"])
def test_a_batch_that_was_not_answered_is_counted_once(stage: Stage, fault: Any) -> None:
    stage.add_card()
    use(stage.account, job_id=1, price_micro=2_000, now=stage.now)
    stage.fake.fail_next(fault, method="POST", path="/v1/billing/meter_events")
    assert tell(stage) == 0
    stage.clock.advance(minutes=5)
    assert tell(stage) == 1
    assert meter(stage) == 2_000


def test_a_batch_whose_identifier_is_forgotten_is_looked_up(stage: Stage) -> None:
    stage.add_card()
    use(stage.account, job_id=1, price_micro=2_000, now=stage.now)
    stage.fake.fail_next("timeout_after_commit", method="POST", path="/v1/billing/meter_events")
    tell(stage)
    stage.clock.advance(days=3)
    stage.fake.advance(days=3)
    assert tell(stage) == 1
    assert meter(stage) == 2_000
    assert len(stage.fake.store.every("billing.meter_event")) == 1


def test_a_batch_that_waited_for_weeks_is_told_as_of_now(stage: Stage) -> None:
    stage.add_card()
    use(stage.account, job_id=1, price_micro=2_000, now=stage.now)
    collect_usage(now=stage.now)
    stage.clock.advance(days=36)
    stage.fake.advance(days=36)
    assert send_due_batches(now=stage.now) == 1
    assert meter(stage) == 2_000


def test_a_month_is_billed_and_paid(stage: Stage) -> None:
    """12,345,678 micro-USD are 1,234.5678 cents: what the invoice rounds is written down as rounding."""
    stage.add_card()
    use(stage.account, job_id=1, price_micro=12_345_678, now=stage.now, is_captured=True)
    assert stage.balances().receivable_micro == 12_345_678
    tell(stage)
    stage.pass_time(days=31, hours=2)
    assert (stage.balances().receivable_micro, stage.balances().invoiced_micro) == (0, 0)
    invoice = services.list_invoices(stage.account).get(total_micro__gt=0)
    assert (invoice.status, invoice.paid_micro) == ("paid", 12_350_000)
    names = LedgerEntry.objects.filter(key__endswith=invoice.invoice_id)
    assert sorted(names.values_list("amount_micro", flat=True)) == [12_345_678, 12_350_000]


def test_a_card_that_stops_paying_stops_credit(stage: Stage) -> None:
    stage.add_card(card=FAILS_LATER_CARD)
    use(stage.account, job_id=1, price_micro=12_000_000, now=stage.now, is_captured=True)
    tell(stage)
    stage.pass_time(days=31, hours=2)
    assert not may_pay_later(stage.account.pk)
    assert stage.balances().invoiced_micro == 12_000_000


def test_stopping_takes_effect_at_once_and_the_rest_is_billed(stage: Stage) -> None:
    stage.add_card()
    use(stage.account, job_id=1, price_micro=12_000_000, now=stage.now, is_captured=True)
    services.stop_pay_as_you_go(account=stage.account, actor=stage.cast.ada.ref, now=stage.now)
    assert not may_pay_later(stage.account.pk)
    tell(stage)
    stage.pass_time(days=31, hours=2)
    assert (stage.balances().receivable_micro, stage.balances().invoiced_micro) == (0, 0)
    with pytest.raises(Conflict):
        services.stop_pay_as_you_go(account=stage.account, actor=stage.cast.ada.ref, now=stage.now)


def test_it_begins_again_with_a_card(stage: Stage) -> None:
    stage.add_card(token="card-token-1")
    services.stop_pay_as_you_go(account=stage.account, actor=stage.cast.ada.ref, now=stage.now)
    stage.deliver(duplicates=1.0)
    assert not may_pay_later(stage.account.pk)
    stage.add_card(token="card-token-2")
    assert may_pay_later(stage.account.pk)
    assert len(stage.fake.store.every("subscription")) == 1


def test_a_customer_deleted_at_stripe_has_no_credit(stage: Stage) -> None:
    stage.add_card()
    customer_id = StripeCustomer.objects.get().customer_id or ""
    open_api().ask(lambda client: client.v1.customers.delete(customer_id))
    stage.deliver()
    assert not may_pay_later(stage.account.pk)
    assert not services.list_cards(stage.account).exists()
    stage.add_card(token="card-token-2")
    assert may_pay_later(stage.account.pk)
    assert StripeCustomer.objects.get().customer_id != customer_id


def test_batches_wait_while_payments_are_off(stage: Stage, settings: Any) -> None:
    stage.add_card()
    use(stage.account, job_id=1, price_micro=2_000, now=stage.now)
    settings.STRIPE_SECRET_KEY = ""
    assert tell(stage) == 0
    assert MeterBatch.objects.get().state == SendState.WAITING
