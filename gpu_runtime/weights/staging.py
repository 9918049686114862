"""Staged components: their tensors in host memory, one copy away from a slot.

Where the staged form is, by device:

- **CPU.** A safetensors file is mapped, and tensors that already have the slot's dtype are views of the
  mapping; those of another dtype are converted once and kept. Slots take them over as they are: the page
  cache is the staged and the resident form in one, and a second copy would only take memory from it.
- **CUDA.** Tensors are converted once and copied into one block of page-locked memory of exactly the needed
  size, from where a copy to the device runs at the bus's full speed. (torch's own page-locked allocator
  rounds up to powers of two, which would waste up to half.)

What counts against the budget is the size of the tensors in the slot's dtypes either way: mapped pages, too,
are memory that others want. A component larger than the whole budget is read straight from its mapping and
not kept. The least recently used goes first.

Assumes that files never change while they are mapped: components of the store are immutable, and deleting one
leaves its mapping whole.
"""

from __future__ import annotations

import json
import logging
import os
import weakref
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from gpu_runtime.errors import CheckpointMissing, WeightsCorrupt
from gpu_runtime.weights.modules import TensorSpec, is_transformers
from gpu_runtime.weights.safetensors_header import check_safetensors
from gpu_runtime.weights.slots import Slot

log = logging.getLogger(__name__)

WEIGHT_NAMES = ("diffusion_pytorch_model.safetensors", "model.safetensors")
"""As diffusers and transformers write them; other names are read only where they are alone."""

ALIGNMENT = 64
"""Bytes at whose multiples tensors begin in page-locked memory: a cache line."""


@dataclass(frozen=True, slots=True)
class Staged:
    """One component in host memory."""

    tensors: Mapping[str, Tensor]
    """By the slot's names."""
    size_bytes: int


class Staging:
    """Least-recently-used set of staged components."""

    def __init__(self, device: torch.device, *, budget_bytes: int) -> None:
        self.is_separate = device.type != "cpu"
        """Whether what is staged is other memory than the device's."""
        self._budget_bytes = budget_bytes
        self._staged: OrderedDict[Hashable, Staged] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """Bytes of everything kept."""
        return sum(staged.size_bytes for staged in self._staged.values())

    def has(self, key: Hashable) -> bool:
        """Whether a component needs no reading."""
        return key in self._staged

    def size_of(self, key: Hashable) -> int:
        """Bytes of one component, 0 when it is not here."""
        return self._staged[key].size_bytes if key in self._staged else 0

    def get(self, key: Hashable, folder: Path, slot: Slot) -> Staged:
        """The component of this folder in the slot's names and dtypes.

        `key` stands for folder and dtype. Raises CheckpointMissing or WeightsCorrupt.
        """
        staged = self._staged.get(key)
        if staged is None:
            staged = self._read(folder, slot)
            self._keep(key, staged)
        else:
            self._staged.move_to_end(key)
        return staged

    def drop(self, keys: Iterable[Hashable]) -> int:
        """Forget components. Returns the bytes that were kept for them."""
        return sum(staged.size_bytes for key in keys if (staged := self._staged.pop(key, None)))

    def _read(self, folder: Path, slot: Slot) -> Staged:
        mapped = read_mapped(folder, slot)
        size = slot.size_bytes
        if size > self._budget_bytes:
            return Staged(mapped, size)
        if self.is_separate:
            self._make_room(size)
            return Staged(_pinned(mapped, slot.specs), size)
        return Staged({name: mapped[name].to(spec.dtype) for name, spec in slot.specs.items()}, size)

    def _keep(self, key: Hashable, staged: Staged) -> None:
        if staged.size_bytes > self._budget_bytes:
            return
        self._make_room(staged.size_bytes)
        self._staged[key] = staged

    def _make_room(self, size_bytes: int) -> None:
        while self._staged and self.size_bytes + size_bytes > self._budget_bytes:
            self._staged.popitem(last=False)


def read_config(folder: Path) -> dict[str, Any]:
    """A component's config.json. Raises CheckpointMissing or WeightsCorrupt."""
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointMissing(f"{folder} has no config.json") from error
    except (OSError, ValueError) as error:
        raise WeightsCorrupt(f"{file} is damaged: {error!r}") from error
    if not isinstance(config, dict):
        raise WeightsCorrupt(f"{file} is damaged: it is no object")
    return config


