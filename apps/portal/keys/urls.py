"""Addresses of the page of keys, below /portal/."""

from __future__ import annotations

from django.urls import path, re_path

from apps.portal.keys import views

PREFIX = r"(?P<prefix>[a-z0-9]{8})"

urlpatterns = [
    path("keys", views.keys, name="keys"),
    path("keys/new", views.new_key, name="new_key"),
    re_path(rf"^keys/{PREFIX}$", views.key_detail, name="key"),
    re_path(rf"^keys/{PREFIX}/edit$", views.edit, name="edit_key"),
    re_path(rf"^keys/{PREFIX}/rotate$", views.rotate, name="rotate_key"),
    re_path(rf"^keys/{PREFIX}/revoke$", views.revoke, name="revoke_key"),
]
