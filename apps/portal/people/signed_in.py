"""Pages for whoever has signed in, whether they belong to an account or not."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils.cache import add_never_cache_headers
from django.utils.http import urlencode

from apps.accounts.models import User
from apps.core.errors import DomainError
from apps.portal.access import SIGN_IN
from apps.portal.refusals.auditing import record_user_refused
from apps.portal.refusals.saying import error_text

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, User, P], HttpResponseBase]
Page = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def signed_in(view: View[P]) -> Page[P]:
    """A page `view(request, user, ...)`. A refusal becomes a message on the profile page, audited."""

    @wraps(view)
    def shown(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        user = request.user
        if not isinstance(user, User):
            return redirect(f"{SIGN_IN}?{urlencode({'next': request.get_full_path()})}")
        try:
            response = view(request, user, *args, **kwargs)
        except DomainError as error:
            record_user_refused(request, user=user, code=error.code)
            messages.error(request, error_text(error))
            response = redirect("portal:account")
        if isinstance(response, HttpResponse):
            add_never_cache_headers(response)
        return response

    return shown
