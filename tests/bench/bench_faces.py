"""What operations on people and control maps cost, and how near they are to what they stand for.

Each operation alone, on the CPU, on photographs of scikit-image (512 x 512 and enlarged to 1024 x 1024), with
the weights at hand: loading and the first run are left out. "longest slice" is the longest time between two
yields, in which an engine on this machine would do nothing else. Run from the repository's root:

    python -m tests.bench.bench_faces [--rounds 5]
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import load_file

from gpu_runtime.operations.registry import run_of
from gpu_runtime.postprocess.edges import load_hed
from gpu_runtime.utility.shipped import WEIGHTS
from gpu_runtime.work import Asset
from tests.bench.reporting import Rounds, publish, read_arguments
from tests.gpu_runtime.operations.photographs import FACE_ASSETS, Pixels, astronaut, other_person, two_people
from tests.gpu_runtime.operations.running import context_of, shipped
from tests.gpu_runtime.people.test_finding import MEDIAPIPE_BODY, MEDIAPIPE_FACE, bodies_of, faces_of

HED = {"model": shipped("hed")}
POSE = {"model": shipped("mediapipe-pose")}
NSFW = {"model": shipped("open-nsfw")}
CASES: Mapping[str, Mapping[str, Asset]] = {
    "detect.canny": {},
    "detect.softedge": HED,
    "detect.scribble": HED,
    "detect.lineart": {},
    "detect.mlsd": {},
    "detect.openpose": POSE,
    "detect.face": FACE_ASSETS,
    "detect.shuffle": {},
    "faces.detect": FACE_ASSETS,
    "safety.check": NSFW,
}


def run_once(
    name: str, inputs: Mapping[str, Pixels], assets: Mapping[str, Asset], **settings: Any
) -> list[float]:
    """Milliseconds of each slice."""
    context = context_of(name, inputs, assets=assets, **settings)
    slices = []
    with torch.inference_mode():
        started = time.perf_counter()
        for _ in run_of(name)(context):
            slices.append((time.perf_counter() - started) * 1e3)
            started = time.perf_counter()
    return slices


def measure(label: str, rounds: int, name: str, *rest: Any, **settings: Any) -> list[Rounds]:
    whole, longest = Rounds(label, "ms"), Rounds(f"{label}, longest slice", "ms")
    run_once(name, *rest, **settings)
    for _ in range(rounds):
        slices = run_once(name, *rest, **settings)
        whole.values.append(sum(slices))
        longest.values.append(max(slices))
    return [whole, longest]


def differences() -> list[Rounds]:
    """Against cv2, the network in float32, and MediaPipe 0.10.21."""
    picture = astronaut()
    canny = context_of("detect.canny", {"image": picture})
    list(run_of("detect.canny")(canny))
    soft = context_of("detect.softedge", {"image": picture}, assets=HED)
    with torch.inference_mode():
        list(run_of("detect.softedge")(soft))
        network = load_hed(load_file(WEIGHTS / "hed" / "weights.safetensors"))
        edges = network(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)[0, 0].numpy() * 255
    face = (
        faces_of(picture)[0].mesh[list(MEDIAPIPE_FACE), :2] - np.array(list(MEDIAPIPE_FACE.values()))[:, :2]
    )
    body = bodies_of(picture)[0].points[list(MEDIAPIPE_BODY), :2] - np.array(list(MEDIAPIPE_BODY.values()))
    figures = {
        "canny, pixels unlike cv2's": float(
            (canny.outputs["image"][:, :, 0] != cv2.Canny(picture, 100, 200)).sum()
        ),
        "soft edges, largest difference of 255": float(np.abs(soft.outputs["image"][:, :, 0] - edges).max()),
        "points of a face 94 px wide, mean from MediaPipe's": float(np.linalg.norm(face, axis=1).mean()),
        "points of a body 205 px wide, mean from MediaPipe's": float(np.linalg.norm(body, axis=1).mean()),
    }
    return [Rounds(name, "", values=[value]) for name, value in figures.items()]


def main() -> None:
    chosen = read_arguments(__doc__.split("\n")[0], rounds=5)
    figures = []
    for side in (512, 1024):
        picture = cv2.resize(astronaut(), (side, side), interpolation=cv2.INTER_CUBIC)
        for name, assets in CASES.items():
            figures += measure(f"{name}, {side} px", chosen.rounds, name, {"image": picture}, assets)
        pictures = {"target": picture, "source": other_person()}
        figures += measure(f"faces.swap, {side} px", chosen.rounds, "faces.swap", pictures, FACE_ASSETS)
    pictures = {"target": two_people(), "source": other_person()}
    figures += measure(
        "faces.swap, two faces", chosen.rounds, "faces.swap", pictures, FACE_ASSETS, which="all"
    )
    figures += differences()
    settings = {"rounds": chosen.rounds, "threads": torch.get_num_threads()}
    publish("faces", figures, settings=settings, details={}, target=chosen.json)


if __name__ == "__main__":
    main()
