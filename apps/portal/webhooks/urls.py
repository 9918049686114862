"""Addresses of the page of webhooks, below /portal/."""

from __future__ import annotations

from django.urls import path, re_path

from apps.portal.webhooks import views

EVENT = r"(?P<event_id>[A-Za-z0-9_-]{1,40})"

urlpatterns = [
    path("webhooks", views.webhooks, name="webhooks"),
    path("webhooks/test", views.test, name="test_webhook"),
    path("webhooks/secret", views.secret, name="webhook_secret"),
    path("webhooks/resend-failed", views.resend_failed, name="resend_failed"),
    re_path(rf"^webhooks/deliveries/{EVENT}$", views.delivery_detail, name="delivery"),
    re_path(rf"^webhooks/deliveries/{EVENT}/resend$", views.resend, name="resend_delivery"),
]
