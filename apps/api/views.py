"""What the views of all dialects share: DRF without its guessing, and the headers every answer carries."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from apps.api.bodies import JsonObject
from apps.api.callers import identify_caller
from apps.api.quota_headers import quota_headers
from apps.apikeys.choices import Scope
from apps.apikeys.models import ApiKey
from apps.apikeys.services import require_scope
from apps.core import clock


class OneRepresentation(BaseContentNegotiation):
    """There is one representation of everything: no `Accept` header leads to a 406."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> None:
        # Nothing here is parsed by DRF.
        return None

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return next(iter(renderers)), "application/json"


class DialectView(APIView):
    """Base of every endpoint. Keys arrive in bodies too, so each view asks for its caller itself."""

    content_negotiation_class = OneRepresentation
    # Without OPTIONS: DRF would answer it with a description of itself.
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]

    caller: ApiKey | None = None
    """Whose request this is, once `identify` has found out."""
    asked_scope: Scope | None = None
    """What the caller needed for it."""

    def identify(self, request: HttpRequest, fields: JsonObject, scope: Scope) -> ApiKey:
        """The caller's key. Raises ApiKeyMissing, ApiKeyInvalid, ScopeMissing."""
        key = self.find_caller(request, fields)
        self.asked_scope = scope
        require_scope(key=key, scope=scope)
        return key

    def find_caller(self, request: HttpRequest, fields: JsonObject) -> ApiKey:
        """Whose request this is, whatever their scopes. Raises ApiKeyMissing, ApiKeyInvalid."""
        self.caller = identify_caller(request, fields, now=clock.now())
        return self.caller

    # Our views return Django's own responses, which DRF passes through; its stubs know Response alone.
    def finalize_response(  # type: ignore[override]
        self, request: Request, response: HttpResponseBase, *args: object, **kwargs: object
    ) -> HttpResponseBase:
        response.headers.setdefault("Cache-Control", "no-store")
        if self.caller is not None and settings.RUNTIME == "fake":
            # Nobody may take pictures of the load-test runtime for a model's.
            response.headers["X-Darkroom-Runtime"] = "fake"
        self._say_quota(response)
        return response

    def _say_quota(self, response: HttpResponseBase) -> None:
        """What asks for images is told what is left of the quota, refused or not, in every dialect alike."""
        if self.caller is None or self.asked_scope != Scope.IMAGES_GENERATE:
            return
        # A server error may be the database's, which would be asked again here.
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or "RateLimit" in response.headers:
            return
        for name, value in quota_headers(self.caller.account, now=clock.now()).items():
            # A refusal that time cures has said when to come again.
            response.headers.setdefault(name, value)
