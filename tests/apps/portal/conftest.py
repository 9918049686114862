"""Browsers of the cast, signed in to the portal."""

from __future__ import annotations

import pytest
from django.test import Client

from apps.accounts.choices import Role
from apps.accounts.models import Membership, User
from tests.apps.payments.conftest import impatient, stage  # noqa: F401  # fixtures
from tests.cast import Cast


def signed_in(user: User) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


@pytest.fixture
def ada(cast: Cast) -> Client:
    return signed_in(cast.ada)


@pytest.fixture
def cleo(cast: Cast) -> Client:
    """A stranger, who owns an account of her own."""
    return signed_in(cast.cleo)


@pytest.fixture
def viewer(cast: Cast) -> Client:
    """Ben, who may look and nothing else."""
    Membership.objects.filter(user=cast.ben).update(role=Role.VIEWER)
    return signed_in(cast.ben)
