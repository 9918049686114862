"""Where a sign-in by provider begins: by a form of ours alone, and by a page that leads on.

Without the form's token a foreign page could sign its visitors in as somebody else, who then sees what they
do. The page is there because our policy lets forms go nowhere else, and browsers count a form that is
answered by a redirect as one that goes there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from allauth.account.internal.decorators import login_not_required
from allauth.socialaccount.providers.openid_connect.views import login as begin_oidc
from allauth.socialaccount.providers.saml.views import login as begin_saml
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

View = Callable[..., HttpResponse]
REDIRECT: Final = 302


def _begin_by_form(view: View) -> View:
    """`view` asks for a click when it is got; what it answers to that click becomes a page with a way on."""

    # allauth takes any method but GET for the click, also HEAD, which carries no token.
    @require_http_methods(["GET", "POST"])
    @wraps(view)
    def begin(request: HttpRequest, **names: Any) -> HttpResponse:
        # Any: what the address names, as allauth's views take it.
        answer = view(request, **names)
        if answer.status_code != REDIRECT:
            return answer
        return render(request, "socialaccount/leaving.html", {"address": answer["Location"]})

    marked: View = login_not_required(begin)
    return marked


oidc_login = _begin_by_form(begin_oidc)
saml_login = _begin_by_form(begin_saml)
