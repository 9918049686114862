"""How allauth works here: our services make users and accounts, and mail goes through the outbox."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.models import EmailAddress
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import translation

from apps.accounts import services
from apps.accounts.models import User
from apps.accounts.newcomers import settle_in
from apps.accounts.openings import find_sign_in_domain, get_sign_up_settings
from apps.accounts.pending import find_pending_invitation, forget_invitation
from apps.accounts.sign_up_models import SignInDomain
from apps.accounts.stages import APPROVAL_STAGE
from apps.audit import services as audit
from apps.core import clock
from apps.core.errors import DomainError
from apps.mails.services import queue_mail


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """Named by settings.ACCOUNT_ADAPTER; allauth makes one for each use."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Whether the form is shown at all; what it says of one address is the form's business."""
        rules = get_sign_up_settings()
        if rules.self_service and not rules.invitation_only:
            return True
        return find_pending_invitation(request, now=clock.now()) is not None

    def new_user(self, request: HttpRequest) -> User:
        """A user who was not here before; allauth fills in the rest."""
        return User(date_joined=clock.now(), language=_language())

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        """Save somebody who signs up, together with their account: both or neither."""
        super().save_user(request, user, form, commit=False)
        now = clock.now()
        invitation = find_pending_invitation(request, now=now)
        try:
            with transaction.atomic(durable=True):
                user.save()
                name = form.cleaned_data.get("account_name", "")
                settle_in(user=user, invitation=invitation, account_name=name, now=now)
        except DomainError as error:
            messages.error(request, str(error))
            raise ImmediateHttpResponse(redirect("account_signup")) from None
        if invitation is not None:
            # The token came by mail to this address: that is as good as a link to click.
            self.stash_verified_email(request, invitation.email)
            forget_invitation(request)
        return user

    def set_password(self, user: User, password: str) -> None:
        """A new password, with a line in the audit log."""
        services.set_password(user=user, password=password, actor=user.ref, now=clock.now())

    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        """An address was proven, of somebody new or a changed one: a line in the audit log."""
        if not super().confirm_email(request, email_address):
            return False
        user: User = email_address.user
        with transaction.atomic():
            audit.record(
                "accounts.user.email_confirmed",
                actor=user.ref,
                subject=user.ref,
                data={"email": email_address.email},
                now=clock.now(),
            )
        return True

    def pre_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse | None:
        """Stops somebody whose domain has a sign-in of its own and who came another way."""
        answer: HttpResponse | None = super().pre_login(request, user, **kwargs)
        if answer is not None or user.is_staff:
            return answer
        domain = _enforced_domain(user)
        if domain is None:
            return None
        arrival = (kwargs.get("signal_kwargs") or {}).get("sociallogin")
        if arrival is not None and arrival.provider.app.pk == domain.provider_id:
            return None
        text = translation.gettext("People at %(domain)s sign in with %(provider)s.")
        messages.error(request, text % {"domain": domain.domain, "provider": domain.provider.name})
        return redirect("account_login")

    def post_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse:
        """After the last step: a line in the audit log."""
        steps = [str(record["method"]) for record in get_authentication_records(request, user)]
        with transaction.atomic():
            audit.record(
                "accounts.user.signed_in",
                actor=user.ref,
                subject=user.ref,
                data={"by": steps},
                now=clock.now(),
            )
        answer: HttpResponse = super().post_login(request, user, **kwargs)
        return answer

    def forget_attempt(self) -> None:
        """Whoever got in has not failed: takes back what this adapter's `pre_authenticate` has counted."""
        self._rollback_login_failed_rl_usage()

    def get_login_stages(self) -> list[str]:
        """allauth's, and after them ours."""
        return [*super().get_login_stages(), APPROVAL_STAGE]

    def send_notification_mail(self, template_prefix: str, user: User, *args: Any, **options: Any) -> None:
        """allauth calls this where something about a user's security has changed.

        Of second factors nobody else hears, so that their line in the audit log is written here.
        """
        app, _, what = template_prefix.partition("/email/")
        if app == "mfa":
            with transaction.atomic():
                audit.record(
                    f"accounts.second_factor.{what}", actor=user.ref, subject=user.ref, now=clock.now()
                )
        super().send_notification_mail(template_prefix, user, *args, **options)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Queue one of allauth's mails. Its links are ours, whatever Host a request claims."""
        site = SimpleNamespace(name="Darkroom", domain=urlsplit(settings.BASE_URL).netloc)
        rebased = {
            name: _rebased(value) if name.endswith("_url") else value for name, value in context.items()
        }
        mail = self.render_mail(template_prefix, email, {**rebased, "email": email, "current_site": site})
        with transaction.atomic():
            queue_mail(
                to=[email],
                template="plain",
                context={"subject": mail.subject, "text": mail.body},
                key=f"{template_prefix}:{uuid4()}",
                account_id=None,
                language=_language(),
                now=clock.now(),
            )


def _enforced_domain(user: User) -> SignInDomain | None:
    """The domain whose sign-in alone is good for `user`: their address's, or their provider's."""
    domain = find_sign_in_domain(user.email)
    if domain is not None and domain.is_enforced:
        return domain
    # SocialAccount.provider is the provider_id of its app.
    known_by = SocialAccount.objects.filter(user=user).values("provider")
    enforced = SignInDomain.objects.select_related("provider").filter(is_enforced=True)
    return enforced.filter(provider__provider_id__in=known_by).order_by("pk").first()


def _language() -> str:
    known = {code for code, _ in settings.LANGUAGES}
    language = (translation.get_language() or "en").partition("-")[0]
    return language if language in known else "en"


def _rebased(url: str) -> str:
    parts = urlsplit(url)
    return f"{settings.BASE_URL}{parts.path}{'?' if parts.query else ''}{parts.query}"
