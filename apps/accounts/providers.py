"""Sign-in providers of organisations, rows of allauth's: made by operators, and checked before use."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from allauth.socialaccount.models import SocialApp
from cryptography import x509
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.urls import reverse
from onelogin.saml2.idp_metadata_parser import OneLogin_Saml2_IdPMetadataParser

from apps.accounts.hosts import is_this_machine
from apps.accounts.sign_up_models import SignInDomain
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.core.errors import Conflict, InvalidField
from apps.core.sealing import seal, unseal

OIDC: Final = "openid_connect"
SAML: Final = "saml"
DISCOVERY: Final = "/.well-known/openid-configuration"
SEALED_UNDER: Final = "sealed_secret"
"""Key of a provider's settings; allauth's own column is too short for sealed secrets and stays empty."""
SEAL_PURPOSE: Final = "secret of a sign-in provider"


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcFacts:
    """What an OpenID Connect provider gives the operator."""

    issuer: str
    """Its address; the discovery document is found below it."""
    client_id: str
    client_secret: str = field(repr=False)
    """Empty keeps the present one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamlFacts:
    """What a SAML identity provider gives the operator."""

    entity_id: str
    sso_url: str
    certificate: str
    """PEM or its base64 body: what assertions are signed with."""


def parse_saml_metadata(text: str) -> SamlFacts:
    """The facts in a provider's metadata document. Raises InvalidField."""
    try:
        idp = OneLogin_Saml2_IdPMetadataParser.parse(text).get("idp", {})
        certificate = idp.get("x509cert") or idp["x509certMulti"]["signing"][0]
        return SamlFacts(
            entity_id=idp["entityId"], sso_url=idp["singleSignOnService"]["url"], certificate=certificate
        )
    except Exception as error:  # the parser raises whatever its XML library does
        raise InvalidField(
            field="metadata", problem=f"is not the metadata of an identity provider ({type(error).__name__})"
        ) from error


def save_provider(
    *,
    app: SocialApp | None,
    slug: str,
    name: str,
    facts: OidcFacts | SamlFacts,
    actor: Ref,
    now: datetime,
) -> SocialApp:
    """Make or change a provider; `slug` is part of its addresses. Raises InvalidField and Conflict."""
    _require_free_name("slug", slug)
    row = app or SocialApp()
    row.name = name
    if isinstance(facts, OidcFacts):
        _fill_oidc(row, slug, facts)
    else:
        _fill_saml(row, slug, facts)
    with transaction.atomic(durable=True):
        others = SocialApp.objects.exclude(pk=row.pk)
        # People are known by their provider's provider_id, and allauth finds providers by either name.
        names = {slug, row.provider_id}
        if others.filter(Q(provider_id__in=names) | Q(client_id__in=names)).exists():
            raise Conflict(
                problem=f"There is already a provider with the short name {slug!r} or with this entity id."
            )
        row.save()
        what = "changed" if app is not None else "created"
        audit.record(
            f"accounts.provider.{what}",
            actor=actor,
            subject=ref_of(row),
            data={"kind": row.provider, "name": name},
            now=now,
        )
    return row


def _fill_oidc(row: SocialApp, slug: str, facts: OidcFacts) -> None:
    issuer = facts.issuer.removesuffix(DISCOVERY).rstrip("/")
    _require_safe_address("issuer", issuer)
    sealed = seal(facts.client_secret, purpose=SEAL_PURPOSE) or row.settings.get(SEALED_UNDER, "")
    if not sealed:
        raise InvalidField(field="client_secret", problem="is missing")
    row.provider, row.provider_id, row.client_id = OIDC, slug, facts.client_id
    row.secret = ""
    row.settings = {"server_url": issuer, "oauth_pkce_enabled": True, SEALED_UNDER: sealed}


