"""The installed licence: installed once, judged whenever it is asked for, and put into effect by a task.

Its plan goes to the accounts that it names, as subscriptions of theirs, or else becomes the default plan.
When it has ended, everything goes on for the days of grace; then the plan is taken back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from apps.accounts.models import Account
from apps.audit import services as audit
from apps.audit.refs import SYSTEM, Ref
from apps.core.db import take_transaction_lock
from apps.plans.choices import LicenceState, SubscriptionSource, SubscriptionState
from apps.plans.errors import LicenceRefused
from apps.plans.licence import LicenceTerms, read_licence
from apps.plans.models import Licence, LicenceClock, Plan
from apps.plans.subscriptions import SubscriptionFacts, apply_subscription

GRACE: Final = timedelta(days=14)
# Clocks are set right by seconds and minutes; a day back is somebody's doing.
CLOCK_SLACK: Final = timedelta(days=1)
LICENCE_LOCK: Final = "plans.licence"


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceStanding:
    """What the installed licence is worth now, for the console."""

    licence: Licence
    terms: LicenceTerms
    state: LicenceState
    grace_ends_at: datetime


def maker_key() -> Ed25519PublicKey:
    """Whose licences are genuine here. Raises LicenceRefused where no such key is set."""
    if not settings.LICENCE_PUBLIC_KEY:
        raise LicenceRefused(
            problem="cannot be checked: set DARKROOM_LICENCE_PUBLIC_KEY to the maker's public key (PEM)"
        )
    try:
        key = load_pem_public_key(settings.LICENCE_PUBLIC_KEY.encode())
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise LicenceRefused(
            problem="cannot be checked: DARKROOM_LICENCE_PUBLIC_KEY is no Ed25519 key in PEM"
        )
    return key


def present_licence(*, now: datetime) -> Licence | None:
    """The installed licence while it is in effect: begun, and not past its days of grace; one query."""
    return Licence.objects.filter(replaced_at=None, valid_from__lte=now, valid_until__gt=now - GRACE).first()


def device_limit(*, now: datetime) -> int | None:
    """Most GPUs that may take jobs, by the licence in effect; None is any number. One query."""
    licence = present_licence(now=now)
    return None if licence is None else licence.devices


def covered_accounts(licence: Licence) -> QuerySet[Account]:
    """Those that it names, or all that are active. Raises LicenceRefused for a row that was changed."""
    names = read_licence(licence.document, key=maker_key()).accounts
    accounts = Account.objects.filter(is_active=True)
    return accounts.filter(slug__in=names) if names else accounts


def get_standing(*, now: datetime) -> LicenceStanding | None:
    """None without a licence. Raises LicenceRefused for one that was changed in the database."""
    licence = Licence.objects.filter(replaced_at=None).select_related("plan").first()
    if licence is None:
        return None
    terms = read_licence(licence.document, key=maker_key())
    ends = terms.valid_until + GRACE
    return LicenceStanding(
        licence=licence, terms=terms, state=state_at(terms, now=_latest(now)), grace_ends_at=ends
    )


def state_at(terms: LicenceTerms, *, now: datetime) -> LicenceState:
    """Pure."""
    if now < terms.valid_from:
        return LicenceState.WAITING
    if now < terms.valid_until:
        return LicenceState.VALID
    return LicenceState.GRACE if now < terms.valid_until + GRACE else LicenceState.EXPIRED


def install_licence(*, document: str, actor: Ref, now: datetime) -> Licence:
    """Put a licence in the place of the present one, if there is one, and into effect.

    The same one again changes nothing.

    Raises LicenceRefused for what is not genuine, has ended or begins later, names a plan or an account that
    there is not, or is installed while the clock stands before a time that it has shown already.
    """
    terms = read_licence(document, key=maker_key())
    _require_clock(now)
    if state_at(terms, now=now) not in (LicenceState.VALID, LicenceState.GRACE):
        raise LicenceRefused(
            problem=f"is valid from {terms.valid_from:%Y-%m-%d} to {terms.valid_until:%Y-%m-%d}, not today"
        )
    plan = Plan.objects.filter(code=terms.plan_code).first()
    if plan is None:
        raise LicenceRefused(
            problem=f"gives the plan {terms.plan_code}, which this installation does not have"
        )
    _require_accounts(terms)
    with transaction.atomic(durable=True):
        take_transaction_lock(LICENCE_LOCK)
        same = Licence.objects.filter(number=terms.number).first()
        if same is not None and same.document == document and same.replaced_at is None:
            return same
        if same is not None:
            raise LicenceRefused(problem=f"has the number {terms.number}, which was installed before")
        _withdraw(actor, now)
        licence = _insert(terms, document, plan, now)
        audit.record(
            "plans.licence.installed", actor=actor, subject=licence.ref, data=terms.to_json(), now=now
        )
        _put_into_effect(licence, terms, actor, now)
    return licence


def _require_accounts(terms: LicenceTerms) -> None:
    known = set(Account.objects.filter(slug__in=terms.accounts).values_list("slug", flat=True))
    missing = [slug for slug in terms.accounts if slug not in known]
    if missing:
        raise LicenceRefused(problem=f"names accounts that there are not: {', '.join(missing)}")


def _insert(terms: LicenceTerms, document: str, plan: Plan, now: datetime) -> Licence:
    default = None if terms.accounts else Plan.objects.filter(is_default=True).first()
    return Licence.objects.create(
        number=terms.number,
        customer=terms.customer,
        plan=plan,
        seats=terms.seats,
        devices=terms.devices,
        valid_from=terms.valid_from,
        valid_until=terms.valid_until,
        document=document,
        installed_at=now,
        previous_default=default,
    )


def refresh_licence(*, now: datetime) -> LicenceState | None:
    """Note the time, and put into effect what the licence is worth now; a task's work.

    None without a licence. A clock that was moved back changes nothing: the latest time seen counts.
    """
    with transaction.atomic(durable=True):
        take_transaction_lock(LICENCE_LOCK)
        latest = _note_clock(now)
        licence = Licence.objects.filter(replaced_at=None).select_related("plan", "previous_default").first()
        if licence is None:
            return None
        terms = read_licence(licence.document, key=maker_key())
        _put_into_effect(licence, terms, SYSTEM, latest)
        return state_at(terms, now=latest)


def _put_into_effect(licence: Licence, terms: LicenceTerms, actor: Ref, now: datetime) -> None:
    """Part. The state of its subscriptions says the same as the licence's, so that all follows from it."""
    state = state_at(terms, now=now)
    if not terms.accounts:
        is_worth = state in (LicenceState.VALID, LicenceState.GRACE)
        _make_default(licence.plan if is_worth else licence.previous_default, licence, actor, now)
        return
    subscribed = SubscriptionState.ACTIVE
    if state == LicenceState.EXPIRED:
        subscribed = SubscriptionState.CANCELED
    for account in Account.objects.filter(slug__in=terms.accounts).order_by("pk"):
        _subscribe(account, licence, terms, subscribed, actor, now)


