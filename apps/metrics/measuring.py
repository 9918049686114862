"""Figures that take a look at every row: measured by housekeeping every few minutes, not at every scrape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from django.db import OperationalError, connection, transaction
from django.db.models import Count, Q, Sum

from apps.accounts.models import Account
from apps.artifacts.models import Artifact
from apps.billing.ledger.invariants import BILLING_CHECKS
from apps.billing.ledger.models import LedgerAccount, LedgerLine
from apps.catalog.models import CatalogEntry
from apps.core.counters import Key, gauge
from apps.metrics.storing import forget, replace

MICRO: Final = 10**6
CHECK_TIMEOUT_MS: Final = 30_000
"""Of one check: on a very large database it is left out, and `manage.py invariants` is what to run."""

ARTIFACTS: Final = gauge("darkroom_artifacts", "Stored images.")
ARTIFACT_BYTES: Final = gauge("darkroom_artifact_bytes", "Stored images, all together.")
MODELS: Final = gauge("darkroom_models", "Entries of the catalogue, by kind.", "kind")
MODEL_BYTES: Final = gauge("darkroom_model_bytes", "Weights of the catalogue, by kind.", "kind")
ACCOUNTS: Final = gauge("darkroom_accounts", "Accounts, by whether they are open.", "state")
LEDGER_SUM: Final = gauge(
    "darkroom_ledger_sum_dollars", "All lines of the ledger together: 0, or money is lost."
)
BALANCES: Final = gauge(
    "darkroom_ledger_balance_dollars", "What tenants' places of the ledger hold, by place.", "place"
)
VIOLATIONS: Final = gauge(
    "darkroom_invariant_violations",
    "Counter-examples to what must always be true of money, by check.",
    "check",
)
MEASURED_AT: Final = gauge(
    "darkroom_measured_timestamp_seconds", "When the figures that housekeeping measures were last measured."
)
MEASURED_SERIES: Final = (
    ARTIFACTS,
    ARTIFACT_BYTES,
    MODELS,
    MODEL_BYTES,
    ACCOUNTS,
    LEDGER_SUM,
    BALANCES,
    VIOLATIONS,
    MEASURED_AT,
)


def measure(*, now: datetime) -> int:
    """Measure everything but the checks; how many values there are."""
    values = {**_stored(), **_catalogue(), **_money(), (MEASURED_AT.name, ()): now.timestamp()}
    with transaction.atomic(durable=True):
        # A kind whose last entry went must not keep its last figure.
        forget(MODELS.name)
        forget(MODEL_BYTES.name)
        replace(values, now=now)
    return len(values)


def check_invariants(*, now: datetime) -> Mapping[str, int]:
    """Look for counter-examples to what must be true of money; their numbers by the check's name."""
    found = dict(_violations(now))
    replace({(VIOLATIONS.name, (name,)): float(count) for name, count in found.items()}, now=now)
    return found


def _violations(now: datetime) -> Iterator[tuple[str, int]]:
    for check in BILLING_CHECKS:
        name = check.__name__.removeprefix("_").replace("_", " ")
        try:
            with transaction.atomic(durable=True), connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(CHECK_TIMEOUT_MS)])
                yield name, sum(1 for _ in check(now))
        except OperationalError:
            # It took too long; the last figure stands, with its date.
            continue


def _stored() -> dict[Key, float]:
    stored = Artifact.objects.aggregate(n=Count("pk"), size=Sum("size_bytes"))
    accounts = Account.objects.aggregate(
        open=Count("pk", filter=Q(is_active=True)), closed=Count("pk", filter=Q(is_active=False))
    )
    return {
        (ARTIFACTS.name, ()): float(stored["n"]),
        (ARTIFACT_BYTES.name, ()): float(stored["size"] or 0),
        **{(ACCOUNTS.name, (state,)): float(count) for state, count in accounts.items()},
    }


def _catalogue() -> dict[Key, float]:
    values: dict[Key, float] = {}
    rows = CatalogEntry.objects.live().values("kind").annotate(n=Count("pk"), size=Sum("size_bytes"))
    for row in rows.order_by():
        values[MODELS.name, (row["kind"],)] = float(row["n"])
        values[MODEL_BYTES.name, (row["kind"],)] = float(row["size"])
    return values


def _money() -> dict[Key, float]:
    total = LedgerLine.objects.aggregate(micro=Sum("amount_micro"))["micro"] or 0
    places = LedgerAccount.objects.filter(balance_micro__isnull=False).values("kind")
    return {
        (LEDGER_SUM.name, ()): total / MICRO,
        **{
            (BALANCES.name, (row["kind"],)): row["micro"] / MICRO
            for row in places.annotate(micro=Sum("balance_micro")).order_by()
        },
    }
