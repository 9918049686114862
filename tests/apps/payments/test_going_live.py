"""The end of Stripe's test mode: nothing that was bought in it is worth anything afterwards."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from apps.audit.refs import SYSTEM
from apps.billing.ledger.choices import EntryName
from apps.billing.ledger.models import LedgerEntry
from apps.billing.ledger.services import adjust
from apps.billing.pay_later import may_pay_later
from apps.payments import services
from apps.payments.choices import CheckoutState, SendState
from apps.payments.errors import NotRefundable
from apps.payments.going_live import LeftAccount, leave_test_mode
from apps.payments.metering import collect_usage
from apps.payments.models import Card, Checkout, MeterBatch, Payment, StripeCustomer
from apps.payments.refunds import refund_payment_by_customer
from apps.plans.choices import SubscriptionState
from apps.plans.models import Plan, Subscription
from tests.apps.billing.ledger.books import assert_books_balance, committed, hold, release
from tests.apps.payments.plan_acts import start
from tests.apps.payments.stage import Stage, audited, usd
from tests.apps.payments.usage import use


def leave(stage: Stage) -> list[LeftAccount]:
    return leave_test_mode(actor=stage.cast.otto.ref, now=stage.now)


def test_plans_and_money_of_the_test_mode_are_gone(stage: Stage, standard: Plan) -> None:
    stage.subscribe(standard)
    stage.top_up(20)
    [left] = leave(stage)
    assert (left.plans, left.wallet_micro, left.forgiven_micro, left.problem) == (1, usd(20), 0, "")
    assert (stage.plan_code(), stage.balances().wallet_micro) == ("free", 0)
    assert Subscription.objects.get().state == SubscriptionState.CANCELED
    assert (StripeCustomer.objects.count(), Card.objects.count()) == (0, 0)
    assert LedgerEntry.objects.get(name=EntryName.TEST_MODE).amount_micro == usd(20)
    assert audited("payments.test_mode.left") == audited("billing.test_money.taken_out") == 1
    assert_books_balance(now=stage.now)
    assert leave(stage) == []


def test_money_that_an_operator_put_in_stays(stage: Stage) -> None:
    stage.top_up(20)
    committed(
        adjust,
        account_id=stage.account.pk,
        amount_micro=usd(7),
        key="adjust:1",
        memo="by bank",
        actor=SYSTEM,
        now=stage.now,
    )
    leave(stage)
    assert stage.balances().wallet_micro == usd(7)


def test_usage_on_a_test_card_is_never_billed(stage: Stage) -> None:
    stage.add_card()
    use(stage.account, job_id=1, price_micro=usd(3), now=stage.now, is_captured=True)
    collect_usage(now=stage.now)
    use(stage.account, job_id=2, price_micro=usd(2), now=stage.now, is_captured=True)
    [left] = leave(stage)
    assert left.forgiven_micro == usd(5)
    assert stage.balances().receivable_micro == 0
    assert not may_pay_later(stage.account.pk)
    batches = MeterBatch.objects.values_list("value_micro", "state").order_by("-value_micro")
    assert list(batches) == [(usd(3), SendState.REFUSED), (usd(2), SendState.REFUSED)]


def test_an_account_with_open_jobs_is_named_and_left_alone(stage: Stage, standard: Plan) -> None:
    stage.subscribe(standard)
    stage.top_up(20)
    hold(stage.account, 1, usd(1), now=stage.now)
    [left] = leave(stage)
    assert "open jobs" in left.problem
    assert (stage.plan_code(), stage.balances().wallet_micro) == ("standard", usd(19))
    release(1, now=stage.now)
    assert leave(stage)[0].wallet_micro == usd(20)


def test_what_is_open_at_stripe_is_forgotten(stage: Stage, standard: Plan) -> None:
    start(stage, standard)
    leave(stage)
    assert Checkout.objects.get().state == CheckoutState.EXPIRED


def test_payments_of_the_test_mode_are_no_longer_shown_or_given_back(stage: Stage, settings: object) -> None:
    stage.top_up(20)
    assert services.list_payments(stage.account).count() == 1
    leave(stage)
    settings.STRIPE_SECRET_KEY = "sk_live_abc"  # type: ignore[attr-defined]
    assert services.list_payments(stage.account).count() == 0
    with pytest.raises(NotRefundable, match="another mode"):
        refund_payment_by_customer(
            account=stage.account,
            payment_id=Payment.objects.get().pk,
            amount_micro=None,
            actor=stage.cast.ada.ref,
            token="refund-token-1",
            now=stage.now,
        )


def test_the_command_asks_first_and_reports(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.top_up(20)
    with pytest.raises(CommandError, match=r"1 accounts .* \$20.00 .* --yes"):
        call_command("stripe", "go-live")
    assert stage.balances().wallet_micro == usd(20)
    call_command("stripe", "go-live", "--yes")
    assert f"{stage.account.slug}: 0 plans ended, $20.00 out of the wallet" in capsys.readouterr().out
    call_command("stripe", "go-live")
    assert "Nothing is left" in capsys.readouterr().out


def test_the_console_says_what_stands_in_the_way(stage: Stage, client: Client) -> None:
    stage.top_up(20)
    client.force_login(stage.cast.otto, backend="django.contrib.auth.backends.ModelBackend")
    form = {
        "secret_key": "sk_live_abc",
        "webhook_secret": "",
        "publishable_key": "",
        "api_base": "https://api.stripe.com",
    }
    page = client.post("/console/payments/stripesettings/add/", form, follow=True).content.decode()
    assert "manage.py stripe go-live" in page
    assert not services.payments_state().is_live
