"""Every recorded ModelsLab exchange, replayed against the appliance."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from apps.api.modelslab import models_fields
from apps.api.modelslab.endpoints import ENDPOINTS
from apps.api.modelslab.fields import general
from apps.api.modelslab.fields.generation import IGNORED, REFUSED
from apps.apikeys.choices import ALL_SCOPES
from apps.artifacts.links import artifact_url
from apps.catalog import facets
from apps.catalog.models import CatalogEntry
from apps.generation.lifecycle import artifact_expiry
from apps.generation.models import GenerationJob
from tests.apps.api import jobs
from tests.apps.api.client import V6, ApiClient
from tests.apps.api.models_fixtures import make_catalogue
from tests.apps.api.modelslab.workbench import install_utilities, mask, picture
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.contracts.recording import HEADERS, Exchange, fill_in, list_exchanges
from tests.factories import give_plan, make_account, make_adapter, make_checkpoint, make_key

EXCHANGES = list_exchanges()
EARLIER = {"model_id": "tiny", "prompt": "a red fox", "seed": 42}
LINK_WORDS = {"png": "", "jpg": " as JPEG", "base64": " as text"}
# Fields of the fetch requests, which have no table of their own.
FETCH_FIELDS = {"key", "request_id", "id"}


@pytest.fixture(autouse=True)
def tiny(cast: Cast, settings: Any) -> CatalogEntry:
    settings.SYNC_WAIT_S = 0.0
    return make_checkpoint("tiny")


def _submit(cast: Cast, clock: FrozenClock) -> None:
    assert ApiClient(cast.key_text).post(V6, EARLIER, Idempotency_Key="first").status_code == 200


def _run(cast: Cast, clock: FrozenClock) -> None:
    _submit(cast, clock)
    claimed = jobs.claim()
    clock.advance(seconds=1.84)
    jobs.finish(claimed)


def _fail(cast: Cast, clock: FrozenClock) -> None:
    _submit(cast, clock)
    jobs.fail(jobs.claim())


def _use_up(cast: Cast, clock: FrozenClock) -> None:
    give_plan(cast.account, calls_per_day=0)


def _fill_queue(cast: Cast, clock: FrozenClock) -> None:
    give_plan(cast.account, queue_depth=1)
    _submit(cast, clock)


def _narrow_plan(cast: Cast, clock: FrozenClock) -> None:
    give_plan(cast.account, max_samples=4)


def _fill_catalogue(cast: Cast, clock: FrozenClock) -> None:
    facets.forget()
    make_catalogue(cast)


def _install_utilities(cast: Cast, clock: FrozenClock) -> None:
    install_utilities()
    make_adapter("control-canny", kind="controlnet", variant="canny")


SITUATIONS: dict[str, Callable[[Cast, FrozenClock], None]] = {
    "nothing": lambda cast, clock: None,
    "a queued job": _submit,
    "a finished job": _run,
    "a failed job": _fail,
    "a used-up quota": _use_up,
    "a full queue": _fill_queue,
    "a plan for 4 images": _narrow_plan,
    "a catalogue": _fill_catalogue,
    "everything that ships": _install_utilities,
}


@pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.name for exchange in EXCHANGES])
def test_exchange(exchange: Exchange, cast: Cast, clock: FrozenClock) -> None:
    SITUATIONS[exchange.given](cast, clock)
    keys = {"<key>": cast.key_text, "<stranger's key>": cast.strangers_key_text}
    keys |= {"<picture>": picture(128, 64), "<mask>": mask(128, 64)}
    if "<operator's key>" in str(exchange.request):
        keys["<operator's key>"] = make_key(make_account("operator"), scopes=ALL_SCOPES).plaintext

    answer = _send(fill_in(exchange.request, keys | _facts(GenerationJob.objects.last())))

    assert {
        "status": answer.status_code,
        "headers": {name: answer[name] for name in HEADERS if name in answer},
        "body": _body(answer),
    } == fill_in(exchange.response, _facts(GenerationJob.objects.last()))


def _send(request: dict[str, Any]) -> Any:
    client = ApiClient(None)
    body = request.get("body")
    if request["method"] == "GET":
        return client.get(request["path"], **request.get("headers", {}))
    if isinstance(body, dict) and request.get("form"):
        return client.http.post(request["path"], body, headers=request.get("headers", {}))
    return client.post(request["path"], body, **request.get("headers", {}))


def _body(answer: Any) -> Any:
    """JSON, streamed or whole; None for an empty body."""
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return json.loads(content) if content else None


def _facts(job: GenerationJob | None) -> dict[str, str]:
    if job is None:
        return {}
    links = {
        f"<link {index}{LINK_WORDS[extension]}>": artifact_url(
            group=job.artifact_group, index=index, extension=extension, expires_at=artifact_expiry(job)
        )
        for index in range(job.num_images)
        for extension in ("png", "jpg", "base64")
    }
    return links | {"<id>": str(job.pk), "<id text>": str(job.pk), "<group>": str(job.artifact_group)}


def test_every_recorded_field_is_in_a_table() -> None:
    tables = [*(endpoint.table for endpoint in ENDPOINTS.values()), *general.TABLES]
    known = {name for table in tables for field in table for name in field.names}
    known |= set(REFUSED) | set(IGNORED) | FETCH_FIELDS
    fields_of_models = [field for table in models_fields.TABLES for field in table]
    known |= {name for field in fields_of_models for name in (field.theirs, field.alias)}
    known |= set(models_fields.REFUSED) | set(models_fields.IGNORED)

    for exchange in EXCHANGES:
        body = exchange.request.get("body")
        if isinstance(body, dict):
            assert body.keys() <= known, exchange.name
