"""Rows that may only be inserted: the model refuses first, then a trigger in the database."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

from django.db import models

Row = TypeVar("Row", bound=models.Model)


class AppendOnly(RuntimeError):
    """A row that may only ever be inserted was to be changed or deleted."""


class AppendOnlyQuerySet(models.QuerySet[Row]):
    """Refuses bulk changes."""

    def update(self, **kwargs: object) -> NoReturn:
        raise AppendOnly(f"{self.model.__name__} rows cannot be changed")

    def delete(self) -> NoReturn:
        raise AppendOnly(f"{self.model.__name__} rows cannot be deleted")


class AppendOnlyModel(models.Model):
    """Base of tables that are evidence. Their migration adds the trigger `refuse_change`."""

    class Meta:
        abstract = True

    def save(self, **kwargs: Any) -> None:  # Any: Django's own keywords, passed on as they are
        if not self._state.adding:
            raise AppendOnly(f"{type(self).__name__} rows cannot be changed")
        super().save(**kwargs)

    def delete(self, *args: object, **kwargs: object) -> NoReturn:
        raise AppendOnly(f"{type(self).__name__} rows cannot be deleted")