def _subscribe(
    account: Account,
    licence: Licence,
    terms: LicenceTerms,
    state: SubscriptionState,
    actor: Ref,
    now: datetime,
) -> None:
    facts = SubscriptionFacts(
        source=SubscriptionSource.LICENCE,
        external_id=f"{licence.number}:{account.slug}",
        plan_code=terms.plan_code,
        state=state,
        period_start=terms.valid_from,
        period_end=terms.valid_until,
        cancel_at=terms.valid_until,
    )
    apply_subscription(account=account, facts=facts, actor=actor, now=now)


def _make_default(plan: Plan | None, licence: Licence, actor: Ref, now: datetime) -> None:
    if plan is None or Plan.objects.filter(pk=plan.pk, is_default=True).exists():
        return
    Plan.objects.filter(is_default=True).update(is_default=False)
    Plan.objects.filter(pk=plan.pk).update(is_default=True)
    data = {"plan": plan.code, "licence": licence.number}
    audit.record("plans.default.changed", actor=actor, subject=plan.ref, data=data, now=now)


def _withdraw(actor: Ref, now: datetime) -> None:
    """Part: what the present licence gave is taken back; its successor gives its own at once."""
    licence = Licence.objects.filter(replaced_at=None).select_related("plan", "previous_default").first()
    if licence is None:
        return
    terms = read_licence(licence.document, key=maker_key())
    for account in Account.objects.filter(slug__in=terms.accounts).order_by("pk"):
        _subscribe(account, licence, terms, SubscriptionState.CANCELED, actor, now)
    if not terms.accounts:
        _make_default(licence.previous_default, licence, actor, now)
    Licence.objects.filter(pk=licence.pk).update(replaced_at=now)
    audit.record("plans.licence.replaced", actor=actor, subject=licence.ref, now=now)


def _latest(now: datetime) -> datetime:
    seen = LicenceClock.objects.values_list("seen_at", flat=True).first()
    return now if seen is None else max(now, seen)


def _require_clock(now: datetime) -> None:
    latest = _latest(now)
    if latest - now > CLOCK_SLACK:
        raise LicenceRefused(
            problem=f"cannot be judged: the clock says {now:%Y-%m-%d %H:%M} UTC, but this installation "
            f"has seen {latest:%Y-%m-%d %H:%M} UTC; set the clock right"
        )


def _note_clock(now: datetime) -> datetime:
    LicenceClock.objects.get_or_create(pk=1, defaults={"seen_at": now})
    LicenceClock.objects.filter(pk=1, seen_at__lt=now).update(seen_at=now)
    return _latest(now)
