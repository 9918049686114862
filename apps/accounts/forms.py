"""Forms of allauth's that know the operator's rules: signing up, and changing one's address."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import AddEmailForm, SignupForm
from allauth.account.internal.flows.signup import prevent_enumeration
from allauth.core import context
from django import forms
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import User
from apps.accounts.openings import domain_of, find_sign_in_domain, require_may_sign_up
from apps.accounts.pending import find_pending_invitation
from apps.core import clock
from apps.core.errors import DomainError


class AddressForm(AddEmailForm):  # type: ignore[misc]  # allauth ships no types
    """A new address for somebody: not one that leads out of the sign-in of their organisation."""

    def clean_email(self) -> str:
        email = str(super().clean_email())
        domain = find_sign_in_domain(self.user.email)
        is_bound = domain is not None and domain.is_enforced and not self.user.is_staff
        if domain is not None and is_bound and domain_of(email) != domain.domain:
            raise forms.ValidationError(
                _("People at %(domain)s keep an address of that domain.") % {"domain": domain.domain},
                code="address_elsewhere",
            )
        return email


class SignUpForm(SignupForm):  # type: ignore[misc]  # allauth ships no types
    """What somebody new types."""

    account_name = forms.CharField(
        label=_("Name of your account"),
        max_length=100,
        required=False,
        help_text=_("Your company's or your own; you can change it later."),
        widget=forms.TextInput(attrs={"autocomplete": "organization"}),
    )
    field_order = ["email", "password1", "account_name"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.invitation = find_pending_invitation(context.request, now=clock.now())
        if self.invitation is not None:
            self.fields["email"].initial = self.invitation.email
            self.fields["email"].widget.attrs["readonly"] = True
            if self.invitation.account is not None:
                del self.fields["account_name"]

    def clean_email(self) -> str:
        email = str(super().clean_email())
        if self.invitation is not None and self.invitation.email.lower() != email:
            raise forms.ValidationError(_("This invitation is for another address."), code="not_invited")
        domain = find_sign_in_domain(email)
        if domain is not None and domain.is_enforced:
            raise forms.ValidationError(
                _("People at %(domain)s sign in with %(provider)s.")
                % {"domain": domain.domain, "provider": domain.provider.name},
                code="sign_in_elsewhere",
            )
        try:
            require_may_sign_up(email=email, is_invited=self.invitation is not None)
        except DomainError as error:
            raise forms.ValidationError(str(error), code=error.code) from None
        return email

    def try_save(self, request: HttpRequest) -> tuple[User | None, HttpResponse | None]:
        """As allauth's, also when somebody takes the address at this very moment."""
        try:
            saved: tuple[User | None, HttpResponse | None] = super().try_save(request)
        except IntegrityError:
            return None, prevent_enumeration(request, email=self.cleaned_data["email"])
        return saved
