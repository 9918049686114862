"""What stands in the portal's menu, and who sees it."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Membership
from apps.accounts.roles import Permission, can


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the menu."""

    name: str
    """Of the address; pages below it mark this entry as the current one."""
    title: str | Promise
    icon: str
    permission: Permission = "view"
    """Members without it do not see the entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Entries that belong together."""

    title: str | Promise
    entries: tuple[Entry, ...]


MENU = (
    Section(
        title=_("Create"),
        entries=(
            Entry(name="portal:dashboard", title=_("Dashboard"), icon="speedometer2"),
            Entry(name="portal:playground", title=_("Playground"), icon="brush", permission="playground"),
            Entry(name="portal:jobs", title=_("Jobs"), icon="images", permission="jobs"),
        ),
    ),
    Section(
        title=_("Build"),
        entries=(
            Entry(name="portal:keys", title=_("API keys"), icon="key", permission="keys"),
            Entry(name="portal:webhooks", title=_("Webhooks"), icon="send", permission="keys"),
            Entry(name="guides", title=_("Docs"), icon="book"),
        ),
    ),
    Section(
        title=_("Manage"),
        entries=(
            Entry(name="portal:usage", title=_("Usage"), icon="graph-up"),
            Entry(name="portal:billing", title=_("Billing"), icon="wallet2", permission="billing"),
            Entry(name="portal:team", title=_("Team"), icon="people", permission="team"),
            Entry(name="portal:settings", title=_("Settings"), icon="sliders", permission="settings"),
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownEntry:
    """An entry as it is drawn for one member on one page."""

    title: str | Promise
    icon: str
    url: str
    is_current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSection:
    """A section with what of it this member may see; never empty."""

    title: str | Promise
    entries: tuple[ShownEntry, ...]


def menu_for(membership: Membership, request: HttpRequest) -> list[ShownSection]:
    """The menu of one member, with the entry of the current page marked."""
    sections = []
    for section in MENU:
        entries = tuple(
            shown
            for entry in section.entries
            if can(membership, entry.permission)
            if (shown := _shown(entry, request)) is not None
        )
        if entries:
            sections.append(ShownSection(title=section.title, entries=entries))
    return sections


def _shown(entry: Entry, request: HttpRequest) -> ShownEntry | None:
    try:
        url = reverse(entry.name)
    except NoReverseMatch:
        return None
    is_current = request.path == url or request.path.startswith(f"{url}/")
    if entry.name == "portal:dashboard":
        # Its address is the beginning of all others.
        is_current = request.path == url
    return ShownEntry(title=entry.title, icon=entry.icon, url=url, is_current=is_current)
