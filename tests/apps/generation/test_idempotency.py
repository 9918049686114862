from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from apps.core.db import NotInTransaction
from apps.core.errors import InvalidField
from apps.generation import services
from apps.generation.errors import IdempotencyMismatch, InvalidIdempotencyKey
from apps.generation.idempotency import (
    IdempotencyClaim,
    StoredResponse,
    find_record,
    forget_old_keys,
    make_claim,
    store_response,
    stored_response,
    take_key,
)
from apps.generation.models import GenerationJob, IdempotencyRecord
from apps.generation.tasks import forget_old_keys as forget_old_keys_task
from tests.apps.generation.studio import Studio, on_record, trail, usage
from tests.clocks import FrozenClock


def claim_for(
    key: str = "order-1", body: bytes = b'{"a": 1}', path: str = "/v6/text2img"
) -> IdempotencyClaim:
    return make_claim(key=key, method="POST", path=path, body=body)


ANSWER = StoredResponse(status=200, content_type="application/json", body=b'{"id": 1}')


@pytest.mark.parametrize(
    "key", ["a", "~", "a b", "0" * 255, "8e03978e-40d5-43e8-bc93-6894a57f9324", "!\"#'\\"]
)
def test_printable_ascii_up_to_255_characters_is_a_key(key: str) -> None:
    assert make_claim(key=key, method="POST", path="/", body=b"").key == key


@pytest.mark.parametrize("key", ["", " ", " a", "a ", "a\n", "a\0b", "\x7f", "é", "a\tb", "0" * 256])
def test_anything_else_is_refused(key: str) -> None:
    with pytest.raises(InvalidIdempotencyKey) as refusal:
        make_claim(key=key, method="POST", path="/", body=b"")
    assert str(refusal.value) == "The Idempotency-Key must be 1 to 255 printable ASCII characters."


def test_method_path_and_body_tell_requests_apart() -> None:
    claims = {
        make_claim(key="k", method=method, path=path, body=body).fingerprint
        for method, path, body in [
            ("POST", "/a", b"b"),
            ("PUT", "/a", b"b"),
            ("POST", "/b", b"b"),
            ("POST", "/a", b""),
            ("POST", "/ab", b""),
        ]
    }
    assert len(claims) == 5
    assert claim_for() == claim_for()


def test_a_new_key_names_the_job_it_made(studio: Studio, clock: FrozenClock) -> None:
    job = studio.submit(idempotency=claim_for())
    record = IdempotencyRecord.objects.get()
    assert (record.account, record.key, record.job) == (studio.account, "order-1", job)
    assert (record.fingerprint, record.created_at) == (claim_for().fingerprint, clock.now())
    assert stored_response(record) is None


def test_a_repeat_gets_the_first_job_and_reserves_nothing(studio: Studio) -> None:
    job = studio.submit(idempotency=claim_for())
    before = on_record()
    assert studio.submit(idempotency=claim_for()) == job
    assert on_record() == before
    assert (usage(studio.account), trail(job)) == ((1, 0), ["submitted"])


def test_a_repeat_after_the_quota_ran_out_still_gets_its_job(studio: Studio) -> None:
    from tests.factories import give_plan

    give_plan(studio.account, calls_per_day=1)
    job = studio.submit(idempotency=claim_for())
    assert studio.submit(idempotency=claim_for()) == job


def test_the_key_with_another_body_is_a_conflict(studio: Studio) -> None:
    studio.submit(idempotency=claim_for())
    before = on_record()
    with pytest.raises(IdempotencyMismatch) as refusal:
        studio.submit(idempotency=claim_for(body=b'{"a": 2}'))
    assert str(refusal.value) == "The Idempotency-Key order-1 was already used with a different request."
    assert refusal.value.http_status == 409
    assert on_record() == before
    with pytest.raises(IdempotencyMismatch):
        find_record(account_id=studio.account.pk, claim=claim_for(path="/elsewhere"))


