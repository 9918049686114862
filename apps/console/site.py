"""Names our admin site in INSTALLED_APPS. Imported before there are models, hence apart from it."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class ConsoleAdminConfig(AdminConfig):
    """Replaces `django.contrib.admin`."""

    default_site = "apps.console.admin_site.ConsoleSite"