def _fill_saml(row: SocialApp, slug: str, facts: SamlFacts) -> None:
    _require_free_name("entity_id", facts.entity_id)
    _require_safe_address("sso_url", facts.sso_url)
    certificate = _clean_certificate(facts.certificate)
    row.provider, row.provider_id, row.client_id = SAML, facts.entity_id, slug
    row.settings = {
        "idp": {"entity_id": facts.entity_id, "sso_url": facts.sso_url, "x509cert": certificate},
        "sp": {"entity_id": saml_metadata_url(slug)},
        # Without a signature over the assertion itself, a signed envelope could be filled anew.
        # Appliances have names such as http://darkroom on their own network.
        "advanced": {
            "want_assertion_signed": True,
            "reject_idp_initiated_sso": True,
            "strict": True,
            "allow_single_label_domains": True,
        },
    }


def _require_free_name(field_name: str, name: str) -> None:
    """allauth's own names for kinds of providers would stand for every provider of that kind."""
    if name.lower() in (OIDC, SAML):
        raise InvalidField(field=field_name, problem=f"must not be {name!r}, which is a kind of provider")


def _clean_certificate(text: str) -> str:
    body = "".join(line for line in text.strip().splitlines() if not line.startswith("-----"))
    body = "".join(body.split())
    pem = f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"
    try:
        x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        raise InvalidField(field="certificate", problem="is not an X.509 certificate in PEM form") from None
    return body


def _require_safe_address(field_name: str, address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname and is_this_machine(parts.hostname):
        return
    raise InvalidField(field=field_name, problem=f"must be an https address, not {address[:200]!r}")


def has_secret(app: SocialApp) -> bool:
    """Whether a secret is kept for this provider, whether or not it can still be opened."""
    return bool(app.settings.get(SEALED_UNDER))


def secret_of(app: SocialApp) -> str:
    """What this provider knows us by; "" for none. Raises SealBroken."""
    return unseal(app.settings.get(SEALED_UNDER, ""), purpose=SEAL_PURPOSE)


def slug_of(app: SocialApp) -> str:
    """What names a provider in addresses."""
    return str(app.provider_id if app.provider == OIDC else app.client_id)


def ref_of(app: SocialApp) -> Ref:
    """How the audit log names a provider."""
    return Ref(kind="provider", id=app.pk, label=app.name)


def oidc_callback_url(slug: str) -> str:
    """Where an OpenID Connect provider sends people back to."""
    return settings.BASE_URL + reverse("openid_connect_callback", kwargs={"provider_id": slug})


def saml_metadata_url(slug: str) -> str:
    """Where a SAML provider reads about us; our entity id as well."""
    return settings.BASE_URL + reverse("saml_metadata", args=[slug])


def saml_acs_url(slug: str) -> str:
    """Where a SAML provider sends people back to: the assertion consumer service."""
    return settings.BASE_URL + reverse("saml_acs", args=[slug])


def save_domain(*, domain: SignInDomain, actor: Ref, now: datetime) -> SignInDomain:
    """Make or change what is agreed for an e-mail domain. Raises InvalidField and Conflict."""
    if domain.account is not None and domain.account.closed_at is not None:
        raise InvalidField(field="account", problem="was closed")
    with transaction.atomic(durable=True):
        if SignInDomain.objects.filter(domain=domain.domain).exclude(pk=domain.pk).exists():
            raise Conflict(problem=f"There is already a rule for {domain.domain}.")
        domain.save()
        audit.record(
            "accounts.sign_in_domain.saved",
            actor=actor,
            subject=domain.ref,
            account_id=domain.account_id,
            data={"provider": domain.provider.name, "is_enforced": domain.is_enforced},
            now=now,
        )
    return domain


def delete_domain(*, domain: SignInDomain, actor: Ref, now: datetime) -> None:
    """End an agreement: the domain's people come by the rules for all, with a password or a link by mail."""
    with transaction.atomic(durable=True):
        audit.record("accounts.sign_in_domain.deleted", actor=actor, subject=domain.ref, now=now)
        SignInDomain.objects.filter(pk=domain.pk).delete()
