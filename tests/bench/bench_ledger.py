"""How many jobs a second one tenant can pay for: each held in one transaction and captured in another.

Regime: services alone, in processes of their own, against the PostgreSQL that DATABASE_URL names, on a
database of its own that is dropped at the end. All of them work on one tenant, whose rows order them: the
worst case. fsync is as the server has it, so that what a commit costs is in every figure.

- hot tenant: hold + capture (two transactions, what a job costs), 1 and 4 processes; images a second are
  this times the images of a job.
- hot tenant, batches: the same by `hold_together` and `capture_together`, as submits and workers do, 8 jobs
  a transaction: a call of the A1111 dialect for so many images, and what a worker has ready at once.
- hot tenant, batches of one: by the same statements, a job a transaction, as every other dialect's calls.
- two updates: the baseline, two transactions of one conditional UPDATE each: the same number of commits.
- many tenants: the same as the first, a tenant each for the 4 processes.
- invariants: seconds to prove the ledger that the run has left.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from tests.bench.reporting import Rounds, publish, read_arguments

DATABASE = "darkroom_bench_ledger"
JOBS_OF_A_PROCESS = 10_000_000
PRICE_MICRO = 2_000
PROCESSES = 4
BATCH = 8
"""Jobs that are held, and later captured, in one transaction."""
CASES: Final = (
    ("hot tenant", "pay_one", 1, ""),
    ("hot tenant", "pay_one", PROCESSES, ">= 1000 images/s"),
    ("hot tenant, batches of one", "pay_by_one", 1, ""),
    ("hot tenant, batches of one", "pay_by_one", PROCESSES, ">= 1000 images/s"),
    (f"hot tenant, batches of {BATCH}", "pay_together", 1, ""),
    (f"hot tenant, batches of {BATCH}", "pay_together", PROCESSES, ">= 1000 images/s"),
    ("many tenants", "pay_own", PROCESSES, ""),
    ("two updates (baseline)", "update", 1, ""),
    ("two updates (baseline)", "update", PROCESSES, ""),
)
"""Name, work, processes, target."""


def main() -> None:
    arguments = read_arguments(__doc__, rounds=3, seconds=5)
    figures = [
        Rounds(f"{name}, {count} process{'es' * (count > 1)}", "jobs/s", target)
        for name, _, count, target in CASES
    ]
    proof = Rounds("invariants of the ledger", "s")
    with_database(lambda: measure(arguments.rounds, arguments.seconds, figures, proof))
    baseline = {
        count: figures[place].median for place, (_, work, count, _) in enumerate(CASES) if work == "update"
    }
    publish(
        "ledger",
        [*figures, proof],
        settings={"rounds": arguments.rounds, "seconds": arguments.seconds},
        details={
            "of_the_baseline": {
                figure.name: round(figure.median / baseline[case[2]], 3)
                for figure, case in zip(figures, CASES, strict=True)
            }
        },
        target=arguments.json,
    )


def measure(rounds: int, seconds: int, figures: list[Rounds], proof: Rounds) -> None:
    seed()
    with ProcessPoolExecutor(PROCESSES, initializer=start_django) as pool:
        # Every process has connected and prepared before anything counts.
        warm_up = len(CASES) - 1
        list(pool.map(drive, [warm_up] * PROCESSES, range(PROCESSES), [0] * PROCESSES, [0.5] * PROCESSES))
        for turn in range(1, rounds + 1):
            for case, figure in enumerate(figures):
                count = CASES[case][2]
                rates = pool.map(drive, [case] * count, range(count), [turn] * count, [seconds] * count)
                figure.values.append(sum(rates))
            proof.values.append(pool.submit(prove).result())


def with_database(act: Callable[[], None]) -> None:
    """Run `act` with an empty database of the server's own, migrated."""
    given = urlsplit(os.environ["DATABASE_URL"])
    server = ["--maintenance-db", urlunsplit(given._replace(path="/postgres"))]
    os.environ["DATABASE_URL"] = urlunsplit(given._replace(path=f"/{DATABASE}"))
    subprocess.run(["dropdb", *server, "--if-exists", DATABASE], check=True)
    subprocess.run(["createdb", *server, DATABASE], check=True)
    try:
        subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], check=True)
        act()
    finally:
        subprocess.run(["dropdb", *server, "--force", DATABASE], check=True)


