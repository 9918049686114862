"""Whether the settings for signing in can be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Info, register

from apps.accounts.breached import BreachedFileUnreadable
from apps.accounts.passwords import describe_breached_list, find_breached_list

HOW: Final = 'See deploy/docs/customers.md, "Known passwords".'


@register("darkroom")
def check_breached_passwords(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    """While the file cannot be read, known passwords are taken."""
    try:
        find_breached_list()
    except BreachedFileUnreadable as error:
        return [Error(str(error), hint=HOW, id="accounts.E001")]
    return []


@register("darkroom", deploy=True)
def name_breached_passwords(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    """Which list is in use, for whoever asks by `manage.py check --deploy`."""
    try:
        found = find_breached_list()
    except BreachedFileUnreadable:
        return []  # the check above tells
    return [Info(describe_breached_list(), hint=None if found else HOW, id="accounts.I001")]
