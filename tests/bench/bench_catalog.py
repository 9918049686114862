"""Lists, searches and pages of 100,000 models: how long an answer takes, and what it does to memory.

Regime: a database of its own on the server that DATABASE_URL names, migrated and filled with the rows of
`catalog_rows` (dropped at the end), the web application in this process, asked through Django's test client:
key check, query, rendering and JSON, but no socket. One request at a time, every answer read whole; filling,
VACUUM ANALYZE and a warm-up round are not counted. The caller's account owns a hundredth of the rows and is
lent a few; a tenth is private to others.

- each figure is one kind of request over many different words, filters or pages; p95 of a round
- processor ms (in the JSON document): what this process and its database backend used, mean of a kind; unlike
  the times it says something on a busy machine, too
- memory: resident size of this process before and after 2,000 requests of all kinds

A broad search counts its matches up to 3,000 (300 by relevance), and page numbers end there by contract.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg

from tests.bench.reporting import Rounds, publish, read_arguments, spread

ROWS: Final = 100_000
TARGET: Final = "p95 <= 50"
REQUESTS_OF_MEMORY: Final = 2000


def main() -> None:
    arguments = read_arguments(__doc__, rounds=3, requests=100, rows=ROWS)
    with own_database():
        client = prepare(arguments.rows)
        kinds = request_kinds(client, arguments.rows)
        figures = {name: Rounds(f"{name}, p95", "ms", TARGET) for name in kinds}
        durations: dict[str, list[float]] = {name: [] for name in kinds}
        for make in kinds.values():
            measure(client, make, 10, seed=0)
        used: dict[str, float] = dict.fromkeys(kinds, 0.0)
        for number in range(arguments.rounds):
            for name, make in kinds.items():
                before = processor_s()
                found = measure(client, make, arguments.requests, seed=number + 1)
                used[name] += processor_s() - before
                figures[name].values.append(spread(found)["p95"])
                durations[name] += found
        asked = arguments.rounds * arguments.requests
        memory = memory_growth(client, list(kinds.values()))
        publish(
            "catalog",
            [*figures.values(), memory],
            settings={"rows": arguments.rows, "rounds": arguments.rounds, "requests": arguments.requests},
            details={
                "answer_ms": {name: spread(values) for name, values in durations.items()},
                "processor_ms": {name: round(total * 1000 / asked, 2) for name, total in used.items()},
                "table_mb": table_mb(),
            },
            target=arguments.json,
        )


@contextmanager
def own_database() -> Iterator[None]:
    """A new database beside the one that DATABASE_URL names; dropped whatever happens."""
    given = urlsplit(os.environ["DATABASE_URL"])
    name = f"bench_catalog_{os.getpid()}"
    with psycopg.connect(urlunsplit(given), autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
    os.environ["DATABASE_URL"] = urlunsplit(given._replace(path=f"/{name}"))
    try:
        yield
    finally:
        from django.db import connections

        connections.close_all()
        with psycopg.connect(urlunsplit(given), autocommit=True) as server:
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def prepare(rows: int) -> Any:
    """Migrate and fill; returns a client that speaks for the account `mine`."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.config.settings")
    os.environ["DARKROOM_LOG_LEVEL"] = "ERROR"
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from apps.catalog.models import CatalogEntry
    from tests.apps.api.client import ApiClient
    from tests.bench.catalog_rows import Owners, make_rows
    from tests.factories import make_account, make_key, make_plan

    call_command("migrate", verbosity=0)
    make_plan()
    mine = make_account("mine")
    strangers = [make_account(f"stranger-{number}") for number in range(50)]
    started = time.monotonic()
    for batch in make_rows(rows, Owners(mine=mine, strangers=strangers)):
        CatalogEntry.objects.bulk_create(batch)
    lent = CatalogEntry.objects.filter(visibility="accounts").values_list("pk", flat=True)
    through = CatalogEntry.allowed_accounts.through
    through.objects.bulk_create(through(catalogentry_id=key, account=mine) for key in list(lent)[::10])
    print(f"{rows} rows in {time.monotonic() - started:.0f} s", file=sys.stderr)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    return ApiClient(make_key(mine).plaintext)


MakePath = Callable[[random.Random], str]


