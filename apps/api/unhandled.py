"""Errors that reach no view: each in the shape of whoever asked, plain HTML for browsers."""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import defaults

from apps.api.a1111 import errors as a1111
from apps.api.modelslab import errors as modelslab
from apps.api.native import errors as native
from apps.api.openai import errors as openai

MODELSLAB_PREFIX = "/api/"
NATIVE_PREFIX = "/v1/"
A1111_PREFIXES = ("/sdapi/", "/internal/", "/controlnet/")
# The first lies below the native prefix, so these are asked first.
OPENAI_PREFIXES = ("/v1/images/", "/openai/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Django's handler400."""
    if request.path.startswith(MODELSLAB_PREFIX):
        return modelslab.bad_request()
    if request.path.startswith(OPENAI_PREFIXES):
        return openai.bad_request()
    if request.path.startswith(A1111_PREFIXES):
        return a1111.bad_request()
    if request.path.startswith(NATIVE_PREFIX):
        return native.bad_request()
    return defaults.bad_request(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Django's handler404."""
    if request.path.startswith(MODELSLAB_PREFIX):
        return modelslab.unknown_path(request.path)
    if request.path.startswith(OPENAI_PREFIXES):
        return openai.unknown_path(request.path, request.method or "")
    if request.path.startswith(A1111_PREFIXES):
        return a1111.unknown_path()
    if request.path.startswith(NATIVE_PREFIX):
        return native.unknown_path(request.path)
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Django's handler500; the traceback is in the log under the request's id."""
    if request.path.startswith(MODELSLAB_PREFIX):
        return modelslab.internal_error()
    if request.path.startswith(OPENAI_PREFIXES):
        return openai.internal_error()
    if request.path.startswith(A1111_PREFIXES):
        return a1111.internal_error()
    if request.path.startswith(NATIVE_PREFIX):
        return native.internal_error()
    return defaults.server_error(request)
