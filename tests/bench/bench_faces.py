"""What operations on people and control maps cost, and how near they are to what they stand for.

Each operation alone, on the CPU, on photographs of scikit-image (512 x 512 and enlarged to 1024 x 1024), with
the weights at hand: loading and the first run are left out. "longest slice" is the longest time between two
yields, in which an engine on this machine would do nothing else. "times as long as" compares two in the same
run: Canny with cv2.Canny alone, HED in strips with all of it at once, pose with OpenCV's engine on the same
file. Run from the repository's root:

    python -m tests.bench.bench_faces [--rounds 5]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import torch
from safetensors.torch import load_file

from gpu_runtime.operations.registry import run_of
from gpu_runtime.people.onnx_network import OnnxNetwork
from gpu_runtime.postprocess import strips
from gpu_runtime.postprocess.edges import load_hed
from gpu_runtime.utility.shipped import WEIGHTS
from gpu_runtime.work import Asset
from tests.bench.reporting import Rounds, publish, read_arguments
from tests.gpu_runtime.operations.other_runners import Floats, hed_by_hand, in_order, run_by_cv2
from tests.gpu_runtime.operations.photographs import FACE_ASSETS, Pixels, astronaut, other_person, two_people
from tests.gpu_runtime.operations.running import context_of, shipped
from tests.gpu_runtime.people.test_finding import MEDIAPIPE_BODY, MEDIAPIPE_FACE, bodies_of, faces_of

HED = {"model": shipped("hed")}
POSE = {"model": shipped("mediapipe-pose")}
NSFW = {"model": shipped("open-nsfw")}
LANDMARKS = WEIGHTS / "mediapipe-pose" / "landmarks.onnx"
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
    """Against cv2, HED by hand and in float32, OpenCV's engine on the same files, and MediaPipe 0.10.21."""
    picture, small = astronaut(), cv2.resize(astronaut(), (192, 192), interpolation=cv2.INTER_AREA)
    face = (
        faces_of(picture)[0].mesh[list(MEDIAPIPE_FACE), :2] - np.array(list(MEDIAPIPE_FACE.values()))[:, :2]
    )
    body = bodies_of(picture)[0].points[list(MEDIAPIPE_BODY), :2] - np.array(list(MEDIAPIPE_BODY.values()))
    ours, theirs = _landmarks_twice()
    figures = {
        "canny, pixels unlike cv2's": _apart(made_by("detect.canny", picture), cv2.Canny(picture, 100, 200)),
        "soft edges, of 255, from those by hand": _largest(
            made_by("detect.softedge", small), hed_by_hand(small)
        ),
        "pose, largest share of a value from OpenCV's": max(
            float(np.abs(own - other).max() / max(1.0, np.abs(own).max()))
            for own, other in zip(ours, theirs, strict=True)
        ),
        "points of a face 94 px wide, mean from MediaPipe's": float(np.linalg.norm(face, axis=1).mean()),
        "points of a body 205 px wide, mean from MediaPipe's": float(np.linalg.norm(body, axis=1).mean()),
    }
    return [Rounds(name, "", values=[value]) for name, value in figures.items()]


def made_by(name: str, picture: Pixels) -> Pixels:
    """The map, grey."""
    context = context_of(name, {"image": picture}, assets=CASES[name])
    with torch.inference_mode():
        list(run_of(name)(context))
    return np.asarray(context.outputs["image"][:, :, 0])


def _apart(one: Pixels, other: Pixels) -> float:
    return float((one != other).sum())


def _largest(one: Pixels, other: Floats) -> float:
    return float(np.abs(one - other).max())


def _landmarks_twice() -> tuple[list[Floats], list[Floats]]:
    image = cv2.resize(astronaut(), (256, 256), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return in_order(OnnxNetwork(LANDMARKS).run(image)), run_by_cv2(LANDMARKS, image)


def ratios(rounds: int) -> list[Rounds]:
    """Ours and the reference in turns, so that what else the machine does falls on both."""
    picture = astronaut()
    hed = load_hed(load_file(WEIGHTS / "hed" / "weights.safetensors"))
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    image = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    ours, theirs = OnnxNetwork(LANDMARKS), cv2.dnn.readNetFromONNX(str(LANDMARKS))

    def by_opencv() -> None:
        theirs.setInput(image[None])
        theirs.forward(theirs.getUnconnectedOutLayersNames())

    def at_once() -> None:
        with patch.object(strips, "MOST_PRODUCTS", 1e15), torch.inference_mode():
            hed(pixels)

    pairs: Mapping[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "detect.canny, times as long as cv2.Canny": (
            lambda: made_by("detect.canny", picture),
            lambda: cv2.Canny(picture, 100, 200),
        ),
        "detect.softedge, times as long as HED at once": (
            lambda: made_by("detect.softedge", picture),
            at_once,
        ),
        "pose landmarks, times as long as OpenCV's": (lambda: ours.run(image), by_opencv),
    }
    return [Rounds(name, "times", values=_in_turns(*pair, rounds)) for name, pair in pairs.items()]


def _in_turns(one: Callable[[], object], other: Callable[[], object], rounds: int) -> list[float]:
    """How many times as long one takes as the other, once a round, after a first run of both."""
    found = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        one()
        between = time.perf_counter()
        other()
        found.append((between - started) / (time.perf_counter() - between))
    return found[1:]


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
    figures += ratios(chosen.rounds)
    figures += differences()
    settings = {"rounds": chosen.rounds, "threads": torch.get_num_threads()}
    publish("faces", figures, settings=settings, details={}, target=chosen.json)


if __name__ == "__main__":
    main()
