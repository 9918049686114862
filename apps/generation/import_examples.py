"""What to import where weights are missing: well-known repositories, by what they are for.

Only what the importer can read as it is published, in the form that `models import` takes. Weights that ship
are not listed: they are registered again instead. Variants are those that identification gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from apps.catalog.choices import Kind
from gpu_runtime.utility.shipped import SHIPPED

_FACES: Final = "facefusion/models-3.0.0"
_SD15_CONTROL: Final = "lllyasviel/control_v11"

EXAMPLES: Final[Mapping[tuple[Kind, str, str], str]] = {
    (Kind.PREPROCESSOR, "", "caption"): "Salesforce/blip-image-captioning-base",
    (Kind.PREPROCESSOR, "", "text_mask"): "CIDAS/clipseg-rd64-refined",
    (Kind.PREPROCESSOR, "", "depth"): "depth-anything/Depth-Anything-V2-Small-hf",
    (Kind.PREPROCESSOR, "", "segmentation"): "nvidia/segformer-b0-finetuned-ade-512-512",
    (Kind.FACE, "", "gfpgan"): f"{_FACES}/gfpgan_1.4.onnx",
    (Kind.FACE, "", "codeformer"): f"{_FACES}/codeformer.onnx",
    (Kind.FACE, "", "restoreformer"): f"{_FACES}/restoreformer_plus_plus.onnx",
    (Kind.IP_ADAPTER, "sd15", "plus-face"): "h94/IP-Adapter/models/ip-adapter-plus-face_sd15.safetensors",
    (Kind.CONTROLNET, "sd15", "canny"): f"{_SD15_CONTROL}p_sd15_canny",
    (Kind.CONTROLNET, "sd15", "depth"): f"{_SD15_CONTROL}f1p_sd15_depth",
    (Kind.CONTROLNET, "sd15", "inpaint"): f"{_SD15_CONTROL}p_sd15_inpaint",
    (Kind.CONTROLNET, "sd15", "lineart"): f"{_SD15_CONTROL}p_sd15_lineart",
    (Kind.CONTROLNET, "sd15", "mlsd"): f"{_SD15_CONTROL}p_sd15_mlsd",
    (Kind.CONTROLNET, "sd15", "normal"): f"{_SD15_CONTROL}p_sd15_normalbae",
    (Kind.CONTROLNET, "sd15", "openpose"): f"{_SD15_CONTROL}p_sd15_openpose",
    (Kind.CONTROLNET, "sd15", "scribble"): f"{_SD15_CONTROL}p_sd15_scribble",
    (Kind.CONTROLNET, "sd15", "seg"): f"{_SD15_CONTROL}p_sd15_seg",
    (Kind.CONTROLNET, "sd15", "shuffle"): f"{_SD15_CONTROL}e_sd15_shuffle",
    (Kind.CONTROLNET, "sd15", "softedge"): f"{_SD15_CONTROL}p_sd15_softedge",
    (Kind.CONTROLNET, "sd15", "tile"): f"{_SD15_CONTROL}f1e_sd15_tile",
    (Kind.CONTROLNET, "sd2", "canny"): "thibaud/controlnet-sd21-canny-diffusers",
    (Kind.CONTROLNET, "sd2", "depth"): "thibaud/controlnet-sd21-depth-diffusers",
    (Kind.CONTROLNET, "sd2", "openpose"): "thibaud/controlnet-sd21-openpose-diffusers",
    (Kind.CONTROLNET, "sdxl", "canny"): "diffusers/controlnet-canny-sdxl-1.0",
    (Kind.CONTROLNET, "sdxl", "depth"): "diffusers/controlnet-depth-sdxl-1.0",
    (Kind.CONTROLNET, "sdxl", "scribble"): "xinsir/controlnet-scribble-sdxl-1.0",
    (Kind.CONTROLNET, "sdxl", "tile"): "xinsir/controlnet-tile-sdxl-1.0",
    (Kind.CONTROLNET, "sd3", "canny"): "InstantX/SD3-Controlnet-Canny",
    (Kind.CONTROLNET, "sd3", "openpose"): "InstantX/SD3-Controlnet-Pose",
    (Kind.CONTROLNET, "sd3", "tile"): "InstantX/SD3-Controlnet-Tile",
    (Kind.CONTROLNET, "flux", "union"): "Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro",
}
"""Kind, family ("" for kinds without one) and variant -> repository, or one file of it."""

_SHIPPED: Final = frozenset({(Kind(each.kind.value), each.variant) for each in SHIPPED})


def find_example(kind: Kind, variants: Sequence[str], *, family: str = "") -> str:
    """Of the first variant that has one; "" where none is known."""
    found = (EXAMPLES.get((kind, family, variant), "") for variant in variants)
    return next(filter(None, found), "")


def ships(kind: Kind, variants: Sequence[str]) -> bool:
    """Whether weights that serve come with the appliance; without variants, any of the kind."""
    return any(known == kind and (not variants or variant in variants) for known, variant in _SHIPPED)


def import_hint(kind: Kind, variants: Sequence[str]) -> str:
    """What an operator does about weights that no request finds."""
    which = f" of variant {' or '.join(variants)}" if any(variants) else ""
    hint = f"import a model of kind {kind.value}{which}"
    example = find_example(kind, variants)
    if example:
        return f"{hint}, for example {example}"
    if ships(kind, variants):
        return f"{hint}, or register the one that ships with `deploy/manage bootstrap`"
    return hint
