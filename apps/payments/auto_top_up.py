"""Wallets that fill themselves: below a threshold, the card on file is charged, up to a monthly cap."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

from django.db import IntegrityError, transaction
from django.db.models import F, Q, Sum

from apps.accounts.models import Account
from apps.audit import services as audit
from apps.audit.refs import SYSTEM, Ref
from apps.billing.ledger.selectors import balances
from apps.billing.money import format_usd, to_cents
from apps.core.errors import Conflict, DomainError, InvalidField
from apps.payments.calls.money import charge_off_session, list_intents
from apps.payments.calls.sessions import own_key
from apps.payments.checkout import require_top_up
from apps.payments.choices import PaymentKind, SendState
from apps.payments.connection import open_api, require_config
from apps.payments.customers import one_at_a_time
from apps.payments.errors import CardDeclined, PaymentRefused, PaymentsNotConfigured
from apps.payments.mailing import tell_billing
from apps.payments.models import AutoTopUp, Card, Payment, StripeCustomer
from apps.payments.outbox import BATCH, is_key_forgotten, note_attempt, note_failure
from apps.payments.seen import IntentSeen
from apps.payments.stripe_api import StripeApi
from apps.payments.syncing import write_top_up

MAX_FAILURES: Final = 3
MAX_CAP_MICRO: Final = 100_000 * 1_000_000
REST_AFTER_FAILURE: Final = timedelta(hours=6)
"""Until a declined card is tried again."""

log = logging.getLogger(__name__)


def set_auto_top_up(
    *,
    account: Account,
    is_on: bool,
    threshold_micro: int,
    amount_micro: int,
    monthly_cap_micro: int,
    actor: Ref,
    now: datetime,
) -> AutoTopUp:
    """Say when and how much; switching it on begins anew after declines.

    Raises InvalidField, PaymentsNotConfigured, and Conflict without a card on file.
    """
    require_config()
    _require_amounts(
        threshold_micro=threshold_micro, amount_micro=amount_micro, monthly_cap_micro=monthly_cap_micro
    )
    if is_on and not Card.objects.filter(customer__account=account).exists():
        raise Conflict(problem="There is no card on file to be charged; add one first.")
    wish = {
        "is_on": is_on,
        "threshold_micro": threshold_micro,
        "amount_micro": amount_micro,
        "monthly_cap_micro": monthly_cap_micro,
    }
    with transaction.atomic(durable=True):
        row, _ = AutoTopUp.objects.update_or_create(
            account=account,
            defaults={**wish, "failures": 0, "last_error": "", "tried_at": None, "updated_at": now},
        )
        audit.record(
            "payments.auto_top_up.set",
            actor=actor,
            subject=account.ref,
            account_id=account.pk,
            data=wish,
            now=now,
        )
    return row


def _require_amounts(*, threshold_micro: int, amount_micro: int, monthly_cap_micro: int) -> None:
    """Raises InvalidField."""
    require_top_up(amount_micro)
    if not 0 <= threshold_micro <= MAX_CAP_MICRO:
        raise InvalidField(field="threshold", problem=f"must be $0 to {format_usd(MAX_CAP_MICRO)}")
    if not amount_micro <= monthly_cap_micro <= MAX_CAP_MICRO:
        raise InvalidField(
            field="monthly_cap",
            problem=f"must be at least the amount and at most {format_usd(MAX_CAP_MICRO)}",
        )


def run_auto_top_ups(*, now: datetime) -> int:
    """Begin those that are needed, and go on with those that Stripe has not answered; how many were paid."""
    try:
        api = open_api()
    except PaymentsNotConfigured:
        return 0
    for wish in AutoTopUp.objects.filter(is_on=True, account__is_active=True).select_related("account"):
        _begin_if_needed(wish, is_live=api.config.is_live, now=now)
    waiting = Payment.objects.filter(
        kind=PaymentKind.AUTO_TOP_UP, state=SendState.WAITING, due_at__lte=now
    ).select_related("account")
    return sum(_send(api, payment, now=now) for payment in waiting.order_by("due_at")[:BATCH])


def _begin_if_needed(wish: AutoTopUp, *, is_live: bool, now: datetime) -> None:
    """The row that decides who of two does it, and that survives a crash before Stripe has answered."""
    if not _is_needed(wish, more_micro=wish.amount_micro, now=now):
        return
    try:
        with transaction.atomic(durable=True):
            payment = Payment.objects.create(
                account=wish.account,
                kind=PaymentKind.AUTO_TOP_UP,
                is_live=is_live,
                net_micro=wish.amount_micro,
                due_at=now,
                created_at=now,
            )
            # While this row waits nobody else begins one; what another has ended since we looked is seen now.
            wish.refresh_from_db(fields=["failures", "tried_at"])
            if not _is_needed(wish, more_micro=0, now=now):
                transaction.set_rollback(True)
                return
            audit.record(
                "payments.auto_top_up.started",
                actor=SYSTEM,
                subject=payment.ref,
                account_id=wish.account_id,
                data={"amount_micro": wish.amount_micro},
                now=now,
            )
    except IntegrityError:
        log.info("an automatic top-up of account %s is under way", wish.account_id)


def _is_needed(wish: AutoTopUp, *, more_micro: int, now: datetime) -> bool:
    """The wallet is low, the cap of the month allows `more_micro`, and no card rests after a decline."""
    if wish.tried_at is not None and wish.failures and now - wish.tried_at < REST_AFTER_FAILURE:
        return False
    if balances(wish.account, now).wallet_micro >= wish.threshold_micro:
        return False
    return charged_this_month(wish.account, now=now) + more_micro <= wish.monthly_cap_micro


def charged_this_month(account: Account, *, now: datetime) -> int:
    """Micro-USD of automatic top-ups since the first of the month (UTC), what is under way included."""
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    rows = Payment.objects.filter(
        account=account, kind=PaymentKind.AUTO_TOP_UP, created_at__gte=first, failed_at=None
    )
    return int(rows.aggregate(total=Sum("net_micro"))["total"] or 0)


def _send(api: StripeApi, payment: Payment, *, now: datetime) -> bool:
    was_tried = payment.attempts > 0
    if not note_attempt(payment, now=now):
        return False
    if not _is_wanted(payment):
        return _end_unwanted(api, payment, was_tried=was_tried, now=now)
    card = Card.objects.filter(customer__account=payment.account).select_related("customer").first()
    if card is None or not card.customer.customer_id:
        _fail(payment, "There is no card on file.", now=now)
        return False
    try:
        with one_at_a_time(payment.account_id):
            seen = _ask(api, payment, card, now=now)
            write_top_up(seen, row=card.customer, now=now)
    except (CardDeclined, PaymentRefused) as refusal:
        _fail(payment, str(refusal), now=now)
        return False
    except DomainError as failure:
        note_failure(payment, str(failure))
        return False
    if seen.status == "succeeded":
        AutoTopUp.objects.filter(account=payment.account).update(failures=0, last_error="", tried_at=now)
        return True
    return False


def _is_wanted(payment: Payment) -> bool:
    """By the rows as they are now: somebody may have switched it off, or closed the account."""
    wishes = AutoTopUp.objects.filter(account=payment.account_id, is_on=True)
    return wishes.filter(account__is_active=True, account__closed_at=None).exists()


def _end_unwanted(api: StripeApi, payment: Payment, *, was_tried: bool, now: datetime) -> bool:
    """Charge nothing any more; a charge that Stripe has made unheard is written down. Whether it was paid."""
    if was_tried:
        customer = StripeCustomer.objects.filter(account=payment.account_id).first()
        try:
            with one_at_a_time(payment.account_id):
                seen = _find_made(api, payment, customer.customer_id or "") if customer else None
                if seen is not None and customer is not None:
                    write_top_up(seen, row=customer, now=now)
        except DomainError as failure:
            note_failure(payment, str(failure))
            return False
        if seen is not None and seen.status in ("succeeded", "processing"):
            return seen.status == "succeeded"
    _withdraw(payment, now=now)
    return False


def _withdraw(payment: Payment, *, now: datetime) -> None:
    """No decline: nobody's card has failed."""
    reason = "Automatic top-ups are switched off, or the account is closed."
    with transaction.atomic(durable=True):
        open_one = Payment.objects.filter(pk=payment.pk, state=SendState.WAITING)
        if open_one.update(state=SendState.REFUSED, failed_at=now, last_error=reason) != 1:
            return
        audit.record(
            "payments.auto_top_up.withdrawn",
            actor=SYSTEM,
            subject=payment.ref,
            account_id=payment.account_id,
            now=now,
        )


