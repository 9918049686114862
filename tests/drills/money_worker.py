"""`python -m tests.drills.money_worker SHARD SHARDS EVENTS FILE`: a caller and a GPU worker in one process.

Runs in the appliance's environment. It asks for its share of the events, several at once under keys of their
own, asks one time in ten again, claims jobs and ends them: most deliver, some fail, some are canceled. How
far it has come stands in FILE, as a client would keep it: killed at any line and started again it asks again
for what it has no answer to. `setup` in place of the arguments makes prices, plans and wallets; `rest SHARDS`
takes back what so many killed workers left, and ends it.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from apps.artifacts.services import NewArtifact
    from apps.generation.models import GenerationJob

BATCH: Final = 10
"""Events that are asked for at once."""
BATCHES_A_CLAIM: Final = 2
"""Batches that are asked for before what waits is claimed, all of it at once."""
SIZES: Final = (64, 128)
RETRIED: Final = 0.1
FAILED: Final = 0.05
CANCELED: Final = 0.05
PAUSE_S: Final = 0.2
"""While the database is away."""
Result = TypeVar("Result")


def main(shard: int, shards: int, events: int, file: Path) -> None:
    worker = Worker(name=f"money/{shard}", seed=os.getpid())
    stubbornly(worker.recover)
    done = int(file.read_text()) if file.exists() else shard
    for turn, batch in enumerate(range(done, events // BATCH, shards), start=1):
        ids = stubbornly(lambda: worker.ask(batch))  # noqa: B023  # called at once
        if worker.dice.random() < RETRIED:
            assert stubbornly(lambda: worker.ask(batch)) == ids  # noqa: B023
        remember(file, batch + shards)
        if turn % BATCHES_A_CLAIM == 0:
            worker.end_some()
    worker.end_all()


def end_the_rest(shards: int) -> None:
    """For when all workers are dead."""
    for shard in range(shards):
        worker = Worker(name=f"money/{shard}", seed=0)
        stubbornly(worker.recover)
        worker.end_all()


def remember(file: Path, position: int) -> None:
    """Whole or not at all."""
    draft = file.with_suffix(".draft")
    draft.write_text(str(position))
    draft.rename(file)


def stubbornly(act: Callable[[], Result]) -> Result:
    """`act`, again and again while the database is away."""
    from django.db import InterfaceError, OperationalError, connection

    while True:
        try:
            return act()
        except (OperationalError, InterfaceError):
            connection.close()
            time.sleep(PAUSE_S)


class Worker:
    """One process's part."""

    def __init__(self, *, name: str, seed: int) -> None:
        from apps.apikeys.models import ApiKey
        from apps.audit.refs import Ref

        self.dice = random.Random(seed)
        self._name = name
        self._ref = Ref(kind="gpu_worker", id=1, label=name)
        self._keys = stubbornly(lambda: list(ApiKey.objects.select_related("account").order_by("pk")))

    def recover(self) -> None:
        """Take back what this worker had when it was killed."""
        from apps.core.clock import now
        from apps.generation.lifecycle import reap_crashed

        reap_crashed(worker=self._name, actor=self._ref, now=now())

    def ask(self, batch: int) -> list[int]:
        """Ids of the jobs of one batch, all of one tenant."""
        from apps.core.clock import now
        from apps.generation.idempotency import make_claim
        from apps.generation.request import GenerationRequest
        from apps.generation.services import Wanted, submit_together
        from tests.harness.seed import CHECKPOINT

        key = self._keys[batch % len(self._keys)]
        wanted = [
            Wanted(
                request=GenerationRequest(
                    prompt="a lighthouse",
                    checkpoint=CHECKPOINT,
                    width=SIZES[number % 2],
                    height=64,
                    steps=1,
                    seed=number,
                ),
                client_options={},
                idempotency=make_claim(key=f"event-{number}", method="POST", path="/", body=b""),
            )
            for number in range(batch * BATCH, (batch + 1) * BATCH)
        ]
        jobs = submit_together(account=key.account, api_key=key, wanted=wanted, now=now())
        return [job.pk for job in jobs]

    def end_all(self) -> None:
        """Whatever waits."""
        while self.end_some():
            pass

    def end_some(self) -> int:
        """Claim what waits and end it; how many were claimed."""
        from apps.core.clock import now
        from apps.generation.claiming import claim_jobs
        from apps.generation.faults import INTERNAL
        from apps.generation.lifecycle import lease_of, refuse_jobs

        claimed: list[GenerationJob] = []
        for suspects in (False, True):
            claimed += stubbornly(
                lambda: claim_jobs(
                    worker=self._name,
                    limit=BATCHES_A_CLAIM * BATCH,
                    now=now(),
                    suspects=suspects,  # noqa: B023  # called at once
                )
            )
        chances = [(job, self.dice.random()) for job in claimed]
        failures = {
            lease_of(job): INTERNAL if chance < FAILED else None
            for job, chance in chances
            if chance < FAILED + CANCELED
        }
        made = [job for job, chance in chances if chance >= FAILED + CANCELED]
        # Those that a try ended whose answer was lost with the database are lost leases to the next.
        if failures:
            stubbornly(lambda: refuse_jobs(failures, worker=self._ref, now=now()))
        if made:
            stubbornly(lambda: self._deliver(made))
        return len(claimed)

    def _deliver(self, jobs: list[GenerationJob]) -> None:
        """All of them at once."""
        from apps.core.clock import now
        from apps.generation.delivering import Delivered
        from apps.generation.lifecycle import finish_jobs, lease_of

        made = {lease_of(job): Delivered(artifacts=images_of(job), timings={}) for job in jobs}
        finish_jobs(made, worker=self._ref, now=now())


def images_of(job: GenerationJob) -> list[NewArtifact]:
    """The job's images, of the size that was asked for, on disk."""
    from tests.factories import write_artifact

    width = int(job.request["width"])
    picture = picture_of(width)

    return [
        replace(write_artifact(group=job.artifact_group, index=index, data=picture), width=width, height=64)
        for index in range(job.num_images)
    ]


@cache
def picture_of(width: int) -> bytes:
    from tests.factories import png_bytes

    return png_bytes(width=width, height=64)


def set_up() -> None:
    """Tenants of four plans: free calls first, a wallet alone, credit first, included calls first."""
    from apps.accounts.models import Account
    from tests.apps.generation.paying import PAID, fill_wallet, give_credit, let_pay_later, publish_prices
    from tests.factories import give_plan

    publish_prices()
    for number, account in enumerate(Account.objects.order_by("pk")):
        own = [{"free_calls_per_day": 20}, {}, {}, {"included_calls_per_month": 30}][number % 4]
        give_plan(account, **PAID | own)
        if number % 4 == 3:
            let_pay_later(account)
        else:
            fill_wallet(account, 100_000_000)
        if number % 4 == 2:
            give_credit(account, 50_000)


def start() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.config.settings")
    import django

    django.setup()
    if sys.argv[1] == "setup":
        set_up()
    elif sys.argv[1] == "rest":
        end_the_rest(int(sys.argv[2]))
    else:
        main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))


if __name__ == "__main__":
    start()
