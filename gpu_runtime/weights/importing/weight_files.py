"""Which files of a component's folder hold its weights: one variant, safetensors before pickles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpu_runtime.weights.importing.sources import Tensors, open_shards, open_weights
from gpu_runtime.weights.variants import ORDERS, common_variant, variant_of

STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
SUFFIXES = ("safetensors", "bin")
_SHARD = re.compile(r".*-\d{5}-of-\d{5}\.(safetensors|bin)")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFiles:
    """The file to read, or the index of several."""

    path: Path
    is_index: bool

    def open(self) -> Tensors:
        """Every tensor, lazily. Raises WeightsCorrupt, UnsafeFile or ImportRefused."""
        return open_shards(self.path) if self.is_index else open_weights(self.path)


def order_for(folders: Iterable[Path], precision: str) -> Sequence[str]:
    """Variants to take from the component folders of one model, the best first."""
    offered = [
        {variant_of(file.name) for file in folder.glob("*") if _is_weights(file)} for folder in folders
    ]
    return (common_variant(offered, precision), *ORDERS[precision])


def _is_weights(file: Path) -> bool:
    return file.name.startswith(STEMS) and file.name.endswith(SUFFIXES)


def find_weight_files(folder: Path, order: Sequence[str]) -> WeightFiles | None:
    """The weights to import from a component's folder, None when it has none.

    Files named otherwise (EMA, ONNX, Flax) are not read.
    """
    for suffix in SUFFIXES:
        for variant in order:
            for stem in STEMS:
                found = _find(folder, stem, suffix, variant)
                if found is not None:
                    return found
    others = [file for file in sorted(folder.glob("*.safetensors")) if not _SHARD.fullmatch(file.name)]
    others = [file for file in others if file.name.split(".")[0] not in STEMS]
    return WeightFiles(path=others[0], is_index=False) if len(others) == 1 else None


def _find(folder: Path, stem: str, suffix: str, variant: str) -> WeightFiles | None:
    dotted = f".{variant}" if variant else ""
    whole = folder / f"{stem}{dotted}.{suffix}"
    if whole.is_file():
        return WeightFiles(path=whole, is_index=False)
    # Both spellings are in use: diffusers puts the variant last, transformers in the middle.
    for name in dict.fromkeys((f"{stem}.{suffix}.index{dotted}.json", f"{stem}{dotted}.{suffix}.index.json")):
        if (folder / name).is_file():
            return WeightFiles(path=folder / name, is_index=True)
    return None
