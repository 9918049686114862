"""What every page of the portal shows around its content. Read only when a template asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from django.conf import settings
from django.http import HttpRequest
from django.utils import translation

from apps.accounts.current import current_membership
from apps.accounts.models import Membership
from apps.plans.selectors import list_offered
from apps.portal.navigation import ShownSection, menu_for
from apps.portal.self_service import is_open

DARK, LIGHT, SYSTEM = "dark", "light", "system"
THEME_COOKIE = "darkroom_theme"


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One language the portal speaks."""

    code: str
    name: str
    """In the language itself."""
    is_current: bool


class Portal:
    """Everything by name; nothing is looked up twice in one request."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @cached_property
    def membership(self) -> Membership | None:
        """Whose account is shown; None for who is not signed in or belongs to none."""
        if not self._request.user.is_authenticated:
            return None
        return current_membership(self._request)

    @cached_property
    def memberships(self) -> list[Membership]:
        """Every account the user may switch to, by name."""
        if not self._request.user.is_authenticated:
            return []
        mine = Membership.objects.filter(user=self._request.user, account__is_active=True)
        return list(mine.select_related("account").order_by("account__name", "pk"))

    @cached_property
    def menu(self) -> list[ShownSection]:
        """Empty for who is not signed in."""
        return menu_for(self.membership, self._request) if self.membership else []

    @cached_property
    def languages(self) -> list[Language]:
        """Every language that can be chosen."""
        current = self.language
        return [
            Language(code=code, name=name, is_current=code == current) for code, name in settings.LANGUAGES
        ]

    @cached_property
    def has_self_service(self) -> bool:
        """Whether anybody may open an account: there are prices to show, then."""
        return is_open() and bool(list_offered())

    @property
    def language(self) -> str:
        """The code of the page's language, for `<html lang>`."""
        return translation.get_language() or settings.LANGUAGE_CODE

    @property
    def theme(self) -> str:
        """What the reader chose: dark, light, or what their system prefers."""
        chosen = self._request.COOKIES.get(THEME_COOKIE, SYSTEM)
        return chosen if chosen in (DARK, LIGHT) else SYSTEM

    @property
    def version(self) -> str:
        """Of the appliance."""
        version: str = settings.APPLIANCE_VERSION
        return version


def portal(request: HttpRequest) -> dict[str, Portal]:
    """Django's context processor."""
    return {"portal": Portal(request)}
