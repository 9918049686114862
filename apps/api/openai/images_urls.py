"""Paths below images/, wherever the dialect is mounted. None ends in a slash, and none redirects."""

from __future__ import annotations

from django.urls import path, re_path

from apps.api.openai.fields import EDITS, GENERATIONS, VARIATIONS
from apps.api.openai.views import ImagesView, UnknownPathView

urlpatterns = [
    *(path(name, ImagesView.as_view(endpoint=name)) for name in (GENERATIONS, EDITS, VARIATIONS)),
    re_path(r"^", UnknownPathView.as_view()),
]
