"""People who sign in: with a password, a second factor, or their organisation's provider."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final

from allauth.account.forms import default_token_generator
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from allauth.mfa.webauthn.internal.auth import WebAuthn

from apps.accounts.choices import Role
from apps.accounts.models import Account, User
from apps.accounts.providers import SamlFacts, save_provider
from apps.accounts.services import add_member
from apps.audit.refs import SYSTEM
from tests.saml_idp import ENTITY_ID, SSO_URL, SamlIdp
from tests.soft_key import SoftKey

PASSWORD: Final = "violet tractor umbrella 77"


def make_member(account: Account, email: str, role: Role, now: datetime) -> User:
    """Somebody with a password and a confirmed address."""
    user = User(email=email, date_joined=now)
    user.set_password(PASSWORD)
    user.save()
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    add_member(account=account, user=user, role=role, actor=SYSTEM, now=now)
    return user


def give_second_factors(user: User) -> str:
    """An app, a key and recovery codes; returns one of the codes."""
    TOTP.activate(user, "JBSWY3DPEHPK3PXP")
    asked = {"publicKey": {"user": {"id": str(user.pk)}, "challenge": "c2NyZWVucw"}}
    WebAuthn.add(user, "Blue key", json.loads(SoftKey().register(asked)))
    codes: list[str] = RecoveryCodes.activate(user).get_unused_codes()
    return codes[0]


def make_provider(now: datetime) -> None:
    """An organisation whose people come by its own sign-in."""
    facts = SamlFacts(entity_id=ENTITY_ID, sso_url=SSO_URL, certificate=SamlIdp().certificate)
    save_provider(app=None, slug="acme", name="Acme", facts=facts, actor=SYSTEM, now=now)


def links_in_mails(user: User) -> dict[str, str]:
    """What the addresses are made of by which somebody confirms an address and chooses a new password."""
    fresh = EmailAddress.objects.create(user=user, email=f"also-{user.email}")
    return {
        "confirmation": EmailConfirmationHMAC(fresh).key,
        "reset": f"{user_pk_to_url_str(user)}-{default_token_generator.make_token(user)}",
    }
