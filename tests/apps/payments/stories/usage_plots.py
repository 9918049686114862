"""The lifecycles of customers who pay as they go: a month of it, given back, or doubted by their bank."""

from __future__ import annotations

from typing import Any

from apps.billing.ledger.choices import EntryName
from apps.billing.ledger.models import LedgerEntry
from apps.payments.choices import PaymentKind
from apps.payments.metering import collect_usage, send_due_batches
from apps.payments.models import Payment
from tests.apps.payments.stage import usd
from tests.apps.payments.stories.troupe import Troupe
from tests.apps.payments.usage import use
from tests.fake_stripe.client import client_of

MONTH: dict[str, float] = {"days": 31, "hours": 2}
"""March, and the two hours until its invoice is paid for."""


def month_of_metered_usage(troupe: Troupe) -> dict[str, Any]:
    troupe.add_card()
    for job_id, micro in enumerate((2_000_000, 345_678, 1), start=1):
        use_on_account(troupe, job_id, micro)
        troupe.pass_time(hours=1)
    troupe.pass_time(**MONTH)
    # 234.5679 cents are 235, once for the month.
    return {"plan": "free", "metered": 2_345_679, "invoiced": [0, 2_350_000]}


def _paid_month_of_usage(troupe: Troupe) -> Payment:
    troupe.add_card()
    use_on_account(troupe, 1, usd(3))
    troupe.pass_time(**MONTH)
    troupe.settle()
    return Payment.objects.get(account=troupe.account, kind=PaymentKind.USAGE)


def metered_usage_refunded(troupe: Troupe) -> dict[str, Any]:
    payment = _paid_month_of_usage(troupe)
    client_of(troupe.fake).v1.refunds.create({"payment_intent": str(payment.intent_id), "amount": 100})
    troupe.deliver()
    return {"plan": "free", "metered": usd(3), "paid": [usd(3)], "refunded": [usd(1)]}


def metered_usage_disputed(troupe: Troupe) -> dict[str, Any]:
    payment = _paid_month_of_usage(troupe)
    troupe.fake.dispute(str(payment.intent_id))
    troupe.deliver()
    troupe.settle()
    assert LedgerEntry.objects.get(name=EntryName.DISPUTE).amount_micro == usd(3)
    return {"metered": usd(3), "paid": [usd(3)], "wallet": 0}


def use_on_account(troupe: Troupe, job_id: int, micro: int) -> None:
    """One delivered image that is paid for at the end of the month, told to the meter."""
    now = troupe.now
    use(troupe.account, job_id=job_id, price_micro=micro, now=now, is_captured=True)
    collect_usage(now=now)
    send_due_batches(now=now)
