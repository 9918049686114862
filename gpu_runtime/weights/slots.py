"""Slots: modules that outlive the weights in them.

A slot is one module instance of one architecture. Loading a component into it changes the values of the
module's own tensors, so whatever refers to the module (a compiled graph above all) stays valid while
checkpoints come and go. What an empty slot keeps is the Python object: its tensors hold no memory until the
slot is filled again, and filling spares the construction of the module, which takes longer than the copy for
most of them.

Values are copied in place where device and host memory differ. On the CPU they are in the device's memory as
soon as they are staged, so the module's tensors take over the staged memory instead of a second copy of it.

Knows nothing about files, budgets or checkpoints. Single-threaded; call it outside inference mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.weights.modules import (
    Architecture,
    TensorSpec,
    build_module,
    tensor_specs,
)

MAX_EMPTY_SLOTS = 16
"""Modules kept without weights, a few megabytes of Python objects each."""


class Prepared(Protocol):
    """What a module has beside its own tensors, and follows them."""

    @property
    def size_bytes(self) -> int:
        """Bytes on the device while the slot is filled."""

    def filled(self) -> None:
        """The module has new values."""

    def emptied(self) -> None:
        """The module's tensors have no memory any more."""


Prepare = Callable[[nn.Module], Prepared | None]
"""Called once with each new module before its first use; it may compile the module."""


@dataclass(slots=True, kw_only=True, eq=False)
class Slot:
    """One module instance; equal only to itself."""

    architecture: Architecture
    module: Any
    """A diffusers or transformers module in eval mode, without gradients. Any: untyped there."""
    specs: Mapping[str, TensorSpec]
    """The tensors that a component must bring."""
    tensors: Mapping[str, Tensor]
    """The module's own tensors, by the names in `specs`; without elements while the slot is empty."""
    is_copying: bool = True
    """Whether it has memory of its own; else it takes over that of what it is filled with."""
    is_channels_last: bool = False
    """Whether weights of convolutions are kept in channels-last order, where it has memory of its own."""
    prepared: Prepared | None = None
    has_memory: bool = False
    own_bytes: int = field(init=False)
    """Bytes of its tensors while it has memory. Counted once: a swap asks for it dozens of times."""

    def __post_init__(self) -> None:
        self.own_bytes = sum(spec.size_bytes for spec in self.specs.values())

    @property
    def size_bytes(self) -> int:
        """Bytes on the device when it has memory, with what was prepared."""
        return self.own_bytes + (self.prepared.size_bytes if self.prepared else 0)

    def fill(self, staged: Mapping[str, Tensor]) -> None:
        """Give the module a component's values, converting dtypes where they differ.

        Raises WeightsCorrupt before anything changed if names or shapes do not fit. Allocates first if the
        slot is empty; when that runs out of memory the slot is as empty as before.
        """
        self._verify(staged)
        if self.is_copying:
            self._copy(staged)
        else:
            taken = [staged[name].to(tensor.dtype) for name, tensor in self.tensors.items()]
            self._point_to(taken)
        if self.prepared:
            self.prepared.filled()

    def empty(self) -> None:
        """Give the memory back. The module cannot be called until the next `fill`."""
        nothing = [torch.empty(0, dtype=each.dtype, device=each.device) for each in self.tensors.values()]
        self._point_to(nothing)
        if self.prepared:
            self.prepared.emptied()
        self.has_memory = False

    def _copy(self, staged: Mapping[str, Tensor]) -> None:
        if not self.has_memory:
            # All before any is used: lack of memory must not leave half of them allocated.
            self._point_to([self._memory(spec) for spec in self.specs.values()])
        with torch.no_grad():
            torch._foreach_copy_(
                list(self.tensors.values()), [staged[name] for name in self.tensors], non_blocking=True
            )
        if self.architecture.device.type == "cuda":
            # The sources may be given back as soon as this returns.
            torch.cuda.synchronize(self.architecture.device)

    def _memory(self, spec: TensorSpec) -> Tensor:
        is_last = self.is_channels_last and len(spec.shape) == 4
        order = torch.channels_last if is_last else torch.contiguous_format
        return torch.empty(spec.shape, dtype=spec.dtype, device=self.architecture.device, memory_format=order)

    def _point_to(self, memories: Sequence[Tensor]) -> None:
        for tensor, memory in zip(self.tensors.values(), memories, strict=True):
            tensor.data = memory
        self.has_memory = True

    def _verify(self, staged: Mapping[str, Tensor]) -> None:
        for name, spec in self.specs.items():
            if name not in staged or tuple(staged[name].shape) != spec.shape:
                raise WeightsCorrupt(f"tensor {name} does not fit a {self.architecture.class_name}")


class SlotPool:
    """Makes slots and keeps empty ones for later."""

    def __init__(
        self, *, is_copying: bool = True, is_channels_last: bool = False, prepare: Prepare | None = None
    ) -> None:
        """`is_copying` and `is_channels_last` are as in `Slot`."""
        self._is_copying = is_copying
        self._is_channels_last = is_channels_last
        self._prepare = prepare
        self._empty: list[Slot] = []
        self.built = 0
        """Modules constructed so far."""

    def find(self, architecture: Architecture) -> Slot | None:
        """An empty slot of the architecture, which stays in the pool."""
        return next((slot for slot in self._empty if slot.architecture == architecture), None)

    def take(self, architecture: Architecture, network_class: Any, config: Mapping[str, Any]) -> Slot:
        """An empty slot, an earlier one if there is one. `architecture` is that of class and configuration.

        Raises what the class raises for a configuration that it does not accept.
        """
        slot = self.find(architecture)
        if slot is not None:
            self._empty.remove(slot)
            return slot
        self.built += 1
        module = build_module(network_class, config, architecture.dtype)
        specs = tensor_specs(module, architecture.dtype)
        tensors = {name: _install(module, spec, architecture.device) for name, spec in specs.items()}
        _move_computed_buffers(module, specs, architecture.device)
        prepared = self._prepare(module) if self._prepare else None
        return Slot(
            architecture=architecture,
            module=module,
            specs=specs,
            tensors=tensors,
            is_copying=self._is_copying,
            is_channels_last=self._is_channels_last,
            prepared=prepared,
        )

    def give_back(self, slot: Slot) -> None:
        """Take a slot out of use; its memory is free when this returns."""
        if slot.has_memory:
            slot.empty()
        self._empty.append(slot)
        del self._empty[:-MAX_EMPTY_SLOTS]


def _install(module: nn.Module, spec: TensorSpec, device: torch.device) -> Tensor:
    """Put one tensor without elements in the place of a tensor of the module, under all of its names."""
    owner, _, leaf = spec.names[0].rpartition(".")
    is_parameter = leaf in module.get_submodule(owner)._parameters
    empty = torch.empty(0, dtype=spec.dtype, device=device)
    tensor = nn.Parameter(empty, requires_grad=False) if is_parameter else empty
    for name in spec.names:
        owner, _, leaf = name.rpartition(".")
        # What is registered already is replaced in its own table, and its place in the order stays.
        setattr(module.get_submodule(owner), leaf, tensor)
    return tensor


def _move_computed_buffers(module: nn.Module, specs: Mapping[str, TensorSpec], device: torch.device) -> None:
    """Buffers that no file carries go to the device as the constructor made them."""
    carried = {name for spec in specs.values() for name in spec.names}
    for prefix, part in module.named_modules():
        for leaf, buffer in part._buffers.items():
            if buffer is not None and ".".join(filter(None, (prefix, leaf))) not in carried:
                part._buffers[leaf] = buffer.to(device)
