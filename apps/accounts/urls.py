"""Below accounts/, before allauth's own addresses of the same names: with our form, and our limits."""

from __future__ import annotations

from allauth.account.views import confirm_email
from allauth.socialaccount.providers.openid_connect.views import callback
from allauth.socialaccount.providers.saml.views import acs, finish_acs, metadata, sls
from django.urls import path, re_path

from apps.accounts.limits import limited
from apps.accounts.sso_views import oidc_login, saml_login

of_provider = limited("provider")
saml = "saml/<str:organization_slug>/"

urlpatterns = [
    path("oidc/<str:provider_id>/login/", of_provider(oidc_login), name="openid_connect_login"),
    path("oidc/<str:provider_id>/login/callback/", of_provider(callback), name="openid_connect_callback"),
    path(f"{saml}login/", of_provider(saml_login), name="saml_login"),
    path(f"{saml}acs/", of_provider(acs), name="saml_acs"),
    path(f"{saml}acs/finish/", of_provider(finish_acs), name="saml_finish_acs"),
    path(f"{saml}sls/", of_provider(sls), name="saml_sls"),
    path(f"{saml}metadata/", of_provider(metadata), name="saml_metadata"),
    re_path(
        r"^confirm-email/(?P<key>[-:\w]+)/$",
        limited("confirm_link")(confirm_email),
        name="account_confirm_email",
    ),
]
