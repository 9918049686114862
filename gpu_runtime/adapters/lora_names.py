"""Which component and layer a stem of a LoRA file means, among the networks of one checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gpu_runtime.adapters.lora_targets import Slot, Targets, flatten

DENOISERS = ("unet", "transformer")
TEXT_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
ANY = (*DENOISERS, *TEXT_ENCODERS)

# T5 is the third encoder of SD3 and the second of Flux.
_T5 = ("text_encoder_3", "text_encoder_2")

_PREFIXES: Mapping[str, tuple[str, ...]] = {
    "lora_unet_": DENOISERS,
    "lora_transformer_": DENOISERS,
    "lycoris_": DENOISERS,
    "model_diffusion_model_": DENOISERS,
    "diffusion_model_": DENOISERS,
    "unet_": DENOISERS,
    "transformer_": DENOISERS,
    "base_model_model_": ANY,
    "lora_te_": ("text_encoder",),
    "lora_te1_": ("text_encoder",),
    "lora_te2_": ("text_encoder_2",),
    "lora_te3_": _T5,
    "text_encoder_": ("text_encoder",),
    "text_encoder_2_": ("text_encoder_2",),
    "text_encoder_3_": ("text_encoder_3",),
    "text_encoders_clip_l_transformer_": ("text_encoder",),
    "text_encoders_clip_g_transformer_": ("text_encoder_2",),
    "text_encoders_t5xxl_transformer_": _T5,
    "clip_l_": ("text_encoder",),
    "clip_g_": ("text_encoder_2",),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stem's deltas belong."""

    component: str
    slots: tuple[Slot, ...]


def locate(stem: str, targets: Mapping[str, Targets]) -> Place | None:
    """The layers that a stem means, or None when no network has them."""
    for name, components in _readings(flatten(stem), ANY):
        for component in components:
            slots = targets[component].find(name) if component in targets else ()
            if slots:
                return Place(component, slots)
    return None


def is_for_text(stem: str) -> bool:
    """Whether a stem says that it means a text encoder."""
    name = flatten(stem)
    return any(
        name.startswith(prefix) and set(components) <= set(TEXT_ENCODERS)
        for prefix, components in _PREFIXES.items()
    )


def _readings(name: str, components: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A name as it is, and with each prefix taken off that it may have."""
    yield name, components
    for prefix, narrower in _PREFIXES.items():
        if name.startswith(prefix):
            yield from _readings(name.removeprefix(prefix), tuple(c for c in components if c in narrower))
