"""Signing up and in, as operators set it: rules, invitations, providers, domains."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress, EmailConfirmation
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import admin, messages
from django.core.validators import validate_slug
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.accounts import invitations, openings, providers
from apps.accounts.models import User
from apps.accounts.passwords import describe_breached_list
from apps.accounts.sign_up_models import Invitation, SignInDomain, SignUpSettings
from apps.audit.admin_bases import ActsAdmin, actor_of
from apps.core import clock
from apps.core.errors import DomainError

# allauth registers pages that change and delete rows past the audit log.
for model in (
    EmailAddress,
    EmailConfirmation,
    Authenticator,
    SocialAccount,
    SocialApp,
    SocialToken,
    UserSession,
):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


@admin.register(SignUpSettings)
class SignUpSettingsAdmin(ActsAdmin[SignUpSettings]):
    """One row: its form stands where others have their list."""

    fields = [
        "self_service",
        "invitation_only",
        "approval_required",
        "allowed_domains",
        "operators_need_second_factor",
        "known_passwords",
    ]
    readonly_fields = ["known_passwords"]

    @admin.display(description="Known passwords")
    def known_passwords(self, rules: SignUpSettings) -> str:
        return describe_breached_list()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> SignUpSettings | None:
        return openings.get_sign_up_settings() if object_id == "1" else None

    def changelist_view(
        self,
        request: HttpRequest,
        extra_context: dict[str, Any] | None = None,  # Any: Django's own type
    ) -> HttpResponse:
        return self.changeform_view(request, "1", extra_context=extra_context)

    def save_model(self, request: HttpRequest, obj: SignUpSettings, form: Any, change: bool) -> None:
        openings.change_sign_up_settings(changed=obj, actor=actor_of(request), now=clock.now())


@admin.register(Invitation)
class InvitationAdmin(ActsAdmin[Invitation]):
    """Adding one lets somebody open an account whatever the rules are; teams invite in the portal."""

    list_display = ["email", "account", "role", "created_at", "expires_at", "accepted_at", "revoked_at"]
    list_select_related = ["account"]
    search_fields = ["email"]
    fields = ["email"]
    actions = ["send_again", "revoke"]

    def has_change_permission(self, request: HttpRequest, obj: Invitation | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Invitation, form: Any, change: bool) -> None:
        assert isinstance(request.user, User)  # the console is for operators
        obj.pk = invitations.invite_customer(email=obj.email, by=request.user, now=clock.now()).pk

    @admin.action(description="Send again", permissions=["view"])
    def send_again(self, request: HttpRequest, chosen: QuerySet[Invitation]) -> None:
        for invitation in chosen:
            try:
                invitations.send_again(invitation=invitation, actor=actor_of(request), now=clock.now())
            except DomainError as refusal:
                self.message_user(request, f"{invitation.email}: {refusal}", messages.ERROR)

    @admin.action(description="Take back", permissions=["view"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[Invitation]) -> None:
        for invitation in chosen:
            try:
                invitations.revoke(invitation=invitation, actor=actor_of(request), now=clock.now())
            except DomainError as refusal:
                self.message_user(request, f"{invitation.email}: {refusal}", messages.ERROR)


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg]  # takes no parameter at run time
    """One provider: the fields of its kind, the others stay empty."""

    kind = forms.ChoiceField(choices=[(providers.OIDC, "OpenID Connect"), (providers.SAML, "SAML 2.0")])
    slug = forms.CharField(
        label="Short name",
        max_length=50,
        validators=[validate_slug],
        help_text="Part of the addresses that the provider is told; cannot be changed later.",
    )
    issuer = forms.URLField(
        required=False,
        assume_scheme="https",
        help_text="OpenID Connect: the issuer's address, for example https://login.example.com/realms/staff.",
    )
    client_id = forms.CharField(required=False, max_length=191, help_text="OpenID Connect.")
    client_secret = forms.CharField(
        required=False,
        max_length=191,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="OpenID Connect. Leave empty to keep the present one.",
    )
    metadata = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 6}),
        help_text="SAML: the provider's metadata document; then the three fields below are read from it.",
    )
    entity_id = forms.CharField(required=False, max_length=200, help_text="SAML: the provider's entity id.")
    sso_url = forms.URLField(
        label="Sign-in address", required=False, assume_scheme="https", help_text="SAML, by redirect."
    )
    certificate = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 6}),
        help_text="SAML: the signing certificate, PEM.",
    )

    class Meta:
        model = SocialApp
        fields = ["name"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance.pk:
            return
        app = self.instance
        idp = app.settings.get("idp", {})
        present = {
            "kind": app.provider,
            "slug": providers.slug_of(app),
            "issuer": app.settings.get("server_url", ""),
            "client_id": app.client_id if app.provider == providers.OIDC else "",
            "entity_id": idp.get("entity_id", ""),
            "sso_url": idp.get("sso_url", ""),
            "certificate": idp.get("x509cert", ""),
        }
        for name, value in present.items():
            self.fields[name].initial = value
        if app.provider == providers.OIDC:
            state = "set" if providers.has_secret(app) else "not set"
            self.fields["client_secret"].help_text += f" Now: {state}."
        for name in ("kind", "slug"):
            self.fields[name].disabled = True

    def clean(self) -> dict[str, Any]:  # Any: Django's own type
        data: dict[str, Any] = super().clean() or self.cleaned_data
        needed = ("issuer", "client_id") if data.get("kind") == providers.OIDC else ("entity_id", "sso_url")
        if data.get("kind") == providers.SAML and data.get("metadata"):
            return data
        for name in needed:
            if not data.get(name):
                self.add_error(name, "This kind of provider needs it.")
        return data

    def facts(self) -> providers.OidcFacts | providers.SamlFacts:
        """What was typed. Raises InvalidField for metadata that is none."""
        data = self.cleaned_data
        if data["kind"] == providers.OIDC:
            return providers.OidcFacts(
                issuer=data["issuer"], client_id=data["client_id"], client_secret=data["client_secret"]
            )
        if data["metadata"]:
            return providers.parse_saml_metadata(data["metadata"])
        return providers.SamlFacts(
            entity_id=data["entity_id"], sso_url=data["sso_url"], certificate=data["certificate"]
        )


@admin.register(SocialApp)
class ProviderAdmin(ActsAdmin[SocialApp]):
    form = ProviderForm
    list_display = ["name", "provider"]
    readonly_fields = ["for_the_provider"]

    def get_fields(
        self, request: HttpRequest, obj: SocialApp | None = None
    ) -> list[Any]:  # Any: Django's own
        typed = [*ProviderForm.base_fields]
        ordered = ["kind", "name", *(name for name in typed if name not in ("kind", "name"))]
        return [*ordered, "for_the_provider"] if obj is not None else ordered

    @admin.display(description="What the provider asks for")
    def for_the_provider(self, app: SocialApp) -> SafeString:
        slug = providers.slug_of(app)
        if app.provider == providers.OIDC:
            return format_html("Redirect URI: <code>{}</code>", providers.oidc_callback_url(slug))
        return format_html(
            "Metadata and entity id: <code>{}</code><br>Assertion consumer service (ACS): <code>{}</code>",
            providers.saml_metadata_url(slug),
            providers.saml_acs_url(slug),
        )

    def save_model(self, request: HttpRequest, obj: SocialApp, form: Any, change: bool) -> None:
        present = SocialApp.objects.get(pk=obj.pk) if change else None
        obj.pk = providers.save_provider(
            app=present,
            slug=form.cleaned_data["slug"],
            name=form.cleaned_data["name"],
            facts=form.facts(),
            actor=actor_of(request),
            now=clock.now(),
        ).pk


@admin.register(SignInDomain)
class SignInDomainAdmin(ActsAdmin[SignInDomain]):
    list_display = ["domain", "provider", "is_enforced", "account", "default_role"]
    list_select_related = ["provider", "account"]
    fields = ["domain", "provider", "is_enforced", "account", "default_role"]
    actions = ["end"]

    def save_model(self, request: HttpRequest, obj: SignInDomain, form: Any, change: bool) -> None:
        providers.save_domain(domain=obj, actor=actor_of(request), now=clock.now())

    @admin.action(description="End the agreement", permissions=["change"])
    def end(self, request: HttpRequest, chosen: QuerySet[SignInDomain]) -> None:
        for domain in chosen:
            providers.delete_domain(domain=domain, actor=actor_of(request), now=clock.now())
