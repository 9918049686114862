"""Twins with one Idempotency-Key: one job, one reservation, one answer."""

from __future__ import annotations

import threading

import pytest

from apps.generation import idempotency, services
from apps.generation.idempotency import StoredResponse, make_claim, store_response
from apps.generation.models import GenerationJob, IdempotencyRecord
from apps.quotas.errors import DailyQuotaExhausted
from tests.apps.generation.studio import (
    PATIENCE_S,
    Crew,
    Studio,
    assert_invariants_hold,
    in_background,
    trail,
    usage,
)
from tests.factories import give_plan

CLAIM = make_claim(key="order-1", method="POST", path="/v6/text2img", body=b"{}")


def answer(studio: Studio) -> bytes:
    """What a view does: submit, render, keep the first rendering; each thread renders bytes of its own."""
    job = studio.submit(idempotency=CLAIM)
    own = f"{job.pk} rendered by {threading.get_ident()}".encode()
    rendered = StoredResponse(status=200, content_type="text/plain", body=own)
    return store_response(account_id=studio.account.pk, key=CLAIM.key, response=rendered).body


def test_a_hundred_twins_make_one_job_and_get_equal_bytes(live: Studio) -> None:
    crew = Crew()
    crew.run(*[lambda: answer(live)] * 100)
    assert crew.errors == []
    assert len(crew.results) == 100
    job = GenerationJob.objects.get()
    assert set(crew.results) == {bytes(IdempotencyRecord.objects.get().response_body or b"")}
    assert (usage(live.account), trail(job)) == ((1, 0), ["submitted"])
    assert_invariants_hold()


def test_control_without_the_key_each_twin_makes_a_job(live: Studio) -> None:
    crew = Crew()
    crew.run(*[live.submit] * 10)
    assert (crew.errors, GenerationJob.objects.count(), usage(live.account)) == ([], 10, (10, 0))


def test_control_looking_before_inserting_instead_of_the_constraint_makes_two_jobs(
    live: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the unique key decides, a look at the table cannot: both twins look before either has written."""
    both_looked = threading.Barrier(2)

    def look_only(**values: object) -> list[IdempotencyRecord | None]:
        is_taken = IdempotencyRecord.objects.filter(key=CLAIM.key).exists()
        both_looked.wait(PATIENCE_S)
        return [None if is_taken else IdempotencyRecord()]

    monkeypatch.setattr(services, "take_keys", look_only)
    monkeypatch.setattr(services, "bind_jobs", lambda **_: None)
    crew = Crew()
    crew.run(*[lambda: live.submit(idempotency=CLAIM)] * 2)
    assert (crew.errors, GenerationJob.objects.count()) == ([], 2)


def test_the_last_unit_of_quota_serves_all_twins_and_nobody_else(live: Studio) -> None:
    give_plan(live.account, calls_per_day=1)
    crew = Crew()
    crew.run(*[lambda: live.submit(idempotency=CLAIM).pk] * 10)
    assert crew.errors == []
    assert set(crew.results) == {GenerationJob.objects.get().pk}
    with pytest.raises(DailyQuotaExhausted):
        live.submit()
    assert usage(live.account) == (1, 0)
    assert_invariants_hold()


def test_when_the_winner_rolls_back_a_waiting_twin_takes_its_place(
    live: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    winner_has_key, twin_waits = threading.Event(), threading.Event()
    take, bind = idempotency.take_keys, idempotency.bind_jobs
    winner: list[int] = []

    def take_in_turn(**values: object) -> list[IdempotencyRecord | None]:
        if threading.get_ident() != winner[0]:
            twin_waits.set()
        record = take(**values)  # type: ignore[arg-type]  # handed on as they are
        winner_has_key.set()
        return record

    def fail_if_winner(**values: object) -> None:
        if threading.get_ident() == winner[0]:
            assert twin_waits.wait(PATIENCE_S)
            raise OSError("the power went out")
        bind(**values)  # type: ignore[arg-type]  # handed on as they are

    def submit_and_fail() -> None:
        winner.append(threading.get_ident())
        live.submit(idempotency=CLAIM)

    monkeypatch.setattr(services, "take_keys", take_in_turn)
    monkeypatch.setattr(services, "bind_jobs", fail_if_winner)
    first = in_background(submit_and_fail)
    assert winner_has_key.wait(PATIENCE_S)
    second = in_background(lambda: live.submit(idempotency=CLAIM))
    with pytest.raises(OSError, match="the power went out"):
        first.join()
    job = second.join()
    assert GenerationJob.objects.get() == job
    assert IdempotencyRecord.objects.get().job == job
    assert usage(live.account) == (1, 0)
    assert_invariants_hold()