def start_django() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.config.settings")
    os.environ["DARKROOM_LOG_LEVEL"] = "ERROR"
    import django

    django.setup()


def seed() -> None:
    """Tenants with more money than a run can spend. In a process of its own: no connection is inherited."""
    with ProcessPoolExecutor(1, initializer=start_django) as pool:
        pool.submit(seed_rows).result()


def seed_rows() -> None:
    from django.db import transaction

    from apps.accounts.services import create_account
    from apps.audit.refs import SYSTEM
    from apps.billing.ledger.services import top_up
    from apps.core.clock import now

    for number in range(PROCESSES):
        account = create_account(
            name=f"Tenant {number}", slug=f"tenant-{number}", time_zone="UTC", actor=SYSTEM, now=now()
        )
        with transaction.atomic():
            top_up(account_id=account.pk, amount_micro=10**15, key=f"seed:{number}", memo="", now=now())


def drive(case: int, process: int, turn: int, seconds: float) -> float:
    """Do the work of a case over and over for `seconds`; how many jobs a second."""
    from apps.accounts.models import Account

    work = CASES[case][1]
    tenant = Account.objects.get(slug=f"tenant-{process if work == 'pay_own' else 0}")
    act = {"update": update_twice, "pay_by_one": pay_together, "pay_together": pay_together}.get(
        work, pay_one
    )
    size = BATCH if work == "pay_together" else 1
    first = ((turn * len(CASES) + case) * PROCESSES + process) * JOBS_OF_A_PROCESS
    done = 0
    started = time.monotonic()
    while (spent := time.monotonic() - started) < seconds:
        act(tenant.pk, range(first + done, first + done + size))
        done += size
    return done / spent


def update_twice(account_id: int, _: Sequence[int]) -> None:
    """As many commits as a job costs, and one balance in each of them."""
    from django.db import transaction
    from django.db.models import F

    from apps.billing.ledger.models import LedgerAccount

    wallet = LedgerAccount.objects.filter(account_id=account_id, kind="wallet", balance_micro__gte=0)
    for _turn in range(2):
        with transaction.atomic():
            wallet.update(balance_micro=F("balance_micro") + 0)


def pay_one(account_id: int, jobs: Sequence[int]) -> None:
    from django.db import transaction

    from apps.billing.choices import Source
    from apps.billing.ledger.services import capture, hold
    from apps.core.clock import now

    [job_id] = jobs
    with transaction.atomic():
        hold(account_id=account_id, job_id=job_id, source=Source.WALLET, amount_micro=PRICE_MICRO, now=now())
    with transaction.atomic():
        capture(job_id=job_id, amount_micro=PRICE_MICRO, now=now())


def pay_together(account_id: int, jobs: Sequence[int]) -> None:
    from django.db import transaction

    from apps.billing.ledger.together import capture_together, hold_together
    from apps.core.clock import now

    with transaction.atomic():
        chosen = hold_together(
            account_id=account_id,
            prices=[PRICE_MICRO] * len(jobs),
            job_ids=lambda: jobs,
            may_pay_later=lambda: False,
            now=now(),
        )
    with transaction.atomic():
        captured = capture_together(dict.fromkeys(jobs, PRICE_MICRO), now=now())
    assert len(chosen) == len(captured) == len(jobs)


def prove() -> float:
    """Seconds for every check of the ledger; each must hold."""
    from apps.billing.ledger.invariants import LEDGER_CHECKS
    from apps.core.clock import now

    started = time.monotonic()
    found = [line for check in LEDGER_CHECKS for line in check(now())]
    assert found == [], found[:5]
    return time.monotonic() - started


if __name__ == "__main__":
    main()
