"""One request's id from its HTTP call through the job, the engine and the audit log to its webhook."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from apps.audit.models import AuditEvent
from apps.core import clock
from apps.core.logging import RequestIdFilter, working_for
from apps.generation.models import GenerationJob
from apps.metrics.storing import list_stored
from apps.webhooks.models import Delivery
from tests.apps.api.client import ApiClient
from tests.apps.generation.engines import MakePump, ScriptedEngine
from tests.apps.generation.studio import Studio, reread
from tests.cast import Cast
from tests.factories import make_checkpoint


@pytest.mark.django_db
def test_the_id_of_a_call_stays_with_its_job(cast: Cast, settings: Any) -> None:
    settings.SYNC_WAIT_S = 0
    make_checkpoint()
    answer = ApiClient(cast.key_text).submit()
    named = ApiClient(cast.key_text).post(
        "/api/v6/images/text2img", {"model_id": "tiny", "prompt": "a red fox"}, X_Request_Id="trace-7"
    )
    first, second = GenerationJob.objects.order_by("pk")
    assert first.request_id == answer["X-Request-Id"] != ""
    assert second.request_id == named["X-Request-Id"] == "trace-7"


def test_the_worker_names_the_request_it_works_for(
    live: Studio, make_pump: MakePump, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.addFilter(RequestIdFilter())
    with working_for(request="trace-7"):
        job = live.submit(steps=2)
    GenerationJob.objects.filter(pk=job.pk).update(
        webhook={"url": "https://example.com/", "address": "https://example.com/", "dialect": "modelslab"}
    )
    with caplog.at_level(logging.DEBUG, logger="apps.generation"):
        make_pump(ScriptedEngine).run_until(lambda: reread(job).is_terminal)
    events = AuditEvent.objects.filter(subject_kind="generation_job", request_id="trace-7")
    assert set(events.values_list("name", flat=True)) == {
        "generation.job.submitted",
        "generation.job.succeeded",
    }
    assert Delivery.objects.get().request_id == "trace-7"
    [made] = [vars(each) for each in caplog.records if each.getMessage() == f"job {job.pk} is made"]
    assert (made["request_id"], made["job_id"]) == ("trace-7", job.pk)
    ticks = [vars(each) for each in caplog.records if each.getMessage().startswith("tick: ")]
    assert ["trace-7"] in [each["requests"] for each in ticks]


def test_a_worker_hands_over_what_its_engine_did(live: Studio, make_pump: MakePump) -> None:
    job = live.submit(steps=3)
    pump = make_pump(ScriptedEngine)
    pump.run_until(lambda: reread(job).is_terminal)
    pump.end()
    names = {row.series for row in list_stored(now=clock.now())}
    assert {"darkroom_engine_tick_seconds", "darkroom_process_resident_memory_bytes"} <= names
    assert "darkroom_device_memory_size_bytes" in names
