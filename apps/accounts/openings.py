"""Opening accounts: by whoever signs up, within the operator's rules, and the operator's yes or no."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils.text import slugify

from apps.accounts import mailing
from apps.accounts.choices import Role
from apps.accounts.errors import SignUpRefused
from apps.accounts.models import Account, Membership, User
from apps.accounts.services import require_valid
from apps.accounts.sign_up_models import SignInDomain, SignUpSettings
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.core.db import require_transaction
from apps.core.errors import Conflict, InvalidField

SLUG_LENGTH: Final = 50
SLUG_ATTEMPTS: Final = 5
OWNED_AT_MOST: Final = 3
"""By somebody who opens them alone; each brings the default plan's free calls."""


def get_sign_up_settings() -> SignUpSettings:
    """The operator's rules; the defaults until one has changed them."""
    return SignUpSettings.objects.filter(pk=1).first() or SignUpSettings(pk=1)


def change_sign_up_settings(*, changed: SignUpSettings, actor: Ref, now: datetime) -> None:
    """Put the operator's rules into force. Raises InvalidField for domains that are none."""
    for domain in changed.domains:
        if "." not in domain or "@" in domain:
            raise InvalidField(field="allowed_domains", problem=f"must be domains, not {domain!r}")
    changed.pk = 1
    names = [field.name for field in SignUpSettings._meta.fields if field.name != "id"]
    values = {name: getattr(changed, name) for name in names}
    with transaction.atomic(durable=True):
        SignUpSettings.objects.update_or_create(pk=1, defaults=values)
        audit.record(
            "accounts.sign_up_settings.changed", actor=actor, subject=changed.ref, data=values, now=now
        )


def domain_of(email: str) -> str:
    """The part of an address that an organisation owns, in lower case."""
    return email.rpartition("@")[2].lower()


def find_sign_in_domain(email: str) -> SignInDomain | None:
    """What is agreed for addresses like `email`; None when nothing is."""
    return SignInDomain.objects.select_related("provider", "account").filter(domain=domain_of(email)).first()


def require_may_sign_up(*, email: str, is_invited: bool) -> None:
    """Raises SignUpRefused when the operator's rules keep `email` out."""
    rules = get_sign_up_settings()
    if is_invited:
        return
    if not rules.self_service:
        raise SignUpRefused(problem="Sign-up is closed here: ask the operator for an account.")
    if rules.invitation_only:
        raise SignUpRefused(problem="Sign-up is by invitation here.")
    if rules.domains and domain_of(email) not in rules.domains:
        raise SignUpRefused(problem=f"Addresses at {domain_of(email)} cannot sign up here.")


def open_account(*, owner: User, name: str, awaits_approval: bool, actor: Ref, now: datetime) -> Account:
    """Open an account that `owner` owns, on the default plan; a part. Raises InvalidField.

    Without a name it is called after the owner's address. One that awaits approval cannot be used before.
    """
    require_transaction()
    account = _insert(
        name.strip() or owner.name or owner.email.partition("@")[0], owner, awaits_approval, now
    )
    membership = Membership.objects.create(account=account, user=owner, role=Role.OWNER, created_at=now)
    audit.record(
        "accounts.account.opened",
        actor=actor,
        subject=account.ref,
        account_id=account.pk,
        data={"name": account.name, "owner": membership.user.email, "awaits_approval": awaits_approval},
        now=now,
    )
    return account


def _insert(name: str, owner: User, awaits_approval: bool, now: datetime) -> Account:
    wanted = slugify(name)[:SLUG_LENGTH].strip("-_") or "account"
    for attempt in range(SLUG_ATTEMPTS):
        slug = wanted if attempt == 0 else f"{wanted}-{secrets.token_hex(3)}"
        account = Account(
            name=name[:100],
            slug=slug.replace("_", "-"),
            time_zone=owner.time_zone,
            is_active=not awaits_approval,
            awaits_approval=awaits_approval,
            created_at=now,
        )
        require_valid(account)
        try:
            with transaction.atomic():
                account.save(force_insert=True)
        except IntegrityError:
            # Somebody has that slug, maybe since a moment ago.
            continue
        return account
    raise Conflict(problem=f"No free name like {wanted} was found; choose another one.")


def open_further_account(*, owner: User, name: str, now: datetime) -> Account:
    """Open one more account for somebody who is here already; a second click gives the first one's.

    Raises SignUpRefused, also for who has opened OWNED_AT_MOST, and InvalidField.
    """
    if not name.strip():
        raise InvalidField(field="name", problem="must not be empty")
    require_may_sign_up(email=owner.email, is_invited=False)
    awaits = get_sign_up_settings().approval_required
    with transaction.atomic(durable=True):
        # Two forms at once are obeyed one after the other.
        User.objects.select_for_update().get(pk=owner.pk)
        twin = _find_owned(owner).filter(name=name.strip(), closed_at=None).first()
        if twin is not None:
            return twin
        if _find_owned(owner).count() >= OWNED_AT_MOST:
            raise SignUpRefused(
                problem=f"You own {OWNED_AT_MOST} accounts already: ask the operator for a further one."
            )
        return open_account(owner=owner, name=name, awaits_approval=awaits, actor=owner.ref, now=now)


def _find_owned(owner: User) -> QuerySet[Account]:
    """Closed ones too, until they are erased: closing one makes no room for a new one's free calls."""
    return Account.objects.filter(memberships__user=owner, memberships__role=Role.OWNER)


def approve(*, account: Account, actor: Ref, now: datetime) -> None:
    """Let a new account in; its owners hear of it. Raises Conflict when it does not wait."""
    with transaction.atomic(durable=True):
        waiting = Account.objects.filter(pk=account.pk, awaits_approval=True, closed_at=None)
        if waiting.update(awaits_approval=False, is_active=True) != 1:
            raise Conflict(problem=f"The account {account.slug} does not await approval.")
        audit.record(
            "accounts.account.approved", actor=actor, subject=account.ref, account_id=account.pk, now=now
        )
        _tell_owners(account, template="account_approved", now=now)


def reject(*, account: Account, actor: Ref, now: datetime) -> None:
    """Turn a new account down: it is closed, and its owners hear of it. Raises Conflict."""
    with transaction.atomic(durable=True):
        waiting = Account.objects.filter(pk=account.pk, awaits_approval=True, closed_at=None)
        if waiting.update(closed_at=now) != 1:
            raise Conflict(problem=f"The account {account.slug} does not await approval.")
        audit.record(
            "accounts.account.rejected", actor=actor, subject=account.ref, account_id=account.pk, now=now
        )
        _tell_owners(account, template="account_rejected", now=now)


def _tell_owners(account: Account, *, template: str, now: datetime) -> None:
    mailing.queue_mail_to_roles(
        account=account,
        roles=[Role.OWNER],
        template=template,
        context={"account": account.name, "url": f"{settings.BASE_URL}/portal"},
        key=f"{template}:{account.pk}",
        now=now,
    )
