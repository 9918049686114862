"""How many jobs a second one tenant can pay for: each held in one transaction and captured in another.

Regime: services alone, in processes of their own, against the PostgreSQL that DATABASE_URL names, on a
database of its own that is dropped at the end. All of them work on one tenant, whose rows order them: the
worst case. fsync is as the server has it, so that what a commit costs is in every figure.

- hot tenant: hold + capture (two transactions, what a job costs), 1 and 4 processes; images a second are
  this times the images of a job.
- two updates: the baseline, two transactions of one conditional UPDATE each: the same number of commits.
- many tenants: the same as the first, a tenant each for the 4 processes.
- invariants: seconds to prove the ledger that the run has left.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from urllib.parse import urlsplit, urlunsplit

from tests.bench.reporting import Rounds, publish, read_arguments

DATABASE = "darkroom_bench_ledger"
JOBS_OF_A_PROCESS = 10_000_000
PRICE_MICRO = 2_000
PROCESSES = 4


def main() -> None:
    arguments = read_arguments(__doc__, rounds=3, seconds=5)
    figures = [
        Rounds(f"{name}, {count} process{'es' * (count > 1)}", "jobs/s", target)
        for name, count, target in (
            ("hot tenant", 1, ""),
            ("hot tenant", PROCESSES, ">= 1000 images/s"),
            ("many tenants", PROCESSES, ""),
            ("two updates (baseline)", 1, ""),
            ("two updates (baseline)", PROCESSES, ""),
        )
    ]
    proof = Rounds("invariants of the ledger", "s")
    with_database(lambda: measure(arguments.rounds, arguments.seconds, figures, proof))
    ratio = figures[0].median / figures[3].median
    publish(
        "ledger",
        [*figures, proof],
        settings={"rounds": arguments.rounds, "seconds": arguments.seconds},
        details={"of_the_baseline_1_process": round(ratio, 3)},
        target=arguments.json,
    )


def measure(rounds: int, seconds: int, figures: list[Rounds], proof: Rounds) -> None:
    seed()
    works = ("pay_one", "pay_one", "pay_own", "update", "update")
    with ProcessPoolExecutor(PROCESSES, initializer=start_django) as pool:
        # Every process has connected and prepared before anything counts.
        list(pool.map(drive, ["update"] * PROCESSES, range(PROCESSES), [0] * PROCESSES, [0.5] * PROCESSES))
        for turn in range(1, rounds + 1):
            for figure, work in zip(figures, works, strict=True):
                count = 1 if "1 process" in figure.name else PROCESSES
                rates = pool.map(drive, [work] * count, range(count), [turn] * count, [seconds] * count)
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


def drive(work: str, process: int, turn: int, seconds: float) -> float:
    """Do `work` over and over for `seconds`; how often a second."""
    from django.db import transaction
    from django.db.models import F

    from apps.accounts.models import Account
    from apps.billing.choices import Source
    from apps.billing.ledger.models import LedgerAccount
    from apps.billing.ledger.services import capture, hold
    from apps.core.clock import now

    tenant = Account.objects.get(slug=f"tenant-{process if work == 'pay_own' else 0}")
    places = LedgerAccount.objects.filter(account=tenant, kind="wallet", balance_micro__gte=0)
    works = ("pay_one", "pay_own", "update")
    first = ((turn * len(works) + works.index(work)) * PROCESSES * 2 + process) * JOBS_OF_A_PROCESS
    done = 0
    started = time.monotonic()
    while (spent := time.monotonic() - started) < seconds:
        if work == "update":
            for _ in range(2):
                with transaction.atomic():
                    places.update(balance_micro=F("balance_micro") + 0)
        else:
            with transaction.atomic():
                hold(
                    account_id=tenant.pk,
                    job_id=first + done,
                    source=Source.WALLET,
                    amount_micro=PRICE_MICRO,
                    now=now(),
                )
            with transaction.atomic():
                capture(job_id=first + done, amount_micro=PRICE_MICRO, now=now())
        done += 1
    return done / spent


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