def test_a_stranger_may_use_the_same_key(studio: Studio) -> None:
    ours = studio.submit(idempotency=claim_for())
    theirs = studio.submit(idempotency=claim_for(), by_stranger=True)
    assert ours != theirs
    assert find_record(account_id=studio.strangers_account.pk, claim=claim_for()).job == theirs  # type: ignore[union-attr]  # there is one


def test_keys_are_told_apart_by_case(studio: Studio) -> None:
    assert studio.submit(idempotency=claim_for("k")) != studio.submit(idempotency=claim_for("K"))


def test_a_failure_after_the_key_was_taken_frees_it(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    before = on_record()

    def fail(**_: object) -> None:
        raise OSError("the power went out")

    with monkeypatch.context() as patch:
        patch.setattr(services, "bind_jobs", fail)
        with pytest.raises(OSError, match="the power went out"):
            studio.submit(idempotency=claim_for())
    assert (on_record(), IdempotencyRecord.objects.count()) == (before, 0)
    studio.submit(idempotency=claim_for())
    assert GenerationJob.objects.count() == 1


def test_a_key_whose_record_vanished_meanwhile_is_refused_by_name(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "take_keys", lambda **_: [None])
    before = on_record()
    with pytest.raises(InvalidField, match="Idempotency-Key is in use by a request that was just refused"):
        studio.submit(idempotency=claim_for())
    assert on_record() == before


@pytest.mark.django_db(transaction=True)
def test_a_key_is_taken_only_inside_a_transaction(clock: FrozenClock) -> None:
    with pytest.raises(NotInTransaction):
        take_key(account_id=1, claim=claim_for(), now=clock.now())


def test_the_first_rendering_is_what_everybody_gets(studio: Studio) -> None:
    studio.submit(idempotency=claim_for())
    later = StoredResponse(status=202, content_type="text/plain", body=b"later")
    account_id = studio.account.pk
    assert store_response(account_id=account_id, key="order-1", response=ANSWER) == ANSWER
    assert store_response(account_id=account_id, key="order-1", response=later) == ANSWER
    assert stored_response(IdempotencyRecord.objects.get()) == ANSWER


def test_a_rendering_without_a_record_is_answered_as_it_is(studio: Studio) -> None:
    assert store_response(account_id=studio.account.pk, key="forgotten", response=ANSWER) == ANSWER
    assert IdempotencyRecord.objects.count() == 0


def test_an_empty_body_is_a_rendering_too(studio: Studio) -> None:
    studio.submit(idempotency=claim_for())
    empty = StoredResponse(status=204, content_type="", body=b"")
    assert store_response(account_id=studio.account.pk, key="order-1", response=empty) == empty
    assert store_response(account_id=studio.account.pk, key="order-1", response=ANSWER) == empty


def test_keys_are_forgotten_after_48_hours_and_their_jobs_stay(studio: Studio, clock: FrozenClock) -> None:
    job = studio.submit(idempotency=claim_for("old"))
    clock.advance(hours=1)
    studio.submit(idempotency=claim_for("young"))
    clock.advance(hours=47)
    assert forget_old_keys(now=clock.now()) == 0
    assert forget_old_keys(now=clock.now() + timedelta(microseconds=1)) == 1
    assert IdempotencyRecord.objects.get().key == "young"
    assert GenerationJob.objects.count() == 2
    assert studio.submit(idempotency=claim_for("old")) != job
    clock.advance(hours=49)
    assert forget_old_keys_task() == 2


def test_a_taken_key_tells_its_twin_without_ending_the_transaction(
    studio: Studio, clock: FrozenClock
) -> None:
    studio.submit(idempotency=claim_for())
    with transaction.atomic():
        assert take_key(account_id=studio.account.pk, claim=claim_for(), now=clock.now()) is None
        assert IdempotencyRecord.objects.count() == 1
