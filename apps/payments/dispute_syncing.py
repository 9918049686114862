"""Disputes that Stripe tells of: what a bank took back, what it gave again, and what Stripe took for it.

Call within `one_at_a_time` of the account.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.audit import services as audit
from apps.audit.refs import SYSTEM
from apps.billing.ledger.payments import dispute, dispute_fee, dispute_won
from apps.core.db import require_transaction
from apps.payments.calls.money import find_dispute
from apps.payments.mailing import tell_operators
from apps.payments.models import Dispute, Payment, StripeCustomer
from apps.payments.refund_syncing import find_payment
from apps.payments.seen import DisputeSeen
from apps.payments.stripe_api import StripeApi
from apps.payments.top_up_switch import switch_off

BANK_HAD_IT = frozenset({"needs_response", "under_review", "lost", "won"})
"""States of a dispute in which the bank took the money; inquiries (`warning_...`) take none."""


def sync_dispute(api: StripeApi, *, row: StripeCustomer, dispute_id: str, now: datetime) -> None:
    """What a bank took back, and gave again."""
    seen = find_dispute(api, dispute_id)
    if seen is None:
        return
    payment = find_payment(api, row=row, intent_id=seen.intent_id, now=now)
    if payment is None:
        return
    with transaction.atomic(durable=True):
        _mirror_dispute(payment, seen, now=now)
        _book_dispute(payment, seen, now=now)
        _book_fees(payment, seen, now=now)
        tell_operators(
            template="payments_dispute",
            context={"account": row.account.slug, "payment": str(payment), "status": seen.status},
            key=f"dispute:{seen.id}:{seen.status}",
            now=now,
        )


def _book_dispute(payment: Payment, seen: DisputeSeen, *, now: datetime) -> None:
    require_transaction()
    if seen.status in BANK_HAD_IT:
        dispute(
            account_id=payment.account_id,
            amount_micro=seen.amount_micro,
            key=f"dispute:{seen.id}",
            memo=f"dispute: {seen.reason}",
            of_top_up=payment.is_top_up,
            now=now,
        )
    if seen.status == "won":
        dispute_won(
            account_id=payment.account_id,
            amount_micro=seen.amount_micro,
            key=f"dispute-won:{seen.id}",
            memo="dispute won",
            of_top_up=payment.is_top_up,
            now=now,
        )


def _book_fees(payment: Payment, seen: DisputeSeen, *, now: datetime) -> None:
    """Each movement of our balance at Stripe has its own fee, and may be seen later than the dispute."""
    require_transaction()
    for move in seen.moves:
        if move.fee_micro:
            dispute_fee(
                account_id=payment.account_id,
                fee_micro=move.fee_micro,
                key=f"dispute-fee:{seen.id}:{move.id}",
                memo=f"fee of dispute {seen.id}",
                now=now,
            )


def _mirror_dispute(payment: Payment, seen: DisputeSeen, *, now: datetime) -> None:
    require_transaction()
    is_closed = seen.status in ("won", "lost", "warning_closed", "prevented")
    row, is_new = Dispute.objects.get_or_create(
        dispute_id=seen.id,
        defaults={
            "payment": payment,
            "status": seen.status,
            "reason": seen.reason,
            "amount_micro": seen.amount_micro,
            "opened_at": seen.created,
            "closed_at": now if is_closed else None,
        },
    )
    if not is_new and row.status != seen.status:
        row.status, row.closed_at = seen.status, now if is_closed else None
        row.save(update_fields=["status", "closed_at"])
    if is_new:
        switch_off(account_id=payment.account_id, reason="a dispute", now=now)
        audit.record(
            "payments.dispute.opened",
            actor=SYSTEM,
            subject=payment.ref,
            account_id=payment.account_id,
            data={"dispute": seen.id, "reason": seen.reason, "amount_micro": seen.amount_micro},
            now=now,
        )
