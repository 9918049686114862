"""Paths of webhooks, below /v1/webhooks."""

from __future__ import annotations

from django.urls import path

from apps.api.native import webhooks as views

urlpatterns = [
    path("webhooks/deliveries", views.DeliveryListView.as_view()),
    path("webhooks/deliveries/<str:event_id>", views.DeliveryView.as_view()),
    path("webhooks/deliveries/<str:event_id>/replay", views.ReplayView.as_view()),
    path("webhooks/replay", views.ReplayFailedView.as_view()),
    path("webhooks/endpoints", views.EndpointsView.as_view()),
    path("webhooks/secret", views.SecretView.as_view()),
    path("webhooks/test", views.TestView.as_view()),
]
