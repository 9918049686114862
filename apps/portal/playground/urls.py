"""Addresses of the playground, below /portal/."""

from __future__ import annotations

from django.urls import path

from apps.portal.playground import views

urlpatterns = [
    path("playground", views.playground, name="playground"),
    path("playground/jobs/<int:job_id>", views.settings_of_job, name="playground_job"),
    path("playground/picture", views.settings_of_picture, name="playground_picture"),
]
