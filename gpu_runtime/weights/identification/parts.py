"""Splitting a single file into components, and telling an incomplete one from a foreign one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.taxonomy import ComponentFacts


@dataclass(frozen=True, slots=True)
class Part:
    """Where one component lies in a single file."""

    name: str
    """In the diffusers layout."""
    class_name: str
    prefix: str
    other_prefix: str | None = None
    """Where some tools put it instead."""


_VAE_ENDS = ("encoder.conv_in.weight", "decoder.conv_in.weight", "decoder.conv_out.weight")
_CLIP_ENDS = ("embeddings.token_embedding.weight", "final_layer_norm.weight")
_OPENCLIP_ENDS = ("token_embedding.weight", "ln_final.weight")
_T5_ENDS = ("shared.weight", "encoder.final_layer_norm.weight")

_ENDS = {
    "first_stage_model.": _VAE_ENDS,
    "vae.": _VAE_ENDS,
    "cond_stage_model.transformer.": _CLIP_ENDS,
    "cond_stage_model.model.": _OPENCLIP_ENDS,
    "conditioner.embedders.0.transformer.": _CLIP_ENDS,
    "conditioner.embedders.0.model.": (*_OPENCLIP_ENDS, "text_projection"),
    "conditioner.embedders.1.model.": (*_OPENCLIP_ENDS, "text_projection"),
    "text_encoders.clip_l.transformer.": _CLIP_ENDS,
    "text_encoders.clip_g.transformer.": _CLIP_ENDS,
    "text_encoders.t5xxl.transformer.": _T5_ENDS,
}
"""The first and last tensors of components: one that has others but not these is a torn one."""


def split(contents: Contents, parts: Sequence[Part]) -> tuple[tuple[ComponentFacts, ...], tuple[str, ...]]:
    """Facts of the parts that are there, and the names of those that are not.

    Raises WeightsCorrupt for a part of which only some is there.
    """
    there: list[ComponentFacts] = []
    missing: list[str] = []
    for part in parts:
        places = (part.prefix, part.other_prefix)
        prefix = next((place for place in places if place is not None and contents.has(place)), None)
        if prefix is None:
            missing.append(part.name)
            continue
        _require_ends(contents, part.name, prefix)
        there.append(contents.component(part.name, part.class_name, prefix))
    return tuple(there), tuple(missing)


def _require_ends(contents: Contents, name: str, prefix: str) -> None:
    # Early merges of SD 1 lost the level `text_model`.
    level = "text_model." if contents.has(f"{prefix}text_model.") else ""
    require_names(contents, f"its {name}", [prefix + level + end for end in _ENDS.get(prefix, ())])


def require_names(contents: Contents, what: str, names: Iterable[str]) -> None:
    """Raises WeightsCorrupt naming the first of these tensors that is not there."""
    for name in names:
        if name not in contents.tensors:
            raise WeightsCorrupt(f"{contents.path.name} is incomplete: {what} lacks {name}")


def require_contiguous(contents: Contents, what: str, prefix: str) -> int:
    """The number of blocks under this prefix. Raises WeightsCorrupt when one in between is missing."""
    numbers = contents.blocks(prefix)
    count = max(numbers, default=-1) + 1
    if len(numbers) != count or not count:
        gap = next((n for n in range(count) if n not in numbers), 0)
        raise WeightsCorrupt(f"{contents.path.name} is incomplete: {what} lacks {prefix}.{gap}")
    return count
