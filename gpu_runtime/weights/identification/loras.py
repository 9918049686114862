"""Low-rank adapters: the trainer's names, algorithm, rank and parts; the family is `lora_families`'."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

from gpu_runtime.adapters.lora_keys import Part, Stems, sort_names
from gpu_runtime.errors import NotRecognised, WeightsCorrupt
from gpu_runtime.weights.identification.contents import Contents, component_facts
from gpu_runtime.weights.identification.lora_families import base_family
from gpu_runtime.weights.identification.said import identified
from gpu_runtime.weights.taxonomy import ComponentFacts, Detail, FileFormat, Identified, ModelKind

_TELLING = re.compile(
    r"\.(lora_(down|up|A|B|linear_layer)|hada_w[12]|lokr_w[12]|lora\.(down|up)|oft_(blocks|diag))\b"
    r"|_lora\.(down|up)\.|lora[12]\.(down|up)\.|\.(hada|lokr)_"
)
"""Endings only adapters have; plain `.diff` or `.alpha` alone prove nothing."""

_HALVES = {
    Part.DOWN: Part.UP,
    Part.UP: Part.DOWN,
    Part.HADA_W1_A: Part.HADA_W1_B,
    Part.HADA_W2_A: Part.HADA_W2_B,
    Part.LOKR_W1_A: Part.LOKR_W1_B,
    Part.LOKR_W2_A: Part.LOKR_W2_B,
}
"""A factor and the one it is useless without."""

_DENOISER_COMPONENTS = {"sd15": "unet", "sd2": "unet", "sdxl": "unet"}
_CONTROL_LORA = "img_in.lora_A.weight"

_PLACES = (
    ("lora_te1_", "text_encoder"),
    ("lora_te2_", "text_encoder_2"),
    ("lora_te3_", "text_encoder_3"),
    ("lora_te_", "text_encoder"),
    ("text_encoder_2.", "text_encoder_2"),
    ("text_encoder_3.", "text_encoder_3"),
    ("text_encoder.", "text_encoder"),
    ("text_encoders.", "text_encoder"),
)


def claim(contents: Contents) -> Identified | None:
    """A LoRA or one of its kin. Raises WeightsCorrupt for a torn one, NotRecognised for an unknown base."""
    telling = sum(1 for name in contents.names if _TELLING.search(name))
    # Training states of whole models carry a few adapters; an adapter is little else.
    if not telling or 10 * telling < len(contents.names):
        return None
    if contents.has("image_proj.") or contents.has("ip_adapter.") or "lora_controlnet" in contents.tensors:
        return None
    stems = sort_names(contents.names)
    _require_halves(contents, stems)
    family = base_family(contents, stems)
    rank, most_ranks = _rank(contents, stems)
    return identified(
        contents,
        ModelKind.LORA,
        family=family,
        variant="control" if _CONTROL_LORA in contents.tensors else "",
        file_format=_file_format(contents, stems),
        components=_components(contents, stems, family),
        details=_details(contents, stems, rank, most_ranks),
    )


def _require_halves(contents: Contents, stems: Stems) -> None:
    for stem, parts in stems.parts.items():
        for part, other in _HALVES.items():
            if part in parts and other not in parts:
                raise WeightsCorrupt(f"{contents.path.name} is incomplete: {stem} has {part} without {other}")
    if not stems.parts and not stems.unsupported:
        raise NotRecognised(f"{contents.path.name} is an adapter of an unknown kind")


def _algorithm(stems: Stems) -> str:
    if stems.unsupported:
        return stems.unsupported.lower()
    kinds = Counter(_kind(parts) for parts in stems.parts.values())
    for algorithm in ("lokr", "loha", "locon"):
        if kinds[algorithm]:
            return algorithm
    return "lora" if kinds["lora"] else "full"


def _kind(parts: Mapping[Part, str]) -> str:
    if any(part.value.startswith("lokr") for part in parts):
        return "lokr"
    if any(part.value.startswith("hada") for part in parts):
        return "loha"
    if Part.MID in parts:
        return "locon"
    return "lora" if Part.DOWN in parts else "full"


def _rank(contents: Contents, stems: Stems) -> tuple[int, bool]:
    """The most frequent rank, and whether there are others."""
    ranks: Counter[int] = Counter()
    for parts in stems.parts.values():
        for part, dimension in (
            (Part.DOWN, 0),
            (Part.HADA_W1_B, 0),
            (Part.LOKR_W2_B, 0),
            (Part.LOKR_W1_B, 0),
        ):
            if part in parts and (shape := contents.shape(parts[part])):
                ranks[shape[dimension]] += 1
                break
    return (ranks.most_common(1)[0][0], len(ranks) > 1) if ranks else (0, False)


def _details(contents: Contents, stems: Stems, rank: int, is_mixed: bool) -> dict[str, Detail]:
    details: dict[str, Detail] = {
        "algorithm": _algorithm(stems),
        "rank": rank,
        "layers": len(stems.parts),
        "has_convolutions": _has_convolutions(contents, stems),
    }
    if is_mixed:
        details["has_several_ranks"] = True
    alpha = contents.metadata.get("ss_network_alpha", contents.config.get("lora_alpha", ""))
    # Most files say nothing, or "None"; their tensors hold each layer's own.
    with suppress(ValueError, TypeError):
        details |= {"alpha": float(alpha)} if math.isfinite(float(alpha)) else {}
    return details


def _has_convolutions(contents: Contents, stems: Stems) -> bool:
    """Whether it changes convolutions of more than one pixel."""
    for parts in stems.parts.values():
        shape = contents.shape(parts[Part.DOWN]) if Part.DOWN in parts else None
        if shape is not None and len(shape) == 4 and shape[2:] != (1, 1):
            return True
        if Part.MID in parts or Part.HADA_T1 in parts or Part.LOKR_T2 in parts:
            return True
    return False


def _file_format(contents: Contents, stems: Stems) -> FileFormat:
    if _algorithm(stems) in ("lokr", "loha", "locon") or (
        contents.metadata.get("ss_network_module", "").startswith("lycoris")
    ):
        return FileFormat.LYCORIS
    stem = next(iter(stems.parts), contents.names[0])
    if stem.startswith("base_model.model."):
        return FileFormat.PEFT
    if stem.startswith(("unet.", "transformer.", "text_encoder.", "text_encoder_2.")):
        return FileFormat.DIFFUSERS_LORA
    if stem.startswith(("lora_unet_", "lora_te", "lora_transformer_", "lora_prior_")):
        return FileFormat.KOHYA
    return FileFormat.OTHER


def _components(contents: Contents, stems: Stems, family: str) -> tuple[ComponentFacts, ...]:
    found: dict[str, list[str]] = {}
    denoiser = _DENOISER_COMPONENTS.get(family, "transformer")
    for stem, parts in stems.parts.items():
        bare = stem.removeprefix("base_model.model.")
        component = next((name for prefix, name in _PLACES if bare.startswith(prefix)), denoiser)
        if component == "text_encoder_3" and family == "flux":
            component = "text_encoder_2"
        found.setdefault(component, []).extend(parts.values())
    return tuple(
        component_facts(name, "", [contents.tensors[each] for each in found[name]])
        for name in (denoiser, "text_encoder", "text_encoder_2", "text_encoder_3")
        if name in found
    )
