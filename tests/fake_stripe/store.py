"""Every object the fake holds, by id, in the order they were made. Knows nothing of what they mean."""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from tests.fake_stripe.errors import invalid, missing
from tests.fake_stripe.params import Params

Obj = dict[str, Any]
MAX_PAGE = 100


class Store:
    def __init__(self, salt: str = "fake") -> None:
        self._objects: dict[str, Obj] = {}
        self._kinds: defaultdict[str, dict[str, Obj]] = defaultdict(dict)
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self._salt = salt
        self.notes: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        """What the fake knows of an object and Stripe would not show, such as the number of a card."""

    def new_id(self, prefix: str) -> str:
        self._numbers[prefix] += 1
        return f"{prefix}_{self._salt}{self._numbers[prefix]:06d}"

    def add(self, obj: Obj) -> Obj:
        self._objects[obj["id"]] = self._kinds[obj["object"]][obj["id"]] = obj
        return obj

    def remove(self, object_id: str) -> None:
        if removed := self._objects.pop(object_id, None):
            del self._kinds[removed["object"]][object_id]

    def find(self, object_id: str | None) -> Obj | None:
        return self._objects.get(object_id or "")

    def get(self, kind: str, object_id: str, *, param: str = "id") -> Obj:
        """Raises the 404 of Stripe where there is no such object of this kind."""
        found = self._objects.get(object_id)
        if found is None or found["object"] != kind:
            raise missing(kind, object_id, param=param)
        return found

    def every(self, kind: str) -> list[Obj]:
        """Oldest first."""
        return list(self._kinds[kind].values())

    def counts(self) -> dict[str, int]:
        return {kind: len(rows) for kind, rows in self._kinds.items()}

    def snapshot(self) -> bytes:
        """For `restore`. Pickled and not copied: a drill has thousands of objects at every payment."""
        return pickle.dumps((self._objects, self._kinds, self._numbers, self.notes))

    def restore(self, snapshot: bytes) -> None:
        self._objects, self._kinds, self._numbers, self.notes = pickle.loads(snapshot)  # ours


def page(
    objects: Iterable[Obj], params: Params, *, url: str, keep: Callable[[Obj], bool] = lambda obj: True
) -> Obj:
    """A list object, newest first, with Stripe's cursors and ranges of `created`."""
    limit = params.whole("limit", 10)
    if limit is None or not 1 <= limit <= MAX_PAGE:
        raise invalid(f"Invalid limit: must be between 1 and {MAX_PAGE}", param="limit")
    rows = [obj for obj in reversed(list(objects)) if keep(obj) and _in_range(obj, params)]
    ids = [obj["id"] for obj in rows]
    after, before = params.text("starting_after"), params.text("ending_before")
    for cursor, name in ((after, "starting_after"), (before, "ending_before")):
        if cursor is not None and cursor not in ids:
            raise invalid(f"No such object: '{cursor}'", param=name, code="resource_missing")
    if after is not None:
        rows = rows[ids.index(after) + 1 :]
    if before is not None:
        rows = rows[: ids.index(before)]
        return as_list(rows[-limit:], url=url, has_more=len(rows) > limit)
    return as_list(rows[:limit], url=url, has_more=len(rows) > limit)


def as_list(rows: list[Obj], *, url: str, has_more: bool = False) -> Obj:
    return {"object": "list", "url": url, "has_more": has_more, "data": rows}


def _in_range(obj: Obj, params: Params) -> bool:
    created = params.node("created")
    if exact := params.whole("created") if not created and "created" in params else None:
        return bool(obj["created"] == exact)
    bounds = {
        "gte": lambda at, limit: at >= limit,
        "gt": lambda at, limit: at > limit,
        "lte": lambda at, limit: at <= limit,
        "lt": lambda at, limit: at < limit,
    }
    return all(
        holds(obj["created"], limit)
        for name, holds in bounds.items()
        if (limit := created.whole(name)) is not None
    )
