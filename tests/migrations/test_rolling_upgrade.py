"""During an upgrade processes of older versions insert rows: columns that came later fill themselves.

A column that is added to a table must be nullable or have a default in the database, whatever default its
model has: the statements of an older process do not name it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.models import Field, Model

from apps.core import clock
from apps.generation.models import GenerationJob, GpuWorker
from tests.factories import make_account

pytestmark = pytest.mark.django_db

OURS = sorted(config.label for config in apps.get_app_configs() if config.name.startswith("apps."))


def later_fields() -> Iterator[tuple[str, str, str]]:
    """(app, model, field) of every column that came after the first migration of its app."""
    loader = MigrationLoader(None)
    for app in OURS:
        first = [node for node in loader.graph.nodes if node[0] == app and node[1].startswith("0001")]
        known = loader.project_state(first).models if first else {}
        for model in apps.get_app_config(app).get_models():
            before = known.get((app, model._meta.model_name or ""))
            for field in model._meta.concrete_fields if before else ():
                if before and field.name not in before.fields:
                    yield app, model.__name__, field.name


def field_of(model: type[Model], name: str) -> Field[Any, Any]:
    found = model._meta.get_field(name)
    assert isinstance(found, Field)
    return found


LATER = sorted(later_fields())


def test_table_is_not_empty() -> None:
    """The control: the columns that gave rise to this file are in it."""
    assert ("generation", "GenerationJob", "result") in LATER
    assert ("generation", "GpuWorker", "tflop_per_s") in LATER
    assert all(model != "GenerationJob" or field != "state" for _, model, field in LATER)


@pytest.mark.parametrize(("app", "model", "field"), LATER)
def test_column_that_came_later_fills_itself(app: str, model: str, field: str) -> None:
    found = field_of(apps.get_model(app, model), field)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT is_nullable, column_default FROM information_schema.columns"
            " WHERE table_name = %s AND column_name = %s",
            [found.model._meta.db_table, found.column],
        )
        is_nullable, default = cursor.fetchone()
    assert is_nullable == "YES" or default is not None


def make_job() -> GenerationJob:
    now = clock.now()
    return GenerationJob.objects.create(
        account=make_account(),
        kind="upscale",
        request={},
        num_images=1,
        quota_day=now.date(),
        queued_at=now,
        deadline_at=now,
    )


def make_worker() -> GpuWorker:
    now = clock.now()
    return GpuWorker.objects.create(name="first", host="here", pid=1, started_at=now, heartbeat_at=now)


@pytest.mark.parametrize("make", [make_job, make_worker])
def test_statement_that_names_no_later_column_inserts_a_row(make: Any) -> None:
    row: Model = make()
    later = {field for _, model, field in LATER if model == type(row).__name__}
    fields = [field for field in row._meta.concrete_fields if field.name not in later]
    table, columns = row._meta.db_table, ", ".join(f'"{field.column}"' for field in fields)
    where = f'"{row._meta.pk.column}" = %s'
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE TEMP TABLE kept AS SELECT {columns} FROM "{table}" WHERE {where}', [row.pk])
        cursor.execute(f'DELETE FROM "{table}" WHERE {where}', [row.pk])
        cursor.execute(f'INSERT INTO "{table}" ({columns}) SELECT {columns} FROM kept')
        cursor.execute("DROP TABLE kept")
    again = type(row)._default_manager.get(pk=row.pk)
    for name in later:
        assert getattr(again, name) == field_of(type(row), name).get_default(), name


def test_models_know_their_defaults_without_asking_the_database() -> None:
    """A row that was not saved has them: the code reads them before."""
    assert (GenerationJob().result, GenerationJob().queue_tag) == ({}, 0.0)
    assert (GpuWorker().weights, GpuWorker().tflop_per_s) == ([], 0.0)
