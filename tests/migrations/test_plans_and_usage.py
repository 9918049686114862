"""Data migrations of plans, from rows in the old shape."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from apps.generation.choices import Kind

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


def test_plans_that_had_every_kind_have_every_kind(migrate: Migrate) -> None:
    plans = migrate("plans", "0001_create_plans").get_model("plans", "Plan").objects
    limits = {"calls_per_day": 7, "queue_depth": 1, "max_samples": 1}
    plans.create(code="old", name="Old", limits={**limits, "kinds": ["txt2img"]}, is_default=True)
    plans.create(code="none", name="None", limits={**limits, "kinds": []})
    later = migrate("plans", "0002_include_every_kind_of_generation").get_model("plans", "Plan").objects
    assert later.get(code="old").limits == {**limits, "kinds": list(Kind.values)}
    assert later.get(code="none").limits == {**limits, "kinds": []}


def test_the_shipped_plans_have_every_kind() -> None:
    fixture = Path(apps.get_app_config("plans").path) / "fixtures" / "plans.json"
    for entry in json.loads(fixture.read_text(encoding="utf-8")):
        assert entry["fields"]["limits"]["kinds"] == list(Kind.values)
