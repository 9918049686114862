"""Addresses of the jobs log, below /portal/."""

from __future__ import annotations

from django.urls import path

from apps.portal.jobs import views

urlpatterns = [
    path("jobs", views.jobs, name="jobs"),
    path("jobs/<int:job_id>", views.job_detail, name="job"),
    path("jobs/<int:job_id>/row", views.job_row, name="job_row"),
    path("jobs/<int:job_id>/live", views.job_live, name="job_live"),
    path("jobs/<int:job_id>/retry", views.retry, name="retry_job"),
    path("jobs/<int:job_id>/cancel", views.cancel, name="cancel_job"),
    path("jobs/<int:job_id>/delete", views.delete, name="delete_job"),
]
