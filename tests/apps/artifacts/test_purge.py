from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction

from apps.artifacts import services, store
from apps.artifacts.models import Artifact
from apps.artifacts.tasks import purge_expired_artifacts
from apps.core.db import NotInTransaction
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_account, make_artifact, write_artifact


def _age(path: Path, clock: FrozenClock, **age: float) -> None:
    moment = (clock.now() - timedelta(**age)).timestamp()
    os.utime(path, (moment, moment))


def test_a_group_is_recorded_once(cast: Cast, clock: FrozenClock) -> None:
    group = uuid4()
    images = [write_artifact(group=group, index=index) for index in range(2)]

    def record(job_id: int) -> None:
        with transaction.atomic():
            services.record_artifacts(
                job_id=job_id,
                account_id=cast.account.pk,
                group=group,
                artifacts=images,
                now=clock.now(),
                expires_at=clock.now(),
            )

    record(1)
    with pytest.raises(IntegrityError):
        record(2)
    rows = Artifact.objects.order_by("index")
    assert [(row.job_id, row.index, row.seed, row.media_type) for row in rows] == [
        (1, 0, 1, "image/png"),
        (1, 1, 2, "image/png"),
    ]
    assert [row.file_path for row in rows] == [image.file.path for image in images]


@pytest.mark.django_db(transaction=True)
def test_recording_needs_a_transaction(clock: FrozenClock) -> None:
    account = make_account()
    with pytest.raises(NotInTransaction):
        services.record_artifacts(
            job_id=1,
            account_id=account.pk,
            group=uuid4(),
            artifacts=[],
            now=clock.now(),
            expires_at=clock.now(),
        )


def test_what_has_expired_goes_and_the_rest_stays(cast: Cast, clock: FrozenClock) -> None:
    short = make_artifact(cast.account, job_id=1, lifetime=timedelta(hours=1))
    long = make_artifact(cast.account, job_id=2, lifetime=timedelta(hours=1, seconds=1))
    clock.advance(hours=1)
    assert purge_expired_artifacts() == 1
    assert list(Artifact.objects.all()) == [long]
    assert (short.file_path.exists(), long.file_path.exists()) == (False, True)


def test_the_purge_takes_the_oldest_first(cast: Cast, clock: FrozenClock) -> None:
    lifetimes = [3, 1, 2]
    artifacts = [make_artifact(cast.account, job_id=n, lifetime=timedelta(hours=n)) for n in lifetimes]
    now = clock.advance(days=1)
    assert services.purge_expired(now=now, limit=2) == 2
    assert list(Artifact.objects.all()) == [artifacts[0]]
    assert services.purge_expired(now=now, limit=2) == 1
    assert services.purge_expired(now=now, limit=2) == 0


def test_a_crash_between_file_and_row_leaves_what_the_next_purge_finds(
    cast: Cast, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = make_artifact(cast.account)
    path = artifact.file_path

    def crash(paths: list[Path]) -> None:
        for each in paths:
            each.unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "delete_files", crash)
        with pytest.raises(KeyboardInterrupt):
            services.purge_expired(now=clock.advance(hours=2))
    assert (Artifact.objects.count(), path.exists()) == (1, False)
    assert services.purge_expired(now=clock.now()) == 1
    assert not Artifact.objects.exists()


def test_the_sweep_spares_referenced_and_young_files(cast: Cast, clock: FrozenClock) -> None:
    kept = make_artifact(cast.account).file_path
    young = write_artifact(group=uuid4()).file.path
    stray = write_artifact(group=uuid4()).file.path
    half = stray.with_name(f"{store.TEMPORARY_PREFIX}abc")
    half.write_bytes(b"half")
    for path in (kept, stray, half):
        _age(path, clock, hours=1, seconds=1)
    _age(young, clock, minutes=59)
    assert services.sweep_unreferenced(now=clock.now()) == 2
    assert [path.exists() for path in (kept, young, stray, half)] == [True, True, False, False]
