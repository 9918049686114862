"""What each role may do in an account: the one table that pages and services ask."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

from apps.accounts.choices import Role
from apps.accounts.models import Membership

Permission: TypeAlias = Literal[
    "view", "playground", "jobs", "keys", "billing", "team", "settings", "account"
]
"""`view` is the dashboard, usage and the account's name; `account` is closing it and handing it over."""

PERMISSIONS: Final[frozenset[str]] = frozenset(get_args(Permission))

ALLOWED: Final = MappingProxyType(
    {
        Role.OWNER: PERMISSIONS,
        Role.ADMIN: PERMISSIONS - {"account"},
        Role.BILLING: frozenset({"view", "billing"}),
        Role.DEVELOPER: frozenset({"view", "playground", "jobs", "keys"}),
        Role.VIEWER: frozenset({"view", "jobs"}),
    }
)


def role_can(role: Role, permission: Permission) -> bool:
    """Whether `role` holds `permission`. Raises ValueError for a permission that there is not."""
    if permission not in PERMISSIONS:
        raise ValueError(f"there is no permission {permission!r}; there are {', '.join(sorted(PERMISSIONS))}")
    return permission in ALLOWED[role]


def can(membership: Membership, permission: Permission) -> bool:
    """Whether this member may do what `permission` names. Raises ValueError for an unknown permission."""
    return role_can(Role(membership.role), permission)


def roles_with(permission: Permission) -> frozenset[Role]:
    """The roles that hold `permission`: who is to hear of it by mail."""
    return frozenset(role for role in Role if role_can(role, permission))
