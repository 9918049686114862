"""Form-encoded parameters (`items[0][price]=…`) as a tree, with typed readers that refuse as Stripe does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl

from tests.fake_stripe.errors import invalid, required

KEY_PART = re.compile(r"\[([^\]]*)\]")


class Params:
    """A node of the tree: names to texts or further nodes. An empty text means "clear this"."""

    def __init__(self, tree: Mapping[str, Any], *, path: str = "") -> None:
        self._tree = tree
        self._path = path

    def __contains__(self, name: str) -> bool:
        return name in self._tree

    def __bool__(self) -> bool:
        return bool(self._tree)

    def text(self, name: str, default: str | None = None) -> str | None:
        value = self._tree.get(name, default)
        if isinstance(value, dict):
            raise invalid(f"Invalid string: {value}", param=self.path_of(name))
        return None if value == "" else value

    def need(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise required(self.path_of(name))
        return value

    def whole(self, name: str, default: int | None = None) -> int | None:
        value = self.text(name)
        if value is None:
            return default
        if not re.fullmatch(r"-?\d+", value):
            raise invalid(
                f"Invalid integer: {value}", param=self.path_of(name), code="parameter_invalid_integer"
            )
        return int(value)

    def decimal(self, name: str) -> Decimal | None:
        value = self.text(name)
        try:
            return None if value is None else Decimal(value)
        except InvalidOperation as error:
            raise invalid(f"Invalid decimal: {value}", param=self.path_of(name)) from error

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.text(name)
        if value not in {None, "true", "false"}:
            raise invalid(f"Invalid boolean: {value}", param=self.path_of(name))
        return default if value is None else value == "true"

    def node(self, name: str) -> Params:
        value = self._tree.get(name, {})
        return Params(value if isinstance(value, dict) else {}, path=self.path_of(name))

    def rows(self, name: str) -> list[Params]:
        """The nodes of a list, in the order of their indices."""
        value = self._tree.get(name, {})
        if not isinstance(value, dict):
            return []
        ordered = sorted(value.items(), key=lambda item: int(item[0]) if item[0].isdigit() else 0)
        return [
            Params(row, path=f"{self.path_of(name)}[{index}]")
            for index, row in ordered
            if isinstance(row, dict)
        ]

    def texts(self, name: str) -> list[str]:
        value = self._tree.get(name, {})
        return [str(item) for item in value.values()] if isinstance(value, dict) else []

    def table(self, name: str) -> dict[str, str]:
        value = self._tree.get(name, {})
        return dict(value) if isinstance(value, dict) else {}

    def choice(self, name: str, allowed: set[str], default: str) -> str:
        value = self.text(name) or default
        if value not in allowed:
            raise invalid(
                f"Invalid {self.path_of(name)}: must be one of {', '.join(sorted(allowed))}",
                param=self.path_of(name),
            )
        return value

    def path_of(self, name: str) -> str:
        return f"{self._path}[{name}]" if self._path else name

    def flat(self, prefix: str = "") -> Iterator[str]:
        """Dotted names of what was sent, without indices of lists: `items.price`."""
        for name, value in self._tree.items():
            path = prefix if name.isdigit() or name == "" else f"{prefix}.{name}" if prefix else name
            if isinstance(value, dict):
                yield from Params(value).flat(path)
            else:
                yield path


def parse(encoded: str) -> Params:
    tree: dict[str, Any] = {}
    for key, value in parse_qsl(encoded, keep_blank_values=True):
        head, bracket, _ = key.partition("[")
        parts = [head, *(KEY_PART.findall(key) if bracket else [])]
        _put(tree, parts, value)
    return Params(tree)


def _put(tree: dict[str, Any], parts: list[str], value: str) -> None:
    for part in parts[:-1]:
        name = part or str(len(tree))
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise invalid(f"Invalid parameters near {part!r}")
    tree[parts[-1] or str(len(tree))] = value


def merge_metadata(old: Mapping[str, str], params: Params) -> dict[str, str]:
    """Stripe merges key by key; an empty value removes its key, and `metadata=` all of them."""
    if "metadata" in params and not params.table("metadata"):
        return {}
    merged = {**old, **params.table("metadata")}
    if len(merged) > 50:
        raise invalid("You can have up to 50 keys in metadata", param="metadata")
    for key, value in merged.items():
        if len(key) > 40 or len(value) > 500:
            raise invalid(f"Metadata {key!r} is too long: 40 characters a key, 500 a value", param="metadata")
    return {key: value for key, value in merged.items() if value != ""}
