"""The shipped networks answer what another engine makes of the same weights."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from gpu_runtime.people.onnx_network import OnnxNetwork
from gpu_runtime.utility.shipped import WEIGHTS
from tests.gpu_runtime.operations.other_runners import hed_by_hand, in_order, run_by_cv2
from tests.gpu_runtime.operations.photographs import astronaut
from tests.gpu_runtime.operations.running import run_one, shipped

FILES = {
    "mediapipe-pose/detection": 224,
    "mediapipe-pose/landmarks": 256,
    "mediapipe-face-detection/detection": 128,
    "mediapipe-face-mesh/landmarks": 192,
    "mediapipe-selfie-segmentation/segmentation": 256,
    "open-nsfw/score": 224,
}
"""And the sides of what they look at."""


@pytest.mark.parametrize("name", FILES)
def test_networks_of_onnx_files_answer_the_same_in_opencv(name: str) -> None:
    side, file = (FILES[name], FILES[name]), WEIGHTS / f"{name}.onnx"
    image = cv2.resize(astronaut(), side, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    ours, theirs = in_order(OnnxNetwork(file).run(image)), run_by_cv2(file, image)
    assert len(ours) == len(theirs) > 0
    for own, other in zip(ours, theirs, strict=True):
        assert own.shape == other.shape
        assert np.abs(own - other).max() <= 2e-4 * max(1.0, float(np.abs(own).max()))


def test_soft_edges_are_those_of_the_paper() -> None:
    picture = cv2.resize(astronaut()[:400, 80:400], (81, 99), interpolation=cv2.INTER_AREA)
    made = run_one("detect.softedge", {"image": picture}, assets={"model": shipped("hed")})
    assert np.abs(made[:, :, 0] - hed_by_hand(picture)).max() <= 0.51
