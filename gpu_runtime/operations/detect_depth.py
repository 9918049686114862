"""`detect.depth`, `detect.normal`, `detect.segmentation`: by imported networks of transformers, "model"."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.operations.context import Context, Picture
from gpu_runtime.operations.detecting import put_map, work_picture
from gpu_runtime.preprocessors import depths
from gpu_runtime.preprocessors.depths import Floats
from gpu_runtime.preprocessors.imported import Imported, load_imported
from gpu_runtime.preprocessors.scene_colours import COLOURS

DEPTH_CLASSES = ("DepthAnythingForDepthEstimation", "DPTForDepthEstimation", "GLPNForDepthEstimation")
METRIC_CLASSES = ("GLPNForDepthEstimation",)
SCENE_CLASSES = ("UperNetForSemanticSegmentation", "SegformerForSemanticSegmentation")


def depth(context: Context) -> Iterator[float]:
    """image -> nearness: white is near."""
    near = yield from _nearness(context, work_picture(context))
    put_map(context, depths.depth_map(near))
    yield 1.0


def normal(context: Context) -> Iterator[float]:
    """image -> normals, from its depth. threshold_a: nearness (0 to 1) of what is background (0.4)."""
    near = yield from _nearness(context, work_picture(context))
    background = context.number("threshold_a", depths.BACKGROUND)
    put_map(context, depths.normal_map(near, background=background))
    yield 1.0


def segmentation(context: Context) -> Iterator[float]:
    """image -> what is where, in the 150 colours of ADE20K."""
    picture = work_picture(context)
    imported = context.load("model", _load_scenes)
    if imported.network.config.num_labels != len(COLOURS):
        raise UnsupportedCombination(
            f"the segmentation model tells {imported.network.config.num_labels} things apart; control images "
            f"are drawn in the colours of ADE20K's {len(COLOURS)}: import a model trained on ADE20K"
        )
    yield 0.2
    logits = imported.network(imported.reading.tensor(picture, context.device)).logits
    yield 0.9
    logits = functional.interpolate(logits.float(), picture.shape[:2], mode="bilinear", align_corners=False)
    put_map(context, COLOURS[logits[0].argmax(dim=0).cpu().numpy()])
    yield 1.0


def _nearness(context: Context, picture: Picture) -> Generator[float, None, Floats]:
    """[h, w] of the picture, 0 to 1."""
    imported = context.load("model", _load_depth)
    yield 0.2
    values = imported.network(imported.reading.tensor(picture, context.device)).predicted_depth
    yield 0.9
    values = functional.interpolate(
        values.float()[:, None], picture.shape[:2], mode="bicubic", align_corners=False
    )
    return depths.nearness(
        np.asarray(values[0, 0].cpu().numpy(), dtype=np.float32), is_metric=_is_metric(imported)
    )


def _is_metric(imported: Imported) -> bool:
    """Whether the network says distances, where the others say nearness."""
    kind = getattr(imported.network.config, "depth_estimation_type", "relative")
    return kind == "metric" or type(imported.network).__name__ in METRIC_CLASSES


def _load_depth(folder: Path, device: str) -> Imported:
    return _load(folder, device, classes=DEPTH_CLASSES, purpose="depth")


def _load_scenes(folder: Path, device: str) -> Imported:
    return _load(folder, device, classes=SCENE_CLASSES, purpose="segmentation")


def _load(folder: Path, device: str, *, classes: tuple[str, ...], purpose: str) -> Imported:
    with torch.inference_mode(False):
        return load_imported(folder, device, classes=classes, purpose=purpose)
