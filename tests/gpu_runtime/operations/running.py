"""Runs one operation by itself, with the weights that ship."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gpu_runtime.operations.context import Build, Context
from gpu_runtime.operations.registry import ENTRIES, run_of
from gpu_runtime.utility.shipped import SHIPPED
from gpu_runtime.work import Asset, Setting

T = TypeVar("T")


class Shelf:
    """A loader that keeps everything."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Any] = {}

    def load(self, asset: Asset, device: str, build: Build[T]) -> T:
        key = (asset.digest, device)
        if key not in self.kept:
            self.kept[key] = build(Path(asset.path), device)
        return self.kept[key]


SHELF = Shelf()


def shipped(name: str) -> Asset:
    """One of the weights that ship."""
    weights = next(each for each in SHIPPED if each.name == name)
    return Asset(
        name=name,
        path=str(weights.folder),
        digest=name,
        variant=weights.variant,
        details=dict(weights.details),
    )


def context_of(
    name: str,
    inputs: Mapping[str, Any],
    *,
    assets: Mapping[str, Asset] | None = None,
    seed: int = 0,
    is_cramped: bool = False,
    **settings: Setting,
) -> Context:
    return Context(
        operation=name,
        inputs=inputs,
        settings=settings,
        assets=assets or {},
        device="cpu",
        rng=np.random.default_rng(seed),
        loader=SHELF,
        is_cramped=is_cramped,
    )


def run(context: Context) -> Context:
    """The context with its outputs; inputs must be as they were, and shares must rise to 1 at most."""
    before = {key: value.copy() for key, value in context.inputs.items() if isinstance(value, np.ndarray)}
    shares = list(run_of(context.operation)(context))
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)
    assert all(np.array_equal(context.inputs[key], value) for key, value in before.items())
    assert set(ENTRIES[context.operation].outputs) <= context.outputs.keys()
    return context


def run_one(name: str, inputs: Mapping[str, Any], **rest: Any) -> Any:
    """Its output "image"."""
    return run(context_of(name, inputs, **rest)).outputs["image"]
