"""Adapters of each row of a batch, added while a network runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from gpu_runtime.adapters.plan import LayerPlan, acting, make_plan, plan_key
from gpu_runtime.adapters.use import LoraUse
from gpu_runtime.execution.calling import eager

_MODULES: WeakKeyDictionary[nn.Module, Mapping[str, nn.Module]] = WeakKeyDictionary()
"""Modules inside each network by path; a network's modules never change, its weights may.

Without the network itself, which would keep itself alive.
"""


@contextmanager
def applied(network: nn.Module, component: str, rows: Sequence[Sequence[LoraUse]]) -> Iterator[None]:
    """While open, calls of `network` add each batch row's own adapters, `rows[i]` to row i.

    No weight changes: forward hooks on the layers in question do it, and are gone afterwards whatever
    happens. Where no row has anything for this component there is no hook at all. A row's result is that of
    its adapters alone, and a row without any is the same to the bit as in a call without hooks.

    A compiled network runs uncompiled while this is open, since compiled code does not look at hooks that
    came later. No graph is made or lost by that.
    """
    acting_rows = acting(rows, component)
    first = next((use for row in acting_rows for use in row), None)
    if first is None:
        yield
        return
    plan = first.lora.shelf.get(plan_key(component, acting_rows), lambda: make_plan(component, acting_rows))
    modules = modules_of(network)
    handles = []
    try:
        for path, layer_plan in plan.layers.items():
            handles.append(modules[path].register_forward_hook(_Hook(layer_plan)))
        with uncompiled(network):
            yield
    finally:
        for handle in handles:
            handle.remove()


class _Hook:
    """Adds a layer's plan to its output."""

    __slots__ = ("_plan",)

    def __init__(self, plan: LayerPlan) -> None:
        self._plan = plan

    def __call__(self, layer: Any, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return self._plan.apply(output, arguments[0], layer)


def uncompiled(network: nn.Module) -> AbstractContextManager[None]:
    """While open, the network runs as if it had never been compiled, and so looks at its hooks.

    Its rows are those that it is given, each of them computed in full.
    """
    return eager()


def modules_of(network: nn.Module) -> Mapping[str, nn.Module]:
    """The modules inside a network by path, in their order; found once."""
    modules = _MODULES.get(network)
    if modules is None:
        modules = _MODULES[network] = {path: module for path, module in network.named_modules() if path}
    return modules
