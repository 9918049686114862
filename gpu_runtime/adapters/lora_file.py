"""Reads a LoRA file, safetensors only, and fits it to the networks of a checkpoint.

Formats: kohya (`lora_unet_…`, alpha beside the tensors, diffusers' or LDM's block names), diffusers old and
new, peft, LyCORIS (LoCon with or without Tucker middle, LoHa, LoKr, full differences), and for Flux and SD3
the layouts of BFL, XLabs and SAI with fused projections.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from gpu_runtime.adapters.deltas import Damaged, Delta, Misfit, memory_of
from gpu_runtime.adapters.lora_build import build
from gpu_runtime.adapters.lora_keys import Part, Stems, sort_names
from gpu_runtime.adapters.lora_metadata import DeclaredScales
from gpu_runtime.adapters.lora_names import Place, is_for_text, locate
from gpu_runtime.adapters.lora_targets import Slot, Targets
from gpu_runtime.errors import CheckpointMissing, RuntimeFault, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.weights.family_facts import facts_of
from gpu_runtime.weights.identify import identify
from gpu_runtime.weights.safetensors_header import check_safetensors

log = logging.getLogger(__name__)

NAMES_IN_LOG = 8

Places: TypeAlias = Mapping[str, Place | None]
"""Where each stem belongs, None where no network has it."""


@dataclass(slots=True)
class FittedLora:
    """A file's deltas by component and layer, on the device."""

    layers: dict[str, dict[str, tuple[Delta, ...]]] = field(default_factory=dict)

    def add(self, component: str, slot: Slot, deltas: tuple[Delta, ...]) -> None:
        """Keep a layer's deltas."""
        rows = slot.rows
        own = deltas if rows is None else tuple(delta.rows(rows) for delta in deltas)
        self.layers.setdefault(component, {})[slot.path] = own

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor; fused projections share theirs."""
        for layers in self.layers.values():
            for deltas in layers.values():
                for delta in deltas:
                    yield from delta.tensors()

    @property
    def size_bytes(self) -> int:
        """Bytes in memory, what is shared counted once."""
        return memory_of(self.tensors())


def read_lora(name: str, path: str, family: str, targets: Mapping[str, Targets]) -> FittedLora:
    """Read the file and fit it to the networks of a checkpoint of `family`, by component.

    Raises CheckpointMissing, WeightsCorrupt for damaged files and tensors that do not fit,
    UnsupportedCombination for algorithms that are not supported and for adapters of another family.
    """
    file = Path(path)
    if not file.is_file():
        raise CheckpointMissing(f"LoRA {name}: {file} is not there")
    check_safetensors(file)
    try:
        # Any: safetensors' reader is untyped.
        with safe_open(str(file), framework="pt", device="cpu") as reader:
            return _read(name, file, family, reader, targets)
    except SafetensorError as error:
        raise WeightsCorrupt(f"LoRA {name}: {file} could not be read: {error}") from error


def _read(name: str, file: Path, family: str, reader: Any, targets: Mapping[str, Targets]) -> FittedLora:
    stems = sort_names(reader.keys())
    if stems.unsupported:
        raise UnsupportedCombination(f"LoRA {name} is a {stems.unsupported}, which is not supported")
    places = {stem: locate(stem, targets) for stem in stems.parts}
    _require_family(name, file, family, places)
    declared = DeclaredScales(reader.metadata())
    fitted, misfits = FittedLora(), {}
    for stem, place in places.items():
        if place is None:
            continue
        parts = {part: reader.get_tensor(full) for part, full in stems.parts[stem].items()}
        try:
            _fit(fitted, parts, place, targets[place.component], declared)
        except Misfit as misfit:
            misfits[stem] = str(misfit)
        except Damaged as damage:
            raise WeightsCorrupt(f"LoRA {name}: {file}: {stem}: {damage}") from damage
    _judge(name, file, family, places, misfits)
    _require_finite(name, fitted)
    _report_unknown(name, stems, places)
    return fitted


def _fit(
    fitted: FittedLora,
    parts: Mapping[Part, Tensor],
    place: Place,
    targets: Targets,
    declared: DeclaredScales,
) -> None:
    """Build a stem's deltas, move them to the device and share them out. Raises Misfit or Damaged."""
    layers = [targets.layers[slot.path] for slot in place.slots]
    if any(layer.is_grouped for layer in layers):
        raise Misfit("the layer is a convolution in groups")
    taken = fitted.layers.get(place.component, {})
    if any(slot.path in taken for slot in place.slots):
        return  # the same layer under a second name: some trainers write both
    height = sum(layer.shape[0] for layer in layers)
    shape = torch.Size((height, *layers[0].shape[1:]))
    scale = declared.of(place.component, place.slots[0].path)
    deltas = tuple(delta.to(targets.device, targets.dtype) for delta in build(parts, shape, scale))
    for slot in place.slots:
        fitted.add(place.component, slot, deltas)


def _require_family(name: str, file: Path, family: str, places: Places) -> None:
    """Refuse a file most of whose layers are not in this network. Text encoders may be missing."""
    known = [stem for stem, place in places.items() if place is not None]
    unknown = [stem for stem, place in places.items() if place is None and not is_for_text(stem)]
    if not known or len(unknown) > len(known):
        raise UnsupportedCombination(_other_family(name, _identified(file)[0], family))


def _judge(name: str, file: Path, family: str, places: Places, misfits: Mapping[str, str]) -> None:
    """One tensor of a wrong shape is damage; in most layers it is another model of the same layout."""
    if not misfits:
        return
    own, variant = _identified(file)
    if variant == "control":
        raise UnsupportedCombination(f"LoRA {name} takes a control image beside the prompt")
    if own not in ("", family) or 2 * len(misfits) > sum(place is not None for place in places.values()):
        raise UnsupportedCombination(_other_family(name, own, family))
    stem, reason = next(iter(misfits.items()))
    raise WeightsCorrupt(f"LoRA {name}: {file} does not fit in {len(misfits)} layers; {stem}: {reason}")


def _identified(file: Path) -> tuple[str, str]:
    """Family and variant that identification takes the file for, "" for nothing it knows."""
    try:
        found = identify(file)
    except RuntimeFault:
        return "", ""
    return found.family, found.variant


def _other_family(name: str, own: str, family: str) -> str:
    if own in ("", family):
        return f"LoRA {name} is for another network than this {_title(family)} checkpoint's"
    return f"LoRA {name} is for {_title(own)}, the checkpoint is {_title(family)}"


def _title(family: str) -> str:
    facts = facts_of(family)
    return facts.title if facts else family


def _require_finite(name: str, fitted: FittedLora) -> None:
    """One check for all tensors: a single wait for the device. Raises WeightsCorrupt."""
    sums = [tensor.sum(dtype=torch.float32) for tensor in fitted.tensors()]
    if sums and not bool(torch.isfinite(torch.stack(sums)).all()):
        raise WeightsCorrupt(f"LoRA {name} has values that are not finite")


def _report_unknown(name: str, stems: Stems, places: Places) -> None:
    unused = [*stems.unknown, *(stem for stem, place in places.items() if place is None)]
    if unused:
        shown = ", ".join(unused[:NAMES_IN_LOG]) + (", …" if len(unused) > NAMES_IN_LOG else "")
        log.warning("LoRA %s: %d names mean nothing here and are left out: %s", name, len(unused), shown)
