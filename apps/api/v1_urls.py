"""Paths below /v1/, where two dialects live: OpenAI's, and the native API with all the rest.

`images/` is OpenAI's alone. `models` is in both: OpenAI's libraries get their form, everybody else ours.
Likewise for what is not there, such as `chat/completions`: a library can then tell its user.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import include, path, re_path, resolve
from django.views.decorators.csrf import csrf_exempt

from apps.api.native import urls as native
from apps.api.openai.models_views import ModelListView, ModelView
from apps.api.openai.recognition import is_openai_client
from apps.api.openai.views import UnknownPathView
from apps.api.reference import views as reference


def by_client(theirs: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """`theirs` for OpenAI's libraries, for everybody else the native API's view of the same path."""

    @csrf_exempt
    def chosen(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if is_openai_client(request):
            return theirs(request, *args, **kwargs)
        ours = resolve(request.path_info.removeprefix("/v1"), urlconf=native.__name__)
        response: HttpResponseBase = ours.func(request, *ours.args, **ours.kwargs)
        return response

    return chosen


urlpatterns = [
    path("openapi.json", reference.openapi),
    path("images/", include("apps.api.openai.images_urls")),
    path("models", by_client(ModelListView.as_view())),
    path("models/<str:name>", by_client(ModelView.as_view())),
    re_path(r"^models/$", by_client(ModelListView.as_view())),
    # As in the dialect's own paths: names with slashes. The native API has other paths there.
    re_path(r"^models/(?P<name>.+?)/?$", by_client(ModelView.as_view())),
    path("", include(native.endpoints)),
    re_path(r"^", by_client(UnknownPathView.as_view())),
]
