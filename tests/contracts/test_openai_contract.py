"""Every recorded exchange of OpenAI's dialect, replayed; and whether one is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from apps.api.openai.fields import ALIASES, ALL, IGNORED, REFUSED, fields_of
from apps.core.clock import now as clock_now
from apps.generation.lifecycle import finish_cancel, lease_of
from apps.generation.models import GenerationJob
from apps.generation.services import cancel_job
from tests.apps.api import jobs
from tests.apps.api.openai.conftest import deliver
from tests.architecture.test_errors import section
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.contracts.coverage import codes_shown, endpoints_below, unrecorded
from tests.contracts.recording import Exchange, list_exchanges
from tests.contracts.replay import check
from tests.contracts.situations import Stage
from tests.factories import make_adapter, make_checkpoint

EXCHANGES = list_exchanges("openai")
BASES = ("/v1/images/", "/openai/v1/")
UNSHOWN = {
    # No place to wait comes of too many threads at once: tests/apps/api/openai/test_outcomes.py.
    "overloaded",
}


def _cancel(job: GenerationJob) -> None:
    assert job.api_key is not None
    cancel_job(job=job, actor=job.api_key.ref, now=clock_now())
    finish_cancel(lease=lease_of(job), worker=jobs.WORKER, now=clock_now())


def _wait(job: GenerationJob) -> None:
    """Nobody works on it."""


ENDS: dict[str, Callable[[GenerationJob], object]] = {
    "<delivered>": deliver,
    "<fails>": jobs.fail,
    "<blocked>": lambda job: jobs.fail(job, "blocked_content", "The images were blocked by a rule."),
    "<canceled>": _cancel,
    "<late>": _wait,
}
"""What becomes of a job while its caller waits, by a word in the exchange's prompt."""


@pytest.fixture
def stage(cast: Cast, clock: FrozenClock, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """With a model and a worker that ends jobs as soon as somebody waits for them."""

    def follow(job: GenerationJob, *, timeout_s: float) -> Iterator[GenerationJob]:
        if not job.is_terminal:
            word = next((word for word in ENDS if word in job.resolved.prompt), "<delivered>")
            settings.OPENAI_WAIT_S = 0.0 if word == "<late>" else settings.OPENAI_WAIT_S
            ENDS[word](jobs.claim(job))
        job.refresh_from_db()
        yield job

    monkeypatch.setattr("apps.api.openai.outcomes.follow_job", follow)
    make_checkpoint("tiny")
    make_adapter("modnet", kind="background_removal", family="", variant="general")
    return Stage(cast=cast, clock=clock, settings=settings, patches=monkeypatch)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.name for exchange in EXCHANGES])
def test_exchange(exchange: Exchange, stage: Stage) -> None:
    check(exchange, stage)


def test_each_endpoint_has_exchanges() -> None:
    endpoints = [*endpoints_below(*BASES), ("GET", "/v1/models"), ("GET", "/v1/models/{name}")]

    assert unrecorded(endpoints, EXCHANGES) == []


def test_each_code_of_theirs_has_an_exchange() -> None:
    assert section("Codes of OpenAI").keys() - codes_shown(EXCHANGES) == UNSHOWN


def test_each_fault_has_an_exchange() -> None:
    assert section("Faults").keys() - codes_shown(EXCHANGES) == {"bad_request"}


def test_every_recorded_field_is_in_the_table() -> None:
    known = {field.theirs for endpoint in ALL for field in fields_of(endpoint)} | set(REFUSED) | set(IGNORED)

    for exchange in EXCHANGES:
        sent = {**exchange.request.get("body", {}), **exchange.request.get("form", {})}
        names = {ALIASES.get(name, name.partition("[")[0]) for name in sent}
        assert names <= known or "unknown" in exchange.name, exchange.name


def test_every_field_is_in_an_exchange() -> None:
    sent: set[str] = set()
    for exchange in EXCHANGES:
        asked = {**exchange.request.get("body", {}), **exchange.request.get("form", {})}
        sent |= {name.partition("[")[0] for name in asked}

    assert {field.theirs for endpoint in ALL for field in fields_of(endpoint)} - sent == set()
