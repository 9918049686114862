"""Data migrations of the catalogue and of API keys, from rows in the old shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
Migrate = Callable[[str, str], Any]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def migrate() -> Iterator[Migrate]:
    """Brings one app to a migration and returns the models of then; everything is up to date afterwards."""

    def to(app: str, name: str) -> Any:
        executor = MigrationExecutor(connection)
        executor.migrate([(app, name)])
        return MigrationExecutor(connection).loader.project_state([(app, name)]).apps

    yield to
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


def _entry(models: Any, name: str, **fields: Any) -> Any:
    values = {"title": name, "path": "/x", "digest": "0" * 64, "size_bytes": 1, "licence": "MIT"}
    return models.get_model("catalog", "CatalogEntry").objects.create(
        name=name, created_at=NOW, **values | fields
    )


def test_names_and_search_are_filled_in(migrate: Migrate) -> None:
    old = migrate("catalog", "0004_index_lists_and_keep_deleted")
    _entry(old, "one", aliases=["first", "shared", "two"])
    _entry(old, "two", aliases=["shared", "second"], description="about foxes")
    new = migrate("catalog", "0005_write_names_and_search_by_trigger")
    names = new.get_model("catalog", "CatalogName").objects.order_by("name")
    # An alias that two entries had stays with the older, and a name beats an alias.
    assert [(row.name, row.entry.name) for row in names] == [
        ("first", "one"),
        ("one", "one"),
        ("second", "two"),
        ("shared", "one"),
        ("two", "two"),
    ]
    entries = new.get_model("catalog", "CatalogEntry").objects
    assert [row.aliases for row in entries.order_by("name")] == [["first", "shared"], ["second"]]
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM catalog_entry WHERE search @@ to_tsquery('simple', 'fox:*')")
        assert cursor.fetchall() == [("two",)]


def test_keys_get_the_scopes_of_models(migrate: Migrate) -> None:
    old = migrate("apikeys", "0002_know_scopes_of_models")
    accounts, keys = old.get_model("accounts", "Account").objects, old.get_model("apikeys", "ApiKey").objects
    customer, operator = (
        accounts.create(name=slug, slug=slug, created_at=NOW) for slug in ("ada", "operator")
    )
    given = {
        "reads-jobs": (customer, ["images:generate", "jobs:read"]),
        "generates": (customer, ["images:generate"]),
        "has-it": (customer, ["jobs:read", "models:read"]),
        "quickstart": (operator, ["jobs:read"]),
    }
    for number, (name, (account, scopes)) in enumerate(given.items()):
        keys.create(
            account=account,
            name=name,
            scopes=scopes,
            prefix=f"aaaaaaa{number}",
            digest=str(number) * 64,
            created_at=NOW,
        )
    new = migrate("apikeys", "0003_give_keys_scopes_of_models")
    found = {key.name: key.scopes for key in new.get_model("apikeys", "ApiKey").objects.all()}
    assert found == {
        "reads-jobs": ["images:generate", "jobs:read", "models:read"],
        "generates": ["images:generate"],
        "has-it": ["jobs:read", "models:read"],
        "quickstart": ["jobs:read", "models:read", "models:write", "models:admin"],
    }
