"""Accounts, operators and members come and go through here, so that each change is audited."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from allauth.account.models import EmailAddress
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from apps.accounts.choices import Role
from apps.accounts.models import Account, Membership, User
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.core.errors import Conflict, InvalidField

GENERATED_PASSWORD_BYTES = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOperator:
    """A new operator with the only copy of the password, if it was generated."""

    user: User
    password: str | None
    """The generated password; None when the caller chose it."""


def create_account(*, name: str, slug: str, actor: Ref, now: datetime, time_zone: str = "UTC") -> Account:
    """Open an account. Raises InvalidField, and Conflict when the slug is taken."""
    account = Account(name=name, slug=slug, time_zone=time_zone, created_at=now)
    require_valid(account)
    try:
        with transaction.atomic(durable=True):
            account.save(force_insert=True)
            audit.record(
                "accounts.account.created",
                actor=actor,
                subject=account.ref,
                account_id=account.pk,
                data={"name": name, "time_zone": time_zone},
                now=now,
            )
    except IntegrityError:
        raise Conflict(problem=f"There is already an account with the slug {slug!r}.") from None
    return account


def change_account(
    *,
    account: Account,
    name: str,
    time_zone: str,
    is_active: bool | None,
    actor: Ref,
    now: datetime,
    safety: str | None = None,
) -> Account:
    """Replace what may change of an account; its slug may not. A deactivated account's keys stop at once.

    `safety` is a SafetyRule, "" for the installation's, None for what the account has. With `is_active`
    None the switch stays as it is, also when somebody else moves it at this moment.
    """
    before = (account.name, account.time_zone, account.is_active, account.safety)
    fields = ["name", "time_zone", "safety"]
    account.name, account.time_zone = name, time_zone
    if is_active is not None:
        account.is_active = is_active
        fields.append("is_active")
    account.safety = account.safety if safety is None else safety
    require_valid(account)
    with transaction.atomic(durable=True):
        account.save(update_fields=fields)
        audit.record(
            "accounts.account.changed",
            actor=actor,
            subject=account.ref,
            account_id=account.pk,
            data={"before": list(before), "after": [name, time_zone, account.is_active, account.safety]},
            now=now,
        )
    return account


def require_valid(account: Account) -> None:
    """Raises InvalidField for the first field that is not usable."""
    try:
        ZoneInfo(account.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidField(
            field="time_zone", problem=f"must be an IANA time zone, not {account.time_zone!r}"
        ) from None
    name = account.name
    # It stands in letters to strangers, where it shall be no link and no paragraph of its own.
    if "://" in name or "www." in name.lower() or len(name.splitlines()) > 1:
        raise InvalidField(field="name", problem="must be one line without an address of the web")
    try:
        account.clean_fields()
    except ValidationError as error:
        field, problems = next(iter(error.message_dict.items()))
        raise InvalidField(field=field, problem=f"is not usable: {problems[0]}") from None


def create_operator(*, email: str, password: str | None, actor: Ref, now: datetime) -> NewOperator:
    """Make somebody who may use the console; without a password one is generated.

    Raises InvalidField for an unusable address or a weak password, Conflict when the address is taken.
    """
    chosen = password or secrets.token_urlsafe(GENERATED_PASSWORD_BYTES)
    user = User(email=User.objects.normalize_email(email), is_staff=True, date_joined=now)
    user.set_password(chosen)
    try:
        user.clean_fields()
        validate_password(chosen, user)
    except ValidationError as error:
        raise InvalidField(field="operator", problem=f"is not usable: {' '.join(error.messages)}") from None
    try:
        with transaction.atomic(durable=True):
            user.save(force_insert=True)
            # Whoever may make operators knows them: their address needs no mail to be believed.
            EmailAddress.objects.create(user=user, email=user.email.lower(), verified=True, primary=True)
            audit.record("accounts.operator.created", actor=actor, subject=user.ref, now=now)
    except IntegrityError:
        raise Conflict(problem=f"There is already a user with the address {email}.") from None
    return NewOperator(user=user, password=None if password else chosen)


def set_password(*, user: User, password: str, actor: Ref, now: datetime) -> None:
    """Replace a password; ends every session of that user. Raises InvalidField when it is weak."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise InvalidField(field="password", problem=f"is not usable: {' '.join(error.messages)}") from None
    user.set_password(password)
    with transaction.atomic(durable=True):
        user.save(update_fields=["password"])
        audit.record("accounts.user.password_changed", actor=actor, subject=user.ref, now=now)


def set_active(*, user: User, is_active: bool, actor: Ref, now: datetime) -> None:
    """Let a user sign in, or stop them; a stopped user's sessions end with their next request."""
    user.is_active = is_active
    with transaction.atomic(durable=True):
        user.save(update_fields=["is_active"])
        name = "accounts.user.activated" if is_active else "accounts.user.deactivated"
        audit.record(name, actor=actor, subject=user.ref, now=now)


def add_member(*, account: Account, user: User, role: Role, actor: Ref, now: datetime) -> Membership:
    """Give `user` a role in `account`, replacing the one they had."""
    with transaction.atomic(durable=True):
        membership, _ = Membership.objects.update_or_create(
            account=account,
            user=user,
            defaults={"role": role},
            create_defaults={"role": role, "created_at": now},
        )
        audit.record(
            "accounts.member.added",
            actor=actor,
            subject=membership.ref,
            account_id=account.pk,
            data={"role": role.value},
            now=now,
        )
    return membership
