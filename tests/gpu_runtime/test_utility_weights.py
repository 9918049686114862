from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import Module

from gpu_runtime.postprocess.edges import HED, load_hed
from gpu_runtime.postprocess.upscalers import RRDBNet, SRVGGNetCompact, build_upscaler, load_upscaler
from gpu_runtime.utility.build.packages import PINS
from gpu_runtime.utility.build.sample import portrait
from gpu_runtime.utility.shipped import SHIPPED, WEIGHTS, UtilityWeights
from gpu_runtime.weights.taxonomy import ModelKind

BY_NAME = {shipped.name: shipped for shipped in SHIPPED}
UPSCALERS = [shipped for shipped in SHIPPED if shipped.kind is ModelKind.UPSCALER]
FREE_LICENCES = {"MIT": "MIT License", "BSD-3-Clause": "BSD 3-Clause", "Apache-2.0": "Apache License"}
FREE_LICENCES |= {"BSD-2-Clause": "BSD 2-Clause"}


def as_tensor(image: Image.Image) -> Tensor:
    """[1, 3, H, W], 0 to 1."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


def upscale(shipped: UtilityWeights, image: Image.Image) -> Tensor:
    network = load_upscaler(load_file(shipped.folder / "weights.safetensors"))
    border = network.border_px // 2
    padded = torch.nn.functional.pad(as_tensor(image), (border,) * 4, mode="replicate")
    with torch.inference_mode():
        return network(padded).clamp(0, 1)


def sharpness(image: Tensor) -> float:
    """Mean of squared differences between neighbours."""
    return float((image.diff(dim=-1) ** 2).mean() + (image.diff(dim=-2) ** 2).mean())


def run_onnx(file: Path, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: image})


def channels_last(side: int) -> NDArray[np.float32]:
    return np.asarray(portrait().resize((side, side)), dtype=np.float32)[None] / 255


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda shipped: shipped.name)
def test_files_are_those_that_were_verified(shipped: UtilityWeights) -> None:
    facts = json.loads((shipped.folder / "facts.json").read_text())
    digests = {
        name: hashlib.sha256((shipped.folder / name).read_bytes()).hexdigest() for name in shipped.files
    }
    assert facts["sha256"] == digests


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda shipped: shipped.name)
def test_licence_lies_beside_the_weights(shipped: UtilityWeights) -> None:
    text = (shipped.folder / "LICENSE").read_text()
    assert "Copyright" in text
    assert FREE_LICENCES[shipped.licence].split()[0] in text or "Redistribution and use" in text


def test_folder_holds_nothing_else_and_stays_below_the_limit() -> None:
    files = {file.relative_to(WEIGHTS).as_posix() for file in WEIGHTS.rglob("*") if file.is_file()}
    expected = {f"{s.name}/{name}" for s in SHIPPED for name in (*s.files, "LICENSE", "facts.json")}
    assert files == expected | {"NOTICE"}
    assert sum((WEIGHTS / file).stat().st_size for file in files) < 80_000_000


def test_notice_names_every_source() -> None:
    notice = (WEIGHTS / "NOTICE").read_text()
    assert all(f"{s.name}: " in notice and s.source_url in notice for s in SHIPPED)
    pins = [line for line in PINS.read_text().splitlines() if not line.startswith("#")]
    assert all(pin in notice and "--hash=sha256:" in pin for pin in pins)


@pytest.mark.parametrize("shipped", UPSCALERS, ids=lambda shipped: shipped.name)
def test_upscaler_enlarges_and_keeps_the_picture(shipped: UtilityWeights) -> None:
    small = portrait().resize((48, 48))
    scale = int(str(shipped.details["scale"]))
    enlarged = upscale(shipped, small)
    bicubic = as_tensor(small.resize((48 * scale, 48 * scale), Image.Resampling.BICUBIC))
    assert enlarged.shape == bicubic.shape
    assert float((enlarged - bicubic).abs().mean()) < 0.02
    assert sharpness(enlarged) > sharpness(bicubic)


def test_tensors_of_another_network_are_refused() -> None:
    with pytest.raises(ValueError, match="no upscaler"):
        build_upscaler({"unet.weight": (3, 3)})
    tensors = load_file(BY_NAME["waifu2x-photo"].folder / "weights.safetensors")
    tensors["conv3.weight"] = tensors["conv3.weight"][:2]
    with pytest.raises(ValueError, match=r"conv3\.weight"):
        load_upscaler(tensors)


def shapes_of(network: Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize(
    "network",
    [RRDBNet(blocks=2, features=8, growth=4, scale=scale) for scale in (1, 2, 4)]
    + [SRVGGNetCompact(convolutions=count, features=8, scale=scale) for count, scale in ((0, 4), (3, 2))],
)
def test_upscaler_is_told_by_its_shapes(network: Module) -> None:
    assert shapes_of(build_upscaler(shapes_of(network))) == shapes_of(network)


RRDB_START = {"conv_first.weight": (64, 3, 3, 3), "body.0.rdb1.conv1.weight": (32, 64, 3, 3)}


@pytest.mark.parametrize(
    "shapes",
    [
        {"conv_first.weight": (64, 3, 3, 3)},
        {"conv_first.weight": (64, 3, 3, 3), "body.0.other": (1,)},
        {"conv_first.weight": (64, 3, 3, 3), "body": (1,), "body.first": (1,)},
        RRDB_START,
        RRDB_START | {"conv_first.weight": ()},
        RRDB_START | {"conv_first.weight": (64, 0, 3, 3)},
        RRDB_START | {"conv_first.weight": (64, 27, 3, 3)},
        RRDB_START | {"conv_first.weight": (2**40, 3, 3, 3)},
        RRDB_START | {"body.0.rdb1.conv1.weight": ()},
        RRDB_START | {"body.100000000.x": (1,)},
        {"body.0.weight": (64, 3, 3, 3), "other": (1,)},
        {"body.0.weight": (64, 3, 3, 3), "body.one": (1,)},
        {"body.0.weight": (), "body.2.weight": ()},
        {"body.0.weight": (1, 3, 3, 3), "body.2.weight": (0, 1, 3, 3)},
        {"body.0.weight": (1, 3, 3, 3), "body.200000.weight": (48, 1, 3, 3)},
        {"body.0.weight": (0, 3, 3, 3), "body.2.weight": (48, 0, 3, 3)},
        {"conv7.weight": (1,)},
        {},
    ],
)
def test_broken_upscaler_is_refused_before_anything_is_built(shapes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="these tensors"):
        build_upscaler(shapes)


def load_shipped_hed() -> HED:
    return load_hed(load_file(BY_NAME["hed"].folder / "weights.safetensors"))


def test_edges_are_on_the_outline_and_nowhere_else() -> None:
    with torch.inference_mode():
        edges = load_shipped_hed()(as_tensor(portrait()))[0, 0]
    assert edges.shape == (256, 256)
    outline_of_the_shoulder, wall = edges[180:220, 55:90].max(), edges[10:30, 10:40].max()
    assert float(outline_of_the_shoulder) > 0.8
    assert float(wall) < 0.1


def test_edges_of_odd_sizes_have_the_images_size() -> None:
    with torch.inference_mode():
        assert load_shipped_hed()(as_tensor(portrait().resize((83, 61)))).shape == (1, 1, 61, 83)


def test_tensors_that_are_not_heds_are_refused() -> None:
    with pytest.raises(ValueError, match="not HED's"):
        load_hed({"fuse.weight": torch.zeros(1, 5, 1, 1)})


def test_segmentation_finds_the_person() -> None:
    [mask] = run_onnx(
        BY_NAME["mediapipe-selfie-segmentation"].folder / "segmentation.onnx", channels_last(256)
    )
    assert mask.shape == (1, 256, 256, 1)
    assert float(mask[0, 200, 128, 0]) > 0.9
    assert float(mask[0, 20, 20, 0]) < 0.1


def test_face_detection_scores_the_portrait_above_a_wall() -> None:
    file = BY_NAME["mediapipe-face-detection"].folder / "detection.onnx"
    image = channels_last(128) * 2 - 1
    boxes, scores = run_onnx(file, image)
    _, of_wall = run_onnx(file, np.full_like(image, 0.2))
    assert (boxes.shape, scores.shape) == ((1, 896, 16), (1, 896, 1))
    assert float(scores.max()) > float(of_wall.max())


@pytest.mark.parametrize(
    ("name", "file", "side", "sizes"),
    [
        ("mediapipe-face-mesh", "landmarks.onnx", 192, [1404, 1]),
        ("mediapipe-pose", "detection.onnx", 224, [2254 * 12, 2254]),
        ("mediapipe-pose", "landmarks.onnx", 256, [195, 1, 256 * 256, 64 * 64 * 39, 117]),
    ],
)
def test_landmark_networks_run(name: str, file: str, side: int, sizes: list[int]) -> None:
    outputs = run_onnx(BY_NAME[name].folder / file, channels_last(side))
    assert [output.size for output in outputs] == sizes
    assert all(np.isfinite(output).all() for output in outputs)


def test_score_of_a_drawn_portrait_is_low() -> None:
    pixels = np.asarray(portrait().resize((224, 224)), dtype=np.float32)[:, :, ::-1]
    image = np.ascontiguousarray(pixels - np.array([104, 117, 123], dtype=np.float32))[None]
    [score] = run_onnx(BY_NAME["open-nsfw"].folder / "score.onnx", image)
    assert score.shape == (1, 2)
    assert float(score.sum()) == pytest.approx(1.0, abs=1e-3)
    assert float(score[0, 1]) < 0.5
