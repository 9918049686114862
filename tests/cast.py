"""The characters of the tests.

Ada owns the account `ada`, Ben is her colleague there, Cleo is a stranger with an account of her own
and must never see anything of theirs, Otto operates the appliance.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from apps.accounts.choices import Role
from apps.accounts.models import Account, User
from apps.accounts.services import add_member, create_operator
from apps.apikeys.models import ApiKey
from apps.audit.refs import SYSTEM
from apps.plans.models import Plan
from tests.factories import make_account, make_key, make_plan

OTTO_PASSWORD = "correct horse battery"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Everybody, with the keys they would type."""

    ada: User
    ben: User
    cleo: User
    otto: User
    account: Account
    """Ada's, of which Ben is a member."""
    strangers_account: Account
    """Cleo's."""
    key: ApiKey
    key_text: str
    """Plain text of `key`, of Ada's account."""
    strangers_key: ApiKey
    strangers_key_text: str
    plan: Plan
    """The default plan, which both accounts have: free, 100 calls a day."""


def assemble_cast(*, now: datetime) -> Cast:
    plan = make_plan()
    account = make_account("ada", now=now)
    strangers_account = make_account("cleo", now=now)
    ada, ben, cleo = (_user(name, now=now) for name in ("ada", "ben", "cleo"))
    otto = create_operator(email="otto@example.com", password=OTTO_PASSWORD, actor=SYSTEM, now=now).user
    add_member(account=account, user=ada, role=Role.OWNER, actor=SYSTEM, now=now)
    add_member(account=account, user=ben, role=Role.DEVELOPER, actor=SYSTEM, now=now)
    add_member(account=strangers_account, user=cleo, role=Role.OWNER, actor=SYSTEM, now=now)
    issued = make_key(account)
    strangers = make_key(strangers_account)
    return Cast(
        ada=ada,
        ben=ben,
        cleo=cleo,
        otto=otto,
        account=account,
        strangers_account=strangers_account,
        key=issued.key,
        key_text=issued.plaintext,
        strangers_key=strangers.key,
        strangers_key_text=strangers.plaintext,
        plan=plan,
    )


def _user(name: str, *, now: datetime) -> User:
    user = User(email=f"{name}@example.com", date_joined=now)
    # Hashing a password costs a quarter of a second, and of the cast only Otto signs in.
    user.set_unusable_password()
    user.save()
    return user
