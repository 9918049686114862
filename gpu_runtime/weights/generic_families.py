"""Families that run through diffusers' own pipelines, one row each. No torch here.

`family_facts` makes its rows of these; `gpu_runtime/families/generic.py` runs them. A family is one
architecture: pipelines of other classes that load the same kind of denoiser share its row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gpu_runtime.messages import Sampler


@dataclass(frozen=True, slots=True, kw_only=True)
class GenericFamily:
    """One architecture without step sharing. Fields as in `family_facts.FamilyFacts`."""

    family: str
    title: str
    pipeline_classes: tuple[str, ...]
    native_px: int = 1024
    max_native_side_px: int = 2048
    steps: int
    guidance_scale: float
    sampler: Sampler = Sampler.EULER
    """The noise scheduler of the released checkpoints; these families always use the checkpoint's own."""
    side_multiple_px: int = 16
    variants: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """Steps and guidance scale of variants, by their name."""


GENERIC_FAMILIES = (
    GenericFamily(
        family="pixart",
        title="PixArt alpha and sigma",
        pipeline_classes=("PixArtAlphaPipeline", "PixArtSigmaPipeline"),
        steps=20,
        guidance_scale=4.5,
        sampler=Sampler.DPMPP_2M,
    ),
    GenericFamily(
        family="sana",
        title="Sana",
        pipeline_classes=("SanaPipeline", "SanaSprintPipeline"),
        steps=20,
        guidance_scale=4.5,
        sampler=Sampler.DPMPP_2M,
        side_multiple_px=32,
        variants={"sprint": (2, 4.5)},
    ),
    GenericFamily(
        family="lumina",
        title="Lumina-Next",
        pipeline_classes=("LuminaPipeline", "LuminaText2ImgPipeline"),
        steps=30,
        guidance_scale=4.0,
    ),
    GenericFamily(
        family="lumina2",
        title="Lumina-Image 2.0",
        pipeline_classes=("Lumina2Pipeline", "Lumina2Text2ImgPipeline"),
        steps=30,
        guidance_scale=4.0,
    ),
    GenericFamily(
        family="hunyuan-dit",
        title="Hunyuan-DiT",
        pipeline_classes=("HunyuanDiTPipeline",),
        steps=50,
        guidance_scale=5.0,
        sampler=Sampler.DDPM,
    ),
    GenericFamily(
        family="auraflow",
        title="AuraFlow",
        pipeline_classes=("AuraFlowPipeline",),
        steps=50,
        guidance_scale=3.5,
    ),
    GenericFamily(
        family="cogview3",
        title="CogView3-Plus",
        pipeline_classes=("CogView3PlusPipeline",),
        steps=50,
        guidance_scale=7.0,
        sampler=Sampler.DDIM,
        side_multiple_px=32,
    ),
    GenericFamily(
        family="cogview4",
        title="CogView4",
        pipeline_classes=("CogView4Pipeline",),
        steps=50,
        guidance_scale=3.5,
        side_multiple_px=32,
    ),
    GenericFamily(
        family="chroma",
        title="Chroma",
        pipeline_classes=("ChromaPipeline",),
        steps=35,
        guidance_scale=5.0,
    ),
    GenericFamily(
        family="flux2",
        title="FLUX.2",
        pipeline_classes=("Flux2Pipeline", "Flux2KleinPipeline"),
        steps=28,
        guidance_scale=4.0,
        variants={"klein": (4, 1.0), "klein-base": (50, 4.0)},
    ),
    GenericFamily(
        family="qwen-image",
        title="Qwen-Image",
        pipeline_classes=("QwenImagePipeline",),
        native_px=1328,
        steps=50,
        guidance_scale=4.0,
    ),
    GenericFamily(
        family="z-image",
        title="Z-Image",
        pipeline_classes=("ZImagePipeline",),
        steps=50,
        guidance_scale=5.0,
        variants={"turbo": (9, 0.0)},
    ),
    GenericFamily(
        family="kandinsky3",
        title="Kandinsky 3",
        pipeline_classes=("Kandinsky3Pipeline",),
        steps=25,
        guidance_scale=3.0,
        sampler=Sampler.DDPM,
        side_multiple_px=64,
    ),
    GenericFamily(
        family="prx",
        title="PRX",
        pipeline_classes=("PRXPipeline",),
        steps=28,
        guidance_scale=4.0,
        side_multiple_px=32,
    ),
    GenericFamily(
        family="ovis-image",
        title="Ovis-Image",
        pipeline_classes=("OvisImagePipeline",),
        steps=50,
        guidance_scale=5.0,
    ),
    GenericFamily(
        family="hidream",
        title="HiDream-I1",
        pipeline_classes=("HiDreamImagePipeline",),
        steps=50,
        guidance_scale=5.0,
        variants={"dev": (28, 0.0), "fast": (16, 0.0)},
    ),
    GenericFamily(
        family="hunyuan-image",
        title="HunyuanImage 2.1",
        pipeline_classes=("HunyuanImagePipeline",),
        native_px=2048,
        steps=50,
        guidance_scale=3.5,
        side_multiple_px=64,
        variants={"distilled": (8, 3.25)},
    ),
    GenericFamily(
        family="bria",
        title="Bria 3",
        pipeline_classes=("BriaPipeline",),
        steps=30,
        guidance_scale=5.0,
    ),
    GenericFamily(
        family="ernie-image",
        title="ERNIE-Image",
        pipeline_classes=("ErnieImagePipeline",),
        steps=50,
        guidance_scale=4.0,
    ),
    GenericFamily(
        family="krea2",
        title="Krea 2",
        pipeline_classes=("Krea2Pipeline",),
        steps=28,
        guidance_scale=4.5,
    ),
)