def _find_made(api: StripeApi, payment: Payment, customer_id: str) -> IntentSeen | None:
    """What Stripe has made of an attempt, if that reached it."""
    if not customer_id:
        return None
    made = (seen for seen in list_intents(api, customer_id) if own_key(seen.metadata) == payment.key)
    return next(made, None)


def _ask(api: StripeApi, payment: Payment, card: Card, *, now: datetime) -> IntentSeen:
    customer_id = card.customer.customer_id or ""
    if is_key_forgotten(payment, now=now):
        found = _find_made(api, payment, customer_id)
        if found is not None:
            return found
    cents = to_cents(payment.net_micro).cents
    return charge_off_session(
        api, key=payment.key, customer_id=customer_id, card_id=card.payment_method_id, cents=cents
    )


def _fail(payment: Payment, reason: str, *, now: datetime) -> None:
    """A decline: told to whoever pays; the third in a row switches it off."""
    with transaction.atomic(durable=True):
        open_one = Payment.objects.filter(pk=payment.pk, state=SendState.WAITING)
        if open_one.update(state=SendState.REFUSED, failed_at=now, last_error=reason[:300]) != 1:
            return
        wishes = AutoTopUp.objects.filter(account=payment.account)
        wishes.update(failures=F("failures") + 1, last_error=reason[:300], tried_at=now)
        is_off = wishes.filter(Q(failures__gte=MAX_FAILURES), is_on=True).update(is_on=False) == 1
        audit.record(
            "payments.auto_top_up.failed",
            actor=SYSTEM,
            subject=payment.ref,
            account_id=payment.account_id,
            data={"reason": reason[:300], "switched_off": is_off},
            now=now,
        )
        tell_billing(
            account=payment.account,
            template="payments_auto_top_up_failed",
            context={
                "account": payment.account.name,
                "amount": format_usd(payment.net_micro),
                "reason": reason,
                "is_off": is_off,
            },
            key=f"auto-top-up-failed:{payment.key}",
            now=now,
        )
