from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.catalog.choices import Kind
from apps.catalog.models import CatalogEntry
from apps.core.errors import Conflict
from apps.core.listen import Listener
from apps.generation.channels import GPU
from apps.generation.model_control import delete_model, reload_model
from apps.generation.models import GenerationJob
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_checkpoint


@pytest.fixture(autouse=True)
def model_dir(tmp_path: Path, settings: Any) -> None:
    settings.MODEL_DIR = str(tmp_path)


def _job(cast: Cast, checkpoint: CatalogEntry, clock: FrozenClock, **fields: Any) -> GenerationJob:
    values: dict[str, Any] = {
        "account": cast.account,
        "checkpoint": checkpoint,
        "kind": "txt2img",
        "request": {"prompt": "x"},
        "num_images": 1,
        "quota_day": clock.now().date(),
        "queued_at": clock.now(),
        "deadline_at": clock.now() + timedelta(hours=1),
    }
    return GenerationJob.objects.create(**(values | fields))


def test_a_model_is_not_deleted_while_a_job_needs_it(cast: Cast, clock: FrozenClock) -> None:
    tiny = make_checkpoint("tiny")
    job = _job(cast, tiny, clock)
    with pytest.raises(Conflict, match="tiny is used by 1 open requests; delete it when they have ended"):
        delete_model(entry=tiny, actor=SYSTEM, now=clock.now())
    tiny.refresh_from_db()
    assert tiny.deleted_at is None
    GenerationJob.objects.filter(pk=job.pk).update(state="succeeded", finished_at=clock.now())
    delete_model(entry=tiny, actor=SYSTEM, now=clock.now())
    # The job's own record of what made it stays.
    assert GenerationJob.objects.select_related("checkpoint").get().checkpoint.name == "tiny"


@pytest.mark.parametrize("place", ["loras", "embeddings", "vae"])
def test_an_adapter_is_not_deleted_while_a_job_needs_it(cast: Cast, clock: FrozenClock, place: str) -> None:
    tiny = make_checkpoint("tiny")
    adapter, other = make_checkpoint("x", kind=Kind.LORA), make_checkpoint("y", kind=Kind.LORA)
    used: Any = {"entry_id": adapter.pk, "name": "x"}
    adapters: dict[str, Any] = {"loras": [], "embeddings": [], "vae": None}
    adapters[place] = used if place == "vae" else [{"entry_id": 10**9, "name": "z"}, used]
    _job(cast, tiny, clock, request={"prompt": "x", "adapters": adapters})
    with pytest.raises(Conflict, match="x is used by 1 open requests"):
        delete_model(entry=adapter, actor=SYSTEM, now=clock.now())
    delete_model(entry=other, actor=SYSTEM, now=clock.now())
    assert set(CatalogEntry.objects.live().values_list("name", flat=True)) == {"tiny", "x"}


@pytest.mark.django_db(transaction=True)
def test_a_reload_rings_the_workers(clock: FrozenClock) -> None:
    tiny = make_checkpoint("tiny")
    assert not connection.in_atomic_block
    with Listener([GPU]) as listener:
        reload_model(entry=tiny, actor=SYSTEM, now=clock.now())
        assert listener.wait(5.0) == ["reload"]
    tiny.refresh_from_db()
    assert tiny.reload_requested_at == clock.now()
    assert AuditEvent.objects.latest("id").name == "catalog.entry.reload_requested"


def test_a_deleted_model_is_not_reloaded(cast: Cast, clock: FrozenClock) -> None:
    tiny = make_checkpoint("tiny", deleted_at=clock.now())
    with pytest.raises(Conflict, match="tiny was deleted"):
        reload_model(entry=tiny, actor=SYSTEM, now=clock.now())
