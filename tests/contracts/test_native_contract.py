"""Every recorded exchange of the native API, replayed against the appliance; and whether none is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.api.native.jobs_fields import JOB_FIELDS
from apps.generation.models import GenerationJob
from tests.apps.api import jobs
from tests.architecture.test_errors import ON_PAGES, refusals, section
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.contracts.coverage import codes_shown, endpoints_below, unrecorded
from tests.contracts.recording import Exchange, list_exchanges
from tests.contracts.replay import check
from tests.contracts.situations import Stage
from tests.factories import make_checkpoint

EXCHANGES = list_exchanges("native")
OF_OTHERS = ("/v1/images/", "/v1/openapi.json")
NOT_HERE = {
    # Of an installation that is not finished.
    "price_book_missing",
    # Of links to images, which need no key: tests/apps/artifacts/test_links.py.
    "artifact_not_found",
    # Of ModelsLab's API alone: models by any name, and what this server does not offer.
    "model_not_found",
    "not_offered",
}


class NoConnection:
    """In place of the database connection that streams give back: the test needs it until its end."""

    def close(self) -> None:
        """Not now."""


@pytest.fixture
def stage(
    cast: Cast, clock: FrozenClock, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Stage:
    """With a model, and a worker that delivers a job as soon as somebody waits for it."""

    def wait(job: GenerationJob, *, timeout_s: float) -> GenerationJob:
        return jobs.finish(jobs.claim(job)) if timeout_s and not job.is_terminal else job

    def follow(job: GenerationJob, *, timeout_s: float) -> Iterator[GenerationJob]:
        yield job

    monkeypatch.setattr("apps.api.native.jobs.wait_for_job", wait)
    monkeypatch.setattr("apps.api.native.events.follow_job", follow)
    monkeypatch.setattr("apps.api.native.events.connection", NoConnection())
    monkeypatch.setattr("apps.api.native.imports_events.connection", NoConnection())
    settings.MODEL_DIR = tmp_path / "models"
    make_checkpoint("tiny")
    return Stage(cast=cast, clock=clock, settings=settings, patches=monkeypatch)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.name for exchange in EXCHANGES])
def test_exchange(exchange: Exchange, stage: Stage) -> None:
    check(exchange, stage)


def test_each_endpoint_has_exchanges() -> None:
    assert unrecorded(endpoints_below("/v1/", but=OF_OTHERS), EXCHANGES) == []


def test_each_refusal_has_an_exchange() -> None:
    assert {error.code for error in refusals()} - codes_shown(EXCHANGES) == NOT_HERE | ON_PAGES


def test_each_fault_has_an_exchange() -> None:
    assert section("Faults").keys() - codes_shown(EXCHANGES) == {"bad_request"}


def test_every_recorded_field_is_in_the_table() -> None:
    known = {row.theirs for row in JOB_FIELDS}
    asked = [exchange for exchange in EXCHANGES if exchange.request["path"] in ("/v1/jobs", "/v1/estimate")]

    for exchange in asked:
        sent = {**exchange.request.get("body", {}), **exchange.request.get("form", {})}
        assert sent.keys() <= known or "unknown" in exchange.name, exchange.name
