"""What is kept, what is forgotten, what is sent again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.core.db import NotInTransaction
from apps.core.errors import Conflict, InvalidField
from apps.webhooks import deliverer
from apps.webhooks.choices import DeliveryState
from apps.webhooks.models import Attempt, Delivery, Endpoint, SigningSecret
from apps.webhooks.recording import Tried, record_attempts
from apps.webhooks.secrets import (
    MAX_OVERLAP,
    forget_ended_secrets,
    list_secrets,
    rotate_secret,
    signing_secrets,
)
from apps.webhooks.sending import Outcome
from apps.webhooks.services import (
    forget_expired,
    prune_log,
    queue_delivery,
    replay_delivery,
    replay_failed,
    send_test,
)
from apps.webhooks.signing import secret_text
from apps.webhooks.wishes import WebhookWish
from tests.apps.webhooks.rows import queue_row
from tests.cast import Cast
from tests.clocks import FrozenClock


def end(row: Delivery, clock: FrozenClock, *, error: str = "", answer: str = "thanks") -> None:
    """Bring it to its end as a deliverer would."""
    Delivery.objects.filter(pk=row.pk).update(
        state=DeliveryState.SENDING, claimed_by="me", attempts=100 if error else 0, body=b"{}"
    )
    outcome = Outcome(
        started_at=clock.now(), duration_ms=1, status=500 if error else 200, error=error, answer=answer
    )
    row.refresh_from_db()
    record_attempts([Tried(delivery=row, outcome=outcome)], now=clock.now())
    row.refresh_from_db()


@pytest.mark.django_db(transaction=True)
def test_a_delivery_is_queued_within_somebodys_transaction() -> None:
    with pytest.raises(NotInTransaction):
        queue_delivery(
            account_id=1,
            job_id=1,
            event="job.succeeded",
            target=WebhookWish(url="https://example.com/").target,
            expires_at=None,  # type: ignore[arg-type]  # never looked at
            now=None,  # type: ignore[arg-type]
        )


def test_bodies_and_answers_are_forgotten_with_their_images(cast: Cast, clock: FrozenClock) -> None:
    done, waiting, later = (queue_row(cast.account) for _ in range(3))
    end(done, clock)
    Delivery.objects.filter(pk=later.pk).update(expires_at=clock.now() + timedelta(hours=9), body=b"{}")
    assert forget_expired(now=clock.now()) == 0
    clock.advance(hours=1)

    assert forget_expired(now=clock.now()) == 2
    assert forget_expired(now=clock.now()) == 0

    done.refresh_from_db()
    assert (done.body, done.is_forgotten, done.state) == (None, True, "delivered")
    assert Attempt.objects.get(delivery=done).answer == ""
    later.refresh_from_db()
    assert later.body is not None
    assert Delivery.objects.get(pk=waiting.pk).state == "waiting", "it is still to be delivered"


def test_what_was_forgotten_does_not_come_back_with_a_late_attempt(cast: Cast, clock: FrozenClock) -> None:
    row = queue_row(cast.account)
    clock.advance(hours=2)
    forget_expired(now=clock.now())

    row.refresh_from_db()
    assert deliverer._body(row) is not None
    assert Delivery.objects.get(pk=row.pk).body is None
    Delivery.objects.filter(pk=row.pk).update(state="sending", claimed_by="me")
    outcome = Outcome(started_at=clock.now(), duration_ms=1, status=200, answer="you sent me a prompt")
    record_attempts([Tried(delivery=row, outcome=outcome)], now=clock.now())
    assert Attempt.objects.get().answer == ""


def test_the_log_forgets_what_ended_long_ago(cast: Cast, clock: FrozenClock) -> None:
    old, open_ = queue_row(cast.account), queue_row(cast.account)
    end(old, clock)
    clock.advance(days=29)
    new = queue_row(cast.account)
    end(new, clock)
    clock.advance(days=1)

    assert prune_log(now=clock.now()) == 1

    assert set(Delivery.objects.values_list("pk", flat=True)) == {open_.pk, new.pk}


def test_endpoints_are_forgotten_once_nothing_is_held_against_them(cast: Cast, clock: FrozenClock) -> None:
    for address, fields in {
        "https://fine/": {},
        "https://fails/": {"failures": 1},
        "https://gone/": {"disabled_at": clock.now()},
    }.items():
        Endpoint.objects.create(account=cast.account, address=address, updated_at=clock.now(), **fields)
    clock.advance(hours=1)

    prune_log(now=clock.now())

    assert set(Endpoint.objects.values_list("address", flat=True)) == {"https://fails/", "https://gone/"}


@pytest.mark.django_db(transaction=True)
class TestReplays:
    """Each opens a transaction of its own."""

    def test_what_ended_begins_anew_with_the_same_id(self, cast: Cast, clock: FrozenClock) -> None:
        row = queue_row(cast.account)
        end(row, clock, error="no")
        assert row.state == "failed"
        clock.advance(days=5)

        replayed = replay_delivery(delivery=row, actor=SYSTEM, now=clock.now())

        assert (replayed.event_id, replayed.state, replayed.attempts) == (row.event_id, "waiting", 0)
        assert (replayed.due_at, replayed.begun_at, replayed.is_forced) == (clock.now(), clock.now(), True)
        assert AuditEvent.objects.filter(name="webhooks.delivery.replayed").count() == 1

    def test_not_while_it_is_being_sent(self, cast: Cast, clock: FrozenClock) -> None:
        row = queue_row(cast.account)
        Delivery.objects.filter(pk=row.pk).update(state="sending", claimed_by="me")
        with pytest.raises(Conflict, match="is being sent"):
            replay_delivery(delivery=row, actor=SYSTEM, now=clock.now())

    def test_all_that_was_given_up_since_a_moment(self, cast: Cast, clock: FrozenClock) -> None:
        early, fine, late, elsewhere, strangers = (
            queue_row(account, url=url)
            for account, url in [
                (cast.account, "https://example.com/hook?event=1"),
                (cast.account, "https://example.com/hook"),
                (cast.account, "https://example.com/hook?event=2"),
                (cast.account, "https://other.example/"),
                (cast.strangers_account, "https://example.com/hook"),
            ]
        )
        end(early, clock, error="no")
        since = clock.advance(hours=1)
        end(fine, clock)
        for row in (late, elsewhere, strangers):
            end(row, clock, error="no")

        count = replay_failed(
            account=cast.account,
            since=since,
            url="https://example.com/hook",
            actor=SYSTEM,
            now=clock.now(),
        )

        assert count == 1
        assert Delivery.objects.get(state="waiting").pk == late.pk
        assert replay_failed(account=cast.account, since=since, actor=SYSTEM, now=clock.now()) == 1

    def test_a_test_tells_of_nothing_and_goes_at_once(self, cast: Cast, clock: FrozenClock) -> None:
        row = send_test(account=cast.account, url="https://example.com/", actor=SYSTEM, now=clock.now())
        assert (row.event, row.job_id, row.is_forced, row.due_at) == ("webhook.test", None, True, clock.now())

    def test_a_test_of_what_may_not_be_reached_is_refused(self, cast: Cast, clock: FrozenClock) -> None:
        with pytest.raises(InvalidField, match="private network"):
            send_test(account=cast.account, url="https://10.0.0.1/", actor=SYSTEM, now=clock.now())
        assert not Delivery.objects.exists()

    def test_secrets_follow_each_other(self, cast: Cast, clock: FrozenClock) -> None:
        account, hour = cast.account, timedelta(hours=1)
        unseen = _signing(cast, clock)
        first = rotate_secret(account=account, overlap=hour, actor=SYSTEM, now=clock.now())
        assert _signing(cast, clock) == [first.text] != unseen
        second = rotate_secret(account=account, overlap=hour, actor=SYSTEM, now=clock.now())
        assert _signing(cast, clock) == [second.text, first.text]
        clock.advance(hours=1)
        assert _signing(cast, clock) == [second.text]
        assert [row.hint for row in list_secrets(account=account, now=clock.now())] == [second.text[-4:]]
        assert forget_ended_secrets(now=clock.now()) == 1
        assert first.text not in str(list(SigningSecret.objects.values()))
        names = AuditEvent.objects.filter(name="webhooks.secret.rotated")
        assert names.count() == 2

    def test_an_overlap_has_its_limits(self, cast: Cast, clock: FrozenClock) -> None:
        for overlap in (timedelta(seconds=-1), MAX_OVERLAP + timedelta(seconds=1)):
            with pytest.raises(InvalidField, match="must be 0 to 604800"):
                rotate_secret(account=cast.account, overlap=overlap, actor=SYSTEM, now=clock.now())


def _signing(cast: Cast, clock: FrozenClock) -> list[str]:
    found = signing_secrets(account_ids={cast.account.pk}, now=clock.now())
    return [secret_text(secret) for secret in found[cast.account.pk]]
