"""The utility weights that ship: what each is, its licence, and where its files lie. No torch here.

`gpu_runtime/utility/build` made them; `NOTICE` beside the weights names their authors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpu_runtime.weights.taxonomy import Detail, ModelKind

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True, slots=True, kw_only=True)
class UtilityWeights:
    """One set of weights in a folder of its own, with its LICENSE."""

    name: str
    """Folder and catalogue name."""
    kind: ModelKind
    title: str
    description: str
    variant: str
    files: tuple[str, ...]
    licence: str
    """SPDX identifier; every one of them allows commercial use."""
    source_url: str
    details: Mapping[str, Detail] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return WEIGHTS / self.name


SHIPPED = (
    UtilityWeights(
        name="realesrgan-x4plus",
        kind=ModelKind.UPSCALER,
        title="Real-ESRGAN x4plus",
        description="Enlarges photographs four times and mends compression and blur.",
        variant="rrdbnet",
        files=("weights.safetensors",),
        licence="BSD-3-Clause",
        source_url="https://github.com/xinntao/Real-ESRGAN",
        details={"scale": 4, "blocks": 23},
    ),
    UtilityWeights(
        name="realesr-animevideov3",
        kind=ModelKind.UPSCALER,
        title="Real-ESRGAN animevideo v3",
        description="Enlarges drawings four times; small and fast.",
        variant="srvgg",
        files=("weights.safetensors",),
        licence="BSD-3-Clause",
        source_url="https://github.com/xinntao/Real-ESRGAN",
        details={"scale": 4, "convolutions": 16},
    ),
    UtilityWeights(
        name="waifu2x-photo",
        kind=ModelKind.UPSCALER,
        title="waifu2x UpConv7, photo",
        description="Enlarges photographs twice and adds nothing.",
        variant="upconv7",
        files=("weights.safetensors",),
        licence="MIT",
        source_url="https://github.com/nagadomi/waifu2x",
        details={"scale": 2},
    ),
    UtilityWeights(
        name="waifu2x-art",
        kind=ModelKind.UPSCALER,
        title="waifu2x UpConv7, art",
        description="Enlarges drawings twice and keeps their lines.",
        variant="upconv7",
        files=("weights.safetensors",),
        licence="MIT",
        source_url="https://github.com/nagadomi/waifu2x",
        details={"scale": 2},
    ),
    UtilityWeights(
        name="hed",
        kind=ModelKind.PREPROCESSOR,
        title="HED soft edges",
        description="Soft edges of an image, for control images.",
        variant="softedge",
        files=("weights.safetensors",),
        licence="MIT",
        source_url="https://github.com/s9xie/hed",
        details={"stored": "int8"},
    ),
    UtilityWeights(
        name="mediapipe-selfie-segmentation",
        kind=ModelKind.BACKGROUND_REMOVAL,
        title="MediaPipe selfie segmentation",
        description="Tells people in the foreground from what is behind them.",
        variant="person",
        files=("segmentation.onnx",),
        licence="Apache-2.0",
        source_url="https://github.com/google-ai-edge/mediapipe",
        details={"input_px": 256},
    ),
    UtilityWeights(
        name="mediapipe-face-detection",
        kind=ModelKind.FACE,
        title="MediaPipe face detection, short range",
        description="Finds faces and six points of each.",
        variant="detection",
        files=("detection.onnx",),
        licence="Apache-2.0",
        source_url="https://github.com/google-ai-edge/mediapipe",
        details={"input_px": 128},
    ),
    UtilityWeights(
        name="mediapipe-face-mesh",
        kind=ModelKind.FACE,
        title="MediaPipe face mesh",
        description="468 points of one face.",
        variant="landmarks",
        files=("landmarks.onnx",),
        licence="Apache-2.0",
        source_url="https://github.com/google-ai-edge/mediapipe",
        details={"input_px": 192, "points": 468},
    ),
    UtilityWeights(
        name="mediapipe-pose",
        kind=ModelKind.PREPROCESSOR,
        title="MediaPipe pose",
        description="Finds a person and 33 points of the body, for control images.",
        variant="openpose",
        files=("detection.onnx", "landmarks.onnx"),
        licence="Apache-2.0",
        source_url="https://github.com/google-ai-edge/mediapipe",
        details={"input_px": 256, "points": 33},
    ),
    UtilityWeights(
        name="open-nsfw",
        kind=ModelKind.SAFETY,
        title="open_nsfw",
        description="Scores how likely an image shows nudity, 0 to 1.",
        variant="image",
        files=("score.onnx",),
        licence="BSD-2-Clause",
        source_url="https://github.com/yahoo/open_nsfw",
        details={"input_px": 224},
    ),
)
