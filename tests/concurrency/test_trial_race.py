"""One person opens several accounts and buys the same trial in all of them at once: one has it."""

from __future__ import annotations

from functools import partial

import pytest
from django.db import transaction

from apps.accounts.choices import Role
from apps.accounts.models import Account, Membership, User
from apps.plans import trial_holds
from apps.plans.models import TrialClaim
from apps.plans.trial_holds import hold_trial
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.concurrency.racing import DRILL_S, Track
from tests.drills.counting import drill_count
from tests.factories import make_account

RACERS = 4
ROUNDS = 3

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(DRILL_S)]


class TrialTaken(Exception):
    """Somebody else keeps it."""


@pytest.fixture
def accounts(cast: Cast, clock: FrozenClock) -> list[Account]:
    """Each of another first owner, and all of Ada's, too."""
    made = [make_account(f"of-ada-{number}") for number in range(RACERS)]
    for account, first in zip(made, (cast.ben, cast.cleo, cast.otto, cast.ada), strict=True):
        # Of one company they would all be one claimant, which the table's constraint tells apart.
        User.objects.filter(pk=first.pk).update(email=f"{account.slug}@{account.slug}.example")
        for user in dict.fromkeys((first, cast.ada)):
            Membership.objects.create(account=account, user=user, role=Role.OWNER, created_at=clock.now())
            clock.advance(seconds=1)
    return made


def hold(account: Account, clock: FrozenClock) -> None:
    with transaction.atomic():
        if not hold_trial(account=account, holder=f"visit of {account.slug}", now=clock.now()):
            raise TrialTaken


def test_of_many_visits_at_once_one_keeps_the_trial(accounts: list[Account], clock: FrozenClock) -> None:
    with Track(RACERS).open() as track:
        for _ in range(drill_count(ROUNDS)):
            TrialClaim.objects.all().delete()
            ended = track.race([partial(hold, account, clock) for account in accounts], TrialTaken)
            assert ended == {None: 1, TrialTaken: RACERS - 1}
            assert TrialClaim.objects.count() == 1


def test_without_the_lock_several_would(
    accounts: list[Account], clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: owners in common are no constraint of the table."""
    monkeypatch.setattr(trial_holds, "take_transaction_lock", lambda name: None)
    with Track(RACERS).open() as track:
        for _ in range(50):
            TrialClaim.objects.all().delete()
            ended = track.race([partial(hold, account, clock) for account in accounts], TrialTaken)
            if ended[None] > 1:
                return
    pytest.fail("the race was not seen")
