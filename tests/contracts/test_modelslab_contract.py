"""Every recorded ModelsLab exchange, replayed against the appliance."""

from __future__ import annotations

from typing import Any

import pytest

from apps.api.modelslab import models_fields
from apps.api.modelslab.endpoints import ENDPOINTS
from apps.api.modelslab.fields import general
from apps.api.modelslab.fields.generation import IGNORED, REFUSED
from apps.catalog.models import CatalogEntry
from apps.generation.models import GenerationJob
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.contracts.modelslab_paths import OTHER_PATHS, at_path
from tests.contracts.modelslab_replay import answer_to
from tests.contracts.modelslab_situations import set_up
from tests.contracts.recording import Exchange, list_exchanges, write_down
from tests.contracts.situations import Stage
from tests.factories import make_checkpoint

EXCHANGES = list_exchanges()
# Fields of the fetch requests, which have no table of their own.
FETCH_FIELDS = {"key", "request_id", "id"}


@pytest.fixture(autouse=True)
def tiny(cast: Cast, settings: Any) -> CatalogEntry:
    settings.SYNC_WAIT_S = 0.0
    return make_checkpoint("tiny")


@pytest.fixture
def stage(cast: Cast, clock: FrozenClock, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(cast=cast, clock=clock, settings=settings, patches=monkeypatch)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.name for exchange in EXCHANGES])
def test_exchange(exchange: Exchange, cast: Cast, stage: Stage) -> None:
    set_up(exchange.given, stage)
    answer = answer_to(exchange, cast)
    if not exchange.response:
        write_down(exchange, answer)
        pytest.fail(f"{exchange.file} was recorded; judge it before you keep it")
    assert answer == exchange.response


@pytest.mark.parametrize(
    "exchange", [each for each in EXCHANGES if each.name in OTHER_PATHS], ids=lambda each: each.name
)
def test_other_paths_of_an_endpoint_answer_alike(exchange: Exchange, cast: Cast, stage: Stage) -> None:
    set_up(exchange.given, stage)
    for path in OTHER_PATHS[exchange.name]:
        elsewhere = at_path(exchange, path)
        assert answer_to(elsewhere, cast) == elsewhere.response, path
        # A queue would change the estimate.
        GenerationJob.objects.all().delete()


def test_every_recorded_field_is_in_a_table() -> None:
    tables = [*(endpoint.table for endpoint in ENDPOINTS.values()), *general.TABLES]
    known = {name for table in tables for field in table for name in field.names}
    known |= set(REFUSED) | set(IGNORED) | set(general.IGNORED) | FETCH_FIELDS
    fields_of_models = [field for table in models_fields.TABLES for field in table]
    known |= {name for field in fields_of_models for name in (field.theirs, field.alias)}
    known |= set(models_fields.IGNORED)

    for exchange in EXCHANGES:
        body = exchange.request.get("body")
        if isinstance(body, dict):
            assert body.keys() <= known, exchange.name
