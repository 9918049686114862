from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.catalog.choices import Kind
from apps.catalog.models import CatalogEntry, UsageWatermark
from apps.generation.models import GenerationJob
from apps.generation.tasks import count_uses
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_checkpoint


def _job(cast: Cast, checkpoint: CatalogEntry, clock: FrozenClock, **fields: Any) -> GenerationJob:
    values: dict[str, Any] = {
        "account": cast.account,
        "api_key": cast.key,
        "checkpoint": checkpoint,
        "kind": "txt2img",
        "request": {"prompt": "a red fox"},
        "num_images": 1,
        "state": "succeeded",
        "finished_at": clock.now(),
        "quota_day": clock.now().date(),
        "queued_at": clock.now(),
        "deadline_at": clock.now() + timedelta(hours=1),
    }
    return GenerationJob.objects.create(**(values | fields))


def _counts() -> dict[str, tuple[int, datetime | None]]:
    rows = CatalogEntry.objects.order_by("name").values_list("name", "use_count", "last_used_at")
    return {name: (count, last) for name, count, last in rows}


def test_each_succeeded_job_counts_once(cast: Cast, clock: FrozenClock) -> None:
    tiny, other = make_checkpoint("tiny", use_count=5), make_checkpoint("other")
    start = clock.now()
    _job(cast, tiny, clock)
    clock.advance(seconds=30)
    _job(cast, tiny, clock)
    _job(cast, other, clock, state="failed")
    _job(cast, other, clock, state="running", finished_at=None, claimed_by="w", lease_expires_at=clock.now())
    assert count_uses() == 0
    clock.advance(seconds=30)
    assert count_uses() == 1
    assert _counts() == {"other": (0, None), "tiny": (6, start)}
    clock.advance(seconds=30)
    assert (count_uses(), count_uses()) == (1, 0)
    clock.advance(days=1)
    assert count_uses() == 0
    assert _counts() == {"other": (0, None), "tiny": (7, start + timedelta(seconds=30))}


def test_a_job_that_took_long_is_counted_when_it_ends(cast: Cast, clock: FrozenClock) -> None:
    tiny = make_checkpoint("tiny")
    slow = _job(cast, tiny, clock, state="queued", finished_at=None)
    quick = _job(cast, tiny, clock)
    clock.advance(minutes=10)
    assert count_uses() == 1
    assert UsageWatermark.objects.get().first_open_id == slow.pk
    GenerationJob.objects.filter(pk=slow.pk).update(state="succeeded", finished_at=clock.now())
    clock.advance(minutes=2)
    assert count_uses() == 1
    assert _counts()["tiny"][0] == 2
    # Later runs do not read what is behind them.
    assert UsageWatermark.objects.get().first_open_id == quick.pk + 1


def test_a_smaller_id_that_becomes_visible_late_is_counted(cast: Cast, clock: FrozenClock) -> None:
    tiny = make_checkpoint("tiny")
    smaller = _job(cast, tiny, clock)
    GenerationJob.objects.filter(pk=smaller.pk).delete()
    _job(cast, tiny, clock)
    queued_at = clock.now()
    clock.advance(seconds=30)
    assert count_uses() == 0
    # Its transaction took half a minute longer than its neighbour's.
    _job(cast, tiny, clock, pk=smaller.pk, queued_at=queued_at)
    clock.advance(seconds=90)
    assert count_uses() == 2


def test_adapters_are_used_too(cast: Cast, clock: FrozenClock) -> None:
    tiny = make_checkpoint("tiny")
    lora, embedding, vae = (
        make_checkpoint(kind, kind=kind) for kind in (Kind.LORA, Kind.EMBEDDING, Kind.VAE)
    )
    adapters = {
        "loras": [{"entry_id": lora.pk, "name": "lora", "scale": 1.0}],
        "embeddings": [{"entry_id": embedding.pk, "name": "embedding"}],
        "vae": {"entry_id": vae.pk, "name": "vae"},
    }
    _job(cast, tiny, clock, request={"prompt": "x", "adapters": adapters})
    _job(cast, tiny, clock, request={"prompt": "x", "adapters": adapters | {"vae": None, "embeddings": []}})
    clock.advance(minutes=2)
    assert count_uses() == 2
    assert {name: count for name, (count, _) in _counts().items()} == {
        "tiny": 2,
        "lora": 2,
        "embedding": 1,
        "vae": 1,
    }


def test_many_jobs_are_few_queries(cast: Cast, clock: FrozenClock) -> None:
    checkpoints = [make_checkpoint(f"m{number}") for number in range(20)]
    for checkpoint in checkpoints * 3:
        _job(cast, checkpoint, clock)
    clock.advance(minutes=2)
    with CaptureQueriesContext(connection) as queries:
        assert count_uses() == 60
    updates = [each for each in queries if each["sql"].startswith('UPDATE "catalog_entry"')]
    assert (len(updates), {count for count, _ in _counts().values()}) == (1, {3})
