"""Sign-in through an organisation's own provider (OpenID Connect, SAML), as the operator has agreed with it.

A provider's word about an address counts only for the domains that the operator has given to that provider
(`SignInDomain`). For all other addresses it is a claim: the address is verified by mail, and an account that
has it is not touched.
"""

from __future__ import annotations

import logging
from typing import Any, NoReturn

from allauth.account.adapter import get_adapter as get_account_adapter
from allauth.account.models import EmailAddress
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.internal.flows.email_authentication import wipe_password
from allauth.socialaccount.providers.base import AuthProcess
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from apps.accounts.errors import SeatsTaken, SignUpRefused
from apps.accounts.models import User
from apps.accounts.newcomers import join_by_domain, settle_in
from apps.accounts.openings import domain_of, find_sign_in_domain, require_may_sign_up
from apps.accounts.pending import find_pending_invitation, forget_invitation
from apps.accounts.provider_requests import ProviderSession
from apps.accounts.providers import secret_of
from apps.accounts.sign_up_models import SignInDomain
from apps.core import clock
from apps.core.errors import DomainError
from apps.core.sealing import SealBroken

logger = logging.getLogger(__name__)


class SsoAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """Named by settings.SOCIALACCOUNT_ADAPTER."""

    def get_requests_session(self) -> ProviderSession:
        """What allauth asks providers with."""
        return ProviderSession()

    def list_apps(
        self, request: HttpRequest, provider: str | None = None, client_id: str | None = None
    ) -> list[Any]:
        """The providers as allauth uses them: with their secrets, which are sealed in the database.

        These rows are for reading: saved, one would hold its secret in plain text.
        """
        apps: list[Any] = super().list_apps(request, provider=provider, client_id=client_id)
        for app in apps:
            try:
                app.secret = secret_of(app)
            except SealBroken as error:
                # The other ways in still work, and so does the page that lists them.
                logger.error("sign-in provider %s: %s", app.name, error)
        return apps

    def is_email_verified(self, provider: Any, email: str) -> bool:
        """Whether the provider owns the address's domain here."""
        return _vouches(provider, email) is not None

    def can_authenticate_by_email(self, login: Any, email: str) -> bool:
        """Whether a user who is here already may be signed in by this provider's word.

        Never an operator: no customer's provider shall open the console.
        """
        is_operator = User.objects.filter(email__iexact=email, is_staff=True).exists()
        return not is_operator and _vouches(login.provider, email) is not None

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Takes the provider's word for its own domains alone, whatever it says of others.

        Nobody ties a provider to their user by hand: a mere link would do that to whoever is signed in and
        follows it, and let the provider's person in as them from then on.
        """
        if sociallogin.state.get("process") == AuthProcess.CONNECT:
            _turn_away(
                request, _("A sign-in is not connected here. Sign out, and sign in with your organisation.")
            )
        for address in sociallogin.email_addresses:
            address.email = address.email.lower()
            address.verified = _vouches(sociallogin.provider, address.email) is not None
        if sociallogin.is_existing:
            _settle_vouched(request, sociallogin)

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        """People of a provider's own domain come in by that agreement, others by the rules for all."""
        email = _email_of(sociallogin)
        domain = _vouches(sociallogin.provider, email)
        if domain is not None:
            # Its people were to come into that one account, not into others of their own.
            return domain.account is None or domain.account.closed_at is None
        invitation = find_pending_invitation(request, now=clock.now())
        is_invited = invitation is not None and invitation.email.lower() == email.lower()
        try:
            require_may_sign_up(email=email, is_invited=is_invited)
        except SignUpRefused:
            return False
        return True

    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> User:
        """Save somebody who comes for the first time, together with their place: both or neither."""
        user: User = sociallogin.user
        user.set_unusable_password()
        if form is not None:
            get_account_adapter().save_user(request, user, form)
            sociallogin.save(request)
            return user
        now = clock.now()
        invitation = find_pending_invitation(request, now=now)
        if invitation is not None and invitation.email.lower() != user.email.lower():
            invitation = None
        try:
            with transaction.atomic(durable=True):
                sociallogin.save(request)
                domain = _vouches(sociallogin.provider, user.email)
                joined = domain and join_by_domain(user=user, domain=domain, now=now)
                if joined is None or invitation is not None:
                    settle_in(user=user, invitation=invitation, account_name="", now=now)
        except DomainError as error:
            _turn_away(request, str(error))
        forget_invitation(request)
        return user


def _turn_away(request: HttpRequest, text: str) -> NoReturn:
    """Ends the sign-in with a message on the page where it began."""
    messages.error(request, text)
    raise ImmediateHttpResponse(redirect("account_login"))


def _email_of(sociallogin: Any) -> str:
    addresses = sociallogin.email_addresses
    return addresses[0].email if addresses else sociallogin.user.email or ""


def _vouches(provider: Any, email: str) -> SignInDomain | None:
    """The domain of `email` if it is this provider's; None otherwise."""
    domain = find_sign_in_domain(email) if domain_of(email) else None
    return domain if domain is not None and provider.app and domain.provider_id == provider.app.pk else None


def _settle_vouched(request: HttpRequest, sociallogin: Any) -> None:
    user: User = sociallogin.user
    email = user.email.lower()
    domain = _vouches(sociallogin.provider, email)
    if domain is None or email not in {address.email for address in sociallogin.email_addresses}:
        return
    is_proven = EmailAddress.objects.filter(user=user, email=email, verified=True).exists()
    # Whoever signed up with an address and did not prove it may be somebody else, who knows the password.
    wipe_password(request, user, email)
    with transaction.atomic(durable=True):
        _believe(user, email)
        # Somebody whom a team has removed comes back by an invitation only.
        if is_proven and user.memberships.exists():
            return
        try:
            join_by_domain(user=user, domain=domain, now=clock.now())
        except SeatsTaken as error:
            # They are who they say, and may have accounts of their own.
            messages.warning(request, str(error))


def _believe(user: User, email: str) -> None:
    """The provider's word is as good as a mail that was answered."""
    is_first = not EmailAddress.objects.filter(user=user).exists()
    EmailAddress.objects.update_or_create(
        user=user,
        email=email,
        defaults={"verified": True},
        create_defaults={"verified": True, "primary": is_first},
    )