def read_mapped(folder: Path, slot: Slot) -> dict[str, Tensor]:
    """Tensors of a component's folder by the slot's names, in the file's dtypes, mapped and not yet read.

    Raises CheckpointMissing without weights, WeightsCorrupt when a file is damaged or lacks a tensor.
    """
    found: dict[str, Tensor] = {}
    for file in weight_files(folder):
        check_safetensors(file)
        _read_ahead(file)
        try:
            with safe_open(str(file), framework="pt", device="cpu") as opened:
                found |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
        except (SafetensorError, OSError) as error:
            raise WeightsCorrupt(f"{file} could not be read: {error}") from error
    return matched(folder, found, slot)


def _read_ahead(file: Path) -> None:
    """Have the system read the file into the page cache, without waiting for it."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
    finally:
        os.close(descriptor)


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a component: the shards of its index, or the one file.

    Raises CheckpointMissing without any, WeightsCorrupt for a damaged index.
    """
    for name in WEIGHT_NAMES:
        index = folder / f"{name}.index.json"
        if index.is_file():
            return shards_of(index)
    present = sorted(folder.glob("*.safetensors"))
    named = [file for file in present if file.name in WEIGHT_NAMES]
    if not present:
        raise CheckpointMissing(f"{folder} has no .safetensors file; other formats are not read")
    if not named and len(present) > 1:
        raise CheckpointMissing(f"{folder} has {len(present)} .safetensors files and none is called model")
    return ((named or present)[0],)


def matched(folder: Path, found: dict[str, Tensor], slot: Slot) -> dict[str, Tensor]:
    """What was found, by the slot's names: under it, an alias of tied weights, or with another prefix.

    Files have more than a module takes (position ids, unused heads); what is missing or of another shape
    raises WeightsCorrupt.
    """
    prefix = ""
    if is_transformers(type(slot.module)):
        prefix = _prefix_of(slot.module)
    else:
        slot.module._fix_state_dict_keys_on_load(found)
    taken: dict[str, Tensor] = {}
    missing = []
    for name, spec in slot.specs.items():
        known_as = [form for own in spec.names for form in (own, prefix + own, own.removeprefix(prefix))]
        key = next((form for form in known_as if form in found), None)
        if key is None or tuple(found[key].shape) != spec.shape:
            missing.append(name)
        else:
            taken[name] = found[key]
    if missing:
        class_name = slot.architecture.class_name
        raise WeightsCorrupt(
            f"{folder} lacks {len(missing)} tensors of a {class_name}, or has them in another shape; "
            f"first: {missing[0]}"
        )
    return taken


def _prefix_of(module: Any) -> str:
    """What stands before a name in files of models that contain this one, with its dot; else ""."""
    # CLIPTextModel lost its inner "text_model" in transformers 5; files from before still have it.
    return "text_model." if type(module).__name__.startswith("CLIPText") else ""


def shards_of(index: Path) -> tuple[Path, ...]:
    """The files that an index names. Raises CheckpointMissing or WeightsCorrupt."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsCorrupt(f"{index} is damaged: {error!r}") from error
    files = tuple(index.parent / str(name) for name in names)
    for file in files:
        # A name from the file must not lead out of the folder, nor to another format.
        if file.parent != index.parent or file.suffix != ".safetensors" or not file.is_file():
            raise CheckpointMissing(f"{file}, named in {index.name}, is missing")
    return files


def _pinned(mapped: Mapping[str, Tensor], specs: Mapping[str, TensorSpec]) -> dict[str, Tensor]:
    """Copies in the slot's dtypes, as views of one block: page-locked unless the system refuses."""
    offsets: dict[str, int] = {}
    end = 0
    for name, spec in specs.items():
        offsets[name] = end
        end += -(-spec.size_bytes // ALIGNMENT) * ALIGNMENT
    try:
        block = page_locked(end)
    except (MemoryError, RuntimeError) as error:
        log.warning("weights stay in ordinary memory, from where loading is slower: %s", error)
        block = torch.empty(end, dtype=torch.uint8)
    views = {}
    for name, spec in specs.items():
        part = block[offsets[name] : offsets[name] + spec.size_bytes]
        views[name] = part.view(spec.dtype).view(spec.shape)
        views[name].copy_(mapped[name])
    return views


def page_locked(size_bytes: int) -> Tensor:
    """A block of page-locked host memory, uint8; unlocked and freed with its last view.

    Raises MemoryError or RuntimeError when the system refuses.
    """
    block = torch.empty(size_bytes, dtype=torch.uint8)
    runtime: Any = torch.cuda.cudart()
    status = runtime.cudaHostRegister(block.data_ptr(), size_bytes, 0)
    if int(status) != 0:
        raise MemoryError(f"could not lock {size_bytes} bytes of host memory: CUDA error {int(status)}")
    weakref.finalize(block.untyped_storage(), runtime.cudaHostUnregister, block.data_ptr())
    return block