def request_kinds(client: Any, rows: int) -> dict[str, MakePath]:
    """Name -> a path for one request of that kind."""
    from apps.catalog.models import CatalogEntry
    from tests.bench.catalog_rows import FIRST, SECOND, vocabulary

    rare = vocabulary(4000)
    names = list(
        CatalogEntry.objects.filter(visibility="public", is_enabled=True).values_list("name", flat=True)
    )
    cursors = {order: deep_cursors(client, order) for order in ("most_used", "latest", "name")}
    last_page = len(names) // 20

    def search(words: Callable[[random.Random], str], extra: str = "") -> MakePath:
        return lambda draw: f"/v1/models?q={words(draw)}{extra}"

    return {
        "list, first page": lambda draw: f"/v1/models?limit=20&order={draw.choice(list(cursors))}",
        "list, far pages by cursor": lambda draw: _deep(draw, cursors),
        "search, rare word": search(lambda draw: draw.choice(rare)),
        "search, common word": search(lambda draw: draw.choice([*FIRST, *SECOND])),
        "search, common word, most used": search(
            lambda draw: draw.choice([*FIRST, *SECOND]), "&order=most_used"
        ),
        "search, prefix of 1 to 3 letters": search(lambda draw: draw.choice(FIRST)[: draw.randint(1, 3)]),
        "search, two words": search(lambda draw: f"{draw.choice(FIRST)[:5]}+{draw.choice(SECOND)[:4]}"),
        "search, exact name": search(lambda draw: draw.choice(names)),
        "filter by kind, family, tag": lambda draw: (
            f"/v1/models?kind={draw.choice(['lora', 'checkpoint', 'vae', 'upscaler', 'ip_adapter'])}"
            f"&family={draw.choice(['sd15', 'sdxl', 'flux', 'sd2'])}&tag={draw.choice([*FIRST, 'style'])}"
        ),
        "filter by licence, provider, variant": lambda draw: draw.choice(
            [
                f"/v1/models?provider={draw.choice(['local', *rare[:50]])}",
                f"/v1/models?licence={draw.choice(['openrail', 'cc-by-4.0'])}&order=latest",
                f"/v1/models?variant={draw.choice(['turbo', 'inpaint'])}&commercial=true",
            ]
        ),
        "own models": lambda draw: f"/v1/models?mine=true&order={draw.choice(list(cursors))}",
        "detail": lambda draw: f"/v1/models/{draw.choice(names)}",
        "ModelsLab search, total and page": lambda draw: (
            f"/api/v6/model-search?search={draw.choice([*FIRST, *SECOND, *rare[:50]])}"
            f"&page={draw.randint(1, 5)}"
        ),
        "ModelsLab list, total and any page": lambda draw: (
            f"/api/v6/model-search?page={draw.randint(1, last_page)}"
            f"&sort={draw.choice(['recommended', 'latest', 'asc'])}"
        ),
        "ModelsLab filters, total and page": lambda draw: (
            f"/api/v6/model-search?tags={draw.choice([*FIRST, 'style'])}&page={draw.randint(1, 20)}"
            f"&model_type={draw.choice(['lora', 'checkpoint', 'stable_diffusion_xl'])}"
        ),
        "ModelsLab detail": lambda draw: f"/api/agents/v1/models/{draw.choice(names)}",
        "facets, remembered": lambda draw: "/v1/models/facets",
    }


def deep_cursors(client: Any, order: str) -> list[str]:
    """Cursors from all over the list, found by walking it in the largest steps."""
    found, cursor = [], ""
    while True:
        body = client.get(f"/v1/models?limit=100&order={order}&cursor={cursor}").json()
        cursor = body["next_cursor"]
        if not cursor:
            return found[:: max(1, len(found) // 200)]
        # Good for the same list only: the limit is no part of that.
        found.append(cursor)


def _deep(draw: random.Random, cursors: dict[str, list[str]]) -> str:
    order = draw.choice(list(cursors))
    return f"/v1/models?limit=20&order={order}&cursor={draw.choice(cursors[order])}"


def measure(client: Any, make: MakePath, requests: int, *, seed: int) -> list[float]:
    """Milliseconds of each request; a refusal would be no figure."""
    draw = random.Random(seed)
    found = []
    for _ in range(requests):
        path = make(draw)
        started = time.perf_counter()
        answer = client.get(path)
        found.append((time.perf_counter() - started) * 1000)
        assert answer.status_code == 200, (path, answer.content[:300])
    return found


def memory_growth(client: Any, kinds: Sequence[MakePath]) -> Rounds:
    """How much larger this process is after 2,000 more requests."""
    process = psutil.Process()
    for make in kinds:
        measure(client, make, 10, seed=99)
    before = process.memory_info().rss
    each = REQUESTS_OF_MEMORY // len(kinds)
    for number, make in enumerate(kinds):
        measure(client, make, each, seed=1000 + number)
    grown = Rounds(f"memory after {each * len(kinds)} more requests", "MB", "flat")
    grown.values.append((process.memory_info().rss - before) / 1e6)
    return grown


def processor_s() -> float:
    """What this process and the database process that serves it have used."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    backend = psutil.Process(pid).cpu_times()
    return time.process_time() + backend.user + backend.system


def table_mb() -> dict[str, float]:
    """Size on disk."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_table_size('catalog_entry'), pg_indexes_size('catalog_entry')")
        table, indexes = cursor.fetchone()
    return {"rows": round(table / 1e6, 1), "indexes": round(indexes / 1e6, 1)}


if __name__ == "__main__":
    sys.exit(main())
