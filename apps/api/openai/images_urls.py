"""Paths below images/, wherever the dialect is mounted; a slash at the end is as good as none.

Nothing redirects: a library would send the request again without its body.
"""

from __future__ import annotations

from django.urls import path, re_path

from apps.api.openai.fields import EDITS, GENERATIONS, VARIATIONS
from apps.api.openai.views import ImagesView, UnknownPathView

ENDPOINTS = {name: ImagesView.as_view(endpoint=name) for name in (GENERATIONS, EDITS, VARIATIONS)}

urlpatterns = [
    *(path(name, view) for name, view in ENDPOINTS.items()),
    *(re_path(rf"^{name}/$", view) for name, view in ENDPOINTS.items()),
    re_path(r"^", UnknownPathView.as_view()),
]
